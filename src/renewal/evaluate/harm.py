"""What a guard says: the worst of several harms, with a bound that pays for having looked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renewal.core.errors import Invalid
from renewal.stats.checked import Floats, check_share
from renewal.stats.paired import PRIOR_BLOCKS, effective_n


@dataclass(frozen=True, slots=True, eq=False)
class Worst:
    r"""Several harms (larger is worse) estimated together; the claim is about the largest.

    Whoever bounds the largest of several estimates as if it had been the only one errs more
    often than said: the largest is partly luck. The bound here is simultaneous (max-T): with
    the deviation :math:`T^* = \max_j (v^*_j - v_j) / s_j` of bootstrap samples from what was
    observed, and its quantile :math:`q`, it is :math:`\max_j (v_j - q\,s_j)`.

    Parameters
    ----------
    values : float64 array, shape (m,)
        Observed harms; NaN where undefined.
    se : float64 array, shape (m,), positive
        Standard error of each; infinite where it cannot be told.
    deviations : float64 array, shape (n_boot,)
        :math:`T^*` of each sample, over the harms that can be told; empty where none can.
    n_effective : float
        Independent blocks that would tell as much.

    Notes
    -----
    Without a value that can be told, bounds are NaN and p-values 1: cannot tell. A sample in
    which a value is undefined counts as the largest deviation. Below ``alpha = 1 / (n_boot +
    1)`` samples tell no quantile, and the bound is -inf.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> seen = np.array([0.02, 0.30])
    >>> worst = worst_of(seen, seen + rng.normal(0, 0.05, size=(2000, 2)), n_blocks=40)
    >>> worst.at(), round(worst.lower(0.05), 2), worst.p_value(0.1) < 0.01, worst.p_value(0.3) > 0.2
    (1, 0.2, True, True)

    References
    ----------
    .. [1] Westfall and Young (1993). Resampling-based multiple testing. Wiley.
    .. [2] Abramowitz and Stegun (1964). Handbook of mathematical functions, 26.7.5.
    """

    values: Floats
    se: Floats
    deviations: Floats
    n_effective: float

    @property
    def value(self) -> float:
        """The largest observed harm; NaN when none is defined."""
        return float(self.values[self.at()]) if np.isfinite(self.values).any() else math.nan

    @property
    def can_tell(self) -> bool:
        """Whether any harm could be shown at all."""
        return bool(self._told.any())

    def at(self, margin: float | None = None) -> int:
        """Return which harm is the largest, or exceeds `margin` by most standard errors.

        Parameters
        ----------
        margin : float, default None
            In the unit of the harms. None: the largest by its observed value.

        Returns
        -------
        int
            A place in `values`; -1 when none is defined.
        """
        if margin is None or not self._told.any():
            finite = np.isfinite(self.values)
            return int(np.argmax(np.where(finite, self.values, -np.inf))) if finite.any() else -1
        return int(np.argmax(np.where(self._told, self._excess(margin), -np.inf)))

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound of the largest harm; NaN where nothing is told."""
        check_share(alpha, who="Worst.lower", name="alpha")
        told = self._told
        deviations = self.deviations
        rank = math.ceil((1.0 - alpha) * (len(deviations) + 1) - 1e-9)
        if not told.any():
            return math.nan
        if rank > len(deviations):
            return -math.inf
        quantile = float(np.partition(deviations, rank - 1)[rank - 1])
        return float(np.max(self.values[told] - quantile * self.se[told]))

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound of the largest harm; NaN where nothing is told.

        All harms lie below it where each lies below its own, so nothing is paid for their
        number: the largest of the single bounds.
        """
        check_share(alpha, who="Worst.upper", name="alpha")
        told = self._told
        if not told.all() or not told.any():
            return math.nan
        reach = _stretched(np.array(NormalDist().inv_cdf(1.0 - alpha)), self.n_effective)
        return float(np.max(self.values + float(reach) * self.se))

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "no harm is above `margin`"; 1 where nothing is told."""
        if not self._told.any():
            return 1.0
        observed = float(np.max(self._excess(margin)[self._told]))
        deviations = self.deviations
        # Values that lie on the margin must not pass it by the last bit of a division.
        n_as_far = int((deviations >= observed - 1e-12).sum())
        return (1 + n_as_far) / (1 + len(deviations))

    @property
    def _told(self) -> NDArray[np.bool_]:
        return _told(self.values, self.se)

    def _excess(self, margin: float) -> Floats:
        return np.asarray((self.values - margin) / self.se)


def worst_of(
    values: ArrayLike,
    samples: ArrayLike,
    *,
    n_blocks: int,
    floor: ArrayLike = 0.0,
    without: ArrayLike | None = None,
) -> Worst:
    r"""Return harms with standard errors taken from their bootstrap samples.

    Parameters
    ----------
    values : array_like, shape (m,)
        Observed harms, larger is worse; NaN where undefined.
    samples : array_like, shape (n_boot, m)
        The same, of blocks drawn again.
    n_blocks : int
        Blocks that were drawn from; below 2 nothing can be told.
    floor : array_like, shape (m,) or a number, default 0
        The least standard error: a rate of 0 or 1 shows no spread and is not certain.
    without : array_like, shape (n_blocks, m), default None
        The harms without each block in turn, blocks in the order of time: how much neighbors
        resemble each other is read from it (`dependence`). None: blocks are independent.

    Raises
    ------
    Invalid
        When the samples do not have a column for each value.

    Notes
    -----
    O(m (n_boot + n_blocks log n_blocks)). The spread is enlarged by :math:`\sqrt{n/(n-1)}`, what
    resampling of n blocks loses, and by what resampling takes for independent and is not;
    errors of few blocks get the heavy tails of Student's t.
    """
    observed = np.asarray(values, dtype=np.float64)
    drawn = np.asarray(samples, dtype=np.float64)
    if observed.ndim != 1 or drawn.ndim != 2 or drawn.shape[1] != observed.size:
        raise Invalid(
            "worst_of",
            needs="one column of samples for each value",
            came=f"shapes {observed.shape} and {drawn.shape}",
            todo="Compute the samples by the rule that gave the values.",
        )
    se = np.full(observed.size, np.inf)
    deviations, n_effective = np.zeros(0), float(n_blocks)
    if n_blocks >= 2 and len(drawn) >= 2:
        known = np.isfinite(drawn)
        n_known = known.sum(axis=0)
        centered = np.where(known, drawn, 0.0)
        mean = centered.sum(axis=0) / np.maximum(n_known, 1)
        squares = np.where(known, (drawn - mean) ** 2, 0.0).sum(axis=0)
        spread = np.sqrt(squares / np.maximum(n_known - 1, 1) * (n_blocks / (n_blocks - 1)))
        # Equal blocks leave no spread: the smallest number keeps divisions defined.
        least = np.maximum(np.asarray(floor, dtype=np.float64), 1e-12)
        charge = np.ones(observed.size) if without is None else dependence(without)
        se = np.where(n_known >= 2, np.maximum(spread * np.sqrt(charge), least), np.inf)
        told = _told(observed, se)
        each = (drawn[:, told] - observed[told]) / se[told]
        # What floor and dependence add is no part of the samples: it is drawn beside them.
        rest = np.sqrt(np.clip(1.0 - (spread[told] / se[told]) ** 2, 0.0, 1.0))
        each += rest * np.random.default_rng(0).normal(size=each.shape)
        if told.any():
            n_effective = n_blocks / float(charge[told].mean())
            most = np.where(np.isnan(each), np.inf, each).max(axis=1)
            deviations = _stretched(most, n_effective)
    return Worst(values=observed, se=se, deviations=deviations, n_effective=n_effective)


def dependence(without: ArrayLike) -> Floats:
    r"""Return how many times as uncertain estimates are as if their blocks were independent.

    What an estimate loses without a block is that block's say in it; where neighbors have
    similar says, :math:`n / n_{eff}` of these (`renewal.stats.paired.effective_n`, with the
    prior of a proof) multiplies the variance.

    Parameters
    ----------
    without : array_like, shape (n_blocks, m)
        Estimates without each block in turn, blocks in the order of time. A NaN says nothing.

    Returns
    -------
    float64 array, shape (m,), at least 1
        For each estimate.

    Examples
    --------
    >>> walk = np.convolve(np.random.default_rng(0).normal(size=400), np.ones(5), "valid")
    >>> noise = np.random.default_rng(1).normal(size=396)
    >>> dependence(np.column_stack([walk, noise])) > 2
    array([ True, False])
    """
    say = np.asarray(without, dtype=np.float64)
    known = np.isfinite(say)
    mean = np.where(known, say, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centered = np.where(known, say - mean, 0.0)
    n_effective = [effective_n(column, prior_blocks=PRIOR_BLOCKS) for column in centered.T]
    return np.maximum(1.0, len(say) / np.array(n_effective, dtype=np.float64))


def _told(values: Floats, se: Floats) -> NDArray[np.bool_]:
    return np.isfinite(values) & np.isfinite(se)


def _stretched(deviations: Floats, n_blocks: float) -> Floats:
    """Return deviations with the tails of few blocks, from the normal's to Student's t.

    By the first two terms of the expansion of one quantile about the other.
    """
    dof, square = max(n_blocks - 1.0, 1.0), deviations**2
    first = (square + 1.0) / (4.0 * dof)
    second = (5.0 * square**2 + 16.0 * square + 3.0) / (96.0 * dof**2)
    return np.asarray(deviations * (1.0 + first + second))
