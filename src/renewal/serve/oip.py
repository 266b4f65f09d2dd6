"""The Open Inference Protocol, version 2, in JSON: requests to columns, outputs to responses.

Inputs are one tensor for each feature column, of shape [n] or [n, 1]; a model whose inputs
are all floats also takes one tensor of shape [n, k] with its columns in training order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Kind, Signature

WHO = "infer"
_MATRIX_RANK = 2


class Tensor(msgspec.Struct):
    """An input tensor; `data` stays raw until its datatype says how to read it."""

    name: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()


class Wanted(msgspec.Struct):
    """An output that the client asks for by name."""

    name: str


class InferRequest(msgspec.Struct):
    """The body of an infer request; keys that the protocol does not know are ignored."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Wanted] | None = None


_DECODER = msgspec.json.Decoder(InferRequest)
_ENCODER = msgspec.json.Encoder()
# BYTES of JSON are text; 16 and 32 bit floats are read as they are written, in 64 bits.
_FLOATS = frozenset({"FP16", "FP32", "FP64"})
_DATATYPES: dict[Kind, str] = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES"}


def _whole(low: int, high: int) -> Any:
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


_CELLS: dict[str, tuple[Any, pa.DataType]] = {
    "BOOL": (bool, pa.bool_()),
    "BYTES": (str, pa.string()),
    **{name: (float, pa.float64()) for name in _FLOATS},
    **{f"INT{n}": (_whole(-(2 ** (n - 1)), 2 ** (n - 1) - 1), pa.int64()) for n in (8, 16, 32, 64)},
    **{f"UINT{n}": (_whole(0, min(2**n, 2**63) - 1), pa.int64()) for n in (8, 16, 32, 64)},
}


def _decoder(cell: Any, depth: int) -> msgspec.json.Decoder[list[Any]]:
    """Return the decoder of lists, `depth` deep, of a cell or null."""
    kind: Any = cell | None
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(kind)


_FLAT = {name: _decoder(cell, 1) for name, (cell, _) in _CELLS.items()}
_NESTED = {name: _decoder(cell, 2) for name, (cell, _) in _CELLS.items()}


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


def read_columns(request: InferRequest, signature: Signature) -> pa.Table:
    """Turn the input tensors into a table of named columns; its schema is not checked yet.

    Parameters
    ----------
    request : InferRequest
        Decoded, its tensors raw.
    signature : Signature
        Names the columns of a single matrix.

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
    About 2 microseconds a column and 30 nanoseconds a value.
    """
    if _is_matrix(request.inputs, signature):
        return _matrix(request.inputs[0], signature)
    table: dict[str, pa.Array] = {}
    n_rows: int | None = None
    for tensor in request.inputs:
        array = pa.array(_cells(tensor, _column_rows(tensor)), _CELLS[tensor.datatype][1])
        if tensor.name in table:
            raise _bad_tensor(tensor, "a name of its own for each input", "it twice")
        if n_rows is not None and len(array) != n_rows:
            raise _bad_tensor(tensor, f"{n_rows} rows like the inputs before", f"{len(array)}")
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


def output_tensors(
    outputs: Mapping[str, np.ndarray[Any, Any]], wanted: Sequence[Wanted] | None
) -> list[dict[str, Any]]:
    """Write named arrays as the protocol's output tensors, only the wanted ones.

    Parameters
    ----------
    outputs : mapping of str to array
        Each of shape (n,) or (n, k).
    wanted : sequence of Wanted or None
        What the client asked for; None or nothing: all.

    Returns
    -------
    list of dict
        In the order of `wanted`, or of `outputs`.

    Raises
    ------
    Invalid
        When an output is wanted that the model does not have.
    """
    names: Iterable[str] = [each.name for each in wanted] if wanted else outputs
    for name in names:
        if name not in outputs:
            raise Invalid(
                WHO,
                needs=f"outputs among {', '.join(outputs)}",
                came=repr(name),
                todo="Ask for one of these, or leave `outputs` out for all.",
            )
    return [_output(name, outputs[name]) for name in names]


def input_metadata(signature: Signature) -> list[dict[str, Any]]:
    """Describe the inputs of a model as the protocol does; -1 is the number of rows."""
    return [
        {"name": field.name, "datatype": _DATATYPES[field.kind], "shape": [-1]}
        for field in signature.fields
    ]


def output_metadata(outputs: Mapping[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    """Describe the outputs of a model from an example of them."""
    return [
        {"name": name, "datatype": _datatype(array), "shape": [-1, *array.shape[1:]]}
        for name, array in outputs.items()
    ]


def _is_matrix(inputs: Sequence[Tensor], signature: Signature) -> bool:
    first = inputs[0]
    return (
        len(inputs) == 1
        and len(first.shape) == _MATRIX_RANK
        and first.datatype in _FLOATS
        and first.shape[1] == len(signature.fields)
        and all(field.kind == "float" for field in signature.fields)
    )


def _matrix(tensor: Tensor, signature: Signature) -> pa.Table:
    n_rows, n_columns = tensor.shape
    _at_least_one(tensor, n_rows)
    flat = pa.array(_cells(tensor, n_rows * n_columns), pa.float64())
    values = flat.to_numpy(zero_copy_only=False).reshape(n_rows, n_columns)
    # from_pandas: a null became NaN in the matrix and is a null again in its column.
    columns = [pa.array(values[:, at], from_pandas=True) for at in range(n_columns)]
    return pa.table(columns, names=list(signature.names))


def _column_rows(tensor: Tensor) -> int:
    shape = tensor.shape
    if not (len(shape) == 1 or (len(shape) == _MATRIX_RANK and shape[1] == 1)):
        raise _bad_tensor(tensor, "shape [n] or [n, 1]", f"shape {shape}")
    return _at_least_one(tensor, shape[0])


def _at_least_one(tensor: Tensor, n_rows: int) -> int:
    if n_rows < 1:
        raise _bad_tensor(tensor, "at least one row", f"shape {tensor.shape}")
    return n_rows


def _cells(tensor: Tensor, n_cells: int) -> list[Any]:
    """Read the data of a tensor, flat or nested once, as their datatype says."""
    if tensor.datatype not in _CELLS:
        raise _bad_tensor(tensor, f"a datatype among {', '.join(_CELLS)}", repr(tensor.datatype))
    if not bytes(tensor.data):
        raise _bad_tensor(tensor, "`data` in JSON", "none (binary tensors are not offered)")
    cells = _flat_cells(tensor, tensor.data)
    if len(cells) != n_cells:
        raise _bad_tensor(tensor, f"{n_cells} values for shape {tensor.shape}", f"{len(cells)}")
    return cells


def _flat_cells(tensor: Tensor, data: msgspec.Raw) -> list[Any]:
    try:
        return _FLAT[tensor.datatype].decode(data)
    except msgspec.ValidationError as error:
        if len(tensor.shape) == _MATRIX_RANK:
            rows = _nested_cells(tensor, data)
            if rows is not None:
                return rows
        raise _bad_tensor(tensor, f"{tensor.datatype} values", str(error)) from error


def _nested_cells(tensor: Tensor, data: msgspec.Raw) -> list[Any] | None:
    try:
        rows = _NESTED[tensor.datatype].decode(data)
    except msgspec.ValidationError:
        return None  # the message about the flat form says what is wrong
    if any(len(row) != tensor.shape[1] for row in rows):
        raise _bad_tensor(tensor, f"rows of {tensor.shape[1]} values", "rows of other lengths")
    return [cell for row in rows for cell in row]


def _output(name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": _datatype(array),
        "shape": list(array.shape),
        "data": array.ravel().tolist(),
    }


def _datatype(array: np.ndarray[Any, Any]) -> str:
    kind = array.dtype.kind
    if kind == "O" and array.size:
        # Labels travel as objects; their own type says what they are.
        kind = np.asarray(array.ravel()[:1].tolist()).dtype.kind
    return {"f": "FP64", "i": "INT64", "u": "INT64", "b": "BOOL"}.get(kind, "BYTES")


def _bad_tensor(tensor: Tensor, needs: str, came: str) -> Invalid:
    return Invalid(
        WHO,
        needs=f"for input {tensor.name!r} {needs}",
        came=came,
        todo="Send one tensor for each column of GET /v2/models/NAME.",
    )
