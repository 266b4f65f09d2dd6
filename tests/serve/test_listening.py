"""The shared port: who takes connections, and from when on."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import pytest

from renewal.core.errors import Unavailable
from renewal.core.spec import ModelSpec
from renewal.registry.registry import Registry
from renewal.serve.listening import bound_socket, reserved_socket, url_of
from renewal.serve.options import ServeOptions
from renewal.serve.run_folder import RunFolder
from renewal.serve.server import Server
from renewal.serve.status import WorkerStatus


class Slow(Registry):
    """A registry that does not answer before it is told to: loading takes as long."""

    def __init__(self, *args: Any) -> None:
        """Open it, shut."""
        super().__init__(*args)
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def models(self) -> tuple[ModelSpec, ...]:
        """Return the models, once it may."""
        self.is_asked.set()
        assert self.may_answer.wait(60)
        return super().models()


class Starting:
    """A worker that has been started and is loading."""

    def __init__(
        self, home: Any, run: RunFolder, port: int, *, number: int = 0, waits: bool = False
    ) -> None:
        assert run.path is not None
        self.registry = Slow(home.db, home.clock)
        joined = RunFolder.joined(run.path, number, listens_late=number > 0, waits_for_first=waits)
        options = ServeOptions(port=port, drain_s=0.02, flush_s=30.0)
        parts = (home.store, home.feed, home.log_folder, home.clock)
        self.server = Server(self.registry, *parts, options, run=joined)
        self._thread = threading.Thread(target=self.server.start)
        self._thread.start()
        assert self.registry.is_asked.wait(60)

    def go_on(self) -> None:
        """Let it load, and wait until it has started."""
        self.registry.may_answer.set()
        self._thread.join()

    def stop(self) -> None:
        """Stop it."""
        self.go_on()
        self.server.stop()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def run(home: Any) -> Iterator[RunFolder]:
    found = RunFolder(home.root / "run")
    found.open()
    yield found
    found.close()


def status(url: str, path: str) -> int:
    """Return the status of a GET; 0 where nobody listens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()


def test_a_worker_that_comes_back_takes_no_connection_before_it_has_loaded(
    home: Any, run: RunFolder, stack: ExitStack
) -> None:
    """Breaks when a third of all clients is told to wait for a worker that has crashed."""
    home.declare()
    home.champion(home.version(seed=1))
    with reserved_socket("127.0.0.1", 0) as held:
        url = url_of("127.0.0.1", held)
        late = Starting(home, run, held.getsockname()[1], number=1)
        stack.callback(late.stop)
        assert status(url, "/v2/health/live") == 0
        late.go_on()
        assert status(url, "/v2/health/ready") == 200


def test_the_first_worker_says_at_once_that_it_lives_and_is_not_ready(
    home: Any, run: RunFolder, stack: ExitStack
) -> None:
    """Breaks when a probe finds nobody, and a server that loads for minutes is killed."""
    home.declare()
    home.champion(home.version(seed=1))
    with reserved_socket("127.0.0.1", 0) as held:
        url = url_of("127.0.0.1", held)
        first = Starting(home, run, held.getsockname()[1])
        stack.callback(first.stop)
        assert status(url, "/v2/health/live") == 200
        assert status(url, "/v2/health/ready") == 503
        first.go_on()
        until_s = monotonic() + 30
        while status(url, "/v2/health/ready") != 200:
            assert monotonic() < until_s
            sleep(0.02)


def test_the_others_wait_for_the_first(home: Any, run: RunFolder, stack: ExitStack) -> None:
    """Breaks when one worker says ready, and the next request comes to one that is not."""
    home.declare()
    home.champion(home.version(seed=1))
    with reserved_socket("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        url = url_of("127.0.0.1", held)
        first = Starting(home, run, port)
        stack.callback(first.stop)
        second = Starting(home, run, port, number=1, waits=True)
        stack.callback(second.stop)
        second.registry.may_answer.set()
        until_s = monotonic() + 30
        while not second.server.stats()["is_ready"]:
            assert monotonic() < until_s
            sleep(0.02)
        assert second.server.url == ""
        assert [status(url, "/v2/health/ready") for _ in range(20)] == [503] * 20
        first.go_on()
        second.go_on()
        assert second.server.url == url
        assert [status(url, "/v2/health/ready") for _ in range(20)] == [200] * 20


def test_a_worker_waits_for_no_first_that_was_started_again_and_for_none_when_it_is_told_to_stop(
    run: RunFolder,
) -> None:
    """Breaks when a crash of the first worker, or a stop, leaves the others waiting for ever."""
    assert run.path is not None
    waiting = RunFolder.joined(run.path, 1, listens_late=True, waits_for_first=True)
    RunFolder.joined(run.path, 0, listens_late=True).write(
        WorkerStatus(0, 1, 0.0, 0.0, listens_late=True)
    )
    waiting.await_first()
    run.retire(1)
    threading.Timer(0.1, waiting.hurry).start()
    waiting.await_first()


def test_workers_share_a_port_and_strangers_do_not() -> None:
    with reserved_socket("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with bound_socket("127.0.0.1", port, shares_port=True) as worker:
            worker.listen()
            for take in (bound_socket, reserved_socket):
                with pytest.raises(Unavailable, match=f"the address 127.0.0.1:{port}"):
                    take("127.0.0.1", port)


def test_no_such_port_and_no_such_address_are_said_plainly() -> None:
    for host, port in (("127.0.0.1", 70_000), ("203.0.113.1", 0), ("no such host", 0)):
        with pytest.raises(Unavailable, match="choose another port"):
            bound_socket(host, port)


def test_urls_name_the_host_as_it_was_given() -> None:
    with bound_socket("::1", 0) as six:
        assert url_of("::1", six) == f"http://[::1]:{six.getsockname()[1]}"
