"""Small models of XGBoost that techniques are asked to make smaller."""

from __future__ import annotations

from functools import cache

from xgboost import XGBRegressor

from renewal.testing.forms import FormCase, fitted_case, numbers


@cache
def xgboost_forms() -> tuple[FormCase, ...]:
    """Return a model of numbers."""
    recipe = XGBRegressor(n_estimators=12, max_depth=3, n_jobs=1)
    features, labels = numbers(300, task="regression")
    return (fitted_case("xgboost", "xgboost", recipe, features, labels, task="regression"),)
