"""Leases on snapshots: which versions of the tables must stay readable, and for whom."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from renewal.core.errors import Conflict
from renewal.core.version import Snapshot
from renewal.data.tables import snapshot_leases as leases
from renewal.registry.db import Database

_VERSIONS = (leases.c.rows, leases.c.predictions, leases.c.labels)


def hold(db: Database, snapshot: Snapshot, version_id: str) -> None:
    """Note that a version needs a snapshot; twice is once.

    Raises
    ------
    Conflict
        When the version holds another snapshot.
    """
    wanted = (snapshot.rows, snapshot.predictions, snapshot.labels)
    with db.transaction() as connection:
        held = connection.execute(
            select(*_VERSIONS).where(leases.c.version_id == version_id)
        ).one_or_none()
        if held is None:
            connection.execute(
                insert(leases).values(
                    version_id=version_id,
                    model=snapshot.model,
                    rows=snapshot.rows,
                    predictions=snapshot.predictions,
                    labels=snapshot.labels,
                    taken_at=snapshot.taken_at,
                )
            )
        elif tuple(held) != wanted:
            raise Conflict(
                "Feed.lease",
                needs=f"one snapshot for the version {version_id[:12]}",
                came=f"table versions {wanted} beside {tuple(held)}, which it holds already",
                todo="A version is made from one snapshot; register another version.",
            )


def release(db: Database, version_id: str) -> None:
    """Let go of what a version holds; one that holds nothing is free of harm."""
    with db.transaction() as connection:
        connection.execute(delete(leases).where(leases.c.version_id == version_id))


def held_versions(db: Database, model: str) -> list[tuple[int, int, int]]:
    """Return the versions of rows, predictions and labels that a model's leases hold."""
    with db.read() as connection:
        found = connection.execute(select(*_VERSIONS).where(leases.c.model == model)).all()
    return [(int(rows), int(predictions), int(labels)) for rows, predictions, labels in found]
