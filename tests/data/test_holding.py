"""Leases on snapshots: one a version, seen by every process."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from renewal.core.errors import Conflict
from renewal.core.version import Snapshot
from renewal.data.holding import held_versions, hold
from renewal.registry.db import Database

AT = datetime(2013, 1, 1, tzinfo=UTC)


def test_a_version_holds_one_snapshot(db: Database) -> None:
    hold(db, Snapshot("flights", 3, -1, 2, AT), "1" * 64)
    hold(db, Snapshot("flights", 3, -1, 2, AT), "1" * 64)
    hold(db, Snapshot("flights", 5, 4, 3, AT), "2" * 64)
    assert sorted(held_versions(db, "flights")) == [(3, -1, 2), (5, 4, 3)]
    assert held_versions(db, "others") == []
    with pytest.raises(Conflict, match=r"\(3, -1, 2\), which it holds already"):
        hold(db, Snapshot("flights", 4, -1, 2, AT), "1" * 64)
