"""What an engine is: whatever runs a function and says how long it took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ran(Generic[Value]):
    """What a function returned, and how long it worked.

    Parameters
    ----------
    value : object
        As the function returned it.
    seconds : float, seconds, >= 0
        Wall time of the function alone; waiting for a free worker is not in it.
    """

    value: Value
    seconds: float


class Engine(Protocol):
    """Runs functions somewhere: in this process, in others, on a cluster.

    A function may be handed to another process: it is importable by name, its arguments and
    its value pickle, and it changes nothing that its arguments share with the caller.
    """

    def run(self, function: Callable[..., Value], /, *args: Any, label: str) -> Ran[Value]:
        """Run ``function(*args)``, wait, and return its value with its time.

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
        """
        ...
