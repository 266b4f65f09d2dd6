"""The prediction log: what was answered goes to a buffer, and from there to segments.

A request only appends to a list, which is copied into columns some dozens of rows at a time.
Each time a thousand rows have come, and before each write, a thread swaps the columns for empty
ones and makes tables of them; once in a while it writes these. On failure they stay and are
tried again. With ``fsync`` a request waits for the write that holds it, and all that wait share
one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from time import monotonic, sleep

from renewal.core.errors import Failed, Unavailable
from renewal.core.spec import ModelSpec
from renewal.data.segment import SegmentWriter
from renewal.serve.gathered import ROOM, Sorter
from renewal.serve.options import ServeOptions
from renewal.serve.records import tables_of
from renewal.serve.served import Served

_LOG = logging.getLogger("renewal.serve")
_FLUSH_ROWS = 50_000
# Making tables of 1,000 rows holds the interpreter for 2 ms or so, of 50,000 for 100.
_PORTION_ROWS = ROOM
# So few that they still lie in the processor's caches, so many that Python's part is shared.
_TOGETHER_ROWS = 64
_PAUSE_S = 0.0005
_WORKER = "http"

Done = Callable[[BaseException | None], None]


@dataclass(slots=True)
class _Batch:
    """What was answered between two looks of the thread; rows are counted until it is on disk."""

    fresh: list[Served] = field(default_factory=list)
    sorter: Sorter = field(default_factory=Sorter)
    waiting: list[tuple[str, Done]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    n_rows: int = 0
    n_rows_sorted: int = 0

    def sort(self) -> None:
        """Copy what is logged of the fresh ones, and let them go."""
        self.ids.update([served.prediction_id for served in self.fresh])
        self.left_out.update(self.sorter.add(self.fresh))
        self.fresh.clear()
        self.n_rows_sorted = self.n_rows


@dataclass(slots=True)
class _Buffer:
    """What one model has answered since the last write.

    `fresh` takes what comes, `handed` is in the writer's memory. Of the model's policy: `sample`,
    the share of requests that is logged, and `redacted`, the columns that are not.
    """

    spec: ModelSpec
    sample: float = 1.0
    redacted: frozenset[str] = frozenset()
    fresh: _Batch = field(default_factory=_Batch)
    handed: list[_Batch] = field(default_factory=list)
    writer: SegmentWriter | None = None


class PredictionLog:
    """Buffers what a server answers and writes it to segments, one folder a model.

    Parameters
    ----------
    folder : Path
        Segments of model m go to ``folder/m``.
    flush_s : float, seconds
        How often it is written.
    max_rows : int
        Rows that may wait; more are dropped and counted.
    options_of : callable
        From a model's name to the options that say what of it is logged.

    Attributes
    ----------
    on_flushed : callable
        Called by the writing thread each time it has written what there was, or has tried to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        flush_s: float,
        max_rows: int,
        options_of: Callable[[str], ServeOptions] = lambda _: ServeOptions(),
    ) -> None:
        self.n_rows_sampled_out = 0
        self.on_flushed: Callable[[], object] = lambda: None
        self._options_of = options_of
        self.n_rows_written = 0
        self.n_rows_dropped = 0
        self.n_failed_writes = 0
        self.n_entries_left_out = 0
        self._folder = folder
        self._flush_s = flush_s
        self._max_rows = max_rows
        self._buffers: dict[str, _Buffer] = {}
        self._n_rows = 0
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._is_awaited = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._work, name="renewal-log", daemon=True)

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def add(self, spec: ModelSpec, served: Served, done: Done | None = None) -> None:
        """Take an entry and return at once.

        Parameters
        ----------
        spec : ModelSpec
            The model.
        served : Served
            What was answered.
        done : callable or None
            Called from the writing thread when the entry is on disk (None), or could not
            be written (the error); it makes the write happen at once.
        """
        n_rows = served.n_rows
        buffer = self._buffers.get(spec.name) or self._buffer(spec)
        if buffer.sample < 1.0 and not is_sampled(served, buffer.sample):
            with self._lock:  # shadows come from a thread of their own
                self.n_rows_sampled_out += n_rows
            if done is not None:
                done(None)
            return
        with self._lock:
            # An entry larger than the buffer still fits an empty one.
            is_full = self._n_rows > 0 and self._n_rows + n_rows > self._max_rows
            if is_full:
                self.n_rows_dropped += n_rows
            else:
                batch = buffer.fresh
                batch.fresh.append(served)
                batch.n_rows += n_rows
                self._n_rows += n_rows
                if batch.n_rows - batch.n_rows_sorted >= _TOGETHER_ROWS:
                    batch.sort()
                if done is not None:
                    batch.waiting.append((served.prediction_id, done))
                    self._is_awaited = True
                # Once for each portion: to wake a thread costs more than all of the above.
                is_due = done is not None or 0 <= batch.n_rows - _PORTION_ROWS < n_rows
        if not is_full:
            if is_due:
                self._wake.set()
        elif done is not None:
            done(_log_is_full())

    def holds(self, model: str, prediction_ids: set[str]) -> bool:
        """Say whether one of these requests is not on disk yet."""
        with self._lock:
            buffer = self._buffers.get(model)
            if buffer is None:
                return False
            buffer.fresh.sort()
            batches = (buffer.fresh, *buffer.handed)
            return any(not batch.ids.isdisjoint(prediction_ids) for batch in batches)

    def flush(self) -> None:
        """Write everything that was added before the call.

        Raises
        ------
        Unavailable
            When the disk does not take it; the entries stay and are tried again.
        """
        for buffer in list(self._buffers.values()):
            self._write(buffer)

    def close(self) -> None:
        """Stop the thread, then write what is left."""
        self._is_closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self.flush()
        except Unavailable:
            _LOG.exception("prediction log lost rows=%d at the end", self._n_rows)

    def stats(self) -> dict[str, int]:
        """Return the rows written, waiting and dropped, and the writes that failed."""
        return {
            "n_rows_written": self.n_rows_written,
            "n_rows_waiting": self._n_rows,
            "n_rows_dropped": self.n_rows_dropped,
            "n_rows_sampled_out": self.n_rows_sampled_out,
            "n_entries_left_out": self.n_entries_left_out,
            "n_failed_writes": self.n_failed_writes,
        }

    def _work(self) -> None:
        due_s = monotonic() + self._flush_s
        while not self._is_closed:
            self._wake.wait(max(0.0, due_s - monotonic()))
            self._wake.clear()
            is_due = self._is_awaited or monotonic() >= due_s or self._n_rows >= _FLUSH_ROWS
            try:
                if is_due:
                    self._is_awaited = False
                    self.flush()
                else:
                    self._gather()
            except Exception:  # noqa: BLE001  # the worker border: what could not be written stays
                # Once: it is tried again every second, perhaps all night.
                if not self._is_failing:
                    _LOG.exception("prediction log not written; it is tried again")
                self._is_failing = True
            else:
                if self._is_failing and is_due:
                    _LOG.warning("prediction log is written again rows=%d", self.n_rows_written)
                    self._is_failing = False
            if is_due:
                due_s = monotonic() + self._flush_s
                self.on_flushed()

    def _gather(self) -> None:
        """Make tables of what has come, of the models of which a portion has."""
        for buffer in list(self._buffers.values()):
            if buffer.fresh.n_rows >= _PORTION_ROWS:
                with self._write_lock:
                    self._hand_over(buffer)

    def _write(self, buffer: _Buffer) -> None:
        """Write what one model has waiting; one write at a time, requests go on adding."""
        with self._write_lock:
            try:
                writer = self._hand_over(buffer)
                writer.flush()
            except Unavailable as error:
                # Without a writer nothing was handed over; what came after that is tried next.
                self._failed(buffer.handed or [buffer.fresh], error)
                raise
            except BaseException as error:
                # The writer does not have them any more: they are lost, and not written later.
                lost = self._let_go(buffer)
                self.n_rows_dropped += sum(batch.n_rows for batch in lost)
                self._failed(lost, error)
                raise
            written = self._let_go(buffer)
            self.n_rows_written += sum(batch.n_rows for batch in written)
        for batch in written:
            _tell([each for each in batch.waiting if each[0] not in batch.left_out], None)
            _tell([each for each in batch.waiting if each[0] in batch.left_out], _left_out())

    def _let_go(self, buffer: _Buffer) -> list[_Batch]:
        """Forget what the writer held; return it."""
        with self._lock:
            gone, buffer.handed = buffer.handed, []
            self._n_rows -= sum(batch.n_rows for batch in gone)
        return gone

    def _buffer(self, spec: ModelSpec) -> _Buffer:
        """Return the buffer of a model, made for its first entry."""
        options = self._options_of(spec.name)
        fresh = _Buffer(spec, options.log_sample, frozenset(options.log_redact))
        return self._buffers.setdefault(spec.name, fresh)

    def _hand_over(self, buffer: _Buffer) -> SegmentWriter:
        """Make tables of what is fresh, some rows at a time, so that requests get their turn.

        Return the writer, which has them.
        """
        writer = self._writer(buffer)
        with self._lock:
            batch = buffer.fresh
            if not batch.n_rows:
                return writer
            # From here on it is the writer's: it must not be given to it twice.
            buffer.fresh = _Batch()
            buffer.handed.append(batch)
            batch.sort()
            self.n_entries_left_out += len(batch.left_out)
        for columns in batch.sorter.taken():
            try:
                rows, predictions, left_out = tables_of(buffer.spec, columns, buffer.redacted)
                writer.add(rows, predictions)
            except Exception:  # noqa: BLE001  # the worker border: it must not stop those after it
                _LOG.exception("prediction log left out n_entries=%d", len(columns.ids))
                left_out = columns.ids
            self.n_entries_left_out += len(left_out)
            batch.left_out.update(left_out)
            sleep(_PAUSE_S)
        return writer

    def _writer(self, buffer: _Buffer) -> SegmentWriter:
        """Return the writer of a model; its folder is made here, off the request path."""
        if buffer.writer is None:
            try:
                buffer.writer = SegmentWriter(self._folder / buffer.spec.name, _WORKER)
            except OSError as error:
                raise Unavailable(
                    "the prediction log",
                    needs=f"a folder in {self._folder}",
                    came=str(error),
                    todo="Make room or give the server the right to write there.",
                    retry_after_s=5.0,
                ) from error
        return buffer.writer

    def _failed(self, batches: list[_Batch], error: BaseException) -> None:
        """Count a write that failed; who waits for it is told once."""
        self.n_failed_writes += 1
        with self._lock:
            waiting = [each for batch in batches for each in batch.waiting]
            for batch in batches:
                batch.waiting = []
        _tell(waiting, error)


def is_sampled(served: Served, share: float) -> bool:
    """Say whether a request is among the share that is logged.

    By a hash of what it is routed by, so that all requests of a user are, or none; of a request
    that brings no key, by its id.
    """
    if share <= 0.0:
        return False
    if served.sticky is not None:
        text = served.sticky
    elif served.facts is not None:
        text = served.facts.sticky[0]
    else:
        text = served.prediction_id
    digest = blake2b(text.encode(), digest_size=8, person=b"renewal-log").digest()
    return int.from_bytes(digest, "little") < share * 2.0**64


def _tell(waiting: list[tuple[str, Done]], error: BaseException | None) -> None:
    for _, done in waiting:
        done(error)


def _left_out() -> Failed:
    return Failed(
        "the prediction log",
        needs="an entry that can be written",
        came="one that no table can hold",
        todo="See the server's log for why; an answer that is not logged does not leave.",
    )


def _log_is_full() -> Unavailable:
    return Unavailable(
        "the prediction log",
        needs="room for an entry",
        came="a full buffer",
        todo="See why the server's disk does not take its segments.",
        retry_after_s=1.0,
    )
