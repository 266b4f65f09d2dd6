"""What is left when a server is killed, and how one ends that is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = """
import sys
from pathlib import Path
from renewal.core.clock import SystemClock
from renewal.data.feed import Feed
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.serve.options import ServeOptions
from renewal.serve.server import Server
from renewal.store.local import LocalStore

root, durability = Path(sys.argv[1]), sys.argv[2]
clock = SystemClock()
db = Database(f"sqlite:///{root / 'registry.db'}")
registry = Registry(db, clock)
feed = lambda name: Feed(root / "feeds" / name, registry.model(name), db, clock)
options = ServeOptions(durability=durability, flush_s=30.0, drain_s=2.0)
server = Server(registry, LocalStore(root / "objects"), feed, root / "log", clock, options)
server.run(on_ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


@pytest.fixture
def start(home: Any) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], str]]]:
    """Start a server in a process of its own; it never outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def run(durability: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-c", SERVER, str(home.root), durability]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield run
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Senders:
    """Clients that note what was answered until their connection breaks."""

    def __init__(self, url: str, new_client: Any, n_threads: int = 3) -> None:
        self.answered: list[str] = []
        self.refused: list[int] = []
        self.broken: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._send, args=(new_client(url),)) for _ in range(n_threads)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until every one has been turned away or cut off."""
        for thread in self._threads:
            thread.join()

    def _send(self, client: Any) -> None:
        try:
            while True:
                answer = client.infer("flights", 2)
                if answer.status != 200:
                    self.refused.append(answer.status)
                    return
                self.answered.append(answer.body["parameters"]["prediction_id"])
                if answer.headers.get("connection") == "close":
                    return
        except Exception as error:  # noqa: BLE001  # a killed server breaks the connection
            self.broken.append(error)


def prepare(home: Any) -> None:
    home.declare()
    home.champion(home.version())


def wait_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_kill_9_loses_nothing_that_was_answered_with_fsync(
    home: Any, start: Any, new_client: Any
) -> None:
    prepare(home)
    process, url = start("fsync")
    senders = Senders(url, new_client)
    wait_for(lambda: len(senders.answered) >= 50)
    process.send_signal(signal.SIGKILL)
    senders.join()
    rows, predictions = home.logged()
    logged = {each["prediction_id"] for each in predictions}
    answered = {f"{name}-{row}" for name in senders.answered for row in range(2)}
    assert len(senders.broken) == 3
    assert answered <= logged
    assert {row["renewal_key"] for row in rows} == logged
    assert not list(Path(home.log_folder).rglob("*.arrow.*"))


def test_sigterm_answers_what_is_under_way_and_writes_the_log(
    home: Any, start: Any, new_client: Any
) -> None:
    """Every reply during the drain asks for a new connection; none breaks."""
    prepare(home)
    process, url = start("interval")
    senders = Senders(url, new_client)
    wait_for(lambda: len(senders.answered) >= 50)
    process.send_signal(signal.SIGTERM)
    senders.join()
    assert process.wait(timeout=20) == 0
    assert process.stdout is not None
    assert process.stdout.read() == "ended\n"
    assert not senders.broken
    assert not senders.refused
    _, predictions = home.logged()
    logged = {each["prediction_id"] for each in predictions}
    assert logged == {f"{name}-{row}" for name in senders.answered for row in range(2)}


def test_readiness_turns_503_before_anything_else_stops(home: Any) -> None:
    prepare(home)
    server = home.start(notice_s=0.6, drain_s=0.05)
    first, second = home.client(server), home.client(server)
    assert first.send("GET", "/v2/health/ready").status == 200
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    wait_for(lambda: not server.stats()["is_ready"])
    ready = first.send("GET", "/v2/health/ready")
    assert (ready.status, ready.headers["connection"]) == (503, "close")
    assert second.infer("flights").status == 200
    stopping.join()
    assert len(home.logged()[0]) == 1
