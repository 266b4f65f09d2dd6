"""The columns of the three tables of a feed, and the order in which rows were written."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from renewal.core.ids import key_hash_bytes
from renewal.core.spec import Signature
from renewal.data.frame import schema_of

PREFIX = "renewal_"
KEY = "renewal_key"
KEY_HASH = "renewal_key_hash"
GROUP_HASH = "renewal_group_hash"
STICKY = "renewal_sticky"
EVENT_AT = "renewal_event_at"
ARRIVED_AT = "renewal_arrived_at"
BLOCK = "renewal_block"
ORDER = "renewal_order"
LABEL = "renewal_label"
ATTRIBUTE = "renewal_attribute_"
"""What stands before the name of an attribute in the rows table."""

INSTANT = pa.timestamp("us", "UTC")

SYSTEM_SCHEMA = pa.schema(
    [
        (KEY, pa.string()),
        (KEY_HASH, pa.int64()),
        (GROUP_HASH, pa.int64()),
        (STICKY, pa.string()),
        (EVENT_AT, INSTANT),
        (ARRIVED_AT, INSTANT),
        (BLOCK, pa.int64()),
        (ORDER, pa.int64()),
    ]
)
"""What `renewal.data.stamp.stamp` writes beside the features of a row."""

PREDICTIONS_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("key", pa.string()),
        ("key_hash", pa.int64()),
        ("version_id", pa.string()),
        ("arm", pa.string()),
        ("propensity", pa.float64()),
        ("shadow", pa.bool_()),
        ("scores", pa.list_(pa.float64())),
        ("predicted_at", INSTANT),
        ("event_at", INSTANT),
        ("latency_ms", pa.float64()),
        ("failed", pa.bool_()),
    ]
)
"""One row for each (row, version) that was scored; `scores` is null where it failed."""

UNIQUE_TEXTS = frozenset({KEY, "key", "prediction_id"})
"""Text columns of the three tables in which hardly a value stands twice."""

_order_lock = threading.Lock()
_last_order = 0


def rows_schema(signature: Signature) -> pa.Schema:
    """Return the schema of the rows table: the features, then the system columns.

    Examples
    --------
    >>> from renewal.core.spec import Field
    >>> rows_schema(Signature((Field("hour", "float"),))).names[:3]
    ['hour', 'renewal_key', 'renewal_key_hash']
    """
    return pa.schema([*schema_of(signature), *SYSTEM_SCHEMA])


def labels_schema(label: pa.DataType) -> pa.Schema:
    """Return the schema of the labels table for labels of one type."""
    return pa.schema(
        [
            (KEY, pa.string()),
            (KEY_HASH, pa.int64()),
            (LABEL, label),
            (ARRIVED_AT, INSTANT),
            (ORDER, pa.int64()),
        ]
    )


def hash_keys(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return the hashes of keys or groups; ``.view(np.int64)`` is their form in the tables.

    Examples
    --------
    >>> hash_keys(["a", "b"]).dtype
    dtype('uint64')
    """
    return np.frombuffer(key_hash_bytes(texts), "<u8").astype(np.uint64, copy=False)


def write_order(n_rows: int) -> npt.NDArray[np.int64]:
    """Return numbers that rise from row to row and from call to call.

    They decide between two records of one key that arrived at the same instant: the one
    written later wins, whatever the table's files look like after a compaction. They start
    at the machine's clock in nanoseconds, so they rise across processes too.

    Examples
    --------
    >>> first, second = write_order(2), write_order(1)
    >>> bool(first[0] < first[1] < second[0])
    True
    """
    global _last_order  # noqa: PLW0603  # one order for the whole process
    with _order_lock:
        start = max(time.time_ns(), _last_order + 1)
        _last_order = start + n_rows
    return np.arange(start, start + n_rows, dtype=np.int64)


def int64s(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
    """Return a whole-number or instant column without nulls as numpy, without a copy."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    found: npt.NDArray[Any] = column.to_numpy()
    return found


def hashes(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.uint64]:
    """Return a hash column of a table as unsigned numbers."""
    return int64s(column).view(np.uint64)


def instants(us: npt.NDArray[np.int64]) -> pa.Array:
    """Return microseconds since 1970 as an instant column."""
    return pa.array(us, pa.int64()).cast(INSTANT)
