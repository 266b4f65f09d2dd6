"""A verdict: what the gate says of a candidate, clause by clause, with its evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["accept", "reject", "undecided"]
Claim = Literal["superior", "better_by", "no_worse"]
Kind = Literal["must_prove", "veto_if_shown"]
State = Literal["holds", "fails", "cannot_tell"]


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that was asked of a candidate, and what the evidence says of it.

    Parameters
    ----------
    name : str
        What was asked, such as ``superior(log_loss)`` or ``slice origin=JFK``.
    kind : {"must_prove", "veto_if_shown"}
        A ``must_prove`` clause has to hold; a ``veto_if_shown`` clause must not fail.
    state : {"holds", "fails", "cannot_tell"}
        ``must_prove``: proved, refuted, or neither yet. ``veto_if_shown``: harm beyond the
        bound is excluded, is shown, or neither. "Cannot tell" is never a pass.
    value, lower, upper : float
        Estimate with its one-sided bounds, each at `alpha`; NaN where nothing can be said.
        Gains are positive where the candidate is better, harms where it is worse.
    bound : float
        What the estimate is held against, in the same unit.
    n_rows, n_blocks : int
        Evidence behind it.
    n_effective : float
        Blocks after their dependence is paid for.
    alpha : float
        Error spent on it.
    p_value : float
        One-sided, of the hypothesis that the clause sets out to refute; of a veto after Holm.
    e_value : float
        Evidence against the same hypothesis; NaN where only a p-value exists.
    method : str
        The test, such as ``paired t on blocks`` or ``DeLong``.
    sentence : str
        The same in one plain sentence.
    """

    name: str
    kind: Kind
    state: State
    value: float
    lower: float
    upper: float
    bound: float
    n_rows: int
    n_blocks: int
    n_effective: float
    alpha: float
    p_value: float
    e_value: float
    method: str
    sentence: str


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
    claim : {"superior", "better_by", "no_worse"}
        What was to be proved: the first of the policy's ``must_prove``.
    loss : str
        Name of the loss, or of the metric that the claim is about, such as ``log_loss``.
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
    clauses : tuple of Clause
        Everything that was asked, the headline claim first.
    e_value : float
        The smallest of the ``must_prove`` clauses: what enters the ledger of the model.
    threshold : float
        What the e-value must reach: one over the level that the ledger granted.
    number : int
        Which claim of this model's life it is, from 1; 0 where no claim was opened.
    seed : int
        Of resampling and perturbation.
    missing_blocks, missing_rows : int or None
        What an acceptance would still take, where that is known.
    missing_until_us : int or None
        When it will be there at the present rate of arrival, microseconds since 1970.
    asked : mapping
        The options of the gate under which it was judged, as JSON values: what a replay needs.
    """

    outcome: Outcome
    candidate: str
    baseline: str
    claim: Claim
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
    clauses: tuple[Clause, ...] = ()
    e_value: float = 1.0
    threshold: float = math.inf
    number: int = 0
    seed: int = 0
    missing_blocks: int | None = None
    missing_rows: int | None = None
    missing_until_us: int | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.outcome}: {self.reason}"
