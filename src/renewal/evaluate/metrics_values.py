"""Metrics of a regression: errors in the unit of the target, and the share explained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.evaluate.metrics_coded import VALUES, Form, Values
from renewal.models.task import Scores

_NO_TOP = (0.0, None)


def pinball(quantile: float) -> Form:
    r"""Return the form of the pinball loss, which the true quantile makes smallest.

    .. math:: \max(q\,(y - s),\; (q - 1)\,(y - s))

    Parameters
    ----------
    quantile : float in (0, 1), dimensionless
        At 0.5 it is half the absolute error.

    Raises
    ------
    Invalid
        On another number.

    Examples
    --------
    >>> rows = Values(np.array([[1.0], [5.0]]), np.array([[3.0], [3.0]]))
    >>> pinball(0.9).per_row(rows)
    array([1.8, 0.2])
    """
    if not 0.0 < quantile < 1.0:
        raise Invalid(
            "the metric 'pinball'",
            needs="a quantile between 0 and 1, as in pinball_0.9",
            came=repr(quantile),
            todo="Name the quantile that the model predicts.",
        )
    mean = partial(_mean_pinball, quantile)
    return Form(False, _NO_TOP, "row", VALUES, mean, per_row=partial(_pinballs, quantile))


def _pinballs(quantile: float, rows: Values) -> Scores:
    gap = rows.truth - rows.scores
    is_under = (gap >= 0).astype(np.float64)
    # In scikit-learn's order of terms, so that they agree in each bit.
    loss = quantile * is_under * gap - (1 - quantile) * (1 - is_under) * gap
    return np.asarray(loss[:, 0])


def _mean_pinball(quantile: float, rows: Values) -> float:
    return float(np.mean(_pinballs(quantile, rows)))


def _absolute_errors(rows: Values) -> Scores:
    return np.asarray(np.abs(rows.scores - rows.truth)[:, 0])


def _squared_errors(rows: Values) -> Scores:
    return np.asarray(((rows.truth - rows.scores) ** 2)[:, 0])


def _mae(rows: Values) -> float:
    return float(np.mean(_absolute_errors(rows)))


def _median(rows: Values) -> float:
    return float(np.median(_absolute_errors(rows)))


def _mse(rows: Values) -> float:
    return float(np.mean(_squared_errors(rows)))


def _rmse(rows: Values) -> float:
    return math.sqrt(_mse(rows))


def _rmse_counts(rows: Values) -> NDArray[Any]:
    return np.column_stack([np.ones(len(rows.truth)), _squared_errors(rows)])


def _rmse_of_counts(totals: NDArray[Any]) -> Scores:
    return np.asarray(np.sqrt(_divided(totals[..., 1], totals[..., 0])))


def _r2(rows: Values) -> float:
    total = float(np.sum((rows.truth - np.mean(rows.truth)) ** 2))
    left = float(np.sum((rows.truth - rows.scores) ** 2))
    return 1.0 - left / total if total > 0.0 else math.nan


def _r2_counts(rows: Values) -> NDArray[Any]:
    # About the mean of these rows, lest large values cancel; so they add up within one call.
    centered = (rows.truth - np.mean(rows.truth))[:, 0]
    return np.column_stack([np.ones(len(centered)), centered, centered**2, _squared_errors(rows)])


def _r2_of_counts(totals: NDArray[Any]) -> Scores:
    n_rows, first, second, left = (np.asarray(totals[..., at]) for at in range(4))
    spread = second - _divided(first**2, n_rows)
    return 1.0 - _divided(left, np.where(spread > 0.0, spread, 0.0))


def _divided(over: NDArray[Any], under: NDArray[Any]) -> Scores:
    undefined: Scores = np.full(np.shape(over), math.nan)
    return np.asarray(np.divide(over, under, out=undefined, where=under != 0))


FORMS: Mapping[str, Form] = {
    "mae": Form(False, _NO_TOP, "row", VALUES, _mae, per_row=_absolute_errors),
    "mse": Form(False, _NO_TOP, "row", VALUES, _mse, per_row=_squared_errors),
    "median_absolute_error": Form(False, _NO_TOP, "set", VALUES, _median),
    "rmse": Form(
        False, _NO_TOP, "set", VALUES, _rmse, counts=_rmse_counts, of_counts=_rmse_of_counts
    ),
    "r2": Form(True, (None, 1.0), "set", VALUES, _r2, counts=_r2_counts, of_counts=_r2_of_counts),
}
