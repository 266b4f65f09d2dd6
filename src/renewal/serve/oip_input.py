"""One input of the protocol, read as its datatype, its shape and the model's column say.

JSON has no bytes, and version 2 does not say how to write them. Here a bytes column is a BYTES
tensor of base64 texts, as MLServer writes them with ``"content_type": "base64"``; the
parameter may be left out, for the model's signature says the same.
"""

from __future__ import annotations

from base64 import b64decode
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Field
from renewal.data.tensor_values import arrow_tensors

WHO = "infer"
MATRIX_RANK = 2
CONTENT_TYPE = "content_type"
BASE64 = "base64"


class Tensor(msgspec.Struct):
    """An input tensor; `data` stays raw until its datatype says how to read it."""

    name: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] | None = None


# BYTES of JSON are text; 16 and 32 bit floats are read as they are written, in 64 bits.
FLOATS = frozenset({"FP16", "FP32", "FP64"})


def _whole(low: int, high: int) -> Any:
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


_CELLS: dict[str, tuple[Any, pa.DataType]] = {
    "BOOL": (bool, pa.bool_()),
    "BYTES": (str, pa.string()),
    **{name: (float, pa.float64()) for name in FLOATS},
    **{f"INT{n}": (_whole(-(2 ** (n - 1)), 2 ** (n - 1) - 1), pa.int64()) for n in (8, 16, 32, 64)},
    **{f"UINT{n}": (_whole(0, min(2**n, 2**63) - 1), pa.int64()) for n in (8, 16, 32, 64)},
}


@lru_cache(maxsize=128)
def _decoder(datatype: str, depth: int, *, nulls: bool = True) -> msgspec.json.Decoder[list[Any]]:
    """Return the decoder of lists, `depth` deep, of cells of a datatype, or of null."""
    cell = _CELLS[datatype][0]
    kind: Any = cell | None if nulls else cell
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(kind)


def column_of(tensor: Tensor, field: Field | None) -> pa.Array:
    """Return an input as a column of at least one row.

    Parameters
    ----------
    tensor : Tensor
        As it came.
    field : Field or None
        The column of this name in the model's signature; None: it has none.

    Raises
    ------
    Invalid
        On data that differ from their datatype, shape or column.
    """
    if field is not None and field.kind == "tensor":
        return _tensors(tensor, field)
    if field is not None and field.kind == "bytes":
        return _bytes(tensor)
    found = cells(tensor, _column_rows(tensor))
    return pa.array(found, _CELLS[tensor.datatype][1])


def cells(tensor: Tensor, n_cells: int) -> list[Any]:
    """Read the data of a tensor, flat or nested once, as their datatype says."""
    _check_data(tensor)
    found = _flat_cells(tensor, tensor.data)
    if len(found) != n_cells:
        raise bad_tensor(tensor, f"{n_cells} values for shape {tensor.shape}", f"{len(found)}")
    return found


def at_least_one(tensor: Tensor, n_rows: int) -> int:
    """Return the number of rows; refuse none."""
    if n_rows < 1:
        raise bad_tensor(tensor, "at least one row", f"shape {tensor.shape}")
    return n_rows


def bad_tensor(tensor: Tensor, needs: str, came: str) -> Invalid:
    """Return the error about an input."""
    return Invalid(
        WHO,
        needs=f"for input {tensor.name!r} {needs}",
        came=came,
        todo="Send one tensor for each column of GET /v2/models/NAME.",
    )


def _check_data(tensor: Tensor) -> None:
    if tensor.datatype not in _CELLS:
        raise bad_tensor(tensor, f"a datatype among {', '.join(_CELLS)}", repr(tensor.datatype))
    if not bytes(tensor.data):
        raise bad_tensor(tensor, "`data` in JSON", "none (binary tensors are not offered)")


def _column_rows(tensor: Tensor) -> int:
    shape = tensor.shape
    if not (len(shape) == 1 or (len(shape) == MATRIX_RANK and shape[1] == 1)):
        raise bad_tensor(tensor, "shape [n] or [n, 1]", f"shape {shape}")
    return at_least_one(tensor, shape[0])


def _flat_cells(tensor: Tensor, data: msgspec.Raw) -> list[Any]:
    try:
        return _decoder(tensor.datatype, 1).decode(data)
    except msgspec.ValidationError as error:
        if len(tensor.shape) == MATRIX_RANK:
            rows = _nested_cells(tensor, data)
            if rows is not None:
                return rows
        raise bad_tensor(tensor, f"{tensor.datatype} values", str(error)) from error


def _nested_cells(tensor: Tensor, data: msgspec.Raw) -> list[Any] | None:
    try:
        rows = _decoder(tensor.datatype, 2).decode(data)
    except msgspec.ValidationError:
        return None  # the message about the flat form says what is wrong
    if any(len(row) != tensor.shape[1] for row in rows):
        raise bad_tensor(tensor, f"rows of {tensor.shape[1]} values", "rows of other lengths")
    return [cell for row in rows for cell in row]


def _tensors(tensor: Tensor, field: Field) -> pa.Array:
    """Read a tensor column, flat or nested as deep as its shape; it has no nulls."""
    needed = [-1, *field.shape]
    if len(tensor.shape) != len(needed) or tensor.shape[1:] != needed[1:]:
        raise bad_tensor(tensor, f"shape {needed}", f"shape {tensor.shape}")
    at_least_one(tensor, tensor.shape[0])
    _check_data(tensor)
    if tensor.datatype == "BYTES":
        raise bad_tensor(tensor, "numbers, best FP32", "BYTES")
    try:
        values = np.array(_values(tensor, len(needed)))
    except ValueError:  # nested lists of unequal length
        raise bad_tensor(
            tensor, f"lists of shape {tensor.shape}", "lists of other lengths"
        ) from None
    if list(values.shape) not in (tensor.shape, [int(np.prod(tensor.shape))]):
        came = f"values of shape {list(values.shape)}"
        raise bad_tensor(tensor, f"values for shape {tensor.shape}", came)
    return arrow_tensors(values.reshape(tensor.shape), tensor.name, who=WHO)


def _values(tensor: Tensor, depth: int) -> list[Any]:
    try:
        return _decoder(tensor.datatype, 1, nulls=False).decode(tensor.data)
    except msgspec.ValidationError as flat:
        try:
            return _decoder(tensor.datatype, depth, nulls=False).decode(tensor.data)
        except msgspec.ValidationError as error:
            # The deeper of the two got further, so it knows better what is wrong.
            best = max(str(flat), str(error), key=len)
            raise bad_tensor(tensor, f"{tensor.datatype} values", best) from error


def _bytes(tensor: Tensor) -> pa.Array:
    content_type = (tensor.parameters or {}).get(CONTENT_TYPE, BASE64)
    if tensor.datatype != "BYTES" or content_type != BASE64:
        came = f"{tensor.datatype} of content type {content_type!r}"
        raise bad_tensor(tensor, "BYTES as base64 texts, for JSON has no bytes", came)
    found = cells(tensor, _column_rows(tensor))
    return pa.array([_decoded(tensor, at, text) for at, text in enumerate(found)], pa.binary())


def _decoded(tensor: Tensor, at: int, text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one
        came = f"in row {at} a text that is none: {error}"
        raise bad_tensor(tensor, "base64 texts (RFC 4648, with '+', '/' and '=')", came) from error
