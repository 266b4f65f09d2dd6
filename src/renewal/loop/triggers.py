"""When to update: each trigger answers with a reason, or with nothing.

A trigger is asked once a tick. It sees what has happened since the last update and says
why an update is due, in a sentence with numbers. Several may speak at once; one is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from renewal.core.duration import format_duration
from renewal.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Since:
    """What has happened since the last update.

    Parameters
    ----------
    now : datetime
        By the clock of the home.
    last_update_at : datetime
        When the last update started, or the first champion was made.
    n_labels : int
        Labels that have arrived since then.
    alarms : tuple of str
        Sentences of the champion's standing alarms.
    """

    now: datetime
    last_update_at: datetime
    n_labels: int
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an update is due.

    Parameters
    ----------
    trigger : str
        Name of the trigger.
    sentence : str
        With its numbers.
    """

    trigger: str
    sentence: str


class Trigger(Protocol):
    """Whatever can say that an update is due."""

    def ask(self, since: Since) -> Reason | None:
        """Return a reason, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """Speak when `every` has passed since the last update.

    Examples
    --------
    >>> from datetime import UTC
    >>> then = datetime(2013, 1, 1, tzinfo=UTC)
    >>> since = Since(now=then + timedelta(days=28), last_update_at=then, n_labels=0)
    >>> Schedule(timedelta(days=28)).ask(since).sentence
    'the last update was 28.0 days ago (schedule: every 4w)'
    """

    every: timedelta = timedelta(days=28)

    def __post_init__(self) -> None:
        """Refuse a schedule that would never rest."""
        if self.every <= timedelta(0):
            raise Invalid(
                "Schedule",
                needs="a positive time between updates",
                came=str(self.every),
                todo="Write a duration such as 4w.",
            )

    def ask(self, since: Since) -> Reason | None:
        """Return a reason when the time is up."""
        age = since.now - since.last_update_at
        if age < self.every:
            return None
        days = age / timedelta(days=1)
        return Reason(
            "schedule",
            f"the last update was {days:.1f} days ago (schedule: every "
            f"{format_duration(self.every)})",
        )


@dataclass(frozen=True, slots=True)
class NewLabels:
    """Speak when at least `n` labels have arrived since the last update.

    Examples
    --------
    >>> from datetime import UTC
    >>> then = datetime(2013, 1, 1, tzinfo=UTC)
    >>> NewLabels(100).ask(Since(then, then, n_labels=99)) is None
    True
    """

    n: int = 10_000

    def __post_init__(self) -> None:
        """Refuse a number that every tick would reach."""
        if self.n < 1:
            raise Invalid(
                "NewLabels",
                needs="at least 1 label",
                came=str(self.n),
                todo="Write how many new labels make an update worth trying.",
            )

    def ask(self, since: Since) -> Reason | None:
        """Return a reason when enough labels have come."""
        if since.n_labels < self.n:
            return None
        return Reason(
            "new_labels",
            f"{since.n_labels:,} labels have arrived since the last update (trigger: {self.n:,})",
        )


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """Speak while an alarm of the monitor on the present champion stands."""

    def ask(self, since: Since) -> Reason | None:
        """Return the newest alarm as the reason."""
        return Reason("alarm", since.alarms[-1]) if since.alarms else None
