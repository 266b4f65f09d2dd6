"""Slots: what a model's traffic runs on now, held by reference count.

A slot has one pointer, to a `Generation`: a plan and every version it needs, loaded. A
request takes a `lease` on the generation and keeps it until it is answered; a swap flips
the pointer and lets go of the old generation, whose runtimes close when the last lease
has ended. Readers take no lock that a swap holds while it works.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from renewal.core.errors import NotFound, Unavailable
from renewal.core.plan import Plan
from renewal.core.spec import ModelSpec, Signature
from renewal.core.version import Version
from renewal.models.contract import Runtime
from renewal.models.task import Task


class Counted:
    """A thing with holders, let go of when the last of them leaves.

    It is born with one holder, its owner. The lock is held for two instructions and
    never during a load, a prediction or a close.

    Parameters
    ----------
    on_empty : callable
        Called once, by whoever leaves last.

    Examples
    --------
    >>> gone = []
    >>> thing = Counted(lambda: gone.append("closed"))
    >>> thing.enter()
    True
    >>> thing.leave(); thing.leave(); gone
    ['closed']
    >>> thing.enter()
    False
    """

    __slots__ = ("_lock", "_n_holders", "_on_empty")

    def __init__(self, on_empty: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._n_holders = 1
        self._on_empty = on_empty

    def enter(self) -> bool:
        """Become a holder; False when the last one has left already."""
        with self._lock:
            if self._n_holders == 0:
                return False
            self._n_holders += 1
            return True

    def leave(self) -> None:
        """Stop being a holder."""
        with self._lock:
            self._n_holders -= 1
            is_empty = self._n_holders == 0
        if is_empty:
            self._on_empty()


class Loaded:
    """A version whose runtime is in memory; shared by the generations that need it.

    Parameters
    ----------
    version : Version
        What it is.
    task : Task
        Turns scores into outputs.
    runtime : Runtime
        Predicts; closed when the last generation has let go.
    form : str, default "native"
        In which it runs; ``compiled`` where it is an ONNX graph.
    interface : Signature or None
        The columns that requests bring. None: those of the version. A compressed version may
        read fewer of them than what it was made of: clients go on sending all, and all go into
        the feed, for the next update may need them.
    """

    __slots__ = ("_holders", "form", "interface", "runtime", "task", "version")

    def __init__(
        self,
        version: Version,
        task: Task,
        runtime: Runtime,
        *,
        form: str = "native",
        interface: Signature | None = None,
    ) -> None:
        self.version = version
        self.task = task
        self.runtime = runtime
        self.form = form
        self.interface = interface or version.manifest.signature
        self._holders = Counted(runtime.close)

    def share(self) -> bool:
        """Take a further hold on it; False when it is closed already."""
        return self._holders.enter()

    def release(self) -> None:
        """Let go of one hold."""
        self._holders.leave()


class Generation:
    """A plan with everything loaded that it needs: what one pointer flip puts in place.

    Parameters
    ----------
    seq : int
        Number of the plan in the registry; 0 where the champion is served without one.
    plan : Plan
        How traffic is routed.
    loaded : mapping of str to Loaded
        By version id, one for each of ``plan.versions``; the generation owns one hold on
        each and releases it when its last lease has ended.

    Attributes
    ----------
    needed : frozenset of str
        Columns that one of its versions reads; a request may leave out the others.
    """

    __slots__ = ("_holders", "by_number", "loaded", "needed", "plan", "seq")

    def __init__(self, seq: int, plan: Plan, loaded: Mapping[str, Loaded]) -> None:
        self.seq = seq
        self.plan = plan
        self.loaded = dict(loaded)
        self.by_number = {each.version.number: each for each in loaded.values()}
        self.needed = frozenset(
            name for each in loaded.values() for name in each.version.manifest.signature.names
        )
        self._holders = Counted(self._release_all)

    @property
    def first(self) -> Loaded:
        """The version that answers most: its signature describes the model."""
        arm = max(self.plan.arms, key=lambda arm: arm.weight)
        return self.loaded[arm.version_id]

    def enter(self) -> bool:
        """Take a lease; False when the generation is gone already."""
        return self._holders.enter()

    def leave(self) -> None:
        """End a lease."""
        self._holders.leave()

    def numbered(self, text: str) -> Loaded:
        """Return the loaded version that a URL names, as ``3`` or ``v3``.

        Raises
        ------
        NotFound
            When it is none of the versions that the plan has loaded.
        """
        digits = text.removeprefix("v")
        # isascii: int() reads digits of every alphabet, a URL names versions in ours.
        found = self.by_number.get(int(digits)) if _is_number(digits) else None
        if found is None:
            names = ", ".join(f"v{number}" for number in sorted(self.by_number))
            raise NotFound(
                f"model {self.plan.model!r}",
                needs=f"one of its loaded versions {names}",
                came=repr(text),
                todo="Leave the version out to be routed by the plan.",
            )
        return found

    def _release_all(self) -> None:
        for each in self.loaded.values():
            each.release()


@dataclass(slots=True)
class Slot:
    """A model's place in the server: one pointer, and what is known of its state.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    generation : Generation or None
        What answers now; None until the first plan is loaded.
    failure : str
        Why the newest plan could not be followed; empty when it was.
    failed_seq : int
        Number of the plan that `failure` is about; -1 for none.
    rollback_failure : str
        Why the former champion could not be test-loaded; empty when it was, or there is none.
    sample : pyarrow.Table or None
        One row of the newest request, by which the next version is warmed up.
    """

    spec: ModelSpec
    generation: Generation | None = None
    failure: str = ""
    failed_seq: int = -1
    rollback_failure: str = ""
    sample: pa.Table | None = None

    def enter(self) -> Generation:
        """Return the present generation with a lease on it; end it with ``leave``.

        Raises
        ------
        Unavailable
            When no version of the model is loaded.
        """
        while True:
            generation = self.generation
            if generation is None:
                raise Unavailable(
                    f"model {self.spec.name!r}",
                    needs="a loaded version",
                    came=self.failure or "none yet",
                    todo="Try again in a moment; see the server's log if it lasts.",
                    retry_after_s=1.0,
                )
            # False only when a swap came between the two lines: the pointer has moved on.
            if generation.enter():
                return generation

    @contextmanager
    def lease(self) -> Iterator[Generation]:
        """Hold the present generation for the length of a ``with`` block."""
        generation = self.enter()
        try:
            yield generation
        finally:
            generation.leave()

    def stats(self) -> dict[str, Any]:
        """Return which plan and versions answer, and what failed."""
        generation = self.generation
        return {
            "plan_seq": generation.seq if generation else -1,
            "stage": generation.plan.stage if generation else "",
            "versions": [f"v{number}" for number in sorted(generation.by_number)]
            if generation
            else [],
            "forms": {f"v{number}": each.form for number, each in generation.by_number.items()}
            if generation
            else {},
            "failure": self.failure,
            "rollback_failure": self.rollback_failure,
        }

    def flip(self, generation: Generation | None) -> None:
        """Put a generation in place and let go of the one before."""
        before, self.generation = self.generation, generation
        if before is not None:
            before.leave()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
