"""Putting in place what a slot is to serve: load off the path, verify, flip, keep, drain.

Whatever fails leaves the present generation in place, is logged, and is tried again later.
Versions that are in memory, such as that of every rollback that comes soon enough, are put in
place at once; others are loaded by threads of their own while the present generation answers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from math import inf
from time import monotonic, perf_counter, sleep

from renewal.core.errors import RenewalError
from renewal.serve.counters import Counters
from renewal.serve.keeping import Drains, Kept
from renewal.serve.loading import Loader
from renewal.serve.options import ServeOptions
from renewal.serve.slots import Generation, Loaded, Slot
from renewal.serve.status import plan_words
from renewal.serve.wanted import Wanted

_LOG = logging.getLogger("renewal.serve")
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0
_LOADERS = 2
_STEP_S = 0.005


@dataclass(slots=True)
class _Retry:
    """When what could not be followed is tried again."""

    wanted: Wanted
    delay_s: float
    due_s: float


class Placing:
    """Brings slots to what is wanted of them.

    Parameters
    ----------
    loader : Loader
        Brings versions into memory.
    options : ServeOptions
        What to keep, and how to make room.
    counters : Counters
        Swaps are counted there.
    on_change : callable
        Called after every swap, and every one that failed; from any thread.

    Notes
    -----
    `_flips` is held by whoever changes a slot, never while it loads.
    """

    def __init__(
        self,
        loader: Loader,
        options: ServeOptions,
        counters: Counters,
        on_change: Callable[[], None],
    ) -> None:
        self.n_swaps = 0
        self.n_failed = 0
        self._loader = loader
        self._options = options
        self._counters = counters
        self._on_change = on_change
        self._wanted: dict[str, Wanted] = {}
        self._retries: dict[str, _Retry] = {}
        self._loading: dict[str, Future[None]] = {}
        self._kept: dict[str, Kept] = {}
        self._drains = Drains(options.swap_drain_s)
        self._flips = threading.Lock()
        self._is_closed = False
        self._pool = ThreadPoolExecutor(_LOADERS, thread_name_prefix="renewal-load")

    def close(self, slots: Sequence[Slot]) -> None:
        """Stop loading, and let go of every generation once its leases have ended."""
        self._is_closed = True
        self._pool.shutdown(cancel_futures=True)
        for slot in slots:
            self._of(slot).let_go()
            slot.flip(None)

    def wait(self) -> None:
        """Wait for what is being loaded."""
        wait(list(self._loading.values()))

    def check(self) -> None:
        """End drains that take too long, and let go of what has been warm for long enough."""
        with self._flips:
            self._drains.check()
            for kept in self._kept.values():
                kept.expire()

    def forget_failure(self, model: str) -> None:
        """Try again at the next look what could not be put in place."""
        self._retries.pop(model, None)

    def is_loading(self, model: str) -> bool:
        """Say whether a version of a model is being loaded."""
        loading = self._loading.get(model)
        return loading is not None and not loading.done()

    def in_background(self, work: Callable[[Slot], None], slot: Slot) -> None:
        """Do something with a slot in a thread that loads."""
        self._pool.submit(work, slot)

    def empty(self, slot: Slot) -> None:
        """Let go of what a slot serves; requests under way are answered."""
        self._wanted.pop(slot.spec.name, None)
        self._let_go(slot)

    def _let_go(self, slot: Slot) -> None:
        with self._flips:
            self._of(slot).let_go()
            before = slot.generation
            slot.flip(None)
            if before is not None:
                self._drains.add(before)

    def follow(self, slot: Slot, wanted: Wanted) -> None:
        """Put what is wanted in place where its versions are in memory, else load them."""
        model, present = slot.spec.name, slot.generation
        self._wanted[model] = wanted
        # A version whose compiled form was found equal by now is loaded anew.
        better = self._loader.better(slot)
        if present is not None and present.wanted == wanted and not better:
            return
        if not self._missing(slot, wanted) and not better:
            self._install(slot, wanted, {}, perf_counter())
            return
        retry = self._retries.get(model)
        is_too_soon = retry is not None and retry.wanted == wanted and monotonic() < retry.due_s
        loading = self._loading.get(model)
        if not is_too_soon and (loading is None or loading.done()):
            self._loading[model] = self._pool.submit(self._load, slot, wanted, better)

    def _missing(self, slot: Slot, wanted: Wanted) -> tuple[str, ...]:
        kept = self._of(slot)
        broken = slot.broken if slot.broken_for == wanted else frozenset()
        return tuple(
            each
            for each in missing_versions(slot, wanted.versions)
            if each not in kept and each not in broken
        )

    def _load(self, slot: Slot, wanted: Wanted, better: tuple[str, ...]) -> None:
        """Load what is missing and put all in place; runs in a thread of the pool."""
        started_s = perf_counter()
        fresh: dict[str, Loaded] = {}
        before = slot.generation
        try:
            missing = self._missing(slot, wanted)
            if missing:
                self._make_room(slot, wanted)
            again = [each for each in better if each in wanted.versions]
            for version_id in dict.fromkeys((*missing, *again)):
                self._load_one(slot, wanted, version_id, fresh)
        except Exception as error:  # noqa: BLE001  # the worker border: the present stays
            for each in fresh.values():
                each.release()
            self._fail(slot, wanted, error)
            self._take_back(slot, before)
        else:
            self._install(slot, wanted, fresh, started_s)
        finally:
            # Something newer may have come while this was loaded.
            self._on_change()

    def _load_one(
        self, slot: Slot, wanted: Wanted, version_id: str, fresh: dict[str, Loaded]
    ) -> None:
        """Load a version; one that only an alias names must not keep the plan from its way."""
        try:
            fresh[version_id] = self._loader.load(slot, version_id)
        except Exception as error:
            if version_id in wanted.plan.versions:
                raise
            if slot.broken_for != wanted:
                slot.broken, slot.broken_for = frozenset(), wanted
            slot.broken |= {version_id}
            _LOG.error(
                "version of an alias not loaded model=%s version=%s error=%s",
                slot.spec.name,
                version_id,
                error,
            )

    def _make_room(self, slot: Slot, wanted: Wanted) -> None:
        """Let go of what need not be in memory beside a version that is loaded."""
        with self._flips:
            self._of(slot).let_go(but=wanted.versions)
        if self._options.memory != "unload_first" or slot.generation is None:
            return
        before = slot.generation
        slot.failure = "a version is swapped: the one before had to go first"
        self._let_go(slot)
        until_s = monotonic() + self._options.swap_drain_s
        while not before.is_gone and monotonic() < until_s:
            sleep(_STEP_S)

    def _take_back(self, slot: Slot, before: Generation | None) -> None:
        """Load again what had to go for a version that does not load."""
        if before is None or slot.generation is not None or slot.is_unloaded or self._is_closed:
            return
        loaded: dict[str, Loaded] = {}
        try:
            for version_id in before.loaded:
                loaded[version_id] = self._loader.load(slot, version_id)
        except Exception:  # noqa: BLE001  # the worker border: both are tried again later
            _LOG.exception("the version before does not load either model=%s", slot.spec.name)
            for each in loaded.values():
                each.release()
            return
        with self._flips:
            slot.flip(Generation(before.seq, before.plan, loaded, before.aliases))

    def _install(
        self, slot: Slot, wanted: Wanted, fresh: Mapping[str, Loaded], started_s: float
    ) -> None:
        """Flip the pointer to what is wanted, unless something newer is by now."""
        with self._flips:
            model = slot.spec.name
            is_wanted = self._wanted.get(model) == wanted and not self._is_closed
            missing = [each for each in self._missing(slot, wanted) if each not in fresh]
            if not is_wanted or missing or slot.is_unloaded:
                for each in fresh.values():
                    each.release()
                return
            loaded = self._gathered(slot, wanted, fresh)
            before = slot.generation
            after = Generation(wanted.seq, wanted.plan, loaded, dict(wanted.aliases), wanted=wanted)
            if before is not None:
                self._of(slot).replaced(before, loaded)
            self.n_swaps += 1  # first: who sees what it serves by now counts on it
            slot.flip(after)
            if before is not None:
                self._drains.add(before)
            slot.failure, slot.failed_seq = "", -1
            self._retries.pop(model, None)
        _log_swap(slot, wanted, started_s)
        what = plan_words(wanted.plan, {key: each.version.name for key, each in loaded.items()})
        self._counters.swapped(model, what, perf_counter() - started_s)
        self._on_change()

    def _gathered(
        self, slot: Slot, wanted: Wanted, fresh: Mapping[str, Loaded]
    ) -> dict[str, Loaded]:
        """Return a hold on each wanted version: fresh, still served, or warm."""
        held = slot.generation.loaded if slot.generation is not None else {}
        kept = self._of(slot)
        loaded: dict[str, Loaded] = {}
        for version_id in wanted.versions:
            known = None if version_id in fresh else held.get(version_id)
            # The slot's own hold keeps it open: it cannot be gone under this lock.
            if known is not None and known.share():
                loaded[version_id] = known
                continue
            found = fresh.get(version_id) or kept.take(version_id)
            if found is not None:
                loaded[version_id] = found
        for version_id, each in fresh.items():
            if loaded.get(version_id) is not each:
                each.release()
        return loaded

    def _fail(self, slot: Slot, wanted: Wanted, error: Exception) -> None:
        model, seq = slot.spec.name, wanted.seq
        before = self._retries.get(model)
        is_again = before is not None and before.wanted == wanted
        delay_s = min(before.delay_s * 2, _LAST_RETRY_S) if before and is_again else _FIRST_RETRY_S
        with self._flips:
            if self._wanted.get(model) == wanted:
                # Each try would take the version before out of service again.
                is_costly = self._options.memory == "unload_first"
                due_s = inf if is_costly else monotonic() + delay_s
                self._retries[model] = _Retry(wanted, delay_s, due_s)
                slot.failure, slot.failed_seq = str(error), seq
            self.n_failed += 1
        self._counters.swap_failed(model, str(error))
        _LOG.error(
            "swap failed model=%s plan=%d retry_s=%g error=%s",
            model,
            seq,
            delay_s,
            error,
            # Our own errors say all there is to say; of others the place is worth knowing.
            exc_info=None if isinstance(error, RenewalError) else error,
        )
        self._on_change()

    def _of(self, slot: Slot) -> Kept:
        """Return what is kept warm of a slot."""
        keep_s = self._options.keep_warm_s if self._options.memory == "double" else 0.0
        return self._kept.setdefault(slot.spec.name, Kept(keep_s))


def missing_versions(slot: Slot, needed: Sequence[str]) -> tuple[str, ...]:
    """Return those of the needed ids that the slot's generation has not loaded."""
    held = slot.generation.loaded if slot.generation is not None else {}
    return tuple(each for each in needed if each not in held)


def _log_swap(slot: Slot, wanted: Wanted, started_s: float) -> None:
    stats = slot.stats()
    _LOG.info(
        "swap model=%s plan=%d stage=%s versions=%s ms=%.1f",
        slot.spec.name,
        wanted.seq,
        wanted.plan.stage,
        "+".join(stats["versions"]),
        (perf_counter() - started_s) * 1e3,
    )
