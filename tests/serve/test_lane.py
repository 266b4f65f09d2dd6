"""The fast lane: the same answers as the slow way, in order, whatever the connection does."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

PATH = "/v2/models/flights/infer"


class Wire:
    """A bare connection: bytes as they are."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def send(self, *requests: bytes) -> None:
        """Send bytes in one go."""
        self.socket.sendall(b"".join(requests))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers["content-length"]))

    def is_closed(self) -> bool:
        """Say whether the server has hung up."""
        return self.file.read(1) == b""

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()


@pytest.fixture
def server(home: Any) -> Any:
    home.declare()
    home.champion(home.version())
    return home.start(native="thread")


@pytest.fixture
def wire(server: Any) -> Iterator[Wire]:
    found = Wire(server.url)
    yield found
    found.close()


def post(body: Any, path: str = PATH, **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"host": "x", "content-length": str(len(raw)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + raw


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def test_pipelined_requests_of_both_ways_are_answered_in_order(
    wire: Wire, infer_request: Callable[..., Any]
) -> None:
    """Breaks when a page overtakes a prediction, or a prediction in the lane another."""
    bodies = [infer_request(1, seed) | {"id": f"r{seed}"} for seed in range(4)]
    wire.send(
        post(bodies[0]),
        get("/v2/health/live"),
        post(bodies[1]),
        post(b"{", PATH),
        post(bodies[2]),
        get("/v2/models/flights/ready"),
        post(bodies[3]),
    )
    answers = [wire.answer() for _ in range(7)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 400, 200, 200, 200]
    ids = [json.loads(body).get("id") for _, _, body in answers]
    assert ids == ["r0", None, "r1", None, "r2", None, "r3"]


def test_a_body_in_any_number_of_pieces_is_the_same_request(
    wire: Wire, infer_request: Callable[..., Any]
) -> None:
    request = post(infer_request(3, 1))
    for size in (1, 7, 64, len(request)):
        for start in range(0, len(request), size):
            wire.send(request[start : start + size])
        status, _, body = wire.answer()
        assert status == 200
        assert json.loads(body)["outputs"][0]["shape"] == [3]


def test_a_body_in_chunks_and_a_large_one_take_the_slow_way_to_the_same_answer(
    wire: Wire, infer_request: Callable[..., Any]
) -> None:
    raw = json.dumps(infer_request(2, 1)).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (raw[:50], raw[50:]))
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    wire.send(head + chunks + b"0\r\n\r\n")
    status, _, body = wire.answer()
    wire.send(post(raw + b" " * 2_000_000))
    large_status, _, large_body = wire.answer()
    wire.send(post(raw))
    lane_status, _, lane_body = wire.answer()
    assert (status, large_status, lane_status) == (200, 200, 200)
    outputs = [json.loads(each)["outputs"] for each in (body, large_body, lane_body)]
    assert outputs[0] == outputs[1] == outputs[2]


def test_close_and_old_versions_of_http_are_honoured(
    server: Any, infer_request: Callable[..., Any]
) -> None:
    for request in (
        post(infer_request(), connection="close"),
        post(infer_request()).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    ):
        wire = Wire(server.url)
        wire.send(request)
        assert wire.answer()[0] == 200
        assert wire.is_closed()
        wire.close()


@pytest.mark.parametrize(
    "length", ["-1", "1e3", "9" * 30, "0x10", "", "5, 5", "abc"], ids=lambda text: text or "empty"
)
def test_a_length_that_is_none_is_refused_and_the_worker_lives(
    server: Any, infer_request: Callable[..., Any], length: str
) -> None:
    wire = Wire(server.url)
    wire.send(post(infer_request(), content_length=length))
    line = wire.file.readline()
    assert b" 400 " in line or b" 413 " in line
    wire.close()
    other = Wire(server.url)
    other.send(post(infer_request()))
    assert other.answer()[0] == 200
    other.close()


def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(
    wire: Wire, infer_request: Callable[..., Any]
) -> None:
    request = post(infer_request(), expect="100-continue")
    head, _, raw = request.partition(b"\r\n\r\n")
    wire.send(head + b"\r\n\r\n")
    assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert wire.file.readline() == b"\r\n"
    wire.send(raw)
    assert wire.answer()[0] == 200


def test_an_encoded_slash_is_part_of_a_name(wire: Wire, infer_request: Callable[..., Any]) -> None:
    wire.send(post(infer_request(), "/v2/models/fl%69ghts/infer"))
    assert wire.answer()[0] == 200
    wire.send(post(infer_request(), "/v2/models%2Fflights/infer"))
    status, _, body = wire.answer()
    assert status == 404
    assert "no such path" in json.loads(body)["error"]
    wire.send(post(infer_request(), "/v2/models/a%2Fb/infer"))
    assert b"a/b" in wire.answer()[2]


def test_a_client_that_leaves_takes_its_request_out_of_the_batch(
    server: Any, infer_request: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when rows of clients that are gone are predicted, or their leases stay."""
    loaded = server._works.follower.slots["flights"].generation.first
    predict = loaded.batcher._predict
    has_come, may_go = threading.Event(), threading.Event()
    sizes: list[int] = []

    def slow(features: Any) -> Any:
        sizes.append(features.n_rows)
        has_come.set()
        assert may_go.wait(20)
        return predict(features)

    monkeypatch.setattr(loaded.batcher, "_predict", slow)
    wires = [Wire(server.url) for _ in range(3)]
    wires[0].send(post(infer_request(1)))
    assert has_come.wait(10)
    for wire in wires[1:]:
        wire.send(post(infer_request(5)))
    until_s = time.monotonic() + 10
    while loaded.batcher.n_rows_waiting < 10 and time.monotonic() < until_s:
        time.sleep(0.005)
    wires[1].close()
    while server.stats()["n_gone"] < 1 and time.monotonic() < until_s:
        time.sleep(0.005)
    may_go.set()
    assert wires[0].answer()[0] == 200
    assert wires[2].answer()[0] == 200
    assert sorted(sizes) == [1, 5]
    assert server.stats()["n_gone"] == 1
    assert server.stats()["n_open"] == 0
    generation = server._works.follower.slots["flights"].generation
    assert generation._holders._n_holders == 1
    wires[0].close()
    wires[2].close()


def test_a_body_that_trickles_in_has_no_more_time_than_a_request(
    home: Any, infer_request: Callable[..., Any]
) -> None:
    """Both ways; breaks when a client can hold a connection for ever by its slowness."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", timeout_s=0.3)
    raw = json.dumps(infer_request()).encode()
    chunked = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{{"
    for half in (post(raw)[:-10], chunked.encode()):
        wire = Wire(server.url)
        wire.send(half)
        status, _, body = wire.answer()
        assert status == 408
        assert "0.3 s" in json.loads(body)["error"]
        wire.close()
    other = Wire(server.url)
    other.send(post(raw))
    assert other.answer()[0] == 200
    other.close()
    assert server.stats()["n_open"] == 0


def test_a_client_that_never_reads_does_not_grow_the_server(
    server: Any, infer_request: Callable[..., Any]
) -> None:
    """Breaks when the lane goes on answering into a socket that nobody empties."""
    wire = Wire(server.url)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.socket.settimeout(1.0)
    request = post(infer_request(50)) * 20
    n_sent = 0
    try:
        while n_sent < 4000:
            wire.socket.sendall(request)
            n_sent += 20
    except TimeoutError:
        pass
    assert n_sent < 4000
    wire.close()
    other = Wire(server.url)
    other.send(post(infer_request()))
    assert other.answer()[0] == 200
    other.close()
