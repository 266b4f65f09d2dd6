"""Two classifiers on independent rows: bounds of the difference of their accuracies."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share
from renewal.stats.mcnemar import mcnemar


@dataclass(frozen=True, slots=True)
class Discordant:
    r"""The rows on which exactly one of two versions is right, as a test and its bounds.

    Of *n* rows the candidate alone wins *b* and the baseline alone *c*, and the accuracies
    differ by :math:`(b - c) / n`. Whether they differ at all is the mid-p McNemar test: given
    :math:`b + c` discordant rows *b* is binomial with chance 1/2. For a difference :math:`d`
    other than 0 the number of discordant rows is itself uncertain, and it is the score test

    .. math:: z = \frac{b - c - n d}{\sqrt{n\,(2 \tilde p + d (1 - d))}}

    with :math:`\tilde p` the likeliest chance of a row that only the baseline gets right,
    where the accuracies differ by *d*. Bounds invert the two.

    Parameters
    ----------
    n_candidate_only, n_baseline_only : int >= 0
        Rows that only the candidate, or only the baseline, gets right.
    n_rows : int >= 1
        All rows compared.

    Notes
    -----
    For independent rows and one look. Rows on which both agree count too: two versions that
    agree on all of 100 rows differ by at most 2.6 points at 95%, not by none.

    Examples
    --------
    >>> found = Discordant(121, 59, n_rows=314)
    >>> round(found.p_value(), 8), round(found.mean, 4), round(found.lower(0.025), 4)
    (1.63e-06, 0.1975, 0.1152)

    References
    ----------
    .. [1] Fagerland, Lydersen, Laake (2013). The McNemar test for binary matched-pairs data.
       BMC Medical Research Methodology 13.
    .. [2] Tango (1998). Equivalence test and confidence interval for the difference in
       proportions for the paired-sample design. Statistics in Medicine 17.
    """

    n_candidate_only: int
    n_baseline_only: int
    n_rows: int

    def __post_init__(self) -> None:
        """Refuse counts that no table has."""
        if (
            min(self.n_candidate_only, self.n_baseline_only) < 0
            or self.n_rows < 1
            or self.n_rows < self.n_discordant
        ):
            raise Invalid(
                "Discordant",
                needs="two counts of at least 0 that are rows of all rows, at least one",
                came=f"{self.n_candidate_only}, {self.n_baseline_only} of {self.n_rows}",
                todo="Count rows once.",
            )

    @property
    def n_discordant(self) -> int:
        """Rows that exactly one version gets right."""
        return self.n_candidate_only + self.n_baseline_only

    @property
    def mean(self) -> float:
        """Accuracy of the candidate minus that of the baseline."""
        return (self.n_candidate_only - self.n_baseline_only) / self.n_rows

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound of the difference at level `alpha`."""
        check_share(alpha, who="Discordant.lower", name="alpha")
        return _lower(self.n_candidate_only, self.n_baseline_only, self.n_rows, alpha)

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound of the difference at level `alpha`."""
        check_share(alpha, who="Discordant.upper", name="alpha")
        return -_lower(self.n_baseline_only, self.n_candidate_only, self.n_rows, alpha)

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "the difference is at most `margin`"."""
        b, c, n = self.n_candidate_only, self.n_baseline_only, self.n_rows
        at_none = mcnemar(b, c).p_value
        if margin == 0.0:
            return at_none
        # Who is surely better is surely no worse by a margin, and the other way round.
        nearest = max if margin > 0.0 else min
        return nearest(at_none, _score_p(b, c, n, margin))


def _lower(b: int, c: int, n: int, alpha: float) -> float:
    """Return the largest difference that is refuted at a level."""
    is_better = mcnemar(b, c).p_value < alpha
    low, high = (0.0, 1.0) if is_better else (-1.0, 0.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _score_p(b, c, n, middle) < alpha:
            low = middle
        else:
            high = middle
    # That the two differ is proved by the exact test alone, at whatever the score test says.
    return max(low, math.ulp(0.0)) if is_better else low


def _score_p(b: int, c: int, n: int, difference: float) -> float:
    """Return the p-value of "the accuracies differ by at most `difference`"."""
    if abs(difference) >= 1.0:
        return float(difference > 0.0)
    linear = (2 * n - b + c) * difference - b - c
    constant = -c * difference * (1.0 - difference)
    root = math.sqrt(max(linear**2 - 8.0 * n * constant, 0.0))
    chance = (root - linear) / (4.0 * n)
    variance = n * (2.0 * chance + difference * (1.0 - difference))
    gap = b - c - n * difference
    if variance <= 0.0:
        # Rounded away: next to none by as much as the gap, next to a difference of one alone.
        return float(gap < 0.0) if abs(difference) > 0.5 and gap != 0.0 else 0.5
    return float(special.ndtr(-gap / math.sqrt(variance)))
