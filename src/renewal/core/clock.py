"""The time of day, as a value that is handed in and never looked up."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Protocol

from renewal.core.errors import Invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Whatever can say what time it is."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)


class ReplayClock:
    """A clock that stands still until it is moved: for replays, backtests and tests.

    Parameters
    ----------
    at : datetime
        Where it starts; must be aware.

    Examples
    --------
    >>> clock = ReplayClock(datetime(2013, 1, 1, tzinfo=UTC))
    >>> clock.move_to(datetime(2013, 1, 2, tzinfo=UTC))
    >>> clock.now().isoformat()
    '2013-01-02T00:00:00+00:00'
    """

    def __init__(self, at: datetime) -> None:
        self._lock = threading.Lock()
        self._at = aware(at, who="ReplayClock")

    def now(self) -> datetime:
        """Return the instant to which the clock was last moved."""
        with self._lock:
            return self._at

    def move_to(self, at: datetime) -> None:
        """Move the clock forward to `at`; raise `Invalid` when that lies in its past."""
        at = aware(at, who="ReplayClock.move_to")
        with self._lock:
            if at < self._at:
                raise Invalid(
                    "ReplayClock.move_to",
                    needs=f"an instant not before {self._at.isoformat()}",
                    came=at.isoformat(),
                    todo="Replay events in the order of their time.",
                )
            self._at = at


def aware(at: datetime, *, who: str) -> datetime:
    """Return `at` in UTC; raise `Invalid` when it has no time zone.

    Parameters
    ----------
    at : datetime
        Any aware instant.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    datetime
        The same instant in UTC.

    Raises
    ------
    Invalid
        When `at` is naive: guessing a zone would move every label by hours.
    """
    if at.tzinfo is None:
        raise Invalid(
            who,
            needs="an instant with a time zone",
            came=f"the naive {at.isoformat()}",
            todo="Use datetime(..., tzinfo=timezone.utc) or a column of a UTC timestamp type.",
        )
    return at.astimezone(UTC)


def to_us(at: datetime) -> int:
    """Return whole microseconds since 1970-01-01 UTC, exactly.

    Examples
    --------
    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (at - EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """Return the UTC instant `us` microseconds after 1970-01-01.

    Examples
    --------
    >>> from_us(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return EPOCH + timedelta(microseconds=int(us))
