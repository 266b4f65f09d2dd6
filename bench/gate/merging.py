"""Blocks merged into longer ones: the rule beside ours that estimates a block length.

`paired_mean` charges resemblance itself. A permutation, a bootstrap, McNemar's test or an
e-process of counts cannot: they are handed longer blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from renewal.core.errors import Invalid
from renewal.stats.checked import Floats, block_weights, finite_series
from renewal.stats.paired import PRIOR_BLOCKS_LOOKING, paired_mean


def block_length(values: ArrayLike, weights: ArrayLike | None = None, *, least: int = 1) -> int:
    r"""Return how many neighboring blocks to merge into one unit of evidence.

    As many as one independent block is worth: :math:`n / n_{eff}`, rounded, where the
    effective number comes from the autocorrelation of the paired differences.

    Parameters
    ----------
    values : array_like, shape (n,)
        Mean difference of each block, in the order of time.
    weights : array_like of positive numbers, shape (n,), default equal
        Rows of each block.
    least : int >= 1, blocks, default 1
        Never shorter than this: the label delay, counted in blocks and rounded up.

    Returns
    -------
    int
        At least `least`; no more than n where `least` allows it.

    Notes
    -----
    Costs as much as `paired_mean`. Determine it once, on blocks that the test does not judge
    or at its first look: a length that changes from look to look changes the hypothesis.

    Of 90 blocks whose neighbors correlate by 0 / 0.3 / 0.5 it is 1.2 / 2.2 / 3.3 on average.
    At 5% the t e-process that peeks after each merged block errs in 2% / 4% / 5% of runs, after
    unmerged ones in 2% / 10% / 21%. One plain t test errs in 5% / 8% / 9%, unmerged in
    5% / 11% / 17%: for a test that has no slack merge twice as many (5% / 7% / 7%).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> noise = rng.normal(size=200)
    >>> walk = np.convolve(noise, np.ones(5), "valid")  # each value shares 4 of 5 parts
    >>> block_length(noise), block_length(walk), block_length(noise, least=3)
    (1, 6, 3)
    """
    _check_length(least, who="block_length", name="least")
    found = paired_mean(values, weights, prior_blocks=PRIOR_BLOCKS_LOOKING)
    return max(least, round(found.n / found.n_effective))


def merge_blocks(
    values: ArrayLike, weights: ArrayLike | None = None, *, length: int
) -> tuple[Floats, Floats]:
    """Return means and weights of runs of `length` neighboring blocks.

    Parameters
    ----------
    values : array_like, shape (n,)
        Mean difference of each block, in the order of time.
    weights : array_like of positive numbers, shape (n,), default equal
        Rows of each block.
    length : int >= 1, blocks
        From `block_length`, or declared.

    Returns
    -------
    means : ndarray, shape (max(1, n // length),)
        Mean over the rows of each run.
    weights : ndarray, same shape
        Rows of each run; counts of blocks where no weights came.

    Notes
    -----
    O(n). A rest shorter than `length` joins the last run, so that no row is lost. While blocks
    still come, the last run changes: look only when n is a multiple of `length`.

    Examples
    --------
    >>> means, rows = merge_blocks([1.0, 3.0, 2.0, 2.0, 8.0], [10, 30, 5, 5, 10], length=2)
    >>> means.tolist(), rows.tolist()
    ([2.5, 5.0], [40.0, 20.0])
    """
    series = finite_series(values, who="merge_blocks")
    block_weights(weights, series.size, who="merge_blocks")
    _check_length(length, who="merge_blocks", name="length")
    rows = np.ones(series.size) if weights is None else np.asarray(weights, dtype=np.float64)
    starts = np.arange(max(1, series.size // length)) * length
    total = np.add.reduceat(rows, starts)
    means: Floats = np.add.reduceat(rows * series, starts) / total
    return means, total


def _check_length(value: int, *, who: str, name: str) -> None:
    if value < 1:
        raise Invalid(
            who,
            needs=f"{name} of at least 1 block",
            came=repr(value),
            todo=f"Pass {name} as a number of blocks.",
        )
