"""One Delta table: pruning, transactions, compaction, versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from renewal.core.errors import Conflict, Invalid, NotFound, Unavailable
from renewal.data.columns import INSTANT
from renewal.data.delta import AppendTable

DAY_US = 86_400_000_000


def rows(first: int, n_rows: int = 3, **more: list[object]) -> pa.Table:
    """Make rows at one day each, from a day on, with an id that rises with it."""
    days = np.arange(first, first + n_rows)
    return pa.table(
        {
            "at": pa.array(days * DAY_US, pa.int64()).cast(INSTANT),
            "id": [f"ID{day:03d}" for day in days],
            "x": days.astype(float),
            **more,
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> AppendTable:
    return AppendTable(tmp_path / "t", ("at", "id"))


def days_in(table: AppendTable, bounds: dict[str, tuple[object, object]]) -> list[float]:
    found = table.read(table.view(), ("x",), bounds)
    assert found is not None
    return sorted(found["x"].to_pylist())


def test_files_outside_the_bounds_are_not_opened(table: AppendTable) -> None:
    """Breaks when statistics are not written, or not used: every look would read the whole feed."""
    for first in (0, 10, 20):
        table.append(rows(first))
    view = table.view()
    assert view is not None
    (path,) = [fragment.path for fragment in view.within({"at": (20 * DAY_US, None)})]
    for fragment in view.fragments:
        if fragment.path != path:
            Path(fragment.path).unlink()
    assert days_in(table, {"at": (21 * DAY_US, None)}) == [21.0, 22.0]
    assert days_in(table, {"id": ("ID020", "ID021")}) == [20.0, 21.0]


def test_bounds_are_inclusive_and_unbounded_where_none(table: AppendTable) -> None:
    table.append(rows(0))
    assert days_in(table, {"at": (None, None)}) == [0, 1, 2]
    assert days_in(table, {"at": (DAY_US, DAY_US)}) == [1]
    assert days_in(table, {"at": (None, DAY_US - 1)}) == [0]
    assert days_in(table, {"x": (1.0, None)}) == [1, 2]


def test_a_null_in_a_column_with_statistics_does_not_hide_its_file(table: AppendTable) -> None:
    gap = rows(0).set_column(1, "id", pa.nulls(3, pa.string()))
    table.append(gap)
    assert days_in(table, {"at": (0, None)}) == [0, 1, 2]


def test_a_transaction_is_taken_once(table: AppendTable, tmp_path: Path) -> None:
    """Breaks when the number is not in the same commit as the rows."""
    other = AppendTable(tmp_path / "t", ("at", "id"))
    assert table.transaction("w") == -1
    table.append(rows(0), {"w": 4, "v": 0})
    assert (other.transaction("w"), other.transaction("v"), other.transaction("u")) == (4, 0, -1)
    other.append(rows(3), {"u": 9})
    table.compact()
    assert (table.transaction("w"), table.transaction("u")) == (4, 9)


def test_a_transaction_of_a_stale_reader_is_a_conflict(
    table: AppendTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sealers that both saw number 0 commit 1: the second must not land."""
    table.append(rows(0), {"w": 0})
    other = AppendTable(tmp_path / "t", ("at", "id"))
    stale = other._refreshed()
    table.append(rows(3), {"w": 1})
    monkeypatch.setattr(other, "_refreshed", lambda: stale)
    with pytest.raises(Conflict, match="commit"):
        other.append(rows(3), {"w": 1})
    monkeypatch.undo()
    assert other.transaction("w") == 1
    assert days_in(other, {}) == [0, 1, 2, 3, 4, 5]


def test_compaction_changes_no_row(table: AppendTable) -> None:
    for first in (20, 0, 10):
        table.append(rows(first))
    before = days_in(table, {})
    assert table.compact(at_least=4) is False
    assert table.compact() is True
    view = table.view()
    assert view is not None
    assert (len(view.fragments), view.n_rows) == (1, 9)
    assert days_in(table, {}) == before
    assert days_in(table, {"at": (10 * DAY_US, 11 * DAY_US)}) == [10, 11]
    assert table.compact() is False


def test_many_small_files_are_joined_when_it_is_due(
    table: AppendTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("renewal.data.delta._MAX_SMALL_FILES", 3)
    for first in range(5):
        table.append(rows(first * 3))
        table.compact_when_due()
        view = table.view()
        assert view is not None
        assert len(view.fragments) < 3
    assert days_in(table, {}) == list(range(15))


def test_older_versions_stay_and_unknown_ones_are_not_found(table: AppendTable) -> None:
    assert table.view() is None
    assert table.view(-1) is None
    with pytest.raises(NotFound, match="version 0"):
        table.view(0)
    table.append(rows(0))
    first = table.view()
    table.append(rows(3))
    assert first is not None
    old = table.view(first.version)
    assert old is not None
    assert (old.n_rows, old.version) == (3, first.version)
    assert table.view(first.version) is old
    for version in (99, first.version + 2):
        with pytest.raises(NotFound, match=f"version {version}"):
            table.view(version)


def test_a_new_column_is_null_in_older_rows(table: AppendTable) -> None:
    table.append(rows(0, 1))
    table.append(rows(1, 1, gate=["A"]))
    table.append(rows(2, 1))
    found = table.read(table.view(), ("x", "gate"))
    assert found is not None
    assert sorted(found.to_pylist(), key=lambda row: float(row["x"])) == [
        {"x": 0.0, "gate": None},
        {"x": 1.0, "gate": "A"},
        {"x": 2.0, "gate": None},
    ]


def test_a_commit_that_cannot_land_says_why(
    table: AppendTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.append(rows(0))
    with pytest.raises(Invalid, match="types that the feed keeps"):
        table.append(rows(3).set_column(2, "x", pa.array([["a"]] * 3)))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("renewal.data.delta.write_deltalake", full)
    with pytest.raises(Unavailable, match="No space left"):
        table.append(rows(3))
    monkeypatch.undo()
    table.append(rows(3))
    assert days_in(table, {}) == [0, 1, 2, 3, 4, 5]


def test_what_another_process_commits_is_seen(table: AppendTable, tmp_path: Path) -> None:
    other = AppendTable(tmp_path / "t", ("at", "id"))
    assert other.view() is None
    table.append(rows(0))
    assert days_in(other, {}) == [0, 1, 2]
    for first in (3, 6, 9):
        table.append(rows(first))
    assert days_in(other, {}) == list(range(12))


def test_any_reader_of_delta_can_read_it(table: AppendTable, tmp_path: Path) -> None:
    table.append(rows(0))
    table.append(rows(3))
    table.compact()
    found = DeltaTable(tmp_path / "t").to_pyarrow_table()
    assert sorted(found["x"].to_pylist()) == list(range(6))
