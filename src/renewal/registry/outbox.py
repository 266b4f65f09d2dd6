"""The outbox of plans: one row for every change of a model's traffic, in order.

It is written in the transaction that decides, so no server can miss a decision: it reads
what came after the last number it obeyed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from renewal.core.plan import Plan
from renewal.registry.changes import announce
from renewal.registry.codec import from_plain, to_plain
from renewal.registry.lookup import find_model, require_version
from renewal.registry.tables import plans


def publish(connection: Connection, plan: Plan, at: datetime) -> int:
    """Append a plan and return its number; raise `NotFound` where it names no version."""
    find_model(connection, plan.model)
    named = [arm.version_id for arm in plan.arms] + list(plan.shadow)
    for version_id in dict.fromkeys(named):
        require_version(connection, plan.model, version_id, "Registry.publish")
    done = connection.execute(
        insert(plans).values(model=plan.model, body=to_plain(plan), at=at).returning(plans.c.id)
    )
    announce(connection)
    return int(done.scalar_one())


def newest(connection: Connection, model: str) -> tuple[int, Plan] | None:
    """Return the newest plan of a model with its number; None where there is none yet."""
    row = connection.execute(
        select(plans).where(plans.c.model == model).order_by(plans.c.id.desc()).limit(1)
    ).one_or_none()
    return None if row is None else (row.id, from_plain(Plan, row.body))


def after(connection: Connection, seq: int) -> tuple[tuple[int, Plan], ...]:
    """Return the plans of every model that came after number `seq`, in order."""
    found = connection.execute(select(plans).where(plans.c.id > seq).order_by(plans.c.id))
    return tuple((row.id, from_plain(Plan, row.body)) for row in found)
