"""Taking segments in: fitted to the columns of the feed, each once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from renewal.core.errors import Conflict, Invalid
from renewal.data.committing import commit_once, fit_rows, inputs_of
from renewal.data.delta import AppendTable
from renewal.data.segment import Segment

Serve = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture
def segments(served: Serve) -> list[Segment]:
    return [Segment("w", at, *served([f"k{at}"], f"P{at}")) for at in range(3)]


@pytest.fixture
def table(tmp_path: Path) -> AppendTable:
    return AppendTable(tmp_path / "rows", ("renewal_event_at",))


def keys_in(table: AppendTable) -> list[str]:
    found = table.read(table.view(), ("renewal_key",))
    return [] if found is None else sorted(found["renewal_key"].to_pylist())


def test_only_what_is_new_goes_in(table: AppendTable, segments: list[Segment]) -> None:
    parts = [(segment, segment.rows) for segment in segments]
    commit_once(table, parts[:2])
    commit_once(table, parts)
    commit_once(table, parts)
    assert keys_in(table) == ["k0", "k1", "k2"]
    assert table.transaction("w") == 2


def test_a_faster_sealer_is_followed(
    table: AppendTable, segments: list[Segment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process commits segment 0 between our look and our commit: only 1 is left to do."""
    other = AppendTable(tmp_path / "rows", ("renewal_event_at",))
    append = table.append
    attempts = []

    def late(data: pa.Table, numbers: dict[str, int]) -> None:
        attempts.append(numbers)
        if len(attempts) == 1:
            other.append(segments[0].rows, {"w": 0})
            raise Conflict("Feed", needs="x", came="y", todo="z")
        append(data, numbers)

    monkeypatch.setattr(table, "append", late)
    commit_once(table, [(segment, segment.rows) for segment in segments[:2]])
    assert attempts == [{"w": 1}, {"w": 1}]
    assert keys_in(table) == ["k0", "k1"]


def test_endless_conflicts_come_out(
    table: AppendTable, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise Conflict("Feed", needs="x", came="y", todo="z")

    monkeypatch.setattr(table, "append", never)
    with pytest.raises(Conflict):
        commit_once(table, [(segments[0], segments[0].rows)])


def test_rows_are_widened_to_the_feed(segments: list[Segment]) -> None:
    rows = segments[0].rows
    assert fit_rows(segments[0], None) is rows
    assert fit_rows(segments[0], rows.schema) is rows
    whole = rows.set_column(0, "hour", rows["hour"].cast(pa.int64()))
    fitted = fit_rows(Segment("w", 0, whole, segments[0].predictions), rows.schema)
    assert fitted == rows
    text = rows.set_column(0, "hour", pa.array(["x"]))
    with pytest.raises(Invalid, match=r"w-0000000000\.arrow"):
        fit_rows(Segment("w", 0, text, segments[0].predictions), rows.schema)
    assert inputs_of(rows.schema).names == ("hour", "origin")
