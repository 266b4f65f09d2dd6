"""Shadow scoring: versions that see every row and answer none.

A bounded queue and one thread. What does not fit is dropped and counted: the caller's
answer is sent before its rows come here, so that a shadow can neither slow nor fail it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from renewal.core.spec import ModelSpec
from renewal.serve.served import Part, Served

if TYPE_CHECKING:
    from renewal.serve.slots import Generation

SHADOW = "shadow"
_LOG = logging.getLogger("renewal.serve")


@dataclass(frozen=True, slots=True)
class ShadowJob:
    """A request to be scored by the shadows of the generation that answered it.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    generation : Generation
        With a lease that whoever finishes the job, or drops it, ends.
    served : Served
        The request and who answered which row.
    """

    spec: ModelSpec
    generation: Generation
    served: Served


class Shadow:
    """The queue of shadow jobs and the thread that works on it.

    Parameters
    ----------
    log : callable
        Takes (ModelSpec, Served) with ``is_shadow``.
    max_rows : int
        Rows that may wait.
    """

    def __init__(self, log: Callable[[ModelSpec, Served], None], max_rows: int) -> None:
        self.n_rows_scored = 0
        self.n_rows_dropped = 0
        self.n_failed = 0
        self._log = log
        self._max_rows = max_rows
        self._jobs: deque[ShadowJob] = deque()
        self._n_rows_waiting = 0
        self._is_busy = False
        self._is_closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="renewal-shadow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, job: ShadowJob) -> bool:
        """Queue a job and return at once; False when it was dropped for want of room."""
        n_rows = job.served.n_rows
        with self._change:
            # A request larger than the queue still fits an empty one.
            is_full = bool(self._jobs) and self._n_rows_waiting + n_rows > self._max_rows
            if self._is_closed or is_full:
                self.n_rows_dropped += n_rows
            else:
                self._jobs.append(job)
                self._n_rows_waiting += n_rows
                self._change.notify_all()
                return True
        job.generation.leave()
        return False

    def drain(self, timeout_s: float) -> bool:
        """Wait until every queued job is scored and logged; False on a timeout."""
        until_s = monotonic() + timeout_s
        with self._change:
            while self._jobs or self._is_busy:
                left_s = until_s - monotonic()
                if left_s <= 0 or not self._change.wait(left_s):
                    return False
        return True

    def close(self, timeout_s: float) -> None:
        """Finish what is queued within the time, drop the rest and stop the thread."""
        self.drain(timeout_s)
        with self._change:
            self._is_closed = True
            dropped = list(self._jobs)
            self._jobs.clear()
            self.n_rows_dropped += sum(job.served.n_rows for job in dropped)
            self._n_rows_waiting = 0
            self._change.notify_all()
        for job in dropped:
            job.generation.leave()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def stats(self) -> dict[str, int]:
        """Return what was scored, dropped and failed, in rows, and what waits."""
        return {
            "n_rows_scored": self.n_rows_scored,
            "n_rows_dropped": self.n_rows_dropped,
            "n_rows_waiting": self._n_rows_waiting,
            "n_failed": self.n_failed,
        }

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                for version_id in job.generation.plan.shadow:
                    self._score(job, version_id)
            except Exception:  # noqa: BLE001  # the worker border: the shadow must outlive every job
                self.n_failed += 1
                _LOG.exception("shadow job failed model=%s", job.spec.name)
            finally:
                job.generation.leave()
                with self._change:
                    self._is_busy = False
                    self._change.notify_all()

    def _next(self) -> ShadowJob | None:
        with self._change:
            while not self._jobs:
                if self._is_closed:
                    return None
                self._change.wait()
            job = self._jobs.popleft()
            self._n_rows_waiting -= job.served.n_rows
            self._is_busy = True
            return job

    def _score(self, job: ShadowJob, version_id: str) -> None:
        """Score and log the rows that this version did not answer itself."""
        loaded = job.generation.loaded[version_id]
        served = job.served
        rows = rows_not_answered_by(served, version_id)
        if not len(rows):
            return
        started_s = perf_counter()
        scores: np.ndarray[Any, Any] | None
        try:
            features = served.features.take(rows).as_read_by(loaded.version.manifest.signature)
            scores = loaded.predict(features)
            self.n_rows_scored += len(rows)
        except Exception as error:  # noqa: BLE001  # the plug-in border: a version may raise anything
            scores = None
            self.n_failed += 1
            _LOG.warning(
                "shadow failed model=%s version=%s error=%s",
                job.spec.name,
                loaded.version.name,
                error,
            )
        part = Part(loaded, SHADOW, 1.0, rows, scores)
        latency_ms = (perf_counter() - started_s) * 1e3
        self._log(job.spec, served._replace(parts=(part,), latency_ms=latency_ms, is_shadow=True))


def rows_not_answered_by(served: Served, version_id: str) -> np.ndarray[Any, Any]:
    """Return the rows of a request that another version answered, in order."""
    others = [part.rows for part in served.parts if part.loaded.version.id != version_id]
    return np.sort(np.concatenate(others)) if others else np.empty(0, dtype=np.int64)
