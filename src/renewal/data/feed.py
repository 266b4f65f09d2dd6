"""A feed: rows, predictions and labels of a model, appended as they come, joined when read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.clock import Clock, aware, to_us
from renewal.core.errors import Invalid
from renewal.core.spec import ModelSpec, Signature
from renewal.core.version import Snapshot
from renewal.data.attributes import attributes_in
from renewal.data.columns import (
    ARRIVED_AT,
    EVENT_AT,
    KEY_HASH,
    LABEL,
    PREDICTIONS_SCHEMA,
    hash_keys,
    hashes,
    int64s,
)
from renewal.data.committing import commit_once, fit_rows, inputs_of
from renewal.data.delta import AppendTable
from renewal.data.frame import as_table, conform, signature_of
from renewal.data.holding import held_versions, hold, release
from renewal.data.lookup import keys_of
from renewal.data.predictions import Predictions, to_predictions
from renewal.data.reading import Window, read_rows, stored_among
from renewal.data.received import (
    Appended,
    Labelled,
    known_labels,
    label_records,
    read_feedback,
)
from renewal.data.rows import Rows
from renewal.data.segment import Segment, read_segments
from renewal.data.stamp import stamp_table
from renewal.registry.db import Database

__all__ = ["Appended", "Feed", "Labelled", "Predictions"]


class Feed:
    """The feed of one model: three append-only Delta tables, joined when they are read.

    Rows and labels meet by the hash of the row key. A key that comes again is one row, a
    label that comes again is one label: the newest arrival wins, and of equal arrivals the
    one written last. Nothing is overwritten, so every older state can still be read.

    Parameters
    ----------
    path : Path
        Folder of the tables ``rows``, ``predictions`` and ``labels``.
    spec : ModelSpec
        Says what the columns mean.
    db : Database
        Where leases on snapshots are kept.
    clock : Clock
        Says when something arrives.
    segments : Path or None
        Folder of the segments that wait for the sealer; feedback may come before it.

    Notes
    -----
    Safe to share between threads and to open in several processes. Measured on two cores
    with 330,000 rows of 20 columns: appending 1,000 rows with their labels takes 50 ms (two
    commits), reading everything with labels 0.4 s, the last week 50 ms.
    """

    def __init__(
        self,
        path: Path,
        spec: ModelSpec,
        db: Database,
        clock: Clock,
        *,
        segments: Path | None = None,
    ) -> None:
        self.path = path
        self.spec = spec
        self._db = db
        self._clock = clock
        self._segments = segments
        self._rows = AppendTable(path / "rows", (EVENT_AT, ARRIVED_AT))
        self._predictions = AppendTable(path / "predictions", ("prediction_id", "event_at"))
        self._labels = AppendTable(path / "labels", (ARRIVED_AT,))

    def append(self, data: Any, *, arrived_at: datetime | None = None) -> Appended:
        """Take in rows, with the labels of those that have one.

        Parameters
        ----------
        data : table
            The input columns and the columns that the spec names; the target may be absent
            or null (the label comes later), an attribute may be null. The first rows fix
            names and types.
        arrived_at : datetime or None
            When they came; None: now.

        Raises
        ------
        Invalid
            On no rows, a missing or unknown column, a wrong type, a null key or event
            time, an event time without a zone. Nothing is written then.

        Notes
        -----
        Rows are committed before labels. A process killed in between has written the rows:
        append the same table again, repeated rows are one row. Counting repeats reads the
        hashes of the whole feed, 8 bytes a row.
        """
        who = "Feed.append"
        table = as_table(data, who=who)
        if table.num_rows == 0:
            raise Invalid(who, needs="at least one row", came="none", todo="Leave the call out.")
        at_us = to_us(self._clock.now() if arrived_at is None else aware(arrived_at, who=who))
        stamped = self._stamped(table, at_us, who)
        labels = known_labels(table, stamped, self.spec, stored=self._label_type(), who=who)
        n_repeated = self._count_repeated(hashes(stamped[KEY_HASH]))
        self._rows.append(stamped)
        self._rows.compact_when_due()
        if labels.num_rows:
            self._labels.append(labels)
            self._labels.compact_when_due()
        return Appended(stamped.num_rows, labels.num_rows, n_repeated)

    def label(self, data: Any) -> Labelled:
        """Take in labels that came after their rows; all of them or none.

        Parameters
        ----------
        data : table
            Columns ``prediction_id`` (``P-i``; a bare ``P`` means ``P-0``), or the key
            column or ``key``; ``label``, or the target; optional ``arrived_at``.

        Raises
        ------
        Invalid
            On a null or NaN label, a label of a wrong type, a wrong column.
        NotFound
            On a prediction id that nobody gave out; the first few are named.

        Notes
        -----
        A key may come before its row. Ids are ordered by time, so looking them up opens
        the files of their time only.
        """
        who = "Feed.label"
        table = as_table(data, who=who)
        now_us = to_us(self._clock.now())
        came = read_feedback(table, self.spec, stored=self._label_type(), now_us=now_us, who=who)
        if not came.names:
            return Labelled(0, 0)
        if came.by_prediction:
            keys = keys_of(self._predictions, self._unsealed, came.names, who=who)
            n_waiting = 0
        else:
            keys = came.names
            n_waiting = self._count_waiting(hash_keys(keys))
        self._labels.append(label_records(keys, came.label, came.arrived_us))
        self._labels.compact_when_due()
        return Labelled(len(keys), n_waiting)

    def rows(
        self,
        *,
        snapshot: Snapshot | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        arrived_until_us: int | None = None,
        labelled: bool | None = None,
    ) -> Rows:
        """Read rows with their newest labels, in the order of event time.

        Parameters
        ----------
        snapshot : Snapshot or None
            Read the feed as it was; None: as it is.
        since_us, until_us : int or None, microseconds since 1970
            Event times from the first on and before the second.
        arrived_until_us : int or None, microseconds since 1970
            Rows and labels that had arrived by then, that instant included.
        labelled : bool or None
            True: only rows with a label; False: only rows without; None: both.

        Returns
        -------
        Rows
            Each key once.

        Notes
        -----
        Opens only files whose event times overlap. A key may have come again with another
        event time, so hashes of rows that arrived later are read too, without features.
        """
        rows = read_rows(
            (self._rows, self._rows.view(None if snapshot is None else snapshot.rows)),
            (self._labels, self._labels.view(None if snapshot is None else snapshot.labels)),
            Window(since_us, until_us, arrived_until_us),
            regression=self._is_regression,
            attributes=self.spec.attributes,
        )
        return rows if labelled is None else rows.take(rows.has_label == labelled)

    def predictions(
        self,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        version_ids: Collection[str] | None = None,
        snapshot: Snapshot | None = None,
    ) -> Predictions:
        """Read predictions, in the order of their ids.

        Parameters
        ----------
        since_us, until_us : int or None, microseconds since 1970
            Event times of the rows, from the first on and before the second.
        version_ids : collection of str or None
            Only those of these versions.
        snapshot : Snapshot or None
            Read the feed as it was; None: as it is.
        """
        view = self._predictions.view(None if snapshot is None else snapshot.predictions)
        where = None
        if version_ids is not None:
            where = pc.field("version_id").isin(pa.array(sorted(version_ids), pa.string()))
        bounds = {"event_at": (since_us, None if until_us is None else until_us - 1)}
        found = self._predictions.read(view, PREDICTIONS_SCHEMA.names, bounds, where)
        if found is None:
            return to_predictions(PREDICTIONS_SCHEMA.empty_table())
        return to_predictions(found.sort_by("prediction_id"))

    def snapshot(self) -> Snapshot:
        """Pin the feed as it is now; `lease` it to keep its files."""
        versions = []
        # Labels first: what they belong to is then in the later look at the rows.
        for table in (self._labels, self._predictions, self._rows):
            view = table.view()
            versions.append(-1 if view is None else view.version)
        labels, predictions, rows = versions
        return Snapshot(self.spec.name, rows, predictions, labels, self._clock.now())

    def lease(self, snapshot: Snapshot, version_id: str) -> None:
        """Keep the files of a snapshot for as long as a version names it; twice is once.

        Raises
        ------
        Conflict
            When the version holds a lease on another snapshot.
        """
        hold(self._db, snapshot, version_id)

    def release(self, version_id: str) -> None:
        """Let go of the snapshot that a version holds: its bytes are gone."""
        release(self._db, version_id)

    def commit(self, *segments: Segment) -> None:
        """Take segments in, each once however often it is handed over.

        Parameters
        ----------
        *segments : Segment
            Those of one worker in the order of their numbers, none left out.

        Raises
        ------
        Invalid
            When columns of a segment have other types than the feed; nothing is written.
        Conflict
            When other processes commit the same segments all the time.

        Notes
        -----
        Each table remembers the last number of every worker in the transaction that holds
        its rows, so a process killed between the two commits leaves nothing to repair.
        """
        view = self._rows.view()
        schema = None if view is None else view.schema
        rows = [(segment, fit_rows(segment, schema)) for segment in segments]
        commit_once(self._rows, rows)
        commit_once(self._predictions, [(part, part.predictions) for part in segments])
        self._rows.compact_when_due()
        self._predictions.compact_when_due()

    def signature(self) -> Signature | None:
        """Return the input columns that the feed keeps; None before the first rows."""
        view = self._rows.view()
        return None if view is None else inputs_of(view.schema)

    def attributes(self) -> Signature | None:
        """Return the attributes that the feed has values of; None before the first rows."""
        view = self._rows.view()
        return None if view is None else attributes_in(view.schema)

    def newest_event_us(self) -> int | None:
        """Return the newest event time, microseconds since 1970; None without rows.

        Notes
        -----
        Reads one column of the files that may hold it.
        """
        view = self._rows.view()
        if view is None or view.n_rows == 0:
            return None
        lows = [low for low in view.low[EVENT_AT] if low is not None]
        bounds = {EVENT_AT: (max(lows, default=None), None)}
        found = self._rows.read(view, (EVENT_AT,), bounds)
        return None if found is None else int(int64s(found[EVENT_AT]).max())

    def n_rows(self) -> int:
        """Return the number of row records, repeated ones included; from metadata."""
        return _n_records(self._rows)

    def n_predictions(self) -> int:
        """Return the number of predictions; from metadata."""
        return _n_records(self._predictions)

    def n_labels(self, *, since_us: int | None = None) -> int:
        """Return the number of label records, corrections included.

        Parameters
        ----------
        since_us : int or None, microseconds since 1970
            Only those that arrived after it; None: all, from metadata.
        """
        if since_us is None:
            return _n_records(self._labels)
        bounds = {ARRIVED_AT: (since_us + 1, None)}
        found = self._labels.read(self._labels.view(), (ARRIVED_AT,), bounds)
        return 0 if found is None else int(found.num_rows)

    def compact(self) -> None:
        """Join small files of all three tables; it happens by itself when there are many."""
        for table in (self._rows, self._predictions, self._labels):
            table.compact()

    def vacuum(self, *, retention_hours: int = 24) -> int:
        """Delete files that compaction replaced and that no leased snapshot needs.

        Parameters
        ----------
        retention_hours : int, hours, default 24
            Younger ones stay: an update that runs has a snapshot but no lease yet.

        Returns
        -------
        int
            Number of files deleted.
        """
        held = held_versions(self._db, self.spec.name)
        tables = (self._rows, self._predictions, self._labels)
        return sum(
            table.vacuum([lease[at] for lease in held], retention_hours=retention_hours)
            for at, table in enumerate(tables)
        )

    @property
    def _is_regression(self) -> bool:
        return self.spec.task == "regression"

    def _stamped(self, table: pa.Table, at_us: int, who: str) -> pa.Table:
        inputs = [name for name in table.column_names if name not in self.spec.not_inputs]
        features = table.select(inputs)
        features = conform(features, self.signature() or signature_of(features), who=who)
        known = self.attributes()
        return stamp_table(table, features, self.spec, arrived_us=at_us, known=known, who=who)

    def _label_type(self) -> pa.DataType | None:
        view = self._labels.view()
        return None if view is None else view.schema.field(LABEL).type

    def _count_repeated(self, key_hash: npt.NDArray[np.uint64]) -> int:
        fresh = np.unique(key_hash)
        n_stored = np.count_nonzero(stored_among(self._rows, fresh))
        return len(key_hash) - len(fresh) + int(n_stored)

    def _count_waiting(self, key_hash: npt.NDArray[np.uint64]) -> int:
        waiting = key_hash[~stored_among(self._rows, key_hash)]
        for segment in self._unsealed() if len(waiting) else ():
            waiting = waiting[~np.isin(waiting, hashes(segment.rows[KEY_HASH]))]
        return len(waiting)

    def _unsealed(self) -> Iterator[Segment]:
        return iter(()) if self._segments is None else read_segments(self._segments)


def _n_records(table: AppendTable) -> int:
    view = table.view()
    return 0 if view is None else view.n_rows
