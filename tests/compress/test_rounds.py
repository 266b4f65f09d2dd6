"""The first rounds of boosted models equal the early end of their own libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression
from xgboost import DMatrix, XGBClassifier, XGBRegressor

from renewal.compress.form import Form
from renewal.compress.rounds import PruneRounds, RoundsOptions
from renewal.core.errors import Invalid
from renewal.testing.forms import FormCase, fitted_case, numbers

KEPT = 4
SKLEARN = {
    "gradient": (GradientBoostingClassifier(n_estimators=9, random_state=0), "multiclass"),
    "gradient, out of bag": (
        GradientBoostingRegressor(n_estimators=9, subsample=0.5, random_state=0),
        "regression",
    ),
    "histograms": (HistGradientBoostingClassifier(max_iter=9, random_state=0), "multiclass"),
    "histograms, stopped": (
        HistGradientBoostingRegressor(max_iter=9, early_stopping=True, random_state=0),
        "regression",
    ),
    "adaboost": (AdaBoostClassifier(n_estimators=9, random_state=0), "binary"),
    "adaboost of values": (AdaBoostRegressor(n_estimators=9, random_state=0), "regression"),
}
LIBRARIES = {
    "lightgbm": (LGBMClassifier(n_estimators=9, n_jobs=1, verbosity=-1), "multiclass"),
    "lightgbm of values": (LGBMRegressor(n_estimators=9, n_jobs=1, verbosity=-1), "regression"),
    "xgboost": (XGBClassifier(n_estimators=9, n_jobs=1), "multiclass"),
    "xgboost, two trees a round": (
        XGBRegressor(n_estimators=9, n_jobs=1, num_parallel_tree=2, subsample=0.7),
        "regression",
    ),
}


def _case(recipe: Any, task: str, adapter: str = "sklearn") -> FormCase:
    return fitted_case("", adapter, recipe, *numbers(task=task), task=task)


def _first(case: FormCase, rounds: int = KEPT) -> Form:
    return PruneRounds().apply(case.form, RoundsOptions(rounds), case.material, seed=0)


@pytest.mark.parametrize("name", SKLEARN)
def test_the_first_rounds_of_sklearn_equal_its_staged_scores(name: str) -> None:
    case = _case(*SKLEARN[name])
    fitted = case.form.estimator
    says = "staged_predict_proba" if case.form.classes else "staged_predict"
    staged = list(getattr(fitted, says)(case.features.to_pandas()))
    found = _first(case).predict(case.features)
    np.testing.assert_array_equal(found, staged[KEPT - 1].reshape(len(found), -1))


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_first_rounds_of_a_library_equal_its_own_early_end(name: str) -> None:
    case = _case(*LIBRARIES[name], adapter=name.partition(",")[0].partition(" ")[0])
    booster = case.form.estimator.booster
    inputs = case.features.to_pandas().to_numpy()
    if name.startswith("lightgbm"):
        own = booster.predict(inputs, num_iteration=KEPT)
    else:
        rows = DMatrix(inputs, feature_types=["q"] * inputs.shape[1])
        own = booster.predict(rows, iteration_range=(0, KEPT))
    found = _first(case).predict(case.features)
    np.testing.assert_allclose(found, np.asarray(own).reshape(len(found), -1), atol=1e-6)
    assert not np.allclose(found, case.form.predict(case.features))


@pytest.mark.parametrize("name", [*SKLEARN, *LIBRARIES])
def test_a_cut_model_is_stored_smaller_and_its_recipe_asks_for_as_many_rounds(name: str) -> None:
    """Breaks when the next retraining grows the rounds again that were cut."""
    adapter = name.partition(",")[0].partition(" ")[0] if name in LIBRARIES else "sklearn"
    case = _case(*{**SKLEARN, **LIBRARIES}[name], adapter=adapter)
    cut = _first(case)
    runs = case.form.runs
    data = runs.dump(cut.estimator)
    assert len(data) < len(runs.dump(case.form.estimator))
    again = Form(adapter, runs.load(data), cut.signature, cut.classes)
    np.testing.assert_array_equal(again.predict(case.features), cut.predict(case.features))
    params = runs.params(again.estimator)
    assert params.get("n_estimators", params.get("max_iter")) == KEPT
    assert _first(FormCase("", again, case.material, case.features), 2) is not None


def test_the_levels_fall_to_one_round_and_more_than_all_is_all() -> None:
    case = _case(*SKLEARN["histograms"])
    rounds = [each.rounds for each in PruneRounds().levels(case.form, case.material)]
    assert rounds == [6, 4, 3, 2, 1]
    np.testing.assert_array_equal(
        _first(case, 99).predict(case.features), case.form.predict(case.features)
    )


def test_what_is_not_boosted_or_was_cut_to_one_round_is_told() -> None:
    plain = _case(LogisticRegression(), "binary")
    assert "not boosted" in str(PruneRounds().why_not(plain.form, plain.material))
    with pytest.raises(Invalid, match="not boosted"):
        _first(plain)
    linear = _case(XGBRegressor(booster="gblinear", n_jobs=1), "regression", "xgboost")
    assert "not boosted" in str(PruneRounds().why_not(linear.form, linear.material))
    boosted = _case(*SKLEARN["adaboost"])
    assert "single round" in str(PruneRounds().why_not(_first(boosted, 1), boosted.material))
    with pytest.raises(Invalid, match="rounds=0"):
        _first(boosted, 0)
