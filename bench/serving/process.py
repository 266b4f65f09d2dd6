"""Servers under test: each a process of its own, bound to the server's core, ended for sure."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from bench.serving.cores import SERVER, child_words

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STOP_S = 20.0
_STEP_S = 0.02
_TAIL = 3000
# Where `python -m bench.NAME` finds its modules.
ROOT = Path(__file__).parents[2]
# Nothing may compute on more threads than it has cores.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class NotStartedError(Exception):
    """A server did not become ready; its text is the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Child:
    """A server that runs.

    Parameters
    ----------
    process : subprocess.Popen
        Its first process, the leader of a session of its own.
    port : int
        Where it answers HTTP.
    """

    process: subprocess.Popen[bytes]
    port: int

    @property
    def pids(self) -> list[int]:
        """Every process that it consists of."""
        return family_of(self.process.pid)

    def cpu_s(self) -> float:
        """Return the processor seconds that it has used, with its children that are gone."""
        return family_cpu_s(self.process.pid)

    def rss_bytes(self) -> int:
        """Return the memory of all its processes; pages that two share count twice."""
        return rss_bytes(self.pids)

    def own_bytes(self) -> int:
        """Return the memory of all its processes that is no page of a file."""
        return own_bytes(self.pids)

    def peak_bytes(self) -> int:
        """Return the most memory that one of its processes has ever had, by the kernel's count."""
        return max((_peak_bytes(pid) for pid in self.pids), default=0)


@contextmanager
def started(
    words: Sequence[str],
    port: int,
    *,
    ready: str = "/v2/health/ready",
    timeout_s: float = 120.0,
    env: Mapping[str, str] | None = None,
    core: int = SERVER,
) -> Iterator[Child]:
    """Start a server, wait until it says that it is ready, and end all of it at the end.

    Parameters
    ----------
    words : sequence of str
        Its command line.
    port : int
        Where it will listen.
    ready : str
        A path that is answered 200 once it is.
    timeout_s : float, seconds
        How long to wait for that.
    env : mapping or None
        Beside this process's own environment.
    core : int
        To which it is bound.

    Raises
    ------
    NotStartedError
        With the end of its output.
    """
    with TemporaryFile() as output:
        process = subprocess.Popen(
            child_words(words, core=core),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ONE_THREAD, **(env or {})},
            start_new_session=True,
            cwd=ROOT,
        )
        child = Child(process, port)
        try:
            _await(child, ready, timeout_s, output)
            yield child
        finally:
            end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a process to stop, then kill what is left of it and of all that it has started."""
    leader = process.pid
    known = {pid: _began(pid) for pid in family_of(leader)}
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
    for pid in {*known, *family_of(leader)}:
        # A number may have gone to another process by now.
        if pid not in known or known[pid] == _began(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def family_of(leader: int) -> list[int]:
    """Return a process, what it has started, and whoever is of its session, alive."""
    stats = {int(each): _stat(int(each)) for each in os.listdir("/proc") if each.isdigit()}  # noqa: PTH208  # plain names, asked for many times a second
    alive = {pid: each for pid, each in stats.items() if len(each) > 3 and each[0] != "Z"}
    found = {pid for pid, each in alive.items() if int(each[3]) == leader or pid == leader}
    grown = True
    while grown:
        more = {pid for pid, each in alive.items() if int(each[1]) in found} - found
        grown = bool(more)
        found |= more
    return sorted(found)


def family_cpu_s(leader: int) -> float:
    """Return the processor seconds of a family, with the leader's children that are gone."""
    return sum(_cpu_s(pid, with_children=pid == leader) for pid in family_of(leader))


def rss_bytes(pids: Iterable[int]) -> int:
    """Return the memory of processes together; who is gone has none."""
    found = [_read(Path(f"/proc/{pid}/statm")).split() for pid in pids]
    return sum(int(fields[1]) * _PAGE for fields in found if len(fields) > 1)


def own_bytes(pids: Iterable[int]) -> int:
    """Return the memory of processes that is no page of a file; who is gone has none."""
    found = [_read(Path(f"/proc/{pid}/statm")).split() for pid in pids]
    return sum((int(each[1]) - int(each[2])) * _PAGE for each in found if len(each) > 2)


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def renewal_words(*words: str) -> list[str]:
    """Return the command line of our own program, as it is installed."""
    beside = Path(sys.executable).with_name("renewal")
    found = str(beside) if beside.exists() else shutil.which("renewal")
    return [found or "renewal", *words]


def _await(child: Child, ready: str, timeout_s: float, output: IO[bytes]) -> None:
    until_s = time.monotonic() + timeout_s
    url = f"http://127.0.0.1:{child.port}{ready}"
    while not _is_ready(url):
        has_ended = child.process.poll() is not None
        if has_ended or time.monotonic() > until_s:
            output.seek(0)
            text = output.read().decode(errors="replace")[-_TAIL:]
            why = f"ended with {child.process.returncode}" if has_ended else "is not ready"
            raise NotStartedError(f"{' '.join(map(str, child.process.args))} {why}: {text}")  # type: ignore[arg-type]  # a list of words here
        time.sleep(_STEP_S)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # this machine's own
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, HTTPException):
        return False


def _stat(pid: int) -> list[str]:
    """Return the fields of a process behind its name: state first; none where it is gone."""
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _began(pid: int) -> str:
    """Return when a process began, in ticks; with its number this names it for ever."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _cpu_s(pid: int, *, with_children: bool) -> float:
    fields = _stat(pid)
    if len(fields) < 15:
        return 0.0
    return sum(map(int, fields[11 : 15 if with_children else 13])) / _TICKS


def _peak_bytes(pid: int) -> int:
    text = _read(Path(f"/proc/{pid}/status"))
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) * 1024 if found else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
