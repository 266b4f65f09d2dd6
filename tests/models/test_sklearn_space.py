"""What is tuned in which estimator."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.utils import all_estimators

from renewal.models.sklearn_params import with_params
from renewal.models.sklearn_space import _SPACES, search_space


class OwnRegression(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """Somebody's own, which learns like its parent."""


@pytest.mark.parametrize(
    ("recipe", "first"),
    [
        (LogisticRegression(), "C"),
        (OwnRegression(), "C"),
        (make_pipeline(StandardScaler(), make_pipeline(Ridge())), "pipeline__ridge__alpha"),
        (CalibratedClassifierCV(SVC()), "estimator__C"),
        (OneVsRestClassifier(SGDClassifier()), "estimator__alpha"),
        (TransformedTargetRegressor(SVR()), "regressor__C"),
        (VotingClassifier([("a", LogisticRegression()), ("b", MLPClassifier())]), "a__C"),
        (HistGradientBoostingClassifier(), "learning_rate"),
        (RandomForestClassifier(), "max_features"),
        (ExtraTreesRegressor(), "max_features"),
        (KNeighborsClassifier(), "n_neighbors"),
    ],
)
def test_it_names_parameters_that_the_recipe_has(recipe: Any, first: str) -> None:
    """Broken by a prefix that `with_params` refuses."""
    space = search_space(recipe)
    assert next(iter(space)) == first
    values = {name: each.choices[0] if each.choices else each.low for name, each in space.items()}
    assert with_params(recipe, values).get_params()[first] == values[first]


def test_a_recalibrated_recipe_is_tuned_inside() -> None:
    """Broken by a study of a frozen model, which never changes."""
    inner = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    assert list(search_space(CalibratedClassifierCV(FrozenEstimator(inner)))) == ["C"]


@pytest.mark.parametrize(
    "recipe", [DummyClassifier(), GridSearchCV(LogisticRegression(), {"C": [1.0]})]
)
def test_unknown_recipes_and_those_that_tune_themselves_have_none(recipe: Any) -> None:
    """Broken by a study around a study."""
    assert search_space(recipe) == {}


def test_every_space_is_of_a_class_that_has_its_parameters() -> None:
    """Broken by a misspelled class or parameter, which would never be tuned."""
    kinds = dict(all_estimators())
    for name, space in _SPACES.items():
        assert set(space) <= set(kinds[name]().get_params()), name
