"""Slots: what a model's traffic runs on now, held by reference count.

A slot has one pointer, to a `Generation`: a plan and every version it needs, loaded. A
request takes a `lease` on the generation and keeps it until it is answered; a swap flips
the pointer and lets go of the old generation, whose runtimes close when the last lease
has ended. Readers take no lock that a swap holds while it works.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from renewal.core.errors import Failed, NotFound, RenewalError, Unavailable
from renewal.core.plan import Arm, Plan
from renewal.core.spec import ModelSpec, Signature
from renewal.core.version import Version
from renewal.models.contract import Runtime
from renewal.models.task import Scores, Task
from renewal.serve.batcher import Batcher
from renewal.serve.counted import Counted
from renewal.serve.features import Features
from renewal.serve.hosting import HostedRuntime

_SAMPLES = 64
_FIRST = np.arange(1)


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
    max_batch_rows, max_queue_rows, batch_tolerance : int, int, float
        As `renewal.serve.batcher.Batcher` takes them.

    Attributes
    ----------
    batcher : Batcher
        The queue of requests in front of it.
    """

    __slots__ = (
        "_holders",
        "_n_scores",
        "_takes_matrix",
        "batcher",
        "form",
        "interface",
        "number",
        "pool",
        "runtime",
        "task",
        "version",
    )

    def __init__(
        self,
        version: Version,
        task: Task,
        runtime: Runtime,
        *,
        form: str = "native",
        interface: Signature | None = None,
        max_batch_rows: int = 1024,
        max_queue_rows: int = 10_000,
        batch_tolerance: float = 0.0,
    ) -> None:
        self.version = version
        self.number = str(version.number)
        self.task = task
        self.runtime = runtime
        self.form = form
        self.interface = interface or version.manifest.signature
        self._n_scores = len(version.manifest.classes) or 1
        self._takes_matrix: bool = getattr(runtime, "takes_matrix", False)
        # A version in a process of its own brings the thread that waits for it.
        self.pool: Executor | None = getattr(runtime, "pool", None)
        self._holders = Counted(runtime.close)
        self.batcher = Batcher(
            f"version {version.name} of model {version.manifest.model!r}",
            self.predict,
            max_batch_rows=max_batch_rows,
            max_queue_rows=max_queue_rows,
            tolerance=batch_tolerance,
            # ONNX Runtime lets go of the interpreter while it computes.
            is_local=form == "compiled" or version.manifest.adapter == "onnx",
        )

    def predict(self, features: Features) -> Scores:
        """Return scores for rows in the version's columns, and check that they are some.

        Raises
        ------
        ValueError
            When the shape is not (rows, scores), or a score is no finite number.
        Failed
            When it would end the process that it runs in.
        """
        matrix = features.matrix if self._takes_matrix else None
        runtime: Any = self.runtime
        try:
            found = (
                runtime.predict(features.table())
                if matrix is None
                else runtime.predict_matrix(matrix)
            )
        except SystemExit as error:
            raise wants_to_leave(self.version, error) from error
        scores = np.asarray(found, dtype=np.float64)
        if scores.shape != (features.n_rows, self._n_scores):
            message = f"scores of shape {scores.shape}, not {(features.n_rows, self._n_scores)}"
            raise ValueError(message)
        # The sum of finite numbers is finite, unless they are near the largest: then look at each.
        if not np.isfinite(scores.sum()) and not np.isfinite(scores).all():
            raise ValueError("a score that is no finite number")
        return scores

    @property
    def is_closed(self) -> bool:
        """Whether the last hold on it has ended."""
        return self._holders.is_empty

    def share(self) -> bool:
        """Take a further hold on it; False when it is closed already."""
        return self._holders.enter()

    def release(self) -> None:
        """Let go of one hold."""
        self._holders.leave()

    @property
    def is_closing(self) -> bool:
        """Whether everybody has let go of it and its process is still there."""
        return self._holders.is_empty and not getattr(self.runtime, "is_gone", True)


def wants_to_leave(version: Version, error: SystemExit) -> Failed:
    """Return the error of a version that calls `sys.exit`: it would end the event loop."""
    return Failed(
        f"{version.name} of model {version.manifest.model!r}",
        needs="to leave the server's process alone",
        came=f"sys.exit({error.code!r})",
        todo="Mend the model, or serve it with native = 'process', where it ends its own.",
    )


class Generation:
    """A plan with everything loaded that it needs: what one pointer flip puts in place.

    Parameters
    ----------
    seq : int
        Number of the plan in the registry; 0 where the champion is served without one.
    plan : Plan
        How traffic is routed.
    loaded : mapping of str to Loaded
        By version id, one for each of ``plan.versions`` and of `aliases`; the generation owns
        one hold on each and releases it when its last lease has ended.
    aliases : mapping of str to str, default empty
        From an alias to the id of the version that it points at; others than those of loaded
        versions are left out.
    wanted : object, default None
        What it was made for; the follower compares it with what is wanted now.

    Attributes
    ----------
    needed : frozenset of str
        Columns that one of its versions reads; a request may leave out the others.
    first : Loaded
        The version that answers most: its signature describes the model.
    only : (Arm, Loaded) or None
        What answers every request, where one arm has all the weight.
    """

    __slots__ = (
        "_holders",
        "aliases",
        "by_number",
        "first",
        "loaded",
        "needed",
        "only",
        "plan",
        "seq",
        "wanted",
    )

    def __init__(
        self,
        seq: int,
        plan: Plan,
        loaded: Mapping[str, Loaded],
        aliases: Mapping[str, str] | None = None,
        *,
        wanted: object = None,
    ) -> None:
        self.wanted = wanted
        self.seq = seq
        self.plan = plan
        self.loaded = dict(loaded)
        self.aliases = {
            alias: version_id
            for alias, version_id in (aliases or {}).items()
            if version_id in self.loaded
        }
        self.by_number = {each.version.number: each for each in loaded.values()}
        most = max(plan.arms, key=lambda arm: arm.weight)
        self.first = self.loaded[most.version_id]
        live = [arm for arm in plan.arms if arm.weight > 0]
        self.only: tuple[Arm, Loaded] | None = (most, self.first) if len(live) == 1 else None
        self.needed = frozenset(
            name for each in loaded.values() for name in each.version.manifest.signature.names
        )
        self._holders = Counted(self._release_all)

    def enter(self) -> bool:
        """Take a lease; False when the generation is gone already."""
        return self._holders.enter()

    def leave(self) -> None:
        """End a lease."""
        self._holders.leave()

    @property
    def is_gone(self) -> bool:
        """Whether its last lease has ended and the memory of what it alone held is free."""
        return self._holders.is_empty and not any(each.is_closing for each in self.loaded.values())

    def named(self, text: str) -> Loaded:
        """Return the loaded version that a URL names, as ``3``, ``v3`` or by an alias.

        Raises
        ------
        NotFound
            When it is none of the versions that the plan has loaded.
        """
        digits = text.removeprefix("v")
        # isascii: int() reads digits of every alphabet, a URL names versions in ours.
        if _is_number(digits):
            found = self.by_number.get(int(digits))
        else:
            found = self.loaded.get(self.aliases.get(text, ""))
        if found is None:
            names = ", ".join(
                [*(f"v{number}" for number in sorted(self.by_number)), *sorted(self.aliases)]
            )
            raise NotFound(
                f"model {self.plan.model!r}",
                needs=f"one of its loaded versions {names}",
                came=repr(text),
                todo="Leave the version out to be routed by the plan.",
            )
        return found

    def abandon(self, error: RenewalError) -> None:
        """Answer what still waits for its versions with an error; from any thread."""
        for each in self.loaded.values():
            each.batcher.abandon(error)

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
    samples : deque of Features
        Rows of recent requests that were answered, by which the next version is warmed up.
    n_seen : int
        Requests that were asked for a row: those that were answered.
    is_unloaded : bool
        Whether somebody has unloaded the model by hand.
    is_wanted : bool
        Whether there is a plan or a champion to serve.
    broken, broken_for : frozenset of str, object
        Versions that only aliases name and that did not load, and for which wish.
    """

    spec: ModelSpec
    generation: Generation | None = None
    failure: str = ""
    failed_seq: int = -1
    rollback_failure: str = ""
    samples: deque[Features] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    n_seen: int = 0
    is_unloaded: bool = False
    is_wanted: bool = False
    broken: frozenset[str] = frozenset()
    broken_for: object = None

    def wants_sample(self) -> bool:
        """Say whether the rows of this request are kept: the first 64, then one in 1,024."""
        self.n_seen += 1
        return self.n_seen <= _SAMPLES or self.n_seen & 1023 == 0

    def remember(self, features: Features) -> None:
        """Keep the first row of a request."""
        self.samples.append(features.take(_FIRST))

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
                    came="unloaded" if self.is_unloaded else self.failure or "none yet",
                    todo="Load the model again."
                    if self.is_unloaded
                    else "Try again in a moment; see the server's log if it lasts.",
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
        """Return which plan and versions answer, in which processes, and what failed."""
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
            "processes": {
                f"v{number}": each.runtime.stats()
                for number, each in generation.by_number.items()
                if isinstance(each.runtime, HostedRuntime)
            }
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
