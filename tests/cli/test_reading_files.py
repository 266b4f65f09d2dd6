"""Files that hold bytes and tensors, in every way in which programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewal.cli.opening import read_data
from renewal.core.spec import Field, Signature
from renewal.data.frame import as_table, conform, signature_of

VALUES = np.arange(12.0).reshape(2, 2, 3)
SHAPED = Field("column", "tensor", shape=(2, 3))
FLAT = Field("column", "tensor", shape=(6,))
BYTES = Field("column", "bytes")


@pytest.mark.parametrize(
    ("column", "field"),
    [
        (pa.FixedShapeTensorArray.from_numpy_ndarray(VALUES), SHAPED),
        (pa.array(VALUES.tolist()), SHAPED),
        (pa.array(VALUES.tolist(), pa.list_(pa.list_(pa.float64(), 3), 2)), SHAPED),
        (pa.array(VALUES.reshape(2, 6).tolist(), pa.list_(pa.float32(), 6)), FLAT),
        (pa.array([b"\xff\xd8", None], pa.binary()), BYTES),
        (pa.array([b"\xff\xd8", None], pa.large_binary()), BYTES),
    ],
)
def test_parquet_keeps_bytes_and_shapes(tmp_path: Path, column: pa.Array, field: Field) -> None:
    """Breaks when a file that another program wrote cannot be appended from the command line."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"column": column}), path)
    table = as_table(read_data(path), who="test")
    assert signature_of(table) == Signature((field,))
    found = conform(table, Signature((field,)), who="test").column("column")
    if field.kind == "tensor":
        assert np.array_equal(found.combine_chunks().flatten(), VALUES.ravel())
    else:
        assert found.to_pylist() == [b"\xff\xd8", None]


def test_lists_of_json_lines_are_tensors(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"column": [[1, 2], [3, 4]]}\n{"column": [[5, 6], [7, 8]]}\n', "utf-8")
    shape = signature_of(as_table(read_data(path), who="test")).fields[0].shape
    assert shape == (2, 2)
