"""Fewer columns: which go, and that they are really gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from renewal.compress.form import Form
from renewal.compress.sklearn_features import By, FeatureOptions, PruneFeatures, worth_of
from renewal.core.errors import Invalid
from renewal.testing.forms import FormCase, fitted_case, numbers

FEATURES, LABELS = numbers()
PLACES = np.where(np.arange(600) % 2 == 0, "EWR", "JFK")
MIXED = FEATURES.append_column("place", pa.array(PLACES))
BY_NAME = ColumnTransformer(
    [
        ("numbers", StandardScaler(), FEATURES.column_names),
        ("places", OneHotEncoder(handle_unknown="ignore"), ["place"]),
    ]
)


def _case(recipe: Any, features: pa.Table = FEATURES, adapter: str = "sklearn") -> FormCase:
    return fitted_case("", adapter, recipe, features, LABELS)


def _cut(case: FormCase, keep: float, by: By = "importance") -> Form:
    return PruneFeatures().apply(case.form, FeatureOptions(keep, by), case.material, seed=0)


@pytest.mark.parametrize("by", ["importance", "f", "mutual"])
def test_the_columns_that_the_label_hangs_on_are_left(by: By) -> None:
    """The label is x0 - x1 + x0 * x2 with noise; x2 alone says nothing of it."""
    case = _case(HistGradientBoostingClassifier(max_iter=30))
    if by == "importance":
        assert _cut(case, 0.5, by).signature.names == ("x0", "x1", "x2")
    else:
        assert _cut(case, 0.34, by).signature.names == ("x0", "x1")


def test_columns_that_are_gone_need_not_come_and_the_model_is_the_refitted_recipe() -> None:
    """Breaks when a dropped column is still asked for, or other rows were fitted."""
    case = _case(make_pipeline(StandardScaler(), LogisticRegression()))
    cut = _cut(case, 0.34)
    kept = list(cut.signature.names)
    runs, rows = cut.runs, case.material.train
    again = runs.fit(case.form.estimator, rows.features.select(kept), case.material.labels, seed=0)
    found = cut.predict(case.features.select(kept))
    np.testing.assert_array_equal(found, runs.predict(again, case.features.select(kept)))
    assert len(runs.dump(cut.estimator)) < len(runs.dump(case.form.estimator))


def test_variance_keeps_what_variance_threshold_keeps() -> None:
    """Breaks when columns are put on one scale first: texts' rule compares units."""
    scaled = pa.table({name: np.asarray(FEATURES[name]) * (at + 1)
                       for at, name in enumerate(FEATURES.column_names)})  # fmt: skip
    case = _case(LogisticRegression(max_iter=500), scaled)
    inputs = case.material.train.features.to_pandas()
    variances = inputs.var(ddof=0).to_numpy()
    selector = VarianceThreshold(float(np.sort(variances)[3]) - 1e-6).fit(inputs)
    assert _cut(case, 0.5, "variance").signature.names == tuple(selector.get_feature_names_out())
    np.testing.assert_allclose(worth_of(case.form, case.material, "variance", seed=0), variances)


def test_texts_have_no_variance_and_stay() -> None:
    case = _case(make_pipeline(BY_NAME, LogisticRegression()), MIXED)
    assert "place" in _cut(case, 0.3, "variance").signature.names


@pytest.mark.parametrize("by", ["importance", "f", "mutual", "variance"])
def test_a_column_transformer_is_asked_for_the_columns_that_are_left(by: By) -> None:
    case = _case(make_pipeline(BY_NAME, LogisticRegression()), MIXED)
    cut = _cut(case, 0.29, by)
    kept = list(cut.signature.names)
    assert len(kept) == 2
    assert cut.predict(case.features.select(kept)).shape == (200, 2)
    before = case.form.estimator[0].transformers[0][2]
    assert before == FEATURES.column_names, "the parent's own recipe was changed"


def test_a_booster_is_fitted_by_its_own_adapter_with_texts_among_its_columns() -> None:
    recipe = LGBMClassifier(n_estimators=15, n_jobs=1, verbosity=-1)
    case = _case(recipe, MIXED, "lightgbm")
    cut = _cut(case, 0.43)
    assert set(cut.signature.names) >= {"x0", "x1"}
    assert cut.estimator.columns == cut.signature.names


def test_the_levels_go_from_all_but_one_to_one() -> None:
    case = _case(LogisticRegression())
    levels = PruneFeatures().levels(case.form, case.material)
    found = [
        len(PruneFeatures().apply(case.form, each, case.material, seed=0).signature.fields)
        for each in levels
    ]
    assert found == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("by", ["variance", "f", "mutual", "importance"])
def test_constant_columns_and_gaps_are_worth_nothing_and_break_nothing(by: By) -> None:
    rows = FEATURES.set_column(5, "x5", pa.array(np.full(600, 3.0)))
    gaps = np.asarray(FEATURES["x4"]).copy()
    gaps[::7] = np.nan
    rows = rows.set_column(4, "x4", pa.array(gaps))
    case = _case(HistGradientBoostingClassifier(max_iter=5), rows)
    worth = worth_of(case.form, case.material, by, seed=0)
    assert np.isfinite(worth).all()
    assert worth[5] == pytest.approx(worth.min())


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (HistGradientBoostingClassifier(max_iter=3, monotonic_cst=[1] + [0] * 5), "monotonic_cst"),
        (
            make_pipeline(
                ColumnTransformer([("first", StandardScaler(), [0, 1])]), LogisticRegression()
            ),
            "goes by places",
        ),
    ],
    ids=["constraints", "places"],
)
def test_a_recipe_that_goes_by_places_is_told(recipe: Any, reason: str) -> None:
    case = _case(recipe)
    assert reason in str(PruneFeatures().why_not(case.form, case.material))
    with pytest.raises(Invalid, match=reason):
        _cut(case, 0.5)


def test_no_rows_one_column_and_shares_that_are_none_are_told() -> None:
    case = _case(LogisticRegression())
    prune = PruneFeatures()
    assert "no training row" in str(prune.why_not(case.form, case.without_rows()))
    single = _cut(case, 0.01)
    assert "single column" in str(prune.why_not(single, case.material))
    for keep in (0.0, 1.5, float("nan")):
        with pytest.raises(Invalid, match="keep"):
            _cut(case, keep)
    values = fitted_case("", "sklearn", Ridge(), *numbers(task="regression"), task="regression")
    assert len(worth_of(values.form, values.material, "mutual", seed=0)) == 6
