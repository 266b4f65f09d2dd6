r"""Label where it decides: which rows to ask about, and estimates that stay unbiased.

Rows on which two versions say the same cancel out of a paired comparison. Of the 3,090 rows
that prove a gain of one point at 5% disagreement, only :math:`0.05 \cdot 3090 \approx 155`
need a label; the difference is exactly 0 on the rest. For losses, rows count by how far
the two versions are apart: they are drawn with probability proportional to that, and each
label is weighted by one over its probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renewal.core.errors import Invalid
from renewal.stats.checked import Floats, check_share, finite_series


def labels_needed(n_rows: int, disagreement: float) -> int:
    """Return how many of `n_rows` need a label when the versions differ on a share of them.

    Parameters
    ----------
    n_rows : int >= 0
        Rows that the paired comparison needs, labeled or not.
    disagreement : float in (0, 1)
        Share of rows on which the two versions say different things; it is known before any
        label is.

    Returns
    -------
    int
        Rounded up; the saving is the factor 1 / `disagreement`.

    Examples
    --------
    A gain of one point at 5% disagreement, one-sided 5%, 80% power (Connor 1987):

    >>> labels_needed(3090, disagreement=0.05)
    155
    """
    check_share(disagreement, who="labels_needed", name="disagreement")
    # The tiny discount keeps 0.05 * 3100 = 155.00000000000003 from asking for one more.
    return math.ceil(n_rows * disagreement * (1.0 - 1e-12))


def inclusion_probabilities(size: ArrayLike, n_wanted: int, *, floor: float = 0.1) -> Floats:
    r"""Return with which chance each row should be labeled, so that labels go where it matters.

    Proportional to `size`, capped at 1: rows whose share exceeds 1 are certain, and what is
    left over is spread over the others until the sum is `n_wanted`. A row of size 0 cannot
    change the comparison and is never asked for. All others count at least `floor` times the
    mean of the nonzero sizes, so that no label gets a huge weight.

    Parameters
    ----------
    size : array_like of numbers >= 0, shape (n_rows,)
        How much the row can matter: 1 where two classifiers disagree and 0 elsewhere, or the
        distance of two predictions.
    n_wanted : int >= 1
        Labels that can be afforded; with as many rows or fewer all are certain.
    floor : float in (0, 1], default 0.1
        Least size, relative to the mean of the nonzero ones; 1 draws them all alike.

    Returns
    -------
    ndarray, shape (n_rows,)
        In [0, 1]; they sum to `n_wanted` or to the number of nonzero sizes, the smaller.

    Raises
    ------
    Invalid
        When a size is negative or not finite, `n_wanted` below 1, or `floor` out of range.

    Notes
    -----
    O(n) a pass; every pass makes at least one more row certain, a handful in practice.

    Examples
    --------
    >>> inclusion_probabilities([0, 1, 1, 2, 20], n_wanted=3)
    array([0. , 0.5, 0.5, 1. , 1. ])

    References
    ----------
    .. [1] Särndal, Swensson and Wretman (1992). Model assisted survey sampling, section 3.6.
    """
    sizes = finite_series(size, who="inclusion_probabilities")
    if (sizes < 0).any() or n_wanted < 1 or not 0.0 < floor <= 1.0:
        raise Invalid(
            "inclusion_probabilities",
            needs="sizes of at least 0, at least one label, and a floor in (0, 1]",
            came=f"sizes from {sizes.min():g}, n_wanted={n_wanted}, floor={floor:g}",
            todo="Pass the distance of the two predictions as the size.",
        )
    counts = sizes > 0
    n_nonzero = int(counts.sum())
    if n_nonzero <= n_wanted:
        return counts.astype(np.float64)
    # Only proportions count; scaled, neither huge nor tiny sizes can overflow the sum.
    scaled = sizes / sizes.max()
    weights = np.where(counts, np.maximum(scaled, floor * scaled[counts].mean()), 0.0)
    chances: Floats = weights * (n_wanted / weights.sum())
    while (over := chances > 1.0).any():
        chances[over] = 1.0
        open_rows = counts & (chances < 1.0)
        left = n_wanted - int((counts & ~open_rows).sum())
        chances[open_rows] = weights[open_rows] * (left / weights[open_rows].sum())
    return chances


def draw(probabilities: ArrayLike, *, seed: int = 0) -> NDArray[np.intp]:
    """Draw rows with exactly these chances, a fixed number of them.

    Systematic sampling in random order: the rows are shuffled, their chances laid end to
    end, and every whole step from a random start picks the row it falls on. The number drawn
    is the sum of the chances, or one of its two neighbors where that is not whole.

    Parameters
    ----------
    probabilities : array_like in [0, 1], shape (n_rows,)
        From `inclusion_probabilities`.
    seed : int, default 0
        Same seed, same rows.

    Returns
    -------
    ndarray of int
        Positions of the rows to label, ascending.

    Raises
    ------
    Invalid
        When a chance lies outside [0, 1].

    Notes
    -----
    O(n). Certain rows are always among them, rows of chance 0 never.

    Examples
    --------
    >>> draw([0.0, 0.5, 0.5, 1.0, 1.0], seed=3)
    array([2, 3, 4])

    References
    ----------
    .. [1] Madow (1949). On the theory of systematic sampling II. Annals of Mathematical
       Statistics 20(3).
    """
    chances = finite_series(probabilities, who="draw")
    if (chances < 0).any() or (chances > 1).any():
        raise Invalid(
            "draw",
            needs="chances between 0 and 1",
            came=f"values from {chances.min():g} to {chances.max():g}",
            todo="Take them from inclusion_probabilities.",
        )
    rng = np.random.default_rng(seed)
    # Certain rows stand aside: rounding in a long sum could step over one of them.
    certain = np.flatnonzero(chances == 1.0)
    shuffled = rng.permutation(np.flatnonzero((chances > 0.0) & (chances < 1.0)))
    ends = np.cumsum(chances[shuffled])
    # A sum that misses a whole number by rounding would make the number drawn a matter of luck.
    if ends.size and abs(ends[-1] - round(ends[-1])) < 1e-6:
        ends *= round(ends[-1]) / ends[-1]
    steps = np.floor(np.concatenate(([0.0], ends)) - rng.uniform())
    picked = shuffled[np.diff(steps) > 0]
    return np.sort(np.concatenate((certain, picked)))


@dataclass(frozen=True, slots=True)
class SampledMean:
    """A mean over many rows, estimated from those that were labeled.

    Parameters
    ----------
    mean : float
        Unbiased estimate of the mean over all `n_total` rows, in the unit of the values.
    se_of_rows : float
        Its standard error as an estimate for these very rows; 0 once all that matter are
        labeled.
    se : float
        Its standard error as an estimate for the population that the rows were drawn from,
        taken as independent: what a comparison of versions needs.
    n_sampled : int
        Rows labeled.
    n_total : int
        Rows the mean is over.
    """

    mean: float
    se_of_rows: float
    se: float
    n_sampled: int
    n_total: int


def horvitz_thompson(values: ArrayLike, probabilities: ArrayLike, n_total: int) -> SampledMean:
    r"""Estimate a mean over `n_total` rows from a sample with known chances.

    :math:`\hat\mu = \frac1N \sum_{sampled} y_i / \pi_i`: a row that had one chance in ten
    stands for ten. Rows of chance 0 must have the value 0, as rows have on which the two
    versions agree.

    Parameters
    ----------
    values : array_like, shape (n_sampled,)
        Value of each sampled row, such as the candidate's loss minus the baseline's.
    probabilities : array_like in (0, 1], shape (n_sampled,)
        The chance with which each of them was drawn.
    n_total : int >= n_sampled
        Rows in all, those that were never asked for included.

    Returns
    -------
    SampledMean
        The estimate with both its errors.

    Raises
    ------
    Invalid
        When lengths differ, a chance is not in (0, 1], or `n_total` is too small.

    Notes
    -----
    Variance by Deville's formula for samples of fixed size,
    :math:`\frac{n}{n-1} \sum (1-\pi_i)(y_i/\pi_i - B)^2`, *B* the mean of :math:`y_i/\pi_i`
    weighted by :math:`1-\pi_i`, *n* the sampled rows that were not certain; NaN for one of
    them. For rows in blocks use `weighted_block_means` and `paired_mean`.

    Examples
    --------
    >>> found = horvitz_thompson([1, -1, 1, 1], [0.5, 0.5, 0.5, 1.0], n_total=100)
    >>> found.mean, round(found.se_of_rows, 4)
    (0.03, 0.0283)

    References
    ----------
    .. [1] Horvitz and Thompson (1952). A generalization of sampling without replacement from a
       finite universe. Journal of the American Statistical Association 47.
    .. [2] Deville (1999). Variance estimation for complex statistics and estimators. Survey
       Methodology 25(2).
    """
    y, chances = _sampled(values, probabilities, who="horvitz_thompson")
    if n_total < y.size:
        raise Invalid(
            "horvitz_thompson",
            needs="as many rows in all as were sampled, or more",
            came=f"n_total={n_total} and {y.size} sampled rows",
            todo="Count the rows that were not asked for, too.",
        )
    expanded: Floats = y / chances
    mean = float(expanded.sum()) / n_total
    variance = _design_variance(expanded, chances)
    se_of_rows = math.sqrt(variance) / n_total
    spread = max(float((y * expanded).sum()) / n_total - mean**2, 0.0)
    se = math.sqrt(se_of_rows**2 + spread / n_total)
    return SampledMean(mean, se_of_rows, se, n_sampled=y.size, n_total=n_total)


def weighted_block_means(
    values: ArrayLike, probabilities: ArrayLike, block_at: ArrayLike, n_rows_of_block: ArrayLike
) -> Floats:
    r"""Return unbiased means of each block when only some of its rows were labeled.

    :math:`\frac1{n_b} \sum_{sampled\ in\ b} y_i / \pi_i`. Rows that could not be drawn count
    as 0, which is exact where the two versions agree. The spread of these means holds both
    what the rows vary and what the sampling adds, so every test on blocks takes them as is.

    Parameters
    ----------
    values : array_like, shape (n_sampled,)
        Difference of the two versions on each sampled row.
    probabilities : array_like in (0, 1], shape (n_sampled,)
        The chance with which each was drawn.
    block_at : array_like of int in [0, n_blocks), shape (n_sampled,)
        Position of its block.
    n_rows_of_block : array_like of int >= 1, shape (n_blocks,)
        Rows of each block, labeled or not; also the weights for `paired_mean`.

    Returns
    -------
    ndarray, shape (n_blocks,)
        0 for a block of which no row was drawn.

    Raises
    ------
    Invalid
        When lengths differ, a chance is not in (0, 1], or a block does not exist.

    Notes
    -----
    O(n_sampled). They are unbiased, not bounded by the values' own bounds: a row drawn with
    chance 0.1 weighs ten, so a betting test must be told the wider range.

    Examples
    --------
    >>> weighted_block_means([1, -1, 1], [0.5, 0.5, 1], block_at=[0, 0, 1],
    ...                      n_rows_of_block=[10, 20, 10])
    array([0.  , 0.05, 0.  ])
    """
    who = "weighted_block_means"
    y, chances = _sampled(values, probabilities, who=who)
    at, n_rows = np.asarray(block_at), np.asarray(n_rows_of_block)
    is_sound = at.shape == y.shape and n_rows.ndim == 1 and at.dtype.kind in "iu"
    if not is_sound or (at < 0).any() or (at >= n_rows.size).any() or (n_rows < 1).any():
        raise Invalid(
            who,
            needs="for each sampled row the position of a block that has at least one row",
            came=f"positions of shape {at.shape} and {n_rows.size} blocks",
            todo="Number the blocks from 0 and count all their rows.",
        )
    totals = np.bincount(at, weights=y / chances, minlength=n_rows.size)
    means: Floats = totals / n_rows
    return means


def _design_variance(expanded: Floats, chances: Floats) -> float:
    doubt = 1.0 - chances
    n_uncertain = int((doubt > 0).sum())
    if n_uncertain == 0:
        return 0.0
    if n_uncertain == 1:
        return math.nan
    center = float(doubt @ expanded / doubt.sum())
    return n_uncertain / (n_uncertain - 1) * float(doubt @ (expanded - center) ** 2)


def _sampled(values: ArrayLike, probabilities: ArrayLike, *, who: str) -> tuple[Floats, Floats]:
    y, chances = finite_series(values, who=who), finite_series(probabilities, who=who)
    if y.shape != chances.shape or not ((chances > 0) & (chances <= 1)).all():
        raise Invalid(
            who,
            needs="for each sampled row a value and its chance in (0, 1]",
            came=f"{y.size} values and {chances.size} chances from {chances.min():g}",
            todo="Keep the chance of each row with its label.",
        )
    return y, chances
