"""Reading rows: windows, and which keys the table holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from renewal.data.columns import ARRIVED_AT, EVENT_AT, hash_keys
from renewal.data.delta import AppendTable
from renewal.data.reading import Window, read_rows, stored_among

Serve = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture
def tables(tmp_path: Path) -> tuple[AppendTable, AppendTable]:
    rows = AppendTable(tmp_path / "rows", (EVENT_AT, ARRIVED_AT))
    return rows, AppendTable(tmp_path / "labels", (ARRIVED_AT,))


def test_a_window_is_half_open_by_event_and_closed_by_arrival() -> None:
    assert Window(3, 7, 9).bounds == {EVENT_AT: (3, 6), ARRIVED_AT: (None, 9)}
    assert Window().bounds == {EVENT_AT: (None, None), ARRIVED_AT: (None, None)}
    assert Window(arrived_until_us=9).outside is None


def test_stored_among(tables: tuple[AppendTable, AppendTable], served: Serve) -> None:
    rows, _ = tables
    wanted = hash_keys(["a", "x", "b", "a"])
    assert stored_among(rows, wanted).tolist() == [False] * 4
    rows.append(served(["a", "b", "c"], "P")[0])
    assert stored_among(rows, wanted).tolist() == [True, False, True, True]
    assert stored_among(rows, wanted[:0]).tolist() == []


def test_rows_written_in_any_order_of_files_read_alike(
    tables: tuple[AppendTable, AppendTable], served: Serve
) -> None:
    """Breaks when rows of one instant come in the order of files: a fit would depend on it."""
    rows, labels = tables
    for at in range(4):
        rows.append(served([f"k{at}", f"l{at}"], f"P{at}")[0])

    def read() -> list[str]:
        view = rows.view()
        found = read_rows((rows, view), (labels, labels.view()), Window(), regression=True)
        assert found.label is not None
        assert np.isnan(found.label).all()
        return [str(key) for key in found.key]

    before = read()
    assert before == ["k0", "l0", "k1", "l1", "k2", "l2", "k3", "l3"]
    rows.compact()
    assert read() == before
