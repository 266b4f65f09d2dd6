"""What runs in the processes of a Ray cluster: one call, its guard, and the desk of messages."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray import exceptions as failures

from renewal.core.progress import Progress, hearing
from renewal.engine.measure import measured, resident_bytes
from renewal.engine.packing import pack_error, pack_ran, unpack_call
from renewal.engine.share import CORES

DESK = "renewal-desk"
"""The name of the desk's actor within a job, so that tasks of tasks find it too."""

_LOOK_EVERY_S = 0.1
_TELL_EVERY_S = 0.25

Place = tuple[str, list[str]]
"""The working folder of the caller and its import path; they count where they exist here."""

Limits = tuple[float | None, int | None, int]
"""Seconds that a call may take, bytes that its process may hold, bytes that it may return."""

News = tuple[bool, tuple[str, float | None] | None, tuple[str, str] | None]
"""Whether a task began, the last that it said, and of what it died."""


class Desk:
    """Where tasks leave word for whoever started them; an actor, one in a job."""

    def __init__(self) -> None:
        self._news: dict[str, News] = {}

    def began(self, key: str) -> None:
        """Note that a task runs."""
        self._news[key] = (True, None, None)

    def say(self, key: str, text: str, share: float | None) -> None:
        """Keep the last word of a task."""
        began, _, fate = self._news.get(key, (True, None, None))
        self._news[key] = (began, (text, share), fate)

    def dies(self, key: str, reason: str, came: str) -> None:
        """Note why a task ends its process."""
        began, said, _ = self._news.get(key, (True, None, None))
        self._news[key] = (began, said, (reason, came))

    def take(self, keys: list[str]) -> dict[str, News]:
        """Hand over, once, what there is of these tasks."""
        return {key: self._news.pop(key) for key in keys if key in self._news}


def run_task(
    packed: bytes, label: str, key: str, limits: Limits, place: Place
) -> tuple[str, bytes]:
    """Run one call in this process of Ray's; return ``ran`` or ``error``, and what it is."""
    limit_s, memory_bytes, most_bytes = limits
    os.environ[CORES] = "1"  # engines of local processes inside stay within the task's core
    folder, path = place
    sys.path.extend(entry for entry in path if entry not in sys.path)
    if Path(folder).is_dir():
        os.chdir(folder)
    mouth = _Mouth(key)
    guard = _Guard(mouth, limit_s, memory_bytes)
    try:
        function, args = unpack_call(packed, label)
        with hearing(mouth.hear):
            body = pack_ran(measured(function, args, fresh=True), label, most_bytes=most_bytes)
    except BaseException as error:  # noqa: BLE001  # the worker border: the caller is told, even of sys.exit
        return "error", pack_error(error, label)
    else:
        return "ran", body
    finally:
        guard.stop()
        mouth.finish()


class _Mouth:
    """Passes on what a call says, a few times a second; the desk may be gone."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.desk: Any = None
        with suppress(ValueError):  # the desk's node is gone: nobody listens, the work goes on
            self.desk = ray.get_actor(DESK)
            self.desk.began.remote(key)
        self._said: Progress | None = None
        self._told_at_s = 0.0

    def hear(self, said: Progress) -> None:
        """Take a word."""
        self._said = said
        if time.monotonic() - self._told_at_s > _TELL_EVERY_S:
            self._told_at_s = time.monotonic()
            self._tell()

    def finish(self) -> None:
        """See the last word delivered."""
        sent = self._tell()
        if sent is not None:
            with suppress(failures.RayActorError):  # as in __init__
                ray.get(sent)

    def die(self, reason: str, came: str) -> None:
        """Leave word why, then end this process."""
        with suppress(failures.RayActorError):  # as in __init__
            if self.desk is not None:
                ray.get(self.desk.dies.remote(self.key, reason, came), timeout=5.0)
        os._exit(1)

    def _tell(self) -> Any:
        said, self._said = self._said, None
        if said is None or self.desk is None:
            return None
        return self.desk.say.remote(self.key, said.text[:1000], said.share)


class _Guard:
    """A thread that ends this process when its call takes too long or too much."""

    def __init__(self, mouth: _Mouth, limit_s: float | None, memory_bytes: int | None) -> None:
        self.mouth, self.memory_bytes = mouth, memory_bytes
        self.ends_at_s = None if limit_s is None else time.monotonic() + limit_s
        self._stopped = threading.Event()
        if limit_s is not None or memory_bytes is not None:
            threading.Thread(target=self._watch, name="guard", daemon=True).start()

    def stop(self) -> None:
        """Let the call be: it has ended."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY_S):
            if self.ends_at_s is not None and time.monotonic() > self.ends_at_s:
                self.mouth.die("time", "one that went on")
            if self.memory_bytes is not None and (resident_bytes() or 0) > self.memory_bytes:
                allowed = f"{self.memory_bytes:,} bytes allowed"
                self.mouth.die("memory", f"a worker that took more than the {allowed}")
