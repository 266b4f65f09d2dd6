"""What the tests of the feed share: a database, a clock that is moved, a feed of flights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import insert

from renewal.core.clock import ReplayClock, to_us
from renewal.core.spec import ModelSpec
from renewal.data.columns import PREDICTIONS_SCHEMA, instants
from renewal.data.feed import Feed
from renewal.data.stamp import stamp
from renewal.registry.db import Database
from renewal.registry.tables import models, versions

START = datetime(2013, 1, 1, tzinfo=UTC)

# What these tests check is no matter of speed: a busy machine must not fail them.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(START)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Open a database that knows the model and two of its versions, for leases to refer to."""
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    with database.transaction() as connection:
        connection.execute(insert(models).values(name="flights", spec={}, created_at=START))
        for number in (1, 2):
            connection.execute(
                insert(versions).values(
                    id=f"{number}" * 64,
                    model="flights",
                    number=number,
                    manifest={},
                    facts={},
                    created_at=START,
                    created_by="a test",
                )
            )
    yield database
    database.close()


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec(
        "flights", "binary", "late", key="flight", time="at", label_delay=timedelta(days=1)
    )


@pytest.fixture
def feed(tmp_path: Path, spec: ModelSpec, db: Database, clock: ReplayClock) -> Feed:
    return Feed(tmp_path / "feed", spec, db, clock, segments=tmp_path / "log")


@pytest.fixture
def flights() -> Callable[..., pa.Table]:
    """Make a table of flights: keys, hours after the start, and labels where given."""

    def make(
        keys: list[Any], hours: list[float] | None = None, late: list[Any] | None = None
    ) -> pa.Table:
        at = [START + timedelta(hours=hour) for hour in (hours or [0.0] * len(keys))]
        columns = {
            "flight": pa.array(keys),
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "hour": pa.array([float(len(str(key))) for key in keys]),
            "origin": pa.array(["EWR"] * len(keys)),
        }
        if late is not None:
            columns["late"] = pa.array(late)
        return pa.table(columns)

    return make


@pytest.fixture
def served(spec: ModelSpec) -> Callable[..., tuple[pa.Table, pa.Table]]:
    """Make the rows and the predictions of one request, as a server writes them."""

    def make(
        keys: list[str], request: str, *, at: datetime = START, version: str = "1" * 64
    ) -> tuple[pa.Table, pa.Table]:
        n_rows = len(keys)
        features = pa.table({"hour": np.arange(n_rows, dtype=float), "origin": ["EWR"] * n_rows})
        rows = stamp(features, spec, arrived_us=to_us(at), key=keys, event_us=[to_us(at)] * n_rows)
        when = instants(np.full(n_rows, to_us(at)))
        predictions = pa.table(
            {
                "prediction_id": [f"{request}-{row}" for row in range(n_rows)],
                "key": keys,
                "key_hash": rows["renewal_key_hash"],
                "version_id": [version] * n_rows,
                "arm": ["champion"] * n_rows,
                "propensity": [1.0] * n_rows,
                "shadow": [False] * n_rows,
                "scores": [[0.25, 0.75]] * n_rows,
                "predicted_at": when,
                "event_at": when,
                "latency_ms": [1.5] * n_rows,
                "failed": [False] * n_rows,
            },
            schema=PREDICTIONS_SCHEMA,
        )
        return rows, predictions

    return make
