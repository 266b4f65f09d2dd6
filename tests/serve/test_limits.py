"""What a client may send before its body, tried on a real socket."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from renewal.serve import limits
from renewal.serve.limits import MAX_HEAD_BYTES, MAX_HEADERS, MAX_URL_BYTES, BoundedProtocol


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Say how long the body was."""
    n_bytes = 0
    while True:
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"%d %d" % (n_bytes, len(scope["headers"]))
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve with the limits; the event loop is uvicorn's own."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=BoundedProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()
    listening.close()


class Connection:
    """A connection of a client that says what it likes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.rest = b""

    def send(self, *parts: bytes) -> None:
        """Send in pieces, each in a read of its own where the machine is quick enough."""
        for part in parts:
            try:
                self.socket.sendall(part)
            except (ConnectionResetError, BrokenPipeError):
                return  # the server has hung up already; its reply may still be read
            time.sleep(0.002)

    def answer(self) -> tuple[int, bytes]:
        """Read one reply."""
        got, self.rest = self.rest, b""
        while b"\r\n\r\n" not in got:
            more = self.socket.recv(65536)
            if not more:
                return 0, got
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        self.rest = body[length:]
        return int(head.split(b" ")[1]), body[:length]

    def is_closed(self) -> bool:
        """Whether the server hangs up; waits for it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def client(port: int) -> Iterator[Connection]:
    made = Connection(port)
    yield made
    made.socket.close()


def head(*lines: bytes, path: bytes = b"/") -> bytes:
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"host: x", *lines, b"", b""])


def refused(client: Connection, status: int, says: str) -> None:
    """Check a refusal: its status, its form, and that the connection ends."""
    found, body = client.answer()
    assert found == status
    assert says in json.loads(body)["error"]
    assert client.is_closed()


def test_an_ordinary_request_passes(client: Connection) -> None:
    for _ in range(2):
        client.send(head(b"content-length: 3") + b"abc")
        assert client.answer() == (200, b"3 2")


def test_a_head_in_many_pieces_passes(client: Connection) -> None:
    client.send(*(bytes([each]) for each in head(b"content-length: 1")), b"x")
    assert client.answer() == (200, b"1 2")


def test_as_much_as_is_allowed_passes(client: Connection) -> None:
    path = b"/" + b"a" * (MAX_URL_BYTES - 1)
    many = [b"x-%d: %s" % (n, b"v" * 300) for n in range(MAX_HEADERS - 2)]
    client.send(head(b"content-length: 0", *many, path=path))
    assert client.answer() == (200, b"0 %d" % MAX_HEADERS)


def test_a_long_url_is_refused(client: Connection) -> None:
    client.send(head(path=b"/" + b"a" * MAX_URL_BYTES))
    refused(client, 414, "URL")


def test_many_headers_are_refused(client: Connection) -> None:
    client.send(head(*(b"x-%d: y" % n for n in range(MAX_HEADERS))))
    refused(client, 431, "128 headers")


def test_large_headers_are_refused(client: Connection) -> None:
    client.send(head(*(b"x-%d: %s" % (n, b"v" * 1000) for n in range(70))))
    refused(client, 431, "65536 bytes")


@pytest.mark.parametrize("start", [b"POST /", b"POST / HTTP/1.1\r\nx: ", b"POST / HTTP/1.1\r\n"])
def test_a_head_without_end_is_refused_in_time(client: Connection, start: bytes) -> None:
    """Breaks when a client can make the server hold whatever it sends before a body."""
    more = b"y: z\r\n" * 2000 if start.endswith(b"1.1\r\n") else b"a" * 12_000
    client.send(start, *[more] * 40)
    refused(client, 431, "head")


def test_trailers_without_end_are_refused(client: Connection) -> None:
    start = head(b"transfer-encoding: chunked") + b"3\r\nabc\r\n0\r\n"
    client.send(start, *[b"x: " + b"a" * 12_000 + b"\r\n"] * 40)
    refused(client, 431, "head")


def test_a_body_in_chunks_may_be_large(client: Connection) -> None:
    """Breaks when what is of use counts as silence."""
    chunk = b"%x\r\n%s\r\n" % (30_000, b"a" * 30_000)
    client.send(head(b"transfer-encoding: chunked"), *[chunk] * 20, b"0\r\n\r\n")
    assert client.answer() == (200, b"600000 2")
    piece = b"a" * 40_000
    client.send(head(b"transfer-encoding: chunked") + b"493e0\r\n", *[piece] * 7, piece[:20_000])
    client.send(b"\r\n0\r\n\r\n")
    assert client.answer() == (200, b"300000 2")


def test_a_large_body_before_the_next_head_is_not_its_head(client: Connection) -> None:
    body = b"a" * 200_000
    first = head(b"content-length: 200000") + body
    client.send(first + head(b"content-length: 1")[:20], head(b"content-length: 1")[20:] + b"x")
    assert client.answer() == (200, b"200000 2")
    assert client.answer() == (200, b"1 2")


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a client that speaks TLS
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    ],
)
def test_noise_gets_an_error_in_our_form(client: Connection, noise: bytes) -> None:
    client.send(noise)
    status, body = client.answer()
    assert (status, list(json.loads(body))) == (400, ["error"])
    assert client.is_closed()


def test_a_slow_head_is_refused(client: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks when a client that sends a byte a minute holds a connection for ever."""
    monkeypatch.setattr(limits, "HEAD_S", 0.05)
    client.send(b"POST / HTTP/1.1\r\nhost")
    refused(client, 408, "complete")


def test_a_slow_body_is_not_a_slow_head(
    client: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEAD_S", 0.05)
    client.send(head(b"transfer-encoding: chunked") + b"2\r\na")
    time.sleep(0.2)
    client.send(b"b\r\n0\r\n\r\n")
    assert client.answer() == (200, b"2 2")


def test_a_silent_connection_is_closed(client: Connection) -> None:
    """Breaks when whoever connects and says nothing keeps a file handle for ever."""
    assert client.is_closed()


def test_the_server_is_whole_after_all_of_it(
    client: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        client.send(head(b"content-length: 0"))
        assert client.answer() == (200, b"0 2")
    assert caplog.records == []


def test_the_lane_keeps_them(home: Any, infer_request: Callable[..., dict[str, Any]]) -> None:
    """Breaks when the server's own protocol, which answers predictions, forgets to check."""
    home.declare()
    home.champion(home.version())
    port = int(home.start().url.rpartition(":")[2])
    body = json.dumps(infer_request()).encode()
    path = b"/v2/models/flights/infer"
    length = b"content-length: %d" % len(body)
    cases = [
        (head(length, path=path) + body, 200),
        (head(length, path=path + b"?" + b"a" * MAX_URL_BYTES) + body, 414),
        (head(length, *[b"x: y"] * MAX_HEADERS, path=path) + body, 431),
        (head(length, b"x: " + b"y" * MAX_HEAD_BYTES, path=path) + body, 431),
        (head(b"content-length: 999999999999", path=path), 413),
        (b"POST /v2/models/\xff/infer HTTP/1.1\r\n\r\n", 400),
    ]
    for sent, status in cases:
        client = Connection(port)
        client.send(sent)
        found, said = client.answer()
        client.socket.close()
        assert found == status, said
        assert ("error" in json.loads(said)) == (status != 200)
