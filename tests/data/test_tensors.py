"""The form of tensor columns inside: a type, and a shape that is noted beside it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.errors import Corrupt
from renewal.core.spec import Field, Signature
from renewal.data.frame import as_table, conform
from renewal.data.tensors import is_opaque, is_tensor, noted_shape, reread, tensor_field

VALUES = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
PIXELS = Signature((Field("pixels", "tensor", shape=(2, 3)),))


def test_lists_of_a_delta_table_become_tensors_again() -> None:
    found = conform(as_table({"pixels": [VALUES[0], None]}, who="test"), PIXELS, who="test")
    field = found.schema.field("pixels")
    kept = pa.list_(pa.float32())
    stored = found.set_column(0, field.with_type(kept), found.column(0).cast(kept))
    assert reread(stored).equals(found)
    assert noted_shape(reread(stored).schema.field("pixels")) == (2, 3)


def test_a_list_of_another_length_is_no_tensor_that_was_written() -> None:
    """Breaks when a damaged file is read as tensors whose values have moved."""
    field = tensor_field(PIXELS.fields[0])
    stored = pa.schema([field.with_type(pa.list_(pa.float32()))])
    table = pa.table([pa.array([[1.0] * 6, [1.0] * 5], stored[0].type)], schema=stored)
    with pytest.raises(Corrupt, match="'pixels'"):
        reread(table)


@pytest.mark.parametrize(
    ("kind", "tensor", "opaque"),
    [
        (pa.list_(pa.float32(), 2), True, True),
        (pa.list_(pa.large_list(pa.int8())), True, False),
        (pa.fixed_shape_tensor(pa.uint8(), [2]), True, False),
        (pa.list_(pa.null()), True, False),
        (pa.list_(pa.string()), False, False),
        (pa.binary(), False, True),
        (pa.float64(), False, False),
    ],
)
def test_kinds_are_told_by_their_type(kind: pa.DataType, tensor: bool, opaque: bool) -> None:  # noqa: FBT001  # a parameter of the table
    assert (is_tensor(kind), is_opaque(kind)) == (tensor, opaque)
