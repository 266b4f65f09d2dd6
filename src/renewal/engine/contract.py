"""What an engine is: whatever runs functions and says what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from renewal.core.progress import Progress

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Call:
    """A function to be run, with what it is handed.

    It may run in another process: the function is importable by name, its arguments and its
    value pickle and are small (rows and models go through the store, by digest), and it
    changes nothing that its arguments share with the caller.

    Parameters
    ----------
    function : callable
        What to run.
    args : tuple
        What to hand it.
    label : str
        What people see while it runs, such as ``retrain(window=8w)``.
    limit_s : float or None, seconds, default None
        After that long it is killed where the engine can kill, and failed; None: never.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    label: str
    limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ran(Generic[Value]):
    """What a function returned, and what that cost.

    Parameters
    ----------
    value : object
        As the function returned it.
    seconds : float, seconds, >= 0
        Wall time of the function alone; waiting for a free worker is not in it.
    cpu_s : float, seconds, default 0
        Processor time of the function, its threads and the processes that it waited for.
    peak_bytes : int or None, default None
        Largest memory of the worker while it ran; None where it was not measured.
    """

    value: Value
    seconds: float
    cpu_s: float = 0.0
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How one of several calls ended.

    Parameters
    ----------
    at : int
        Its place among the calls.
    ran : Ran or None
        What it returned; None where it failed.
    error : Exception or None
        What it raised, unchanged; or `Unavailable` with ``fields["reason"]`` of ``memory``,
        ``time``, ``lost`` (the worker died) or ``cancelled``.
    seconds : float, seconds
        Until it ended, either way.
    """

    at: int
    ran: Ran[Any] | None
    error: Exception | None
    seconds: float


HearAt = Callable[[int, Progress], None]


class Engine(Protocol):
    """Runs functions somewhere: in this process, in others, on a cluster.

    Registered under ``renewal.engines`` by a class that takes `EngineOptions`; constructing it
    starts nothing. One that has workers starts them at the first call and `close` ends them.
    """

    @property
    def n_slots(self) -> int:
        """How many calls run at the same time."""
        ...

    def warm_up(self, modules: Sequence[str] = ()) -> None:
        """Begin to get workers ready, where that can go on beside the caller; return at once.

        The first call would do it too. Nothing is promised, and nothing fails here.

        Parameters
        ----------
        modules : sequence of str, default ()
            What the calls will need besides what this process has loaded by now.
        """
        ...

    def run(self, function: Callable[..., Value], /, *args: Any, label: str) -> Ran[Value]:
        """Run ``function(*args)``, wait, and return its value with its cost.

        Parameters
        ----------
        function : callable
            What to run.
        *args : object
            What to hand it.
        label : str
            What people see while it runs, such as ``retrain(window=8w)``.

        Raises
        ------
        Exception
            Whatever the function raises, unchanged: the caller knows what it means.
        Unavailable
            When the worker died, or was killed; ``fields["reason"]`` says why.
        """
        ...

    def run_all(self, calls: Sequence[Call], hear: HearAt | None = None) -> Iterator[Ended]:
        """Run several calls, as many at a time as there are slots; yield each as it ends.

        The failure of one leaves the others alone. Closing the iterator early, and an
        exception in the loop over it, cancel what still runs.

        Parameters
        ----------
        calls : sequence of Call
            In the order in which they are started.
        hear : callable or None
            Hears how far each call has come, with its place.
        """
        ...

    def close(self) -> None:
        """Kill what still runs and let the workers go; closing twice is free of harm."""
        ...
