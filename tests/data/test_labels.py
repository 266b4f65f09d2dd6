"""Labels: the newest of a key wins, in any order of the records."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.data.columns import ARRIVED_AT, KEY_HASH, LABEL, ORDER, instants
from renewal.data.labels import join_newest, label_column, newest
from renewal.data.rows import NEVER_US

_RECORDS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(-9, 9)), max_size=25
)


@given(_RECORDS, st.randoms(use_true_random=False), st.lists(st.integers(0, 6), unique=True))
def test_join_is_the_newest_record_of_each_key(
    records: list[tuple[int, int, int]], shuffle: st.DataObject, wanted: list[int]
) -> None:
    """Breaks when a tie is decided by place: files of a table have no order."""
    numbered = [(*record, order) for order, record in enumerate(records)]
    best: dict[int, tuple[int, int, int]] = {}
    for key, arrived, value, order in numbered:
        best[key] = max(best.get(key, (-1, -1, 0)), (arrived, order, value))
    shuffle.shuffle(numbered)  # type: ignore[attr-defined]  # a random.Random
    columns = np.array(numbered, np.int64).reshape(-1, 4).T
    table = pa.table(
        {
            KEY_HASH: columns[0],
            ARRIVED_AT: instants(columns[1]),
            LABEL: columns[2],
            ORDER: columns[3],
        }
    )
    last = newest(columns[0].view(np.uint64), columns[1], columns[3])
    assert columns[0][last].tolist() == sorted(best)
    assert columns[2][last].tolist() == [best[key][2] for key in sorted(best)]
    for regression in (False, True):
        values = (
            table.set_column(2, LABEL, table[LABEL].cast(pa.float64())) if regression else table
        )
        label, arrived_us = join_newest(values, np.array(wanted, np.uint64), regression=regression)
        none = [NEVER_US if key not in best else best[key][0] for key in wanted]
        assert arrived_us.tolist() == none
        found = [None if np.isnan(x) else x for x in label] if regression else label.tolist()
        assert found == [best[key][2] if key in best else None for key in wanted]


def test_no_labels_join_as_none() -> None:
    label, arrived_us = join_newest(None, np.array([1], np.uint64), regression=False)
    assert (label.tolist(), arrived_us.tolist()) == ([None], [NEVER_US])
    label, _ = join_newest(None, np.array([1], np.uint64), regression=True)
    assert np.isnan(label).tolist() == [True]


@pytest.mark.parametrize("stored", [None, pa.int64()])
def test_the_first_labels_fix_the_type(stored: pa.DataType | None) -> None:
    floats = pa.array([1.0, float("nan"), None])
    column = label_column(floats, regression=False, stored=stored, who="t")
    assert (column.type, column.to_pylist()) == (pa.int64(), [1, None, None])
    nothing = label_column(pa.nulls(2), regression=False, stored=pa.string(), who="t")
    assert nothing.type == pa.string()
    with pytest.raises(Invalid, match="int64, like the labels before; got string"):
        label_column(pa.array(["a"]), regression=False, stored=pa.int64(), who="t")


def test_regression_takes_any_number() -> None:
    for column in (pa.array([1, None]), pa.array([1.0, float("nan")])):
        assert label_column(column, regression=True, stored=None, who="t").to_pylist() == [
            1.0,
            None,
        ]
    with pytest.raises(Invalid, match="a number; got string"):
        label_column(pa.array(["1"]), regression=True, stored=None, who="t")
