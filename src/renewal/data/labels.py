"""Labels: checked when they come, joined when they are read; the newest of a key wins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.data.columns import ARRIVED_AT, KEY_HASH, LABEL, ORDER, hashes, int64s
from renewal.data.rows import NEVER_US, objects

_CLASSES = (pa.bool_(), pa.int64(), pa.string())


def label_column(
    column: pa.ChunkedArray | pa.Array,
    *,
    regression: bool,
    stored: pa.DataType | None,
    who: str,
) -> pa.Array:
    """Return labels in the type in which a feed keeps them; nulls and NaN stay null.

    Parameters
    ----------
    column : pyarrow column
        As it came.
    regression : bool
        Whether labels are numbers (float64) or classes (bool, int64 or string).
    stored : pyarrow.DataType or None
        What the feed keeps already; None: the first labels decide.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        On another type. A float column of whole numbers is read as int, since pandas
        stores an int column with a gap so.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), stored or (pa.float64() if regression else pa.int64()))
    found = column.type
    if regression:
        if pa.types.is_integer(found) or pa.types.is_floating(found):
            column = column.cast(pa.float64(), safe=False)
            return pc.if_else(pc.is_finite(column), column, _null_unless_nan(column, who))
        raise _wrong_label("a number", str(found), who)
    if pa.types.is_floating(found):
        try:
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, found), column).cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise _wrong_label(
                "a class: a boolean, whole number or text", str(error), who
            ) from error
    if column.type not in _CLASSES:
        raise _wrong_label("a class: a boolean, whole number or text", str(found), who)
    if stored is not None and column.type != stored:
        raise _wrong_label(f"{stored}, like the labels before", str(found), who)
    return column


def newest(
    key_hash: npt.NDArray[np.uint64],
    arrived_us: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return where the newest record of each key stands, sorted by the hash of the key.

    Newest: the last arrival, and of equal arrivals the one written last.

    Parameters
    ----------
    key_hash, arrived_us, order : arrays of shape (n,)
        Of the records, in any order.

    Returns
    -------
    int64 array, one for each key
        Positions.

    Notes
    -----
    One sort of n hashes; only keys that come more than once are sorted further.

    Examples
    --------
    >>> keys = np.array([7, 5, 7], np.uint64)
    >>> newest(keys, np.array([1, 1, 1]), np.array([0, 1, 2])).tolist()
    [1, 2]
    """
    at = np.argsort(key_hash, kind="stable")
    ordered = key_hash[at]
    again = ordered[1:] == ordered[:-1]
    if not again.any():
        return at
    shared = np.zeros(len(at), np.bool_)
    shared[1:] = again
    shared[:-1] |= again
    some = at[shared]
    at[shared] = some[np.lexsort((order[some], arrived_us[some], key_hash[some]))]
    is_last = np.ones(len(at), np.bool_)
    is_last[:-1] = ~again
    return at[is_last]


def join_newest(
    labels: pa.Table | None, key_hash: npt.NDArray[np.uint64], *, regression: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the newest label of each row and when it arrived.

    Parameters
    ----------
    labels : pyarrow.Table or None
        Hash, label, arrival and order of label records, in any order.
    key_hash : uint64 array, shape (n,)
        Of the rows, no value twice.
    regression : bool
        Whether labels are float64 with NaN, or objects with None, where there is none.

    Returns
    -------
    label : array of shape (n,)
        float64 or object.
    label_arrived_us : int64 array of shape (n,)
        `NEVER_US` where there is none.
    """
    n_rows = len(key_hash)
    label: npt.NDArray[Any] = np.full(n_rows, np.nan) if regression else np.full(n_rows, None)
    arrived_us = np.full(n_rows, NEVER_US)
    if labels is None or labels.num_rows == 0 or n_rows == 0:
        return label, arrived_us
    rows_at = np.argsort(key_hash)
    ordered = key_hash[rows_at]
    record_hash = hashes(labels[KEY_HASH])
    place = np.minimum(np.searchsorted(ordered, record_hash), n_rows - 1)
    wanted = np.flatnonzero(ordered[place] == record_hash)
    record_us = int64s(labels[ARRIVED_AT])
    last = wanted[newest(record_hash[wanted], record_us[wanted], int64s(labels[ORDER])[wanted])]
    values = labels[LABEL].take(pa.array(last))
    row = rows_at[place[last]]
    label[row] = values.to_numpy() if regression else objects(values)
    arrived_us[row] = record_us[last]
    return label, arrived_us


def _null_unless_nan(column: pa.Array, who: str) -> pa.Scalar:
    """Return null, to stand for NaN; refuse infinities."""
    if pc.any(pc.is_inf(column)).as_py():
        raise _wrong_label("a finite number", "an infinite one", who)
    return pa.scalar(None, pa.float64())


def _wrong_label(needs: str, came: str, who: str) -> Invalid:
    return Invalid(
        who,
        needs=f"for each label {needs}",
        came=came,
        todo="Send labels in the type of the training data.",
    )
