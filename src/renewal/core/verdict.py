"""A verdict: what the gate says of a candidate, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["accept", "reject", "undecided"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a candidate beside the baseline it names.

    Gains are baseline loss minus candidate loss, mean per row, in the unit of the loss:
    positive means that the candidate is better.

    Parameters
    ----------
    outcome : {"accept", "reject", "undecided"}
        accept: `lower` clears `margin`; reject: `upper` lies below `smallest_gain`;
        undecided: neither, go on.
    candidate, baseline : str
        Version ids.
    claim : {"superior", "no_worse"}
        What was to be proved.
    loss : str
        Name of the loss, such as ``log_loss``.
    gain, lower, upper : float
        Estimate and one-sided bounds, each at `alpha`; NaN where nothing can be said.
    margin, smallest_gain : float
        What `lower` must exceed, and the smallest gain worth shipping.
    alpha : float
        Error spent by this look.
    look : {"first", "sequential"}
        One fixed-n look at rows already there, or anytime-valid over new rows only.
    n_rows, n_blocks : int
        Rows and blocks compared.
    n_effective : float
        Blocks after their autocorrelation is paid for.
    n_seen : int
        Rows set aside because one of the two models had trained on them.
    judged_from_us, judged_until_us : int
        Event time of the first and last judged row, microseconds since 1970.
    reason : str
        One plain sentence.
    next_action : str
        What to do now: ``roll out``, ``wait for 9 more blocks``, ``try another strategy``.
    """

    outcome: Outcome
    candidate: str
    baseline: str
    claim: Literal["superior", "no_worse"]
    loss: str
    gain: float
    lower: float
    upper: float
    margin: float
    smallest_gain: float
    alpha: float
    look: Literal["first", "sequential"]
    n_rows: int
    n_blocks: int
    n_effective: float
    n_seen: int
    judged_from_us: int
    judged_until_us: int
    reason: str
    next_action: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.outcome}: {self.reason}"
