"""Commits of other processes are noticed, by looking at SQLite and by listening to PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from renewal.core.plan import Arm, Plan
from renewal.core.version import Version
from renewal.registry.changes import changes_of
from renewal.registry.db import Database
from renewal.registry.registry import Registry


def test_a_plan_of_another_connection_ends_the_wait(
    registry: Registry, url: str, grow: Callable[[int], list[Version]]
) -> None:
    """Breaks when servers of other processes hear of a rollback at their next poll only."""
    (one,) = grow(1)
    changes = changes_of(registry.db)
    try:
        changes.wait(0.0)  # what came before
        assert not changes.wait(0.05)
        other = Registry(Database(url), registry._clock)
        plan = Plan(one.manifest.model, "steady", (Arm("champion", one.id, 1.0),))
        timer = threading.Timer(0.1, other.publish, (plan,))
        timer.start()
        started_s = time.monotonic()
        assert changes.wait(20.0)
        assert time.monotonic() - started_s < 15.0
        timer.join()
        other.db.close()
    finally:
        changes.close()
