"""The protocol's JSON: what comes in as columns, what goes out as tensors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.serve.oip import decode_request, encode_error, input_metadata, read_columns
from renewal.serve.oip_output import output_metadata, output_tensors

FLOATS = Signature((Field("a", "float"), Field("b", "float")))


def tensor(data: Any, datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"name": "a", "shape": [len(data)], "datatype": datatype, "data": data, **more}


def columns(*inputs: dict[str, Any], signature: Signature = FLOATS) -> pa.Table:
    return read_columns(decode_request(json.dumps({"inputs": inputs}).encode()), signature)


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("BOOL", [True, None, False], pa.bool_()),
        ("INT8", [-128, None, 127], pa.int64()),
        ("INT64", [-(2**63), 0, 2**63 - 1], pa.int64()),
        ("UINT8", [0, 1, 255], pa.int64()),
        ("FP32", [1.5, 2, None], pa.float64()),
        ("FP64", [1e308, -0.0, None], pa.float64()),
        ("BYTES", ["é", "", None], pa.string()),
    ],
)
def test_every_datatype_keeps_its_values_and_nulls(
    datatype: str, data: list[Any], expected: pa.DataType
) -> None:
    table = columns(tensor(data, datatype))
    assert table["a"].type == expected
    assert table["a"].to_pylist() == data


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [128]),
        ("UINT8", [-1]),
        ("INT64", [2**63]),
        ("UINT64", [2**64]),
        ("INT32", [1.5]),
        ("FP64", ["1.5"]),
        ("FP64", [True]),
        ("BOOL", [1]),
        ("BYTES", [1]),
        ("FP64", [[1.0, 2.0]]),
        ("FP64", {"a": 1}),
        ("FP64", [{}]),
        ("COMPLEX", [1]),
    ],
)
def test_a_value_outside_its_datatype_is_invalid(datatype: str, data: Any) -> None:
    with pytest.raises(Invalid, match="'a'"):
        columns({"name": "a", "shape": [1], "datatype": datatype, "data": data})


def test_a_column_may_be_n_by_1_flat_or_nested() -> None:
    flat = columns(tensor([1.0, 2.0], shape=[2, 1]))
    nested = columns(tensor([[1.0], [2.0]], shape=[2, 1]))
    assert flat.equals(nested)


@pytest.mark.parametrize(
    "wrong",
    [
        tensor([1.0], shape=[2]),
        tensor([1.0, 2.0], shape=[1]),
        tensor([1.0], shape=[]),
        tensor([], shape=[0]),
        tensor([1.0, 2.0, 3.0], shape=[1, 3]),
        tensor([[1.0, 2.0], [3.0]], shape=[2, 2]),
        tensor([[1.0], [3.0]], shape=[2]),
        {"name": "a", "shape": [1], "datatype": "FP64"},
        {"name": "a", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
    ],
)
def test_data_that_differ_from_their_shape_are_invalid(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="input 'a'"):
        columns(wrong)


def test_columns_of_different_length_or_twice_are_invalid() -> None:
    with pytest.raises(Invalid, match="1 rows like"):
        columns(tensor([1.0]), {**tensor([1.0, 2.0]), "name": "b"})
    with pytest.raises(Invalid, match="twice"):
        columns(tensor([1.0]), tensor([1.0]))


def test_one_matrix_is_split_into_the_columns_of_an_all_float_signature() -> None:
    table = columns(tensor([1.0, None, 3.0, 4.0], "FP32", shape=[2, 2], name="input-0"))
    assert table.to_pylist() == [{"a": 1.0, "b": None}, {"a": 3.0, "b": 4.0}]
    assert table.equals(columns(tensor([[1.0, None], [3.0, 4.0]], shape=[2, 2], name="x")))


def test_a_matrix_may_be_of_whole_numbers_that_floats_hold() -> None:
    table = columns(tensor([1, None, -3, 2**53], "INT64", shape=[2, 2]))
    assert table.to_pylist() == [{"a": 1.0, "b": None}, {"a": -3.0, "b": 2.0**53}]
    for wrong in (2**53 + 1, -(2**53) - 1):
        with pytest.raises(Invalid, match="9007199254740992"):
            columns(tensor([1, wrong], "INT64", shape=[1, 2]))


def test_a_matrix_needs_an_all_float_signature() -> None:
    mixed = Signature((Field("a", "float"), Field("b", "int")))
    with pytest.raises(Invalid, match=r"\[n\] or \[n, 1\]"):
        columns(tensor([1.0, 2.0], shape=[1, 2]), signature=mixed)


@given(
    st.lists(
        st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
        max_size=8,
    )
)
def test_floats_come_through_bit_for_bit(values: list[float | None]) -> None:
    assert columns(tensor(values))["a"].to_pylist() == values


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_invalid(body: bytes) -> None:
    try:
        decode_request(body)
    except Invalid:
        return


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"inputs": []}', b'{"inputs": [{}]}', b"[" * 100_000, b'"\xff"'],
)
def test_a_malformed_body_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_request(body)


def test_nan_in_a_body_is_invalid_and_the_message_offers_null() -> None:
    body = b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [NaN]}]}'
    with pytest.raises(Invalid, match="null, never NaN"):
        decode_request(body)


def test_deep_nesting_inside_data_is_invalid() -> None:
    deep = b"[" * 50_000 + b"]" * 50_000
    body = b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": ' + deep + b"}]}"
    with pytest.raises(Invalid):
        read_columns(decode_request(body), FLOATS)


def test_what_a_client_made_up_costs_neither_time_nor_a_long_answer() -> None:
    """A product of 100,000 large sizes would take a minute, an echo as long as the body."""
    for shape in ([2**62] * 100_000, [2**63]):
        with pytest.raises(Invalid, match="shape"):
            columns({"name": "a", "shape": shape, "datatype": "FP64", "data": []})
    with pytest.raises(Invalid) as caught:
        columns(tensor([1.0], "x" * 100_000, name="y" * 100_000))
    assert len(str(caught.value)) < 2_000


def test_outputs_say_their_type_and_shape() -> None:
    outputs = {
        "label": np.array(["in time", "late"]),
        "probability": np.array([[0.9, 0.1], [0.2, 0.8]]),
    }
    label, probability = output_tensors(outputs)
    assert label == {
        "name": "label",
        "datatype": "BYTES",
        "shape": (2,),
        "data": ["in time", "late"],
    }
    assert probability["shape"] == (2, 2)
    assert probability["data"] == [0.9, 0.1, 0.2, 0.8]
    assert output_metadata(outputs)[1] == {
        "name": "probability",
        "datatype": "FP64",
        "shape": [-1, 2],
    }


@pytest.mark.parametrize(
    ("labels", "datatype"),
    [([1, 0], "INT64"), ([True, False], "BOOL"), (["a", "b"], "BYTES"), ([0.5, 1.0], "FP64")],
)
def test_labels_that_travel_as_objects_keep_their_type(labels: list[Any], datatype: str) -> None:
    found = output_tensors({"label": np.array(labels, dtype=object)})[0]
    assert (found["datatype"], found["data"]) == (datatype, labels)


def test_input_metadata_names_every_kind() -> None:
    kinds = ("float", "int", "bool", "string")
    signature = Signature(tuple(Field(kind, kind) for kind in kinds))  # type: ignore[arg-type]  # the literals above
    types = [each["datatype"] for each in input_metadata(signature)]
    assert types == ["FP64", "INT64", "BOOL", "BYTES"]


def test_the_error_form_has_exactly_one_key() -> None:
    assert json.loads(encode_error('a "quote"')) == {"error": 'a "quote"'}
