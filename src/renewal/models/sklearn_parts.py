"""What an estimator is made of: its wrappers, its steps, the part that learns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from renewal.core.errors import Invalid

TREES = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
# Set on a fitted estimator that takes named frames and does not say so by itself.
NAMES_MARK = "renewal_takes_names"


def unwrapped(estimator: Any) -> Any:
    """Return the estimator inside a recalibration; any other as it is.

    Retraining means fitting this one again: a calibration of a frozen model would keep the
    old one whatever rows it is shown.
    """
    if isinstance(estimator, CalibratedClassifierCV):
        fitted = getattr(estimator, "calibrated_classifiers_", None)
        inner = fitted[0].estimator if fitted else estimator.estimator
        if isinstance(inner, FrozenEstimator):
            return inner.estimator
    return estimator


def seeded(estimator: Any, seed: int | None) -> Any:
    """Return an unfitted copy in which every open ``random_state`` is `seed`.

    Parameters
    ----------
    estimator : object
        Kept as it is.
    seed : int or None
        Taken modulo 2**32; None leaves the copy open.

    Notes
    -----
    A ``random_state`` that the user has set stays: it is part of the recipe.
    """
    fresh = clone(unwrapped(estimator))
    seed_open(fresh, seed)
    return fresh


def seed_open(estimator: Any, seed: int | None) -> dict[str, None]:
    """Set every open ``random_state`` to `seed`, in place.

    Parameters
    ----------
    estimator : object
        Changed.
    seed : int or None
        Taken modulo 2**32; None changes nothing.

    Returns
    -------
    dict of str to None
        What ``set_params`` takes to open them again.
    """
    if seed is None:
        return {}
    was_open = {
        name: None
        for name, value in estimator.get_params(deep=True).items()
        if value is None and name.rpartition("__")[2] == "random_state"
    }
    estimator.set_params(**dict.fromkeys(was_open, seed % 2**32))
    return was_open


def steps_of(estimator: Any) -> tuple[list[Any], Any]:
    """Return the fitted transformers and the last step of a pipeline, nested ones included."""
    transformers: list[Any] = []
    while isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            if step is not None and step != "passthrough":
                transformers.append(step)
        estimator = estimator.steps[-1][1]
    return transformers, estimator


def takes_names(estimator: Any) -> bool:
    """Say whether a fitted estimator expects a frame with the names of its columns."""
    inner = unwrapped(estimator)
    if hasattr(inner, "feature_names_in_") or hasattr(inner, NAMES_MARK):
        return True
    if not isinstance(inner, Pipeline):
        return False
    # A first step of somebody's own that keeps no record of its input is written for
    # frames; where it was not, it reads a frame as well as a matrix.
    return not any(hasattr(step, "n_features_in_") for step in _first_steps(inner))


def wants_categories(estimator: Any) -> bool:
    """Say whether texts reach an estimator that finds its categories by their dtype."""
    inner = unwrapped(estimator)
    transformers, learner = steps_of(inner)
    return (
        not transformers
        and isinstance(learner, TREES)
        and isinstance(learner.categorical_features, str)
    )


def demand_probabilities(estimator: Any, *, who: str) -> None:
    """Raise `Invalid` when a classifier only decides and gives no probabilities."""
    if is_classifier(estimator) and not hasattr(estimator, "predict_proba"):
        _, learner = steps_of(estimator)
        name = type(learner).__name__
        raise Invalid(
            who,
            needs="a classifier with predict_proba: losses and gates compare probabilities",
            came=f"{name}, which only decides",
            todo=f"Wrap it: CalibratedClassifierCV({name}(...)), from sklearn.calibration.",
        )


def _first_steps(pipeline: Pipeline) -> Iterator[Any]:
    first: Any = pipeline
    while isinstance(first, Pipeline):
        first = first.steps[0][1]
        yield first
