"""The event log: what happened to a model, when, by whom and why. Append-only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, cast, insert, select

from renewal.core.errors import Invalid
from renewal.registry.codec import from_plain, to_plain
from renewal.registry.records import AliasMove, Event
from renewal.registry.tables import events

_WHO_LENGTH = 128
_KIND_LENGTH = 32


def append_event(
    connection: Connection,
    at: datetime,
    model: str,
    kind: str,
    *,
    who: str,
    why: str,
    details: Mapping[str, Any],
) -> None:
    """Append an event in the caller's transaction.

    Raises
    ------
    Invalid
        When `kind` is empty or longer than 32 characters, `who` is longer than 128, or a
        value of `details` has no JSON form.
    """
    check_length("who", who, _WHO_LENGTH)
    check_length("kind", kind, _KIND_LENGTH)
    if not kind:
        raise Invalid(
            "the log", needs="a kind of event", came="an empty one", todo="Name what happened."
        )
    connection.execute(
        insert(events).values(
            at=at, model=model, kind=kind, who=who, why=why, details=to_plain(details)
        )
    )


def read_events(connection: Connection, model: str, limit: int | None = None) -> tuple[Event, ...]:
    """Return the newest `limit` events of a model, newest last; None for all."""
    newest_first = (
        select(events).where(events.c.model == model).order_by(events.c.id.desc()).limit(limit)
    )
    return tuple(_event(row) for row in reversed(connection.execute(newest_first).all()))


def moves_of(connection: Connection, model: str, alias: str) -> tuple[AliasMove, ...]:
    """Return every move of an alias, oldest first.

    Notes
    -----
    Reads the events that hold a move of this name, found by their text: a model has some
    dozens in its life, among thousands of others.
    """
    named = cast(events.c.details, Text).contains(f'"alias": "{alias}"', autoescape=True)
    found = connection.execute(
        select(events).where(events.c.model == model, named).order_by(events.c.id)
    )
    return tuple(
        AliasMove(
            at=event.at,
            from_id=moved["from"],
            to_id=moved["to"],
            who=event.who,
            why=event.why,
            verdict_id=event.details["verdict"],
            forced=event.details["forced"],
            kind=event.kind,
        )
        for event in map(_event, found)
        for moved in event.details.get("moves", ())
        if moved["alias"] == alias
    )


def check_length(what: str, text: str, n_characters: int) -> None:
    """Raise `Invalid` when `text` is longer than its column."""
    if len(text) > n_characters:
        raise Invalid(
            "the registry",
            needs=f"`{what}` of at most {n_characters} characters",
            came=f"{len(text)}",
            todo="Put the long form into `why`.",
        )


def _event(row: Any) -> Event:
    details = from_plain(dict[str, Any], row.details)
    return Event(row.id, row.at, row.model, row.kind, row.who, row.why, details)
