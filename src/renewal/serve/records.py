"""From what was served to the rows and predictions of a segment, many requests at a time."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from renewal.core.errors import RenewalError
from renewal.core.spec import ModelSpec
from renewal.data.columns import PREDICTIONS_SCHEMA, SYSTEM_SCHEMA, hash_keys, instants
from renewal.data.rowkey import row_keys
from renewal.data.stamp import stamp
from renewal.serve.features import joined
from renewal.serve.routing import RowFacts

if TYPE_CHECKING:
    from renewal.serve.served import Part, Served

T = TypeVar("T")
_LOG = logging.getLogger("renewal.serve")


def tables_of(
    spec: ModelSpec, entries: Sequence[Served], redacted: Collection[str] = ()
) -> tuple[pa.Table, pa.Table, list[Served]]:
    """Return the rows table, the predictions table and the entries that were left out.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    entries : sequence of Served
        In the order in which they were answered.
    redacted : collection of str, default ()
        Columns whose values are not written: null stands for them, and the keys of rows that
        have none are hashes of what is written.

    Returns
    -------
    (pyarrow.Table, pyarrow.Table, list of Served)
        As `SegmentWriter.add` takes them. Shadow entries bring no rows, for these have been
        written with their answer, and neither do refused ones, for these rows are wrong. Rows on
        which a version failed are there: they are what one wants to look at.

    Notes
    -----
    About 4 microseconds a row. An entry that cannot be written is left out and logged, so
    that it never stops those after it.
    """
    try:
        facts = facts_of(spec, entries, redacted)
        rows = rows_table(spec, entries, facts, redacted)
        return rows, predictions_table(entries, facts), []
    except (ValueError, TypeError, pa.ArrowException, RenewalError):
        if len(entries) == 1:
            _LOG.exception("an entry of the prediction log cannot be written model=%s", spec.name)
            return SYSTEM_SCHEMA.empty_table(), PREDICTIONS_SCHEMA.empty_table(), [*entries]
    parts = [tables_of(spec, [entry], redacted) for entry in entries]
    rows = pa.concat_tables([part[0] for part in parts], promote_options="permissive")
    left_out = list(chain.from_iterable(part[2] for part in parts))
    return rows, pa.concat_tables([part[1] for part in parts]), left_out


def in_portions(entries: list[Served], n_rows: int) -> Iterator[list[Served]]:
    """Take the entries out of a list and yield them in order, about `n_rows` rows at a time.

    Whoever lets go of each portion frees it: to free twenty thousand entries at once holds the
    interpreter for 25 ms.

    Parameters
    ----------
    entries : list of Served
        Is empty in the end. None is split: one that is larger makes a portion of its own.
    n_rows : int
        After which a portion ends.
    """
    entries.reverse()
    while entries:
        portion: list[Served] = []
        n_held = 0
        while entries and n_held < n_rows:
            portion.append(entries.pop())
            n_held += portion[-1].n_rows
        yield portion
        portion.clear()


@dataclass(slots=True)
class Facts:
    """Keys and times of all rows of many entries, one after the other.

    Parameters
    ----------
    starts : list of int
        Where the rows of each entry begin.
    key, group, sticky : list of str
        One for each row; `group` and `sticky` may be the very list of keys.
    event_us : list of int
        When it happened.
    block : list of str or None
        None where an entry brings none.
    """

    starts: list[int]
    key: list[str]
    group: list[str]
    sticky: list[str]
    event_us: list[int]
    block: list[str] | None
    _hashes: np.ndarray[Any, np.dtype[np.uint64]] | None = None

    def hashes(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Return the hashes of the keys, taken once."""
        if self._hashes is None:
            self._hashes = hash_keys(self.key)
        return self._hashes

    def of(self, entries: Sequence[Served], chosen: Sequence[int]) -> Facts:
        """Return the facts of some of the entries, in their order."""
        rows: list[int] = []
        starts: list[int] = []
        for at in chosen:
            starts.append(len(rows))
            start = self.starts[at]
            rows.extend(range(start, start + entries[at].features.n_rows))
        key = [self.key[row] for row in rows]
        return Facts(
            starts,
            key,
            key if self.group is self.key else [self.group[row] for row in rows],
            key if self.sticky is self.key else [self.sticky[row] for row in rows],
            [self.event_us[row] for row in rows],
            None if self.block is None else [self.block[row] for row in rows],
        )


def facts_of(spec: ModelSpec, entries: Sequence[Served], redacted: Collection[str] = ()) -> Facts:
    """Return keys and times of every row, those that the request left to us, too.

    Where no column is the key, equal rows are one row: their keys are hashes, taken of the
    rows of all entries at once.
    """
    sizes = [entry.features.n_rows for entry in entries]
    starts = [0, *accumulate(sizes)][:-1]
    plain = [entry for entry in entries if entry.facts is None or not entry.facts.has_key]
    is_plain = all(entry.facts is None for entry in entries)
    if spec.key is None:
        keys = list(_hashes(plain, redacted))
    else:
        keys = [
            f"{entry.prediction_id}-{row}"
            for entry in plain
            for row in range(entry.features.n_rows)
        ]
    if is_plain:
        times = _spread([entry.predicted_us for entry in entries], sizes)
        return Facts(starts, keys, keys, _sticky(entries, keys, sizes), times, None)
    return _gathered(entries, iter(keys), starts)


def _gathered(entries: Sequence[Served], keys: Iterator[str], starts: list[int]) -> Facts:
    """Return the facts of entries of which some bring their own."""
    found = Facts(starts, [], [], [], [], [])
    for entry in entries:
        own = entry.facts
        n_rows = entry.features.n_rows
        if own is None:
            names = list(islice(keys, n_rows))
            own = RowFacts(names, names, names, [entry.predicted_us] * n_rows)
        elif not own.has_key:
            names = list(islice(keys, n_rows))
            own = replace(
                own,
                key=names,
                group=names if own.group is own.key else own.group,
                sticky=names if own.sticky is own.key else own.sticky,
            )
        found.key += own.key
        found.group += own.group
        found.sticky += own.sticky if entry.sticky is None else [entry.sticky] * n_rows
        found.event_us += own.event_us
        if own.block is None:
            found.block = None
        elif found.block is not None:
            found.block += own.block
    return found


def _sticky(entries: Sequence[Served], keys: list[str], sizes: Sequence[int]) -> list[str]:
    """Return by what rows were routed: the keys themselves, where no header said otherwise."""
    if all(entry.sticky is None for entry in entries):
        return keys
    found: list[str] = []
    start = 0
    for entry, size in zip(entries, sizes, strict=True):
        end = start + size
        found += keys[start:end] if entry.sticky is None else [entry.sticky] * size
        start = end
    return found


def rows_table(
    spec: ModelSpec, entries: Sequence[Served], facts: Facts, redacted: Collection[str] = ()
) -> pa.Table:
    """Return the answered rows with the feed's system columns."""
    groups: dict[int, list[int]] = {}
    for at, entry in enumerate(entries):
        if not entry.is_shadow and not entry.is_refused:
            groups.setdefault(id(entry.features.signature), []).append(at)
    tables = []
    for alike in groups.values():
        if len(alike) == len(entries):
            tables.append(_stamped(spec, entries, facts, redacted))
        else:
            chosen = [entries[at] for at in alike]
            tables.append(_stamped(spec, chosen, facts.of(entries, alike), redacted))
    if not tables:
        return SYSTEM_SCHEMA.empty_table()
    return pa.concat_tables(tables, promote_options="permissive")


def predictions_table(entries: Sequence[Served], facts: Facts) -> pa.Table:
    """Return one row for each row and version that was scored, or failed to be."""
    parts: list[tuple[Served, Part]] = [(entry, part) for entry in entries for part in entry.parts]
    sizes = [len(part.rows) for _, part in parts]
    ids, keys, events = _row_columns(entries, facts, parts)
    hashes = facts.hashes() if keys is facts.key else hash_keys(keys)
    columns = {
        "prediction_id": ids,
        "key": keys,
        "key_hash": hashes.view(np.int64),
        "version_id": _spread([part.loaded.version.id for _, part in parts], sizes),
        "arm": _spread([part.arm for _, part in parts], sizes),
        "propensity": _spread([part.propensity for _, part in parts], sizes),
        "shadow": _spread([entry.is_shadow for entry, _ in parts], sizes),
        "scores": list(chain.from_iterable(_score_lists(part) for _, part in parts)),
        "predicted_at": _instants(_spread([entry.predicted_us for entry, _ in parts], sizes)),
        "event_at": _instants(events),
        "latency_ms": _spread([entry.latency_ms for entry, _ in parts], sizes),
        "failed": _spread([part.scores is None for _, part in parts], sizes),
    }
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)


def _row_columns(
    entries: Sequence[Served], facts: Facts, parts: Sequence[tuple[Served, Part]]
) -> tuple[list[str], list[str], list[int]]:
    """Return the ids, keys and times of the rows of all parts, in their order."""
    is_whole = len(parts) == len(entries) and all(
        len(part.rows) == entry.features.n_rows for entry, part in parts
    )
    if is_whole:
        ids = [
            f"{entry.prediction_id}-{row}"
            for entry in entries
            for row in range(entry.features.n_rows)
        ]
        return ids, facts.key, facts.event_us
    ids, places = [], []
    for entry, start in zip(entries, facts.starts, strict=True):
        for part in entry.parts:
            rows = part.rows.tolist()
            ids += [f"{entry.prediction_id}-{row}" for row in rows]
            places += [start + row for row in rows]
    return ids, [facts.key[at] for at in places], [facts.event_us[at] for at in places]


def _spread(values: list[T], sizes: Sequence[int]) -> list[T]:
    """Repeat each value as often as its size says."""
    if len(sizes) == sum(sizes):
        return values
    return list(chain.from_iterable([value] * n for value, n in zip(values, sizes, strict=True)))


def _hashes(entries: Sequence[Served], redacted: Collection[str]) -> Iterator[str]:
    """Yield the keys of all rows, hashed in one go for entries of one signature in a row."""
    start = 0
    for at in range(1, len(entries) + 1):
        if at < len(entries) and (
            entries[at].features.signature is entries[start].features.signature
        ):
            continue
        yield from row_keys(_features(entries[start:at], redacted))
        start = at


def _features(entries: Sequence[Served], redacted: Collection[str]) -> pa.Table:
    """Return the rows of entries of one signature as a table, without what is not written."""
    table = joined([entry.features for entry in entries]).table()
    for at, name in enumerate(table.column_names):
        if name in redacted:
            field = table.schema.field(at)
            table = table.set_column(at, field, pa.nulls(table.num_rows, field.type))
    return table


def _stamped(
    spec: ModelSpec, entries: Sequence[Served], facts: Facts, redacted: Collection[str]
) -> pa.Table:
    """Stamp the rows of entries with equal columns in one go."""
    sizes = [entry.features.n_rows for entry in entries]
    return stamp(
        _features(entries, redacted).combine_chunks(),
        spec,
        arrived_us=np.repeat([entry.predicted_us for entry in entries], sizes),
        key=facts.key,
        key_hash=facts.hashes(),
        # The key's hash is not taken twice where it is the group, too.
        group=None if facts.group is facts.key or facts.group == facts.key else facts.group,
        sticky=None if facts.sticky is facts.key else facts.sticky,
        block=facts.block if isinstance(spec.block, str) else None,
        event_us=facts.event_us,
        who="the prediction log",
    )


def _score_lists(part: Part) -> list[Any]:
    return [None] * len(part.rows) if part.scores is None else part.scores.tolist()


def _instants(us: list[int]) -> pa.Array:
    return instants(np.asarray(us, np.int64))
