"""The ranges of files: nothing that may hold a row is skipped."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from renewal.data.columns import INSTANT
from renewal.data.files import View, entry_path, view_of


@pytest.fixture
def view(tmp_path: Path) -> View:
    for first in (2_000_999, 999, 1_000_999):
        at = pa.array([first, first + 1_000], pa.int64()).cast(INSTANT)
        write_deltalake(tmp_path / "t", pa.table({"at": at, "x": [1.0, 2.0]}), mode="append")
    return view_of(DeltaTable(tmp_path / "t"), tmp_path / "t", ("at", "missing"), None)


def test_files_come_in_the_order_of_their_ranges(view: View) -> None:
    assert view.low["at"] == [0, 1_000_000, 2_000_000]
    assert (view.n_rows, view.n_small, view.version) == (6, 3, 2)
    assert view.low["missing"] == [None] * 3


@pytest.mark.parametrize(
    ("bounds", "n_files"),
    [
        ({}, 3),
        ({"at": (1_001_999, None)}, 2),
        ({"at": (1_002_000, None)}, 1),
        ({"at": (None, 999)}, 1),
        ({"at": (999, 1_000_999)}, 2),
        ({"missing": ("a", "b")}, 3),
        ({"unknown": (1, 2)}, 3),
    ],
)
def test_what_may_hold_a_row_is_kept(
    view: View, bounds: dict[str, tuple[int | None, int | None]], n_files: int
) -> None:
    """Breaks when the cut-off milliseconds of Delta's statistics are taken for the truth."""
    assert len(view.within(bounds)) == n_files


def test_opened_files_are_used_again(view: View, tmp_path: Path) -> None:
    table = DeltaTable(tmp_path / "t")
    again = view_of(table, tmp_path / "t", ("at",), view)
    assert all(one is other for one, other in zip(again.fragments, view.fragments, strict=True))
    assert entry_path(tmp_path / "t", 2).exists()
    assert not entry_path(tmp_path / "t", 3).exists()
