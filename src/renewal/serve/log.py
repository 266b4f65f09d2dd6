"""The prediction log: what was answered goes to a buffer, and from there to segments.

A request only appends to a list. A thread swaps the list for an empty one, makes tables
of it and writes them; on failure they stay and are tried again. With ``fsync`` a request
waits for the write that holds it, and all that wait share one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from time import sleep

from renewal.core.errors import Failed, Unavailable
from renewal.core.spec import ModelSpec
from renewal.data.segment import SegmentWriter
from renewal.serve.options import ServeOptions
from renewal.serve.records import in_portions, tables_of
from renewal.serve.served import Served

_LOG = logging.getLogger("renewal.serve")
_FLUSH_ROWS = 50_000
# Making tables of 1,000 rows holds the interpreter for some 4 ms, of 50,000 for 200 ms.
_PORTION_ROWS = 1_000
_PAUSE_S = 0.0005
_WORKER = "http"

Done = Callable[[BaseException | None], None]


@dataclass(slots=True)
class _Buffer:
    """What one model has answered since the last write.

    `n_rows_handed` counts rows that the writer holds because the disk did not take them. Of the
    model's policy: `sample`, the share of requests that is logged, and `redacted`, the columns
    that are not.
    """

    spec: ModelSpec
    entries: list[Served] = field(default_factory=list)
    waiting: list[tuple[str, Done]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    n_rows: int = 0
    n_rows_handed: int = 0
    writer: SegmentWriter | None = None
    sample: float = 1.0
    redacted: frozenset[str] = frozenset()


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
                self._n_rows += n_rows
                buffer.entries.append(served)
                buffer.ids.add(served.prediction_id)
                buffer.n_rows += n_rows
                if done is not None:
                    buffer.waiting.append((served.prediction_id, done))
        if is_full and done is not None:
            done(_log_is_full())
        elif done is not None or self._n_rows >= _FLUSH_ROWS:
            self._wake.set()

    def holds(self, model: str, prediction_ids: set[str]) -> bool:
        """Say whether one of these requests is not on disk yet."""
        with self._lock:
            buffer = self._buffers.get(model)
            return buffer is not None and not buffer.ids.isdisjoint(prediction_ids)

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
        while not self._is_closed:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            try:
                self.flush()
            except Exception:  # noqa: BLE001  # the worker border: what could not be written stays
                # Once: it is tried again every second, perhaps all night.
                if not self._is_failing:
                    _LOG.exception("prediction log not written; it is tried again")
                self._is_failing = True
            else:
                if self._is_failing:
                    _LOG.warning("prediction log is written again rows=%d", self.n_rows_written)
                self._is_failing = False
            self.on_flushed()

    def _write(self, buffer: _Buffer) -> None:
        """Write what one model has waiting; one write at a time, requests go on adding."""
        with self._write_lock:
            taken = self._take(buffer)
            if not taken.entries and not buffer.n_rows_handed:
                return
            try:
                writer = self._writer(buffer)
            except BaseException as error:
                with self._lock:
                    # Before what came meanwhile, in the order in which it was answered.
                    buffer.entries[:0] = taken.entries
                    buffer.n_rows += taken.n_rows
                self._failed(taken, error)
                raise
            left_out = self._hand_over(writer, taken, buffer.redacted)
            # From here on the writer has them: they must not be given to it twice.
            buffer.n_rows_handed += taken.n_rows
            try:
                writer.flush()
            except Unavailable as error:
                self._failed(taken, error)
                raise
            except BaseException as error:
                # The writer does not have them any more: they are lost, and not written later.
                with self._lock:
                    buffer.ids -= taken.ids
                    self._n_rows -= buffer.n_rows_handed
                    self.n_rows_dropped += buffer.n_rows_handed
                buffer.n_rows_handed = 0
                self._failed(taken, error)
                raise
            with self._lock:
                buffer.ids -= taken.ids
                self._n_rows -= buffer.n_rows_handed
                self.n_rows_written += buffer.n_rows_handed
            buffer.n_rows_handed = 0
        _tell([each for each in taken.waiting if each[0] not in left_out], None)
        _tell([each for each in taken.waiting if each[0] in left_out], _left_out())

    def _buffer(self, spec: ModelSpec) -> _Buffer:
        """Return the buffer of a model, made for its first entry."""
        options = self._options_of(spec.name)
        fresh = _Buffer(spec, sample=options.log_sample, redacted=frozenset(options.log_redact))
        return self._buffers.setdefault(spec.name, fresh)

    def _hand_over(
        self, writer: SegmentWriter, taken: _Buffer, redacted: frozenset[str]
    ) -> set[str]:
        """Make tables of the entries, a few at a time, so that requests get their turn.

        Return the ids of those that no table can hold.
        """
        ids: set[str] = set()
        for entries in in_portions(taken.entries, _PORTION_ROWS):
            try:
                rows, predictions, left_out = tables_of(taken.spec, entries, redacted)
                writer.add(rows, predictions)
            except Exception:  # noqa: BLE001  # the worker border: it must not stop those after it
                _LOG.exception("prediction log left out n_entries=%d", len(entries))
                left_out = list(entries)
            self.n_entries_left_out += len(left_out)
            ids.update([each.prediction_id for each in left_out])
            left_out.clear()
            sleep(_PAUSE_S)
        return ids

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

    def _take(self, buffer: _Buffer) -> _Buffer:
        """Swap the lists of a buffer for empty ones."""
        with self._lock:
            # The ids stay in the buffer, too, until they can be found on disk.
            ids = set(buffer.ids)
            taken = _Buffer(buffer.spec, buffer.entries, buffer.waiting, ids, buffer.n_rows)
            buffer.entries, buffer.waiting, buffer.n_rows = [], [], 0
        return taken

    def _failed(self, taken: _Buffer, error: BaseException) -> None:
        self.n_failed_writes += 1
        _tell(taken.waiting, error)


def is_sampled(served: Served, share: float) -> bool:
    """Say whether a request is among the share that is logged.

    By a hash of what it is routed by, so that all requests of a user are, or none; of a request
    that brings no key, by its id.
    """
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
