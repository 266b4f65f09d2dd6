"""Checks of recipes: fitted afresh, with weights, and with other parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.models.contract import Weights
from renewal.models.space import Dimension
from renewal.testing.adapter_case import (
    AdapterCase,
    Watched,
    copy_of,
    demand_equal,
    demand_form,
    demand_typed_error,
    said_by,
)


def check_fit_is_fresh(case: AdapterCase) -> None:
    """Check that fitting a fitted estimator starts anew and leaves it as it was."""
    if not case.can_fit:
        return
    half = len(case.labels) // 2
    rows, labels = case.features.slice(half), case.labels[half:]
    with Watched(case, case.fitted, "fit"):
        again = case.fit_on(rows, labels, recipe=case.fitted)
    demand_equal(case, again, case.fit_on(rows, labels), "fitted on a fitted one")


def check_weights(case: AdapterCase) -> None:
    """Check that rows that count fifty times pull the scores to them."""
    if not _weighs(case):
        return
    heavy = _heavy(case)
    weights = np.where(heavy, 50.0, 1.0)
    before, labels = weights.copy(), case.labels.copy()
    pulled = case.adapter.predict(
        case.fit_on(case.features, case.labels, weights=weights), case.features
    )
    assert np.array_equal(weights, before), "fit changed the weights"
    assert np.array_equal(case.labels, labels), "fit changed the labels"
    plain = case.adapter.predict(case.fitted, case.features)
    assert pulled[:, -1].mean() > plain[:, -1].mean(), (
        "rows of the last class, or of high values, count fifty times and move nothing"
    )


def check_weights_of_one(case: AdapterCase) -> None:
    """Check that weights of one are no weights."""
    if not _weighs(case):
        return
    ones = case.fit_on(case.features, case.labels, weights=np.ones(len(case.labels)))
    one, other = (case.adapter.predict(each, case.features) for each in (ones, case.fitted))
    gap = np.abs(one - other).max() / max(1.0, float(np.abs(other).max()))
    assert gap <= max(case.tolerance, 1e-6), f"weights of one change the scores by {gap}"


def check_weights_repeat(case: AdapterCase) -> None:
    """Check that a row of weight two counts as the row twice."""
    if not _weighs(case):
        return
    twice = np.arange(len(case.labels)) % 3 == 0
    at = np.repeat(np.arange(len(twice)), 1 + twice)
    weighed = case.fit_on(case.features, case.labels, weights=1.0 + twice)
    repeated = case.fit_on(copy_of(case.features.take(pa.array(at))), case.labels[at])
    one, other = (case.adapter.predict(each, case.features) for each in (weighed, repeated))
    scale = max(1.0, float(np.abs(other).max()))
    gap = np.abs(one - other).max() / scale
    assert gap <= 1e-3, f"a weight of 2 and the row twice differ by {gap} of the largest score"


def check_wrong_weights(case: AdapterCase) -> None:
    """Check that weights of another length, no numbers, or not positive are a typed error."""
    if not case.can_fit:
        return
    n_rows = len(case.labels)
    for what, weights in (
        ("one weight too few", np.ones(n_rows - 1)),
        ("a weight of NaN", np.where(np.arange(n_rows) == 2, np.nan, 1.0)),
        ("an endless weight", np.where(np.arange(n_rows) == 2, np.inf, 1.0)),
        ("a weight below zero", np.where(np.arange(n_rows) == 2, -1.0, 1.0)),
        ("weights of zero", np.zeros(n_rows)),
    ):
        demand_typed_error(
            lambda weights=weights: case.fit_on(case.features, case.labels, weights=weights),  # type: ignore[misc]  # a default in a lambda
            what,
        )


def check_params(case: AdapterCase) -> None:
    """Check that parameters are JSON values that make the same recipe again."""
    params = dict(case.adapter.params(case.estimator))
    _demand_json(params, "params")
    fitted = dict(case.adapter.params(case.fitted))
    _demand_json(fitted, "params of a fitted one")
    changed = {name for name in fitted.keys() | params if fitted.get(name) != params.get(name)}
    # The one parameter that a fit may fill.
    changed = {name for name in changed if not name.endswith(("random_state", "seed"))}
    assert not changed, f"fitting changed the parameters {changed}"
    if not case.can_fit:
        return
    with Watched(case, case.fitted, "with_params"):
        again = case.adapter.with_params(case.fitted, params)
    assert again is not case.fitted, "with_params hands out what it was handed"
    demand_equal(
        case,
        case.fit_on(case.features, case.labels, recipe=again),
        case.fitted,
        "with its own parameters",
    )
    demand_typed_error(
        lambda: case.adapter.with_params(case.estimator, {"renewal_no_such": 1}),
        "a parameter that does not exist",
    )


def check_search_space(case: AdapterCase) -> None:
    """Check that the ends and the choices of every dimension make recipes that fit."""
    space = case.adapter.search_space(case.estimator)
    if not case.can_fit:
        assert not space, "there is nothing to tune without a recipe"
        return
    params = case.adapter.params(case.estimator)
    strange = set(space) - set(params)
    assert not strange, f"{strange} are tuned and no parameters"
    for name, dimension in space.items():
        values = list(_ends(dimension))
        _demand_json(values, name)
        for value in values:
            recipe = case.adapter.with_params(case.estimator, {name: value})
            found = case.adapter.params(recipe)[name]
            assert found == value, f"{name}={value!r} came out as {found!r}"
            assert type(found) is type(value), f"{name}: {type(found)} is not {type(value)}"
    assert dict(case.adapter.params(case.estimator)) == dict(params), "the recipe was changed"
    if space:
        lowest = {name: next(_ends(dimension)) for name, dimension in space.items()}
        fitted = case.fit_on(
            case.features,
            case.labels,
            recipe=case.adapter.with_params(case.estimator, lowest),
        )
        scores = case.adapter.predict(fitted, case.features)
        demand_form(scores, len(case.labels), len(case.adapter.classes(fitted)) or 1)


RECIPE_CHECKS: dict[str, Callable[[AdapterCase], None]] = {
    "fit_is_fresh": check_fit_is_fresh,
    "params": check_params,
    "search_space": check_search_space,
    "weights": check_weights,
    "weights_of_one": check_weights_of_one,
    "weights_repeat": check_weights_repeat,
    "wrong_weights": check_wrong_weights,
}


def _heavy(case: AdapterCase) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say which rows are of the last class, or of a value above the middle."""
    classes = case.adapter.classes(case.fitted)
    if classes:
        return np.asarray(case.labels == classes[-1], np.bool_)
    return np.asarray(case.labels > np.median(case.labels), np.bool_)


def _weighs(case: AdapterCase) -> bool:
    """Say whether the recipe weighs rows; where not, it must say so as `Invalid`."""
    if not case.can_fit:
        return False
    weights: Weights = np.ones(len(case.labels))
    said = said_by(lambda: case.fit_on(case.features, case.labels, weights=weights), Invalid)
    assert said is None or "weigh" in said, f"it weighs no rows and does not say so: {said}"
    return said is None


def _demand_json(value: Any, what: str) -> None:
    try:
        again = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what} holds what is no JSON value: {error}") from error
    assert again == value, f"{what} is another after JSON: {again} is not {value}"


def _ends(dimension: Dimension) -> Iterator[Any]:
    if dimension.choices:
        yield from dimension.choices
    else:
        yield from (dimension.low, dimension.high)
