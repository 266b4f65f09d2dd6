"""The size of a LightGBM booster: thresholds, leaves and depths of its trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from renewal.compress.counting import Count, count_tree, total


def size(estimator: Any) -> Count:
    """Return the count of a fitted booster; what is none counts nothing."""
    booster = getattr(estimator, "booster", None) or getattr(estimator, "booster_", estimator)
    if not isinstance(booster, lightgbm.Booster):
        return Count(macs=None)
    return total(_tree(each["tree_structure"]) for each in booster.dump_model()["tree_info"])


def _tree(root: Mapping[str, Any]) -> Count:
    leaves: list[float] = []
    n_splits = deepest = 0
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if "left_child" in node:
            n_splits += 1
            waiting += [(node["left_child"], depth + 1), (node["right_child"], depth + 1)]
        else:
            leaves.append(float(node.get("leaf_value", 0.0)))
            deepest = max(deepest, depth)
    return count_tree(np.zeros(n_splits), np.array(leaves), deepest)
