"""A database that knows one model and three of its versions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from renewal.registry.db import Database
from renewal.registry.tables import models, versions

_AT = datetime(2013, 2, 1, tzinfo=UTC)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    with database.transaction() as connection:
        for model in ("flights", "other"):
            connection.execute(insert(models).values(name=model, spec={}, created_at=_AT))
        for number, version_id in enumerate("abc", start=1):
            connection.execute(
                insert(versions).values(
                    id=version_id,
                    model="flights",
                    number=number,
                    manifest={},
                    facts={},
                    created_at=_AT,
                    created_by="a test",
                )
            )
    yield database
    database.close()
