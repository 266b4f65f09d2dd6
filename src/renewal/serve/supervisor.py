"""Several worker processes behind one port: started, restarted, stopped together.

The supervisor binds the port, so that all workers share one number, and never listens; every
worker binds it, too (SO_REUSEPORT), and the system deals out the connections among those that
listen. Workers are started as programs of their own, not forked: a fork would copy the locks of
threads that it does not copy. Each waits at the end of a pipe: when the supervisor dies, however
it dies, the pipe ends, and the worker stops as at SIGTERM.

A worker takes connections only once its models are loaded, so that one that comes back after a
crash refuses nobody. The first worker of a server that starts listens at once: somebody must
answer the probes meanwhile, that it lives and is not ready; the others wait for it, so that
whoever hears that the server is ready finds every worker ready.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import Any

import msgspec

from renewal.core.errors import Failed
from renewal.serve.listening import reserved_socket, url_of
from renewal.serve.options import ServeOptions
from renewal.serve.run_folder import RunFolder
from renewal.serve.status import WorkerStatus

_LOG = logging.getLogger("renewal.serve")
_STEP_S = 0.1
_QUICK_S = 10.0
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 30.0
_MOST_QUICK_DEATHS = 5
# Over what the options allow: to write and seal the log and let go of the models.
_SLACK_S = 15.0


class Ticket(msgspec.Struct, frozen=True):
    """What a worker is told when it starts, as one line of JSON on its standard input.

    Parameters
    ----------
    run : str
        The run folder that the supervisor has opened.
    worker : int
        Its number, from 0.
    listens_late, waits_for_first : bool
        As `RunFolder.joined` takes them.
    port : int
        That all share.
    grpc_port : int or None
        The same for gRPC.
    stop_s : float, seconds
        How long it may take to stop when its supervisor is gone.
    more : dict
        What the command adds: which home, and options of its own.
    """

    run: str
    worker: int
    listens_late: bool
    waits_for_first: bool
    port: int
    grpc_port: int | None
    stop_s: float
    more: dict[str, Any]


def read_ticket(line: bytes) -> Ticket:
    """Read what a worker is told when it starts."""
    return msgspec.json.decode(line, type=Ticket)


@dataclass(slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    n_quick_deaths: int = 0


class Supervisor:
    """Keeps the workers of a server alive until it is told to stop.

    Parameters
    ----------
    command : sequence of str
        Starts a worker; it reads a `Ticket` from its standard input, and stops at its end.
    more : mapping
        Goes into every ticket.
    options : ServeOptions
        ``workers``, where to listen, and how long a stop may take.
    run : RunFolder
        Not opened yet.
    stderr : int or None
        Where workers write what they say; None: where the supervisor does.

    Notes
    -----
    A worker that dies is started again after a pause that doubles, up to 30 s, while it goes on
    dying within 10 s or before it has started. After five such deaths in a row the supervisor
    gives up, unless another worker answers.
    """

    def __init__(
        self,
        command: Sequence[str],
        more: Mapping[str, Any],
        options: ServeOptions,
        run: RunFolder,
        *,
        stderr: int | None = None,
    ) -> None:
        self._command = list(command)
        self._more = dict(more)
        self._options = options
        self._run = run
        self._stderr = stderr
        self._workers = [_Worker(number) for number in range(options.workers)]
        self._sockets: list[socket.socket] = []
        self._ports: tuple[int, int | None] = (0, None)
        self._wake = threading.Event()
        self._n_told = 0

    @property
    def stop_s(self) -> float:
        """How long workers may take to stop before they are killed."""
        options = self._options
        # Requests, connections, calls of gRPC and the shadow have `drain_s` each.
        return options.notice_s + 4 * options.drain_s + _SLACK_S

    def run(self, on_ready: Callable[[str], object] | None = None) -> int:
        """Serve until SIGTERM or SIGINT; a second one kills what has not stopped yet.

        Parameters
        ----------
        on_ready : callable or None
            Called with the url once every worker has started.

        Returns
        -------
        int
            0 when every worker stopped by itself, 1 when one had to be killed.

        Raises
        ------
        Unavailable
            When the address is taken.
        Failed
            When no worker stays alive.

        Notes
        -----
        To be called from the main thread, where signals arrive.
        """
        before = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, self._told),
            signal.SIGINT: signal.signal(signal.SIGINT, self._told),
            signal.SIGCHLD: signal.signal(signal.SIGCHLD, self._woken),
        }
        try:
            self._run.open()
            url = self._reserve()
            for worker in self._workers:
                self._start(worker, is_again=False)
            self._watch(url, on_ready)
        except BaseException:
            self._stop()
            raise
        else:
            return self._stop()
        finally:
            for each in self._sockets:
                each.close()
            self._run.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told(self, _signal: int, _frame: FrameType | None) -> None:
        self._n_told += 1
        self._wake.set()

    def _woken(self, _signal: int, _frame: FrameType | None) -> None:
        self._wake.set()

    def _reserve(self) -> str:
        """Bind the ports that the workers share; return the server's url."""
        options = self._options
        http = reserved_socket(options.host, options.port)
        self._sockets.append(http)
        grpc_port = options.grpc_port
        if grpc_port is not None:
            grpc = reserved_socket(options.host, grpc_port)
            self._sockets.append(grpc)
            grpc_port = int(grpc.getsockname()[1])
        self._ports = (int(http.getsockname()[1]), grpc_port)
        return url_of(options.host, http)

    def _start(self, worker: _Worker, *, is_again: bool) -> None:
        port, grpc_port = self._ports
        ticket = Ticket(
            str(self._run.path),
            worker.number,
            is_again or worker.number > 0,
            not is_again and worker.number > 0,
            port,
            grpc_port,
            self.stop_s,
            self._more,
        )
        worker.process = subprocess.Popen(  # noqa: S603  # this very interpreter, by our own command
            self._command,
            stdin=subprocess.PIPE,
            stderr=self._stderr,
            # Ctrl+C on a terminal reaches the supervisor only, which tells the workers.
            start_new_session=True,
        )
        worker.started_s = monotonic()
        assert worker.process.stdin is not None
        # A worker that is dead already is found so, and started again.
        with suppress(BrokenPipeError):
            worker.process.stdin.write(msgspec.json.encode(ticket) + b"\n")
            worker.process.stdin.flush()
        _LOG.info("worker started worker=%d pid=%d", worker.number, worker.process.pid)

    def _watch(self, url: str, on_ready: Callable[[str], object] | None) -> None:
        """Start again what dies, until somebody tells us to stop."""
        is_announced = False
        while not self._n_told:
            self._wake.wait(_STEP_S)
            self._wake.clear()
            for worker in self._workers:
                if worker.process is None:
                    if monotonic() >= worker.due_s and not self._n_told:
                        self._start(worker, is_again=True)
                elif worker.process.poll() is not None:
                    self._bury(worker, worker.process)
            if not is_announced and self._have_started():
                is_announced = True
                _LOG.info("serving url=%s workers=%d", url, len(self._workers))
                if on_ready is not None:
                    on_ready(url)

    def _have_started(self) -> bool:
        started = {each.worker for each in self._run.read()[0] if each.has_started}
        return len(started) == len(self._workers)

    def _bury(self, worker: _Worker, process: subprocess.Popen[bytes]) -> None:
        """Keep the counts of a worker that has died, and say when it is started again."""
        living = self._run.read()[0]
        has_started = any(each.pid == process.pid and each.has_started for each in living)
        self._let_go(process)
        worker.process = None
        is_quick = not has_started or monotonic() - worker.started_s < _QUICK_S
        worker.n_quick_deaths = worker.n_quick_deaths + 1 if is_quick else 0
        pause_s = min(_FIRST_PAUSE_S * 2**worker.n_quick_deaths, _LAST_PAUSE_S)
        worker.due_s = monotonic() + pause_s
        _LOG.error(
            "worker died worker=%d pid=%d %s again_in_s=%g",
            worker.number,
            process.pid,
            how_it_ended(process.returncode),
            pause_s,
        )
        is_hopeless = worker.n_quick_deaths >= _MOST_QUICK_DEATHS
        if is_hopeless and not self._others_answer(process.pid, living):
            raise Failed(
                "renewal serve",
                needs="a worker that stays alive",
                came=f"{worker.n_quick_deaths} quick deaths of worker {worker.number}, "
                f"the last by {how_it_ended(process.returncode)}",
                todo="See what it said above; `renewal serve --workers 1` shows it plainly.",
            )

    def _others_answer(self, pid: int, living: Sequence[WorkerStatus]) -> bool:
        running = {
            each.process.pid
            for each in self._workers
            if each.process is not None and each.process.poll() is None
        }
        return any(each.has_started and each.pid in running - {pid} for each in living)

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        self._run.retire(process.pid)

    def _stop(self) -> int:
        """Tell every worker to stop and wait until it has; kill what takes too long."""
        until_s = monotonic() + self.stop_s
        left = [each.process for each in self._workers if each.process is not None]
        for process in left:
            process.terminate()
        code = 0
        while left:
            self._wake.wait(_STEP_S)
            self._wake.clear()
            is_late = monotonic() > until_s or self._n_told > 1
            for process in list(left):
                if process.poll() is None:
                    if is_late:
                        _LOG.error("worker killed pid=%d: it had not stopped", process.pid)
                        process.kill()
                        process.wait()
                    else:
                        continue
                # One that was still starting has no handler yet: told to stop, it stopped.
                if process.returncode not in {0, -signal.SIGTERM}:
                    code = 1
                self._let_go(process)
                left.remove(process)
        return code


def how_it_ended(code: int) -> str:
    """Return how a process ended, by its return code.

    Examples
    --------
    >>> how_it_ended(-9), how_it_ended(7)
    ('signal=SIGKILL', 'exit=7')
    """
    if code >= 0:
        return f"exit={code}"
    try:
        return f"signal={signal.Signals(-code).name}"
    except ValueError:
        return f"signal={-code}"
