"""Where the processes of versions come from: one keeper for all models of a server process.

The keeper loads what native versions need once, and forks: a process that would take two
seconds to start is there in a few milliseconds. It is started when the first version is hosted;
what a version had to load besides, the next one finds loaded.
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
from contextlib import suppress

from renewal.core.errors import Invalid, Unavailable
from renewal.core.plugin import plugin_module
from renewal.engine.crew import Crew, Hand
from renewal.engine.share import n_cores

THREADS = "RENEWAL_NATIVE_THREADS"
"""Environment variable: threads that one version's process computes with; 1 where it is not set."""

_BECOME = "renewal.serve.host_child:host"
_OWN = "renewal."
# Nobody watches the pulse of these processes: their server has limits of its own.
_SILENT_S = 3600.0


class Nursery:
    """A keeper and what it has loaded; started by the first `hire`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._crew: Crew | None = None
        self._loaded: set[str] = set()
        self._is_over = False

    def hire(self, adapter: str) -> Hand:
        """Return a fresh process that has loaded the library of an adapter and waits for an order.

        Parameters
        ----------
        adapter : str
            As a manifest names it. Only our own adapters are loaded before the fork.

        Raises
        ------
        NotFound
            When there is no such adapter.
        Unavailable
            When no process can be started.
        """
        module = plugin_module("adapters", adapter)
        modules = ["renewal.serve.host_child", *([module] if module.startswith(_OWN) else [])]
        with self._lock:
            for _ in range(2):  # a keeper that was killed is noticed by the first who asks it
                try:
                    return self._hired(modules)
                except OSError as error:
                    failed = error
        raise Unavailable(
            "a native version",
            needs="a process of its own",
            came=str(failed),
            todo="Allow more open files or processes, or close what is not needed.",
            retry_after_s=1.0,
        ) from failed

    def learn(self, modules: list[str]) -> None:
        """Have what a version had to load besides loaded for the next ones."""
        with self._lock, suppress(OSError):  # a keeper that is gone: its successor learns anew
            self._load(modules)

    def close(self) -> None:
        """End the keeper and every process that came from it, for good."""
        with self._lock:
            self._is_over = True
            if self._crew is not None:
                self._crew.close()
                self._crew = None

    def _hired(self, modules: list[str]) -> Hand:
        if self._is_over:
            raise OSError(errno.ESHUTDOWN, "this process is ending")
        if self._crew is None or not self._crew.is_alive:
            if self._crew is not None:
                self._crew.close()
            self._loaded = set(modules)
            self._crew = Crew(
                max(1, n_cores() // _n_threads()),
                None,
                silent_s=_SILENT_S,
                preload=modules,
                become=_BECOME,
                outlives_sigterm=True,
                title=f"renewal: keeper of the native versions of process {os.getpid()}",
            )
        self._load(modules)
        return self._crew.hire()

    def _load(self, modules: list[str]) -> None:
        new = [name for name in modules if name not in self._loaded]
        if new and self._crew is not None:
            self._crew.load(new)
            self._loaded.update(new)


def _n_threads() -> int:
    text = os.environ.get(THREADS, "1")
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise Invalid(
            THREADS,
            needs="a whole number of threads, 1 or more",
            came=repr(text),
            todo="Correct or remove the variable.",
        )
    return int(text)


NURSERY = Nursery()
"""The one of this process."""


def _begin_anew() -> None:
    """In a forked process: the keeper is its parent's."""
    NURSERY.__init__()  # type: ignore[misc]  # the lock may be held by a thread that is not here


atexit.register(NURSERY.close)
os.register_at_fork(after_in_child=_begin_anew)
