"""The rollout as a pure state machine: a record, events, and one function between them.

::

             Accepted
    probation ──────▶ shadow ──Tick──▶ canary s1 ──Tick──▶ canary s2 ──Tick──▶ full ──Tick──▶ done
        │               │               ▲  │                  │                 │
        │ Rejected      │ Rejected      │  │ Rejected         │ Rejected        │ Rejected
        ▼               ▼               │  ▼                  ▼                 ▼
      ended ◀───────────┘            forced  rolled_back ◀────┴─────────────────┘

    who answers     probation, shadow      the champion; the candidate scores along
                    canary s               the candidate a share s; each scores the other's rows
                    full                   the candidate; the former champion scores along
                    done                   the candidate alone
                    ended, rolled_back     the champion alone

Harm, Errors and Rollback lead to ``rolled_back`` from every stage that has not ended, and
Superseded from ``probation`` to ``ended``. Time alone never leads out of ``probation``.
``done``, ``ended`` and ``rolled_back`` are final.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, assert_never

from renewal.core.clock import aware
from renewal.core.errors import Invalid
from renewal.core.ids import new_id
from renewal.core.plan import Arm, Plan
from renewal.rollout.options import RolloutOptions

Stage = Literal["probation", "shadow", "canary", "full", "done", "rolled_back", "ended"]

FINAL: frozenset[Stage] = frozenset({"done", "rolled_back", "ended"})
"""Stages that nothing leads out of."""

_ALLOWED_SHARE = {"probation": 0.0, "shadow": 0.0, "full": 1.0, "done": 1.0}


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a candidate has come on its way into the traffic of a model.

    Parameters
    ----------
    id : str
        Time-ordered.
    model : str
        Whose traffic.
    champion, candidate : str
        Version ids: the one to go back to, and the one on its way.
    stage : {"probation", "shadow", "canary", "full", "done", "rolled_back", "ended"}
        ``probation``: the gate is undecided; ``ended``: rejected before it answered anybody.
    share : float in [0, 1]
        Of the traffic that the candidate answers.
    verdict_id : str or None
        The accept verdict that lets it in.
    forced_by : str or None
        Who let it in past the gate.
    entered_at : datetime
        When the stage, or the share within it, was entered.
    started_at : datetime
        When the rollout began.
    reason : str
        Why the stage was entered, one plain sentence.
    forced_why : str, default ""
        The reason that `forced_by` gave; kept to the end.

    Raises
    ------
    Invalid
        When the candidate would answer, or score as an accepted one, with neither a verdict
        nor a name behind it: no stored or edited record can say so.
    """

    id: str
    model: str
    champion: str
    candidate: str
    stage: Stage
    share: float
    verdict_id: str | None
    forced_by: str | None
    entered_at: datetime
    started_at: datetime
    reason: str
    forced_why: str = ""

    def __post_init__(self) -> None:
        """Refuse a record that no sequence of events leads to."""
        if self.candidate == self.champion:
            _refuse("a candidate that is not the champion", f"{self.candidate!r} as both")
        if self.forced_by is not None and not (self.forced_by and self.forced_why):
            _refuse("a name and a reason for a forced rollout", "an empty one")
        let_in = bool(self.verdict_id) or self.forced_by is not None
        if self.stage in {"shadow", "canary", "full", "done"} and not let_in:
            _refuse(
                "an accept verdict, or the name of who forced it",
                f"stage {self.stage!r} with neither",
            )
        in_order = (
            0.0 < self.share < 1.0
            if self.stage == "canary"
            else self.share == _ALLOWED_SHARE.get(self.stage, 0.0)
        )
        if not in_order:
            _refuse("the share that belongs to its stage", f"{self.share} in {self.stage!r}")

    @property
    def is_open(self) -> bool:
        """Whether anything can still happen to it."""
        return self.stage not in FINAL

    @property
    def in_charge(self) -> str:
        """Id of the version that the alias ``champion`` should name in this stage."""
        return self.candidate if self.stage in {"full", "done"} else self.champion


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; one tick leads at most one step on, so no step goes unobserved."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """The gate has made up its mind for the candidate; `verdict_id` is the evidence."""

    verdict_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Rejected:
    """The gate has made up its mind against the candidate."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer candidate takes the place of one that is still on probation."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Harm:
    """The candidate's losses are shown to be worse than the champion's."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Errors:
    """The candidate is shown to fail more often than the champion."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Rollback:
    """Somebody wants the champion back."""

    who: str
    why: str
    at: datetime


Event = Tick | Accepted | Rejected | Superseded | Harm | Errors | Rollback


def begin(
    model: str,
    *,
    champion: str,
    candidate: str,
    at: datetime,
    options: RolloutOptions,
    verdict_id: str | None = None,
    forced_by: str | None = None,
    forced_why: str = "",
) -> Rollout:
    """Return the first state of a rollout.

    Parameters
    ----------
    model : str
        Whose traffic.
    champion, candidate : str
        Version ids.
    at : datetime
        Now, aware.
    options : RolloutOptions
        A forced rollout starts with the first canary share.
    verdict_id : str or None, default None
        An accept verdict: starts in ``shadow``. With neither this nor `forced_by` the gate
        is undecided, and it starts in ``probation``.
    forced_by : str or None, default None
        Who forces it: starts as a canary, and is guarded like any other.
    forced_why : str, default ""
        Their reason.

    Examples
    --------
    >>> from datetime import UTC
    >>> options, noon = RolloutOptions(), datetime(2013, 2, 1, 12, tzinfo=UTC)
    >>> now = begin("m", champion="a", candidate="b", at=noon, options=options, verdict_id="v")
    >>> for day in range(2, 9, 2):
    ...     now = step(now, Tick(noon + timedelta(days=day)), options)
    ...     print(now.stage, now.share)
    canary 0.1
    canary 0.5
    full 1.0
    full 1.0
    >>> step(now, Harm("it loses 0.1 a row", noon + timedelta(days=9)), options).stage
    'rolled_back'
    """
    at = aware(at, who="rollout.begin")
    stage: Stage = "probation"
    share, reason = 0.0, "the gate is undecided: it scores along until there is a verdict"
    if forced_by is not None:
        stage, share = _next(0.0, options)
        reason = f"forced by {forced_by}: {forced_why}"
    elif verdict_id is not None:
        stage, reason = "shadow", "the gate accepted it"
    return Rollout(
        id=new_id(),
        model=model,
        champion=champion,
        candidate=candidate,
        stage=stage,
        share=share,
        verdict_id=verdict_id,
        forced_by=forced_by,
        entered_at=at,
        started_at=at,
        reason=reason,
        forced_why=forced_why,
    )


def step(rollout: Rollout, event: Event, options: RolloutOptions) -> Rollout:
    """Return the state after an event; the same record when the event changes nothing.

    Parameters
    ----------
    rollout : Rollout
        The present state.
    event : Tick, Accepted, Rejected, Superseded, Harm, Errors or Rollback
        What happened; an event that is older than the stage cannot move time backward.
    options : RolloutOptions
        May differ from step to step: a share that was reached is never lowered.

    Returns
    -------
    Rollout
        Pure: nothing is stored or published by it.
    """
    if not rollout.is_open:
        return rollout
    at = max(aware(event.at, who="rollout.step"), rollout.entered_at)
    match event:
        case Tick():
            after = _tick(rollout, at, options)
        case Accepted(verdict_id):
            after = _accept(rollout, at, verdict_id)
        case Rejected(reason):
            unserved = rollout.stage in {"probation", "shadow"}
            to: Stage = "ended" if unserved else "rolled_back"
            after = _take_back(rollout, at, f"the gate rejected it: {reason}", to)
        case Superseded():
            after = rollout
            if rollout.stage == "probation":
                after = _take_back(rollout, at, "a newer candidate takes its place", "ended")
        case Harm(reason) | Errors(reason):
            after = _take_back(rollout, at, reason)
        case Rollback(who, why):
            after = _take_back(rollout, at, f"taken back by {who}: {why}")
        case _:
            assert_never(event)
    return after


def plan_of(rollout: Rollout) -> Plan:
    """Return the routing that the state asks for.

    Parameters
    ----------
    rollout : Rollout
        Any state.

    Returns
    -------
    Plan
        While a rollout is open, every row is scored by both versions, whoever answers: the
        pairs are the evidence for and against the candidate.
    """
    champion, candidate = rollout.champion, rollout.candidate
    match rollout.stage:
        case "probation" | "shadow":
            return Plan(rollout.model, "shadow", (Arm("champion", champion, 1.0),), (candidate,))
        case "canary":
            arms = (
                Arm("champion", champion, 1.0 - rollout.share),
                Arm("candidate", candidate, rollout.share),
            )
            return Plan(rollout.model, "canary", arms, (champion, candidate))
        case "full":
            return Plan(rollout.model, "full", (Arm("candidate", candidate, 1.0),), (champion,))
        case "done" | "rolled_back" | "ended":
            return Plan(rollout.model, "steady", (Arm("champion", rollout.in_charge, 1.0),))
        case _:
            assert_never(rollout.stage)


def _tick(rollout: Rollout, at: datetime, options: RolloutOptions) -> Rollout:
    lasts: timedelta
    match rollout.stage:
        case "shadow":
            lasts = options.shadow_for
        case "canary":
            lasts = options.canary_for
        case "full":
            lasts = options.watch_for
        case _:
            return rollout
    if at - rollout.entered_at < lasts:
        return rollout
    if rollout.stage == "full":
        reason = "watched to the end: it stays"
        return replace(rollout, stage="done", entered_at=at, reason=reason)
    stage, share = _next(rollout.share, options)
    reason = f"no harm shown in {rollout.stage}"
    return replace(rollout, stage=stage, share=share, entered_at=at, reason=reason)


def _next(share: float, options: RolloutOptions) -> tuple[Stage, float]:
    """Return the smallest step above `share`: by value, so that a changed policy fits in."""
    for larger in options.canary:
        if larger > share:
            return "canary", larger
    return "full", 1.0


def _accept(rollout: Rollout, at: datetime, verdict_id: str) -> Rollout:
    if rollout.stage != "probation":
        return rollout
    reason = "the gate accepted it"
    return replace(rollout, stage="shadow", verdict_id=verdict_id, entered_at=at, reason=reason)


def _take_back(rollout: Rollout, at: datetime, reason: str, to: Stage = "rolled_back") -> Rollout:
    return replace(rollout, stage=to, share=0.0, entered_at=at, reason=reason)


def _refuse(needs: str, came: str) -> None:
    raise Invalid(
        "Rollout", needs=needs, came=came, todo="Start it with `begin`, move it with `step`."
    )
