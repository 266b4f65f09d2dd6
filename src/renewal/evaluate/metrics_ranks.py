"""Metrics of the order in which scores put the rows: areas under curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from renewal.evaluate.metrics_coded import Coded, Form
from renewal.models.task import Scores

Bools = NDArray[np.bool_]
_BINARY = ("binary",)
_SHARE = (0.0, 1.0)


def _curve(is_positive: Bools, score: Scores) -> tuple[Scores, Scores]:
    """Count true and false positives at each distinct score, from the largest down."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(is_positive[order], dtype=np.float64)[ends]
    return true, 1 + ends.astype(np.float64) - true


def _auc(is_positive: Bools, score: Scores) -> float:
    """Area under the ROC curve by the trapezoidal rule, ties as one threshold."""
    n_positive = int(is_positive.sum())
    if n_positive in (0, len(is_positive)):
        return math.nan
    true, false = _curve(is_positive, score)
    if len(false) > 2:
        # Points on a straight line are dropped, as in scikit-learn, so that sums agree.
        corners = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.concatenate([[True], corners, [True]])
        false, true = false[kept], true[kept]
    true, false = np.append(0.0, true), np.append(0.0, false)
    return float(np.trapezoid(true / true[-1], false / false[-1]))


def _average_precision(is_positive: Bools, score: Scores) -> float:
    """Precision at each threshold, weighted by the recall that it adds."""
    if not is_positive.any():
        return math.nan
    true, false = _curve(is_positive, score)
    precision = (true / (true + false))[::-1]
    recall = np.append((true / true[-1])[::-1], 0.0)
    return float(max(0.0, -np.sum(np.diff(recall) * precision)))


def _of_positive(area: Callable[[Bools, Scores], float], coded: Coded) -> float:
    return area(*_ranked(coded))


def _macro(area: Callable[[Bools, Scores], float], coded: Coded) -> float:
    columns = range(coded.scores.shape[1])
    return float(np.mean([area(coded.is_true[:, at], coded.scores[:, at]) for at in columns]))


def _ranked(coded: Coded) -> tuple[Bools, Scores]:
    return coded.is_true[:, 1], coded.scores[:, 1]


_ANY_CLASS = partial(_macro, _auc)

FORMS: Mapping[str, Form] = {
    "auc": Form(True, _SHARE, "rank", _BINARY, partial(_of_positive, _auc), ranked=_ranked),
    "average_precision": Form(
        True, _SHARE, "set", _BINARY, partial(_of_positive, _average_precision)
    ),
    "ovr_auc": Form(True, _SHARE, "set", ("binary", "multiclass"), _ANY_CLASS),
    "macro_auc": Form(True, _SHARE, "set", ("multilabel",), _ANY_CLASS),
    "macro_average_precision": Form(
        True,
        _SHARE,
        "set",
        ("binary", "multiclass", "multilabel"),
        partial(_macro, _average_precision),
    ),
}
