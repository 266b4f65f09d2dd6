"""Columns as arrays of NumPy: one arithmetic, whichever library runs the network behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.core.errors import Invalid

# Where the data's border notes the shape of a tensor column.
_SHAPE = b"renewal.shape"


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column of this type is read as numbers; booleans are."""
    return bool(
        pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    )


def doubles(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return numbers in double precision; a gap is not a number.

    Raises
    ------
    pyarrow.ArrowTypeError
        On a column of another type.
    """
    if not is_number(column.type) and not pa.types.is_null(column.type):
        raise pa.ArrowTypeError(f"a column of type {column.type} where numbers were")
    cast = pc.cast(column, pa.float64(), safe=False)
    found: NDArray[np.float64] = cast.to_numpy(zero_copy_only=False)
    return found


def standardized(
    features: pa.Table, columns: Sequence[tuple[str, float, float]], *, who: str
) -> NDArray[np.float32]:
    """Return columns side by side, minus their means, over their spreads; a gap becomes 0.

    Parameters
    ----------
    features : pyarrow.Table
        n rows.
    columns : sequence of (str, float, float)
        Name, mean and spread of each column, at least one.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    ndarray of float32, shape (n, n_columns)

    Raises
    ------
    Invalid
        On numbers that single precision cannot hold.
    pyarrow.ArrowTypeError
        On a column of another type.

    Examples
    --------
    >>> hours = pa.table({"hour": [6.0, None, 10.0]})
    >>> standardized(hours, [("hour", 8.0, 2.0)], who="demo").tolist()
    [[-1.0], [0.0], [1.0]]
    """
    names = [name for name, _, _ in columns]
    values = _matrix(features.select(names))
    means, spreads = (np.array([each[at] for each in columns]) for at in (1, 2))
    filled = np.where(np.isnan(values), means, values)
    with np.errstate(over="ignore"):
        found: NDArray[np.float32] = ((filled - means) / spreads).astype(np.float32)
    bad = ~np.isfinite(found)
    if bad.any():
        first = int(np.flatnonzero(bad.any(axis=0))[0])
        raise Invalid(
            who,
            needs="numbers that single precision can hold",
            came=f"{int(bad[:, first].sum())} infinite ones in the column {names[first]!r}",
            todo="Remove or correct these rows.",
        )
    return found


def _matrix(table: pa.Table) -> NDArray[np.float64]:
    """Return columns of numbers as one matrix; a gap is not a number."""
    if all(pa.types.is_float64(each) for each in table.schema.types):
        # One call for all columns: of a single row, a call a column is most of the time.
        batches = table.to_batches()
        if len(batches) != 1:
            batches = table.combine_chunks().to_batches()
        if batches:
            numbers: NDArray[np.float64] = batches[0].to_tensor(null_to_nan=True).to_numpy()
            return numbers
    return np.stack([doubles(column) for column in table.columns], axis=1)


def codes(column: pa.ChunkedArray, words: Sequence[str]) -> NDArray[np.int64]:
    """Return the place of each text among the known ones, from 1 up; 0 for any other.

    Examples
    --------
    >>> codes(pa.chunked_array([["UA", None, "AA", "XX"]]), ("AA", "UA")).tolist()
    [2, 0, 1, 0]
    """
    texts = pc.cast(column, pa.string())
    places = pc.index_in(texts, value_set=pa.array(words, pa.string()))
    found: NDArray[np.int64] = pc.fill_null(places, -1).to_numpy().astype(np.int64) + 1
    return found


def one_hot(code: NDArray[np.int64], n_words: int) -> list[NDArray[np.float32]]:
    """Return a column of 0 and 1 for each known text of `codes`."""
    return [(code == at + 1).astype(np.float32) for at in range(n_words)]


def shape_of(found: pa.Field) -> tuple[int, ...] | None:
    """Return the shape of one row of a tensor column; None where it is none."""
    noted = (found.metadata or {}).get(_SHAPE)
    if noted is not None:
        return tuple(json.loads(noted))
    if isinstance(found.type, pa.FixedShapeTensorType):
        return tuple(found.type.shape)
    sizes: list[int] = []
    kind = found.type
    while pa.types.is_fixed_size_list(kind):
        sizes.append(kind.list_size)
        kind = kind.value_type
    return tuple(sizes) if sizes else None


def whole(
    column: pa.ChunkedArray, name: str, shape: tuple[int, ...], *, who: str
) -> NDArray[np.float32]:
    """Return a tensor column, of shape (n_rows, *shape), in memory of its own.

    Raises
    ------
    Invalid
        On a row without a tensor, or tensors of another shape.
    """
    found = _storage(column)
    if found.null_count:
        raise Invalid(
            who,
            needs=f"a tensor in every row of the column {name!r}",
            came=f"{found.null_count} rows without one",
            todo="Leave these rows out.",
        )
    while pa.types.is_fixed_size_list(found.type) or pa.types.is_list(found.type):
        found = found.flatten()
    values = np.asarray(found.to_numpy(zero_copy_only=False), np.float32)
    if values.size != len(column) * math.prod(shape):
        raise _another_shape(who, name, shape, (values.size / max(1, len(column)),))
    # torch marks no memory read-only, and Arrow's is not to be written.
    return np.array(values.reshape(-1, *shape))


def like(
    pixels: NDArray[np.uint8], name: str, shape: tuple[int, ...], *, who: str
) -> NDArray[np.uint8]:
    """Return decoded images when they have this shape; no rows take it on.

    Raises
    ------
    Invalid
        On images of another shape.
    """
    if len(pixels) and pixels.shape[1:] != shape:
        raise _another_shape(who, name, shape, pixels.shape[1:])
    return pixels.reshape(-1, *shape)


def _storage(column: pa.ChunkedArray) -> Any:
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], column.type)
    return found.storage if isinstance(found, pa.ExtensionArray) else found


def _another_shape(who: str, name: str, shape: Sequence[Any], came: Sequence[Any]) -> Invalid:
    return Invalid(
        who,
        needs=f"rows of shape {tuple(shape)} in the column {name!r}",
        came=f"{tuple(came)}",
        todo="Hand in rows like those of the fit.",
    )
