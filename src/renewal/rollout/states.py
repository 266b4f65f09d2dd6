"""Rollouts in SQL: what is needed to take one up again after a crash, word for word."""

from __future__ import annotations

from sqlalchemy import Connection, Row, Select, insert, select, update

from renewal.core.errors import Conflict, NotFound
from renewal.registry.codec import from_plain, to_plain
from renewal.rollout.machine import FINAL, Rollout
from renewal.rollout.tables import rollouts


def save(connection: Connection, rollout: Rollout, *, before: Rollout | None = None) -> None:
    """Write a rollout, new or moved on.

    Parameters
    ----------
    connection : Connection
        Inside a transaction; publish the plan in the same one.
    rollout : Rollout
        The state to keep.
    before : Rollout or None, default None
        The state from which it was stepped; another one stored by now is a conflict.

    Raises
    ------
    Conflict
        When the stored rollout has ended or is not `before` any more, or when the model has
        another open one.
    """
    found = connection.execute(
        select(rollouts.c.body).where(rollouts.c.id == rollout.id).with_for_update()
    ).one_or_none()
    if found is None:
        _refuse_second(connection, rollout)
        connection.execute(
            insert(rollouts).values(
                id=rollout.id,
                model=rollout.model,
                candidate=rollout.candidate,
                champion=rollout.champion,
                started_at=rollout.started_at,
                **_columns(rollout),
            )
        )
        return
    stored = from_plain(Rollout, found.body)
    is_stale = before is not None and stored != before
    if is_stale or (not stored.is_open and stored != rollout):
        raise Conflict(
            "rollout.save",
            needs=f"rollout {rollout.id} as it was read",
            came=f"stage {stored.stage!r} since {stored.entered_at.isoformat()}: {stored.reason}",
            todo="Load it again and decide again.",
        )
    connection.execute(
        update(rollouts).where(rollouts.c.id == rollout.id).values(**_columns(rollout))
    )


def load(connection: Connection, rollout_id: str) -> Rollout:
    """Return a rollout by its id; raise `NotFound` when there is none."""
    found = connection.execute(
        select(rollouts.c.body).where(rollouts.c.id == rollout_id)
    ).one_or_none()
    if found is None:
        raise NotFound(
            "rollout.load",
            needs="the id of a rollout",
            came=repr(rollout_id),
            todo="List the rollouts of the model.",
        )
    return from_plain(Rollout, found.body)


def open_rollout(connection: Connection, model: str) -> Rollout | None:
    """Return the rollout of a model that has not ended, or None; there is at most one."""
    found = connection.execute(
        _of(model).where(rollouts.c.stage.not_in(sorted(FINAL)))
    ).one_or_none()
    return None if found is None else _rollout(found)


def all_rollouts(connection: Connection, model: str) -> tuple[Rollout, ...]:
    """Return every rollout of a model, oldest first."""
    return tuple(_rollout(row) for row in connection.execute(_of(model)))


def _of(model: str) -> Select[tuple[object]]:
    return (
        select(rollouts.c.body)
        .where(rollouts.c.model == model)
        .order_by(rollouts.c.started_at, rollouts.c.id)
    )


def _rollout(row: Row[tuple[object]]) -> Rollout:
    return from_plain(Rollout, row.body)


def _columns(rollout: Rollout) -> dict[str, object]:
    return {
        "stage": rollout.stage,
        "body": to_plain(rollout),
        "updated_at": rollout.entered_at,
    }


def _refuse_second(connection: Connection, rollout: Rollout) -> None:
    other = open_rollout(connection, rollout.model)
    if other is not None and rollout.is_open:
        raise Conflict(
            "rollout.save",
            needs=f"no open rollout of {rollout.model!r}",
            came=f"{other.id} in {other.stage!r}, candidate {other.candidate[:12]}",
            todo="Let it end, or roll it back first.",
        )
