"""The quick way and the general way read the same numbers, or the same error is said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.data.frame import conform
from renewal.serve.features import Features
from renewal.serve.oip import decode_request, read_columns
from renewal.serve.oip_binary import bytes_of
from renewal.serve.oip_matrix import decode_numbers, layout_of
from renewal.serve.oip_rows import OipRows, binary_rows, json_rows

FLOATS = Signature((Field("a", "float"), Field("b", "float")))
ALL = frozenset(("a", "b"))
CELLS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def tensor(data: Any, *shape: int, name: str = "a", datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": data}


def general(raw: bytes) -> Any:
    """Read a body the general way only."""
    table = conform(read_columns(decode_request(raw), FLOATS), FLOATS, who="infer")
    return table.to_pylist()


def quick(raw: bytes, needed: frozenset[str] = ALL) -> Features:
    return json_rows(raw).read(FLOATS, needed)


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor([1.5, None, 3, 4], 2, 2)],
        [tensor([[1.5, None], [3, 4]], 2, 2, name="input-0")],
        [tensor([[1.5, 2]], 1, 2, datatype="FP16")],
        [tensor([1.5, 2], 1, 2, datatype="FP32")],
        [tensor([1.5], 1), tensor([2.5], 1, name="b")],
        [tensor([1.5], 1, 1, name="b"), tensor([[2.5]], 1, 1)],
        [tensor([1.5, None], 2), tensor([[2.5], [None]], 2, 1, name="b")],
    ],
)
def test_numbers_of_every_form_become_a_matrix(inputs: list[dict[str, Any]]) -> None:
    raw = body(*inputs)
    found = quick(raw)
    assert found.matrix is not None
    assert found.matrix.flags.c_contiguous
    assert found.table().to_pylist() == general(raw)


@given(st.data())
def test_both_ways_read_the_same(data: st.DataObject) -> None:
    """Breaks when the quick way mixes up rows and columns, gaps and numbers, or takes more."""
    n_rows = data.draw(st.integers(1, 4))
    rows = data.draw(
        st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=n_rows, max_size=n_rows)
    )
    is_nested = data.draw(st.booleans())
    if data.draw(st.booleans()):
        flat = [cell for row in rows for cell in row]
        raw = body(tensor(rows if is_nested else flat, n_rows, 2))
    else:
        columns = [[row[at] for row in rows] for at in (0, 1)]
        inputs = [
            tensor([[cell] for cell in column] if is_nested else column, n_rows, 1, name=name)
            for name, column in zip(("a", "b"), columns, strict=True)
        ]
        raw = body(*data.draw(st.permutations(inputs)))
    found = quick(raw)
    assert found.matrix is not None
    assert found.table().to_pylist() == general(raw)


SHAPES = st.lists(st.integers(-1, 3), max_size=3)
DATA = st.recursive(
    CELLS | st.booleans() | st.text(max_size=2), lambda each: st.lists(each, max_size=4)
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["a", "b", "c"]),
                "shape": SHAPES,
                "datatype": st.sampled_from(["FP64", "FP32", "INT64", "BOOL", "BYTES", "x"]),
                "data": DATA,
            }
        ),
        max_size=3,
    )
)
def test_what_one_way_refuses_the_other_refuses(inputs: list[dict[str, Any]]) -> None:
    """Breaks when a request is answered the quick way that is wrong by the general one."""
    raw = body(*inputs)
    try:
        expected = general(raw)
    except Invalid:
        with pytest.raises(Invalid):
            quick(raw)
        return
    assert quick(raw).table().to_pylist() == expected


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor([1.0, 2.0], 2)],  # b is missing
        [tensor([1.0], 1), tensor([2.0], 1, name="c")],
        [tensor([1.0], 1), tensor([2.0], 1)],
        [tensor([1.0], 1), tensor([2.0, 3.0], 2, name="b")],
        [tensor([[1.0, 2.0], 3.0], 2, 1), tensor([1.0, 1.0], 2, name="b")],
        [tensor([[1.0], [3.0]], 2), tensor([1.0, 1.0], 2, name="b")],
        [tensor([[1.0, 2.0], [3.0]], 2, 2)],
        [tensor([[1.0, 2.0], 3.0, 4.0], 2, 2)],
        [tensor([1.0, [2.0]], 1, 2)],
        [tensor([1.0, 2.0, 3.0], 1, 2)],
        [tensor([], 0, 2)],
    ],
)
def test_what_does_not_fit_is_invalid(inputs: list[dict[str, Any]]) -> None:
    with pytest.raises(Invalid):
        quick(body(*inputs))


def test_a_column_that_no_version_reads_may_be_missing() -> None:
    only_a = frozenset(("a",))
    found = quick(body(tensor([1.0, 2.0], 2)), only_a)
    assert found.table().to_pylist() == [{"a": 1.0, "b": None}, {"a": 2.0, "b": None}]
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "a",
                    "shape": [1],
                    "datatype": "FP64",
                    "parameters": {"binary_data_size": 8},
                }
            ]
        }
    ).encode()
    source = binary_rows(head + bytes_of(np.array([1.0]), "FP64"), str(len(head)).encode())
    assert source.read(FLOATS, only_a).table().to_pylist() == [{"a": 1.0, "b": None}]
    with pytest.raises(Invalid, match="'b'"):
        source.read(FLOATS, ALL)


def test_numbers_for_another_kind_of_column_take_the_general_way() -> None:
    mixed = Signature((Field("a", "int"), Field("b", "float")))
    raw = body(tensor([1], 1, datatype="INT64"), tensor([2.5], 1, name="b"))
    found = json_rows(raw).read(mixed, ALL)
    assert found.matrix is None
    assert found.table().to_pylist() == [{"a": 1, "b": 2.5}]


def test_a_layout_is_made_once_for_a_signature() -> None:
    assert layout_of(FLOATS) is layout_of(FLOATS)
    same = Signature(FLOATS.fields)
    assert layout_of(same) is not layout_of(FLOATS)
    assert not layout_of(Signature((Field("a", "float", nullable=False),))).is_matrix


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_invalid(raw: bytes) -> None:
    assert decode_numbers(raw) is None or raw
    for source in (
        json_rows,
        lambda each: binary_rows(each, b"4"),
        lambda each: OipRows(None, each),
    ):
        try:
            source(raw).read(FLOATS, ALL)
        except Invalid:
            continue
