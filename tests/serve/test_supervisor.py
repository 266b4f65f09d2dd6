"""The supervisor: who dies comes back, who is told to stop does, and nobody outlives it.

The workers here are small programs that read the same ticket and keep the same run folder.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from renewal.core.errors import Failed, Unavailable
from renewal.serve import supervisor as module
from renewal.serve.options import ServeOptions
from renewal.serve.run_folder import RunFolder
from renewal.serve.status import WorkerStatus
from renewal.serve.supervisor import Supervisor

_LONG_S = 30.0
_PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from renewal.serve.run_folder import RunFolder
from renewal.serve.status import WorkerStatus
from renewal.serve.supervisor import read_ticket

ticket = read_ticket(sys.stdin.buffer.readline())
how = ticket.more["how"]
if how == "die" or (how == "one dies" and ticket.worker == 1):
    sys.exit(7)
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: how != "stubborn" and told.set())
run = RunFolder.joined(Path(ticket.run), ticket.worker, listens_late=ticket.listens_late)
told_what = (str(ticket.port), str(ticket.listens_late), str(ticket.waits_for_first))
counts = {"tickets": [(told_what, [1.0])]}
run.write(WorkerStatus(
    ticket.worker, os.getpid(), 0.0, time.time(), has_started=True, counts=counts))
end = threading.Thread(target=lambda: (os.read(0, 1), told.set()), daemon=True)
end.start()
told.wait(60)
"""


class Stage:
    """A supervisor in this process, and what happens once its workers have started."""

    def __init__(self, root: Path, how: str, **options: Any) -> None:
        self.run = RunFolder(root / "run")
        options = {"workers": 2, "drain_s": 0.0, **options}
        self.supervisor = Supervisor(
            [sys.executable, "-c", _PROGRAM], {"how": how}, ServeOptions(**options), self.run
        )
        self.urls: list[str] = []
        self.errors: list[BaseException] = []

    def play(self, act: Callable[[], None]) -> int:
        """Run until `act`, which has a thread of its own, is over; then SIGTERM comes."""

        def perform() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001  # the thread border: the test raises it
                self.errors.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

        def ready(url: str) -> None:
            self.urls.append(url)
            threading.Thread(target=perform, daemon=True).start()

        code = self.supervisor.run(ready)
        if self.errors:
            raise self.errors[0]
        return code

    def workers(self) -> list[WorkerStatus]:
        """Return the states of the workers that live."""
        return self.run.read()[0]

    def await_workers(self, are_there: Callable[[list[WorkerStatus]], bool]) -> list[WorkerStatus]:
        """Return the states once they are as wanted."""
        found: list[WorkerStatus] = await_that(self.workers, are_there)
        return found


def await_that(look: Callable[[], Any], is_there: Callable[[Any], bool]) -> Any:
    """Look again and again until it is there."""
    until_s = monotonic() + _LONG_S
    while not is_there(found := look()):
        assert monotonic() < until_s, found
        sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def tickets(stage: Stage) -> list[tuple[str, ...]]:
    """Return the port, the lateness and the waiting that each living worker was told."""
    return [each.counts["tickets"][0][0] for each in stage.workers()]


def test_all_workers_share_one_port_and_stop_when_told(tmp_path: Path) -> None:
    """Breaks when workers take ports of their own, or the first hides from the probes."""
    stage = Stage(tmp_path, "stay", workers=3)
    seen: list[Any] = []
    assert stage.play(lambda: seen.extend((tickets(stage), stage.workers()))) == 0
    told, workers = seen
    (port,) = {each[0] for each in told}
    assert stage.urls == [f"http://127.0.0.1:{port}"]
    assert [each[1:] for each in told] == [("False", "False"), *[("True", "True")] * 2]
    assert not any(is_alive(each.pid) for each in workers)
    assert list((tmp_path / "run").glob("[!.]*")) == []


def test_a_killed_worker_comes_back_and_its_counts_stay(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "stay")
    seen: list[Any] = []

    def act() -> None:
        first, second = (each.pid for each in stage.workers())
        os.kill(first, signal.SIGKILL)
        again = stage.await_workers(
            lambda found: len(found) == 2 and first not in {each.pid for each in found}
        )
        assert [each.worker for each in again] == [0, 1]
        assert again[1].pid == second
        seen.extend((tickets(stage), stage.run.read()[1].counts["tickets"]))

    assert stage.play(act) == 0
    told, ended = seen
    # Number 0 has come back: others answer meanwhile, so that it need not listen at once.
    assert [each[1:] for each in told] == [("True", "False"), ("True", "True")]
    assert [(labels[1], values) for labels, values in ended] == [("False", [1.0])]


def test_workers_that_always_die_end_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a server that cannot serve goes on trying for ever, or ends with success."""
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.001)
    stage = Stage(tmp_path, "die")
    with pytest.raises(Failed, match=r"5 quick deaths of worker \d, the last by exit=7"):
        stage.supervisor.run()
    assert list((tmp_path / "run").glob("[!.]*")) == []


def test_while_another_worker_answers_nobody_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when one worker's deaths take down those that serve."""
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.001)
    stage = Stage(tmp_path, "one dies")
    doomed = stage.supervisor._workers[1]

    def tell() -> None:
        await_that(lambda: doomed.n_quick_deaths, lambda n: n > 6)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=tell, daemon=True).start()
    assert stage.supervisor.run() == 0
    assert doomed.n_quick_deaths > 6
    assert stage.urls == []


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "stubborn", drain_s=1000.0)
    pids: list[int] = []

    def act() -> None:
        pids.extend(each.pid for each in stage.workers())
        os.kill(os.getpid(), signal.SIGINT)
        sleep(0.3)
        assert all(map(is_alive, pids))

    assert stage.play(act) == 1
    assert len(pids) == 2
    assert not any(map(is_alive, pids))


def test_a_worker_that_does_not_stop_in_time_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SLACK_S", 0.2)
    stage = Stage(tmp_path, "stubborn")
    assert stage.play(lambda: None) == 1


def test_a_port_that_somebody_shares_already_is_taken(tmp_path: Path) -> None:
    """Breaks when a second server quietly takes half of the first one's requests."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        stage = Stage(tmp_path, "stay", port=other.getsockname()[1])
        with pytest.raises(Unavailable, match=r"the address 127\.0\.0\.1"):
            stage.supervisor.run()
    assert list((tmp_path / "run").glob("[!.]*")) == []


def test_signals_are_given_back(tmp_path: Path) -> None:
    """Breaks when a server in a larger program keeps its Ctrl+C for ever."""
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    assert Stage(tmp_path, "stay", workers=1).play(lambda: None) == 0
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    assert after == before
