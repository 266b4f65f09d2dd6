"""The engine that runs work as tasks of a Ray cluster (extra ``ray``)."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells nobody, unless its owner wants
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray is going to do anyway

import ray  # Ray reads the lines above while it is imported
from ray import exceptions as failures
from ray._private import ray_constants

from renewal.core.errors import Conflict, RenewalError, Unavailable
from renewal.core.progress import Progress, tell_progress
from renewal.engine.contract import Call, Ended, HearAt, Ran, Value
from renewal.engine.options import EngineOptions
from renewal.engine.packing import (
    lost,
    out_of_memory,
    out_of_time,
    pack_call,
    unpack_end,
)
from renewal.engine.ray_task import DESK, Desk, run_task
from renewal.engine.share import n_cores

MOST_BYTES = 2**20
"""Larger calls are refused: objects go through the store, not through Ray's memory."""

_DEFAULT = EngineOptions(kind="ray")
_LISTEN_EVERY_S = 0.25
_GRACE_S = 5.0
_DYING_S = 30.0
_KNOCK_S = 10.0
_STORE_BYTES = 80 * 2**20  # nothing large travels by it; Ray takes no less


@dataclass(eq=False)
class _Task:
    """A call that was handed to Ray."""

    at: int
    call: Call
    key: str
    ref: Any
    started_s: float
    began_s: float | None = None
    fate: tuple[str, str] | None = None

    def is_stuck(self) -> bool:
        """Tell whether its guard should have ended it, and could not."""
        if self.call.limit_s is None or self.began_s is None:
            return False
        return time.perf_counter() > self.began_s + self.call.limit_s + _GRACE_S


class RayEngine:
    """Runs functions as tasks of a Ray cluster, one core each.

    Only small things travel: calls of more than 1 MiB are refused, rows and models go through
    the store, which every node must reach. Every node needs the same packages, the modules
    of the functions among them. The limits of time and memory are kept by the task itself,
    and by this process where C code in the task does not let it. Cancelling kills the task's
    process; what that started is killed too in a Ray that this engine starts, and elsewhere
    where the cluster has ``process_group_cleanup_enabled``.

    Without an address it starts a Ray of its own on this machine at the first call (4 to 11 s,
    listening on 127.0.0.1 only, no dashboard, no usage report), or uses the one that this
    process is connected to already, such as inside a task. It stops only what it started.

    Data-parallel torch training will come as a call that starts a Ray Train run on the same
    connection; nothing here stands in its way.

    Parameters
    ----------
    options : EngineOptions
        ``workers``: how many calls run at a time; None: one for each core of the cluster.
        ``memory_bytes``: of one task's process. ``address``: of a running cluster.

    Notes
    -----
    A task that waits for tasks of its own gives its core back meanwhile, so an engine within
    an engine cannot block. Engines of one process share one connection, and a Ray that was
    started here ends with the last of them.
    """

    def __init__(self, options: EngineOptions = _DEFAULT) -> None:
        self.options = options
        self._membership: _Membership | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options: the copy connects when it is used."""
        return RayEngine, (self.options,)

    @property
    def n_slots(self) -> int:
        """As many as the options say, or one for each core of the cluster."""
        if self.options.workers is not None:
            return self.options.workers
        if self.options.address is None and not ray.is_initialized():
            return n_cores()
        self._join()
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def warm_up(self, modules: Sequence[str] = ()) -> None:
        """Do nothing: connecting to a Ray, or starting one, keeps its caller waiting."""

    def run(self, function: Callable[..., Value], /, *args: Any, label: str) -> Ran[Value]:
        """Run ``function(*args)`` in a task, wait, and return its value with its cost.

        What it says of its progress is told on where the caller is heard.

        Raises
        ------
        Exception
            Whatever the function raises, unchanged.
        Unavailable
            When the task's process died; ``fields["reason"]`` says why.
        Invalid
            When the function cannot be handed to a task.
        """
        (ended,) = self.run_all([Call(function, args, label)])
        if ended.error is not None:
            raise ended.error
        assert ended.ran is not None, "what did not fail has a value"
        return ended.ran

    def run_all(self, calls: Sequence[Call], hear: HearAt | None = None) -> Iterator[Ended]:
        """Run several calls, `n_slots` at a time; yield each as it ends.

        Closing the iterator, and an exception in the loop over it, kill what still runs.
        The time limit of a call counts from where its task begins.
        """
        return self._drive(calls, hear)

    def close(self) -> None:
        """Kill what still runs, and stop Ray if engines of this process have started it."""
        membership, self._membership = self._membership, None
        if membership is not None:
            membership.end()

    def _join(self) -> _Membership:
        if self._membership is not None and not ray.is_initialized():
            self.close()  # somebody else has stopped Ray
        if self._membership is None:
            self._membership = _Membership(self.options)
            weakref.finalize(self, self._membership.end).atexit = False  # Ray has its own
        return self._membership

    def _drive(self, calls: Sequence[Call], hear: HearAt | None) -> Generator[Ended, None, None]:
        membership = self._join()
        waiting = deque(enumerate(calls))
        running: list[_Task] = []
        ends: deque[Ended] = deque()
        n_slots = self.n_slots
        try:
            while waiting or running or ends:
                while waiting and len(running) < n_slots:
                    at, call = waiting.popleft()
                    started = membership.start(at, call)
                    running.append(started) if isinstance(started, _Task) else ends.append(started)
                if ends:
                    yield ends.popleft()
                else:
                    ends.extend(membership.next_ends(running, hear))
        finally:
            membership.kill(running)


class _Membership:
    """An engine's part in the one connection of this process to a Ray."""

    def __init__(self, options: EngineOptions) -> None:
        self.memory_bytes = options.memory_bytes
        self.tasks: set[_Task] = set()
        self.ended = False
        _connection.join(options)
        self.desk = ray.remote(Desk).options(name=DESK, get_if_exists=True, num_cpus=0).remote()
        self._remote = ray.remote(run_task)

    def start(self, at: int, call: Call) -> _Task | Ended:
        """Hand a call to Ray; where that cannot be, it has ended."""
        if self.ended:
            error: RenewalError = lost(call.label, "an engine that was closed", "cancelled")
            return Ended(at, None, error, 0.0)
        try:
            packed = pack_call(call.function, call.args, call.label, most_bytes=MOST_BYTES)
        except RenewalError as refused:
            return Ended(at, None, refused, 0.0)
        key = uuid.uuid4().hex
        limits = (call.limit_s, self.memory_bytes, MOST_BYTES)
        remote = self._remote.options(name=call.label, num_cpus=1, max_retries=0)
        place = (str(Path.cwd()), list(sys.path))
        ref = remote.remote(packed, call.label, key, limits, place)
        task = _Task(at, call, key, ref, time.perf_counter())
        self.tasks.add(task)
        return task

    def next_ends(self, running: list[_Task], hear: HearAt | None) -> list[Ended]:
        """Wait a moment; pass on what was said and return the calls that have ended."""
        if self.ended:
            ends = [_cancelled(task) for task in running]
            running.clear()
            return ends
        refs = {task.ref: task for task in running}
        done, _ = ray.wait(list(refs), num_returns=1, timeout=_LISTEN_EVERY_S)
        self._listen(running, hear)
        for task in running:
            if task.ref not in done and task.is_stuck():
                task.fate = ("time", "one that went on")
                ray.cancel(task.ref, force=True)
        ends = []
        for ref in done:
            running.remove(refs[ref])
            ends.append(self._end(refs[ref]))
        return ends

    def kill(self, running: list[_Task]) -> None:
        """Kill tasks; return when Ray says that they are gone."""
        if self.ended or not running:
            return
        for task in running:
            ray.cancel(task.ref, force=True)
        refs = [task.ref for task in running]
        ray.wait(refs, num_returns=len(refs), timeout=_DYING_S)
        self.tasks.difference_update(running)

    def end(self) -> None:
        """Kill the tasks of this engine and let go of the connection, once."""
        if not self.ended:
            if ray.is_initialized():
                self.kill(list(self.tasks))
            self.ended = True
            _connection.leave()

    def _listen(self, running: list[_Task], hear: HearAt | None) -> None:
        """Take from the desk what tasks have said, that they began, and why they died."""
        by_key = {task.key: task for task in running}
        try:
            news = ray.get(self.desk.take.remote(list(by_key)))
        except failures.RayActorError:  # its node went away: words are lost, work is not
            return
        for key, (began, said, fate) in news.items():
            task = by_key[key]
            if began and task.began_s is None:
                task.began_s = time.perf_counter()
            task.fate = fate or task.fate
            if said is not None:
                if hear is None:
                    tell_progress(*said)
                else:
                    hear(task.at, Progress(*said))

    def _end(self, task: _Task) -> Ended:
        """Return how a task ended that Ray says is done."""
        self.tasks.discard(task)
        seconds = time.perf_counter() - task.started_s
        try:
            kind, body = ray.get(task.ref)
        except failures.RayError as error:
            return Ended(task.at, None, _why(task, error), seconds)
        ran, raised = unpack_end(kind, body, task.call.label)
        return Ended(task.at, ran, raised, seconds)


class _Connection:
    """The one connection of this process to a Ray, and who uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_users = 0
        self.is_ours = False

    def join(self, options: EngineOptions) -> None:
        """Connect, or start a Ray, unless this process is connected already."""
        with self.lock:
            if not ray.is_initialized():
                _connect(options)
                self.is_ours = True
            elif options.address not in {None, "auto", _address()}:
                raise Conflict(
                    "RayEngine",
                    needs=f"a process that is connected to {options.address}, or to no Ray",
                    came=f"one that is connected to {_address()}",
                    todo="Close the engines of the other cluster first.",
                )
            self.n_users += 1

    def leave(self) -> None:
        """Let go; the last one stops what was started here, and nothing else."""
        with self.lock:
            self.n_users -= 1
            if self.n_users == 0 and self.is_ours:
                self.is_ours = False
                ray.shutdown()


_connection = _Connection()


@contextmanager
def loopback() -> Iterator[None]:
    """Let a Ray that is started inside the block listen on 127.0.0.1 alone.

    Ray has this only as a constant that it reads from the environment when it is imported,
    by a name for other systems; set for good it would break joining clusters.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _connect(options: EngineOptions) -> None:
    quiet = {"logging_level": "error", "log_to_driver": False}
    if options.address is not None:
        try:
            _knock(options.address)
            ray.init(address=options.address, **quiet)
        except (OSError, RuntimeError) as error:
            raise Unavailable(
                "RayEngine",
                needs=f"a Ray cluster at {options.address}, with a node on this machine",
                came=str(error),
                todo="Start one by `ray start`, or leave the address out.",
            ) from error
        return
    with loopback():
        ray.init(
            address="local",
            num_cpus=options.workers or n_cores(),
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            _system_config={"process_group_cleanup_enabled": True},
            **quiet,
        )


def _knock(address: str) -> None:
    """See whether anybody is there: Ray itself tries for more than five minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()


def _address() -> str:
    return str(ray.get_runtime_context().gcs_address)


def _why(task: _Task, error: Exception) -> RenewalError:
    """Return the error of a task whose process is gone."""
    label = task.call.label
    reason, came = task.fate or ("lost", f"{type(error).__name__}: {error}")
    if reason == "time":
        return out_of_time(label, task.call.limit_s or 0.0)
    if reason == "memory" or isinstance(error, failures.OutOfMemoryError):
        return out_of_memory(label, came)
    if isinstance(error, failures.TaskCancelledError):
        reason = "cancelled"
    return lost(label, came, reason)


def _cancelled(task: _Task) -> Ended:
    error = lost(task.call.label, "an engine that was closed", "cancelled")
    return Ended(task.at, None, error, time.perf_counter() - task.started_s)
