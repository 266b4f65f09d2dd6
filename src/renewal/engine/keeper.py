"""The keeper of the workers of one engine: it starts them, watches them and kills them.

A small process of its own, so that limits hold while the engine's owner is busy, dead or
stuck in C code. It loads the modules that the workers will need and then forks them, which
takes milliseconds where a fresh process takes a second; it runs nothing itself and has no
threads (but those of memory allocators, which know about forks). Each worker leads its own
session, so killing it kills what it started. A worker ends when its owner closes its line,
when the owner or the keeper dies, or when it is too slow, too large, or silent.

What a worker does is the owner's to say: it names the function that a forked process goes on
with. Servers have their native versions loaded and asked in such processes.

Run as ``python -m renewal.engine.keeper FD`` by `renewal.engine.crew`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any, Never

from renewal.engine import line as lines
from renewal.engine.worker import BEGIN, END, PULSE

HATCH = b"h"
"""What an owner sends, with two lines, to get a worker."""

LOAD = b"l"
"""What an owner sends, before a list of modules, to have them loaded for the next workers."""

Become = Callable[[socket.socket, int, int | None], None]
"""What a forked process goes on with: its line, its pulse, and what it may hold."""

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_LOOK_EVERY_S = 0.05
_COUNT_EVERY_S = 1.0


@dataclass(eq=False)
class _Nest:
    """A worker as its keeper sees it."""

    pid: int
    watch: socket.socket
    pulse: int
    oom_kills: int
    busy: bool = False
    ends_at_s: float = inf
    silent_s: float = 0.0
    cpu_s: float = 0.0
    verdict: dict[str, str] = field(default_factory=dict)


class Keeper:
    """Starts, watches and kills workers, until its owner is gone.

    Parameters
    ----------
    control : socket
        To the owner. A byte with two lines asks for a worker; its end ends everything.
    memory_bytes : int or None
        What a worker and what it started may hold.
    silent_s : float, seconds
        A worker that neither beats nor uses the processor for so long is lost.
    become : callable
        What a worker is; it ends when that returns.
    """

    def __init__(
        self, control: socket.socket, memory_bytes: int | None, silent_s: float, become: Become
    ) -> None:
        self.control, self.memory_bytes, self.silent_s = control, memory_bytes, silent_s
        self.become = become
        self.nests: list[_Nest] = []
        self.selector = selectors.DefaultSelector()
        self.libc: Any = ctypes.CDLL(None)
        self._counted_at_s = self._looked_at_s = time.monotonic()

    def keep(self) -> None:
        """Serve the owner until it is gone; then nobody is left."""
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that it wakes the selector
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self.selector.register(self.control, selectors.EVENT_READ, None)
        self.selector.register(woken, selectors.EVENT_READ, None)
        while True:
            wait_s = _LOOK_EVERY_S if any(nest.busy for nest in self.nests) else None
            for key, _ in self.selector.select(wait_s):
                if key.fileobj is self.control:
                    if not self._hatch():
                        self._end()
                elif key.fileobj is woken:
                    woken.recv(4096)
                elif key.data is not None and key.data in self.nests:
                    self._hear(key.data, key.fd)
            self._bury()
            self._look()

    def _hatch(self) -> bool:
        """Start a worker on two lines of the owner's, or load; False: the owner is gone."""
        try:
            asked, fds, _, _ = socket.recv_fds(self.control, len(HATCH), 2)
        except ConnectionResetError:
            return False
        if asked == LOAD:
            names = lines.receive(self.control)
            _load(names or ())
            return names is not None
        if not asked:
            return False
        ends = [socket.socket(fileno=fd) for fd in fds]
        for end in ends:
            end.set_inheritable(False)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        keeper = os.getpid()
        pipe: tuple[int, ...] = ()
        try:
            line, watch = ends
            mine, pulse = pipe = os.pipe()
            pid = os.fork()
        except (OSError, ValueError) as error:  # no more files or processes: the others go on
            _refuse(ends, pipe, error)
            return True
        if pid == 0:
            os.close(mine)
            watch.close()
            self._become_worker(line, pulse, keeper)
        os.close(pulse)
        line.close()
        os.set_blocking(mine, False)
        nest = _Nest(pid, watch, mine, _oom_kills())
        self.nests.append(nest)
        self.selector.register(watch, selectors.EVENT_READ, nest)
        self.selector.register(mine, selectors.EVENT_READ, nest)
        return True

    def _become_worker(self, line: socket.socket, pulse: int, keeper: int) -> Never:
        """Go on as a worker: let go of all that is the keeper's, serve, and end."""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if hasattr(self.libc, "prctl"):
                self.libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the keeper
            for key in list(self.selector.get_map().values()):
                os.close(key.fd)
            self.selector.close()
            if os.getppid() == keeper:
                self.become(line, pulse, self.memory_bytes)
        except OSError:  # the owner or the keeper went away in the midst: nobody to be told
            pass
        except BaseException:  # noqa: BLE001  # a forked process must never go on as its keeper
            traceback.print_exc()
        finally:
            os._exit(0)

    def _hear(self, nest: _Nest, fd: int) -> None:
        """Take what came from a worker, or the end of the owner's interest in it."""
        if fd == nest.watch.fileno():
            self._kill(nest, "cancelled", "one that was let go")
            self.selector.unregister(nest.watch)
            return
        try:
            came = os.read(fd, PULSE.size * 4096)
        except BlockingIOError:
            return
        if not came:
            self.selector.unregister(fd)
        for kind, seconds in PULSE.iter_unpack(came):
            nest.silent_s = 0.0
            if kind == BEGIN:
                nest.busy, nest.ends_at_s = True, time.monotonic() + seconds
            elif kind == END:
                nest.busy, nest.ends_at_s = False, inf

    def _look(self) -> None:
        """Kill what is too slow, too large, or silent."""
        now_s = time.monotonic()
        # What stopped the keeper stopped the workers too: a long pause counts as a short one.
        passed_s = min(now_s - self._looked_at_s, 1.0)
        self._looked_at_s = now_s
        held: dict[int, int] = {}
        if self.memory_bytes is not None and now_s - self._counted_at_s > _COUNT_EVERY_S:
            self._counted_at_s, held = now_s, _bytes_of_sessions()
        for nest in self.nests:
            if not nest.busy or nest.verdict:
                continue
            nest.silent_s += passed_s
            if now_s > nest.ends_at_s:
                self._kill(nest, "time", "one that went on")
            elif self._is_too_large(nest, held):
                allowed = f"{self.memory_bytes:,} bytes allowed"
                self._kill(nest, "memory", f"a worker that took more than the {allowed}")
            elif nest.silent_s > self.silent_s:
                self._listen(nest)

    def _is_too_large(self, nest: _Nest, held: dict[int, int]) -> bool:
        if self.memory_bytes is None:
            return False
        return max(_bytes_of(nest.pid), held.get(nest.pid, 0)) > self.memory_bytes

    def _listen(self, nest: _Nest) -> None:
        """Judge a silent worker: one that computes in C code may be silent, a stuck one not."""
        used_s = _cpu_s(nest.pid)
        if used_s is not None and used_s > nest.cpu_s:
            nest.cpu_s, nest.silent_s = used_s, 0.0
            return
        self._kill(nest, "lost", f"a worker that was silent and idle for {self.silent_s:g} s")

    def _kill(self, nest: _Nest, reason: str, came: str) -> None:
        if not nest.verdict:
            nest.verdict = {"reason": reason, "came": came}
        _kill_group(nest.pid)
        # One that does not lead its group yet; it is not buried, so the number is still its own.
        os.kill(nest.pid, signal.SIGKILL)

    def _bury(self) -> None:
        """Take the dead away with what they left running, and tell the owner how they died."""
        for nest in list(self.nests):
            pid, status = os.waitpid(nest.pid, os.WNOHANG)
            if pid == 0:
                continue
            _kill_group(nest.pid)
            verdict = nest.verdict or _cause(status, nest.oom_kills)
            for end in (nest.watch, nest.pulse):
                if end in self.selector.get_map():
                    self.selector.unregister(end)
            os.close(nest.pulse)
            with suppress(OSError):  # the owner does not care any more
                nest.watch.sendall(json.dumps(verdict).encode())
            nest.watch.close()
            self.nests.remove(nest)

    def _end(self) -> Never:
        """Kill all workers, see them dead, and end."""
        for nest in self.nests:
            self._kill(nest, "cancelled", "one that was let go")
        while self.nests:
            self._bury()
            time.sleep(0.001)
        os._exit(0)


def _cause(status: int, oom_kills: int) -> dict[str, str]:
    """Say how a worker died that nobody here killed."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return {"reason": "lost", "came": f"a worker that ended itself with exit status {code}"}
    if -code == signal.SIGKILL and _oom_kills() > oom_kills:
        return {"reason": "memory", "came": "a worker that the kernel killed for want of memory"}
    return {"reason": "lost", "came": f"a worker that was killed by {_name_of(-code)}"}


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _refuse(ends: list[socket.socket], pipe: Iterable[int], error: Exception) -> None:
    """Let go of a worker that could not be started; its owner is told why where it can be."""
    cause = {"reason": "lost", "came": f"a worker that could not be started: {error}"}
    for fd in pipe:
        os.close(fd)
    if len(ends) > 1:  # the second is the line by which a death is told
        with suppress(OSError):  # the owner does not care any more
            ends[1].sendall(json.dumps(cause).encode())
    for end in ends:
        end.close()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left but, maybe, the dead
        os.killpg(pid, signal.SIGKILL)


def _bytes_of(pid: int) -> int:
    """Return what a process holds in memory; 0 where it is gone or the system does not tell."""
    try:
        return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _bytes_of_sessions() -> dict[int, int]:
    """Return what the processes of each session hold together; shared pages count for each."""
    held: dict[int, int] = {}
    for entry in _PROC.iterdir() if _PROC.exists() else ():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            session, n_pages = int(stat[3]), int(stat[21])
            held[session] = held.get(session, 0) + n_pages * _PAGE_BYTES
    return held


def _cpu_s(pid: int) -> float | None:
    """Return the processor time of a process so far; None where the system does not tell."""
    stat = _stat(pid)
    return None if stat is None else (int(stat[11]) + int(stat[12])) / _TICKS_A_SECOND


def _stat(pid: int) -> list[bytes] | None:
    """Return the fields of ``/proc/PID/stat`` that follow the name."""
    try:
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:  # it ended in between, or there is no /proc
        return None


def _oom_kills() -> int:
    """Return how many processes the kernel has killed so far because memory ran out."""
    try:
        text = (_PROC / "vmstat").read_text(encoding="ascii")
    except OSError:  # no such count on this system
        return 0
    return sum(int(row.split()[1]) for row in text.splitlines() if row.startswith("oom_kill "))


def _load(names: Iterable[str]) -> None:
    """Load what the workers will need; what cannot be loaded here is told by who needs it."""
    for name in names:
        try:
            import_module(name)
        except Exception as error:  # noqa: BLE001  # a stranger's module: its user will hear of it
            print(f"renewal: {name} was not preloaded: {error}", file=sys.stderr)  # noqa: T201  # no logging is set up in this process
    gc.freeze()  # a collector that writes to what is shared would copy it in every worker


def main() -> None:
    """Read what to load and what to allow, then keep workers."""
    control = socket.socket(fileno=int(sys.argv[1]))
    hello = lines.receive(control)
    if hello is None:
        return
    os.dup2(2, 1)  # what workers print must not mix with what the owner's program answers
    sys.path[:] = hello["path"]
    os.environ.pop("PYTHONPATH", None)
    os.environ.update(hello["environment"])
    # Allocators' threads are no danger to a fork: they stop for it.
    warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
    _load(hello["preload"])
    if hello["outlives_sigterm"]:
        signal.signal(signal.SIGTERM, lambda *_: None)  # its workers inherit that
    module, _, name = hello["become"].partition(":")
    become: Become = getattr(import_module(module), name)
    Keeper(control, hello["memory_bytes"], hello["silent_s"], become).keep()


if __name__ == "__main__":
    main()
