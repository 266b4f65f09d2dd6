"""Messages to cells and outcomes to messages, without a server."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid, RenewalError
from renewal.core.spec import Field, Kind, Signature
from renewal.serve.grpc_codec import (
    ModelInferRequest,
    infer_request,
    infer_response,
    parse,
)
from renewal.serve.oip_input import Wanted
from renewal.serve.oip_rows import OipRows
from renewal.serve.outcome import Outcome

# Each datatype as bytes, as values, and in which typed field they lie.
CASES: list[tuple[str, bytes, list[Any], str]] = [
    ("BOOL", bytes([0, 1]), [False, True], "bool_contents"),
    ("INT8", struct.pack("<2b", -128, 127), [-128, 127], "int_contents"),
    ("INT16", struct.pack("<2h", -2, 300), [-2, 300], "int_contents"),
    ("INT32", struct.pack("<2i", -2, 70_000), [-2, 70_000], "int_contents"),
    ("INT64", struct.pack("<2q", -2, 2**40), [-2, 2**40], "int64_contents"),
    ("UINT8", bytes([0, 255]), [0, 255], "uint_contents"),
    ("UINT16", struct.pack("<2H", 0, 65_535), [0, 65_535], "uint_contents"),
    ("UINT32", struct.pack("<2I", 0, 2**32 - 1), [0, 2**32 - 1], "uint_contents"),
    ("UINT64", struct.pack("<2Q", 0, 2**63 - 1), [0, 2**63 - 1], "uint64_contents"),
    ("FP32", struct.pack("<2f", 0.5, -1.25), [0.5, -1.25], "fp32_contents"),
    ("FP64", struct.pack("<2d", 0.1, -1e300), [0.1, -1e300], "fp64_contents"),
    ("BYTES", b"\x02\x00\x00\x00hi\x00\x00\x00\x00", [b"hi", b""], "bytes_contents"),
    ("FP16", struct.pack("<2e", 0.5, -1.25), [0.5, -1.25], ""),
    ("BF16", bytes([0x00, 0x3F, 0xA0, 0xBF]), [0.5, -1.25], ""),
]
BOTH = Signature((Field("a", "float"), Field("b", "float")))


def message_of(datatype: str, shape: list[int], raw: bytes | None = None, **typed: Any) -> Any:
    message = ModelInferRequest(model_name="flights")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=shape)
    if raw is not None:
        message.raw_input_contents.append(raw)
    for field, values in typed.items():
        getattr(tensor.contents, field).extend(values)
    return message


@pytest.mark.parametrize(("datatype", "raw", "values", "field"), CASES)
def test_typed_and_raw_contents_are_the_same_values(
    datatype: str, raw: bytes, values: list[Any], field: str
) -> None:
    """Breaks when a datatype is read from another field, or at another width."""
    assert list(infer_request(message_of(datatype, [2], raw))[1][0]) == values
    if field:
        typed = infer_request(message_of(datatype, [2], None, **{field: values}))
        assert list(typed[1][0]) == values
    else:
        with pytest.raises(Invalid, match="raw_input_contents"):
            infer_request(message_of(datatype, [2], fp32_contents=[1.0, 2.0]))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (ModelInferRequest(), "at least one input"),
        (message_of("FP32", [2], b"1234"), "8 bytes"),
        (message_of("FP32", [1, 2], fp32_contents=[1.0]), "2 values in fp32_contents"),
        (message_of("FP32", [1], fp64_contents=[1.0]), "1 values in fp32_contents"),
        (message_of("INT8", [1], int_contents=[300]), "INT8"),
        (message_of("FP32", [-1], b""), "sizes from 0"),
        (message_of("FP32", [2**62, 2**62], b""), "sizes from 0"),
        (message_of("FP32", [0] * 40, b""), "at most 32"),
        (message_of("COMPLEX", [1], b"1234"), "datatype"),
        (message_of("COMPLEX", [1]), "typed contents"),
        (message_of("FP32", [1], b"1234", fp32_contents=[1.0]), "either typed or raw"),
        (message_of("BYTES", [2], b"\x02\x00\x00\x00hi\xff\x00\x00\x00"), "255 bytes"),
        (message_of("BYTES", [2**31 - 1], b"\x00\x00\x00\x00"), "cells"),
    ],
)
def test_what_does_not_go_together_is_refused(message: Any, said: str) -> None:
    """Breaks when a wrong size is believed: memory is made for it, or other numbers are read."""
    with pytest.raises(Invalid, match=said):
        infer_request(message)


def test_raw_contents_are_one_for_each_input() -> None:
    message = message_of("FP32", [1], b"1234")
    message.raw_input_contents.append(b"1234")
    with pytest.raises(Invalid, match="one element of raw_input_contents for each"):
        infer_request(message)


def test_shared_memory_is_refused_by_name() -> None:
    """Breaks when the region's name is ignored and the tensor is said to lack its bytes."""
    message = message_of("FP32", [1], b"1234")
    message.inputs[0].parameters["shared_memory_region"].string_param = "mine"
    with pytest.raises(Invalid, match="shared memory"):
        infer_request(message)
    message = message_of("FP32", [1], b"1234")
    message.outputs.add(name="y").parameters["shared_memory_region"].string_param = "mine"
    with pytest.raises(Invalid, match="shared memory"):
        infer_request(message)


def test_parameters_are_plain_values() -> None:
    message = message_of("FP32", [1], b"1234")
    message.parameters["key"].string_param = "A"
    message.parameters["n"].int64_param = -3
    message.parameters["yes"].bool_param = True
    message.parameters["share"].double_param = 0.5
    message.parameters["empty"].ClearField("string_param")
    assert infer_request(message)[0].parameters == {"key": "A", "n": -3, "yes": True, "share": 0.5}


@pytest.mark.parametrize("is_raw", [True, False])
def test_all_floats_become_a_matrix(is_raw: bool) -> None:  # noqa: FBT001  # a case
    """Breaks when rows of numbers take the way through Arrow, which costs more than a model."""
    rows = np.array([[1.0, np.nan], [3.0, 4.0]])
    if is_raw:
        message = message_of("FP64", [2, 2], rows.tobytes())
    else:
        message = message_of("FP64", [2, 2], fp64_contents=rows.ravel())
    request, values = infer_request(message)
    matrix = OipRows(request, b"", values).read(BOTH, frozenset("ab")).matrix
    assert matrix is not None
    assert np.array_equal(matrix, rows, equal_nan=True)


@pytest.mark.parametrize("kind", ["float", "int"])
@pytest.mark.parametrize(
    ("datatype", "raw"),
    [("FP32", b"\x01\x00\x80\x7f"), ("FP16", b"\x01\x7c"), ("BF16", b"\x81\x7f")],
)
def test_a_signalling_nan_is_a_gap(datatype: str, raw: bytes, kind: Kind) -> None:
    """Breaks when widening it warns, which is an error here and noise in every log."""
    message = ModelInferRequest()
    for name in "ab":
        message.inputs.add(name=name, datatype=datatype, shape=[1])
        message.raw_input_contents.append(raw)
    request, values = infer_request(message)
    signature = Signature((Field("a", "float"), Field("b", kind)))
    features = OipRows(request, b"", values).read(signature, frozenset("ab"))
    assert features.table().to_pylist() == [{"a": None, "b": None}]


def outcome(**outputs: Any) -> Outcome:
    arrays = {name: np.asarray(values) for name, values in outputs.items()}
    return Outcome("m", "v3", "3", "champion", "P", "R", arrays, ("no", "yes"), 2)


def test_an_answer_is_typed_or_raw_as_a_whole() -> None:
    """Breaks when some outputs are raw and others not: clients count raw ones from the front."""
    answer = outcome(
        label=np.array(["no", "yes"], object), probability=[[0.75, 0.25], [0.5, 0.5]], n=[1, 2]
    )
    typed = infer_response(answer)
    assert [each.datatype for each in typed.outputs] == ["BYTES", "FP64", "INT64"]
    assert list(typed.outputs[0].contents.bytes_contents) == [b"no", b"yes"]
    assert list(typed.outputs[1].shape) == [2, 2]
    assert list(typed.outputs[1].contents.fp64_contents) == [0.75, 0.25, 0.5, 0.5]
    assert list(typed.outputs[2].contents.int64_contents) == [1, 2]
    assert not typed.raw_output_contents
    assert (typed.model_name, typed.model_version, typed.id) == ("m", "3", "R")
    assert typed.parameters["prediction_id"].string_param == "P"
    assert typed.parameters["arm"].string_param == "champion"

    raw = infer_response(answer, is_raw=True)
    assert [bool(each.contents.ByteSize()) for each in raw.outputs] == [False] * 3
    assert raw.raw_output_contents[0] == b"\x02\x00\x00\x00no\x03\x00\x00\x00yes"
    assert np.frombuffer(raw.raw_output_contents[1]).tolist() == [0.75, 0.25, 0.5, 0.5]
    # One that is wanted binary makes all raw.
    assert infer_response(answer, [Wanted("n", {"binary_data": True})]).raw_output_contents


def test_labels_that_are_numbers_are_numbers() -> None:
    """Breaks when labels, which travel as objects, are all written as texts."""
    answer = infer_response(outcome(label=np.array([1, 0], object), ok=[True, False]))
    assert list(answer.outputs[0].contents.int64_contents) == [1, 0]
    assert list(answer.outputs[1].contents.bool_contents) == [True, False]


def test_classification_is_answered_as_texts() -> None:
    answer = infer_response(
        outcome(probability=[[0.75, 0.25], [0.25, 0.75]]),
        [Wanted("probability", {"classification": 1})],
    )
    assert list(answer.outputs[0].contents.bytes_contents) == [b"0.750000:0:no", b"0.750000:1:yes"]


@given(st.binary(max_size=200))
def test_whatever_bytes_come_the_error_is_ours(data: bytes) -> None:
    """Breaks when a parser's own exception gets out: the client would be told INTERNAL."""
    with pytest.raises(RenewalError):
        infer_request(parse(data, ModelInferRequest))


@given(
    st.sampled_from([*(case[0] for case in CASES), "FP8", ""]),
    st.lists(st.integers(-1, 5), max_size=4),
    st.one_of(st.none(), st.binary(max_size=64)),
    st.lists(st.floats(width=32), max_size=6),
)
def test_whatever_a_message_says_it_is_read_or_refused(
    datatype: str, shape: list[int], raw: bytes | None, typed: list[float]
) -> None:
    """Breaks on any exception but ours, and on values that are not as many as the shape says."""
    message = message_of(datatype, shape, raw, fp32_contents=typed)
    try:
        request, values = infer_request(message)
        features = OipRows(request, b"", values).read(BOTH, frozenset("ab"))
    except RenewalError:
        return
    assert features.n_rows == shape[0]
