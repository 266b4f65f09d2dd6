"""A ready-made student of LightGBM, from large to small."""

from __future__ import annotations

from typing import Any

import lightgbm

from renewal.core.spec import Signature
from renewal.models.task import Classes


def boosting(signature: Signature, classes: Classes, size: float) -> Any:  # noqa: ARG001  # the adapter takes every column as it is
    """Return LightGBM's boosting: 200 rounds at size 1, with smaller trees where it is small.

    Parameters
    ----------
    signature : Signature
        Columns of numbers, booleans and texts.
    classes : tuple
        Of the task; empty for a regression.
    size : float in (0, 1]
        1 is the largest student.
    """
    n_trees = len(classes) if len(classes) > 2 else 1
    n_rounds = max(1, round(200 * size * min(1.0, 3.0 / n_trees)))
    shape: dict[str, Any] = {
        "n_estimators": n_rounds,
        "num_leaves": max(4, round(31 * size**0.5)),
        # Few rounds must each go further.
        "learning_rate": min(0.5, max(0.1, 8.0 / n_rounds)),
        "n_jobs": 1,
        "verbose": -1,
    }
    return lightgbm.LGBMClassifier(**shape) if classes else lightgbm.LGBMRegressor(**shape)
