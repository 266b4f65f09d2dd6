"""The engine that runs work in this process, on this thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from renewal.core.progress import Progress, hearing
from renewal.engine.contract import Call, Ended, HearAt, Ran, Value
from renewal.engine.measure import measured
from renewal.engine.options import EngineOptions
from renewal.engine.packing import left, out_of_memory, out_of_time

_DEFAULT = EngineOptions()


class InlineEngine:
    """Runs each function at once, in this process, on the caller's thread, one by one.

    Nothing is copied between processes and a traceback is whole, so it is the engine of
    small models, of tests and of debugging. A function that never ends blocks its caller:
    nothing can be killed here, so a time limit is checked when the function has ended, and
    the limit of memory and the number of workers are not kept.

    Parameters
    ----------
    options : EngineOptions
        Taken as every engine takes them; none of them changes what this one does.

    Examples
    --------
    >>> ran = InlineEngine().run(max, 2, 3, label="the larger")
    >>> ran.value, ran.seconds >= 0.0
    (3, True)
    >>> calls = [Call(divmod, (7, 2), "fine"), Call(divmod, (7, 0), "broken")]
    >>> for ended in InlineEngine().run_all(calls):
    ...     print(calls[ended.at].label, ended.ran.value if ended.ran else repr(ended.error))
    fine (3, 1)
    broken ZeroDivisionError('integer division or modulo by zero')
    """

    def __init__(self, options: EngineOptions = _DEFAULT) -> None:
        self.options = options

    @property
    def n_slots(self) -> int:
        """One: the caller's thread."""
        return 1

    def warm_up(self, modules: Sequence[str] = ()) -> None:
        """Do nothing: there are no workers."""

    def run(self, function: Callable[..., Value], /, *args: Any, label: str) -> Ran[Value]:
        """Run ``function(*args)`` and return its value with its cost.

        Raises
        ------
        Exception
            Whatever the function raises, unchanged.
        Unavailable
            When memory ran out, or the function called `sys.exit`, as in every engine.
        """
        try:
            return measured(function, args, fresh=False)
        except MemoryError as error:
            raise out_of_memory(label, f"MemoryError: {error}") from error
        except SystemExit as error:
            raise left(label, error) from error

    def run_all(self, calls: Sequence[Call], hear: HearAt | None = None) -> Iterator[Ended]:
        """Run the calls one after the other; yield each as it ends.

        Closing the iterator early leaves the calls that have not begun unrun.
        """
        for at, call in enumerate(calls):
            yield self._end(at, call, hear)

    def close(self) -> None:
        """Do nothing: there are no workers."""

    def _end(self, at: int, call: Call, hear: HearAt | None) -> Ended:
        def hear_here(said: Progress) -> None:
            if hear is not None:
                hear(at, said)

        started_s = time.perf_counter()
        ran: Ran[Any] | None = None
        error: Exception | None = None
        try:
            with hearing(hear_here) if hear is not None else nullcontext():
                ran = self.run(call.function, *call.args, label=call.label)
        except Exception as raised:  # noqa: BLE001  # the engine border: the caller is handed it
            error = raised
        seconds = time.perf_counter() - started_s
        if ran is not None and call.limit_s is not None and ran.seconds > call.limit_s:
            ran, error = None, out_of_time(call.label, call.limit_s)
        return Ended(at, ran, error, seconds)
