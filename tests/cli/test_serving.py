"""``renewal serve`` as an operator runs it: workers, signals, crashes, a terminal."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.linear_model import LogisticRegression

import renewal
from renewal.core.plan import Arm, Plan
from renewal.serve.run_folder import read_run, running
from renewal.serve.status import WorkerStatus

_LONG_S = 120.0
_SERVE = (sys.executable, "-m", "renewal.cli.main", "serve", "--port", "0")
_COLORS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BODY = json.dumps(
    {"inputs": [{"name": each, "shape": [1], "datatype": "FP64", "data": [1]} for each in "ab"]}
)
_POLICY = """
[serve]
notice_s = 1.5
drain_s = 2.0
native = "thread"
"""


def table(seed: int) -> pd.DataFrame:
    """Return made-up rows."""
    rng = np.random.default_rng(seed)
    found = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
    found["late"] = (found.a + rng.normal(size=200) > 0).astype(int)
    found["id"] = [f"{seed}-{row}" for row in range(200)]
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Make a home with two versions of a model, both of which its plan names."""
    folder = tmp_path_factory.mktemp("served") / "home"
    folder.mkdir()
    (folder / "renewal.toml").write_text(_POLICY, encoding="utf-8")
    with renewal.open(folder) as found:
        flights = found.model("flights", task="binary", target="late", key="id")
        for seed in (1, 2):
            flights.train(LogisticRegression(), table(seed))
        yield found


def publish(home: Any, weight: float) -> int:
    """Give version 2 a share of the traffic; both stay loaded, for shadows are."""
    first, second = home.model("flights").versions()
    arms = (Arm("champion", first.id, 1.0 - weight), Arm("candidate", second.id, weight))
    seq: int = home.registry.publish(Plan("flights", "canary", arms, (first.id, second.id)))
    return seq


@dataclass
class Served:
    """A running ``renewal serve``."""

    process: subprocess.Popen[str]
    root: Path
    url: str = ""
    connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection; the system deals it out to a worker."""
        parts = urlsplit(self.url)
        found = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_LONG_S)
        found.connect()
        self.connections.append(found)
        return found

    def workers(self) -> list[WorkerStatus]:
        """Return the states of the workers."""
        return [each for path in running(self.root / "run") for each in read_run(path)[0]]

    def counted(self) -> float:
        """Return how many predictions the server says that it has answered."""
        body = get(self.connect(), "/metrics")[1]
        return sum(
            sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
            if sample.name == "renewal_rows_total"
        )


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    """Send a GET."""
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def infer(connection: http.client.HTTPConnection) -> str:
    """Ask for a prediction; return the version that gave it."""
    connection.request("POST", "/v2/models/flights/infer", _BODY)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 200, body
    version: str = body["parameters"]["version"]
    return version


def await_that(look: Callable[[], Any], is_there: Callable[[Any], bool]) -> Any:
    """Look again and again until it is there."""
    until_s = monotonic() + _LONG_S
    while not is_there(found := look()):
        assert monotonic() < until_s, found
        sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Say whether a process runs."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


@pytest.fixture
def serve(home: Any) -> Iterator[Callable[..., Served]]:
    """Start ``renewal serve``; it is stopped with the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Served:
            process = subprocess.Popen(
                [*_SERVE, "--json", "--home", str(home.root), *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
            found = Served(process, home.root)
            stack.callback(_end, found)
            assert process.stdout is not None
            found.url = json.loads(process.stdout.readline())["url"]
            return found

        yield start


def _end(served: Served) -> None:
    for each in served.connections:
        each.close()
    if served.process.poll() is None:
        served.process.kill()
    served.process.communicate()


class Load:
    """Clients without retries, one connection each, that ask until they are stopped."""

    def __init__(self, served: Served, n_clients: int) -> None:
        self.versions: list[list[str]] = [[] for _ in range(n_clients)]
        self.errors: list[str] = []
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(served.connect(), each))
            for each in self.versions
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, connection: http.client.HTTPConnection, versions: list[str]) -> None:
        while not self._is_over.wait(0.02):
            try:
                versions.append(infer(connection))
            except (AssertionError, OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def test_three_workers_follow_survive_and_stop(home: Any, serve: Callable[..., Served]) -> None:
    """Breaks when a worker misses a plan, a crash takes the others along, or a stop drops one."""
    publish(home, 0.0)
    served = serve("--workers", "3")
    pids = {each.pid for each in served.workers()}
    assert len(pids) == 3
    assert all(each.is_ready for each in served.workers())
    assert get(served.connect(), "/v2/health/ready")[0] == 200

    load = Load(served, 12)
    await_that(lambda: min(map(len, load.versions)), lambda n: n > 3)
    seq = publish(home, 1.0)
    await_that(
        served.workers,
        lambda found: all(each.models["flights"].plan_seq == seq for each in found),
    )
    await_that(lambda: [each[-1] for each in load.versions], lambda last: set(last) == {"v2"})
    load.stop()
    assert load.errors == []
    for versions in load.versions:
        # From the first answer of the new plan on, a worker gives no other.
        assert versions == sorted(versions)
        assert versions[0] == "v1"

    n_answered = sum(map(len, load.versions))
    assert await_that(served.counted, lambda n: n >= n_answered) == n_answered
    _kill_one(served, pids)
    # The second before its death may be lost, what was told before is not.
    assert served.counted() >= n_answered
    _stop_while_asked(served)
    assert running(home.root / "run") == []


def _kill_one(served: Served, pids: set[int]) -> None:
    """Kill a worker under load: its clients lose a request at most, and then it is back."""
    load = Load(served, 12)
    await_that(lambda: min(map(len, load.versions)), lambda n: n > 3)
    before = [len(each) for each in load.versions]
    killed = served.workers()[1].pid
    os.kill(killed, signal.SIGKILL)
    await_that(
        served.workers,
        lambda found: (
            len(found) == 3
            and all(each.has_started for each in found)
            and killed not in {each.pid for each in found}
        ),
    )
    await_that(
        lambda: [len(each) - n for each, n in zip(load.versions, before, strict=True)],
        lambda grown: min(grown) > 3,
    )
    load.stop()
    # A client whose worker died sees it once; then it is with one that lives.
    assert len(load.errors) <= len(load.versions), load.errors
    assert pids - {killed} <= {each.pid for each in served.workers()}


def _stop_while_asked(served: Served) -> None:
    """Stop: unready first, still answering, and nobody is turned away meanwhile."""
    readiness, liveness = served.connect(), served.connect()
    load = Load(served, 3)
    await_that(lambda: min(map(len, load.versions)), lambda n: n > 3)
    served.process.send_signal(signal.SIGTERM)
    assert await_that(lambda: _status(readiness, served, "/v2/health/ready"), lambda s: s == 503)
    assert _status(liveness, served, "/v2/health/live") == 200
    n_before = sum(map(len, load.versions))
    await_that(lambda: sum(map(len, load.versions)), lambda n: n > n_before + 3)
    load.stop()
    assert load.errors == []
    assert served.process.wait(_LONG_S) == 0


def _status(connection: http.client.HTTPConnection, served: Served, path: str) -> int:
    # A server on its way out closes the connection behind every reply.
    with suppress(http.client.HTTPException, OSError):
        return get(connection, path)[0]
    return get(served.connect(), path)[0]


def test_workers_do_not_outlive_their_supervisor(serve: Callable[..., Served]) -> None:
    """Breaks when workers go on serving, with nobody to stop them, after a kill -9."""
    served = serve("--workers", "2")
    pids = [each.pid for each in served.workers()]
    assert all(map(is_alive, pids))
    served.process.kill()
    await_that(lambda: list(map(is_alive, pids)), lambda alive: not any(alive))


def test_a_second_signal_does_not_wait(serve: Callable[..., Served]) -> None:
    """Breaks when an operator in haste can only kill -9."""
    served = serve()
    ready = served.connect()
    served.process.send_signal(signal.SIGTERM)
    await_that(lambda: _status(ready, served, "/v2/health/ready"), lambda status: status == 503)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(_LONG_S) == 128 + signal.SIGTERM


def test_on_a_terminal_one_process_shows_what_it_does_and_ctrl_c_stops_it(home: Any) -> None:
    publish(home, 0.25)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*_SERVE, "--home", str(home.root)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "30"},
        start_new_session=True,
    )
    os.close(follower)
    shown: list[str] = []

    def read() -> None:
        with suppress(OSError):  # the terminal's other end has closed
            while data := os.read(leader, 65536):
                shown.append(data.decode(errors="replace"))

    reading = threading.Thread(target=read)
    reading.start()
    try:
        await_that(
            lambda: _COLORS.sub("", "".join(shown)),
            lambda text: "candidate v2" in text and " ready" in text,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(_LONG_S) == 0
    finally:
        process.kill()
        process.wait()
        reading.join()
        os.close(leader)
    text = _COLORS.sub("", "".join(shown))
    assert "http://127.0.0.1:" in text
    assert "canary, plan" in text
    assert "stopped" in text
    assert "Traceback" not in text
