"""The size of an XGBoost booster: thresholds, leaves and depths of its trees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

from renewal.compress.counting import Count, count_array, count_tree, depth_of, total


def size(estimator: Any) -> Count:
    """Return the count of a fitted booster of trees or of a linear one; else of nothing."""
    if isinstance(estimator, xgboost.XGBModel):
        booster = estimator.get_booster()
    else:
        booster = getattr(estimator, "booster", estimator)
    if not isinstance(booster, xgboost.Booster):
        return Count(macs=None)
    held = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    # Of DART, trees lie one level deeper.
    model = held.get("gbtree", held)["model"]
    if "weights" in model:
        weights = np.array(model["weights"], dtype=np.float64)
        return count_array(weights, macs=weights.size)
    return total(_tree(each) for each in model["trees"])


def _tree(tree: Mapping[str, Any]) -> Count:
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    is_leaf = left < 0
    # A leaf says what stands in the place of its threshold.
    values = np.array(tree["split_conditions"], dtype=np.float64)
    return count_tree(values[~is_leaf], values[is_leaf], depth_of(left, right))
