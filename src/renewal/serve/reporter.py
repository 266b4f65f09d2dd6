"""What a worker process says of itself: gathered from its rooms, written once a second."""

from __future__ import annotations

import logging
import os
import threading
import time
from bisect import bisect_left
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from renewal.serve.batcher import BatchStats
from renewal.serve.slots import Generation, Slot
from renewal.serve.status import ArmStatus, Counts, ModelStatus, WorkerStatus

if TYPE_CHECKING:
    from renewal.serve.works import Works

_LOG = logging.getLogger("renewal.serve")
_EVERY_S = 1.0
# What another worker has unloaded must be known here within a second.
_REFRESH_S = 0.2
_SHADOW = "shadow"
# Batchers of versions that were swapped out may still have a batch under way.
_KEPT_BATCHERS = 4

BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Upper ends of the buckets of batch sizes."""


class Reporter:
    """Says what a worker does, and reads what others have set, in a thread of its own.

    Parameters
    ----------
    works : Works
        Whose state it is.

    Attributes
    ----------
    url : str
        Where the server listens; empty before it does.
    has_started : bool
        Whether it listens and has tried to load every model.
    """

    def __init__(self, works: Works) -> None:
        self.url = ""
        self.has_started = False
        self._works = works
        self._started_at = time.time()
        self._batches: dict[tuple[str, str], _Batches] = {}
        self._lock = threading.Lock()
        self._is_failing = False
        self._is_blind = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="renewal-status", daemon=True)

    def start(self) -> None:
        """Write the first time, then every second."""
        self.write()
        self._thread.start()

    def close(self) -> None:
        """Stop, and leave the last counts behind."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
            self.write()

    def write(self) -> WorkerStatus:
        """Write the state as it is now, and return it; a disk that is full is logged."""
        # In this order for every reader: an older state must not replace a newer one.
        with self._lock:
            status = self._status()
            try:
                self._works.run.write(status)
            except OSError:
                if not self._is_failing:
                    _LOG.exception("the worker's state is not written; it is tried again")
                self._is_failing = True
            else:
                self._is_failing = False
        return status

    def _work(self) -> None:
        due_s = monotonic() + _EVERY_S
        while not self._closing.wait(_REFRESH_S):
            try:
                self._works.run.refresh()
                if monotonic() >= due_s:
                    due_s = monotonic() + _EVERY_S
                    self.write()
            except Exception:  # noqa: BLE001  # the worker border: serving must not end with it
                if not self._is_blind:
                    _LOG.exception("the worker's state is not known; it is tried again")
                self._is_blind = True
            else:
                self._is_blind = False

    def _status(self) -> WorkerStatus:
        works = self._works
        unloaded = works.run.unloaded()
        slots = works.follower.slots.copy()
        return WorkerStatus(
            works.run.worker,
            os.getpid(),
            self._started_at,
            time.time(),
            self.url,
            works.run.listens_late,
            self.has_started,
            works.follower.is_ready and not works.is_draining,
            works.is_draining,
            {name: model_status(each, name in unloaded) for name, each in slots.items()},
            self._gauges(),
            self._counts(slots),
            works.counters.events,
        )

    def _gauges(self) -> dict[str, float]:
        works = self._works
        return {
            "open_requests": float(works.counters.n_open),
            "log_rows_waiting": float(works.log.stats()["n_rows_waiting"]),
            "shadow_rows_waiting": float(works.shadow.stats()["n_rows_waiting"]),
            "memory_bytes": _memory_bytes(),
            "open_fds": _open_fds(),
        }

    def _counts(self, slots: dict[str, Slot]) -> Counts:
        works = self._works
        log, shadow = works.log.stats(), works.shadow.stats()
        for model, slot in slots.items():
            generation = slot.generation
            for each in generation.loaded.values() if generation is not None else ():
                key = (model, f"v{each.number}")
                self._batches.setdefault(key, _Batches()).see(each.batcher.stats)
        used = os.times()
        alone: dict[str, float] = {
            "log_rows": float(log["n_rows_written"]),
            "log_rows_dropped": float(log["n_rows_dropped"]),
            "log_rows_sampled_out": float(log["n_rows_sampled_out"]),
            "log_entries_left_out": float(log["n_entries_left_out"]),
            "log_writes_failed": float(log["n_failed_writes"]),
            "shadow_rows_dropped": float(shadow["n_rows_dropped"]),
            "cpu_seconds": used.user + used.system,
        }
        return {
            **works.counters.counts(),
            **{family: [((), [value])] for family, value in alone.items()},
            "batch_rows": [(key, each.buckets()) for key, each in self._batches.items()],
            "predict_seconds": [(key, [each.seconds()]) for key, each in self._batches.items()],
        }


class _Batches:
    """The batches of one version, over every time that it was loaded."""

    def __init__(self) -> None:
        self._kept: list[BatchStats] = []
        self._folded = [0.0] * (len(BATCH_ROWS) + 2)
        self._folded_s = 0.0

    def see(self, stats: BatchStats) -> None:
        """Take the counts of a batcher, if they are not known yet."""
        if not any(each is stats for each in self._kept):
            self._kept.append(stats)
            if len(self._kept) > _KEPT_BATCHERS:
                oldest = self._kept.pop(0)
                self._folded = _plus(self._folded, oldest)
                self._folded_s += oldest.predict_s

    def seconds(self) -> float:
        """Return the time of all batches."""
        return self._folded_s + sum(each.predict_s for each in self._kept)

    def buckets(self) -> list[float]:
        """Return the count of each bucket, then the sum of rows."""
        found = list(self._folded)
        for each in self._kept:
            found = _plus(found, each)
        return found


def _plus(buckets: list[float], stats: BatchStats) -> list[float]:
    found = list(buckets)
    for n_rows, n_batches in stats.sizes.copy().items():
        found[bisect_left(BATCH_ROWS, n_rows)] += n_batches
    # Not from the sizes: large ones share a place.
    found[-1] += stats.n_rows
    return found


def model_status(slot: Slot, is_unloaded: bool = False) -> ModelStatus:  # noqa: FBT001, FBT002  # a state of the model
    """Return what a slot answers by, in plain values."""
    generation = slot.generation
    if generation is None:
        return ModelStatus(failure=slot.failure, is_unloaded=is_unloaded)
    return ModelStatus(
        generation.seq,
        generation.plan.stage,
        _arms(generation),
        {f"v{each.number}": each.batcher.n_rows_waiting for each in generation.loaded.values()},
        slot.failure,
        is_unloaded,
    )


def _arms(generation: Generation) -> list[ArmStatus]:
    plan, loaded = generation.plan, generation.loaded
    # An arm of weight 0 need not be loaded; nothing is known of its version but its id.
    arms = [
        ArmStatus(arm.name, f"v{found.number}", arm.weight, found.form)
        for arm in plan.arms
        if (found := loaded.get(arm.version_id)) is not None
    ]
    return arms + [
        ArmStatus(_SHADOW, f"v{loaded[each].number}", 0.0, loaded[each].form)
        for each in plan.shadow
    ]


def _memory_bytes() -> float:
    """Return the resident memory of this process; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0.0
    return float(int(pages) * os.sysconf("SC_PAGE_SIZE"))


def _open_fds() -> float:
    try:
        return float(sum(1 for _each in Path("/proc/self/fd").iterdir()))
    except OSError:
        return 0.0
