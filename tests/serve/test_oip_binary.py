"""The binary tensor extension: what was written is read, and what is wrong is said."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.serve.oip_binary import TYPES, bytes_of, header_length, values_of, whole_body
from renewal.serve.oip_input import Tensor
from renewal.serve.oip_rows import OipRows, binary_rows

FLOATS = Signature((Field("a", "float"), Field("b", "float")))
ALL = frozenset(("a", "b"))
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
NUMBERS = sorted(set(TYPES) - {"BF16"})


def body(*inputs: tuple[dict[str, Any], bytes], **more: Any) -> tuple[bytes, bytes]:
    """Return a binary body and its header."""
    described = [
        {**each, "parameters": {"binary_data_size": len(data), **each.get("parameters", {})}}
        for each, data in inputs
    ]
    head = json.dumps({"inputs": described, **more}).encode()
    return head + b"".join(data for _, data in inputs), str(len(head)).encode()


def tensor(
    name: str = "a", shape: tuple[int, ...] = (2,), datatype: str = "FP64"
) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype}


def rows(signature: Signature, *inputs: tuple[dict[str, Any], bytes]) -> list[dict[str, Any]]:
    names = frozenset(signature.names)
    found: list[dict[str, Any]] = (
        binary_rows(*body(*inputs)).read(signature, names).table().to_pylist()
    )
    return found


@given(st.data())
def test_numbers_come_back_bit_for_bit(data: st.DataObject) -> None:
    """Breaks on a wrong width, sign or byte order of any datatype."""
    datatype = data.draw(st.sampled_from(NUMBERS))
    array = data.draw(hnp.arrays(TYPES[datatype], SHAPES))
    raw = bytes_of(array, datatype)
    found = values_of(Tensor("x", list(array.shape), datatype), raw)
    assert isinstance(found, np.ndarray)
    assert found.tobytes() == np.ascontiguousarray(array).tobytes()


@given(st.lists(st.binary(max_size=9), max_size=6))
def test_cells_of_bytes_come_back(cells: list[bytes]) -> None:
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    raw = bytes_of(array, "BYTES")
    assert values_of(Tensor("x", [len(cells)], "BYTES"), raw) == cells


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False)))
def test_the_upper_half_of_a_float_comes_back(array: np.ndarray[Any, Any]) -> None:
    shortened = (array.view("<u4") & 0xFFFF0000).view("<f4")
    raw = bytes_of(shortened, "BF16")
    assert len(raw) == 2 * array.size
    found = values_of(Tensor("x", list(array.shape), "BF16"), raw)
    assert np.array_equal(found, shortened.ravel())


def test_the_bytes_are_little_endian_whatever_the_array_is() -> None:
    """Breaks when the machine's own order, or that of the array, is written."""
    assert bytes_of(np.array([1, 258], ">i4"), "INT32") == struct.pack("<2i", 1, 258)
    assert bytes_of(np.array([[1.0, 2.0]], order="F"), "FP64") == struct.pack("<2d", 1, 2)
    assert bytes_of(np.array([[1.0, 2.0], [3.0, 4.0]]).T, "FP64") == struct.pack("<4d", 1, 3, 2, 4)


@given(st.binary(max_size=40), st.sampled_from([*TYPES, "BYTES", "COMPLEX"]), st.integers(0, 9))
def test_no_bytes_raise_anything_but_invalid(raw: bytes, datatype: str, n_cells: int) -> None:
    try:
        found = values_of(Tensor("x", [n_cells], datatype), raw)
    except Invalid:
        return
    assert len(found) == n_cells


@pytest.mark.parametrize(
    ("raw", "n_cells", "says"),
    [
        (b"\x01\x00", 1, "1 bytes in cell 0.*got 0"),
        (b"\x05\x00\x00\x00hi", 1, "5 bytes in cell 0.*got 2"),
        (b"\xff\xff\xff\xff", 1, "4294967295"),
        (b"\x00\x00\x00\x00" * 3, 2, "2 cells.*more"),
        (b"\x00\x00\x00\x00", 2, "2 cells.*got 1"),
        (b"", 1, "1 cells.*got 0"),
    ],
)
def test_lengths_that_do_not_add_up_are_invalid(raw: bytes, n_cells: int, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        values_of(Tensor("x", [n_cells], "BYTES"), raw)


@pytest.mark.parametrize(
    "said", [b"-1", b"+1", b"x", b"", b"11", b"1e3", b"9" * 30, "\u0663".encode()]
)
def test_a_header_that_is_no_length_is_invalid(said: bytes) -> None:
    with pytest.raises(Invalid, match="Inference-Header-Content-Length from 0 to"):
        header_length(said, 10)


def test_one_matrix_or_columns_become_a_matrix_without_a_table() -> None:
    array = np.array([[1.5, np.nan], [3.0, 4.0]])
    for datatype in ("FP64", "FP32", "FP16", "BF16"):
        raw = bytes_of(array, datatype)
        found = binary_rows(*body((tensor("x", (2, 2), datatype), raw))).read(FLOATS, ALL)
        assert found.matrix is not None
        assert np.array_equal(found.matrix, array, equal_nan=True)
        columns = [
            (tensor(name, shape, datatype), bytes_of(array[:, at], datatype))
            for name, at, shape in (("b", 1, (2, 1)), ("a", 0, (2,)))
        ]
        found = binary_rows(*body(*columns)).read(FLOATS, ALL)
        assert found.matrix is not None
        assert np.array_equal(found.matrix, array, equal_nan=True)
        assert found.table().column("b").null_count == 1


@pytest.mark.parametrize("datatype", ["INT8", "UINT16", "INT64", "UINT64"])
def test_a_matrix_may_be_of_whole_numbers_that_floats_hold(datatype: str) -> None:
    array = np.array([[1, 2], [3, 100]])
    found = binary_rows(*body((tensor("x", (2, 2), datatype), bytes_of(array, datatype))))
    matrix = found.read(FLOATS, ALL).matrix
    assert matrix is not None
    assert matrix.tolist() == array.tolist()
    large = bytes_of(np.array([[1, 2**53 + 1]]), "INT64")
    with pytest.raises(Invalid, match="9007199254740992"):
        binary_rows(*body((tensor("x", (1, 2), "INT64"), large))).read(FLOATS, ALL)


def test_doubles_are_not_copied_where_they_lie_well() -> None:
    raw, said = body((tensor("x", (2, 2)), bytes_of(np.ones((2, 2)), "FP64")), id="")
    for pad in range(8):
        head = raw[: int(said)] + b" " * pad
        source = binary_rows(head + raw[int(said) :], str(len(head)).encode())
        found = source.read(FLOATS, ALL).matrix
        assert found is not None
        assert found.flags.aligned
        assert found.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("kind", "datatype", "values", "expected"),
    [
        ("int", "INT8", [-128, 127], [-128, 127]),
        ("int", "UINT64", [0, 2**63 - 1], [0, 2**63 - 1]),
        ("int", "FP32", [1.0, np.nan], [1, None]),
        ("float", "INT32", [1, 2], [1.0, 2.0]),
        ("float", "FP16", [0.5, np.nan], [0.5, None]),
        ("bool", "BOOL", [True, False], [True, False]),
        ("string", "BYTES", ["é", ""], ["é", ""]),
    ],
)
def test_every_kind_of_column_may_be_binary(
    kind: Any, datatype: str, values: list[Any], expected: list[Any]
) -> None:
    signature = Signature((Field("a", kind), Field("s", "string")))
    others = (tensor("s", (2,), "BYTES"), bytes_of(np.array(["x", "y"]), "BYTES"))
    found = rows(
        signature, (tensor("a", (2,), datatype), bytes_of(np.array(values), datatype)), others
    )
    assert [each["a"] for each in found] == expected


def test_images_and_tensors_are_the_bytes_themselves() -> None:
    signature = Signature((Field("pixels", "tensor", shape=(2, 3)), Field("image", "bytes")))
    pixels = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    images = np.array([b"\xff\xd8\x00", b""], dtype=object)
    found = rows(
        signature,
        (tensor("pixels", (2, 2, 3), "FP32"), bytes_of(pixels, "FP32")),
        (tensor("image", (2,), "BYTES"), bytes_of(images, "BYTES")),
    )
    assert [each["image"] for each in found] == [b"\xff\xd8\x00", b""]
    assert np.array_equal([each["pixels"] for each in found], pixels.reshape(2, 6))
    texts = np.array([b"AAE=", b""], dtype=object)
    said = {**tensor("image", (2,), "BYTES"), "parameters": {"content_type": "base64"}}
    found = rows(
        signature,
        (tensor("pixels", (2, 2, 3), "UINT8"), bytes_of(pixels, "UINT8")),
        (said, bytes_of(texts, "BYTES")),
    )
    assert [each["image"] for each in found] == [b"\x00\x01", b""]


def test_json_and_binary_inputs_may_be_mixed() -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [1], "datatype": "FP64", "data": [1.5]},
                {**tensor("b", (1,)), "parameters": {"binary_data_size": 8}},
            ]
        }
    ).encode()
    source = binary_rows(head + struct.pack("<d", 2.5), str(len(head)).encode())
    assert source.read(FLOATS, ALL).table().to_pylist() == [{"a": 1.5, "b": 2.5}]


def damaged(how: str) -> tuple[bytes, bytes]:
    array = np.array([1.0, 2.0])
    raw, said = body((tensor("a"), bytes_of(array, "FP64")), (tensor("b"), bytes_of(array, "FP64")))
    edits: dict[str, tuple[bytes, bytes]] = {
        "cut off": (raw[:-1], said),
        "nothing follows": (raw[: int(said)], said),
        "more follows": (raw + b"x", said),
        "the JSON is cut": (raw, str(int(said) - 1).encode()),
        "the JSON is too long": (raw, str(int(said) + 1).encode()),
        "a size is negative": (raw.replace(b'size": 16', b'size": -1', 1), said),
        "a size is true": (raw.replace(b'size": 16', b'size": true'), str(int(said) + 4).encode()),
        "a size is text": (raw.replace(b'size": 16', b'size": ""'), said),
        "a size is wrong": (raw.replace(b'size": 16', b'size": 15'), said),
        "both forms": (
            raw.replace(b'"datatype"', b'"data":[1,2],"datatype"', 1),
            str(int(said) + 13).encode(),
        ),
    }
    return edits[how]


@pytest.mark.parametrize(
    "how",
    ["cut off", "nothing follows", "more follows", "the JSON is cut", "the JSON is too long",
     "a size is negative", "a size is true", "a size is text", "a size is wrong", "both forms"],
)  # fmt: skip
def test_what_does_not_add_up_is_invalid(how: str) -> None:
    raw, said = damaged(how)
    with pytest.raises(Invalid):
        binary_rows(raw, said)


@pytest.mark.parametrize(
    ("kind", "datatype", "raw", "says"),
    [
        ("int", "UINT64", struct.pack("<Q", 2**63), "up to 9223372036854775807"),
        ("string", "BYTES", b"\x01\x00\x00\x00\xff", "UTF-8"),
        ("int", "FP64", struct.pack("<d", 1.5), "'a'"),
        ("bool", "INT8", b"\x02", "'a'"),
        ("bytes", "INT8", b"\x02", "BYTES"),
    ],
)
def test_values_that_do_not_fit_their_column_are_invalid(
    kind: Any, datatype: str, raw: bytes, says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        rows(Signature((Field("a", kind),)), (tensor("a", (1,), datatype), raw))


def test_a_nan_is_no_value_where_one_is_needed() -> None:
    needed = Signature((Field("a", "float", nullable=False),))
    assert rows(needed, (tensor("a", (1,)), struct.pack("<d", 1.0))) == [{"a": 1.0}]
    with pytest.raises(Invalid, match="a value in every row of the column 'a'"):
        rows(needed, (tensor("a", (1,)), struct.pack("<d", np.nan)))


@pytest.mark.parametrize(
    ("field", "raw", "expected"),
    [
        (Field("a", "float"), struct.pack("<2d", 1, 2), [1.0, 2.0]),
        (Field("a", "int"), struct.pack("<q", 7), [7]),
        (Field("a", "string"), b"d\xc3\xa9j\xc3\xa0", ["déjà"]),
        (Field("a", "bytes"), b"\xff\xd8", [b"\xff\xd8"]),
        (
            Field("a", "tensor", shape=(2,)),
            struct.pack("<4f", 1, 2, 3, 4),
            [[1.0, 2.0], [3.0, 4.0]],
        ),
    ],
)
def test_a_whole_body_is_the_one_input(field: Field, raw: bytes, expected: list[Any]) -> None:
    source = binary_rows(raw, b"0")
    assert source.all_binary
    found = source.read(Signature((field,)), frozenset({"a"})).table().to_pylist()
    assert [each["a"] for each in found] == expected


def test_a_whole_body_of_a_model_of_floats_is_row_by_row() -> None:
    source = OipRows(None, struct.pack("<4d", 1, 2, 3, 4))
    assert source.read(FLOATS, ALL).table().to_pylist() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


@pytest.mark.parametrize(
    ("signature", "raw"),
    [
        (FLOATS, b"1234567"),
        (FLOATS, b""),
        (Signature((Field("a", "float"), Field("b", "int"))), b"12345678"),
        (Signature((Field("a", "string"),)), b"\xff"),
    ],
)
def test_a_whole_body_that_does_not_fit_is_invalid(signature: Signature, raw: bytes) -> None:
    with pytest.raises(Invalid):
        OipRows(None, raw).read(signature, frozenset(signature.names))


def test_one_cell_of_an_empty_body_is_an_empty_text() -> None:
    tensor_, values = whole_body(Signature((Field("a", "string"),)), b"")
    assert (tensor_.shape, values) == ([1], [b""])
