"""The workers of one engine, from their owner's side: hired, reused, let go."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from renewal.engine import line as lines
from renewal.engine.keeper import HATCH, LOAD
from renewal.engine.share import worker_environment

PRELOADED = (
    *("lightgbm", "numpy", "pandas", "pyarrow", "renewal"),
    *("scipy", "skops", "sklearn", "xgboost"),
)
"""Packages whose loaded modules are loaded once, in the keeper, before it forks.

Importing them starts no thread but an allocator's, so forking after that is safe (a test
looks). Torch would be safe too, but takes a second that most candidates do not need: a worker
that needs it loads it and stays warm.
"""

# Our own files that bear these words load what they name.
_NEVER = {"onnx", "optuna", "peft", "ray", "river", "testing", "torch", "transformers"}
_WAIT_S = 30.0
_DYING_S = 5.0


def loaded_here(packages: Iterable[str] = PRELOADED) -> list[str]:
    """Return the public modules of `packages` that this process has loaded, two names deep.

    What the owner works with, its workers will need.
    """
    wanted = set(packages)
    names = []
    for name in sys.modules:
        parts = name.split(".")
        deep = 3 if parts[0] == "renewal" else 2
        hidden = any(part.startswith("_") for part in parts)
        if parts[0] in wanted and len(parts) <= deep and not hidden and may_preload(name):
            names.append(name)
    return names


def may_preload(name: str) -> bool:
    """Say whether a module of the packages in `PRELOADED` may be loaded before forking.

    Examples
    --------
    >>> may_preload("renewal.models.sklearn"), may_preload("renewal.models.onnx_adapter")
    (True, False)
    """
    is_known = name.partition(".")[0] in PRELOADED
    return is_known and _NEVER.isdisjoint(re.split(r"[._]", name))


class Hand:
    """One worker, from its owner's side.

    Attributes
    ----------
    line : socket
        Calls go out by it; words and ends come in.
    watch : socket
        To the worker's keeper: closing it kills the worker; its death is told there.
    """

    def __init__(self, line: socket.socket, watch: socket.socket) -> None:
        self.line, self.watch = line, watch

    def has_ended(self) -> bool:
        """Tell whether the worker died while nobody looked."""
        return bool(wait([self.watch], 0))

    def cause(self) -> dict[str, str]:
        """Wait until the worker is dead and return ``reason`` and ``came``: how it died."""
        told = b""
        self.watch.settimeout(_WAIT_S)
        with suppress(OSError):  # a keeper that was killed says nothing
            while part := self.watch.recv(4096):
                told += part
        self._close()
        if not told:
            return {"reason": "lost", "came": "a worker whose keeper died or had no file left"}
        cause: dict[str, str] = json.loads(told)
        return cause

    def await_end(self) -> None:
        """Give a worker whose line has ended the time to die of what it is dying of."""
        wait([self.watch], _DYING_S)

    def kill(self) -> dict[str, str]:
        """Kill the worker and all that it started; return when it is dead."""
        with suppress(OSError):  # the keeper is gone, and the worker with it
            self.watch.shutdown(socket.SHUT_WR)
        return self.cause()

    def _close(self) -> None:
        self.line.close()
        self.watch.close()


class Crew:
    """A keeper and its workers; constructing it starts the keeper.

    Parameters
    ----------
    n_slots : int
        Into how many shares the cores are divided.
    memory_bytes : int or None
        What one worker may hold.
    silent_s : float, seconds
        A worker that neither beats nor uses the processor for so long is lost.
    preload : sequence of str
        Modules that are loaded before workers are forked.
    become : str, default ``renewal.engine.worker:work``
        The function that a worker goes on with.
    title : str, default ""
        What the process list shows of the keeper, beside how it was started.
    outlives_sigterm : bool, default False
        Whether keeper and workers leave it to their owner when to end: service managers
        signal all processes of a service at once, and a server still answers then.
    """

    def __init__(
        self,
        n_slots: int,
        memory_bytes: int | None,
        *,
        silent_s: float,
        preload: list[str],
        become: str = "renewal.engine.worker:work",
        title: str = "",
        outlives_sigterm: bool = False,
    ) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Hand] = []
        self.closed = False
        self._control, theirs = socket.socketpair()
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100  # '' is a place too
        environment = worker_environment(n_slots)
        boot = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(path)}
        with theirs:
            command = [sys.executable, "-P", "-m", "renewal.engine.keeper", str(theirs.fileno())]
            command += [title] if title else []
            self._keeper = subprocess.Popen(  # noqa: S603  # this Python and a module of this package
                command,
                stdin=subprocess.DEVNULL,
                env=boot,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # an interrupt of the terminal is the owner's to handle
            )
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        hello: dict[str, Any] = {
            "path": path,
            "environment": environment,
            "preload": preload,
            "memory_bytes": memory_bytes,
            "silent_s": silent_s,
            "become": become,
            "outlives_sigterm": outlives_sigterm,
        }
        with suppress(OSError):  # a keeper that cannot start is noticed by whoever hires
            lines.send(self._control, hello)

    @property
    def is_alive(self) -> bool:
        """Whether workers can still be hired."""
        return not self.closed and not wait([self._control], 0)  # it never speaks: it ends

    def hire(self) -> Hand:
        """Return a worker that is free, a warm one where there is one.

        Raises
        ------
        OSError
            When the keeper is gone.
        """
        with self._lock:
            while self._idle:
                hand = self._idle.pop()
                if not hand.has_ended():
                    return hand
                hand.cause()
            line, their_line = socket.socketpair()
            watch, their_watch = socket.socketpair()
            hand = Hand(line, watch)
            with their_line, their_watch:
                fds = [their_line.fileno(), their_watch.fileno()]
                try:
                    socket.send_fds(self._control, [HATCH], fds)
                except OSError:
                    line.close()
                    watch.close()
                    raise
            return hand

    def load(self, modules: list[str]) -> None:
        """Have modules loaded for the workers that are hired from now on; return at once.

        Raises
        ------
        OSError
            When the keeper is gone.
        """
        with self._lock:
            self._control.sendall(LOAD)
            lines.send(self._control, modules)

    def give_back(self, hand: Hand) -> None:
        """Keep a worker warm for the next call."""
        with self._lock:
            if not self.closed:
                self._idle.append(hand)
                return
        hand.kill()

    def close(self) -> None:
        """Kill everybody and return when they are dead; the second time does nothing."""
        with self._lock:
            if self.closed or os.getpid() != self._owner:
                return
            self.closed = True
            idle, self._idle = self._idle, []
        self._control.close()
        try:
            self._keeper.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        for hand in idle:
            hand.cause()
