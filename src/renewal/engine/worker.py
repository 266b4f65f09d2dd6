"""A worker process: it runs one call after the other, and says that it lives.

It is forked by its keeper (`renewal.engine.keeper`), leads a process group of its own, and
holds two lines: one to whoever hands it calls, one to the keeper for its heartbeat.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

from renewal.core.errors import Unavailable
from renewal.core.progress import Progress, hearing
from renewal.engine import line as lines
from renewal.engine.measure import measured, resident_bytes
from renewal.engine.packing import pack_error, pack_ran, unpack_call

PULSE = struct.Struct("!cd")
"""What a worker tells its keeper: one of the letters below, and a number of seconds."""

BEAT, BEGIN, END = b"b", b"s", b"e"

_BEAT_EVERY_S = 0.25


class Worker:
    """Runs calls that come over `line`, and beats into `pulse` all the while.

    Parameters
    ----------
    line : socket
        Calls come in by it; words of progress and ends go out.
    pulse : int
        The writing end of a pipe to the keeper.
    memory_bytes : int or None
        What it may take; with half of that in its hands it asks to be replaced.
    """

    def __init__(self, line: socket.socket, pulse: int, memory_bytes: int | None) -> None:
        self.line, self.pulse, self.memory_bytes = line, pulse, memory_bytes
        self._said: Progress | None = None
        self._sending = threading.Lock()
        self._busy = threading.Event()

    def serve(self) -> None:
        """Run calls until the other side is gone."""
        prepare()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        while (call := lines.receive(self.line)) is not None:
            packed, label, limit_s, folder, path = call
            self._pulse(BEGIN, inf if limit_s is None else limit_s)
            self._busy.set()
            move(folder, path)
            kind, body = self._run(packed, label)
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):  # gone, or closed by the function
                    stream.flush()
            self._busy.clear()
            self._pulse(END, 0.0)
            self._tell()
            self._send(("ended", kind, body, self._is_tired()))

    def _run(self, packed: bytes, label: str) -> tuple[str, bytes]:
        try:
            function, args = unpack_call(packed, label)
            with hearing(self._hear):
                return "ran", pack_ran(measured(function, args, fresh=True), label)
        except BaseException as error:  # noqa: BLE001  # the worker border: the caller is told, even of sys.exit
            body = pack_error(error, label)
            reason = error.fields.get("reason") if isinstance(error, Unavailable) else None
            # What it holds, or a GPU that has refused its work, would sink the next call, too.
            is_spent = isinstance(error, MemoryError) or reason in {"memory", "device"}
            return "memory" if is_spent else "error", body

    def _hear(self, said: Progress) -> None:
        self._said = said

    def _tell(self) -> None:
        """Pass on the last word that was said, if it is new; the ones before are dropped."""
        said, self._said = self._said, None
        if said is not None:
            self._send(("said", said.text[:1000], said.share))

    def _beat(self) -> None:
        """While a call runs, beat and pass on progress a few times a second."""
        while True:
            self._busy.wait()
            try:
                self._pulse(BEAT, 0.0)
                self._tell()
            except OSError:  # nobody is there any more: whatever runs here is for nobody
                os.killpg(0, signal.SIGKILL)
            time.sleep(_BEAT_EVERY_S)

    def _pulse(self, kind: bytes, seconds: float) -> None:
        os.write(self.pulse, PULSE.pack(kind, seconds))

    def _send(self, message: Any) -> None:
        with self._sending:
            lines.send(self.line, message)

    def _is_tired(self) -> bool:
        """Tell whether what earlier calls left behind could sink the next one."""
        held = resident_bytes()
        return None not in (self.memory_bytes, held) and 2 * (held or 0) > (self.memory_bytes or 0)


def work(line: socket.socket, pulse: int, memory_bytes: int | None) -> None:
    """Go on as a worker: what a keeper's forked process becomes as a rule."""
    Worker(line, pulse, memory_bytes).serve()


def prepare() -> None:
    """Make a forked process a worker: first to go when memory is short, dice of its own."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("500", encoding="ascii")
    numpy = sys.modules.get("numpy")
    if numpy is not None:  # forked workers would all draw the same numbers
        numpy.random.seed()


def move(folder: str, path: list[str]) -> None:
    """Stand where the caller stands, and find the modules that it finds."""
    if sys.path != path:
        sys.path[:] = path
    if os.path.isdir(folder):  # noqa: PTH112  # twice as fast, at every call
        os.chdir(folder)
