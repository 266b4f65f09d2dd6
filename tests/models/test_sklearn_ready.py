"""Made ready for requests: names go where nothing needs them, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from renewal.core.spec import Field, Kind, Signature
from renewal.models.sklearn import SklearnAdapter
from renewal.models.sklearn_inputs import inputs_of


def signature(*kinds: Kind) -> Signature:
    return Signature(tuple(Field(name, kind) for name, kind in zip("abcd", kinds, strict=False)))


FLOATS = signature("float", "float")


@pytest.mark.parametrize(
    "recipe",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=5),
        RandomForestClassifier(3),
        GridSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}, cv=2),
    ],
)
def test_models_of_numbers_take_matrices(
    adapter: SklearnAdapter,
    numbers: pa.Table,
    late: Any,
    recipe: Any,
    curves_on: Callable[..., Any],
) -> None:
    """Broken by a part that keeps its names (it would warn) or by other scores."""
    fitted = adapter.fit(recipe, numbers, late, seed=0)
    for estimator in (fitted, curves_on(fitted, numbers, late)):
        loaded = adapter.load(adapter.dump(estimator))
        made = adapter.ready(loaded, FLOATS)
        assert isinstance(inputs_of(made, numbers, who="test"), np.ndarray)
        gap = np.abs(adapter.predict(made, numbers) - adapter.predict(estimator, numbers)).max()
        assert gap < 1e-12


def test_columns_by_name_keep_their_names(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by names taken from a part that finds its columns by them."""
    codes = ColumnTransformer([("scale", StandardScaler(), ["b"])], remainder="passthrough")
    fitted = adapter.fit(make_pipeline(codes, LogisticRegression()), numbers, late)
    before = adapter.dump(fitted)
    assert adapter.dump(adapter.ready(fitted, FLOATS)) == before


def test_steps_that_hand_frames_on_keep_their_names(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a scaler with set_output that makes a frame of nothing."""
    scaler = StandardScaler().set_output(transform="pandas")
    fitted = adapter.fit(make_pipeline(scaler, LogisticRegression()), numbers, late)
    before = adapter.predict(fitted, numbers)
    assert np.array_equal(adapter.predict(adapter.ready(fitted, FLOATS), numbers), before)
    assert hasattr(fitted[0], "feature_names_in_")


@pytest.mark.parametrize(
    "other",
    [
        signature("float", "string"),
        signature("int", "bool"),  # a frame of ints is no matrix of floats
        Signature((Field("b", "float"), Field("a", "float"))),
        signature("float", "float", "float"),
    ],
)
def test_other_signatures_change_nothing(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any, other: Signature
) -> None:
    """Broken by a matrix in another order, or of another type, than that of the fit."""
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    assert hasattr(adapter.ready(fitted, other), "feature_names_in_")


def test_codes_of_ints_and_booleans_stay_what_they_were(adapter: SklearnAdapter, late: Any) -> None:
    """Broken by a category 1 that is not 1.0 once the names are gone."""
    rng = np.random.default_rng(8)
    mixed = pa.table(
        {"a": rng.normal(size=200), "b": rng.integers(0, 3, 200), "c": rng.random(200) < 0.5}
    )
    fitted = adapter.fit(
        make_pipeline(
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            RandomForestClassifier(3),
        ),
        mixed,
        late,
    )
    before = adapter.predict(fitted, mixed)
    made = adapter.ready(adapter.load(adapter.dump(fitted)), signature("float", "int", "bool"))
    assert np.array_equal(adapter.predict(made, mixed), before)
