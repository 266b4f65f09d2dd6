"""Small models of LightGBM that techniques are asked to make smaller."""

from __future__ import annotations

from functools import cache

from lightgbm import LGBMClassifier

from renewal.testing.forms import FormCase, fitted_case, numbers


@cache
def lightgbm_forms() -> tuple[FormCase, ...]:
    """Return a model of three classes."""
    recipe = LGBMClassifier(n_estimators=12, num_leaves=7, n_jobs=1, verbosity=-1)
    features, labels = numbers(300, task="multiclass")
    return (fitted_case("lightgbm", "lightgbm", recipe, features, labels, task="multiclass"),)
