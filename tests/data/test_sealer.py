"""The sealer: every flushed segment exactly once, whatever dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from renewal.core.clock import ReplayClock
from renewal.core.errors import Corrupt, Invalid
from renewal.core.spec import ModelSpec
from renewal.data.feed import Feed
from renewal.data.sealer import Sealer
from renewal.data.segment import SegmentWriter, segment_paths
from renewal.registry.db import Database
from renewal.registry.leases import Lease

Serve = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def sealer(feed: Feed, log: Path, db: Database) -> Sealer:
    return Sealer(feed, log, Lease(db, "seal:flights", "a test", 30.0))


def records(feed: Feed) -> tuple[Counter[str], Counter[str]]:
    """Count the records of each key in both tables, repeats included."""
    found = []
    for table, name in ((feed._rows, "renewal_key"), (feed._predictions, "key")):
        keys = table.read(table.view(), (name,))
        found.append(Counter([] if keys is None else keys[name].to_pylist()))
    return found[0], found[1]


def test_segments_go_into_the_feed_and_away(
    feed: Feed, sealer: Sealer, log: Path, served: Serve
) -> None:
    assert sealer.seal() == 0
    for worker in "ab":
        writer = SegmentWriter(log, worker, durability="fsync")
        for at in range(3):
            writer.add(*served([f"{worker}{at}"], f"P{worker}{at}"))
    assert sealer.seal() == 6
    assert segment_paths(log) == ()
    once = Counter(f"{worker}{at}" for worker in "ab" for at in range(3))
    assert records(feed) == (once, once)
    assert sealer.seal() == 0


class Killed(BaseException):
    """Stands for a process that dies here."""


@pytest.mark.parametrize("where", ["rows", "predictions", "delete"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_dying_between_two_steps_loses_and_doubles_nothing(
    *,
    feed: Feed,
    sealer: Sealer,
    log: Path,
    served: Serve,
    monkeypatch: pytest.MonkeyPatch,
    spec: ModelSpec,
    db: Database,
    clock: ReplayClock,
    where: str,
    after: bool,
) -> None:
    """Breaks when a table does not remember the segment in the commit that holds its rows."""
    writer = SegmentWriter(log, "w", durability="fsync")
    for at in range(3):
        writer.add(*served([f"k{at}"], f"P{at}"))

    def die_around(step: Callable[..., None]) -> Callable[..., None]:
        def dying(*args: object, **options: object) -> None:
            if after:
                step(*args, **options)
            raise Killed

        return dying

    if where == "delete":
        monkeypatch.setattr(Path, "unlink", die_around(Path.unlink))
    else:
        table = feed._rows if where == "rows" else feed._predictions
        monkeypatch.setattr(table, "append", die_around(table.append))
    with pytest.raises(Killed):
        sealer.seal()
    monkeypatch.undo()
    writer.add(*served(["k3"], "P3"))
    again = Feed(feed.path, spec, db, clock)
    Sealer(again, log, Lease(db, "seal:flights", "another", 30.0)).seal()
    once = Counter(f"k{at}" for at in range(4))
    assert records(again) == (once, once)
    assert segment_paths(log) == ()


def test_only_one_process_seals(
    feed: Feed, sealer: Sealer, log: Path, db: Database, served: Serve
) -> None:
    writer = SegmentWriter(log, "w", durability="fsync")
    writer.add(*served(["a"], "P1"))
    other = Lease(db, "seal:flights", "another", 30.0)
    other.acquire()
    assert sealer.seal() == 0
    assert len(segment_paths(log)) == 1
    other.release()
    assert sealer.seal() == 1
    # The lease was given back.
    other.acquire()
    assert len(feed.rows()) == 1


def test_a_damaged_segment_is_put_aside_and_the_others_go_on(
    feed: Feed, sealer: Sealer, log: Path, served: Serve
) -> None:
    writer = SegmentWriter(log, "w", durability="fsync")
    for at in range(3):
        writer.add(*served([f"k{at}"], f"P{at}"))
    damaged = segment_paths(log)[1]
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(Corrupt, match=damaged.name):
        sealer.seal()
    assert records(feed)[0] == Counter(["k0", "k2"])
    assert [path.name for path in log.iterdir()] == [f"{damaged.name}.refused"]
    assert sealer.seal() == 0


def test_a_segment_that_does_not_fit_is_put_aside(
    feed: Feed, sealer: Sealer, log: Path, served: Serve, flights: Callable[..., pa.Table]
) -> None:
    feed.append(flights(["first"]))
    writer = SegmentWriter(log, "w", durability="fsync")
    rows, predictions = served(["k0"], "P0")
    writer.add(rows, predictions)
    writer.add(rows.set_column(0, "hour", pa.array(["noon"])), predictions)
    writer.add(*served(["k2"], "P2"))
    with pytest.raises(Invalid, match="float values in the column 'hour'"):
        sealer.seal()
    assert records(feed)[0] == Counter(["first", "k0", "k2"])
    assert [path.suffix for path in log.iterdir()] == [".refused"]


def test_a_segment_with_one_more_column_widens_the_feed(
    feed: Feed, sealer: Sealer, log: Path, served: Serve, flights: Callable[..., pa.Table]
) -> None:
    """What was served by a newer version must not be lost for one column more, or less."""
    feed.append(flights(["first"]))
    writer = SegmentWriter(log, "w", durability="fsync")
    rows, predictions = served(["k0"], "P0")
    writer.add(rows.append_column("gate", pa.array(["A"])), predictions)
    rows, predictions = served(["k1"], "P1")
    writer.add(rows.drop_columns(["origin"]), predictions)
    assert sealer.seal() == 2
    features = feed.rows().features
    assert dict(zip(feed.rows().key, features["gate"].to_pylist(), strict=True)) == {
        "first": None,
        "k0": "A",
        "k1": None,
    }
    assert features["origin"].null_count == 1


def test_a_large_backlog_is_sealed_in_parts(
    feed: Feed, sealer: Sealer, log: Path, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("renewal.data.sealer._COMMIT_ROWS", 4)
    writer = SegmentWriter(log, "w", durability="fsync")
    for at in range(7):
        writer.add(*served([f"k{at}"], f"P{at}"))
    assert sealer.seal() == 7
    once = Counter(f"k{at}" for at in range(7))
    assert records(feed) == (once, once)


_CHILD = """
import os, sys
from datetime import datetime, timezone
from pathlib import Path
import numpy as np, pyarrow as pa
from renewal.core.clock import ReplayClock, to_us
from renewal.core.spec import ModelSpec
from renewal.data.columns import PREDICTIONS_SCHEMA, instants
from renewal.data.feed import Feed
from renewal.data.sealer import Sealer
from renewal.data.segment import SegmentWriter
from renewal.data.stamp import stamp
from renewal.registry.db import Database
from renewal.registry.leases import Lease

folder, name = sys.argv[1:]
at = datetime(2013, 1, 1, tzinfo=timezone.utc)
spec = ModelSpec("flights", "binary", "late", key="flight", time="at")
db = Database(f"sqlite:///{folder}/registry.db")
feed = Feed(Path(folder, "feed"), spec, db, ReplayClock(at))
log = Path(folder, "log")
writer = SegmentWriter(log, name)
sealer = Sealer(feed, log, Lease(db, "seal:flights", name, 0.1))
flushed = os.open(Path(folder, "flushed"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(100_000):
    keys = [f"{name}.{number}.{row}" for row in range(3)]
    rows = stamp(pa.table({"hour": [1.0] * 3}), spec, arrived_us=to_us(at), key=keys)
    when = instants(np.full(3, to_us(at)))
    predictions = pa.table({
        "prediction_id": [f"{name}.{number}-{row}" for row in range(3)], "key": keys,
        "key_hash": rows["renewal_key_hash"], "version_id": ["v"] * 3, "arm": ["champion"] * 3,
        "propensity": [1.0] * 3, "shadow": [False] * 3, "scores": [[0.5, 0.5]] * 3,
        "predicted_at": when, "event_at": when, "latency_ms": [1.0] * 3, "failed": [False] * 3,
    }, schema=PREDICTIONS_SCHEMA)
    writer.add(rows, predictions)
    writer.flush()
    os.write(flushed, "".join(key + "\\n" for key in keys).encode())
    if number % 3 == 0:
        sealer.seal()
"""


def test_kill_9_loses_no_flushed_segment_and_doubles_none(
    feed: Feed, sealer: Sealer, log: Path, tmp_path: Path
) -> None:
    """Three lives of a process that writes and seals, each ended by SIGKILL at another moment.

    Breaks when a segment is deleted before its commit, or committed again after it.
    """
    flushed = tmp_path / "flushed"
    for life, lines in enumerate((30, 60, 91)):
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path), f"life{life}"])
        ends = time.monotonic() + 60
        before = flushed.stat().st_size if flushed.exists() else 0
        while not flushed.exists() or flushed.read_bytes()[before:].count(b"\n") < lines:
            assert child.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.001)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    time.sleep(0.11)
    sealer.seal()
    rows, predictions = records(feed)
    acknowledged = set(flushed.read_text().split())
    assert len(acknowledged) >= 181
    assert acknowledged <= rows.keys()
    assert rows == predictions
    assert set(rows.values()) == {1}
    assert segment_paths(log) == ()
