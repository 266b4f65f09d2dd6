r"""The bound that certifies independent rows: mean of the test rows, spread of the others.

The usual paired interval takes mean and spread from the same rows. Models that lose few rows
by luck then also seem to vary little, and the bound errs in up to 12% of cases instead of 5%
(500 rows, a margin of one point). The score bound of `renewal.stats.discordant` repairs that
by the largest spread that the margin allows, which costs proofs. A search has seen the same two
models on validation rows, and rows that are independent of the test rows tell the spread
without favor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share, finite_series

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Spread:
    """How much the gain of one row varies, as rows outside the test tell it.

    Parameters
    ----------
    variance : float >= 0
        Of the gain of one row.
    n : int >= 2
        Rows that tell it.
    """

    variance: float
    n: int

    def __post_init__(self) -> None:
        """Refuse what no rows tell."""
        if self.n < 2 or not 0.0 <= self.variance < math.inf:
            raise Invalid(
                "Spread",
                needs="a finite variance of at least 0 from at least two rows",
                came=f"{self.variance} from {self.n}",
                todo="Take more validation rows.",
            )

    def se(self, n: int) -> float:
        """Return the standard error of a mean of `n` rows."""
        return math.sqrt(self.variance / n)


@dataclass(frozen=True, slots=True)
class Apart:
    r"""A mean gain of test rows with a spread that other rows tell.

    .. math:: \bar d \pm t_{m-1,\,1-\alpha}\; s_m / \sqrt n

    with *n* test rows and the variance :math:`s_m^2` of *m* others.

    Parameters
    ----------
    mean : float
        Of the gain, over the test rows.
    n : int >= 1
        Test rows.
    spread : Spread
        From rows that are none of them.

    Notes
    -----
    For independent rows and one look. For right and wrong rows `flip_spread` adds half a row
    to each kind of flip, and the one-sided error at 5% is at most 5.2% for 50 to
    2,000 test rows, 50 to 10,000 others, margins from 0.2 to 5 points and every share of
    flips (`bench/compress/truth.py`); without the halves it reaches 80%, since rows without a
    flip would tell of no spread at all.

    Examples
    --------
    >>> found = Apart(-0.002, 2000, flip_spread(12, 9, 2000))
    >>> round(found.lower(0.05), 5)
    -0.00586
    """

    mean: float
    n: int
    spread: Spread

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound at level `alpha`."""
        check_share(alpha, who="Apart.lower", name="alpha")
        return self.mean - self._reach(alpha)

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound at level `alpha`."""
        check_share(alpha, who="Apart.upper", name="alpha")
        return self.mean + self._reach(alpha)

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "the gain is at most `margin`"."""
        se = self.spread.se(self.n)
        if se == 0.0:
            # Rows that tell of no spread at all prove a gain, and no equality.
            return 0.0 if self.mean > margin else 1.0
        return float(special.stdtr(self.spread.n - 1, -(self.mean - margin) / se))

    def _reach(self, alpha: float) -> float:
        return -float(special.stdtrit(self.spread.n - 1, alpha)) * self.spread.se(self.n)


def flip_spread(lost: int, gained: int, n: int) -> Spread:
    """Return the spread of right and wrong rows; half a row is added to each kind of flip.

    Parameters
    ----------
    lost, gained : int >= 0
        Rows that only the parent, and only the other model, gets right.
    n : int
        Rows in all.

    Examples
    --------
    >>> flip_spread(0, 0, 1999).variance
    0.0005
    """
    if min(lost, gained) < 0 or n < max(lost + gained, 2):
        raise Invalid(
            "flip_spread",
            needs="two counts of at least 0 that are rows of all rows, at least two",
            came=f"{lost}, {gained} of {n}",
            todo="Count rows once.",
        )
    rows = n + 2.0 * _HALF
    mean = (gained - lost) / rows
    return Spread((lost + gained + 2.0 * _HALF) / rows - mean * mean, n)


def gain_spread(gains: ArrayLike) -> Spread:
    """Return the spread of the gains of rows; flips where each is -1, 0 or 1.

    Parameters
    ----------
    gains : array_like, shape (n_rows,)
        What each validation row gains, in the unit of the metric.

    Raises
    ------
    Invalid
        When a gain is NaN or infinite, or there are fewer than two.

    Examples
    --------
    >>> gain_spread([0.0] * 998 + [1.0, -1.0]) == flip_spread(1, 1, 1000)
    True
    """
    rows = finite_series(gains, who="gain_spread")
    if rows.size < 2:
        raise Invalid(
            "gain_spread",
            needs="at least two rows",
            came=f"{rows.size}",
            todo="Take more validation rows.",
        )
    if np.isin(rows, (-1.0, 0.0, 1.0)).all():
        return flip_spread(int((rows < 0).sum()), int((rows > 0).sum()), rows.size)
    return Spread(float(rows.var(ddof=1)), rows.size)
