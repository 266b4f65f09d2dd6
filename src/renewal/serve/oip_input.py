"""One input of the protocol, read as its datatype, its shape and the model's column say.

JSON has no bytes, and version 2 does not say how to write them. Here a bytes column is a BYTES
tensor of base64 texts, as MLServer writes them with ``"content_type": "base64"``; the
parameter may be left out, for the model's signature says the same. Binary tensors hold the
bytes themselves, unless that parameter says otherwise.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from functools import lru_cache
from math import prod
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


Values = np.ndarray[Any, Any] | list[bytes]
"""The cells of a tensor that did not come as JSON, flat and in row-major order: numbers, truth
values, or for BYTES the bytes of each."""


class Wanted(msgspec.Struct):
    """An output that the client asks for by name, and how it wants it."""

    name: str
    parameters: dict[str, Any] | None = None


class Tensor(msgspec.Struct):
    """An input tensor; `data` stays raw until its datatype says how to read it."""

    name: str
    # Bounded: a product of a million large numbers would take minutes.
    shape: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=2**62)]], msgspec.Meta(max_length=32)
    ]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] | None = None


_MOST_QUOTED = 400
_LAST_INT = 2**63 - 1
LAST_EXACT = 2**53
"""The largest whole number up to which a float of 64 bits holds every one."""
# BYTES of JSON are text; 16 and 32 bit floats are read as they are written, in 64 bits.
FLOATS = frozenset({"FP16", "FP32", "FP64"})
NUMBERS = FLOATS | {"BF16"} | {f"{kind}{n}" for kind in ("INT", "UINT") for n in (8, 16, 32, 64)}


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


def column_of(tensor: Tensor, field: Field | None, values: Values | None = None) -> pa.Array:
    """Return an input as a column of at least one row.

    Parameters
    ----------
    tensor : Tensor
        As it came.
    field : Field or None
        The column of this name in the model's signature; None: it has none.
    values : array or list of bytes, or None, default None
        Its cells, one for each of its shape; None: they are JSON, in its `data`.

    Raises
    ------
    Invalid
        On data that differ from their datatype, shape or column.

    Examples
    --------
    >>> column_of(Tensor("x", [2], "FP32"), None, np.array([1.5, np.nan])).to_pylist()
    [1.5, None]
    """
    if field is not None and field.kind == "tensor":
        return _tensors(tensor, field, values)
    if field is not None and field.kind == "bytes":
        return _bytes(tensor, values)
    n_rows = _column_rows(tensor)
    if values is None:
        return pa.array(cells(tensor, n_rows), _CELLS[tensor.datatype][1])
    return _arrow(tensor, values)


def cells(tensor: Tensor, n_cells: int) -> list[Any]:
    """Read the data of a tensor, flat or nested once, as their datatype says."""
    _check_data(tensor)
    found = _flat_cells(tensor, tensor.data)
    if len(found) != n_cells:
        raise bad_tensor(tensor, f"{n_cells} values for shape {tensor.shape}", f"{len(found)}")
    return found


def floats(tensor: Tensor, values: Values | None) -> np.ndarray[Any, Any]:
    """Return the cells of a tensor of numbers as floats of 64 bits, flat; null is NaN.

    Raises
    ------
    Invalid
        On whole numbers that such a float does not hold.
    """
    if values is None:
        found = cells(tensor, prod(tensor.shape))
        exceeds = tensor.datatype not in FLOATS and any(
            cell is not None and abs(cell) > LAST_EXACT for cell in found
        )
        values = np.array(found, np.float64)
    else:
        exceeds = not is_exact(values)
    if exceeds:
        raise bad_tensor(tensor, f"whole numbers up to {LAST_EXACT}", "larger ones")
    return np.asarray(values, np.float64)


def is_exact(values: Values) -> bool:
    """Say whether cells are numbers that a float of 64 bits holds.

    Examples
    --------
    >>> is_exact(np.array([2**53])), is_exact(np.array([2**53 + 1])), is_exact([b"1"])
    (True, False, False)
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        return False
    if values.dtype.kind == "f" or values.dtype.itemsize < LAST_EXACT.bit_length() / 8:
        return True
    return not values.size or max(int(values.max()), -int(values.min())) <= LAST_EXACT


def at_least_one(tensor: Tensor, n_rows: int) -> int:
    """Return the number of rows; refuse none."""
    if n_rows < 1:
        raise bad_tensor(tensor, "at least one row", f"shape {tensor.shape}")
    return n_rows


def bad_tensor(tensor: Tensor, needs: str, came: str) -> Invalid:
    """Return the error about an input; what the client made up is quoted in part."""
    return Invalid(
        WHO,
        needs=f"for input {tensor.name[:_MOST_QUOTED]!r} {needs}",
        came=came[:_MOST_QUOTED],
        todo="Send one tensor for each column of GET /v2/models/NAME.",
    )


def _check_data(tensor: Tensor) -> None:
    if tensor.datatype not in _CELLS:
        needs = f"a datatype among {', '.join(_CELLS)} (in binary form also BF16)"
        raise bad_tensor(tensor, needs, repr(tensor.datatype))
    if not bytes(tensor.data):
        raise bad_tensor(tensor, "`data` in JSON, or binary data", "neither")


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


def _tensors(tensor: Tensor, field: Field, values: Values | None) -> pa.Array:
    """Read a tensor column; it has no nulls."""
    needed = [-1, *field.shape]
    if len(tensor.shape) != len(needed) or tensor.shape[1:] != needed[1:]:
        raise bad_tensor(tensor, f"shape {needed}", f"shape {tensor.shape}")
    at_least_one(tensor, tensor.shape[0])
    if values is None:
        _check_data(tensor)
    if tensor.datatype == "BYTES":
        raise bad_tensor(tensor, "numbers, best FP32", "BYTES")
    found = _nested(tensor) if values is None else np.asarray(values)
    return arrow_tensors(found.reshape(tensor.shape), tensor.name, who=WHO)


def _nested(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Read the cells of a tensor from JSON, flat or nested as deep as its shape."""
    try:
        values = np.array(_values(tensor, len(tensor.shape)))
    except ValueError:  # nested lists of unequal length
        raise bad_tensor(
            tensor, f"lists of shape {tensor.shape}", "lists of other lengths"
        ) from None
    if list(values.shape) not in (tensor.shape, [prod(tensor.shape)]):
        came = f"values of shape {list(values.shape)}"
        raise bad_tensor(tensor, f"values for shape {tensor.shape}", came)
    return values


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


def _arrow(tensor: Tensor, values: Values) -> pa.Array:
    """Return cells that did not come as JSON as a column of the widest type of their kind."""
    if tensor.datatype == "BYTES":
        return pa.array([_text(tensor, at, each) for at, each in enumerate(values)], pa.string())
    found = np.asarray(values)
    if found.dtype.kind == "u" and found.size and int(found.max()) > _LAST_INT:
        raise bad_tensor(tensor, f"whole numbers up to {_LAST_INT}", str(int(found.max())))
    wanted = {"b": np.bool_, "f": np.float64}.get(found.dtype.kind, np.int64)
    # from_pandas: a NaN is a gap, as null is in JSON.
    return pa.array(found.astype(wanted, copy=False), from_pandas=True)


def _text(tensor: Tensor, at: int, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise bad_tensor(tensor, "texts in UTF-8", f"in row {at} other bytes: {error}") from error


def _bytes(tensor: Tensor, values: Values | None) -> pa.Array:
    content_type = (tensor.parameters or {}).get(CONTENT_TYPE, BASE64 if values is None else "")
    if tensor.datatype != "BYTES" or (values is None and content_type != BASE64):
        came = f"{tensor.datatype} of content type {content_type!r}"
        raise bad_tensor(tensor, "BYTES as base64 texts, for JSON has no bytes", came)
    n_rows = _column_rows(tensor)
    found: Sequence[Any] = cells(tensor, n_rows) if values is None else list(values)
    if content_type == BASE64:
        found = [_decoded(tensor, at, text) for at, text in enumerate(found)]
    return pa.array(found, pa.binary())


def _decoded(tensor: Tensor, at: int, text: str | bytes | None) -> bytes | None:
    if text is None:
        return None
    try:
        return b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one
        came = f"in row {at} a text that is none: {error}"
        raise bad_tensor(tensor, "base64 texts (RFC 4648, with '+', '/' and '=')", came) from error
