"""What is changed in XGBoost's models in their JSON form: leaf values, and categories."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def mixed(old: bytes, refreshed: bytes, decay: float) -> bytes:
    """Return the refreshed model with `decay` of the old leaf values and the rest of its own.

    The trees of both must be the same but for what their leaves hold. Of the two ensembles
    this is the mixture of their margins. A leaf that no row has reached keeps its old value:
    XGBoost would leave nothing in it.

    Parameters
    ----------
    old, refreshed : bytes
        Models in XGBoost's JSON format.
    decay : float in [0, 1]
        Share of the old value.

    Returns
    -------
    bytes
        A model in XGBoost's JSON format.
    """
    before, after = json.loads(old), json.loads(refreshed)
    for one, other in zip(_trees(before), _trees(after), strict=True):
        is_leaf = np.array(one["left_children"]) == -1
        was = np.array(one["split_conditions"], dtype=np.float32)
        became = np.array(other["split_conditions"], dtype=np.float32)
        share = np.where(np.array(other["sum_hessian"]) > 0, decay, 1.0).astype(np.float32)
        values = np.where(is_leaf, share * was + (1 - share) * became, was)
        # As Python floats: the shortest text of a single is read back as the same single.
        other["split_conditions"] = values.astype(np.float32).tolist()
    return json.dumps(after).encode()


def without_categories(model: bytes) -> bytes:
    """Return a model without the texts of its categories; its trees know them by code alone.

    Parameters
    ----------
    model : bytes
        In XGBoost's JSON format. Fitted on a frame, it holds the texts, and refuses to go on
        with a matrix of codes.
    """
    found = json.loads(model)
    held = found["learner"]["gradient_booster"].get("model", {}).get("cats", {})
    for name in held:
        held[name] = []
    return json.dumps(found).encode()


def _trees(model: Any) -> list[dict[str, Any]]:
    trees: list[dict[str, Any]] = model["learner"]["gradient_booster"]["model"]["trees"]
    return trees
