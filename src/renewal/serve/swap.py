"""Following the registry: load and warm up off the path, verify, flip one pointer, drain.

One thread asks the registry for new plans and is woken by moves made in this process. A
plan whose versions are in memory, such as every rollback, is put in place at once. Others
are loaded by further threads while the present generation answers; when a newer plan has
come meanwhile, what was loaded for the older one is let go of. Whatever fails leaves the
present generation in place, is logged, and is tried again later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from time import monotonic, perf_counter

from renewal.core.errors import NotFound, RenewalError, Unavailable
from renewal.core.plan import Arm, Plan
from renewal.registry.registry import Registry
from renewal.serve.loading import Loader
from renewal.serve.slots import Generation, Loaded, Slot

_LOG = logging.getLogger("renewal.serve")
# PostgreSQL hands out numbers before commit: a plan may appear behind a newer one.
_OVERLAP_PLANS = 64
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0
_LOADERS = 2


@dataclass(slots=True)
class _Retry:
    """When a plan that could not be followed is tried again."""

    wanted: tuple[int, Plan]
    delay_s: float
    due_s: float


class Follower:
    """Keeps the slots of a server at the newest plans of the registry.

    Parameters
    ----------
    registry : Registry
        Where plans and champions are read.
    loader : Loader
        Brings versions into memory.
    poll_s : float, seconds
        How often the registry is asked.

    Notes
    -----
    `slots` is read by the request path without a lock: entries are only added, and a
    slot's generation is one pointer. `_flips` is held by whoever changes one, never while
    it loads.
    """

    def __init__(self, registry: Registry, loader: Loader, poll_s: float) -> None:
        self.slots: dict[str, Slot] = {}
        self.n_swaps = 0
        self.n_failed = 0
        self.has_polled = False
        self._registry = registry
        self._loader = loader
        self._poll_s = poll_s
        self._seq = 0
        self._wanted: dict[str, tuple[int, Plan]] = {}
        self._retries: dict[str, _Retry] = {}
        self._loading: dict[str, Future[None]] = {}
        self._wake = threading.Event()
        self._is_closed = False
        self._flips = threading.Lock()
        self._change = threading.Condition()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._pool = ThreadPoolExecutor(_LOADERS, thread_name_prefix="renewal-load")
        self._thread = threading.Thread(target=self._work, name="renewal-follower", daemon=True)

    def start(self) -> None:
        """Load what the registry says now, then go on in threads."""
        self._unsubscribe = self._registry.subscribe(self._wake.set)
        self.poll()
        wait(list(self._loading.values()))
        self.has_polled = True
        self._thread.start()
        for slot in list(self.slots.values()):
            self._pool.submit(self._test_rollback_target, slot)

    def close(self) -> None:
        """Stop following, and let go of every generation once its leases have ended."""
        self._unsubscribe()
        self._is_closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(cancel_futures=True)
        for slot in self.slots.values():
            slot.flip(None)

    @property
    def is_ready(self) -> bool:
        """Whether every model that has a plan or a champion answers."""
        return self.has_polled and all(
            self.slots[model].generation is not None for model in list(self._wanted)
        )

    def wait_for(self, model: str, seq: int, timeout_s: float) -> None:
        """Wait until a model's slot obeys a plan, or a newer one.

        Raises
        ------
        Unavailable
            When the plan could not be followed, with the reason, or the time ran out.
        """
        until_s = monotonic() + timeout_s
        with self._change:
            while not self._obeys(model, seq):
                slot = self.slots.get(model)
                failure = slot.failure if slot is not None and slot.failed_seq >= seq else ""
                left_s = until_s - monotonic()
                if failure or left_s <= 0:
                    raise Unavailable(
                        "Server.wait_for",
                        needs=f"model {model!r} to follow plan {seq}",
                        came=failure or f"no answer in {timeout_s:g} s",
                        todo="The version before goes on serving; see the server's log.",
                        retry_after_s=1.0,
                    )
                self._change.wait(left_s)

    def poll(self) -> None:
        """Ask the registry once, and follow what is new or due again."""
        for spec in self._registry.models():
            if spec.name not in self.slots:
                self.slots[spec.name] = Slot(spec)
                # A plan of before this server's start is not among the new ones.
                newest = self._registry.plan(spec.name)
                if newest is not None:
                    self._want(*newest)
        for seq, plan in self._registry.plans_after(max(self._seq - _OVERLAP_PLANS, 0)):
            self._want(seq, plan)
        for model in self.slots:
            if self._wanted.get(model, (0,))[0] == 0:
                self._want_champion(model)
        for model in list(self._wanted):
            self._follow(self.slots[model])

    def _work(self) -> None:
        while not self._is_closed:
            self._wake.wait(self._poll_s)
            self._wake.clear()
            if self._is_closed:
                return
            try:
                self.poll()
            except Exception:  # noqa: BLE001  # the worker border: the registry may be away
                _LOG.exception("could not ask the registry; what is loaded goes on serving")

    def _obeys(self, model: str, seq: int) -> bool:
        slot = self.slots.get(model)
        return slot is not None and slot.generation is not None and slot.generation.seq >= seq

    def _want(self, seq: int, plan: Plan) -> None:
        self._seq = max(self._seq, seq)
        if seq > self._wanted.get(plan.model, (-1,))[0] and plan.model in self.slots:
            self._wanted[plan.model] = (seq, plan)

    def _want_champion(self, model: str) -> None:
        """Serve the champion of a model for which nobody has made a plan."""
        champion = self._registry.aliases(model).get("champion")
        if champion is not None:
            arms = (Arm("champion", champion, 1.0),)
            self._wanted[model] = (0, Plan(model, "steady", arms))

    def _follow(self, slot: Slot) -> None:
        """Put the wanted plan in place where its versions are in memory, else load them."""
        model = slot.spec.name
        seq, plan = self._wanted[model]
        present = slot.generation
        # A version whose compiled form was found equal by now is loaded anew.
        better = self._loader.better(slot)
        if present is not None and (present.seq, present.plan) == (seq, plan) and not better:
            return
        if not missing_versions(slot, plan) and not better:
            self._install(slot, seq, plan, {}, perf_counter())
            return
        retry = self._retries.get(model)
        is_too_soon = (
            retry is not None and retry.wanted == (seq, plan) and monotonic() < retry.due_s
        )
        loading = self._loading.get(model)
        if not is_too_soon and (loading is None or loading.done()):
            self._loading[model] = self._pool.submit(self._load, slot, seq, plan, better)

    def _load(self, slot: Slot, seq: int, plan: Plan, better: tuple[str, ...]) -> None:
        """Load what a plan lacks and put it in place; runs in a thread of the pool."""
        started_s = perf_counter()
        fresh: dict[str, Loaded] = {}
        try:
            again = [each for each in better if each in plan.versions]
            for version_id in dict.fromkeys((*missing_versions(slot, plan), *again)):
                fresh[version_id] = self._loader.load(slot, version_id)
        except Exception as error:  # noqa: BLE001  # the worker border: the present stays
            for each in fresh.values():
                each.release()
            self._fail(slot, (seq, plan), error)
        else:
            self._install(slot, seq, plan, fresh, started_s)
        finally:
            # A newer plan may have come while this one was loaded.
            self._wake.set()

    def _install(
        self, slot: Slot, seq: int, plan: Plan, fresh: Mapping[str, Loaded], started_s: float
    ) -> None:
        """Flip the pointer to a plan, unless a newer one is wanted by now."""
        with self._flips:
            is_wanted = self._wanted[slot.spec.name] == (seq, plan) and not self._is_closed
            missing = [each for each in missing_versions(slot, plan) if each not in fresh]
            if not is_wanted or missing:
                for each in fresh.values():
                    each.release()
                return
            held = slot.generation.loaded if slot.generation is not None else {}
            loaded: dict[str, Loaded] = {}
            for version_id in plan.versions:
                known = None if version_id in fresh else held.get(version_id)
                # The slot's own hold keeps it open: it cannot be gone under this lock.
                if known is not None and known.share():
                    loaded[version_id] = known
                else:
                    loaded[version_id] = fresh[version_id]
            for version_id, each in fresh.items():
                if loaded.get(version_id) is not each:
                    each.release()
            slot.flip(Generation(seq, plan, loaded))
            slot.failure, slot.failed_seq = "", -1
            self._retries.pop(slot.spec.name, None)
            self.n_swaps += 1
        _log_swap(slot, seq, plan, started_s)
        with self._change:
            self._change.notify_all()

    def _fail(self, slot: Slot, wanted: tuple[int, Plan], error: Exception) -> None:
        model, seq = slot.spec.name, wanted[0]
        before = self._retries.get(model)
        is_again = before is not None and before.wanted == wanted
        delay_s = min(before.delay_s * 2, _LAST_RETRY_S) if before and is_again else _FIRST_RETRY_S
        with self._flips:
            if self._wanted[model] == wanted:
                self._retries[model] = _Retry(wanted, delay_s, monotonic() + delay_s)
                slot.failure, slot.failed_seq = str(error), seq
            self.n_failed += 1
        _LOG.error(
            "swap failed model=%s plan=%d retry_s=%g error=%s",
            model,
            seq,
            delay_s,
            error,
            # Our own errors say all there is to say; of others the place is worth knowing.
            exc_info=None if isinstance(error, RenewalError) else error,
        )
        with self._change:
            self._change.notify_all()

    def _test_rollback_target(self, slot: Slot) -> None:
        model = slot.spec.name
        try:
            version = self._loader.test_rollback_target(slot)
        except Exception as error:  # noqa: BLE001  # the worker border: said aloud, serving goes on
            slot.rollback_failure = str(error)
            _LOG.error("rollback target does not load model=%s error=%s", model, error)
        else:
            if version is not None:
                _LOG.info("rollback target loads model=%s version=%s", model, version.name)


def missing_versions(slot: Slot, plan: Plan) -> tuple[str, ...]:
    """Return the ids that a plan needs and the slot's generation has not loaded."""
    held = slot.generation.loaded if slot.generation is not None else {}
    return tuple(each for each in plan.versions if each not in held)


def slot_of(slots: Mapping[str, Slot], model: str, *, is_ready: bool) -> Slot:
    """Return a model's slot.

    Raises
    ------
    NotFound
        When the registry has no such model.
    Unavailable
        When the server has not asked the registry yet.
    """
    slot = slots.get(model)
    if slot is not None:
        return slot
    if not is_ready:
        raise Unavailable(
            f"model {model!r}",
            needs="the server to have read the registry",
            came="not yet",
            todo="Try again in a moment.",
            retry_after_s=1.0,
        )
    raise NotFound(
        "the server",
        needs=f"one of its models {', '.join(sorted(slots)) or '(none)'}",
        came=f"a request for unknown model {model!r}",
        todo="Check the name in the URL.",
    )


def _log_swap(slot: Slot, seq: int, plan: Plan, started_s: float) -> None:
    stats = slot.stats()
    _LOG.info(
        "swap model=%s plan=%d stage=%s versions=%s ms=%.1f",
        slot.spec.name,
        seq,
        plan.stage,
        "+".join(stats["versions"]),
        (perf_counter() - started_s) * 1e3,
    )
