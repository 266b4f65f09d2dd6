"""The quick way in: rows of numbers, from JSON or bytes to one matrix, without a table between.

What does not fit it, or is wrong, takes the general way of `renewal.serve.oip`, which reads the
body again and says what is the matter. Both ways read the same numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from renewal.core.spec import Signature
from renewal.serve.features import Matrix, is_all_floats
from renewal.serve.oip_input import FLOATS, MATRIX_RANK, Tensor, Values, Wanted, is_exact

_MOST_LAYOUTS = 256


class Numbers(msgspec.Struct, gc=False):
    """An input tensor whose data are numbers, null, or one list of them for each row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float | list[float | None] | None]


class NumberRequest(msgspec.Struct):
    """The body of an infer request whose inputs hold nothing but numbers."""

    inputs: list[Numbers]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Wanted] | None = None


class Layout:
    """Where each column of a signature lies in a matrix.

    Parameters
    ----------
    signature : Signature
        Names the columns.
    """

    __slots__ = ("is_matrix", "n_columns", "places", "signature")

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.n_columns = len(signature.fields)
        self.is_matrix = is_all_floats(signature)
        self.places = {field.name: at for at, field in enumerate(signature.fields)}


_DECODER = msgspec.json.Decoder(NumberRequest)
_FLOAT64 = np.dtype(np.float64)
_LAYOUTS: dict[int, Layout] = {}


def layout_of(signature: Signature) -> Layout:
    """Return the layout of a signature; the same object is looked at once.

    Notes
    -----
    By identity: hashing thirty fields would cost more than all of the rest.
    """
    found = _LAYOUTS.get(id(signature))
    if found is None or found.signature is not signature:
        if len(_LAYOUTS) >= _MOST_LAYOUTS:
            _LAYOUTS.clear()
        # It holds the signature, so that its id is not given to another one meanwhile.
        found = _LAYOUTS[id(signature)] = Layout(signature)
    return found


def decode_numbers(body: bytes) -> NumberRequest | None:
    """Decode a body of numbers; None where it is none.

    Examples
    --------
    >>> decode_numbers(b'{"inputs": []}') is None
    True
    """
    try:
        request = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return request if request.inputs else None


def matrix_of_numbers(
    inputs: Sequence[Numbers], layout: Layout, needed: frozenset[str]
) -> Matrix | None:
    """Return decoded inputs as the matrix of a model.

    Parameters
    ----------
    inputs : sequence of Numbers
        One of shape [n, k], or one of [n] or [n, 1] for each column.
    layout : Layout
        Of a signature of floats.
    needed : frozenset of str
        Columns that may not be missing.

    Returns
    -------
    float64 array of shape (n, k), or None
        A null is NaN. None: the general way must look at it.
    """
    first = inputs[0]
    if len(inputs) == 1 and len(first.shape) == MATRIX_RANK:
        n_rows, width = first.shape
        if first.datatype not in FLOATS or width != layout.n_columns or n_rows < 1:
            return None
        return _reshaped(first.data, n_rows, width)
    found: dict[str, list[Any]] = {}
    for each in inputs:
        cells = _column(each)
        if cells is None or each.name in found or each.name not in layout.places:
            return None
        found[each.name] = cells
    n_rows = len(next(iter(found.values())))
    if any(len(cells) != n_rows for cells in found.values()):
        return None
    if len(found) < layout.n_columns and not needed <= found.keys():
        return None
    gap = [None] * n_rows
    columns = [found.get(name, gap) for name in layout.places]
    flat = [cell for column in columns for cell in column]
    matrix = _reshaped(flat, layout.n_columns, n_rows)
    return None if matrix is None else np.ascontiguousarray(matrix.T)


def matrix_of_values(
    inputs: Sequence[Tensor],
    values: Sequence[Values | None],
    layout: Layout,
    needed: frozenset[str],
) -> Matrix | None:
    """Return inputs that came as bytes as the matrix of a model; see `matrix_of_numbers`."""
    first = inputs[0]
    if any(each is None or not is_exact(each) for each in values):
        return None
    if len(inputs) == 1 and len(first.shape) == MATRIX_RANK:
        n_rows, width = first.shape
        if width != layout.n_columns or n_rows < 1:
            return None
        return np.asarray(values[0], np.float64).reshape(n_rows, width)
    n_rows = first.shape[0] if first.shape else 0
    names = {tensor.name for tensor in inputs}
    if (
        n_rows < 1
        or len(names & layout.places.keys()) != len(inputs)
        or (len(inputs) < layout.n_columns and not needed <= names)
        or any(tensor.shape not in ([n_rows], [n_rows, 1]) for tensor in inputs)
    ):
        return None
    matrix = np.full((n_rows, layout.n_columns), np.nan)
    for tensor, each in zip(inputs, values, strict=True):
        matrix[:, layout.places[tensor.name]] = each
    return matrix


def _column(tensor: Numbers) -> list[Any] | None:
    """Return the cells of a column; None where the tensor is none."""
    shape = tensor.shape
    cells: list[Any] = tensor.data
    is_column = len(shape) == 1 or (len(shape) == MATRIX_RANK and shape[1] == 1)
    if not is_column or tensor.datatype not in FLOATS or len(cells) != shape[0] or not cells:
        return None
    if type(cells[0]) is not list:
        return cells
    if len(shape) == 1 or any(type(row) is not list or len(row) != 1 for row in cells):
        return None
    return [row[0] for row in cells]


def _reshaped(data: list[Any], n_rows: int, width: int) -> Matrix | None:
    """Return flat or nested numbers as a matrix; None where they are not of this shape."""
    if len(data) == n_rows and data and type(data[0]) is list:
        if any(type(row) is not list or len(row) != width for row in data):
            return None  # ragged, or some are no rows
        data = [cell for row in data for cell in row]
    if len(data) != n_rows * width:
        return None
    try:
        # Twice as quick as numpy's own way, but it knows no null.
        return np.ndarray((n_rows, width), _FLOAT64, array("d", data))
    except TypeError:
        pass
    try:
        return np.array(data, np.float64).reshape(n_rows, width)
    except (TypeError, ValueError):  # a list among numbers
        return None
