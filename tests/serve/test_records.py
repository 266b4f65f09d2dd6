"""Portions of the log: every entry in one of them, in order."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewal.core.spec import ModelSpec
from renewal.data.columns import PREDICTIONS_SCHEMA
from renewal.serve.records import facts_of, in_portions, predictions_table, tables_of
from renewal.serve.served import Served

Make = Callable[..., Served]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 5), max_size=20), st.integers(1, 8))
def test_portions_are_the_entries_in_order_and_end_when_full(
    served: Make, sizes: list[int], n_rows: int
) -> None:
    entries = [served(f"P{at}", n_rows=size) for at, size in enumerate(sizes)]
    taken = list(entries)
    portions = [list(portion) for portion in in_portions(taken, n_rows)]
    assert not taken
    assert [entry for portion in portions for entry in portion] == entries
    for portion in portions[:-1]:
        assert sum(each.n_rows for each in portion) >= n_rows
        assert sum(each.n_rows for each in portion[:-1]) < n_rows


def test_no_entries_make_empty_tables_of_the_right_schema() -> None:
    rows, predictions, left_out = tables_of(ModelSpec("m", "binary", "late"), [])
    assert (rows.num_rows, predictions.num_rows, left_out) == (0, 0, [])
    assert predictions.schema == PREDICTIONS_SCHEMA


def test_every_row_of_a_split_request_bears_the_version_that_answered_it(served: Make) -> None:
    entry = served("P", n_rows=5, split=("a", "b"))
    table = predictions_table([entry], facts_of(ModelSpec("m", "binary", "late"), [entry]))
    found = dict(
        zip(table["prediction_id"].to_pylist(), table["version_id"].to_pylist(), strict=True)
    )
    assert found == {"P-0": "a", "P-2": "a", "P-4": "a", "P-1": "b", "P-3": "b"}
    assert table["key"].to_pylist() == table["prediction_id"].to_pylist()
