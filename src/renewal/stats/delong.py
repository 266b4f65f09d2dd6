"""Two areas under the ROC curve on the same rows: DeLong's test, rows taken in blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import Floats, check_share, finite_series

# Sums of midranks are exact to far more digits than this; below it an error is rounding.
_ZERO = 1e-12


@dataclass(frozen=True, slots=True)
class AucDifference:
    r"""The difference of two areas under the ROC curve, with what is needed to bound it.

    Parameters
    ----------
    auc_baseline, auc_candidate : float in [0, 1]
        Chance that a positive row is scored above a negative one, ties counted half; NaN
        where only one class is present.
    difference : float in [-1, 1]
        Candidate minus baseline.
    se : float
        Its standard error; NaN where the rows cannot tell.
    n_blocks : int
        Blocks in all.
    n_decisive : int
        Blocks that hold a row of the rarer class: the bounds use Student's t with one degree
        of freedom less than these, since no evidence comes from the other class alone.

    Notes
    -----
    Both bounds are one-sided: each is wrong with chance `alpha`, together with 2 `alpha`.
    What happens at the edges:

    - *One class only*, or fewer than two blocks that hold one of them: the rows cannot
      tell. Bounds are NaN and every p-value is 1.
    - *Both versions put all rows in the same order* (the same model, a monotone rescaling
      of it, or both perfect): the estimated error is 0 and must not be believed. Among *K*
      disjoint pairs none was ordered differently, which has chance
      :math:`(1-q)^K` where *q* of all pairs are; as :math:`|difference| \le q`, the bounds
      are :math:`\pm(1 - \alpha^{1/K})` with *K* the decisive blocks.
    - *The error vanishes and the difference does not* (constant scores against perfect
      ones): cannot tell, as above. Take a loss that is defined row by row.
    """

    auc_baseline: float
    auc_candidate: float
    difference: float
    se: float
    n_blocks: int
    n_decisive: int

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound of the difference at level `alpha`."""
        check_share(alpha, who="AucDifference.lower", name="alpha")
        return self.difference - self._reach(alpha)

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound of the difference at level `alpha`."""
        check_share(alpha, who="AucDifference.upper", name="alpha")
        return self.difference + self._reach(alpha)

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "the difference is at most `margin`"."""
        if math.isnan(self.se):
            return 1.0
        if self.se == 0.0:
            return 1.0 if margin >= 0.0 else max(0.0, 1.0 + margin) ** self.n_decisive
        t = (self.difference - margin) / self.se
        return float(special.stdtr(self.n_decisive - 1, -t))

    def _reach(self, alpha: float) -> float:
        if self.se == 0.0:
            return float(1.0 - alpha ** (1.0 / self.n_decisive))
        if math.isnan(self.se):
            return math.nan
        return float(-special.stdtrit(self.n_decisive - 1, alpha)) * self.se


def paired_delong(
    is_positive: ArrayLike,
    baseline_scores: ArrayLike,
    candidate_scores: ArrayLike,
    blocks: ArrayLike | None = None,
) -> AucDifference:
    r"""Compare the areas under the ROC curve of two versions on the same rows.

    Each positive row *i* has a component :math:`V_i`, the share of negative rows scored
    below it, and each negative row *j* the share :math:`W_j` of positive rows scored above
    it; both average to the area. The difference of the two versions' components varies by
    row, and that variation is its error. Rows of one block err together, so components are
    centered and summed inside each block first: with sums :math:`a_b` over its positives
    (divided by their number *m*) and :math:`c_b` over its negatives (divided by *n*),

    .. math:: se^2 = k_m \sum_b a_b^2 + k_n \sum_b c_b^2 + 2 k \sum_b a_b c_b,
              \qquad k = B / (B - 1)

    where *B* counts the blocks that hold positives, negatives, and any row. With one row a
    block this is DeLong's test.

    Parameters
    ----------
    is_positive : array_like of bool, shape (n_rows,)
        Truth of each row.
    baseline_scores, candidate_scores : array_like, shape (n_rows,)
        Any finite scores; only their order counts.
    blocks : array_like of int, shape (n_rows,), default one block a row
        Which block each row belongs to.

    Returns
    -------
    AucDifference
        The estimate and its bounds; what it says at the edges is written there.

    Raises
    ------
    Invalid
        When lengths differ, a score is not finite, or the truth is not yes or no.

    Notes
    -----
    O(n log n); a million rows take about 0.6 s. Blocks are taken as independent of each
    other; for days that resemble their neighbors hand `auc_block_values` to `paired_mean`.
    Equal versions are called better at one-sided 5%: 4.9% to 5.5% of the time for 14, 30 or
    100 blocks of 20 correlated rows (4.1% to 4.6% by `paired_mean` of the block values),
    where rows taken as independent say so 25% of the time; 5.3% for 10 positives and 500
    negatives in independent rows (2,000 and 4,000 trials).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.arange(400) % 2 == 0
    >>> live = truth + rng.normal(size=400)
    >>> sharper = truth + 0.5 * rng.normal(size=400) + 0.1 * live
    >>> found = paired_delong(truth, live, sharper)
    >>> round(found.auc_baseline, 3), round(found.difference, 3), round(found.lower(0.025), 3)
    (0.737, 0.189, 0.138)

    One class only cannot tell, and is never a pass:

    >>> alone = paired_delong([1, 1], [0.2, 0.3], [0.5, 0.9])
    >>> alone.lower(0.05), alone.p_value()
    (nan, 1.0)

    References
    ----------
    .. [1] DeLong, DeLong and Clarke-Pearson (1988). Comparing the areas under two or more
       correlated ROC curves. Biometrics 44(3).
    .. [2] Obuchowski (1997). Nonparametric analysis of clustered ROC curve data.
       Biometrics 53(2).
    .. [3] Sun and Xu (2014). Fast implementation of DeLong's algorithm. IEEE Signal
       Processing Letters 21(11).
    """
    who = "paired_delong"
    truth, baseline, candidate = _same_rows(is_positive, baseline_scores, candidate_scores, who)
    codes = _block_codes(blocks, truth.size, who)
    n_blocks = int(codes.max()) + 1
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    if n_positive == 0 or n_negative == 0:
        return AucDifference(math.nan, math.nan, math.nan, math.nan, n_blocks, 0)
    before, after = _components(truth, baseline), _components(truth, candidate)
    auc_baseline, auc_candidate = float(before[truth].mean()), float(after[truth].mean())
    difference = auc_candidate - auc_baseline
    change = after - before
    sums = np.zeros((2, n_blocks))
    held = []
    for side, of_class in enumerate((truth, ~truth)):
        inside = codes[of_class]
        centered = (change[of_class] - difference) / inside.size
        sums[side] = np.bincount(inside, weights=centered, minlength=n_blocks)
        held.append(int(np.count_nonzero(np.bincount(inside, minlength=n_blocks))))
    se = _standard_error(sums, held)
    if not change.any():
        se = 0.0 if min(held) >= 2 else math.nan
    elif se <= _ZERO:
        se = math.nan
    return AucDifference(auc_baseline, auc_candidate, difference, se, n_blocks, min(held))


def auc_block_values(
    is_positive: ArrayLike,
    baseline_scores: ArrayLike,
    candidate_scores: ArrayLike,
    blocks: ArrayLike,
) -> Floats:
    r"""Return one value a block whose mean is the difference of the two areas.

    :math:`x_b = difference + B\,(a_b + c_b)` with the block sums of `paired_delong`: each is
    what the block says about the difference. `paired_mean` of them, in the order of time,
    pays for days that resemble their neighbors, which the clustered test does not.

    Parameters
    ----------
    is_positive : array_like of bool, shape (n_rows,)
        Truth of each row.
    baseline_scores, candidate_scores : array_like, shape (n_rows,)
        Any finite scores.
    blocks : array_like of int, shape (n_rows,)
        Which block each row belongs to; values come back in ascending order of it.

    Returns
    -------
    ndarray, shape (n_blocks,)
        NaN everywhere when only one class is present.

    Raises
    ------
    Invalid
        As `paired_delong`.

    Examples
    --------
    >>> truth = [1, 0, 1, 0, 1, 0]
    >>> live, new = [0.5, 0.6, 0.7, 0.2, 0.4, 0.3], [0.8, 0.6, 0.7, 0.2, 0.4, 0.3]
    >>> auc_block_values(truth, live, new, blocks=[0, 0, 1, 1, 2, 2]).round(3)
    array([ 0.556, -0.111, -0.111])

    References
    ----------
    .. [1] Obuchowski (1997). Nonparametric analysis of clustered ROC curve data.
    """
    who = "auc_block_values"
    truth, baseline, candidate = _same_rows(is_positive, baseline_scores, candidate_scores, who)
    codes = _block_codes(blocks, truth.size, who)
    n_blocks = int(codes.max()) + 1
    n_positive = int(truth.sum())
    if n_positive in {0, truth.size}:
        return np.full(n_blocks, math.nan)
    change = _components(truth, candidate) - _components(truth, baseline)
    difference = change[truth].mean()
    size_of_class = np.where(truth, n_positive, truth.size - n_positive)
    says = np.bincount(codes, weights=(change - difference) / size_of_class)
    values: Floats = np.asarray(difference + n_blocks * says, dtype=np.float64)
    return values


def _components(truth: NDArray[np.bool_], scores: Floats) -> Floats:
    """Give each row the share of the other class that it is on the right side of."""
    distinct, at = np.unique(scores, return_inverse=True)
    positives = np.bincount(at[truth], minlength=distinct.size)
    negatives = np.bincount(at[~truth], minlength=distinct.size)
    below = (np.cumsum(negatives) - 0.5 * negatives) / negatives.sum()
    above = 1.0 - (np.cumsum(positives) - 0.5 * positives) / positives.sum()
    shares: Floats = np.where(truth, below[at], above[at])
    return shares


def _standard_error(sums: Floats, held: list[int]) -> float:
    n_blocks = sums.shape[1]
    if min(held) < 2:
        return math.nan
    of_positives, of_negatives, of_all = (k / (k - 1) for k in (*held, n_blocks))
    variance = (
        of_positives * float(sums[0] @ sums[0])
        + of_negatives * float(sums[1] @ sums[1])
        + 2.0 * of_all * float(sums[0] @ sums[1])
    )
    return math.sqrt(max(variance, 0.0))


def _same_rows(
    is_positive: ArrayLike, baseline_scores: ArrayLike, candidate_scores: ArrayLike, who: str
) -> tuple[NDArray[np.bool_], Floats, Floats]:
    labels = finite_series(is_positive, who=who)
    baseline = finite_series(baseline_scores, who=who)
    candidate = finite_series(candidate_scores, who=who)
    if not labels.size == baseline.size == candidate.size:
        raise Invalid(
            who,
            needs="one label and two scores a row",
            came=f"{labels.size} labels, {baseline.size} and {candidate.size} scores",
            todo="Score both versions on the same snapshot.",
        )
    if not np.isin(labels, (0.0, 1.0)).all():
        raise Invalid(
            who,
            needs="labels that are true or false",
            came=f"values such as {labels[~np.isin(labels, (0.0, 1.0))][0]:g}",
            todo="Compare the label with the positive class first.",
        )
    return labels == 1.0, baseline, candidate


def _block_codes(blocks: ArrayLike | None, n_rows: int, who: str) -> NDArray[np.intp]:
    if blocks is None:
        return np.arange(n_rows)
    codes = np.asarray(blocks)
    if codes.shape != (n_rows,):
        raise Invalid(
            who,
            needs=f"one block for each of {n_rows} rows",
            came=f"an array of shape {codes.shape}",
            todo="Pass the block of every row, in the order of the rows.",
        )
    found: NDArray[np.intp] = np.unique(codes, return_inverse=True)[1]
    return found
