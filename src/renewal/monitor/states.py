"""The monitor in SQL: one state a version, and every alarm that was raised."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from renewal.monitor.alarm import Alarm
from renewal.monitor.tables import alarms, monitor_states
from renewal.monitor.watch import MonitorState
from renewal.registry.codec import from_plain, to_plain


def save_state(connection: Connection, state: MonitorState, at: datetime) -> None:
    """Write what the watch over a version remembers, in place of what was there.

    Parameters
    ----------
    connection : Connection
        Inside a transaction; write the alarms of the same look in it.
    state : MonitorState
        After a look.
    at : datetime
        When that was.
    """
    is_mine = (monitor_states.c.model == state.model) & (
        monitor_states.c.version_id == state.version_id
    )
    body = to_plain(state)
    done = connection.execute(update(monitor_states).where(is_mine).values(body=body, at=at))
    if done.rowcount == 0:
        connection.execute(
            insert(monitor_states).values(
                model=state.model, version_id=state.version_id, body=body, at=at
            )
        )


def load_state(connection: Connection, model: str, version_id: str) -> MonitorState | None:
    """Return what the watch over a version remembers; None when it has not begun."""
    found = connection.execute(
        select(monitor_states.c.body).where(
            monitor_states.c.model == model, monitor_states.c.version_id == version_id
        )
    ).one_or_none()
    return None if found is None else from_plain(MonitorState, found.body)


def add_alarms(connection: Connection, model: str, raised: tuple[Alarm, ...]) -> None:
    """Append the alarms of one look."""
    for alarm in raised:
        connection.execute(
            insert(alarms).values(
                model=model,
                version_id=alarm.version_id,
                kind=alarm.kind,
                body=to_plain(alarm),
                at=alarm.at,
            )
        )


def alarms_since(
    connection: Connection,
    model: str,
    version_id: str | None = None,
    since: datetime | None = None,
) -> tuple[Alarm, ...]:
    """Return the alarms of a model, oldest first.

    Parameters
    ----------
    connection : Connection
        Any.
    model : str
        Whose.
    version_id : str or None, default None
        Only those of one version.
    since : datetime or None, default None
        Only those raised at or after this instant.
    """
    asked = select(alarms.c.body).where(alarms.c.model == model).order_by(alarms.c.id)
    if version_id is not None:
        asked = asked.where(alarms.c.version_id == version_id)
    if since is not None:
        asked = asked.where(alarms.c.at >= since)
    return tuple(from_plain(Alarm, row.body) for row in connection.execute(asked))
