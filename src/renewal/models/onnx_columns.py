"""Columns of a request as the tensors that a compiled graph takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.parity_refusals import LARGEST

_WHO = "OnnxRuntime.predict"
TEXT = "tensor(string)"
WIDTHS: dict[str, Any] = {"tensor(double)": np.float64, "tensor(float)": np.float32}
# Of a column that is not there.
NOWHERE: list[int] = []
_FLOAT64 = pa.float64()
# How skl2onnx writes the category of a gap; where a fit had none it is an unseen one.
_GAP = "nan"
# Numbers whose squares sum to no more than this are each within float32, and none is NaN: one
# product tells it in a third of the time that looking at each takes. Of more numbers than
# this a product is made by several threads.
_PLAIN_SQUARES = LARGEST**2
_MOST_MULTIPLIED = 8192


def are_plain(values: NDArray[np.float64]) -> bool:
    """Say, at little cost, that numbers hold no gap and none beyond float32.

    Returns
    -------
    bool
        True only where it is so; False also where it would take longer to tell.

    Examples
    --------
    >>> are_plain(np.array([[1.0, -2.0]])), are_plain(np.array([[1.0, np.nan]]))
    (True, False)
    """
    # Unlike `np.dot`, `np.vdot` says nothing of what overflows.
    return values.size <= _MOST_MULTIPLIED and bool(np.vdot(values, values) <= _PLAIN_SQUARES)


def places_of(read: list[str] | None, given: tuple[str, ...]) -> list[int] | None:
    """Return where the columns that a graph reads are in a matrix; None: as they come."""
    if read is None or not given or list(given) == read:
        return None
    places = {name: at for at, name in enumerate(given)}
    return [places[name] for name in read] if places.keys() >= set(read) else NOWHERE


def is_plain(tensor: NDArray[Any]) -> bool:
    """Whether a tensor holds nothing that any model refuses."""
    return tensor.dtype != object and bool((np.abs(tensor) <= LARGEST).all())


def side_by_side(features: pa.Table, kind: str) -> NDArray[Any]:
    """Return columns of numbers as the tensor of shape (n_rows, n_columns) of one input."""
    batches = features.to_batches()
    if len(batches) != 1:
        batches = features.combine_chunks().to_batches()
    try:
        numbers = batches[0].to_tensor(null_to_nan=True, row_major=True).to_numpy()
    except TypeError:
        # Of booleans, texts and the like Arrow makes no tensor.
        return np.concatenate(
            [column_of(features, name, kind) for name in features.column_names], axis=1
        )
    return in_width(numbers, kind)


def column_of(features: pa.Table, name: str, kind: str) -> NDArray[Any]:
    """Return a column as the tensor of shape (n_rows, 1) that an input takes."""
    column = features.column(name)
    if column.type == _FLOAT64 and kind != TEXT:
        return _numbers(column, kind)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text != (kind == TEXT) and not pa.types.is_null(column.type):
        raise Invalid(
            _WHO,
            needs=f"{'texts' if kind == TEXT else 'numbers'} in the column {name!r}",
            came=f"the type {column.type}",
            todo="Send the column in the type of the signature.",
            column=name,
        )
    if kind != TEXT:
        return _numbers(column.cast(_FLOAT64, safe=False), kind)
    filled = pc.fill_null(column.cast(pa.string()), _GAP)
    texts: NDArray[Any] = filled.to_numpy().astype(object).reshape(-1, 1)
    return texts


def _numbers(column: Any, kind: str) -> NDArray[Any]:
    return in_width(column.to_numpy(), kind).reshape(-1, 1)


def in_width(numbers: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return numbers in the width of a kind of input."""
    if numbers.dtype == WIDTHS[kind]:
        return numbers
    # What is too large for float32 is infinite there, on the same side of every threshold.
    with np.errstate(over="ignore"):
        return numbers.astype(WIDTHS[kind], copy=False)
