"""The feed: what is appended, labelled and read back, beside a model of plain dicts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.clock import ReplayClock, to_us
from renewal.core.errors import Conflict, Invalid, NotFound
from renewal.core.spec import ModelSpec
from renewal.data.feed import Appended, Feed, Labelled
from renewal.data.rows import NEVER_US, Rows
from renewal.data.segment import SegmentWriter, read_segments
from renewal.registry.db import Database

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
Make = Callable[..., pa.Table]
Serve = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture(scope="module")
def shared_db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('db')}/registry.db")
    yield database
    database.close()


def labels_of(rows: Rows) -> dict[str, Any]:
    assert rows.label is not None
    return dict(zip(rows.key, rows.label, strict=True))


def test_append_then_read(feed: Feed, flights: Make) -> None:
    came = flights(["UA1", "UA22", "UA333"], [2, 0, 1], [True, None, False])
    assert feed.append(came) == Appended(n_rows=3, n_labels=2, n_repeated=0)
    rows = feed.rows()
    assert rows.key.tolist() == ["UA22", "UA333", "UA1"]
    assert rows.features.column_names == ["hour", "origin"]
    assert rows.features["hour"].to_pylist() == [4.0, 5.0, 3.0]
    assert rows.label is not None
    assert rows.label.tolist() == [None, False, True]
    at_us = to_us(START)
    assert rows.event_us.tolist() == [at_us, at_us + HOUR_US, at_us + 2 * HOUR_US]
    assert rows.arrived_us.tolist() == [at_us] * 3
    assert rows.label_arrived_us.tolist() == [NEVER_US, at_us, at_us]
    assert rows.block.tolist() == [at_us // (24 * HOUR_US)] * 3


def test_an_empty_feed_reads_as_nothing(feed: Feed) -> None:
    assert len(feed.rows()) == len(feed.predictions()) == 0
    assert len(feed.rows(since_us=5, labelled=True)) == 0
    assert feed.newest_event_us() is None
    assert (feed.n_rows(), feed.n_labels(), feed.n_predictions()) == (0, 0, 0)
    assert feed.n_labels(since_us=0) == 0
    assert feed.signature() is None
    snapshot = feed.snapshot()
    assert (snapshot.rows, snapshot.predictions, snapshot.labels) == (-1, -1, -1)
    assert len(feed.rows(snapshot=snapshot)) == 0
    assert feed.vacuum() == 0


def test_a_repeated_row_is_one_row_and_the_newest_arrival_is_it(
    feed: Feed, flights: Make, clock: ReplayClock
) -> None:
    feed.append(flights(["a"], [0]))
    clock.move_to(START + timedelta(hours=5))
    assert feed.append(flights(["a", "b", "b"], [3, 1, 2])).n_repeated == 2
    feed.append(flights(["a"], [9]), arrived_at=START - timedelta(hours=1))
    rows = feed.rows()
    assert rows.key.tolist() == ["b", "a"]
    assert (rows.event_us - to_us(START)).tolist() == [2 * HOUR_US, 3 * HOUR_US]
    assert feed.n_rows() == 5


def test_a_row_that_moved_out_of_a_window_is_not_in_it(feed: Feed, flights: Make) -> None:
    """Breaks when only the files of the window are asked: the old copy would stand there."""
    feed.append(flights(["a", "b"], [1, 1]))
    feed.append(flights(["a"], [30]))
    at_us = to_us(START)
    assert feed.rows(until_us=at_us + 2 * HOUR_US).key.tolist() == ["b"]
    assert feed.rows(since_us=at_us + 2 * HOUR_US).key.tolist() == ["a"]
    assert feed.rows(since_us=at_us, until_us=at_us + HOUR_US).key.tolist() == []


def test_windows_are_half_open_to_the_microsecond(feed: Feed, flights: Make) -> None:
    """Breaks on Delta's statistics, which cut instants to milliseconds: .123999 reads as .123."""
    hours = 0.123_999 / 3600
    feed.append(flights(["a"], [hours]))
    event_us = to_us(START) + 123_999
    assert feed.newest_event_us() == event_us
    for since, until, n_rows in (
        (event_us, event_us + 1, 1),
        (event_us - 500, None, 1),
        (event_us + 1, None, 0),
        (None, event_us, 0),
    ):
        assert len(feed.rows(since_us=since, until_us=until)) == n_rows


def test_as_of_an_arrival_nothing_later_is_known(
    feed: Feed, flights: Make, clock: ReplayClock
) -> None:
    feed.append(flights(["a"], [0], [False]))
    clock.move_to(START + timedelta(hours=2))
    feed.append(flights(["b"], [1]))
    feed.label({"flight": ["a", "b"], "label": [True, True]})
    then = feed.rows(arrived_until_us=to_us(START) + 2 * HOUR_US - 1)
    assert labels_of(then) == {"a": False}
    assert labels_of(feed.rows(arrived_until_us=to_us(clock.now()))) == {"a": True, "b": True}
    assert feed.n_labels(since_us=to_us(START)) == 2
    assert feed.n_labels(since_us=to_us(START) - 1) == feed.n_labels() == 3


def test_labels_late_repeated_and_corrected(feed: Feed, flights: Make, clock: ReplayClock) -> None:
    assert feed.label({"flight": ["early", "a"], "label": [True, False]}) == Labelled(2, 2)
    feed.append(flights(["a", "b", "early"]))
    assert labels_of(feed.rows()) == {"a": False, "b": None, "early": True}
    # Corrected at the same instant: written later, so it wins.
    assert feed.label({"key": ["a", "a"], "late": [False, True]}) == Labelled(2, 0)
    assert labels_of(feed.rows())["a"] is True
    clock.move_to(START + timedelta(days=1))
    # An older label that comes in late does not undo a newer one.
    old = {"flight": ["a"], "label": [False], "arrived_at": [START - timedelta(days=1)]}
    feed.label(old)
    assert labels_of(feed.rows(labelled=True)) == {"a": True, "early": True}
    assert feed.rows(labelled=False).key.tolist() == ["b"]
    assert feed.n_labels() == 5


def test_labels_by_prediction_id(feed: Feed, served: Serve, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "log", "w")
    writer.add(*served(["a", "b"], "P1"))
    writer.flush()
    feed.commit(*read_segments(tmp_path / "log"))
    for path in (tmp_path / "log").iterdir():
        path.unlink()
    # Not sealed yet: it is found in its segment.
    writer.add(*served(["c"], "P2"))
    writer.flush()
    came = {"prediction_id": ["P1-1", "P2", "P1"], "label": [True, False, False]}
    assert feed.label(came) == Labelled(3, 0)
    feed.commit(*read_segments(tmp_path / "log"))
    assert labels_of(feed.rows()) == {"a": False, "b": True, "c": False}


def test_a_key_of_an_unsealed_row_does_not_wait(feed: Feed, served: Serve, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "log", "w")
    writer.add(*served(["c"], "P2"))
    writer.flush()
    assert feed.label({"key": ["c", "d"], "label": [True, True]}) == Labelled(2, 1)


def test_an_unknown_prediction_id_writes_nothing(feed: Feed, served: Serve, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "log", "w")
    writer.add(*served(["a"], "P1"))
    writer.flush()
    ids = ["P1-0", "P1-1", "P9", "x-1", "x-2"]
    with pytest.raises(NotFound, match=r"'P1-1', 'P9', 'x-1' and 1 more") as caught:
        feed.label({"prediction_id": ids, "label": [True] * 5})
    assert caught.value.fields["prediction_ids"] == ids[1:]
    assert feed.n_labels() == 0


@pytest.mark.parametrize(
    ("came", "says"),
    [
        ({"flight": ["a"], "label": [None]}, "1 null or NaN, the first in row 0"),
        ({"flight": ["a", "b"], "label": [True, None]}, "the first in row 1"),
        ({"flight": ["a"], "label": [0.5]}, "a class"),
        ({"flight": ["a"], "label": ["yes"]}, "bool, like the labels before; got string"),
        ({"flight": ["a"], "label": [1]}, "bool, like the labels before; got int64"),
        ({"flight": ["a"], "label": [[True]]}, "a class"),
        ({"flight": [None], "label": [True]}, "'flight'; got 1 missing"),
        ({"flight": ["a"]}, "'label' or 'late'"),
        ({"label": [True]}, "'prediction_id' or 'flight' or 'key'"),
        ({"flight": ["a"], "key": ["a"], "label": [True]}, "exactly one"),
        ({"flight": ["a"], "label": [True], "hour": [1.0]}, "'hour'"),
        ({"flight": ["a"], "label": [True], "arrived_at": [datetime(2013, 1, 1)]}, "zone"),  # noqa: DTZ001  # the point
    ],
)
def test_bad_feedback_is_refused_whole(
    feed: Feed, flights: Make, came: dict[str, list[Any]], says: str
) -> None:
    feed.append(flights(["a"], late=[True]))
    with pytest.raises(Invalid, match=says):
        feed.label(came)
    assert feed.n_labels() == 1


def _without(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def _with(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        kept = table.drop_columns([name]) if name in table.column_names else table
        return kept.append_column(name, values)

    return change


UTC_US = pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.slice(0, 0), "at least one row"),
        (_without("flight"), "the key column 'flight'"),
        (_without("at"), "the time column 'at'"),
        (_without("hour"), "the column 'hour'"),
        (_with("gate", pa.array(["A"] * 2)), "unknown column 'gate'"),
        (_with("hour", pa.array(["x"] * 2)), "float values in the column 'hour'"),
        (_with("flight", pa.array(["a", None])), "'key'; got 1 missing, the first in row 1"),
        (_with("at", pa.array([0, None], UTC_US)), "'at'; got 1 missing"),
        (_with("at", pa.array([0, 1], pa.timestamp("us"))), "zone.*Localize"),
        (_with("late", pa.array([0.5, 1.0])), "a class"),
        (_with("late", pa.array(["x", "y"])), "bool, like the labels before"),
        (_with("renewal_key", pa.array(["x", "y"])), "renewal_key"),
        (lambda table: table.rename_columns(["flight", "at", "hour", "hour"]), "'hour' more than"),
    ],
)
def test_bad_rows_are_refused_whole(
    feed: Feed, flights: Make, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    feed.append(flights(["a"], late=[True]))
    with pytest.raises(Invalid, match=says):
        feed.append(change(flights(["x", "y"])))
    assert (feed.n_rows(), feed.n_labels()) == (1, 1)


def test_arrival_without_a_zone_is_refused(feed: Feed, flights: Make) -> None:
    with pytest.raises(Invalid, match="zone"):
        feed.append(flights(["a"]), arrived_at=datetime(2013, 1, 1))  # noqa: DTZ001  # the point


def test_regression_labels_are_numbers(tmp_path: Path, db: Database, clock: ReplayClock) -> None:
    spec = ModelSpec("flights", "regression", "delay", key="k")
    feed = Feed(tmp_path / "delays", spec, db, clock)
    frame = pd.DataFrame({"k": [1, 2, 3], "x": [0.0, 1.0, 2.0], "delay": [5, None, -1.5]})
    assert feed.append(frame) == Appended(3, 2, 0)
    feed.label({"k": [2], "label": [7]})
    label = feed.rows().label
    assert label is not None
    assert label.dtype == np.float64
    assert label.tolist() == [5.0, 7.0, -1.5]
    for bad, says in (([float("inf")], "finite"), ([True], "a number"), ([float("nan")], "NaN")):
        with pytest.raises(Invalid, match=says):
            feed.label({"k": [1], "label": bad})


def test_without_a_key_identical_rows_are_one_row(
    tmp_path: Path, db: Database, clock: ReplayClock
) -> None:
    feed = Feed(tmp_path / "iris", ModelSpec("iris", "multiclass", "species"), db, clock)
    frame = pd.DataFrame(
        {"sepal length (cm)": [5.1, 5.1, 4.9], "n": [1, 1, 2], "species": ["a", "b", None]}
    )
    assert feed.append(frame) == Appended(n_rows=3, n_labels=2, n_repeated=1)
    rows = feed.rows()
    assert rows.label is not None
    assert rows.label.tolist() == ["b", None]
    assert rows.features.column_names == ["sepal length (cm)", "n"]
    assert rows.event_us.tolist() == [to_us(START)] * 2
    assert rows.group_hash.tolist() == rows.key_hash.tolist() == rows.block.view("u8").tolist()
    feed.label({"key": rows.key[1:], "label": ["c"]})
    assert labels_of(feed.rows())[rows.key[1]] == "c"


def test_an_int_column_with_a_gap_is_still_that_column(feed: Feed, flights: Make) -> None:
    """Breaks on what pandas does to an int column with a gap: it becomes a float."""
    first = flights(["a"], late=[True]).append_column("gate", pa.array([4]))
    feed.append(first)
    frame = flights(["b", "c"]).to_pandas().assign(gate=[5, None])
    feed.append(frame)
    assert feed.rows().features["gate"].to_pylist() == [4, 5, None]


def test_predictions_are_read_by_event_time_and_version(
    feed: Feed, served: Serve, tmp_path: Path
) -> None:
    writer = SegmentWriter(tmp_path / "log", "w")
    later = START + timedelta(hours=1)
    writer.add(*served(["a", "b"], "P1"))
    writer.add(*served(["c"], "P2", at=later, version="2" * 64))
    writer.flush()
    feed.commit(*read_segments(tmp_path / "log"))
    found = feed.predictions()
    assert found.prediction_id.tolist() == ["P1-0", "P1-1", "P2-0"]
    assert found.scores.tolist() == [[0.25, 0.75]] * 3
    assert found.event_us.tolist() == [to_us(START)] * 2 + [to_us(later)]
    assert feed.n_predictions() == 3
    assert feed.predictions(version_ids=["2" * 64]).key.tolist() == ["c"]
    assert feed.predictions(since_us=to_us(later)).key.tolist() == ["c"]
    assert feed.predictions(until_us=to_us(later)).key.tolist() == ["a", "b"]
    assert len(feed.predictions(version_ids=[])) == 0


def _same(one: Rows, other: Rows) -> bool:
    return (
        one.features.equals(other.features)
        and one.key.tolist() == other.key.tolist()
        and labels_of(one) == labels_of(other)
        and one.arrived_us.tolist() == other.arrived_us.tolist()
        and one.label_arrived_us.tolist() == other.label_arrived_us.tolist()
    )


def test_a_snapshot_reads_the_same_for_ever(
    feed: Feed, flights: Make, clock: ReplayClock, spec: ModelSpec, db: Database
) -> None:
    """Breaks when a later append, correction, compaction or vacuum shows in an old snapshot."""
    for day in range(3):
        feed.append(flights([f"a{day}", f"b{day}"], [day, day], [True, None]))
    snapshot = feed.snapshot()
    before = feed.rows(snapshot=snapshot)
    feed.lease(snapshot, "1" * 64)
    feed.lease(snapshot, "1" * 64)
    clock.move_to(START + timedelta(days=1))
    feed.append(flights(["a0", "new"], [9, 9], [False, True]))
    feed.label({"key": ["b1"], "label": [True]})
    feed.compact()
    assert feed.vacuum(retention_hours=0) > 0
    assert _same(feed.rows(snapshot=snapshot), before)
    again = Feed(feed.path, spec, db, clock)
    assert _same(again.rows(snapshot=snapshot), before)
    assert len(again.rows()) == 7
    with pytest.raises(Conflict, match="holds already"):
        feed.lease(feed.snapshot(), "1" * 64)


def test_vacuum_drops_what_nobody_leases(feed: Feed, flights: Make) -> None:
    """Breaks when vacuum keeps everything; an unleased snapshot then says that it is gone."""
    for day in range(3):
        feed.append(flights([f"a{day}"]))
    snapshot = feed.snapshot()
    feed.append(flights(["b"]))
    feed.compact()
    assert feed.vacuum() == 0
    assert len(feed.rows(snapshot=snapshot)) == 3
    assert feed.vacuum(retention_hours=0) == 4
    with pytest.raises(NotFound, match="vacuumed"):
        feed.rows(snapshot=snapshot)
    assert len(feed.rows()) == 4


def test_a_snapshot_of_another_feed_is_not_found(feed: Feed, flights: Make) -> None:
    feed.append(flights(["a"]))
    snapshot = feed.snapshot()
    feed.append(flights(["b"]))
    newer = feed.snapshot()
    assert len(feed.rows(snapshot=snapshot)) == 1
    fresh = Feed(feed.path.parent / "other", feed.spec, feed._db, feed._clock)
    with pytest.raises(NotFound, match=f"version {newer.rows}"):
        fresh.rows(snapshot=newer)


def test_threads_append_at_the_same_time(feed: Feed, flights: Make) -> None:
    def work(name: str) -> None:
        for at in range(5):
            feed.append(flights([f"{name}{at}"], late=[True]))
            feed.rows()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = feed.rows(labelled=True)
    assert sorted(rows.key) == sorted(f"{name}{at}" for name in "abc" for at in range(5))


_CHILD = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from renewal.core.clock import ReplayClock
from renewal.core.spec import ModelSpec
from renewal.data.feed import Feed
from renewal.registry.db import Database

folder, name = sys.argv[1:]
start = datetime(2013, 1, 1, tzinfo=timezone.utc)
spec = ModelSpec("flights", "binary", "late", key="flight", time="at")
db = Database(f"sqlite:///{folder}/registry.db")
feed = Feed(Path(folder, "feed"), spec, db, ReplayClock(start))
print("ready", flush=True)
sys.stdin.readline()
for at in range(6):
    feed.append({"flight": f"{name}{at}", "at": start, "hour": 1.0, "late": True})
    feed.compact()
"""


def test_processes_append_at_the_same_time(feed: Feed, tmp_path: Path) -> None:
    """Breaks when a commit, or the making of the table, is lost to another process."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.communicate("go\n")
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(feed.rows(labelled=True).key) == sorted(
        f"{name}{at}" for name in "ab" for at in range(6)
    )
    assert (feed.n_rows(), feed.n_labels()) == (12, 12)


@dataclass
class Plain:
    """What a feed should say, in dicts: the slow and obvious way."""

    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    labels: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def row(self, key: str, arrived: int, event: int) -> None:
        """Take in a row."""
        if key not in self.rows or arrived >= self.rows[key][0]:
            self.rows[key] = (arrived, event)

    def label(self, key: str, arrived: int, late: bool) -> None:  # noqa: FBT001  # a label
        """Take in a label."""
        if key not in self.labels or arrived >= self.labels[key][0]:
            self.labels[key] = (arrived, late)

    def read(self, since: int, until: int) -> dict[str, tuple[int, bool | None]]:
        """Return what rows of a stretch of event time say."""
        return {
            key: (event, self.labels[key][1] if key in self.labels else None)
            for key, (_, event) in self.rows.items()
            if since <= event < until
        }


Step = tuple[str, int, list[Any]]

_KEYS = st.sampled_from("abcde")
_HOURS = st.integers(0, 6)
_APPEND = st.tuples(
    st.just("append"),
    _HOURS,
    st.lists(st.tuples(_KEYS, _HOURS, st.none() | st.booleans()), min_size=1, max_size=4),
)
_LABEL = st.tuples(
    st.just("label"), _HOURS, st.lists(st.tuples(_KEYS, st.booleans()), min_size=1, max_size=4)
)
_COMPACT: st.SearchStrategy[Step] = st.tuples(st.just("compact"), st.just(0), st.just([]))


@settings(max_examples=25, deadline=None)
@given(_APPEND, st.lists(_APPEND | _LABEL | _COMPACT, max_size=6), _HOURS, _HOURS)
def test_any_interleaving_equals_a_dict(
    shared_db: Database, first: Step, others: list[Step], since: int, until: int
) -> None:
    """Breaks when repeats, late or corrected labels, windows or compaction disagree with it."""
    spec = ModelSpec("flights", "binary", "late", key="flight", time="at")
    plain = Plain()
    with tempfile.TemporaryDirectory() as folder:
        feed = Feed(Path(folder) / "feed", spec, shared_db, ReplayClock(START))
        for verb, arrived, records in (first, *others):
            arrived_at = START + timedelta(hours=arrived)
            if verb == "append":
                keys, hours, late = (list(column) for column in zip(*records, strict=True))
                feed.append(_table(keys, hours, late), arrived_at=arrived_at)
                for key, event, label in records:
                    plain.row(key, arrived, event)
                    if label is not None:
                        plain.label(key, arrived, label)
            elif verb == "label":
                keys, late = (list(column) for column in zip(*records, strict=True))
                feed.label({"key": keys, "label": late, "arrived_at": [arrived_at] * len(keys)})
                for key, label in records:
                    plain.label(key, arrived, label)
            else:
                feed.compact()
        at_us = to_us(START)
        window = feed.rows(since_us=at_us + since * HOUR_US, until_us=at_us + until * HOUR_US)
        for rows, expected in (
            (feed.rows(), plain.read(0, 99)),
            (window, plain.read(since, until)),
        ):
            events = ((rows.event_us - at_us) // HOUR_US).tolist()
            found = zip(rows.key, events, labels_of(rows).values(), strict=True)
            assert {key: (event, label) for key, event, label in found} == expected
            assert len(rows) == len(expected)
            assert events == sorted(events)
            assert rows.features["hour"].to_pylist() == [float(event) for event in events]


def _table(keys: list[str], hours: list[int], late: list[bool | None]) -> pa.Table:
    return pa.table(
        {
            "flight": keys,
            "at": pa.array([START + timedelta(hours=hour) for hour in hours], UTC_US),
            "hour": [float(hour) for hour in hours],
            "late": pa.array(late, pa.bool_()),
        }
    )
