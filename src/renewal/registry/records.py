"""What the registry is told and what it tells: a move, an event, a piece of history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Move:
    """A compare-and-swap of one alias.

    Parameters
    ----------
    alias : str
        ``champion``, ``candidate``, ``shadow`` or the user's own.
    expected : str or None
        Id of the version at which the alias must point now; None: at nothing.
    to : str or None
        Id of the version at which it is to point; None: it goes away.
    """

    alias: str
    expected: str | None
    to: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a model's log; it is never changed and never deleted.

    Parameters
    ----------
    id : int
        Grows with every event of the home.
    at : datetime
        By the clock of the home.
    model : str
        Whose.
    kind : str
        ``created``, ``registered``, ``first``, ``moved``, ``rolled_back``, or a room's own.
    who, why : str
        Who did it and the reason given; may be empty.
    details : mapping
        What the kind calls for. Of a move: ``moves`` (alias, from, to), ``verdict`` and
        ``forced``.
    """

    id: int
    at: datetime
    model: str
    kind: str
    who: str
    why: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One change of an alias, from the log.

    Parameters
    ----------
    at : datetime
        When.
    from_id, to_id : str or None
        Version ids; None where there was, or is, none.
    who, why : str
        Who moved it, and the reason given.
    verdict_id : str or None
        The evidence it was moved on.
    forced : bool
        Whether it was moved past the gate.
    kind : str
        Of the event: ``first``, ``moved``, ``rolled_back``, or a room's own.
    """

    at: datetime
    from_id: str | None
    to_id: str | None
    who: str
    why: str
    verdict_id: str | None
    forced: bool
    kind: str
