"""Tensor columns: whatever form they come in, one form inside, and no shape is guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.data.frame import as_table, conform, schema_of, signature_of

VALUES = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
PIXELS = Signature((Field("pixels", "tensor", shape=(2, 3)),))


def _forms() -> dict[str, Any]:
    arrow = pa.FixedShapeTensorArray.from_numpy_ndarray(VALUES)
    turned = pa.FixedShapeTensorArray.from_numpy_ndarray(
        np.ascontiguousarray(VALUES.transpose(0, 2, 1)).transpose(0, 2, 1)
    )
    assert turned.type.permutation == [1, 0]
    return {
        "an array": {"pixels": VALUES},
        "doubles": {"pixels": VALUES.astype(np.float64)},
        "bytes": {"pixels": VALUES.astype(np.uint8)},
        "strided": {"pixels": VALUES[::-1][::-1]},
        "a list of arrays": {"pixels": list(VALUES)},
        "nested lists": {"pixels": VALUES.tolist()},
        "an Arrow tensor": pa.table({"pixels": arrow}),
        "a permuted Arrow tensor": pa.table({"pixels": turned}),
        "in pieces": pa.table({"pixels": pa.chunked_array([arrow[:1], arrow[1:]])}),
        "polars": pl.DataFrame({"pixels": VALUES}),
        "pandas": pd.DataFrame({"pixels": list(VALUES)}),
    }


@pytest.mark.parametrize("form", _forms())
def test_every_form_is_one_form_inside(form: str) -> None:
    """Breaks when a form is read in another order of its axes, or its shape is lost."""
    table = as_table(_forms()[form], who="test")
    assert signature_of(table) == PIXELS
    found = conform(table, PIXELS, who="test")
    assert found.schema.equals(schema_of(PIXELS), check_metadata=True)
    flat = found.column("pixels").combine_chunks().flatten().to_numpy()
    assert np.array_equal(flat.reshape(VALUES.shape), VALUES)
    assert signature_of(found) == PIXELS
    assert conform(found, PIXELS, who="test").equals(found)


def test_an_array_of_many_dimensions_is_one_column() -> None:
    assert signature_of(as_table(VALUES, who="test")).fields[0].shape == (2, 3)


def test_flat_rows_are_taken_in_order() -> None:
    """What a wire format or a lost note leaves is the same numbers, row by row."""
    flat = as_table({"pixels": VALUES.reshape(4, 6)}, who="test")
    assert conform(flat, PIXELS, who="test").equals(
        conform(as_table({"pixels": VALUES}, who="test"), PIXELS, who="test")
    )


def test_a_missing_tensor_is_null_and_nothing_moves() -> None:
    rows = [VALUES[0], None, VALUES[2]]
    for given in (rows, [None if row is None else row.tolist() for row in rows]):
        found = conform(as_table({"pixels": given}, who="test"), PIXELS, who="test")
        assert found.column("pixels").to_pylist() == [
            None if row is None else row.ravel().tolist() for row in rows
        ]
    required = Signature((Field("pixels", "tensor", nullable=False, shape=(2, 3)),))
    with pytest.raises(Invalid, match="'pixels'"):
        conform(found, required, who="test")


def test_what_is_no_number_stays_a_value_of_its_tensor() -> None:
    odd = VALUES.copy()
    odd[0, 0] = np.nan, np.inf, -np.inf
    found = conform(as_table({"pixels": odd}, who="test"), PIXELS, who="test").column("pixels")
    assert found.null_count == 0
    assert np.array_equal(found.combine_chunks().flatten(), odd.ravel(), equal_nan=True)


REFUSED: list[tuple[Any, str]] = [
    (VALUES.transpose(0, 2, 1), r"shape \(2, 3\).*came.*shape \(3, 2\)|\(3, 2\)"),
    (VALUES[:, :1], r"\(1, 3\)"),
    ([[1.0, 2.0], [3.0]], "1 to 2"),
    ([[[1.0], [2.0]], [[3.0]]], "1 to 2"),
    ([[1, None, 3, 4, 5, 6]], "null inside"),
    ([[1, 2, 3, 4, 5, 2**24 + 1]], "16777216"),
    ([[1e300] * 6], "float32"),
    (["a"], "string"),
    ([["a"] * 6], "string"),
    ([1.5], "double"),
]


@pytest.mark.parametrize(("values", "match"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(values: Any, match: str) -> None:
    with pytest.raises(Invalid, match=match) as caught:
        conform(as_table({"pixels": values}, who="test"), PIXELS, who="test")
    assert caught.value.fields["column"] == "pixels"


def test_a_noted_shape_is_binding() -> None:
    """Breaks when only the number of values counts: an image turned on its side is another."""
    turned = Signature((Field("pixels", "tensor", shape=(3, 2)),))
    table = conform(as_table({"pixels": VALUES}, who="test"), PIXELS, who="test")
    with pytest.raises(Invalid, match=r"\(3, 2\)"):
        conform(table, turned, who="test")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([np.zeros((2, 3)), np.zeros((3, 2))], "row 1"),
        (np.zeros((4, 0, 3)), "no tensors"),
        (np.full((2, 2, 2), "x"), "no tensors"),
    ],
)
def test_arrays_that_are_no_tensors_are_refused(values: Any, match: str) -> None:
    with pytest.raises(Invalid, match=match):
        as_table({"pixels": values}, who="test")


def test_no_row_tells_no_shape_but_takes_the_known_one() -> None:
    nothing = pa.table({"pixels": pa.array([None, None], pa.list_(pa.float64()))})
    with pytest.raises(Invalid, match="'pixels'"):
        signature_of(nothing)
    for table in (nothing, nothing.slice(0, 0), pa.table({"pixels": pa.nulls(2)})):
        assert conform(table, PIXELS, who="test").column("pixels").null_count == table.num_rows


def test_bytes_of_every_form_are_one_kind() -> None:
    values = [b"\xff\xd8", b"", None]
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        table = as_table(pa.table({"image": pa.array(values, kind)}), who="test")
        signature = signature_of(table)
        assert signature == Signature((Field("image", "bytes"),))
        assert conform(table, signature, who="test").column("image").to_pylist() == values
    one = as_table({"image": b"\x00", "text": "x"}, who="test")
    assert one.column("image").to_pylist() == [b"\x00"]
    with pytest.raises(Invalid, match="'image'"):
        conform(
            as_table({"image": ["text"]}, who="test"),
            Signature((Field("image", "bytes"),)),
            who="test",
        )


@pytest.mark.parametrize(("kind", "shape"), [("tensor", ()), ("tensor", (2, 0)), ("bytes", (3,))])
def test_a_field_has_a_shape_exactly_when_it_is_a_tensor(kind: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(Invalid, match="'odd'"):
        Field("odd", kind, shape=shape)


@pytest.mark.parametrize(
    "kind", ["bool", "float16", "int8", "uint8", "int16", "uint16", "float32", ">f8", "int64"]
)
def test_numbers_of_every_type_are_exact_where_float32_holds_them(kind: str) -> None:
    values = np.array([[0, 1], [1, 0]]).astype(kind)
    table = as_table({"a": values}, who="test")
    found = conform(table, Signature((Field("a", "tensor", shape=(2,)),)), who="test")
    assert found.column("a").to_pylist() == [[0.0, 1.0], [1.0, 0.0]]
