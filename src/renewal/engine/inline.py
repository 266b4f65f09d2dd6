"""The engine that runs work in this process, on this thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from renewal.engine.contract import Ran, Value

_log = logging.getLogger(__name__)


class InlineEngine:
    """Runs each function at once, in this process, on the caller's thread.

    Nothing is copied between processes and a traceback is whole, so it is the engine of
    small models, of tests and of debugging. A function that never ends blocks its caller.

    Examples
    --------
    >>> ran = InlineEngine().run(max, 2, 3, label="the larger")
    >>> ran.value, ran.seconds >= 0.0
    (3, True)
    """

    def run(self, function: Callable[..., Value], /, *args: Any, label: str) -> Ran[Value]:
        """Run ``function(*args)`` and return its value with its wall time.

        Raises
        ------
        Exception
            Whatever the function raises, unchanged.
        """
        started_s = time.perf_counter()
        value = function(*args)
        seconds = time.perf_counter() - started_s
        _log.debug("%s ran for %.3f s", label, seconds)
        return Ran(value, seconds)
