"""Following the registry: load and warm up off the path, verify, flip one pointer, drain.

One thread asks the registry for new plans; it is woken by moves made in this process, and a
few milliseconds after those made in others. What is new it hands to `renewal.serve.placing`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from time import monotonic

from renewal.core.errors import NotFound, RenewalError, Unavailable
from renewal.core.plan import Plan
from renewal.registry.changes import Changes, changes_of
from renewal.registry.registry import Registry
from renewal.serve.counters import Counters
from renewal.serve.loading import Loader
from renewal.serve.options import ServeOptions
from renewal.serve.placing import Placing
from renewal.serve.slots import Slot
from renewal.serve.wanted import champion_plan, wanted_of

_LOG = logging.getLogger("renewal.serve")
# PostgreSQL hands out numbers before commit: a plan may appear behind a newer one.
_OVERLAP_PLANS = 64
# A stop waits no longer than this for the thread that listens.
_LISTEN_S = 0.1
_MOST_NAMED = 20


class Follower:
    """Keeps the slots of a server at the newest plans of the registry.

    Parameters
    ----------
    registry : Registry
        Where plans, champions and aliases are read.
    loader : Loader
        Brings versions into memory.
    options : ServeOptions
        How often to ask, what to load, what to keep.
    counters : Counters
        Swaps are counted there.
    unloaded : callable
        Returns the models that somebody has unloaded by hand; asked at every look.
    on_poll : callable
        Called whenever the registry is asked; what else follows it, such as the guard.

    Notes
    -----
    `slots` is read by the request path without a lock: entries are only added, and a
    slot's generation is one pointer.
    """

    def __init__(
        self,
        registry: Registry,
        loader: Loader,
        options: ServeOptions,
        counters: Counters,
        *,
        unloaded: Callable[[], frozenset[str]] = frozenset,
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        self.slots: dict[str, Slot] = {}
        self.n_polls = 0
        self.has_polled = False
        self._registry = registry
        self._loader = loader
        self._options = options
        self._unloaded = unloaded
        self._on_poll = on_poll
        self._seq = 0
        self._plans: dict[str, tuple[int, Plan]] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._is_closed = False
        self._change = threading.Condition()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._placing = Placing(loader, options, counters, self._changed)
        self._thread = threading.Thread(target=self._work, name="renewal-follower", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="renewal-changes", daemon=True)

    def start(self) -> None:
        """Load what the registry says now, then go on in threads."""
        self._unsubscribe = self._registry.subscribe(self._wake.set)
        self.poll()
        self._placing.wait()
        self.has_polled = True
        self._thread.start()
        self._listener.start()
        for slot in list(self.slots.values()):
            self._placing.in_background(self._test_rollback_target, slot)

    def close(self) -> None:
        """Stop following, and let go of every generation once its leases have ended."""
        self._unsubscribe()
        self._is_closed = True
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._listener.is_alive():
            self._listener.join()
        self._placing.close(list(self.slots.values()))

    @property
    def n_swaps(self) -> int:
        """Swaps that were made."""
        return self._placing.n_swaps

    @property
    def n_failed(self) -> int:
        """Swaps that failed."""
        return self._placing.n_failed

    @property
    def is_ready(self) -> bool:
        """Whether every model that has a plan or a champion answers, but for unloaded ones."""
        return self.has_polled and all(
            slot.generation is not None or slot.is_unloaded or not slot.is_wanted
            for slot in list(self.slots.values())
        )

    def wake(self, model: str | None = None) -> None:
        """Look at the registry now; of a model whose plan failed, do not wait to try again."""
        if model is not None:
            self._placing.forget_failure(model)
        self._wake.set()

    def is_loading(self, model: str) -> bool:
        """Say whether a version of a model is being loaded."""
        return self._placing.is_loading(model)

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
        self._on_poll()
        for spec in self._registry.models():
            if spec.name not in self.slots:
                self.slots[spec.name] = Slot(spec)
                # A plan of before this server's start is not among the new ones.
                newest = self._registry.plan(spec.name)
                if newest is not None:
                    self._hear(*newest)
        plans, pointers = self._registry.wishes(max(self._seq - _OVERLAP_PLANS, 0))
        for seq, plan in plans:
            self._hear(seq, plan)
        unloaded = self._unloaded()
        for model, slot in list(self.slots.items()):
            self._look(slot, pointers.get(model, {}), is_unloaded=model in unloaded)
        self._placing.check()
        self.n_polls += 1

    def _changed(self) -> None:
        """Look again, for something newer may have come, and wake who waits for a plan."""
        self._wake.set()
        with self._change:
            self._change.notify_all()

    def _work(self) -> None:
        while not self._is_closed:
            self._wake.wait(self._options.poll_s)
            self._wake.clear()
            if self._is_closed:
                return
            try:
                self.poll()
            except Exception:  # noqa: BLE001  # the worker border: the registry may be away
                _LOG.exception("could not ask the registry; what is loaded goes on serving")

    def _listen(self) -> None:
        """Wake the follower soon after a commit of another process."""
        changes: Changes | None = None
        while not self._is_closed:
            try:
                changes = changes or changes_of(self._registry.db)
                if changes.wait(_LISTEN_S):
                    self._wake.set()
            except RenewalError as error:
                _LOG.warning("polling instead of listening error=%s", error)
                self._closing.wait(self._options.poll_s)
        if changes is not None:
            changes.close()

    def _obeys(self, model: str, seq: int) -> bool:
        slot = self.slots.get(model)
        return slot is not None and slot.generation is not None and slot.generation.seq >= seq

    def _hear(self, seq: int, plan: Plan) -> None:
        self._seq = max(self._seq, seq)
        if seq > self._plans.get(plan.model, (-1,))[0]:
            self._plans[plan.model] = (seq, plan)

    def _look(self, slot: Slot, aliases: Mapping[str, str], *, is_unloaded: bool) -> None:
        """Find out what one slot is to serve, and follow it."""
        model = slot.spec.name
        seq, plan = self._plans.get(model, (0, None))
        if plan is None and "champion" in aliases:
            plan = champion_plan(model, aliases["champion"])
        slot.is_wanted = plan is not None
        if is_unloaded != slot.is_unloaded:
            slot.is_unloaded = is_unloaded
            _LOG.info("%s model=%s", "unloaded" if is_unloaded else "loaded again", model)
        if is_unloaded:
            self._placing.empty(slot)
        elif plan is not None:
            self._placing.follow(slot, wanted_of(seq, plan, aliases, self._options.aliases))

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


def slot_of(
    slots: Mapping[str, Slot], model: str, *, is_ready: bool, word: str = "a request"
) -> Slot:
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
    names = sorted(slots)
    left_out = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    raise NotFound(
        "the server",
        needs=f"one of its models {', '.join(names[:_MOST_NAMED]) or '(none)'}{left_out}",
        came=f"{word} for unknown model {model!r}",
        todo="Check the name in the URL.",
    )
