"""From prediction ids to row keys: in the table, or in a segment that waits for the sealer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import NotFound
from renewal.data.delta import AppendTable
from renewal.data.segment import Segment

_NAMED = 3


def keys_of(
    table: AppendTable,
    unsealed: Callable[[], Iterable[Segment]],
    names: Sequence[str],
    *,
    who: str,
) -> list[str]:
    """Return the row key of each prediction id.

    Parameters
    ----------
    table : AppendTable
        The predictions.
    unsealed : callable
        Reads the segments that are not in it yet.
    names : sequence of str
        ``P-i`` for row i of request P; a bare ``P`` means ``P-0``.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    NotFound
        When nobody gave one of them out; `fields["prediction_ids"]` holds the first 100.

    Notes
    -----
    Ids begin with the time of their making, so only files of their time are opened.
    """
    ids = [name if "-" in name else f"{name}-0" for name in names]
    known = _in_table(table, set(ids))
    missing = set(ids) - known.keys()
    if missing:
        for segment in unsealed():
            known.update(_in_segment(segment, missing))
        missing -= known.keys()
    if missing:
        # A segment may have been sealed between the two looks.
        known.update(_in_table(table, missing))
    unknown = [name for name, id_ in zip(names, ids, strict=True) if id_ not in known]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise NotFound(
            who,
            needs="ids of predictions that this model has made",
            came=f"the unknown {', '.join(map(repr, unknown[:_NAMED]))}{more}",
            todo="Send ids from its answers, or name the rows by key. Nothing was written.",
            prediction_ids=unknown[:100],
        )
    return [known[id_] for id_ in ids]


def _in_table(table: AppendTable, ids: set[str]) -> dict[str, str]:
    wanted = pa.array(sorted(ids), pa.string())
    found = table.read(
        table.view(),
        ("prediction_id", "key"),
        {"prediction_id": (wanted[0].as_py(), wanted[-1].as_py())},
        pc.field("prediction_id").isin(wanted),
    )
    return {} if found is None else _pairs(found)


def _in_segment(segment: Segment, ids: set[str]) -> dict[str, str]:
    wanted = pa.array(sorted(ids), pa.string())
    return _pairs(segment.predictions.filter(pc.field("prediction_id").isin(wanted)))


def _pairs(predictions: pa.Table) -> dict[str, str]:
    ids, keys = predictions["prediction_id"].to_pylist(), predictions["key"].to_pylist()
    return dict(zip(ids, keys, strict=True))
