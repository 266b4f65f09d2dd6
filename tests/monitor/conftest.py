"""Rows as the feed hands them out, and a database that knows one model with two versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import insert

from renewal.data.rows import NEVER_US, Rows
from renewal.registry.db import Database
from renewal.registry.tables import models, versions

MakeRows = Callable[..., Rows]


def _rows(
    features: dict[str, Any] | pa.Table,
    block: Any = None,
    event_us: Any = None,
) -> Rows:
    table = features if isinstance(features, pa.Table) else pa.table(features)
    n = table.num_rows
    hashes = np.arange(n, dtype=np.uint64)
    times = np.zeros(n, np.int64) if event_us is None else np.asarray(event_us, np.int64)
    return Rows(
        features=table,
        key=np.arange(n).astype(str).astype(object),
        key_hash=hashes,
        group_hash=hashes,
        sticky=None,
        event_us=times,
        arrived_us=times,
        label=None,
        label_arrived_us=np.full(n, NEVER_US),
        block=np.arange(n) if block is None else np.asarray(block, np.int64),
    )


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """Return a function that makes rows: each its own block unless `block` is given."""
    return _rows


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    at = datetime(2013, 2, 1, tzinfo=UTC)
    with database.transaction() as connection:
        connection.execute(insert(models).values(name="flights", spec={}, created_at=at))
        for number, version_id in enumerate("ab", start=1):
            connection.execute(
                insert(versions).values(
                    id=version_id,
                    model="flights",
                    number=number,
                    manifest={},
                    facts={},
                    created_at=at,
                    created_by="a test",
                )
            )
    yield database
    database.close()
