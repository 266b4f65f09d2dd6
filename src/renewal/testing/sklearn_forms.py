"""Small models of scikit-learn that techniques are asked to make smaller."""

from __future__ import annotations

from functools import cache

from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from renewal.testing.forms import FormCase, fitted_case, numbers


@cache
def sklearn_forms() -> tuple[FormCase, ...]:
    """Return a tree, a forest, boosting, and linear models of classes and of values."""
    two, many, values = (numbers(300, task=each) for each in ("binary", "multiclass", "regression"))
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    boosting = HistGradientBoostingClassifier(max_iter=12, max_leaf_nodes=7, random_state=0)
    forest = RandomForestClassifier(12, random_state=0)
    return (
        fitted_case("a tree", "sklearn", DecisionTreeClassifier(random_state=0), *two),
        fitted_case("a forest", "sklearn", forest, *many, task="multiclass"),
        fitted_case("boosting", "sklearn", boosting, *many, task="multiclass"),
        fitted_case("linear", "sklearn", linear, *two),
        fitted_case("linear values", "sklearn", Ridge(), *values, task="regression"),
        fitted_case(
            "linear, no names",
            "sklearn",
            LogisticRegression(),
            *many,
            task="multiclass",
            names=False,
        ),
    )
