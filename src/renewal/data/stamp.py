"""What a feed notes beside the features of a row: key, group, block, sticky, times, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.core.spec import ModelSpec, Signature
from renewal.data.attributes import attributes_of
from renewal.data.columns import (
    ARRIVED_AT,
    BLOCK,
    EVENT_AT,
    GROUP_HASH,
    INSTANT,
    KEY,
    KEY_HASH,
    ORDER,
    PREFIX,
    STICKY,
    SYSTEM_SCHEMA,
    hash_keys,
    instants,
    int64s,
    write_order,
)
from renewal.data.frame import require_column
from renewal.data.rowkey import row_keys

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


def stamp(
    features: pa.Table,
    spec: ModelSpec,
    *,
    arrived_us: int | npt.NDArray[np.int64],
    key: Any = None,
    key_hash: npt.NDArray[np.uint64] | None = None,
    group: Any = None,
    sticky: Any = None,
    block: Any = None,
    event_us: Sequence[int] | npt.NDArray[np.int64] | None = None,
    who: str = "stamp",
) -> pa.Table:
    """Return feature rows with the system columns of the rows table, ready to be written.

    Parameters
    ----------
    features : pyarrow.Table
        Conformed to the model's signature, n rows.
    spec : ModelSpec
        Says what a block is.
    arrived_us : int or int64 array of shape (n,), microseconds since 1970
        When the rows came.
    key : n values (a sequence or an Arrow column) or None
        Names of the rows, kept as text. None: `renewal.data.rowkey.row_keys`.
    key_hash : uint64 array of shape (n,) or None
        `hash_keys` of `key`, where the caller has taken it already.
    group : n values or None
        What fixes a row's role. None: the key.
    sticky : n values or None
        What traffic is split by. None: the key (nothing is stored).
    block : n values or None
        Values of the block column, where ``spec.block`` names one. None: the group.
    event_us : n ints or None, microseconds since 1970
        When it happened. None: when it came.
    who : str
        The verb that asks, for messages.

    Returns
    -------
    pyarrow.Table
        With the schema `renewal.data.columns.rows_schema`.

    Raises
    ------
    Invalid
        On a null key, group, sticky or block, or a feature called ``renewal_...``.

    Notes
    -----
    About 2 microseconds a row, nearly all of it for the hashes.
    """
    _check_feature_names(features, who)
    n_rows = features.num_rows
    keys = pa.array(row_keys(features)) if key is None else text_column(key, who=who, use="key")
    key_hash = _hashes(keys) if key_hash is None else key_hash
    group_hash = key_hash if group is None else _hashes(text_column(group, who=who, use="group"))
    stickies = keys if sticky is None else text_column(sticky, who=who, use="sticky")
    arrived = np.broadcast_to(np.asarray(arrived_us, np.int64), (n_rows,))
    event = arrived if event_us is None else np.asarray(event_us, np.int64)
    blocks = None if block is None else _hashes(text_column(block, who=who, use="block"))
    system = {
        KEY: keys,
        KEY_HASH: pa.array(key_hash.view(np.int64)),
        GROUP_HASH: pa.array(group_hash.view(np.int64)),
        STICKY: pa.nulls(n_rows, pa.string()) if stickies.equals(keys) else stickies,
        EVENT_AT: instants(event),
        ARRIVED_AT: instants(arrived),
        BLOCK: pa.array(_blocks(spec, event, group_hash, blocks)),
        ORDER: pa.array(write_order(n_rows)),
    }
    # The fields of the features go along, for the shapes of tensors stand in their metadata.
    schema = pa.schema([*features.schema, *(SYSTEM_SCHEMA.field(name) for name in system)])
    return pa.table([*features.columns, *system.values()], schema=schema)


def stamp_table(
    table: pa.Table,
    features: pa.Table,
    spec: ModelSpec,
    *,
    arrived_us: int,
    known: Signature | None = None,
    who: str,
) -> pa.Table:
    """Stamp the rows of a user's table, reading the columns that the spec names.

    Parameters
    ----------
    table : pyarrow.Table
        As it came, with the key, time, group, sticky, block and attribute columns of the spec.
    features : pyarrow.Table
        Its input columns, conformed.
    spec : ModelSpec
        Names the columns.
    arrived_us : int, microseconds since 1970
        When the rows came.
    known : Signature or None
        The attributes that the feed keeps (`renewal.data.attributes.attributes_in`).
    who : str
        The verb that asks, for messages.

    Returns
    -------
    pyarrow.Table
        With the schema `renewal.data.columns.rows_schema`, and the attributes after it.

    Raises
    ------
    Invalid
        On a missing column, a null in one of them (attributes may have some), a time without
        a zone, or an attribute of another type than before.
    """

    def column(name: str | None, use: str) -> pa.ChunkedArray | None:
        return None if name is None else require_column(table, name, who=who, use=use)

    time = column(spec.time, "time")
    attributes = attributes_of(table, spec, known=known, who=who)
    stamped = stamp(
        features,
        spec,
        arrived_us=arrived_us,
        key=column(spec.key, "key"),
        group=column(spec.group, "group"),
        sticky=column(spec.sticky, "sticky"),
        block=column(spec.block if isinstance(spec.block, str) else None, "block"),
        event_us=None if time is None else instants_of(time, str(spec.time), who=who),
        who=who,
    )
    for name in attributes.column_names:
        stamped = stamped.append_column(name, attributes.column(name))
    return stamped


def instants_of(
    column: pa.ChunkedArray | pa.Array, name: str, *, who: str
) -> npt.NDArray[np.int64]:
    """Return a time column as microseconds since 1970.

    Parameters
    ----------
    column : pyarrow column
        Instants with a zone, or ISO-8601 text that ends in one.
    name, who : str
        The column and the verb that asks, for the message.

    Raises
    ------
    Invalid
        On a time without a zone, a null, or another type.
    """
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        raise Invalid(
            who,
            needs=f"instants with a time zone in the column {name!r}",
            came="times without one",
            todo="Localize them, in pandas: frame[name].dt.tz_localize('UTC').",
            column=name,
        )
    if pa.types.is_string(column.type):
        try:
            column = column.cast(INSTANT)
        except pa.ArrowInvalid as error:
            raise Invalid(
                who,
                needs=f"ISO-8601 instants with a zone in the column {name!r}",
                came=str(error),
                todo="Write them like 2013-01-31T12:00:00Z.",
                column=name,
            ) from error
    if not pa.types.is_timestamp(column.type):
        raise Invalid(
            who,
            needs=f"instants in the column {name!r}",
            came=str(column.type),
            todo="Convert it to timestamps with a time zone.",
            column=name,
        )
    _refuse_nulls(column, name, who)
    return int64s(column)


def text_column(values: Any, *, who: str, use: str) -> pa.StringArray:
    """Return keys of any type as text, as Python's `str` writes them.

    Raises
    ------
    Invalid
        On a null or NaN: it names nothing.
    """
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    _refuse_nulls(column, use, who)
    if not pa.types.is_string(column.type):
        return pa.array(map(str, column.to_pylist()), pa.string())
    return column if isinstance(column, pa.Array) else column.combine_chunks()


def block_length_us(spec: ModelSpec) -> int | None:
    """Return the length of a block in microseconds; None where blocks are no stretches of time.

    Examples
    --------
    >>> block_length_us(ModelSpec("m", "binary", "late", time="at")) // 3_600_000_000
    24
    """
    if isinstance(spec.block, timedelta):
        return spec.block // _MICROSECOND
    return _DAY // _MICROSECOND if spec.block is None and spec.time is not None else None


def _blocks(
    spec: ModelSpec,
    event_us: npt.NDArray[np.int64],
    group_hash: npt.NDArray[np.uint64],
    named: npt.NDArray[np.uint64] | None,
) -> npt.NDArray[np.int64]:
    length = block_length_us(spec)
    if length is not None:
        return event_us // length
    return (group_hash if named is None else named).view(np.int64)


def _hashes(keys: pa.StringArray) -> npt.NDArray[np.uint64]:
    return hash_keys(keys.to_pylist())


def _refuse_nulls(column: pa.ChunkedArray | pa.Array, use: str, who: str) -> None:
    if not column.null_count and not pa.types.is_floating(column.type):
        return
    missing = pc.is_null(column, nan_is_null=True)
    n_missing = pc.sum(missing).as_py() or 0
    if n_missing:
        raise Invalid(
            who,
            needs=f"a value in every row of {use!r}",
            came=f"{n_missing} missing, the first in row {pc.index(missing, True).as_py()}",
            todo="Fill the gap, or leave the row out.",
            column=use,
        )


def _check_feature_names(features: pa.Table, who: str) -> None:
    taken = [name for name in features.column_names if name.startswith(PREFIX)]
    if taken:
        raise Invalid(
            who,
            needs=f"columns whose names do not start with {PREFIX!r}",
            came=", ".join(taken),
            todo="Rename them; the feed keeps its own columns there.",
            columns=taken,
        )
