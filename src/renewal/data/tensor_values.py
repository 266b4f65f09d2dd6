"""The values of tensor columns: from what tables bring to the one form inside, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.core.spec import Field
from renewal.data.tensors import Shape, is_list, noted_shape, tensor_type

# Every whole number up to here is a float32, and not every one beyond.
_WHOLE = 2**24


def arrow_tensors(
    values: npt.NDArray[Any],
    name: str,
    *,
    who: str,
    missing: npt.NDArray[np.bool_] | None = None,
) -> pa.Array:
    """Return a numpy array as an Arrow column of tensors, of its own type of numbers.

    Parameters
    ----------
    values : array of numbers or booleans, shape (n_rows, ...)
        Two dimensions or more.
    name, who : str
        The column and the verb that asks, for the message.
    missing : bool array, shape (n_rows,), or None
        Rows that are null.

    Raises
    ------
    Invalid
        On other values, or a dimension of size 0.

    Examples
    --------
    >>> arrow_tensors(np.zeros((5, 3, 2), np.uint8), "pixels", who="demo").type.shape
    [3, 2]
    """
    shape = values.shape[1:]
    if values.dtype.kind not in "fiub" or not prod(shape):
        raise Invalid(
            who,
            needs=f"an array of numbers, none of its sizes 0, as the column {name!r}",
            came=f"one of shape {values.shape} and type {values.dtype}, which holds no tensors",
            todo="Hand in numbers of shape (n_rows, ...).",
            column=name,
        )
    if values.dtype.kind == "b" or values.dtype == np.float16:
        values = values.astype(np.float32)
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    mask = None if missing is None or not missing.any() else pa.array(missing)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(native.ravel()), prod(shape), mask=mask)
    return pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(rows.type.value_type, list(shape)), rows
    )


def stacked(rows: Sequence[Any], name: str, *, who: str) -> pa.Array:
    """Return arrays, one for each row and None where it is missing, as a column of tensors.

    Raises
    ------
    Invalid
        When two rows differ in shape, or hold no numbers.

    Examples
    --------
    >>> stacked([np.ones((2, 2)), None], "pixels", who="demo").null_count
    1
    """
    arrays = [None if row is None else np.asarray(row) for row in rows]
    first = next(array for array in arrays if array is not None)
    for at, array in enumerate(arrays):
        if array is not None and array.shape != first.shape:
            raise Invalid(
                who,
                needs=f"tensors of one shape in the column {name!r}",
                came=f"the shapes {first.shape} and, in row {at}, {array.shape}",
                todo="Cut or fill the rows to one shape before you send them.",
                column=name,
            )
    gap = np.zeros_like(first)
    missing = np.array([array is None for array in arrays])
    whole = np.stack([gap if array is None else array for array in arrays])
    return arrow_tensors(whole, name, who=who, missing=missing)


def shape_of(field: pa.Field, column: pa.ChunkedArray, *, who: str) -> Shape:
    """Return the shape of the rows of a column for which `is_tensor` holds.

    Parameters
    ----------
    field : pyarrow.Field
        Of the column; a shape that it notes is taken as it is.
    column : pyarrow.ChunkedArray
        Its values.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        When rows differ in shape, or there is no row to tell it.

    Examples
    --------
    >>> column = pa.chunked_array([[[[1, 2], [3, 4], [5, 6]]]])
    >>> shape_of(pa.field("a", column.type), column, who="demo")
    (3, 2)
    """
    shape = noted_shape(field) or _shape(column.type)
    if shape is None:
        shape = _unfolded(column, field.name, who)[1]
    if not all(shape):
        raise Invalid(
            who,
            needs=f"a row that tells the shape of the tensor column {field.name!r}",
            came="no row with a value" if column.null_count == len(column) else f"shape {shape}",
            todo="Begin with rows that have one, or send a numpy array of shape (n_rows, ...).",
            column=field.name,
        )
    return shape


def to_tensors(column: pa.ChunkedArray, field: Field, *, who: str) -> pa.ChunkedArray:
    """Return a column in the form that tensors have inside.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Of a type for which `is_tensor` holds.
    field : Field
        The tensor wanted. Rows have its shape, or are flat in row-major order.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    pyarrow.ChunkedArray
        Of `tensor_type`. Floats are rounded to float32; NaN and infinities stay, for they are
        values of a tensor that is there. A missing tensor is null.

    Raises
    ------
    Invalid
        On rows of another shape, a null inside of a tensor, whole numbers beyond 2**24 (the
        largest up to which float32 holds every one), or a float that is too large.

    Examples
    --------
    >>> pixels = Field("pixels", "tensor", shape=(1, 2))
    >>> to_tensors(pa.chunked_array([[[0, 255]]]), pixels, who="demo").type
    FixedSizeListType(fixed_size_list<item: float>[2])
    """
    wanted = tensor_type(field.shape)
    if column.type == wanted:
        return column
    values, shape = _unfolded(column, field.name, who)
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    if shape not in (field.shape, (field.n_values,)):
        raise wrong_shape(field, f"shape {shape}", who)
    flat = _float32(values, field.name, who)
    return pa.chunked_array([placed(flat, np.asarray(pc.is_valid(column)), field.n_values)])


def placed(
    values: npt.NDArray[np.float32], there: npt.NDArray[np.bool_], n_values: int
) -> pa.FixedSizeListArray:
    """Return numbers as a tensor column that is null where `there` is false.

    Parameters
    ----------
    values : float32 array, shape (n_there * n_values,)
        Of the rows that are there, one after the other.
    there : bool array, shape (n_rows,)
        Which rows are.
    n_values : int
        Of one row.

    Examples
    --------
    >>> placed(np.ones(2, np.float32), np.array([False, True]), 2).to_pylist()
    [None, [1.0, 1.0]]
    """
    held = pa.FixedSizeListArray.from_arrays(pa.array(values), n_values)
    if there.all():
        return held
    # A row number for each row that is there, and a null where none is.
    return held.take(pa.array(np.cumsum(there) - 1, pa.int64(), mask=~there))


def wrong_shape(field: Field, came: str, who: str) -> Invalid:
    """Return the error about a tensor of another shape."""
    return Invalid(
        who,
        needs=f"tensors of shape {field.shape} in the column {field.name!r}",
        came=came,
        todo="Send every row in the shape of the training data, or flat in row-major order.",
        column=field.name,
    )


def _shape(found: pa.DataType) -> Shape | None:
    """Return the shape that a type alone tells; None where the rows must be looked at."""
    if isinstance(found, pa.FixedShapeTensorType):
        return tuple(found.shape[at] for at in _order(found))
    sizes = []
    while pa.types.is_fixed_size_list(found):
        sizes.append(int(found.list_size))
        found = found.value_type
    return None if is_list(found) or not sizes else tuple(sizes)


def _order(found: pa.FixedShapeTensorType) -> Sequence[int]:
    return found.permutation or range(len(found.shape))


def _unfolded(column: pa.ChunkedArray, name: str, who: str) -> tuple[npt.NDArray[Any], Shape]:
    """Return the numbers of the rows that are not null, in row-major order, and their shape."""
    found = column.type
    rows = column.drop_null().combine_chunks()
    rows = pa.concat_arrays(rows.chunks) if isinstance(rows, pa.ChunkedArray) else rows
    if isinstance(found, pa.FixedShapeTensorType):
        values = _numbers(rows.storage.flatten(), name, who).reshape(-1, *found.shape)
        order = _order(found)
        return values.transpose(0, *(at + 1 for at in order)).ravel(), _shape(found) or ()
    sizes = []
    while is_list(rows.type):
        if rows.null_count:
            raise _gap(name, who)
        sizes.append(_size(rows, name, who))
        rows = rows.flatten()
    return _numbers(rows, name, who), tuple(sizes)


def _size(rows: pa.Array, name: str, who: str) -> int:
    if pa.types.is_fixed_size_list(rows.type):
        return int(rows.type.list_size)
    ends = pc.min_max(pc.list_value_length(rows)).as_py()
    if ends["min"] != ends["max"]:
        raise Invalid(
            who,
            needs=f"tensors of one shape in the column {name!r}",
            came=f"lists of {ends['min']} to {ends['max']} values",
            todo="Cut or fill the rows to one shape before you send them.",
            column=name,
        )
    return int(ends["max"] or 0)


def _numbers(values: pa.Array, name: str, who: str) -> npt.NDArray[Any]:
    if values.null_count:
        raise _gap(name, who)
    found: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found


def _gap(name: str, who: str) -> Invalid:
    return Invalid(
        who,
        needs=f"a number in every place of a tensor in the column {name!r}",
        came="a null inside of a tensor",
        todo="Fill it, or leave the whole tensor out of the row (null).",
        column=name,
    )


def _float32(values: npt.NDArray[Any], name: str, who: str) -> npt.NDArray[np.float32]:
    came = None
    is_wide = values.dtype.kind in "iu" and values.dtype.itemsize > np.dtype(np.int16).itemsize
    if is_wide and values.size and max(-int(values.min()), int(values.max())) > _WHOLE:
        came = f"whole numbers beyond {_WHOLE}, which float32 would round"
    with np.errstate(over="ignore"):
        found = values.astype(np.float32, copy=False)
    if values.dtype == np.float64 and bool((np.isinf(found) & np.isfinite(values)).any()):
        came = f"numbers beyond {np.finfo(np.float32).max:.2g}, which float32 does not hold"
    if came is not None:
        raise Invalid(
            who,
            needs=f"numbers that fit float32 in the tensor column {name!r}",
            came=came,
            todo="Scale them, or send identifiers as int columns.",
            column=name,
        )
    return found
