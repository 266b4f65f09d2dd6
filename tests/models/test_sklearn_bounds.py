"""Crafted archives: every index that scikit-learn reads unchecked, set to somewhere else."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from renewal.core.errors import Invalid
from renewal.models.sklearn_bounds import check_bounds
from renewal.models.sklearn_bytes import from_bytes, to_bytes

RNG = np.random.default_rng(2)
ROWS = np.column_stack([RNG.normal(size=(200, 2)), RNG.integers(0, 4, 200)])
LABELS = (ROWS[:, 0] + (ROWS[:, 2] == 2) > 0.3).astype(int)

TREE = DecisionTreeClassifier(max_depth=3, random_state=0).fit(ROWS, LABELS)
FOREST = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(
    ROWS, LABELS
)
GRADIENT = GradientBoostingClassifier(n_estimators=3).fit(ROWS, LABELS)
BOOSTED = HistGradientBoostingClassifier(max_iter=3, categorical_features=[2]).fit(ROWS, LABELS)
NEIGHBOURS = KNeighborsClassifier(algorithm="kd_tree", leaf_size=10).fit(ROWS, LABELS)
BALL = KNeighborsClassifier(algorithm="ball_tree", leaf_size=10).fit(ROWS, LABELS)


def crafted(data: bytes, field: str, value: int, where: Any) -> bytes:
    """Set a field of node arrays to a value, at the nodes that `where` picks."""
    target, n_changed = io.BytesIO(), 0
    with zipfile.ZipFile(io.BytesIO(data)) as found, zipfile.ZipFile(target, "w") as made:
        for name in found.namelist():
            part = found.read(name)
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(part))
                if array.dtype.names and field in array.dtype.names:
                    picked = where(array)
                    n_changed += len(picked)
                    array[field][picked] = value
                    buffer = io.BytesIO()
                    np.save(buffer, array)
                    part = buffer.getvalue()
            made.writestr(name, part)
    assert n_changed, "the test changed nothing"
    return target.getvalue()


def inner(nodes: Any) -> Any:
    return np.flatnonzero(nodes["left_child"] != -1)[-1:]


def inner_boosted(nodes: Any) -> Any:
    return np.flatnonzero(nodes["is_leaf"] == 0)[-1:]


def first(nodes: Any) -> Any:
    return np.arange(len(nodes))[:1]


def last(nodes: Any) -> Any:
    return np.arange(len(nodes))[-1:]


def by_category(nodes: Any) -> Any:
    return np.flatnonzero(nodes["is_categorical"])


CRAFTED = [
    (TREE, "left_child", 10_000, inner),
    (TREE, "right_child", -7, inner),
    (TREE, "left_child", 0, inner),  # a circle: the walk would never end
    (TREE, "feature", 3, inner),
    (TREE, "feature", -3, inner),
    (FOREST, "feature", 1_000_000, inner),
    (FOREST, "right_child", 1_000_000, inner),
    (GRADIENT, "feature", 3, inner),
    (GRADIENT, "left_child", 2**40, inner),
    (BOOSTED, "left", 2**31, inner_boosted),
    (BOOSTED, "right", 0, inner_boosted),
    (BOOSTED, "feature_idx", 3, inner_boosted),
    (BOOSTED, "feature_idx", -1, inner_boosted),
    (BOOSTED, "bitset_idx", 500, by_category),
    (BOOSTED, "feature_idx", 1, by_category),  # a column that has no set of categories
    (NEIGHBOURS, "idx_end", 10_000, last),
    (NEIGHBOURS, "idx_start", -1, last),
    (NEIGHBOURS, "is_leaf", 0, last),
    (BALL, "idx_end", 10_000, first),
    (BALL, "is_leaf", 0, last),
]


@pytest.mark.parametrize(("estimator", "field", "value", "where"), CRAFTED)
def test_an_index_out_of_bounds_is_refused(
    estimator: Any, field: str, value: int, where: Any
) -> None:
    """Broken by an index that is not looked at: the process would end at a prediction."""
    with pytest.raises(Invalid, match="out of bounds"):
        from_bytes(crafted(to_bytes(estimator), field, value, where))


@pytest.mark.parametrize("estimator", [TREE, FOREST, GRADIENT, BOOSTED, NEIGHBOURS, BALL])
def test_honest_models_pass(estimator: Any) -> None:
    """Broken by a rule that real trees do not keep."""
    check_bounds(estimator)
    assert np.array_equal(from_bytes(to_bytes(estimator)).predict(ROWS), estimator.predict(ROWS))


def test_a_tree_wider_than_its_forest_is_refused() -> None:
    """Broken by believing each tree: a forest checks its rows once, by its own width."""
    forest = RandomForestClassifier(2, random_state=0).fit(ROWS, LABELS)
    wide = np.column_stack([RNG.normal(size=(200, 9)), LABELS])
    forest.estimators_[1] = DecisionTreeClassifier(random_state=0).fit(wide, LABELS)
    with pytest.raises(Invalid, match="feature"):
        check_bounds(forest)


def test_trees_grown_best_first_and_to_the_end_pass() -> None:
    """Broken by assuming the order of one builder: best-first grows in another."""
    for options in ({"max_leaf_nodes": 20}, {}, {"max_depth": 1}, {"min_samples_leaf": 150}):
        check_bounds(RandomForestClassifier(5, random_state=1, **options).fit(ROWS, LABELS))
