"""What the demo tells at its end: plain records that the report draws and the command prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

DecisionOutcome = Literal["accepted", "rejected", "undecided", "rolled back"]


@dataclass(frozen=True, slots=True)
class Score:
    """How well a model did on the rows of a month: area under the curve and mean log-loss."""

    auc: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class MonthScore:
    """A month seen by three ways to keep a model.

    Parameters
    ----------
    month : str
        As in ``2013-02``.
    n_rows : int
        Rows with a label.
    never : Score
        The first model, never updated.
    live : Score
        What answered the requests, whichever version that was.
    monthly : Score
        Retrained on everything at the start of each month, unjudged.
    """

    month: str
    n_rows: int
    never: Score
    live: Score
    monthly: Score


@dataclass(frozen=True, slots=True)
class Serving:
    """A stretch of time in which a version was part of the plan.

    Parameters
    ----------
    version : str
        Short name, such as ``v3``.
    stage : {"champion", "canary", "shadow"}
        As what.
    from_at, until_at : datetime
        Half-open, by the clock of the replay.
    """

    version: str
    stage: Literal["champion", "canary", "shadow"]
    from_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision on a candidate, beside what came true afterwards.

    Parameters
    ----------
    at : datetime
        When it was taken.
    outcome : {"accepted", "rejected", "undecided", "rolled back"}
        What was decided.
    candidate, baseline : str
        Short names of the versions.
    strategy : str
        How the candidate was made, such as ``retrain(window=8w)``.
    claimed_gain, lower, upper : float
        The gate's estimate of baseline loss less candidate loss, and its bounds; NaN where
        nothing was claimed.
    true_gain_30d : float
        The same, measured on the 30 days that followed; NaN where they are not over.
    n_rows, n_blocks : int
        Evidence at the time.
    reason : str
        One plain sentence.
    """

    at: datetime
    outcome: DecisionOutcome
    candidate: str
    baseline: str
    strategy: str
    claimed_gain: float
    lower: float
    upper: float
    true_gain_30d: float
    n_rows: int
    n_blocks: int
    reason: str


@dataclass(frozen=True, slots=True)
class AlarmLine:
    """One alarm with the numbers behind it."""

    at: datetime
    kind: str
    version: str
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One strategy in a race: whether it made a candidate, why not, and its training seconds."""

    strategy: str
    outcome: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class UpdateLine:
    """One update: when, why, and the race between its strategies."""

    at: datetime
    reasons: tuple[str, ...]
    entries: tuple[EntryLine, ...]

    @property
    def training_s(self) -> float:
        """Seconds of fitting, all strategies together."""
        return sum(entry.seconds for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that the demo measured.

    Parameters
    ----------
    model : str
        Its name.
    from_at, until_at : datetime
        The stretch that was replayed.
    months, serving, decisions, alarms, updates : tuple
        In the order of time.
    n_requests, n_rows, n_labels : int
        Requests sent, rows in them, and labels fed back.
    failed_requests : int
        Requests that were not answered with 200.
    wall_s : float
        Seconds the whole demo took.
    is_quick : bool, default False
        Whether it was the short form, on part of the flights.
    """

    model: str
    from_at: datetime
    until_at: datetime
    months: tuple[MonthScore, ...]
    serving: tuple[Serving, ...]
    decisions: tuple[Decision, ...]
    alarms: tuple[AlarmLine, ...]
    updates: tuple[UpdateLine, ...]
    n_requests: int
    n_rows: int
    n_labels: int
    failed_requests: int
    wall_s: float
    is_quick: bool = False
