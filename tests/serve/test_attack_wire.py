"""A stranger with a socket: whatever it sends, others are answered and nothing grows."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from renewal.serve import limits

PATH = "/v2/models/flights/infer"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"


class Wire:
    """A bare connection: bytes as they are."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Send bytes in one go."""
        self.socket.sendall(b"".join(parts))

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Read one answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self.file.read(int(headers["content-length"]))
        return status, headers, json.loads(body)

    def reset(self) -> None:
        """Hang up without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()


@pytest.fixture(scope="module")
def server(shared_home: Any) -> Any:
    shared_home.declare()
    shared_home.champion(shared_home.version())
    return shared_home.start(native="thread", timeout_s=2.0)


@pytest.fixture
def wire(server: Any) -> Iterator[Wire]:
    found = Wire(server.url)
    yield found
    found.close()


@pytest.fixture
def body(infer_request: Callable[..., Any]) -> bytes:
    return json.dumps(infer_request()).encode()


def head(n_bytes: int | None, *lines: str, path: str = PATH, version: str = "1.1") -> bytes:
    length = [] if n_bytes is None else [f"content-length: {n_bytes}"]
    text = "\r\n".join([f"POST {path} HTTP/{version}", "host: x", *length, *lines])
    return f"{text}\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize(
    "offer",
    [
        # As Java's HttpClient makes it with every first request, whatever its method.
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB"),
        ("connection: keep-alive, upgrade", "upgrade: websocket"),
        ("connection: upgrade", "upgrade: anything", "expect: 100-continue"),
    ],
    ids=["h2c", "websocket", "expect"],
)
def test_an_offer_of_another_protocol_does_not_cost_the_body(
    wire: Wire, body: bytes, offer: tuple[str, ...]
) -> None:
    """Breaks when the parser gives a message up at its head because it could be upgraded."""
    wire.send(head(len(body), *offer), body, LIVE)
    if "expect: 100-continue" in offer:
        assert wire.file.readline().split()[1] == b"100"
        assert wire.file.readline().strip() == b""
    answers = [wire.answer(), wire.answer()]
    assert [status for status, _, _ in answers] == [200, 200]
    assert answers[0][2]["outputs"][0]["shape"] == [1]
    assert answers[1][2] == {"live": True}


def test_a_body_behind_an_offer_is_never_a_request_of_its_own(wire: Wire) -> None:
    """Breaks when a proxy's user can hide a request in the body of another."""
    wire.send(head(len(LIVE), "connection: upgrade", "upgrade: h2c"))
    time.sleep(0.1)
    wire.send(LIVE)
    wire.send(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
    first, second = wire.answer(), wire.answer()
    assert (first[0], second[0]) == (400, 200)
    assert "ready" in second[2]


def test_offers_in_a_row_are_each_declined(wire: Wire) -> None:
    """Breaks when an offer in the midst of a read loses what came behind it."""
    offer = b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    wire.send(offer * 50, LIVE)
    assert [wire.answer()[0] for _ in range(51)] == [200] * 51


def test_a_client_that_was_not_asked_for_its_body_is_told_to_begin_anew(wire: Wire) -> None:
    """Breaks when the next request of a client that waits is taken for the body of this one."""
    wire.send(head(1 << 30, "expect: 100-continue"))
    status, headers, found = wire.answer()
    assert (status, headers.get("connection"), list(found)) == (413, "close", ["error"])
    assert wire.file.read(1) == b""


@pytest.mark.parametrize(
    "part",
    [
        head(100) + b'{"inputs"',
        head(None, "transfer-encoding: chunked") + b"5\r\n{",
        head(3 << 20) + b"{" * (2 << 20),
        b"POST /v2/models",
    ],
    ids=["lane", "chunked", "large", "head"],
)
def test_a_request_that_is_cut_off_is_400_where_somebody_listens(wire: Wire, part: bytes) -> None:
    """Breaks when a client that has ended too early waits for an answer that never comes."""
    wire.send(part)
    wire.socket.shutdown(socket.SHUT_WR)
    status, headers, found = wire.answer()
    assert (status, headers["connection"], list(found)) == (400, "close", ["error"])
    assert "before it was complete" in found["error"]
    assert wire.file.read(1) == b""


def test_a_body_without_end_has_an_end(
    wire: Wire, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a refused body may be sent for ever, at any speed."""
    monkeypatch.setattr(limits, "LEFTOVER_S", 0.2)
    wire.send(head(None, "transfer-encoding: chunked", path="/v2/models/nobody/infer"))
    part = b"%x\r\n%b\r\n" % (1000, b"x" * 1000)
    assert _is_cut_off(wire, part)
    other = Wire(server.url)
    other.send(LIVE)
    assert other.answer()[0] == 200
    other.close()


def _is_cut_off(wire: Wire, part: bytes) -> bool:
    try:
        for _ in range(1000):
            wire.send(part)
            time.sleep(0.01)
    except OSError:  # a reset or a broken pipe
        return True
    return False


def test_an_old_client_that_wants_to_stay_is_told_that_it_cannot(wire: Wire, body: bytes) -> None:
    """Breaks when a client of HTTP/1.0 waits for the end of a connection that stays open."""
    wire.send(head(len(body), "connection: keep-alive", version="1.0"), body)
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert wire.file.read(1) == b""


def test_ways_are_bounded_and_a_full_table_makes_room(
    server: Any, wire: Wire, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when made-up queries of one URL fill the table that makes others quick."""
    monkeypatch.setattr("renewal.serve.lane._MOST_URLS", 64)
    ways = server._uvicorn.config.http_protocol_class.ways
    for at in range(200):
        wire.send(head(len(body), path=f"{PATH}?x={at}"), body)
        assert wire.answer()[0] == 200
    assert len(ways) <= 64
    wire.send(head(len(body), path=f"{PATH}?{'y' * 5000}"), body, head(len(body)), body)
    assert (wire.answer()[0], wire.answer()[0]) == (200, 200)
    assert PATH.encode() in ways
    assert max(map(len, ways)) <= 512


def test_resets_at_any_point_leave_nothing_open(server: Any, body: bytes) -> None:
    """Breaks when a request whose client is gone is counted as open for ever."""
    whole = head(len(body)) + body
    in_chunks = head(None, "transfer-encoding: chunked") + b"5\r\n{    \r\n"
    for data in (whole, whole[:-5], whole[:40], in_chunks, whole * 3, LIVE * 3):
        for _ in range(20):
            wire = Wire(server.url)
            wire.send(data)
            wire.reset()
    until_s = time.monotonic() + 10
    while server.stats()["n_open"] and time.monotonic() < until_s:
        time.sleep(0.02)
    assert server.stats()["n_open"] == 0
    wire = Wire(server.url)
    wire.send(whole)
    assert wire.answer()[0] == 200
    wire.close()


@pytest.mark.parametrize(
    "path",
    ["/v2/models/fl\xffights/infer", "http://x:99999/v2/models/flights/infer", "/v2/\x01"],
    ids=["latin", "port", "control"],
)
def test_a_url_that_is_none_is_400_in_our_form(wire: Wire, body: bytes, path: str) -> None:
    """Breaks when a URL that does not decode ends in a traceback or a text of another's."""
    wire.send(head(len(body), path=path), body)
    status, headers, found = wire.answer()
    assert (status, list(found), headers["connection"]) == (400, ["error"], "close")


def test_what_a_client_names_never_becomes_a_header(wire: Wire, body: bytes) -> None:
    """Breaks when an id or a name with line ends is written into the head of an answer."""
    evil = json.loads(body) | {"id": "a\r\nx-evil: 1"}
    raw = json.dumps(evil).encode()
    wire.send(head(len(raw), "x-renewal-sticky: a\tb\x80"), raw)
    status, headers, found = wire.answer()
    assert (status, found["id"]) == (200, evil["id"])
    assert "x-evil" not in headers
    wire.send(head(len(body), path="/v2/models/a%0d%0ax-evil:%201/infer"), body)
    status, headers, _ = wire.answer()
    assert status == 404
    assert "x-evil" not in headers


@pytest.mark.skipif(sys.platform != "linux", reason="others know no filter on a socket")
def test_a_stop_cuts_off_nobody_who_has_connected(home: Any, body: bytes) -> None:
    """Breaks when the socket closes over those who stand in its queue, their requests sent."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", drain_s=0.3)
    cut_off: list[Exception] = []
    answered: list[int] = []

    def ask() -> None:
        while True:
            try:
                wire = Wire(server.url)
            except OSError:  # nobody listens any more: it was never taken in
                return
            try:
                wire.send(head(len(body), "connection: close"), body)
                answered.append(wire.answer()[0])
            except (OSError, IndexError, ValueError) as error:
                cut_off.append(error)
                return
            finally:
                wire.close()

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    while len(answered) < 50:
        time.sleep(0.01)
    server.stop()
    for thread in threads:
        thread.join(30)
    assert not cut_off
    assert set(answered) == {200}
