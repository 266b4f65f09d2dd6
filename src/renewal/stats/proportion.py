"""Shares of rows: exact bounds of a proportion, and the flips from right to wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share
from renewal.stats.paired import PairedMean, paired_mean


def share_upper(n_events: int, n_rows: int, alpha: float) -> float:
    r"""Return the exact one-sided upper bound of a proportion (Clopper-Pearson).

    The largest rate under which `n_events` or fewer of `n_rows` independent rows would
    still happen with chance `alpha`: the :math:`1 - \alpha` quantile of
    :math:`Beta(k + 1, n - k)`.

    Parameters
    ----------
    n_events : int in [0, n_rows]
        Rows on which it happened.
    n_rows : int >= 0
        Rows that were looked at; none leave every rate possible, and 1 comes back.
    alpha : float in (0, 1)
        Chance that the bound lies below the true rate; at most that, often less.

    Raises
    ------
    Invalid
        When more events than rows are named, or a number is negative.

    Notes
    -----
    None of 299 rows prove "under 1%" at 5%; the rule of three, :math:`3 / n`, is near it.

    Examples
    --------
    >>> round(share_upper(0, 299, 0.05), 8), round(share_upper(7, 1000, 0.05), 8)
    (0.00996915, 0.01310772)

    References
    ----------
    .. [1] Clopper and Pearson (1934). The use of confidence or fiducial limits illustrated in
       the case of the binomial. Biometrika 26(4).
    """
    _check_counts(n_events, n_rows, alpha, who="share_upper")
    if n_events == n_rows:
        return 1.0
    return float(special.betaincinv(n_events + 1, n_rows - n_events, 1.0 - alpha))


def share_lower(n_events: int, n_rows: int, alpha: float) -> float:
    r"""Return the exact one-sided lower bound of a proportion (Clopper-Pearson).

    The smallest rate under which `n_events` or more of `n_rows` independent rows would still
    happen with chance `alpha`: the :math:`\alpha` quantile of :math:`Beta(k, n - k + 1)`.

    Parameters
    ----------
    n_events : int in [0, n_rows]
        Rows on which it happened; none leave the bound at 0.
    n_rows : int >= 0
        Rows that were looked at.
    alpha : float in (0, 1)
        Chance that the bound lies above the true rate; at most that, often less.

    Raises
    ------
    Invalid
        When more events than rows are named, or a number is negative.

    Examples
    --------
    >>> round(share_lower(20, 5000, 0.05), 6)
    0.002652
    """
    _check_counts(n_events, n_rows, alpha, who="share_lower")
    if n_events == 0:
        return 0.0
    return float(special.betaincinv(n_events, n_rows - n_events + 1, alpha))


@dataclass(frozen=True, slots=True)
class Flips:
    r"""Rows on which two versions differ in being right, with bounds of the negative flips.

    A negative flip is a row that the baseline had right and the candidate has wrong. Users
    notice them even when the accuracy rises, since

    .. math:: error_{candidate} - error_{baseline} = NFR - PFR.

    Parameters
    ----------
    n_rows : int
        Rows scored by both.
    n_negative, n_positive : int
        Rows that went from right to wrong, and from wrong to right.
    error_baseline, error_candidate : float in [0, 1]
        Share of rows each has wrong.
    by_block : PairedMean or None
        Mean of the negative flips over blocks; None when rows are independent.

    Notes
    -----
    Rows that are independent get the exact bounds of Clopper and Pearson. With blocks the
    bounds are those of the block mean, and never tighter than the exact ones of as many
    independent rows: without that, no flip in seven days would read as "no flips, surely".
    Wrong labels raise the rate of any pair alike, so read it beside that of the same recipe
    trained twice on the same data (the churn floor).

    References
    ----------
    .. [1] Yan et al. (2021). Positive-congruent training. CVPR. arXiv 2011.09161.
    """

    n_rows: int
    n_negative: int
    n_positive: int
    error_baseline: float
    error_candidate: float
    by_block: PairedMean | None

    @property
    def negative_rate(self) -> float:
        """Share of rows that went from right to wrong (NFR)."""
        return self.n_negative / self.n_rows

    @property
    def positive_rate(self) -> float:
        """Share of rows that went from wrong to right (PFR)."""
        return self.n_positive / self.n_rows

    @property
    def relative_rate(self) -> float:
        r"""Return NFR over that of two versions whose errors have nothing in common.

        :math:`NFR / ((1 - error_{baseline})\, error_{candidate})`: 1 means that the
        candidate forgot all the baseline knew about where to be right, near 0 that its
        errors are the baseline's. NaN where such versions could not flip at all.
        """
        by_chance = (1.0 - self.error_baseline) * self.error_candidate
        return self.negative_rate / by_chance if by_chance > 0.0 else math.nan

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound of NFR at level `alpha`."""
        exact = share_upper(self.n_negative, self.n_rows, alpha)
        return exact if self.by_block is None else min(1.0, max(exact, self.by_block.upper(alpha)))

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound of NFR at level `alpha`."""
        exact = share_lower(self.n_negative, self.n_rows, alpha)
        return exact if self.by_block is None else max(0.0, min(exact, self.by_block.lower(alpha)))

    def p_value(self, margin: float) -> float:
        """Return the one-sided p-value of "NFR is at most `margin`"."""
        k, n = self.n_negative, self.n_rows
        if k == 0 or margin >= 1.0:
            return 1.0
        exact = 0.0 if margin <= 0.0 else float(special.betainc(k, n - k + 1, margin))
        return exact if self.by_block is None else max(exact, self.by_block.p_value(margin))


def flips(
    is_right_baseline: ArrayLike, is_right_candidate: ArrayLike, *, blocks: ArrayLike | None = None
) -> Flips:
    """Count on which rows the candidate lost what the baseline had right, and what it won.

    Parameters
    ----------
    is_right_baseline, is_right_candidate : array_like of bool, shape (n_rows,)
        Whether each version has the row right.
    blocks : array_like of int, shape (n_rows,), default rows are independent
        The block of each row; ascending numbers are ascending in time.

    Returns
    -------
    Flips
        Counts, rates, and bounds of the negative-flip rate.

    Raises
    ------
    Invalid
        When there is no row or the lengths differ.

    Notes
    -----
    O(n log n) with blocks, else O(n).

    Examples
    --------
    >>> was = [True] * 90 + [False] * 10
    >>> now = [True] * 88 + [False] * 2 + [True] * 6 + [False] * 4
    >>> found = flips(was, now)
    >>> found.negative_rate, found.positive_rate, round(found.upper(0.05), 4)
    (0.02, 0.06, 0.0616)
    >>> round(found.relative_rate, 2)
    0.37
    """
    before, after = np.asarray(is_right_baseline, bool), np.asarray(is_right_candidate, bool)
    codes = None if blocks is None else np.asarray(blocks)
    if before.ndim != 1 or before.size == 0 or before.shape != after.shape:
        raise Invalid(
            "flips",
            needs="whether each version is right, for the same rows, at least one",
            came=f"arrays of shapes {before.shape} and {after.shape}",
            todo="Score both versions on the same snapshot.",
        )
    if codes is not None and codes.shape != before.shape:
        raise Invalid(
            "flips",
            needs=f"one block for each of {before.size} rows",
            came=f"an array of shape {codes.shape}",
            todo="Pass the block of every row, in the order of the rows.",
        )
    lost = before & ~after
    return Flips(
        n_rows=before.size,
        n_negative=int(lost.sum()),
        n_positive=int((~before & after).sum()),
        error_baseline=float((~before).mean()),
        error_candidate=float((~after).mean()),
        by_block=None if codes is None else _block_mean(lost, codes),
    )


def _block_mean(lost: NDArray[np.bool_], codes: NDArray[np.generic]) -> PairedMean:
    at = np.unique(codes, return_inverse=True)[1]
    n_rows = np.bincount(at)
    return paired_mean(np.bincount(at, weights=lost) / n_rows, n_rows)


def _check_counts(n_events: int, n_rows: int, alpha: float, *, who: str) -> None:
    check_share(alpha, who=who, name="alpha")
    if not 0 <= n_events <= n_rows:
        raise Invalid(
            who,
            needs="a number of events between 0 and the number of rows",
            came=f"{n_events} events in {n_rows} rows",
            todo="Count events and rows over the same snapshot.",
        )
