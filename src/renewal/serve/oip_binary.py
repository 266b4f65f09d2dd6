"""Tensors as bytes, for the binary extension of the protocol and for raw contents of gRPC.

Numbers are little-endian and in row-major order, BOOL is one byte, each BYTES cell is its length
in four bytes and then itself. Over HTTP they follow the JSON of a request or an answer, whose
length a header tells; length 0 says that the whole body is the one input.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from renewal.core.errors import Invalid
from renewal.core.spec import Kind, Signature
from renewal.serve.oip_input import WHO, Tensor, Values, bad_tensor

HEADER_LENGTH = b"inference-header-content-length"
BINARY_SIZE = "binary_data_size"
_LENGTH_BYTES = 4
_MOST_DIGITS = 18

TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("i1"),
    "UINT8": np.dtype("u1"),
    **{
        f"{name}{n_bytes * 8}": np.dtype(f"<{letter}{n_bytes}")
        for n_bytes in (2, 4, 8)
        for name, letter in (("INT", "i"), ("UINT", "u"), ("FP", "f"))
    },
    "BF16": np.dtype("<u2"),  # the upper half of a float32, which numpy has no name for
}
_DATATYPE_OF: dict[Kind, str] = {
    "float": "FP64",
    "int": "INT64",
    "bool": "BOOL",
    "string": "BYTES",
    "bytes": "BYTES",
    "tensor": "FP32",
}


def header_length(said: bytes, n_bytes: int) -> int:
    """Return how much of a body is JSON, as its header says.

    Raises
    ------
    Invalid
        When it is no whole number, or more than the body has.

    Examples
    --------
    >>> header_length(b"12", 20)
    12
    """
    text = said.strip()
    if not (text.isdigit() and len(text) <= _MOST_DIGITS and int(text) <= n_bytes):
        raise Invalid(
            WHO,
            needs=f"Inference-Header-Content-Length from 0 to the body's {n_bytes} bytes",
            came=repr(said[:40].decode("latin-1")),
            todo="Send the length of the JSON at the head of the body, in bytes.",
        )
    return int(text)


def values_after(
    inputs: Sequence[Tensor], rest: bytes | memoryview, *, is_binary: bool
) -> list[Values | None]:
    """Read what follows the JSON of a request.

    Parameters
    ----------
    inputs : sequence of Tensor
        As the JSON describes them; those with a ``binary_data_size`` follow it, in this order.
    rest : bytes-like
        What follows.
    is_binary : bool
        Whether the request said how long its JSON is.

    Returns
    -------
    list of (array or list of bytes or None)
        The cells of each input; None where they are JSON. Arrays look into `rest`.

    Raises
    ------
    Invalid
        When sizes do not add up to what follows, or one differs from its datatype and shape.
    """
    found: list[Values | None] = []
    view, at = memoryview(rest), 0
    for tensor in inputs:
        size = (tensor.parameters or {}).get(BINARY_SIZE)
        if size is None:
            found.append(None)
            continue
        _check_size(tensor, size, is_binary=is_binary)
        if size > len(view) - at:
            raise bad_tensor(
                tensor, f"{size} bytes of binary data", f"{len(view) - at}: the body is cut off"
            )
        found.append(values_of(tensor, view[at : at + size]))
        at += size
    if at != len(view):
        raise Invalid(
            WHO,
            needs=f"{at} bytes of binary data after its JSON, as its inputs say",
            came=f"{len(view)}",
            todo="Give each binary input its binary_data_size, in the order of the data.",
        )
    return found


def values_of(tensor: Tensor, data: bytes | memoryview) -> Values:
    r"""Read the cells of one tensor from its bytes.

    Parameters
    ----------
    tensor : Tensor
        Its datatype and shape.
    data : bytes-like
        The array that is returned looks into it, but for BF16.

    Raises
    ------
    Invalid
        On an unknown datatype, and data that are longer or shorter than the shape says.

    Examples
    --------
    >>> values_of(Tensor("x", [2], "INT16"), bytes([1, 0, 255, 255])).tolist()
    [1, -1]
    >>> values_of(Tensor("x", [1], "BYTES"), b"\x02\x00\x00\x00hi")
    [b'hi']
    """
    n_cells = prod(tensor.shape)
    if tensor.datatype == "BYTES":
        return _cells(tensor, memoryview(data), n_cells)
    dtype = TYPES.get(tensor.datatype)
    if dtype is None:
        raise bad_tensor(
            tensor, f"a datatype among BYTES, {', '.join(TYPES)}", repr(tensor.datatype)
        )
    if len(data) != n_cells * dtype.itemsize:
        needs = f"{n_cells * dtype.itemsize} bytes for {tensor.datatype} of shape {tensor.shape}"
        raise bad_tensor(tensor, needs, f"{len(data)}")
    if tensor.datatype == "BOOL":
        # Whatever is not 0 is true; numpy wants exactly 1.
        truth: np.ndarray[Any, Any] = np.frombuffer(data, np.uint8) != 0
        return truth
    found = np.frombuffer(data, dtype)
    if tensor.datatype == "BF16":
        return (found.astype(np.uint32) << 16).view(np.float32)
    # JSON of any length stands before: what does not lie at a multiple of its size is moved.
    return found if found.flags.aligned else found.copy()


def whole_body(interface: Signature, body: bytes) -> tuple[Tensor, Values]:
    """Read a body that is nothing but the one input of a model, its shape inferred.

    Parameters
    ----------
    interface : Signature
        One column; or floats only, whose values then stand row by row.
    body : bytes
        FP64, INT64, BOOL or FP32 as the metadata says; text and bytes are one cell, as they are.

    Raises
    ------
    Invalid
        When the model has several inputs, or the bytes are no whole number of rows.
    """
    fields = interface.fields
    is_matrix = len(fields) > 1 and all(field.kind == "float" for field in fields)
    if len(fields) != 1 and not is_matrix:
        raise Invalid(
            WHO,
            needs=f"a description of its {len(fields)} inputs",
            came="Inference-Header-Content-Length 0, which fits a model of one input",
            todo="Send the inputs as JSON, or JSON before binary data.",
        )
    first = fields[0]
    datatype = _DATATYPE_OF[first.kind]
    if datatype == "BYTES":
        return Tensor(first.name, [1], datatype), [body]
    inner = [len(fields)] if is_matrix else list(first.shape)
    row_bytes = prod(inner) * TYPES[datatype].itemsize
    tensor = Tensor(first.name, [len(body) // row_bytes, *inner], datatype)
    if not body or len(body) % row_bytes:
        needs = f"a multiple of {row_bytes} bytes, for {datatype} of shape {[-1, *inner]}"
        raise bad_tensor(tensor, needs, f"{len(body)}")
    return tensor, values_of(tensor, body)


def bytes_of(array: np.ndarray[Any, Any], datatype: str) -> bytes:
    r"""Write an array as the bytes of a datatype.

    Parameters
    ----------
    array : array
        Numbers, truth values, or for BYTES texts or bytes.
    datatype : str
        Of the protocol.

    Examples
    --------
    >>> bytes_of(np.array([1, 256]), "INT16")
    b'\x01\x00\x00\x01'
    >>> bytes_of(np.array(["é"]), "BYTES")
    b'\x02\x00\x00\x00\xc3\xa9'
    """
    if datatype == "BYTES":
        return b"".join(_cell(each) for each in array.ravel().tolist())
    if datatype == "BF16":
        upper = np.ascontiguousarray(array, "<f4").view("<u4") >> 16
        return upper.astype("<u2").tobytes()
    return array.astype(TYPES[datatype], copy=False).tobytes()


def _check_size(tensor: Tensor, size: object, *, is_binary: bool) -> None:
    if type(size) is not int or size < 0:
        raise bad_tensor(tensor, f"{BINARY_SIZE} as a number of bytes", repr(size)[:40])
    if bytes(tensor.data):
        raise bad_tensor(tensor, "either `data` or binary data", "both")
    if not is_binary:
        came = "none, so that all of the body is JSON"
        raise bad_tensor(tensor, "the header Inference-Header-Content-Length", came)


def _cells(tensor: Tensor, view: memoryview, n_cells: int) -> list[bytes]:
    found: list[bytes] = []
    at, end = 0, len(view)
    while at < end:
        start = at + _LENGTH_BYTES
        size = int.from_bytes(view[at:start], "little")
        if size > end - start:
            needs = f"{size} bytes in cell {len(found)}, as its length says"
            raise bad_tensor(tensor, needs, f"{max(end - start, 0)}")
        at = start + size
        found.append(bytes(view[start:at]))
        if len(found) > n_cells:
            break
    if len(found) != n_cells:
        raise bad_tensor(
            tensor,
            f"{n_cells} cells, each after its length, for shape {tensor.shape}",
            f"{len(found)}" if len(found) < n_cells else "more",
        )
    return found


def _cell(value: object) -> bytes:
    raw = value if isinstance(value, bytes) else str(value).encode()
    return len(raw).to_bytes(_LENGTH_BYTES, "little") + raw
