r"""A detector of change with a proven mean time between false alarms.

Shiryaev-Roberts with e-values: :math:`M_t = (M_{t-1} + 1)\, L_t`, where :math:`L_t` is the
likelihood ratio of a raised mean. Averaged over several sizes of change, the mean time until
:math:`M_t \ge A` is at least *A* as long as nothing changed: no simulation, no tuning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share, finite_series

_NORMAL_BETS = (0.25, 0.5, 1.0, 2.0)
_BOUNDED_BETS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class EDetector:
    r"""The state of a change detector after any number of values.

    Parameters
    ----------
    mean : float
        What the values average at most while nothing changes.
    sd : float > 0
        Their standard deviation (``normal``); not used for ``bounded``.
    every : float > 1
        *A*: the mean number of values between false alarms is at least this.
    kind : {"normal", "bounded"}, default "normal"
        ``normal``: :math:`L = e^{\lambda z - \lambda^2/2}` with :math:`z = (x - mean)/sd`,
        for block means. ``bounded``: :math:`L = 1 + \lambda (x - mean)` for values in
        [0, 1] such as errors, with no assumption about their distribution.
    bets : tuple of float
        The :math:`\lambda`; each finds another size of change.
    log_m : tuple of float
        :math:`\ln M` of each bet, -inf at the start.
    n : int
        Values seen.

    Notes
    -----
    O(1) a value, six numbers of state, pure: `update` returns a new state. The false-alarm
    time is proven for normal values whose mean and deviation do not exceed the given ones;
    `from_reference` therefore takes upper bounds of both.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> detector = EDetector(mean=0.0, sd=1.0, every=365)
    >>> for z in rng.normal(size=50):
    ...     detector = detector.update(z)
    >>> detector.has_alarm
    False
    >>> while not detector.has_alarm:
    ...     detector = detector.update(rng.normal(1.5, 1.0))
    >>> detector.n
    55

    References
    ----------
    .. [1] Shin, Ramdas and Rinaldo (2024). E-detectors: a nonparametric framework for
       sequential change detection. New England Journal of Statistics in Data Science 2(2).
    """

    mean: float
    sd: float
    every: float
    kind: Literal["normal", "bounded"] = "normal"
    bets: tuple[float, ...] = ()
    log_m: tuple[float, ...] = ()
    n: int = 0

    def __post_init__(self) -> None:
        """Fill in the bets of the kind; refuse what would void the guarantee."""
        bets = self.bets or (_NORMAL_BETS if self.kind == "normal" else _BOUNDED_BETS)
        if not self.sd > 0 or not self.every > 1:
            raise Invalid(
                "EDetector",
                needs="a deviation above 0 and a time between false alarms above 1",
                came=f"sd={self.sd}, every={self.every}",
                todo="Estimate the deviation from blocks that differ.",
            )
        if self.kind == "bounded" and max(bets) * self.mean >= 1.0:
            # 1 + bet * (x - mean) must stay positive at x = 0.
            bets = tuple(bet for bet in bets if bet * self.mean < 1.0) or (0.5 / self.mean,)
        object.__setattr__(self, "bets", bets)
        object.__setattr__(self, "log_m", self.log_m or (-math.inf,) * len(bets))

    def update(self, value: float) -> EDetector:
        """Return the state after one more value; refuse one that is no number."""
        if not math.isfinite(value) or (self.kind == "bounded" and not 0.0 <= value <= 1.0):
            raise Invalid(
                "EDetector.update",
                needs="a finite number" + (" in [0, 1]" if self.kind == "bounded" else ""),
                came=repr(value),
                todo="Leave out blocks whose loss is not known yet.",
            )
        log_m = tuple(
            float(np.logaddexp(before, 0.0)) + self._log_ratio(bet, value)
            for bet, before in zip(self.bets, self.log_m, strict=True)
        )
        return replace(self, log_m=log_m, n=self.n + 1)

    @property
    def log_value(self) -> float:
        """Logarithm of the detector: the mean of the bets' :math:`M`."""
        return float(special.logsumexp(np.array(self.log_m)) - math.log(len(self.log_m)))

    @property
    def has_alarm(self) -> bool:
        """Whether the mean is now believed to have risen."""
        return self.n > 0 and self.log_value >= math.log(self.every)

    def restarted(self) -> EDetector:
        """Return the state of one that has seen nothing, as after an alarm was handled."""
        return replace(self, log_m=(), n=0)

    def _log_ratio(self, bet: float, value: float) -> float:
        if self.kind == "bounded":
            return math.log1p(bet * (value - self.mean))
        z = (value - self.mean) / self.sd
        return bet * z - 0.5 * bet * bet


def from_reference(
    reference: ArrayLike, *, every: float, confidence: float = 0.8, floor: float = 0.0
) -> EDetector:
    """Return a detector of values above those of a reference, its own uncertainty paid for.

    Seven days fix neither mean nor deviation. A detector that took the estimates for the
    truth would alarm many times too often, so both enter as one-sided upper bounds.

    Parameters
    ----------
    reference : array_like, shape (n,), n >= 2
        Block values while all was well.
    every : float > 1
        Mean number of blocks between false alarms, at least.
    confidence : float in (0, 1), default 0.8
        Of each of the two bounds.
    floor : float >= 0, default 0
        A rise of the mean that is not worth an alarm, in the unit of the values.

    Raises
    ------
    Invalid
        When the reference has fewer than two blocks, or all are equal.

    Examples
    --------
    >>> detector = from_reference([0.40, 0.42, 0.41, 0.39, 0.43, 0.40, 0.41], every=365)
    >>> round(detector.mean, 3), round(detector.sd, 3)
    (0.413, 0.019)
    """
    series = finite_series(reference, who="from_reference")
    check_share(confidence, who="from_reference", name="confidence")
    n = series.size
    sd = float(series.std(ddof=1)) if n > 1 else 0.0
    if sd == 0.0:
        raise Invalid(
            "from_reference",
            needs="at least two reference blocks that differ",
            came=f"{n} blocks with a standard deviation of 0",
            todo="Wait for more labelled blocks.",
        )
    mean = float(series.mean()) + float(special.stdtrit(n - 1, confidence)) * sd / math.sqrt(n)
    # (n - 1) s^2 / sigma^2 is chi-squared; its lower quantile bounds sigma from above.
    sd *= math.sqrt((n - 1) / float(special.chdtri(n - 1, confidence)))
    return EDetector(mean=mean + floor, sd=sd, every=every)
