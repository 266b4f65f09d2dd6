"""The engine that runs work in processes of this machine."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from renewal.core.errors import RenewalError
from renewal.core.progress import Progress, tell_progress
from renewal.engine import line as lines
from renewal.engine.contract import Call, Ended, HearAt, Ran, Value
from renewal.engine.crew import Crew, Hand, loaded_here, may_preload
from renewal.engine.options import EngineOptions
from renewal.engine.packing import lost, out_of_memory, out_of_time, pack_call, unpack_end
from renewal.engine.share import n_slots_for

_DEFAULT = EngineOptions(kind="processes")


@dataclass(eq=False)
class _Running:
    """A call in a worker's hands."""

    at: int
    call: Call
    crew: Crew
    hand: Hand
    started_s: float


class ProcessEngine:
    """Runs functions in worker processes of this machine, each in a process group of its own.

    The functions are importable by name and what they are handed pickles; the script that
    is running needs no ``if __name__ == "__main__"``, and its own functions are refused. A
    worker that takes too long or too much memory, or that is cancelled, is killed with all
    that it started. Workers stay warm between calls and die with their owner.

    A worker counts as lost when its process has died, or when it has been silent and has
    used no processor for a minute: one that computes in C code, and so cannot beat, is left
    alone.

    Parameters
    ----------
    options : EngineOptions
        ``workers`` and ``memory_bytes`` count. The memory of a worker is what it and its
        children hold, libraries included (0.2 GB with scikit-learn, 0.4 GB with torch);
        it is looked at 20 times a second, its children's once a second.
    preload : sequence of str or None, default None
        Modules to load before workers are forked; None: those that this process has loaded
        of the usual libraries.
    silent_s : float, seconds, default 60
        After how long a silent and idle worker is lost.

    Notes
    -----
    The environment of the workers is that of the moment of the first call; the working
    folder and the import path are those of each call. Each of several `run_all` at the same
    time has `n_slots` workers. Numbers and reasons: ``docs/decisions/0008-where-work-runs.md``.

    Examples
    --------
    >>> engine = ProcessEngine(EngineOptions(kind="processes", workers=2), preload=())
    >>> calls = [Call(divmod, (7, 2), "fine"), Call(divmod, (7, 0), "broken")]
    >>> ends = sorted(engine.run_all(calls), key=lambda ended: ended.at)
    >>> ends[0].ran.value, ends[1].error
    ((3, 1), ZeroDivisionError('integer division or modulo by zero'))
    >>> engine.close()
    """

    def __init__(
        self,
        options: EngineOptions = _DEFAULT,
        *,
        preload: Sequence[str] | None = None,
        silent_s: float = 60.0,
    ) -> None:
        self.options, self.preload, self.silent_s = options, preload, silent_s
        self._crew: Crew | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made of: the copy starts its own workers when it is used."""
        return _rebuild, (self.options, self.preload, self.silent_s)

    @property
    def n_slots(self) -> int:
        """As many as the options say, or one a core; inside a worker no more than its share."""
        return n_slots_for(self.options.workers)

    def warm_up(self, modules: Sequence[str] = ()) -> None:
        """Start to load what workers need, and return at once; a first call would do it too.

        Parameters
        ----------
        modules : sequence of str, default ()
            To load besides; those are left out after which it may not be safe to fork.
        """
        self._ready_crew(modules)

    def run(self, function: Callable[..., Value], /, *args: Any, label: str) -> Ran[Value]:
        """Run ``function(*args)`` in a worker, wait, and return its value with its cost.

        What it says of its progress is told on where the caller is heard.

        Raises
        ------
        Exception
            Whatever the function raises, unchanged.
        Unavailable
            When the worker died; ``fields["reason"]`` says why.
        Invalid
            When the function cannot be handed to a worker.
        """
        (ended,) = self.run_all([Call(function, args, label)])
        if ended.error is not None:
            raise ended.error
        assert ended.ran is not None, "what did not fail has a value"
        return ended.ran

    def run_all(self, calls: Sequence[Call], hear: HearAt | None = None) -> Iterator[Ended]:
        """Run several calls, `n_slots` at a time; yield each as it ends.

        Closing the iterator, and an exception in the loop over it, kill what still runs.
        Limits hold while the caller is busy with something else; a call that waits is
        started, and progress is heard, when the next end is asked for.
        """
        return self._drive(calls, hear)

    def close(self) -> None:
        """Kill what still runs and let the workers go; a later call starts new ones."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def _drive(self, calls: Sequence[Call], hear: HearAt | None) -> Generator[Ended, None, None]:
        waiting = deque(enumerate(calls))
        running: list[_Running] = []
        ends: deque[Ended] = deque()
        crew = self._ready_crew()
        try:
            while waiting or running or ends:
                while waiting and len(running) < self.n_slots:
                    at, call = waiting.popleft()
                    if not crew.is_alive and not crew.closed:  # its keeper was killed
                        crew = self._ready_crew()
                    started = _start(crew, at, call)
                    running.append(started) if isinstance(started, _Running) else ends.append(
                        started
                    )
                if ends:
                    yield ends.popleft()
                else:
                    ends.extend(_next_ends(running, hear))
        finally:
            for one in running:
                one.hand.kill()

    def _ready_crew(self, modules: Sequence[str] = ()) -> Crew:
        with self._lock:
            if self._crew is None or not self._crew.is_alive:
                self.close()
                preload = list(self.preload or ())
                if self.preload is None:
                    preload = [*loaded_here(), *filter(may_preload, modules)]
                self._crew = Crew(
                    self.n_slots, self.options.memory_bytes, silent_s=self.silent_s, preload=preload
                )
                weakref.finalize(self, self._crew.close)
            return self._crew


def _start(crew: Crew, at: int, call: Call) -> _Running | Ended:
    """Hand a call to a worker; where that cannot be, it has ended."""
    started_s = time.perf_counter()
    folder = str(Path.cwd())
    try:
        packed = pack_call(call.function, call.args, call.label)
    except RenewalError as error:
        return Ended(at, None, error, 0.0)
    try:
        hand = crew.hire()
    except OSError:
        return Ended(at, None, _gone(crew, call), 0.0)
    running = _Running(at, call, crew, hand, started_s)
    try:
        lines.send(hand.line, (packed, call.label, call.limit_s, folder, list(sys.path)))
    except OSError:  # it died since it was hired
        return _dead(running)
    return running


def _next_ends(running: list[_Running], hear: HearAt | None) -> list[Ended]:
    """Wait until something comes from the workers; return the calls that it ended."""
    lines_of = {one.hand.line: one for one in running}
    ready = wait([*lines_of, *(one.hand.watch for one in running)])
    ends = []
    for line, one in lines_of.items():
        if line in ready or one.hand.watch in ready:
            # What a worker said before it died is read before its death is.
            ended = _take(one, hear, has_spoken=bool(wait([line], 0)))
            if ended is not None:
                running.remove(one)
                ends.append(ended)
    return ends


def _take(one: _Running, hear: HearAt | None, *, has_spoken: bool) -> Ended | None:
    """Take one message of a worker: a word is passed on, an end or a death is returned."""
    message = lines.receive(one.hand.line) if has_spoken else None
    if message is None:
        return _dead(one)
    if message[0] == "said":
        if hear is None:
            tell_progress(*message[1:])
        else:
            hear(one.at, Progress(*message[1:]))
        return None
    _, kind, body, is_tired = message
    if is_tired or kind == "memory":
        one.hand.kill()
    else:
        one.crew.give_back(one.hand)
    seconds = time.perf_counter() - one.started_s
    ran, error = unpack_end(kind, body, one.call.label)
    return Ended(one.at, ran, error, seconds)


def _dead(one: _Running) -> Ended:
    """Return the end of a call whose worker died."""
    one.hand.await_end()
    cause = one.hand.kill()
    seconds = time.perf_counter() - one.started_s
    label, reason = one.call.label, cause["reason"]
    if reason == "time":
        error = out_of_time(label, one.call.limit_s or 0.0)
    elif reason == "memory":
        error = out_of_memory(label, cause["came"])
    else:
        error = lost(label, cause["came"], reason)
    return Ended(one.at, None, error, seconds)


def _gone(crew: Crew, call: Call) -> RenewalError:
    """Return the error of a call for which nobody can be hired any more."""
    if crew.closed:
        return lost(call.label, "an engine that was closed", "cancelled")
    return lost(call.label, "a keeper of the workers that died")


def _rebuild(
    options: EngineOptions, preload: Sequence[str] | None, silent_s: float
) -> ProcessEngine:
    return ProcessEngine(options, preload=preload, silent_s=silent_s)
