"""Rows as the rest of the house works with them: features beside aligned numpy columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from renewal.data.attributes import attributes_beside
from renewal.data.columns import (
    ARRIVED_AT,
    BLOCK,
    EVENT_AT,
    GROUP_HASH,
    KEY,
    KEY_HASH,
    PREFIX,
    STICKY,
    hashes,
    int64s,
)

NEVER_US = int(np.iinfo(np.int64).max)
"""When a label arrived that has not: later than anything."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """n rows of a feed, joined with their newest labels.

    Parameters
    ----------
    features : pyarrow.Table
        The input columns, n rows.
    key : object array of str, shape (n,)
        Names of the rows; no key comes twice.
    key_hash, group_hash : uint64 arrays, shape (n,)
        `renewal.core.ids.key_hash` of key and group.
    sticky : object array of str, shape (n,), or None
        What traffic was split by; None: the key.
    event_us, arrived_us : int64 arrays, shape (n,), microseconds since 1970
        When the row happened and when it came.
    label : array of shape (n,) or None
        float64 for regression, NaN where there is none; object for classes, None where
        there is none. None altogether: labels were not asked for.
    label_arrived_us : int64 array, shape (n,), microseconds since 1970
        When the label came; `NEVER_US` where it has not.
    block : int64 array, shape (n,)
        The unit of independent evidence: event time divided by the block length, or the
        hash of the block column or group. Equal number, same block.
    attributes : pyarrow.Table or None, default None
        The declared attributes, n rows, for slices and groups and never for a model; nulls
        where a row came without. None: none is declared.
    """

    features: pa.Table
    key: npt.NDArray[Any]
    key_hash: npt.NDArray[np.uint64]
    group_hash: npt.NDArray[np.uint64]
    sticky: npt.NDArray[Any] | None
    event_us: npt.NDArray[np.int64]
    arrived_us: npt.NDArray[np.int64]
    label: npt.NDArray[Any] | None
    label_arrived_us: npt.NDArray[np.int64]
    block: npt.NDArray[np.int64]
    attributes: pa.Table | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.key)

    @property
    def has_label(self) -> npt.NDArray[np.bool_]:
        """Which rows have a label, shape (n,)."""
        return np.asarray(self.label_arrived_us != NEVER_US, np.bool_)

    @property
    def described(self) -> pa.Table:
        """Features and attributes as one table: what slices and groups may be cut by.

        A model is never given it: its inputs are `features`.
        """
        if self.attributes is None:
            return self.features
        names = [*self.features.column_names, *self.attributes.column_names]
        return pa.table([*self.features.columns, *self.attributes.columns], names=names)

    def take(self, which: npt.NDArray[Any]) -> Rows:
        """Return some of the rows.

        Parameters
        ----------
        which : bool array of shape (n,), or int array of any length
            A mask, or row numbers in the order wanted.

        Notes
        -----
        Neighbors in their order, such as those of a stretch of time, share the memory of
        these rows, and all of them are these rows: an update over a large feed would hold
        it several times over.
        """
        at = np.flatnonzero(which) if which.dtype == np.bool_ else which
        if _are_neighbors(at):
            return self._slice(int(at[0]), len(at))
        places = pa.array(at, pa.int64())
        return Rows(
            features=self.features.take(places),
            key=self.key[at],
            key_hash=self.key_hash[at],
            group_hash=self.group_hash[at],
            sticky=None if self.sticky is None else self.sticky[at],
            event_us=self.event_us[at],
            arrived_us=self.arrived_us[at],
            label=None if self.label is None else self.label[at],
            label_arrived_us=self.label_arrived_us[at],
            block=self.block[at],
            attributes=None if self.attributes is None else self.attributes.take(places),
        )

    def labelled(self) -> Rows:
        """Return the rows that have a label."""
        return self.take(self.has_label)

    def _slice(self, start: int, n_rows: int) -> Rows:
        if n_rows == len(self):
            return self
        at = slice(start, start + n_rows)
        return Rows(
            features=self.features.slice(start, n_rows),
            key=self.key[at],
            key_hash=self.key_hash[at],
            group_hash=self.group_hash[at],
            sticky=None if self.sticky is None else self.sticky[at],
            event_us=self.event_us[at],
            arrived_us=self.arrived_us[at],
            label=None if self.label is None else self.label[at],
            label_arrived_us=self.label_arrived_us[at],
            block=self.block[at],
            attributes=None if self.attributes is None else self.attributes.slice(start, n_rows),
        )


def to_rows(
    stamped: pa.Table,
    label: npt.NDArray[Any] | None = None,
    label_arrived_us: npt.NDArray[np.int64] | None = None,
    *,
    attributes: Sequence[str] = (),
) -> Rows:
    """Return stamped rows (`renewal.data.stamp`) as `Rows`, with labels where they are given.

    Parameters
    ----------
    stamped : pyarrow.Table
        With the schema `renewal.data.columns.rows_schema`, and attributes, n rows.
    label : array of shape (n,) or None
        As in `Rows`.
    label_arrived_us : int64 array of shape (n,) or None
        As in `Rows`; None: no label has arrived.
    attributes : sequence of str, default ()
        Those that the spec declares; null where the rows have no such column.

    Examples
    --------
    >>> from renewal.core.spec import ModelSpec
    >>> from renewal.data.stamp import stamp
    >>> spec = ModelSpec("flights", "binary", "late", key="flight")
    >>> rows = to_rows(stamp(pa.table({"hour": [7.0]}), spec, arrived_us=5, key=["UA1"]))
    >>> len(rows), rows.key[0], rows.features.column_names, rows.has_label
    (1, 'UA1', ['hour'], array([False]))
    """
    n_rows = stamped.num_rows
    stickies = stamped.column(STICKY)
    features = [name for name in stamped.column_names if not name.startswith(PREFIX)]
    key = objects(stamped.column(KEY))
    return Rows(
        features=stamped.select(features),
        key=key,
        key_hash=hashes(stamped.column(KEY_HASH)),
        group_hash=hashes(stamped.column(GROUP_HASH)),
        sticky=None if stickies.null_count == n_rows else _or_key(objects(stickies), key),
        event_us=int64s(stamped.column(EVENT_AT)),
        arrived_us=int64s(stamped.column(ARRIVED_AT)),
        label=label,
        label_arrived_us=(
            np.full(n_rows, NEVER_US) if label_arrived_us is None else label_arrived_us
        ),
        block=int64s(stamped.column(BLOCK)),
        attributes=attributes_beside(stamped, attributes),
    )


def objects(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """Return a column as an array of Python objects, None where it is null.

    Few distinct values are made once and shared.
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(whole.type):
        found: npt.NDArray[Any] = whole.to_numpy(zero_copy_only=False)
        return found.astype(object, copy=False)
    coded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    values = np.empty(len(coded.dictionary) + 1, object)
    values[:-1] = coded.dictionary.to_pylist()
    # The place behind the last value stays None and is where nulls point to.
    at = coded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
    taken: npt.NDArray[Any] = values[at]
    return taken


def _are_neighbors(at: npt.NDArray[Any]) -> bool:
    """Say whether row numbers follow each other one by one."""
    return len(at) > 0 and int(at[0]) >= 0 and bool((np.diff(at) == 1).all())


def _or_key(sticky: npt.NDArray[Any], key: npt.NDArray[Any]) -> npt.NDArray[Any]:
    missing = sticky == None  # noqa: E711  # element by element
    return np.where(missing, key, sticky)
