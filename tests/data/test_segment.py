"""Segments: whole or not there, in order, nothing lost when the disk says no."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from renewal.core.errors import Corrupt, Invalid, Unavailable
from renewal.data.segment import (
    PREDICTIONS_SCHEMA,
    SegmentWriter,
    read_segment,
    read_segments,
    segment_paths,
)

Serve = Callable[..., tuple[pa.Table, pa.Table]]


def test_what_is_flushed_is_read_back(tmp_path: Path, served: Serve) -> None:
    writer = SegmentWriter(tmp_path / "log", "w")
    one, other = served(["a", "b"], "P1"), served(["c"], "P2")
    writer.add(*one)
    writer.add(*other)
    assert writer.n_waiting == 6
    assert segment_paths(tmp_path / "log") == ()
    assert writer.flush() == 3
    assert writer.flush() == writer.n_waiting == 0
    (found,) = read_segments(tmp_path / "log")
    assert (found.worker, found.seq) == (writer.worker, 0)
    assert found.rows == pa.concat_tables([one[0], other[0]])
    assert found.predictions == pa.concat_tables([one[1], other[1]])
    assert (writer.n_rows, writer.n_predictions, writer.n_segments) == (3, 3, 1)


def test_segments_of_a_worker_come_in_order(tmp_path: Path, served: Serve) -> None:
    """Breaks when 10 sorts before 9: the feed remembers the last number and skips the rest."""
    writer = SegmentWriter(tmp_path, "w-1", durability="fsync")
    for at in range(12):
        writer.add(*served([f"k{at}"], f"P{at}"))
    assert [found.seq for found in read_segments(tmp_path)] == list(range(12))
    assert {found.worker for found in read_segments(tmp_path)} == {writer.worker}


def test_a_worker_that_starts_again_is_another(tmp_path: Path) -> None:
    """Breaks when numbers start at 0 under an old name: the feed would skip them."""
    assert SegmentWriter(tmp_path, "w").worker != SegmentWriter(tmp_path, "w").worker


def test_durability_fsync_writes_at_once(tmp_path: Path, served: Serve) -> None:
    writer = SegmentWriter(tmp_path, "w", durability="fsync")
    writer.add(*served(["a"], "P1"))
    assert len(segment_paths(tmp_path)) == 1


def test_predictions_without_rows_are_a_segment(tmp_path: Path, served: Serve) -> None:
    """Shadow predictions come after the row has been written."""
    writer = SegmentWriter(tmp_path, "w")
    rows, predictions = served(["a"], "P1")
    writer.add(rows.slice(0, 0), predictions)
    assert writer.flush() == 0
    (found,) = read_segments(tmp_path)
    assert (found.rows.num_rows, found.predictions.num_rows) == (0, 1)


def test_rows_of_two_versions_may_differ_by_a_column(tmp_path: Path, served: Serve) -> None:
    writer = SegmentWriter(tmp_path, "w")
    rows, predictions = served(["a"], "P1")
    writer.add(rows, predictions)
    writer.add(rows.append_column("gate", pa.array(["A"])), predictions)
    writer.flush()
    (found,) = read_segments(tmp_path)
    assert found.rows["gate"].to_pylist() == [None, "A"]


def test_a_full_disk_loses_nothing(
    tmp_path: Path, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SegmentWriter(tmp_path, "w")
    writer.add(*served(["a"], "P1"))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("renewal.data.segment.os.fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        writer.flush()
    monkeypatch.undo()
    writer.add(*served(["b"], "P2"))
    assert segment_paths(tmp_path) == ()
    assert writer.flush() == 2
    (found,) = read_segments(tmp_path)
    assert found.rows["renewal_key"].to_pylist() == ["a", "b"]


def test_threads_add_while_one_flushes(tmp_path: Path, served: Serve) -> None:
    writer = SegmentWriter(tmp_path, "w")
    tables = [served([f"k{at}"], f"P{at}") for at in range(60)]

    def work(first: int) -> None:
        for at in range(first, 60, 3):
            writer.add(*tables[at])
            writer.flush()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [key for part in read_segments(tmp_path) for key in part.rows["renewal_key"].to_pylist()]
    assert sorted(keys) == sorted(f"k{at}" for at in range(60))


def test_a_wrong_schema_is_refused_when_it_comes(tmp_path: Path, served: Serve) -> None:
    """Breaks when it is found at sealing: then the server has answered long ago."""
    writer = SegmentWriter(tmp_path, "w")
    rows, predictions = served(["a"], "P1")
    with pytest.raises(Invalid, match="system columns"):
        writer.add(rows.drop_columns(["renewal_order"]), predictions)
    with pytest.raises(Invalid, match="PREDICTIONS_SCHEMA"):
        writer.add(rows, predictions.drop_columns(["arm"]))
    assert writer.n_waiting == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_cut_off_segment_is_corrupt(tmp_path: Path, served: Serve, share: float) -> None:
    writer = SegmentWriter(tmp_path, "w", durability="fsync")
    writer.add(*served(["a", "b"], "P1"))
    (path,) = segment_paths(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Corrupt, match=path.name) as caught:
        read_segment(path)
    assert caught.value.fields["path"] == str(path)


def test_a_file_that_was_being_written_is_no_segment(tmp_path: Path) -> None:
    (tmp_path / "w-0000000000.tmp").write_bytes(b"half")
    assert list(read_segments(tmp_path)) == []
    assert list(read_segments(tmp_path / "nowhere")) == []
    assert PREDICTIONS_SCHEMA.names[0] == "prediction_id"
