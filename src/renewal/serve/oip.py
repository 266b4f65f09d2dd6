"""The Open Inference Protocol, version 2: requests to columns.

Inputs are one tensor for each feature column, of shape [n] or [n, 1], or [n, *shape] for a
tensor column; a model whose inputs are all floats also takes one tensor of shape [n, k] with
its columns in training order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Kind, Signature
from renewal.serve.oip_input import (
    BASE64,
    CONTENT_TYPE,
    MATRIX_RANK,
    NUMBERS,
    WHO,
    Tensor,
    Values,
    Wanted,
    at_least_one,
    bad_tensor,
    column_of,
    floats,
)


class InferRequest(msgspec.Struct):
    """The body of an infer request; keys that the protocol does not know are ignored."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Wanted] | None = None


_DECODER = msgspec.json.Decoder(InferRequest)
_ENCODER = msgspec.json.Encoder()
_DATATYPES: dict[Kind, str] = {
    "float": "FP64",
    "int": "INT64",
    "bool": "BOOL",
    "string": "BYTES",
    "bytes": "BYTES",
    "tensor": "FP32",
}


def decode_json(body: bytes, decoder: msgspec.json.Decoder[Any], *, who: str) -> Any:
    """Decode a JSON body, or raise `Invalid` saying where it is wrong."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            who,
            needs="a JSON body of the documented form",
            came=str(error) if body else "an empty body",
            todo="Fix the body; a missing number is written null, never NaN.",
        ) from error


def decode_request(body: bytes) -> InferRequest:
    """Read an infer request.

    Raises
    ------
    Invalid
        On a body that is no JSON of the protocol's form, or that holds no input.

    Examples
    --------
    >>> body = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.5]}]}'
    >>> decode_request(body).inputs[0].name
    'x'
    """
    request: InferRequest = decode_json(body, _DECODER, who=WHO)
    if not request.inputs:
        raise Invalid(
            WHO, needs="at least one input", came="none", todo="Send the feature columns."
        )
    return request


def read_columns(
    request: InferRequest, signature: Signature, values: Sequence[Values | None] | None = None
) -> pa.Table:
    """Turn the input tensors into a table of named columns; its schema is not checked yet.

    Parameters
    ----------
    request : InferRequest
        Decoded, its tensors raw.
    signature : Signature
        Names the columns of a single matrix, and says which are tensors or bytes.
    values : sequence of (array or list of bytes or None), or None
        The cells of each input that did not come as JSON.

    Returns
    -------
    pyarrow.Table
        At least one row, columns in the order of the request.

    Raises
    ------
    Invalid
        On an unknown datatype, data that differ from their datatype or shape, a column
        sent twice, or columns of different length.

    Notes
    -----
    About 2 microseconds a column and 30 nanoseconds a value; 0.2 ms for a tensor of 3,072.
    """
    there = values or [None] * len(request.inputs)
    if _is_matrix(request.inputs, signature):
        return _matrix(request.inputs[0], signature, there[0])
    fields = {field.name: field for field in signature.fields}
    first = request.inputs[0]
    is_wide = len(first.shape) == MATRIX_RANK and first.shape[1] != 1
    if is_wide and len(request.inputs) == 1 and first.name not in fields:
        raise _no_matrix(first, signature)
    table: dict[str, pa.Array] = {}
    n_rows: int | None = None
    for tensor, given in zip(request.inputs, there, strict=True):
        array = column_of(tensor, fields.get(tensor.name), given)
        if tensor.name in table:
            raise bad_tensor(tensor, "a name of its own for each input", "it twice")
        if n_rows is not None and len(array) != n_rows:
            raise bad_tensor(tensor, f"{n_rows} rows like the inputs before", f"{len(array)}")
        n_rows = len(array)
        table[tensor.name] = array
    return pa.table(table)


def encode(value: Any) -> bytes:
    """Write a value as JSON."""
    return _ENCODER.encode(value)


def encode_error(message: str) -> bytes:
    """Write the protocol's error form, which is exactly one key.

    Examples
    --------
    >>> encode_error("no such model")
    b'{"error":"no such model"}'
    """
    return _ENCODER.encode({"error": message})


def input_metadata(signature: Signature) -> list[dict[str, Any]]:
    """Describe the inputs of a model as the protocol does; -1 is the number of rows.

    Examples
    --------
    >>> from renewal.core.spec import Field
    >>> input_metadata(Signature((Field("pixels", "tensor", shape=(3, 32, 32)),)))
    [{'name': 'pixels', 'datatype': 'FP32', 'shape': [-1, 3, 32, 32]}]
    """
    return [
        {"name": field.name, "datatype": _DATATYPES[field.kind], "shape": [-1, *field.shape]}
        | ({"parameters": {CONTENT_TYPE: BASE64}} if field.kind == "bytes" else {})
        for field in signature.fields
    ]


def _is_matrix(inputs: Sequence[Tensor], signature: Signature) -> bool:
    first = inputs[0]
    return (
        len(inputs) == 1
        and len(first.shape) == MATRIX_RANK
        and first.datatype in NUMBERS
        and first.shape[1] == len(signature.fields)
        and all(field.kind == "float" for field in signature.fields)
    )


def _no_matrix(tensor: Tensor, signature: Signature) -> Invalid:
    """Return the error of a single input that is neither a column nor a matrix of all of them."""
    n_columns = len(signature.fields)
    if any(field.kind != "float" for field in signature.fields):
        return bad_tensor(tensor, "the name of a column: not all are numbers", "another name")
    if tensor.datatype not in NUMBERS:
        needs = f"a datatype of numbers, such as FP64, for a matrix of {n_columns} columns"
        return bad_tensor(tensor, needs, repr(tensor.datatype))
    needs = f"shape [n, {n_columns}], all columns of the model in order"
    return bad_tensor(tensor, needs, f"shape {tensor.shape}")


def _matrix(tensor: Tensor, signature: Signature, given: Values | None) -> pa.Table:
    n_rows, n_columns = tensor.shape
    at_least_one(tensor, n_rows)
    values = floats(tensor, given).reshape(n_rows, n_columns)
    # from_pandas: a null became NaN in the matrix and is a null again in its column.
    columns = [pa.array(values[:, at], from_pandas=True) for at in range(n_columns)]
    return pa.table(columns, names=list(signature.names))
