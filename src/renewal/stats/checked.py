"""The one check of every array that enters a test: finite, one-dimensional, not empty."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renewal.core.errors import Invalid

Floats = NDArray[np.float64]


def finite_series(values: ArrayLike, *, who: str) -> Floats:
    """Return `values` as a float64 array of one dimension, refusing NaN and infinity.

    A NaN that slipped into a mean would turn every comparison into "not significant".

    Parameters
    ----------
    values : array_like, shape (n,)
        One number per block, at least one.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        When `values` is empty, has another shape, or holds a value that is not finite.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or series.size == 0:
        raise Invalid(
            who,
            needs="one number per block, and at least one block",
            came=f"an array of shape {series.shape}",
            todo="Pass a flat array of block means.",
        )
    if not np.isfinite(series).all():
        raise Invalid(
            who,
            needs="finite numbers",
            came=f"{int((~np.isfinite(series)).sum())} of {series.size} that are NaN or infinite",
            todo="Find the block whose loss is not a number.",
        )
    return series


def block_weights(weights: ArrayLike | None, n: int, *, who: str) -> Floats:
    """Return weights of mean 1, one for each of `n` blocks; equal ones when None.

    Raises
    ------
    Invalid
        When their number is not `n` or one of them is not positive.
    """
    if weights is None:
        return np.ones(n)
    series = finite_series(weights, who=who)
    if series.size != n or not (series > 0).all():
        raise Invalid(
            who,
            needs=f"one positive weight for each of {n} blocks",
            came=f"{series.size} weights, the smallest {series.min():g}",
            todo="Pass the number of rows of each block.",
        )
    scaled: Floats = series / series.mean()
    return scaled


def check_share(value: float, *, who: str, name: str) -> float:
    """Return `value`; refuse one outside the open interval (0, 1).

    Raises
    ------
    Invalid
        When `value` is not strictly between 0 and 1.
    """
    if not 0.0 < value < 1.0:
        raise Invalid(
            who,
            needs=f"{name} strictly between 0 and 1",
            came=f"{value!r}",
            todo=f"Pass {name} as a share, such as 0.05.",
        )
    return value
