"""What an estimator is made of."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from renewal.core.errors import Invalid
from renewal.models.sklearn_parts import (
    demand_probabilities,
    seeded,
    steps_of,
    takes_names,
    unwrapped,
    wants_categories,
)

ROWS, LABELS = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]


def test_seeds_fill_what_is_open_at_any_depth() -> None:
    """Broken by a random part that stays open, or a user's own seed that is overwritten."""
    recipe = VotingClassifier(
        [
            ("forest", make_pipeline(StandardScaler(), RandomForestClassifier())),
            ("sgd", SGDClassifier(random_state=5)),
        ]
    )
    fresh = seeded(recipe, 2**32 + 7)
    parameters = fresh.get_params()
    assert parameters["forest__randomforestclassifier__random_state"] == 7
    assert parameters["sgd__random_state"] == 5
    assert recipe.get_params()["forest__randomforestclassifier__random_state"] is None
    assert seeded(recipe, None).get_params()["sgd__random_state"] == 5


def test_a_recalibrated_model_gives_its_recipe() -> None:
    """Broken by retraining a frozen model: it would stay the old one on any rows."""
    base = LogisticRegression(C=3.0).fit(ROWS, LABELS)
    curves = CalibratedClassifierCV(FrozenEstimator(base), cv=2).fit(ROWS, LABELS)
    assert unwrapped(curves) is base
    fresh = seeded(curves, 0)
    assert isinstance(fresh, LogisticRegression)
    assert fresh.C == 3.0
    assert not hasattr(fresh, "coef_")


def test_a_calibration_that_is_part_of_the_recipe_stays() -> None:
    """Broken by unwrapping what the user wrote: LinearSVC alone gives no probabilities."""
    recipe = CalibratedClassifierCV(LinearSVC(), cv=2)
    assert unwrapped(recipe) is recipe
    assert unwrapped(recipe.fit(ROWS, LABELS)) is recipe


def test_steps_of_nested_pipelines() -> None:
    """Broken by a transformer that is left out, or one that does nothing."""
    scaler, inner = StandardScaler(), StandardScaler(with_mean=False)
    pipeline = make_pipeline(scaler, "passthrough", make_pipeline(inner, GaussianNB()))
    transformers, last = steps_of(pipeline)
    assert transformers == [scaler, inner]
    assert isinstance(last, GaussianNB)


def test_texts_become_categories_only_where_nothing_else_takes_them() -> None:
    """Broken by categories that reach an encoder, or texts that reach the trees."""
    assert wants_categories(HistGradientBoostingClassifier())
    assert wants_categories(make_pipeline("passthrough", HistGradientBoostingClassifier()))
    assert not wants_categories(HistGradientBoostingClassifier(categorical_features=["a"]))
    assert not wants_categories(make_pipeline(StandardScaler(), HistGradientBoostingClassifier()))
    assert not wants_categories(LogisticRegression())


@pytest.mark.parametrize("estimator", [LinearSVC(), make_pipeline(StandardScaler(), LinearSVC())])
def test_a_classifier_that_only_decides_is_refused_with_the_way_out(estimator: Any) -> None:
    """Broken by a loss that is made up from decisions."""
    with pytest.raises(Invalid, match=r"CalibratedClassifierCV\(LinearSVC") as caught:
        demand_probabilities(estimator.fit(ROWS, LABELS), who="test")
    assert "predict_proba" in caught.value.needs
    with pytest.raises(Invalid):
        demand_probabilities(SVC().fit(ROWS, LABELS), who="test")
    demand_probabilities(LinearRegression(), who="test")


def test_names_are_known_by_what_was_fitted() -> None:
    """Broken by a frame for a model that was fitted on a matrix: scikit-learn warns."""
    assert not takes_names(LogisticRegression().fit(ROWS, LABELS))
    assert not takes_names(make_pipeline(StandardScaler(), GaussianNB()).fit(ROWS, LABELS))
