"""Models that would end the process when XGBoost reads or asks them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost

from renewal.models.xgboost_bounds import why_unsound

_RNG = np.random.default_rng(0)
_X = np.column_stack([_RNG.normal(size=300), _RNG.integers(0, 9, 300)])
_Y = _X[:, 0] + 2.0 * (_X[:, 1] % 3 == 0)


def _model(**settings: Any) -> Any:
    rows = xgboost.DMatrix(_X, _Y, feature_types=["q", "c"], enable_categorical=True)
    plain = {"max_depth": 3, "verbosity": 0, "nthread": 1, "max_cat_to_onehot": 1}
    return json.loads(bytes(xgboost.train({**plain, **settings}, rows, 2).save_raw("json")))


def _trees(model: Any) -> Any:
    return model["learner"]["gradient_booster"]["model"]["trees"]


def test_what_the_library_wrote_is_sound() -> None:
    assert why_unsound(_model()) is None
    assert why_unsound(_model(booster="dart", rate_drop=0.5)) is None
    # Pruning leaves gaps between the nodes.
    assert why_unsound(_model(gamma=20.0, max_depth=6)) is None


@pytest.mark.parametrize(
    ("name", "at", "value", "says"),
    [
        ("left_children", 0, 100_000_000, "children beyond"),
        ("left_children", 0, 0, "children beyond"),
        ("left_children", 0, -5, "children beyond"),
        ("left_children", 0, 2, "two parents"),
        ("right_children", 0, -1, "one child"),
        ("parents", 1, 100_000_000, "parents beyond"),
        ("parents", 0, 1, "a first node with a parent"),
        ("split_indices", 0, 9, "columns beyond"),
        ("categories", 0, 1 << 30, "a category that cannot be"),
        ("categories_sizes", 0, 1 << 30, "categories beyond"),
        ("split_type", 0, 7, "categories"),
    ],
)
def test_a_tree_that_points_beyond_itself_is_unsound(
    name: str, at: int, value: int, says: str
) -> None:
    """Breaks when such a tree reaches the library: it ends the process, or never ends."""
    model = _model()
    tree = next(each for each in _trees(model) if each["categories"])
    if name == "split_type":
        value = 1 - tree[name][at]
    tree[name][at] = value
    assert says in (why_unsound(model) or "")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("tree_param", "size_leaf_vector"), "-1", "several values"),
        (("tree_param", "num_nodes"), "3", "another length"),
        (("id",), 1, "out of place"),
    ],
)
def test_a_tree_that_says_otherwise_of_itself_is_unsound(
    path: tuple[str, ...], value: Any, says: str
) -> None:
    model = _model()
    held = _trees(model)[0]
    for name in path[:-1]:
        held = held[name]
    held[path[-1]] = value
    assert says in (why_unsound(model) or "")


def test_what_is_no_model_is_unsound() -> None:
    for model in ({}, {"learner": 3}, {"learner": {"objective": 1}}):
        assert why_unsound(model) is not None
