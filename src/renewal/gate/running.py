"""The tests that go on: their bounds and e-values hold however often one looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from renewal.stats.anytime import confidence_sequence, log_t_e_value
from renewal.stats.asymptotic import (
    asymptotic_confidence_sequence,
    log_asymptotic_e_values,
    mixture_scale,
)
from renewal.stats.betting import Bettor, betting_bound
from renewal.stats.checked import Floats, block_weights

# Logarithms of e-values end here, so that no level underflows: one that would take more than
# this proves nothing, which is what so much dependence deserves.
_LARGEST_LOG_E = 690.0


@dataclass(frozen=True, slots=True, eq=False)
class BlockTest:
    """The t e-process on block means, weighted by rows.

    Blocks that resemble their neighbors are paid for by raising the e-value to the power
    ``n_effective / n``, which only ever lowers it where it counts.

    Parameters
    ----------
    gains : float64 array, shape (n_blocks,)
        Mean gain of each block, in the order of time.
    n_rows : array of positive numbers, shape (n_blocks,)
        Rows of each.
    n_effective : float in [1, n_blocks]
        Blocks after their dependence is paid for.
    """

    gains: Floats
    n_rows: Floats
    n_effective: float

    @property
    def charge(self) -> float:
        """How many blocks say as much as an independent one."""
        return len(self.gains) / self.n_effective

    def lower(self, alpha: float) -> float:
        """Return the lower confidence sequence of the mean gain, now."""
        return self._sequence(alpha)[0]

    def upper(self, alpha: float) -> float:
        """Return the upper confidence sequence of the mean gain, now."""
        return self._sequence(alpha)[1]

    def log_e_value(self, margin: float = 0.0) -> float:
        """Return the log e-value of "the mean gain is at most `margin`", now."""
        shares = block_weights(self.n_rows, len(self.gains), who="BlockTest")
        log_e = log_t_e_value(shares * (self.gains - margin))
        return min(log_e, _LARGEST_LOG_E) / self.charge

    def p_value(self, margin: float = 0.0) -> float:
        """Return one over the e-value, at most 1: a p-value at any time."""
        return math.exp(-max(self.log_e_value(margin), 0.0))

    def _sequence(self, alpha: float) -> tuple[float, float]:
        goal = -math.log(alpha) * self.charge
        if goal > _LARGEST_LOG_E:
            return -math.inf, math.inf
        return confidence_sequence(self.gains, math.exp(-goal), weights=self.n_rows)


@dataclass(frozen=True, slots=True, eq=False)
class BetTest:
    """Betting on single rows whose gain is bounded: exact, whatever their distribution.

    Parameters
    ----------
    gains : float64 array, shape (n_rows,)
        Of independent rows, in the order in which they came.
    reach : float > 0
        The largest absolute gain that a row can have.
    """

    gains: Floats
    reach: float

    def lower(self, alpha: float) -> float:
        """Return the lower confidence sequence of the mean gain, now."""
        return betting_bound(self.gains, alpha, lower=-self.reach, upper=self.reach)

    def upper(self, alpha: float) -> float:
        """Return the upper confidence sequence of the mean gain, now."""
        return -betting_bound(-self.gains, alpha, lower=-self.reach, upper=self.reach)

    def log_e_value(self, margin: float = 0.0) -> float:
        """Return the log e-value of "the mean gain is at most `margin`", now."""
        if margin >= self.reach:
            return 0.0
        if margin <= -self.reach:
            return math.inf
        return Bettor(m=margin, lower=-self.reach, upper=self.reach).update(self.gains).log_e

    def p_value(self, margin: float = 0.0) -> float:
        """Return one over the e-value, at most 1: a p-value at any time."""
        return math.exp(-max(self.log_e_value(margin), 0.0))


# When a decision on single unbounded rows is expected, and the level for which it is planned;
# written here, so fixed before any look.
_N_PLANNED, _PLANNED_ALPHA = 1_000.0, 0.05
# Spread that rounding alone would make.
_FLAT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class LimitTest:
    """The asymptotic sequence on single rows whose gain has no bound.

    Parameters
    ----------
    gains : float64 array, shape (n_rows,)
        Of independent rows, in the order in which they came.
    """

    gains: Floats

    def lower(self, alpha: float) -> float:
        """Return the lower confidence sequence of the mean gain, now."""
        return self._sequence(alpha)[0]

    def upper(self, alpha: float) -> float:
        """Return the upper confidence sequence of the mean gain, now."""
        return self._sequence(alpha)[1]

    def log_e_value(self, margin: float = 0.0) -> float:
        """Return the log e-value of "the mean gain is at most `margin`", now."""
        low, high = self._sequence(_PLANNED_ALPHA)
        if high - low <= _FLAT * max(abs(low), abs(margin)):
            # No row differs from another: the bound lies at their mean, whatever the level.
            return math.inf if low > margin else 0.0
        path = log_asymptotic_e_values(
            self.gains, margin, n_planned=_N_PLANNED, alpha=_PLANNED_ALPHA
        )
        return float(path[-1])

    def p_value(self, margin: float = 0.0) -> float:
        """Return one over the e-value, at most 1: a p-value at any time."""
        return math.exp(-max(self.log_e_value(margin), 0.0))

    def _sequence(self, alpha: float) -> tuple[float, float]:
        # The prior of the e-value belongs to the planned level. The number planned at another
        # level is moved so that the prior stays, or bound and e-value would be two tests.
        moved = mixture_scale(2.0 * alpha, 1.0) / mixture_scale(2.0 * _PLANNED_ALPHA, 1.0)
        return asymptotic_confidence_sequence(self.gains, alpha, n_planned=_N_PLANNED * moved**2)
