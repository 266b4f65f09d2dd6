"""Linear models: which inputs a penalty leaves, and what becomes of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from renewal.compress.form import Form
from renewal.compress.sklearn_inside import learner_of
from renewal.compress.sklearn_l1 import L1Options, PruneL1
from renewal.core.errors import Invalid
from renewal.testing.forms import FormCase, fitted_case, numbers


def _case(recipe: Any, task: str = "binary") -> FormCase:
    return fitted_case("", "sklearn", recipe, *numbers(task=task), task=task)


def _cut(case: FormCase, strength: float) -> Form:
    return PruneL1().apply(case.form, L1Options(strength), case.material, seed=0)


@pytest.mark.parametrize(
    ("recipe", "task"),
    [
        (LogisticRegression(), "binary"),
        (LogisticRegression(), "multiclass"),
        (make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss")), "binary"),
        (Ridge(), "regression"),
        (make_pipeline(StandardScaler(), LinearRegression()), "regression"),
    ],
    ids=["two", "many", "sgd", "ridge", "scaled"],
)
def test_columns_that_say_something_alone_stay_and_the_others_leave_the_signature(
    recipe: Any, task: str
) -> None:
    """The label is x0 - x1 and a product with noise: of the others a linear model has nothing."""
    case = _case(recipe, task)
    cut = _cut(case, 0.5)
    assert cut.signature.names == ("x0", "x1")
    kept = list(cut.signature.names)
    again = cut.runs.fit(
        recipe, case.material.train.features.select(kept), case.material.labels, seed=0
    )
    np.testing.assert_array_equal(
        cut.predict(case.features.select(kept)),
        cut.runs.predict(again, case.features.select(kept)),
    )


def test_what_is_left_does_not_depend_on_units() -> None:
    """Breaks when inputs are not put on one scale first: large units then need small weights."""
    features, labels = numbers()
    grown = features.set_column(0, "x0", pa.array(np.asarray(features["x0"]) * 1e-4))
    case = fitted_case("", "sklearn", LogisticRegression(), grown, labels)
    assert _cut(case, 0.4).signature.names == ("x0", "x1")


def test_inputs_fall_along_the_levels_to_one() -> None:
    case = _case(LogisticRegression())
    prune = PruneL1()
    kept = [
        len(prune.apply(case.form, each, case.material, seed=0).signature.fields)
        for each in prune.levels(case.form, case.material)
    ]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 6
    assert kept[-1] <= 2


def test_inputs_that_are_no_columns_become_zeros_in_their_places() -> None:
    """Breaks when a pipeline with one-hot columns loses a column that it still encodes."""
    features, labels = numbers()
    mixed = features.append_column("place", pa.array(["EWR", "JFK", "LGA"] * 200))
    columns = ColumnTransformer([("place", OneHotEncoder(), ["place"])], remainder="passthrough")
    recipe = make_pipeline(columns, LogisticRegression())
    case = fitted_case("", "sklearn", recipe, mixed, labels)
    before = learner_of(case.form).coef_.copy()
    cut = _cut(case, 0.4)
    assert cut.signature == case.form.signature
    assert np.count_nonzero(learner_of(cut).coef_) == 2
    assert learner_of(cut).coef_.shape == before.shape
    np.testing.assert_array_equal(learner_of(case.form).coef_, before)
    right = (cut.predict(case.features)[:, 1] > 0.5) == (labels[400:] == "yes")
    assert right.mean() > 0.7


def test_words_of_a_text_are_taken_sparse() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(rng.choice(["card", "money"], 90).tolist(), dtype=object)
    words = [f"{label} {' '.join(rng.choice(list('abcdefgh'), 3))}x please" for label in labels]
    recipe = make_pipeline(
        ColumnTransformer([("text", TfidfVectorizer(), "text")]), LogisticRegression()
    )
    case = fitted_case("", "sklearn", recipe, pa.table({"text": words}), labels)
    cut = _cut(case, 0.5)
    n_left = np.count_nonzero(learner_of(cut).coef_)
    assert 0 < n_left < np.count_nonzero(learner_of(case.form).coef_)
    said = np.array(cut.classes)[cut.predict(case.features).argmax(axis=1)]
    assert (said == labels[60:]).all()


def test_constant_inputs_and_gone_signal_leave_one_input() -> None:
    features = pa.table({"a": np.full(60, 1.0), "b": np.full(60, 2.0)})
    labels = np.arange(60.0)
    case = fitted_case("", "sklearn", LinearRegression(), features, labels, task="regression")
    assert _cut(case, 0.1).signature.names == ("a",)


def test_what_is_not_linear_or_has_no_rows_is_told() -> None:
    prune = PruneL1()
    tree = _case(DecisionTreeClassifier())
    assert "no linear model" in str(prune.why_not(tree.form, tree.material))
    linear = _case(LogisticRegression())
    assert "no training row" in str(prune.why_not(linear.form, linear.without_rows()))
    for strength in (0.0, 1.0, float("nan")):
        with pytest.raises(Invalid, match="strength"):
            _cut(linear, strength)
