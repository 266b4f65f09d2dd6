"""Inputs that hold more than a number a row: tensors and bytes, in the JSON of the protocol."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.data.frame import conform
from renewal.serve.oip import decode_request, input_metadata, read_columns

SIGNATURE = Signature((Field("pixels", "tensor", shape=(2, 3)), Field("image", "bytes")))
VALUES = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
IMAGES = [b"\xff\xd8\x00", None]


def pixels(data: Any = None, **more: Any) -> dict[str, Any]:
    data = VALUES.ravel().tolist() if data is None else data
    return {"name": "pixels", "shape": [2, 2, 3], "datatype": "FP32", "data": data, **more}


def image(data: Any = None, **more: Any) -> dict[str, Any]:
    texts = [None if each is None else b64encode(each).decode() for each in IMAGES]
    data = texts if data is None else data
    return {"name": "image", "shape": [2], "datatype": "BYTES", "data": data, **more}


def read(*inputs: dict[str, Any]) -> pa.Table:
    body = json.dumps({"inputs": inputs}).encode()
    return conform(read_columns(decode_request(body), SIGNATURE), SIGNATURE, who="test")


@pytest.mark.parametrize(
    "form",
    [
        pixels(),
        pixels(VALUES.tolist()),
        pixels(datatype="FP64"),
        pixels(VALUES.astype(int).tolist(), datatype="UINT8"),
        pixels(VALUES.astype(int).ravel().tolist(), datatype="INT64"),
    ],
)
def test_a_tensor_is_flat_or_as_deep_as_its_shape(form: dict[str, Any]) -> None:
    """Breaks when rows and columns of a nested tensor are mixed up."""
    found = read(form, image())
    assert np.array_equal(found.column("pixels").combine_chunks().flatten(), VALUES.ravel())
    assert found.column("image").to_pylist() == IMAGES


def test_truth_values_make_a_tensor_of_ones_and_zeros() -> None:
    found = read(pixels((VALUES > 5).tolist(), datatype="BOOL"), image())
    assert np.array_equal(found.column("pixels").combine_chunks().flatten(), (VALUES > 5).ravel())


def test_the_content_type_of_base64_may_be_said() -> None:
    for parameters in ({"content_type": "base64"}, {"other": 1}, None):
        assert read(pixels(), image(parameters=parameters)).column("image").to_pylist() == IMAGES


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (pixels(shape=[2, 3, 2]), r"shape \[-1, 2, 3\].*\[2, 3, 2\]"),
        (pixels(shape=[2, 6]), r"\[2, 6\]"),
        (pixels(shape=[12]), r"\[12\]"),
        (pixels([], shape=[0, 2, 3]), "at least one row"),
        (pixels(VALUES.ravel().tolist()[:-1]), "11"),
        (pixels(VALUES.transpose(0, 2, 1).tolist()), r"\[2, 3, 2\]"),
        (pixels([[[1.0, 2.0, 3.0], [1.0, 2.0]], [[1.0] * 3] * 2]), "other lengths"),
        (pixels([*[1.0] * 11, None]), "FP32 values"),
        (pixels([*[1.0] * 11, "x"]), "FP32 values"),
        (pixels([1.5] * 12, datatype="INT8"), "INT8 values"),
        (pixels(["a"] * 12, datatype="BYTES"), "numbers"),
        (pixels(datatype="COMPLEX"), "COMPLEX"),
        (pixels([1e300] * 12, datatype="FP64"), "float32"),
        (pixels([2**24 + 1] * 12, datatype="INT64"), "16777216"),
    ],
)
def test_a_tensor_of_another_shape_is_refused_by_name(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        read(wrong, image())
    assert "'pixels'" in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (image(["é", None]), "row 0"),
        (image([None, "AAA"]), "row 1"),
        (image(["-_8=", None]), "row 0"),
        (image([1, 2], datatype="INT64"), "base64"),
        (image(parameters={"content_type": "str"}), "'str'"),
        (image([[1]]), "BYTES values"),
        (image(["AA==", "AA=="], shape=[2, 2]), r"\[n\]"),
    ],
)
def test_what_is_no_base64_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        read(pixels(), wrong)
    assert "'image'" in str(caught.value)


@given(st.lists(st.none() | st.binary(max_size=20), min_size=1, max_size=5))
def test_any_bytes_pass_through_json(values: list[bytes | None]) -> None:
    body = image([None if each is None else b64encode(each).decode() for each in values])
    body["shape"] = [len(values)]
    request = decode_request(json.dumps({"inputs": [body]}).encode())
    assert read_columns(request, SIGNATURE).column("image").to_pylist() == values


def test_metadata_says_how_to_send_them() -> None:
    assert input_metadata(SIGNATURE) == [
        {"name": "pixels", "datatype": "FP32", "shape": [-1, 2, 3]},
        {
            "name": "image",
            "datatype": "BYTES",
            "shape": [-1],
            "parameters": {"content_type": "base64"},
        },
    ]
