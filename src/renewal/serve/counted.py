"""Counting who holds a thing, so that the last to leave lets go of it."""

from __future__ import annotations

import threading
from collections.abc import Callable


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

    @property
    def is_empty(self) -> bool:
        """Whether the last holder has left."""
        return self._n_holders == 0

    def leave(self) -> None:
        """Stop being a holder."""
        with self._lock:
            self._n_holders -= 1
            is_empty = self._n_holders == 0
        if is_empty:
            self._on_empty()
