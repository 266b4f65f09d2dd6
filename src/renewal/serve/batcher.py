"""Adaptive batching: what waits for a version is predicted together, when that changes nothing.

Nobody waits for company. What arrives in one turn of the event loop goes into one batch, and
what arrives while a version is busy goes into the next; so a batch is as large as the load
makes it. A row gets the scores that it would get alone: it was tried when the version was
loaded (`renewal.serve.warm`), it is tried again on one batch in 256, and a version that fails
is never batched again. Where a batch raises, its requests are predicted one by one, so that
nobody pays for another's row.

A version that runs in this process, releases the interpreter and takes less than a
millisecond is run on the loop itself: handing it to a thread would take as long.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from time import monotonic, perf_counter, thread_time

import numpy as np

from renewal.core.errors import RenewalError, Unavailable
from renewal.models.task import Scores
from renewal.serve.features import Features, joined

_LOG = logging.getLogger("renewal.serve")
_CHECK_EVERY = 256
_MOST_SIZES = 1024
_LONGEST_ON_LOOP_S = 1e-3
# How much the newest batch counts in what a row is expected to take.
_FORGETTING = 0.1

Predict = Callable[[Features], Scores]
Done = Callable[[Scores | Exception], None]


@dataclass(slots=True)
class Work:
    """Rows that wait for a version.

    Parameters
    ----------
    features : Features
        In the columns of the version.
    done : callable
        Called once on the loop's thread with the scores or the error, unless it was cancelled.
    due_s : float, seconds
        `time.monotonic` after which nobody wants the answer.
    """

    features: Features
    done: Done
    due_s: float
    is_over: bool = False
    timer: asyncio.TimerHandle | None = None
    queue: Batcher | None = None

    def cancel(self) -> None:
        """Leave the queue or the batch: `done` is not called any more."""
        self.is_over = True
        if self.queue is not None:
            self.queue.n_rows_waiting -= self.features.n_rows
            self.queue = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def finish(self, came: Scores | Exception) -> None:
        """Tell who waits, unless nobody does."""
        if not self.is_over:
            self.cancel()
            self.done(came)


@dataclass(slots=True)
class BatchStats:
    """What a batcher has done: batches and rows by size, and seconds.

    Parameters
    ----------
    n_batches, n_rows : int
        Predicted.
    predict_s, queue_s : float, seconds
        Of all batches, and of all their requests before them.
    sizes : dict of int to int
        Batches by number of rows.
    seconds : dict of int to float, seconds
        Of these batches.
    """

    n_batches: int = 0
    n_rows: int = 0
    predict_s: float = 0.0
    sizes: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)


class Batcher:
    """The queue in front of one loaded version; used from the event loop's thread.

    Parameters
    ----------
    who : str
        The version, for messages.
    predict : callable
        From features to scores; called by one thread at a time.
    max_batch_rows, max_queue_rows : int
        Rows together, and rows that may wait.
    is_local : bool
        Whether it may run on the loop: in this process, without the interpreter.
    tolerance : float, default 0
        How far a score may be from what it is alone; 0: not at all.
    """

    __slots__ = (
        "_busy_s",
        "_is_busy",
        "_is_local",
        "_is_scheduled",
        "_loop",
        "_pool",
        "_predict",
        "_queue",
        "_running",
        "_tolerance",
        "_who",
        "can_batch",
        "max_batch_rows",
        "max_queue_rows",
        "n_rows_waiting",
        "stats",
    )

    def __init__(
        self,
        who: str,
        predict: Predict,
        *,
        max_batch_rows: int = 1024,
        max_queue_rows: int = 10_000,
        is_local: bool = False,
        tolerance: float = 0.0,
    ) -> None:
        # Unknown until it is warmed up: alone, and in a thread.
        self.can_batch = False
        self.n_rows_waiting = 0
        self.stats = BatchStats()
        self._who = who
        self._predict = predict
        self.max_batch_rows = max_batch_rows
        self.max_queue_rows = max_queue_rows
        self._busy_s: dict[int, float] = {}
        self._is_local = is_local
        self._tolerance = tolerance
        self._queue: deque[Work] = deque()
        self._running: Sequence[Work] = ()
        self._is_busy = False
        self._is_scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: Executor | None = None

    def warmed(self, row_s: float, *, can_batch: bool) -> None:
        """Note what a row took, and whether it was found to be the same in company."""
        self._busy_s, self.can_batch = {1: row_s}, can_batch

    def put(self, work: Work, loop: asyncio.AbstractEventLoop, pool: Executor) -> None:
        """Queue rows; they are predicted at the end of this turn of the loop, or later.

        Raises
        ------
        Unavailable
            When the queue is full, with ``reason="full"``.
        """
        n_rows = work.features.n_rows
        # A request that is larger than the queue still fits an empty one.
        if self.n_rows_waiting and self.n_rows_waiting + n_rows > self.max_queue_rows:
            raise Unavailable(
                self._who,
                needs=f"at most {self.max_queue_rows:,} rows to wait",
                came=f"{self.n_rows_waiting:,} waiting and {n_rows:,} more",
                todo="Try again in a moment, or start more workers.",
                reason="full",
                retry_after_s=1.0,
            )
        self._loop, self._pool = loop, pool
        self._queue.append(work)
        self.n_rows_waiting += n_rows
        work.queue = self
        if self._is_busy or not self._is_local:
            wait_s = max(0.0, work.due_s - monotonic())
            work.timer = loop.call_later(wait_s, self._expire, work)
        if not self._is_scheduled and not self._is_busy:
            self._is_scheduled = True
            loop.call_soon(self._flush)

    def abandon(self, error: RenewalError) -> None:
        """Answer everything that waits or runs with an error; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._abandon, error)

    def _abandon(self, error: RenewalError) -> None:
        waiting, self._queue = list(self._queue), deque()
        for work in (*waiting, *self._running):
            work.finish(error)

    def _expire(self, work: Work) -> None:
        work.timer = None
        work.finish(_late(self._who))

    def _flush(self) -> None:
        """Predict what waits, here or in a thread."""
        self._is_scheduled = False
        if self._is_busy:
            return
        batch, n_rows = self._next_batch()
        if not batch:
            return
        if self._is_local and self._is_quick(n_rows):
            self._hand_out(batch, self._scored(batch))
            self._go_on()
            return
        assert self._loop is not None
        self._is_busy, self._running = True, batch
        running = self._loop.run_in_executor(self._pool, self._scored, batch)
        running.add_done_callback(self._came_back)

    def _came_back(self, running: asyncio.Future[list[Scores | Exception]]) -> None:
        batch, self._running, self._is_busy = self._running, (), False
        self._hand_out(batch, running.result())
        self._go_on()

    def _go_on(self) -> None:
        if self._queue and not self._is_scheduled:
            assert self._loop is not None
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _next_batch(self) -> tuple[list[Work], int]:
        """Take from the queue what fits together; what is late or gone is left out."""
        batch: list[Work] = []
        n_rows, now_s, queue = 0, monotonic(), self._queue
        while queue:
            work = queue[0]
            n_more = work.features.n_rows
            if batch and n_rows + n_more > self.max_batch_rows:
                break
            queue.popleft()
            if work.is_over:
                continue
            work.queue = None
            self.n_rows_waiting -= n_more
            if work.due_s < now_s:
                work.finish(_late(self._who))
                continue
            batch.append(work)
            n_rows += n_more
        return batch, n_rows

    def _hand_out(self, batch: Sequence[Work], came: Sequence[Scores | Exception]) -> None:
        for work, each in zip(batch, came, strict=True):
            try:
                work.finish(each)
            except Exception:  # noqa: BLE001  # one request's answer must not keep others from theirs
                _LOG.exception("an answer was lost version=%s", self._who)

    def _scored(self, batch: Sequence[Work]) -> list[Scores | Exception]:
        """Predict a batch, together where that is allowed; in a thread or on the loop."""
        started_s, busy_s = perf_counter(), thread_time()
        if len(batch) > 1 and self.can_batch:
            found = self._together(batch)
        else:
            found = [self._alone(work) for work in batch]
        n_rows = sum(work.features.n_rows for work in batch)
        self._count(n_rows, perf_counter() - started_s)
        # By the processor's time: waiting for a turn says nothing of the version, and would
        # send it to a thread, where it waits even longer.
        self._learn(n_rows, thread_time() - busy_s)
        return found

    def _learn(self, n_rows: int, busy_s: float) -> None:
        """Note what a batch of about this size takes."""
        size = n_rows.bit_length()
        known_s = self._busy_s.get(size)
        self._busy_s[size] = (
            busy_s if known_s is None else known_s + _FORGETTING * (busy_s - known_s)
        )

    def _is_quick(self, n_rows: int) -> bool:
        """Whether a batch is expected to take less than handing it to a thread is worth."""
        size = n_rows.bit_length()
        known_s = self._busy_s.get(size)
        if known_s is None:
            # Of a size that has not come yet: by the row, from the next smaller one.
            below = max((each for each in self._busy_s if each < size), default=0)
            known_s = self._busy_s.get(below, _LONGEST_ON_LOOP_S) * 2.0 ** (size - below)
        return known_s <= _LONGEST_ON_LOOP_S

    def _together(self, batch: Sequence[Work]) -> list[Scores | Exception]:
        try:
            scores = self._predict(joined([work.features for work in batch]))
        except Unavailable as error:
            # Its process died or hung: to try again would be to do it once more to each.
            return [error] * len(batch)
        except Exception:  # noqa: BLE001  # the plug-in border: whose row it was is found out below
            return [self._alone(work) for work in batch]
        found: list[Scores | Exception] = []
        start = 0
        for work in batch:
            end = start + work.features.n_rows
            found.append(scores[start:end])
            start = end
        if self.stats.n_batches % _CHECK_EVERY == 0 and not self._is_equal(batch, found):
            self.can_batch = False
            _LOG.error("batching switched off: scores differ in company version=%s", self._who)
            return [self._alone(work) for work in batch]
        return found

    def _is_equal(self, batch: Sequence[Work], found: Sequence[Scores | Exception]) -> bool:
        """Whether the last request of a batch gets the same scores alone."""
        alone = self._alone(batch[-1])
        there = found[-1]
        if isinstance(alone, Exception) or isinstance(there, Exception):
            return False
        return is_alike(alone, there, self._tolerance)

    def _alone(self, work: Work) -> Scores | Exception:
        try:
            return self._predict(work.features)
        except Exception as error:  # noqa: BLE001  # the plug-in border: a version may raise anything
            return error

    def _count(self, n_rows: int, took_s: float) -> None:
        stats = self.stats
        stats.n_batches += 1
        stats.n_rows += n_rows
        stats.predict_s += took_s
        # Clients choose the sizes: large ones share a place.
        size = n_rows if n_rows <= _MOST_SIZES else 1 << (n_rows - 1).bit_length()
        stats.sizes[size] = stats.sizes.get(size, 0) + 1
        stats.seconds[size] = stats.seconds.get(size, 0.0) + took_s


def is_alike(alone: Scores, together: Scores, tolerance: float = 0.0) -> bool:
    """Say whether rows have the same scores alone and together.

    Parameters
    ----------
    alone, together : float64 arrays of shape (n_rows, n_scores)
        Of the same rows.
    tolerance : float >= 0, unit of a score, default 0
        The largest difference that is still the same; 0: to the last bit. The largest score of
        each row, which is its label, must be the same whatever the tolerance.

    Examples
    --------
    >>> one, other = np.array([[0.4, 0.6]]), np.array([[0.4, 0.6000001]])
    >>> is_alike(one, other), is_alike(one, other, 1e-6)
    (False, True)
    """
    if tolerance == 0.0 or alone.shape != together.shape:
        return bool(np.array_equal(alone, together))
    is_near = bool((np.abs(alone - together) <= tolerance).all())
    return is_near and bool((alone.argmax(axis=1) == together.argmax(axis=1)).all())


def _late(who: str) -> Unavailable:
    return Unavailable(
        who,
        needs="to answer before the request's deadline",
        came="its end",
        todo="Try again, allow more time, or start more workers.",
        reason="late",
        retry_after_s=1.0,
    )
