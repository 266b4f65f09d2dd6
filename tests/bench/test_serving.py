"""Tiny forms of the benchmark of serving: real servers, a real generator, a second each.

Breaks when the generator miscounts what it was sent, when a part no longer runs or cannot end
what it started, when silence or a wrong version would not be seen, or when a figure's line
cannot be split.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.serving import answers, peers, swaps, throughput
from bench.serving.load import RECORD, Generator, Mark, Report, generator
from bench.serving.mover import Moved
from bench.serving.requests import post, rows, v2_binary, v2_json
from bench.serving.windows import Side, in_turn, ratio_of

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
_REQUEST = post("/", b"12345")
_GOOD = b"HTTP/1.1 200 OK\r\nx-version: v1\r\ncontent-length: 2\r\n\r\nok"
_BAD = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def load() -> Iterator[Generator]:
    with generator() as found:
        assert found is not None
        yield found


@contextmanager
def _answering(*answers_: bytes) -> Iterator[int]:
    """Serve these answers in turn; behind one that is cut off, hang up."""
    given = iter(range(1_000_000))
    lock = threading.Lock()

    def talk(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                with lock:
                    answer = answers_[next(given) % len(answers_)]
                connection.sendall(answer)
                if answer not in {_GOOD, _BAD}:
                    return

    def listen() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


@needs_compiler
def test_the_generator_counts_every_answer(load: Generator) -> None:
    with _answering(
        _GOOD, _GOOD, _BAD, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b""
    ) as port:
        found = load.run(
            port, [_REQUEST], connections=3, seconds=0.3, mark="x-version: ", is_recorded=True
        )
    n_good = found.statuses["200"]
    assert found.n == n_good + found.statuses["503"] + sum(found.errors.values())
    assert found.n_ok == n_good == found.marks[0].n
    assert found.marks[0].text == "v1"
    assert set(found.errors) == {"short", "connection"}
    assert found.n_failed == found.n - n_good
    assert len(found.records) == found.n
    assert (found.records["status"] == 200).sum() == n_good


@needs_compiler
def test_open_loop_keeps_its_schedule(load: Generator) -> None:
    with _answering(_GOOD) as port:
        found = load.run(port, [_REQUEST], connections=4, seconds=0.5, rate=200, is_recorded=True)
    assert found.n == 100
    assert found.n_failed == 0
    due = np.sort(found.records["due"])
    np.testing.assert_allclose(np.diff(due), 1 / 200, atol=1e-6)


@needs_compiler
def test_a_server_that_is_away_is_a_failure(load: Generator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = load.run(port, [_REQUEST], connections=2, seconds=0.2, rate=50, timeout=1)
    assert found.n_ok == 0
    assert found.n_failed == 10


def _report(records: list[tuple[float, float, float, int, int]], *names: str) -> Report:
    """Return a report of nothing but records and the versions that they name."""
    return Report(
        n=len(records),
        n_ok=len(records),
        n_not_sent=0,
        statuses={},
        errors={},
        began_s=0.0,
        seconds=1.0,
        rate=0.0,
        p50_ms=0.0,
        p90_ms=0.0,
        p99_ms=0.0,
        p999_ms=0.0,
        max_ms=0.0,
        stall_ms=0.0,
        stall_at_s=0.0,
        lag_ms=0.0,
        n_idle_closed=0,
        n_reconnects=0,
        marks=[Mark(name, 1, 0.0, 0.0) for name in names],
        bin_s=0.1,
        counts=[],
        worst_ms=[],
        records=np.array(records, RECORD),
    )


def test_a_version_that_was_not_live_is_seen() -> None:
    moves = [Moved("m", "v2", False, 1.0, 1.1), Moved("m", "v1", True, 2.0, 2.1)]
    times = [(0.5, 0), (1.2, 0), (1.3, 1), (2.2, 1), (2.3, 0), (2.4, 2)]
    report = _report([(at, at, at, 200, mark) for at, mark in times], "v1", "v2", "v3")
    assert answers.versions(report, moves, "v1") == answers.Versions(3, 2, 1)
    there, back = answers.followed(report, moves)
    assert (there.first_s, there.last_s) == pytest.approx((0.3, 0.2))
    assert back.first_s == pytest.approx(0.3)
    assert back.last_s == pytest.approx(0.4)


def test_silence_counts_only_while_somebody_waits() -> None:
    records = np.array([(0.0, 0.0, 0.1, 200, 0), (5.0, 5.0, 5.2, 500, 0)], RECORD)
    found = answers.part(records, 0.0, 10.0)
    assert found.n_failed == 1
    assert found.stall_ms == pytest.approx(200.0)


def test_late_work_is_charged_to_who_left_it() -> None:
    clock = {"late": 0.0, "plain": 0.0}

    def late(seconds: float) -> tuple[float, float]:
        clock["late"] += seconds
        return 100.0, seconds

    def plain(seconds: float) -> tuple[float, float]:
        clock["late"] += 0.5
        clock["plain"] += seconds - 0.5
        return 100.0, seconds

    sides = [
        Side("late", late, lambda: clock["late"]),
        Side("plain", plain, lambda: clock["plain"]),
    ]
    in_turn(sides, 2, 1.0)
    assert sides[0].rates == pytest.approx([100.0 / 1.5] * 2)
    assert sides[1].rates == pytest.approx([200.0] * 2)
    assert ratio_of(sides[0].rates, sides[1].rates).value == pytest.approx(1 / 3)


def test_requests_are_whole() -> None:
    values = rows(1, 2)[0]
    for request in (v2_json("m", values), v2_binary("m", values)):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
    assert body.endswith(values.tobytes())


def test_who_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENEWAL_PEERS", str(tmp_path))
    peer = peers.PEERS["mlflow"]
    assert peers.measured(None, "mlflow", peer, "logistic") is None  # type: ignore[arg-type]  # nothing is measured
    assert "NOT RUN: mlflow models serve" in capsys.readouterr().out


def test_no_promotion_is_of_a_version_in_memory() -> None:
    moves = swaps.schedule(swaps.FULL, 0.0, is_beside=False)
    promoted = [each.version for each in moves[::2]]
    assert len(moves) == 50
    assert {each.version for each in moves[1::2]} == {"-"}
    assert "v1" not in promoted
    assert all(one != other for one, other in pairwise(promoted))


@needs_compiler
def test_throughput_in_its_smallest_form(capsys: pytest.CaptureFixture[str]) -> None:
    size = throughput.Size(1, 0.6, n_trees=1, n_rows=300)
    throughput.run(quick=True, models=("logistic",), size=size)
    lines = capsys.readouterr().out.splitlines()
    (figure,) = (line.split() for line in lines if line.startswith("FIGURE"))
    assert figure[1] == "throughput.logistic"
    assert len(figure) == 5
    assert any("0 failed" in line for line in lines)
