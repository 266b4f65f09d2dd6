"""Taking segments in: each once, however often it is handed over."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from renewal.core.errors import Conflict
from renewal.core.spec import Signature
from renewal.data.columns import PREFIX, SYSTEM_SCHEMA
from renewal.data.delta import AppendTable
from renewal.data.frame import conform, signature_of
from renewal.data.segment import Segment

_ATTEMPTS = 5


def inputs_of(schema: pa.Schema) -> Signature:
    """Return the feature columns of a rows table."""
    features = [field for field in schema if not field.name.startswith(PREFIX)]
    return signature_of(pa.schema(features).empty_table())


def fit_rows(segment: Segment, schema: pa.Schema | None) -> pa.Table:
    """Return the rows of a segment in the columns of the feed, and new ones beside them.

    What was served must not be lost because a newer version has one column more: the
    table gets the column, and a column that the segment lacks is null.

    Parameters
    ----------
    segment : Segment
        What came.
    schema : pyarrow.Schema or None
        Of the rows table; None: there is none yet.

    Raises
    ------
    Invalid
        When a column has another type than the feed and cannot be widened to it.
    """
    rows = segment.rows
    if schema is None or rows.num_rows == 0 or rows.schema.equals(schema):
        return rows
    features = inputs_of(rows.schema)
    shared = Signature(
        tuple(field for field in inputs_of(schema).fields if field.name in features.names)
    )
    who = f"Feed.commit of the segment {segment.file_name}"
    fitted = conform(rows.select(list(shared.names)), shared, who=who)
    fresh = [name for name in features.names if name not in shared.names]
    rest = rows.select([*fresh, *SYSTEM_SCHEMA.names])
    return pa.table(
        [*fitted.columns, *rest.columns], schema=pa.schema([*fitted.schema, *rest.schema])
    )


def commit_once(table: AppendTable, parts: Sequence[tuple[Segment, pa.Table]]) -> None:
    """Append the parts that are not in the table yet, in one commit that says so.

    Parameters
    ----------
    table : AppendTable
        Remembers the last number of every worker in the commit that holds its rows.
    parts : sequence of (Segment, pyarrow.Table)
        Segments of a worker in the order of their numbers, and what of them goes in.

    Raises
    ------
    Conflict
        When other processes commit for the same workers all the time.
    """
    for attempt in range(_ATTEMPTS):
        done = {worker: table.transaction(worker) for worker in {s.worker for s, _ in parts}}
        fresh = [(s, data) for s, data in parts if s.seq > done[s.worker] and data.num_rows]
        if not fresh:
            return
        last = {segment.worker: segment.seq for segment, _ in fresh}
        whole = pa.concat_tables([data for _, data in fresh], promote_options="default")
        try:
            table.append(whole, last)
        except Conflict:
            # Another sealer was faster: what is left may be nothing.
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return
