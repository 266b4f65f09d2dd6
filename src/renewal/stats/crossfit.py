"""Two recipes by repeated cross-fitting: a mean difference that pays for shared training rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share, finite_series

# Folds of equal rows differ by rounding alone: that is no spread to build a bound on.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class CorrectedMean:
    r"""A mean difference over test folds whose training sets overlap.

    Fits on nine tenths of the same rows share most of what they learned, so *J* folds carry
    far less than *J* independent runs. The standard error is
    :math:`s \sqrt{1 / J + n_{test} / n_{train}}`, with *J* - 1 degrees of freedom.

    Parameters
    ----------
    mean : float
        Of the fold differences, in their unit.
    sd : float
        Standard deviation of one fold; 0 where all are equal but for rounding, NaN for a
        single one.
    n : int
        Folds of all repeats together, *J*.
    overlap : float > 0
        Test rows for each training row of a fold.

    Notes
    -----
    Both bounds are one-sided: each is wrong with chance `alpha`, together with 2 `alpha`.
    Where folds show no spread nothing bounds the mean: the bounds are infinite, p is 1.
    """

    mean: float
    sd: float
    n: int
    overlap: float

    @property
    def se(self) -> float:
        """Standard error of the mean, overlap paid for; NaN for a single fold."""
        return self.sd * math.sqrt(1.0 / self.n + self.overlap)

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound at level `alpha`; -inf without spread."""
        check_share(alpha, who="CorrectedMean.lower", name="alpha")
        return self.mean - self._reach(alpha)

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound at level `alpha`; +inf without spread."""
        check_share(alpha, who="CorrectedMean.upper", name="alpha")
        return self.mean + self._reach(alpha)

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "the mean is at most `margin`"."""
        if not self.sd > 0.0:
            return 1.0
        return float(special.stdtr(self.n - 1, -(self.mean - margin) / self.se))

    def _reach(self, alpha: float) -> float:
        if not self.sd > 0.0:
            return math.inf
        return -float(special.stdtrit(self.n - 1, alpha)) * self.se


def corrected_mean(differences: ArrayLike, n_test: int, n_train: int) -> CorrectedMean:
    """Estimate by how much one recipe beats another from the folds of repeated cross-fitting.

    The corrected resampled t-test [1]_, on every fold of every repeat [2]_.

    Parameters
    ----------
    differences : array_like, shape (n_repeats * n_folds,)
        Mean difference of the two recipes' losses on the test rows of each fold; both were
        fitted on the other folds.
    n_test, n_train : int >= 1, rows
        Of one fold: those it was judged on and those it was fitted on.

    Returns
    -------
    CorrectedMean
        The estimate with its bounds and p-values.

    Raises
    ------
    Invalid
        When a difference is NaN or infinite, or there is no test or training row.

    Notes
    -----
    The correction is a rule of thumb, not a theorem: no unbiased estimate of this variance
    exists. Simulated with two equal recipes (least squares on columns of their own, 1,500 to
    2,000 data sets each, two-sided at 5%, 10 folds five times), it errs in 5% to 6% at 30 rows
    and in 3% to 4% at 150; the usual t-test over the same 50 folds in 38% to 44% and 32% to
    40%. Repeats add degrees of freedom, but hardly any evidence: with 20 of them it errs in 6%
    to 7% at 30 rows, so five are enough.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> folds = rng.normal(0.02, 0.05, size=50)
    >>> found = corrected_mean(folds, n_test=15, n_train=135)
    >>> bool(folds.mean() > 2 * folds.std() / 50**0.5), found.lower(0.025) > 0
    (True, False)

    References
    ----------
    .. [1] Nadeau and Bengio (2003). Inference for the generalization error. Machine
       Learning 52.
    .. [2] Bouckaert and Frank (2004). Evaluating the replicability of significance tests
       for comparing learning algorithms. PAKDD.
    """
    series = finite_series(differences, who="corrected_mean")
    if n_test < 1 or n_train < 1:
        raise Invalid(
            "corrected_mean",
            needs="at least one test row and one training row",
            came=f"{n_test} and {n_train}",
            todo="Pass the rows of one fold.",
        )
    sd = float(series.std(ddof=1)) if series.size > 1 else math.nan
    if sd <= _ROUNDING * float(np.abs(series).max()):
        sd = 0.0
    return CorrectedMean(float(series.mean()), sd, series.size, n_test / n_train)
