"""Prediction ids: found in the table, in a segment, or while one becomes the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from renewal.core.errors import NotFound
from renewal.core.ids import new_id
from renewal.data.delta import AppendTable
from renewal.data.lookup import keys_of
from renewal.data.segment import Segment

Serve = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture
def table(tmp_path: Path) -> AppendTable:
    return AppendTable(tmp_path / "predictions", ("prediction_id", "event_at"))


def test_ids_keep_the_order_asked_for(table: AppendTable, served: Serve) -> None:
    first, second = "01A", "01B"
    table.append(served(["a", "b"], first)[1])
    table.append(served(["c"], second)[1])
    names = ["01B-0", "01A-1", "01A", "01A-0", "01B"]
    assert keys_of(table, list, names, who="t") == ["c", "b", "a", "a", "c"]


def test_only_files_of_the_time_are_opened(table: AppendTable, served: Serve) -> None:
    """Breaks when ids are looked for in the whole log."""
    ids = sorted(new_id() for _ in range(3))
    for at, request in enumerate(ids):
        table.append(served([f"k{at}"], request)[1])
    view = table.view()
    assert view is not None
    for fragment in view.fragments[:2]:
        Path(fragment.path).unlink()
    assert keys_of(table, list, [ids[2]], who="t") == ["k2"]


def test_a_segment_sealed_between_two_looks_is_found(table: AppendTable, served: Serve) -> None:
    """Breaks without the second look: the id is in neither place when we are there."""
    rows, predictions = served(["a"], "01A")

    def sealed_meanwhile() -> Iterator[Segment]:
        table.append(predictions)
        return iter(())

    assert keys_of(table, sealed_meanwhile, ["01A"], who="t") == ["a"]
    waiting = Segment("w", 0, rows, served(["b"], "01B")[1])
    assert keys_of(table, lambda: [waiting], ["01B", "01A"], who="t") == ["b", "a"]


def test_without_any_table_ids_are_unknown(table: AppendTable) -> None:
    with pytest.raises(NotFound, match="'01A'"):
        keys_of(table, list, ["01A"], who="t")
