"""A model that misbehaves on demand, importable from every process that tests start."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import numpy as np

from renewal.core.errors import Refused, Unavailable

TRUST = ("renewal.testing.unruly.Unruly",)

HANG, DIE, RAISE, LEAVE, HOLD, STARVE, REFUSE, THREADS, SPOIL = (
    -1.0,
    -2.0,
    -3.0,
    -4.0,
    -5.0,
    -6.0,
    -7.0,
    -8.0,
    -9.0,
)
"""Values of the first row by which it is told to misbehave."""

_ERRORS = {
    REFUSE: Refused("the model", needs="a", came="b", todo="c", at=3),
    SPOIL: Unavailable("the model", needs="a", came="a lost GPU", todo="c", reason="device"),
}
_HELD_BYTES = 200 * 1024 * 1024
_FOR_EVER_S = 3600.0


class Unruly:
    """Doubles its column ``x``, unless the first row of it is one of the values above.

    Examples
    --------
    >>> model = Unruly()
    >>> model.fit({"x": [1.0]}, [2.0])
    >>> model.predict({"x": [1.0, 2.0]}).tolist()
    [2.0, 4.0]
    """

    def __init__(self) -> None:
        self.slope = 0.0

    def fit(self, _rows: Any, _values: Any) -> None:
        """Learn that two is the slope."""
        self.slope = 2.0

    def predict(self, rows: Any) -> np.ndarray[Any, Any]:
        """Return the doubles; a first row between 0 and 1 is so many seconds to take."""
        x = np.asarray(rows["x"], dtype=np.float64)
        word = float(x[0]) if len(x) else 0.0
        if word == HANG:
            time.sleep(_FOR_EVER_S)
        elif word == DIE:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif word == RAISE:
            raise RuntimeError("as it was told to")
        elif word == LEAVE:
            sys.exit("as it was told to")
        elif word == STARVE:
            raise MemoryError("no room for 1 TB")  # as the allocator says it
        elif word in _ERRORS:
            raise _ERRORS[word]
        elif word == HOLD:
            HELD.append(np.ones(_HELD_BYTES, dtype=np.uint8))
        elif word == THREADS:
            return np.full(len(x), float(os.environ["OMP_NUM_THREADS"]))
        elif 0 < word < 1:
            time.sleep(word)
        return x * self.slope


HELD: list[np.ndarray[Any, Any]] = []
"""What it leaks."""
