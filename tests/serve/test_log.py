"""The prediction log: what it keeps when the disk, or an entry, is bad."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.errors import Failed, Unavailable
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.core.version import Manifest, Version
from renewal.data.rowkey import row_keys
from renewal.data.segment import SegmentWriter, read_segments
from renewal.models.task import Binary
from renewal.serve.features import Features
from renewal.serve.log import PredictionLog
from renewal.serve.options import ServeOptions
from renewal.serve.routing import RowFacts
from renewal.serve.served import Part, Served
from renewal.serve.slots import Loaded

SPEC = ModelSpec("flights", "binary", "late", key="flight")
Make = Callable[..., Served]


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    return PredictionLog(tmp_path / "log", flush_s=60.0, max_rows=10)


def written(tmp_path: Path) -> list[str]:
    segments = read_segments(tmp_path / "log" / "flights")
    return [name for each in segments for name in each.predictions["prediction_id"].to_pylist()]


def test_what_is_added_is_written_once(log: PredictionLog, served: Make, tmp_path: Path) -> None:
    log.add(SPEC, served("A"))
    log.add(SPEC, served("B", n_rows=2))
    log.flush()
    log.flush()
    assert written(tmp_path) == ["A-0", "B-0", "B-1"]
    assert (log.stats()["n_rows_written"], log.stats()["n_rows_waiting"]) == (3, 0)


def test_it_knows_what_is_still_in_memory(log: PredictionLog, served: Make) -> None:
    log.add(SPEC, served("A"))
    assert log.holds("flights", {"A", "Z"})
    assert not log.holds("flights", {"Z"})
    assert not log.holds("elsewhere", {"A"})
    log.flush()
    assert not log.holds("flights", {"A"})


def test_a_full_buffer_drops_and_counts(log: PredictionLog, served: Make) -> None:
    for name in "ABCDEFGHIJKL":
        log.add(SPEC, served(name))
    assert (log.stats()["n_rows_waiting"], log.stats()["n_rows_dropped"]) == (10, 2)


def test_an_entry_larger_than_the_buffer_fits_an_empty_one(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    log.add(SPEC, served("A", n_rows=25))
    log.flush()
    assert len(written(tmp_path)) == 25


def test_a_folder_that_cannot_be_made_keeps_the_entries(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("in the way")
    log.add(SPEC, served("A"))
    with pytest.raises(Unavailable, match="prediction log"):
        log.flush()
    log.add(SPEC, served("B"))
    assert log.holds("flights", {"A"})
    (tmp_path / "log").unlink()
    log.flush()
    assert written(tmp_path) == ["A-0", "B-0"]
    assert log.stats()["n_failed_writes"] == 1


def test_a_disk_that_is_full_for_a_while_neither_loses_nor_doubles(
    log: PredictionLog, served: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    log.add(SPEC, served("A"))
    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "_write", full)
        with pytest.raises(Unavailable):
            log.flush()
        assert log.stats()["n_rows_waiting"] == 1
        assert log.holds("flights", {"A"})
    log.add(SPEC, served("B"))
    log.flush()
    log.flush()
    assert written(tmp_path) == ["A-0", "B-0"]
    assert log.stats()["n_rows_waiting"] == 0


def test_one_bad_entry_never_stops_the_others(
    log: PredictionLog, served: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A lone surrogate cannot be written as UTF-8."""
    log.add(SPEC, served("A"))
    log.add(SPEC, served("B", key="\ud800"))
    log.add(SPEC, served("C"))
    with caplog.at_level(logging.CRITICAL, "renewal.serve"):
        log.flush()
    assert written(tmp_path) == ["A-0", "C-0"]
    assert log.stats()["n_entries_left_out"] == 1


def test_scores_that_are_no_numbers_stop_neither_the_log_nor_a_request(
    log: PredictionLog, served: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when what cannot be copied into columns is tried again with every request."""
    told: list[BaseException | None] = []
    (part,) = served("B").parts
    with caplog.at_level(logging.CRITICAL, "renewal.serve"):
        log.add(SPEC, served("A")._replace(parts=(part,)))
        bad = part._replace(scores=np.array([["so", "so"]], dtype=object))
        log.add(SPEC, served("B")._replace(parts=(bad,)), told.append)
        log.add(SPEC, served("C")._replace(parts=(part,)))
        log.flush()
    assert written(tmp_path) == ["A-0", "C-0"]
    assert isinstance(told[0], Failed)
    assert log.stats()["n_entries_left_out"] == 1
    assert log.stats()["n_rows_waiting"] == 0


def test_who_waits_is_told_when_it_is_on_disk_or_that_it_is_not(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    told: list[BaseException | None] = []
    log.add(SPEC, served("A"), told.append)
    assert not told
    log.flush()
    assert told == [None]
    assert written(tmp_path) == ["A-0"]
    log.add(SPEC, served("B", n_rows=10))
    log.add(SPEC, served("C"), told.append)
    assert isinstance(told[1], Unavailable)


def test_a_write_that_fails_is_told_to_those_in_it_and_not_to_those_after_it(
    log: PredictionLog, served: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a request gets an error for a write that it had no part in."""
    told: dict[str, list[BaseException | None]] = {"A": [], "B": []}

    def full(*_: Any) -> int:
        log.add(SPEC, served("B"), told["B"].append)
        raise OSError(28, "No space left on device")

    log.add(SPEC, served("A"), told["A"].append)
    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "_write", full)
        with pytest.raises(Unavailable):
            log.flush()
    assert isinstance(told["A"][0], Unavailable)
    assert not told["B"]
    log.flush()
    assert told["B"] == [None]
    assert written(tmp_path) == ["A-0", "B-0"]


def test_the_thread_writes_at_once_for_who_waits(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    log.start()
    told: list[BaseException | None] = []
    log.add(SPEC, served("A"), told.append)
    log.close()
    assert told == [None]
    assert written(tmp_path) == ["A-0"]


def test_shadow_and_refused_entries_bring_no_rows_but_failed_ones_do(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    """Breaks when the rows on which a version failed are nowhere to be looked at."""
    log.add(SPEC, served("A"))
    log.add(SPEC, served("A", is_shadow=True))
    log.add(SPEC, served("B", has_failed=True))
    log.add(SPEC, served("C", has_failed=True)._replace(is_refused=True))
    log.flush()
    (segment,) = read_segments(tmp_path / "log" / "flights")
    assert segment.rows["renewal_key"].to_pylist() == ["A-0", "B-0"]
    assert segment.predictions["shadow"].to_pylist() == [False, True, False, False]
    assert segment.predictions["failed"].to_pylist() == [False, False, True, True]
    assert segment.predictions["scores"].to_pylist() == [[0.25, 0.75], [0.25, 0.75], None, None]


def test_who_waits_for_an_entry_that_cannot_be_written_is_told_so(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    """Breaks when, with fsync, an answer leaves that is nowhere on disk."""
    told: dict[str, BaseException | None] = {}
    log.add(SPEC, served("A"), lambda error: told.update(A=error))
    log.add(SPEC, served("B", key="\ud800"), lambda error: told.update(B=error))
    log.flush()
    assert told["A"] is None
    assert isinstance(told["B"], Failed)
    assert written(tmp_path) == ["A-0"]


def test_rows_of_two_signatures_share_a_segment(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    log.add(SPEC, served("A", column="x"))
    log.add(SPEC, served("B", column="y"))
    log.flush()
    (segment,) = read_segments(tmp_path / "log" / "flights")
    assert segment.rows.select(["x", "y"]).to_pylist() == [
        {"x": 1.0, "y": None},
        {"x": None, "y": 1.0},
    ]


def test_blocks_of_a_block_column_are_kept_where_they_came(served: Make, tmp_path: Path) -> None:
    spec = ModelSpec("flights", "binary", "late", key="flight", block="airport")
    log = PredictionLog(tmp_path / "log", flush_s=60.0, max_rows=10)
    for name, block in (("A", "EWR"), ("B", "JFK"), ("C", "EWR")):
        log.add(spec, served(name, block=block))
    log.flush()
    (segment,) = read_segments(tmp_path / "log" / "flights")
    first, other, same = segment.rows["renewal_block"].to_pylist()
    assert first == same != other


def test_the_share_that_is_logged_is_the_same_users_everywhere(tmp_path: Path, served: Any) -> None:
    """A tenth of the users, by a fixed hash: about a tenth of the rows, the rest counted."""
    log = PredictionLog(
        tmp_path, flush_s=60, max_rows=10_000, options_of=lambda _: ServeOptions(log_sample=0.1)
    )
    users = [f"user{at}" for at in range(2_000)]
    for at, user in enumerate([*users, *users]):
        log.add(SPEC, served(f"P{at}", key=user))
    log.flush()
    rows = [row for each in read_segments(tmp_path / SPEC.name) for row in each.rows.to_pylist()]
    keys = [row["renewal_key"] for row in rows]
    # Three sigma of 2,000 draws at a tenth are 40.
    assert 160 < len(set(keys)) < 240
    assert all(keys.count(key) == 2 for key in set(keys))
    assert log.stats()["n_rows_sampled_out"] == 4_000 - len(rows)
    assert log.stats()["n_rows_dropped"] == 0


def test_a_share_of_none_still_answers_who_waits_for_the_disk(tmp_path: Path, served: Any) -> None:
    log = PredictionLog(
        tmp_path, flush_s=60, max_rows=10, options_of=lambda _: ServeOptions(log_sample=0.0)
    )
    told: list[Any] = []
    log.add(SPEC, served("P"), told.append)
    assert told == [None]
    log.flush()
    assert not list(read_segments(tmp_path / SPEC.name))


class Silent:
    """A runtime that nobody asks."""

    def predict(self, features: pa.Table) -> Any:
        """Fail: nobody asks."""
        raise AssertionError(features)

    def close(self) -> None:
        """Let go of nothing."""


def test_what_is_redacted_is_nowhere_in_the_segment(tmp_path: Path) -> None:
    """Neither the text nor a key that could be computed from it; the other column stays."""
    spec = ModelSpec("flights", "binary", "late")
    signature = Signature((Field("name", "string"), Field("x", "float")))
    manifest = Manifest("flights", "binary", "sklearn", "0" * 64, 1, signature, (0, 1), "train")
    version = Version("v", 1, manifest, {}, datetime.now(UTC), "test")
    part = Part(Loaded(version, Binary(), Silent()), "champion", 1.0, np.arange(2), np.eye(2))
    table = pa.table({"name": ["Jane Doe", "John Roe"], "x": [1.0, 1.0]})
    features = Features(signature, table=table)
    log = PredictionLog(
        tmp_path,
        flush_s=60,
        max_rows=10,
        options_of=lambda _: ServeOptions(log_redact=("name", "no such column")),
    )
    log.add(spec, Served("P", features, None, (part,), 5, 0.1))
    # One that says when, and leaves the key to us: it must not be made of what is not written.
    keys = row_keys(table)
    said = RowFacts(keys, keys, keys, [7, 7], has_key=False)
    log.add(spec, Served("Q", features, said, (part,), 5, 0.1))
    log.flush()
    (segment,) = read_segments(tmp_path / "flights")
    assert segment.rows["name"].to_pylist() == [None] * 4
    assert segment.rows["x"].to_pylist() == [1.0] * 4
    assert not set(keys) & set(segment.rows["renewal_key"].to_pylist())
    assert not set(keys) & set(segment.predictions["key"].to_pylist())
    # Alike but for what is not written: one row.
    assert len(set(segment.rows["renewal_key"].to_pylist())) == 1
    raw = b"".join(path.read_bytes() for path in (tmp_path / "flights").iterdir())
    assert b"Jane" not in raw


def test_a_folder_that_was_cleared_away_is_made_again(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    """Breaks when an operator who makes room ends the log until the next restart."""
    log.add(SPEC, served("A"))
    log.flush()
    shutil.rmtree(tmp_path / "log")
    log.add(SPEC, served("B"))
    log.flush()
    assert written(tmp_path) == ["B-0"]


def test_a_column_of_another_type_loses_nothing(
    log: PredictionLog, served: Make, tmp_path: Path
) -> None:
    """Breaks when rows that no one table holds stop the log, or their clients wait for ever."""
    texts = Signature((Field("x", "string"),))
    features = Features(texts, table=pa.table({"x": ["late"]}))
    other = served("B")._replace(features=features)
    told: list[BaseException | None] = []
    for each in (served("A"), other):
        log.add(SPEC, each, told.append)
    log.flush()
    assert told == [None, None]
    log.add(SPEC, served("C"), told.append)
    log.flush()
    assert sorted(written(tmp_path)) == ["A-0", "B-0", "C-0"]
    assert log.stats()["n_rows_waiting"] == 0


def test_a_disk_that_is_full_all_night_is_one_line(
    tmp_path: Path, served: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when the server's own log fills the disk because the prediction log cannot."""
    (tmp_path / "log").write_text("in the way")
    log = PredictionLog(tmp_path / "log", flush_s=0.01, max_rows=10)
    log.start()
    with caplog.at_level(logging.WARNING, logger="renewal.serve"):
        log.add(SPEC, served("A"))
        _until(lambda: log.n_failed_writes >= 5)
        (tmp_path / "log").unlink()
        _until(lambda: log.n_rows_written == 1)
        _until(lambda: len(caplog.records) >= 2)
    log.close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def _until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20.0
    while not is_so() and time.monotonic() < until_s:
        time.sleep(0.005)
    assert is_so()
