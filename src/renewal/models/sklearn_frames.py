"""Arrow tables as the inputs that scikit-learn takes: named frames, or plain matrices.

A request has a handful of rows, so what counts here is the fixed cost of a call: numbers go
into one block that pandas need not split, look at or copy again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.core.errors import Invalid


def frame(features: pa.Table, *, as_categories: bool = False) -> Any:
    """Return the table as a pandas frame of its own memory.

    Parameters
    ----------
    features : pyarrow.Table
        Numbers, booleans and texts. A null becomes NaN; with one, a column of ints or
        booleans becomes float64, as pandas itself would read it.
    as_categories : bool, default False
        Whether texts become pandas categories, for estimators that look at the dtype.

    Returns
    -------
    pandas.DataFrame
        Writable: an estimator that works in place cannot reach the caller's rows.

    Raises
    ------
    Invalid
        On a column that is neither number, boolean nor text.

    Notes
    -----
    For one row of 20 numbers 40 microseconds, a quarter of ``Table.to_pandas``.

    Examples
    --------
    >>> frame(pa.table({"a": [1, None], "s": ["x", "y"]})).dtypes.astype(str).to_dict()
    {'a': 'float64', 's': 'str'}
    """
    names = tuple(features.column_names)
    columns = [_column(features, name) for name in names]
    if columns and all(
        isinstance(each, np.ndarray) and each.dtype == np.float64 for each in columns
    ):
        return pd.DataFrame(_block(columns), columns=_index(names), copy=False)
    if as_categories:
        columns = [
            each if isinstance(each, np.ndarray) else each.astype("category") for each in columns
        ]
    found = pd.DataFrame(dict(enumerate(columns)), copy=False)
    found.columns = _index(names)
    return found


def matrix(features: pa.Table) -> NDArray[Any]:
    """Return the table as one array: float64, or objects where a column holds texts.

    Parameters
    ----------
    features : pyarrow.Table
        In the order in which the estimator was fitted.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        Writable, of its own memory; a null is NaN.

    Raises
    ------
    Invalid
        On a column that is neither number, boolean nor text.

    Examples
    --------
    >>> matrix(pa.table({"a": [1, None], "b": [True, False]}))
    array([[ 1.,  1.],
           [nan,  0.]])
    """
    columns = [_column(features, name) for name in features.column_names]
    if all(isinstance(each, np.ndarray) for each in columns):
        return _block(columns)
    mixed = np.empty((features.num_rows, len(columns)), dtype=object)
    for place, each in enumerate(columns):
        mixed[:, place] = each
    return mixed


def _column(features: pa.Table, name: str) -> Any:
    """Return a column of numbers as an array that may be changed, a text as a Series."""
    column = features.column(name)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.to_pandas()
    if pa.types.is_boolean(kind) and column.null_count:
        column = pc.cast(column, pa.int8())
    elif not (pa.types.is_boolean(kind) or _is_number(kind)):
        raise Invalid(
            "SklearnAdapter",
            needs="columns of numbers, booleans or texts",
            came=f"column {name!r} of type {kind}",
            todo="Turn it into a number or a text before the rows come here.",
            column=name,
        )
    # A null among ints comes out as NaN in float64.
    return np.array(column.to_numpy())


def _block(columns: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the columns side by side; stored by column, as pandas keeps its blocks."""
    n_rows = len(columns[0]) if columns else 0
    block = np.empty((len(columns), n_rows), dtype=np.float64)
    for place, column in enumerate(columns):
        block[place] = column
    return block.T


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


@lru_cache(maxsize=256)
def _index(names: tuple[str, ...]) -> Any:
    """Return the column index; an index never changes, so all frames may share it."""
    return pd.Index(list(names))
