"""Rows two by two: how a row gets the same scores alone and in any company.

ONNX Runtime multiplies a single row by another kernel than several, and adds in another order:
the last bit of a score then depends on how many rows were sent together. It treats pairs of
rows alike, however many there are. So where a graph is found to be unsteady, the last row of an
odd number is sent twice, which costs a microsecond.

Seen with one thread on 1 to 64 rows: products of float64 with three or more columns of answers,
and products in which neither side is a constant (attention, additions, weights that are mapped)
are unsteady. Trees, float32 layers of fixed weights, convolutions and linear models of two
classes are steady as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import RenewalError
from renewal.models.task import Scores

_MOST_TRIED, _FEWEST_TRIED = 64, 8
_LONG_S = 0.2


def evened(feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a feed with its last row once more.

    Examples
    --------
    >>> evened({"x": np.array([[1.0], [2.0], [3.0]])})["x"].T.tolist()
    [[1.0, 2.0, 3.0, 3.0]]
    """
    return {name: np.concatenate([each, each[-1:]]) for name, each in feed.items()}


def is_unsteady(predict: Callable[[NDArray[np.float64]], Scores], n_columns: int) -> bool:
    """Say whether rows get other scores in pairs, threes or all together than alone.

    Parameters
    ----------
    predict : callable
        From a matrix to scores.
    n_columns : int
        Of the matrix.

    Returns
    -------
    bool
        False also where made-up rows are refused, or more than one at a time.

    Notes
    -----
    64 rows, or as many as 0.2 s allow, but 8 at least.
    """
    rows = np.random.default_rng(0).normal(size=(_MOST_TRIED, n_columns))
    alone: list[Scores] = []
    began_s = perf_counter()
    try:
        for at in range(_MOST_TRIED):
            alone.append(predict(rows[at : at + 1]))
            if at + 1 >= _FEWEST_TRIED and perf_counter() - began_s > _LONG_S:
                break
        n_rows = len(alone)
        expected = np.concatenate(alone)
        return not all(
            np.array_equal(
                np.concatenate(
                    [predict(rows[at : min(at + size, n_rows)]) for at in range(0, n_rows, size)]
                ),
                expected,
                equal_nan=True,
            )
            for size in (2, 3, n_rows)
        )
    except RenewalError:
        return False
