"""The parameters of an estimator as JSON values, and which of them takes the weights of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from renewal.core.errors import Invalid
from renewal.models.sklearn_parts import steps_of, unwrapped

_WEIGHTS = "sample_weight"
_SEVERAL = (VotingClassifier, VotingRegressor, StackingClassifier, StackingRegressor)
_SEARCHES = (GridSearchCV, RandomizedSearchCV)
_NOT_PLAIN = object()


def plain_params(estimator: Any) -> dict[str, Any]:
    """Return the parameters of a recipe, nested ones too, that JSON can hold.

    Steps, functions and other objects are left out, and so are NaN and infinity.

    Parameters
    ----------
    estimator : object
        Fitted or not; of a recalibrated one, those of the recipe inside.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> plain_params(Ridge(alpha=2.0))["alpha"]
    2.0
    """
    found = {
        name: _plain(value) for name, value in unwrapped(estimator).get_params(deep=True).items()
    }
    return {name: value for name, value in sorted(found.items()) if value is not _NOT_PLAIN}


def with_params(estimator: Any, params: Mapping[str, Any]) -> Any:
    """Return an unfitted copy of a recipe with other parameters.

    Lists become tuples where the recipe has a tuple: JSON knows no tuples.

    Parameters
    ----------
    estimator : object
        Fitted or not; of a recalibrated one, the recipe inside is copied.
    params : mapping of str to JSON value
        By the names that `plain_params` uses; those left out stay.

    Raises
    ------
    Invalid
        On a name that the recipe does not have; the nearest is offered.
    """
    fresh = clone(unwrapped(estimator))
    known = fresh.get_params(deep=True)
    unknown = sorted(set(params) - set(known))
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        raise Invalid(
            "SklearnAdapter.with_params",
            needs=f"parameters that {type(fresh).__name__} has",
            came=repr(unknown[0]),
            todo=f"Did you mean {near[0]!r}?" if near else "See its get_params().",
            params=unknown,
        )
    return fresh.set_params(
        **{
            name: tuple(value)
            if isinstance(value, list) and isinstance(known[name], tuple)
            else value
            for name, value in params.items()
        }
    )


def weight_parameter(estimator: Any) -> str | None:
    """Return the name under which ``fit`` takes the weights of rows; None: it cannot weigh.

    In a pipeline the last step weighs. What wraps other estimators weighs where they do.

    Parameters
    ----------
    estimator : object
        The recipe.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from sklearn.pipeline import make_pipeline
    >>> weight_parameter(make_pipeline(Ridge())), weight_parameter(KNeighborsRegressor())
    ('ridge__sample_weight', None)
    """
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_parameter(last)
        return None if inner is None else f"{name}__{inner}"
    if isinstance(estimator, _SEARCHES):
        return weight_parameter(estimator.estimator)
    if isinstance(estimator, TransformedTargetRegressor):
        inner = estimator.regressor
        return _WEIGHTS if inner is None else weight_parameter(inner)
    if isinstance(estimator, _SEVERAL):
        return _all_weigh(each for _, each in estimator.estimators if each != "drop")
    if isinstance(estimator, CalibratedClassifierCV) and estimator.estimator is not None:
        return _all_weigh([estimator.estimator])
    return _WEIGHTS if has_fit_parameter(estimator, _WEIGHTS) else None


def demand_weights(estimator: Any, *, who: str) -> str:
    """Return `weight_parameter`, or raise `Invalid` with the reason."""
    found = weight_parameter(estimator)
    if found is None:
        _, learner = steps_of(estimator)
        name = type(learner).__name__
        raise Invalid(
            who,
            needs="an estimator that can weigh rows",
            came=f"{name}, whose fit takes no sample_weight",
            todo="Leave weights, half_life and balance out, or take another estimator.",
        )
    return found


def _all_weigh(estimators: Iterable[Any]) -> str | None:
    """Return the plain name where every one takes it as it is: wrappers hand it on unchanged."""
    return _WEIGHTS if all(weight_parameter(each) == _WEIGHTS for each in estimators) else None


def _plain(value: Any) -> Any:
    """Return a parameter as a JSON value, or the mark for those that are none."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_PLAIN
    if isinstance(value, list | tuple):
        items = [_plain(each) for each in value]
        return _NOT_PLAIN if any(each is _NOT_PLAIN for each in items) else items
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        named = {name: _plain(each) for name, each in value.items()}
        return _NOT_PLAIN if any(each is _NOT_PLAIN for each in named.values()) else named
    return _NOT_PLAIN
