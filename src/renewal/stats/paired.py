"""One look at a fixed number of blocks: the paired mean and its one-sided t bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft, special

from renewal.stats.checked import Floats, block_weights, check_share, finite_series

# How much is assumed of the resemblance that few blocks cannot show. For one look: 14, 28 and 60
# blocks whose neighbors correlate by up to 0.5 keep the level, and equal models on real data are
# called better at most 10% of the time. An e-process has slack of its own and needs less.
PRIOR_BLOCKS = 20.0
PRIOR_BLOCKS_LOOKING = 10.0
_PRIOR_CORRELATION = 0.5


@dataclass(frozen=True, slots=True)
class PairedMean:
    """An estimated mean difference with what is needed to bound it.

    Parameters
    ----------
    mean : float
        Weighted mean of the block values, in their unit.
    sd : float
        Standard deviation of one block around it; NaN for a single block.
    n : int
        Blocks.
    n_effective : float in [1, n]
        Independent blocks that would carry the same information.

    Notes
    -----
    Both bounds are one-sided: each is wrong with chance `alpha`, together with 2 `alpha`.
    """

    mean: float
    sd: float
    n: int
    n_effective: float

    @property
    def se(self) -> float:
        """Standard error of the mean; NaN for a single block."""
        return self.sd / math.sqrt(self.n_effective)

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound at level `alpha`; -inf for a single block."""
        check_share(alpha, who="PairedMean.lower", name="alpha")
        return -math.inf if self.n < 2 else self.mean - self._quantile(alpha) * self.se

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound at level `alpha`; +inf for a single block."""
        check_share(alpha, who="PairedMean.upper", name="alpha")
        return math.inf if self.n < 2 else self.mean + self._quantile(alpha) * self.se

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "the mean is at most `margin`"."""
        if self.n < 2:
            return 1.0
        if self.se == 0.0:
            return 0.0 if self.mean > margin else 1.0
        return float(special.stdtr(self.dof, -(self.mean - margin) / self.se))

    @property
    def dof(self) -> float:
        """Degrees of freedom of the t bounds: independent blocks less one, and at least 1."""
        return max(self.n_effective - 1.0, 1.0)

    def _quantile(self, alpha: float) -> float:
        return -float(special.stdtrit(self.dof, alpha))


def effective_n(values: ArrayLike, *, prior_blocks: float = 0.0) -> float:
    r"""Return how many independent blocks carry as much information as these.

    The days of one week resemble each other, so their mean is less certain than that of as
    many independent days: :math:`n_{eff} = n / c`, where *c* is the larger of two estimates
    of the long-run variance over the plain one, and at least 1.

    Neighbors: :math:`(1 + \rho) / (1 - \rho)`, as in an autoregression, with the estimated
    autocorrelation freed of its bias of :math:`-(1 + 3\rho) / n`. Few blocks cannot show how
    much they resemble each other; who must not err because of that lets `prior_blocks`
    imagined ones whose neighbors correlate by 0.5 enter the average, as `paired_mean` does.

    Slow swings, which neighbors hide: the mean power of the slowest
    :math:`\max(4,\, 0.4\, n^{2/3})` cosine waves over that of all, where there are three times
    as many blocks.

    Parameters
    ----------
    values : array_like, shape (n,)
        Block values in the order of time.
    prior_blocks : float >= 0, blocks, default 0
        What the prior counts. At 0 the blocks speak for themselves, which suits an alarm
        that must not wait; `PRIOR_BLOCKS` suits a proof.

    Returns
    -------
    float
        In [1, n]. Negative autocorrelation is not credited.

    Notes
    -----
    O(n log n); 0.1 s for a million. Two blocks or fewer tell nothing about dependence, and n
    comes back. What no 28 blocks can show is a swing that outlasts them: with a tenth of
    the variance in a component that forgets within a month, 28 blocks err in 12% of one-sided
    tests of `paired_mean` at 5%, without any charge in 18%.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> noise = rng.normal(size=400)
    >>> walk = np.convolve(noise, np.ones(5), "valid")  # each value shares 4 of 5 parts
    >>> effective_n(walk) < 120 < 300 < effective_n(noise)
    True

    References
    ----------
    .. [1] Marriott and Pope (1954). Bias in the estimation of autocorrelations. Biometrika 41.
    .. [2] Lazarus, Lewis, Stock and Watson (2018). HAR inference: recommendations for
       practice. Journal of Business and Economic Statistics 36(4).
    """
    series = finite_series(values, who="effective_n")
    n = series.size
    centered = series - series.mean()
    total = float(centered @ centered)
    if n < 3 or total == 0.0:
        return float(n)
    rho = float(centered[:-1] @ centered[1:]) / total
    rho += (1.0 + 3.0 * max(rho, 0.0)) / n
    rho = (n * rho + prior_blocks * _PRIOR_CORRELATION) / (n + prior_blocks)
    rho = min(max(rho, 0.0), 0.95)
    inflation = (1.0 + rho) / (1.0 - rho)
    n_slow = max(4, round(0.4 * n ** (2.0 / 3.0)))
    # Fewer blocks have no slow waves to speak of.
    if n >= 3 * n_slow:
        waves: Floats = fft.dct(centered, norm="ortho")[1 : n_slow + 1]
        inflation = max(inflation, float(waves @ waves) / n_slow * (n - 1) / total)
    return max(1.0, n / max(1.0, inflation))


def paired_mean(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    ordered: bool = True,
    prior_blocks: float = PRIOR_BLOCKS,
) -> PairedMean:
    r"""Estimate a mean difference from block means, as if it were looked at once.

    Both models are scored on the same rows, so what makes a row hard cancels out; rows of
    one block err together, so the block is the unit. With :math:`n_b` rows in block *b* the
    estimate is the ratio :math:`\hat\theta = \sum n_b d_b / \sum n_b`, whose error is that
    of the mean of :math:`z_b = n_b (d_b - \hat\theta) / \bar n`.

    Parameters
    ----------
    values : array_like, shape (n,)
        Mean difference of each block, in the order of time.
    weights : array_like of positive numbers, shape (n,), default equal
        Rows of each block.
    ordered : bool, default True
        Whether the order of the blocks is that of time; else none resembles its neighbors.

    Returns
    -------
    PairedMean
        The estimate; its bounds pay for autocorrelation through `effective_n`.

    Raises
    ------
    Invalid
        When a value is NaN or infinite, or a weight is missing or not positive.

    Notes
    -----
    The bounds hold for one look at blocks whose number was fixed beforehand. Who looks again
    and again needs `renewal.stats.anytime`.

    Of 14, 28 and 60 independent blocks 55%, 65% and 75% are left on average. One-sided tests
    then err, at 14 / 28 / 60 blocks:

    ===================  ================  ================  ================
    neighbors correlate  at 5%             at 2.5%           at 0.5%
    ===================  ================  ================  ================
    0                    1.3 / 2.1 / 2.8%  0.4 / 0.9 / 1.2%  0.0 / 0.1 / 0.2%
    0.3                  3.0 / 3.6 / 3.8%  1.3 / 1.7 / 1.9%  0.2 / 0.4 / 0.4%
    0.5                  4.7 / 5.1 / 4.9%  2.4 / 2.8 / 2.5%  0.6 / 0.7 / 0.6%
    ===================  ================  ================  ================

    Blocks taken as independent err at 5% in 5%, 11% and 17%. The price: 49%, 66% and 76% are
    found of effects (0.7, 0.5 and 0.35 standard deviations) of which they find 81% to 86%.

    Examples
    --------
    >>> found = paired_mean([0.03, 0.01, 0.02, 0.02, 0.03, 0.01, 0.02])
    >>> round(found.mean, 3), round(found.lower(0.025), 3), round(found.upper(0.025), 3)
    (0.02, 0.007, 0.033)

    References
    ----------
    .. [1] Cochran (1977). Sampling techniques, 3rd edition, section 6.3.
    .. [2] Miller (2024). Adding error bars to evals. arXiv 2411.00640.
    """
    series = finite_series(values, who="paired_mean")
    shares = block_weights(weights, series.size, who="paired_mean")
    mean = float(np.average(series, weights=shares))
    residuals: Floats = shares * (series - mean)
    n = series.size
    sd = math.sqrt(float(residuals @ residuals) / (n - 1)) if n > 1 else math.nan
    n_effective = effective_n(residuals, prior_blocks=prior_blocks) if ordered else float(n)
    return PairedMean(mean=mean, sd=sd, n=n, n_effective=n_effective)
