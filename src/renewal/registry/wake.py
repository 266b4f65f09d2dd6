"""Waking whoever follows the registry in this process; other processes poll."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)

Callback = Callable[[], object]


class Bell:
    """Rings for its subscribers, in the thread that rings it.

    A subscriber should only note that something is new, as ``Event().set`` does, and read
    the registry by itself: what it reads then is what was committed.

    Examples
    --------
    >>> bell, heard = Bell(), []
    >>> unsubscribe = bell.subscribe(lambda: heard.append("ding"))
    >>> bell.ring(); unsubscribe(); bell.ring(); heard
    ['ding']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: dict[object, Callback] = {}

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call `callback` at every ring until the returned function is called.

        Parameters
        ----------
        callback : callable
            Takes nothing; quick, from any thread.

        Returns
        -------
        callable
            Ends the subscription; calling it twice does no harm.
        """
        ticket = object()
        with self._lock:
            self._subscribers[ticket] = callback

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers.pop(ticket, None)

        return unsubscribe

    def ring(self) -> None:
        """Call every subscriber; one that fails is logged and the others are called.

        What is rung for has been committed: an error of a listener cannot undo it, and
        must not reach the one who committed it as if it had.
        """
        with self._lock:
            subscribers = list(self._subscribers.values())
        for callback in subscribers:
            try:
                callback()
            except Exception:  # noqa: BLE001  # a listener's error must not undo a commit
                _log.exception("a subscriber of the registry failed: %r", callback)
