"""The key of a row without one: equal exactly where rows are."""

from __future__ import annotations

import struct
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.spec import Field, Signature
from renewal.data.frame import as_table, conform
from renewal.data.rowkey import row_keys


def test_the_encoding_is_part_of_the_format() -> None:
    """Breaks when the encoding changes: rows appended again would no longer be recognized."""
    table = pa.table({"d": ["xy", None], "b": [2, 3], "c": [True, None], "a": [1.5, None]})
    numbers = [
        b"\x01" + struct.pack("<d", 1.5) + b"\x01" + struct.pack("<q", 2) + b"\x01\x01" + bytes(7),
        b"\x00" + bytes(8) + b"\x01" + struct.pack("<q", 3) + b"\x00" + bytes(8),
    ]
    texts = [b"\x01" + struct.pack("<I", 2) + b"xy", b"\x00"]
    assert row_keys(table) == [
        blake2b(number + text, digest_size=16, person=b"renewal-row").hexdigest()
        for number, text in zip(numbers, texts, strict=True)
    ]


def test_nan_is_missing_and_zero_has_no_sign() -> None:
    table = pa.table({"a": pa.array([0.0, -0.0, float("nan"), None], pa.float64())})
    zero, minus_zero, nan, null = row_keys(table)
    assert zero == minus_zero
    assert nan == null != zero


def test_text_cannot_run_over_into_the_next_column() -> None:
    """Breaks without lengths: ("ab", "c") and ("a", "bc") would be one row."""
    keys = row_keys(pa.table({"a": ["ab", "a", "", None], "b": ["c", "bc", "", ""]}))
    assert len(set(keys)) == 4


_CELL = st.tuples(
    st.none() | st.floats(width=16, allow_nan=False),
    st.none() | st.integers(-3, 3),
    st.none() | st.text(max_size=2),
)


@given(st.lists(_CELL, min_size=1, max_size=12))
def test_keys_are_equal_exactly_where_rows_are(cells: list[tuple[float, int, str]]) -> None:
    columns = list(zip(*cells, strict=True))
    table = pa.table(
        {
            "a": pa.array(columns[0], pa.float64()),
            "b": pa.array(columns[1], pa.int64()),
            "c": pa.array(columns[2], pa.string()),
        }
    )
    keys = np.array(row_keys(table.select(["c", "a", "b"])))
    for at, cell in enumerate(cells):
        assert (keys == keys[at]).tolist() == [other == cell for other in cells]


def test_bytes_and_tensors_are_part_of_the_format() -> None:
    """Breaks when their encoding changes: images appended again would be other rows."""
    table = pa.table(
        {
            "a": [1.5, 1.5],
            "image": [b"\xff\xd8", None],
            "pixels": pa.array([[1.0, -0.0], None], pa.list_(pa.float32(), 2)),
            "text": ["xy", "xy"],
        }
    )
    head = b"\x01" + struct.pack("<d", 1.5) + b"\x01" + struct.pack("<I", 2) + b"xy"
    longs = [
        b"\x02" + struct.pack("<Q", 2) + b"\xff\xd8" + b"\x03" + struct.pack("<Qff", 8, 1.0, 0.0),
        b"\x00\x00",
    ]
    assert row_keys(table) == [
        blake2b(head + each, digest_size=16, person=b"renewal-row").hexdigest() for each in longs
    ]


def test_a_tensor_has_one_key_however_it_came_and_is_cut() -> None:
    """Breaks when a key depends on the pieces of a column, on a NaN's bits or on a zero's sign."""
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    wanted = Signature((Field("pixels", "tensor", shape=(2, 3)),))

    def keys(given: object) -> list[str]:
        return row_keys(conform(as_table({"pixels": given}, who="test"), wanted, who="test"))

    assert keys(values) == keys(values.astype(np.float64)) == keys(values.tolist())
    whole = conform(as_table({"pixels": values}, who="test"), wanted, who="test")
    pieces = pa.concat_tables([whole.slice(2), whole.slice(0, 1), whole.slice(1, 1)])
    assert row_keys(pieces) == [keys(values)[at] for at in (2, 3, 0, 1)]
    odd = np.full((2, 2, 3), np.nan, np.float32)
    odd.view(np.uint32)[1] += 1
    assert len(set(keys(odd))) == 1
    assert keys([None, values[0]]) == [keys([None, values[0]])[0], keys(values)[0]]
