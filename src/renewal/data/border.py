"""What users call a table, brought into Arrow: the one place that knows other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.data.tensor_values import arrow_tensors, stacked

_SCALARS = (str, bytes, int, float, bool, datetime, date, np.generic, type(None))


def arrow_of(data: Any, who: str) -> pa.Table:
    """Return whatever table came as Arrow, its types untouched.

    Raises
    ------
    Invalid
        On something that is no table, or columns of mixed types or other lengths.
    """
    try:
        if isinstance(data, pa.Table):
            return data
        if isinstance(data, pa.RecordBatch):
            return pa.Table.from_batches([data])
        # By module name, so that reading an Arrow table does not import pandas.
        if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
            return _from_pandas(data, who)
        if isinstance(data, Mapping) and data:
            return _from_mapping(data, who)
        if isinstance(data, np.ndarray) and data.ndim >= 2 and data.dtype.names is None:
            return _from_numpy(data, who)
        if hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns"):
            return pa.table(data)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise Invalid(
            who,
            needs="columns of one type each and of one length",
            came=" ".join(str(part) for part in error.args) or type(error).__name__,
            todo="Convert the column to one type first.",
        ) from error
    raise Invalid(
        who,
        needs="a table: pandas, polars, pyarrow, a mapping of columns, or a numpy array of rows",
        came=_described(data),
        todo="Put the rows into one of these.",
    )


def _from_mapping(data: Mapping[Any, Any], who: str) -> pa.Table:
    if all(isinstance(value, _SCALARS) for value in data.values()):
        data = {name: [value] for name, value in data.items()}
    columns = []
    for name, values in data.items():
        try:
            columns.append(_column(values, str(name), who))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"in the column {str(name)!r}: {error}") from error
    return pa.table(columns, names=[str(name) for name in data])


def _from_numpy(data: np.ndarray[Any, Any], who: str) -> pa.Table:
    if data.ndim > 2:
        return pa.table([arrow_tensors(data, "x0", who=who)], names=["x0"])
    columns = [pa.array(column) for column in np.ascontiguousarray(data.T)]
    return pa.table(columns, names=[f"x{at}" for at in range(len(columns))])


def _from_pandas(data: Any, who: str) -> pa.Table:
    # Arrow's own reader takes arrays of one dimension only as the values of a column.
    tensors = {
        at: stacked(list(data.iloc[:, at]), str(data.columns[at]), who=who)
        for at, kind in enumerate(data.dtypes)
        if kind.kind == "O" and _holds_arrays(data.iloc[:, at])
    }
    flat = [at for at in range(len(data.columns)) if at not in tensors]
    if not flat:
        return pa.table(list(tensors.values()), names=[str(name) for name in data.columns])
    table = pa.Table.from_pandas(data.iloc[:, flat] if tensors else data, preserve_index=False)
    for at, column in tensors.items():
        table = table.add_column(at, str(data.columns[at]), column)
    return table


def _column(values: Any, name: str, who: str) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if getattr(values, "ndim", 1) > 1 and hasattr(values, "__array__"):
        return arrow_tensors(np.asarray(values), name, who=who)
    is_objects = isinstance(values, np.ndarray) and values.dtype == object
    if (is_objects or isinstance(values, list | tuple)) and _holds_arrays(values):
        return stacked(values, name, who=who)
    return pa.array(values)


def _holds_arrays(values: Any) -> bool:
    """Whether the first value that is there is an array of two dimensions or more."""
    first = next((value for value in values if value is not None), None)
    return getattr(first, "ndim", 0) > 1 and hasattr(first, "__array__")


def canonical(column: pa.ChunkedArray, name: str, who: str) -> pa.Array:
    """Return a column in the one type that its kind has inside, as one chunk.

    Raises
    ------
    Invalid
        On numbers that do not fit 64 bits.
    """
    found = column.type
    if pa.types.is_dictionary(found):
        # Arrow cannot cast every dictionary, polars' categories among them; take can.
        parts = [_plain(chunk) for chunk in column.chunks]
        found = pa.string() if _is_text(found.value_type) else found.value_type
        column = pa.chunked_array(parts, found)
    wanted = found
    if pa.types.is_integer(found):
        wanted = pa.int64()
    elif pa.types.is_floating(found) or pa.types.is_decimal(found):
        wanted = pa.float64()
    elif _is_text(found):
        wanted = pa.string()
    elif _is_bytes(found):
        wanted = pa.binary()
    elif pa.types.is_timestamp(found):
        wanted = pa.timestamp("us", None if found.tz is None else "UTC")
    if wanted != column.type:
        try:
            # Nanoseconds are cut to microseconds; an integer beyond 64 bits is refused.
            column = column.cast(wanted, safe=not pa.types.is_timestamp(found))
        except pa.ArrowException as error:
            raise Invalid(
                who,
                needs=f"values of the column {name!r} that fit {wanted}",
                came=str(error),
                todo="Convert the column first.",
                column=name,
            ) from error
    whole = column.combine_chunks()
    # An empty or over-long column may stay chunked.
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _plain(coded: pa.DictionaryArray) -> pa.Array:
    values = coded.dictionary
    values = values.cast(pa.string()) if _is_text(values.type) else values
    return values.take(coded.indices)


def _is_text(found: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(found)
        or pa.types.is_large_string(found)
        or pa.types.is_string_view(found)
    )


def _is_bytes(found: pa.DataType) -> bool:
    return bool(
        pa.types.is_large_binary(found)
        or pa.types.is_binary_view(found)
        or pa.types.is_fixed_size_binary(found)
    )


def _described(data: Any) -> str:
    if isinstance(data, np.ndarray):
        return f"a numpy array of shape {data.shape} and type {data.dtype}"
    return f"a {type(data).__module__}.{type(data).__qualname__}"
