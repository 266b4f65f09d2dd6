"""Limits on what a client may send before its body: uvicorn's protocol has none.

Without them a head that does not end, or trailers that do not, grow in memory for as long as
the client likes. Bodies are bounded where they are read (`read_body`, the lane, `plain_body`).

========================  =======================  ======
what                      limit                    status
========================  =======================  ======
URL                       16 KiB                   414
headers                   128, 64 KiB together     431
trailers, chunk headers   64 KiB without a body    431
a head, from its first    30 s                     408
byte to its last
a connection that says    as one kept alive        closed
nothing
a body that goes on       30 s                     closed
after its answer
========================  =======================  ======

A request that ends before it is complete is 400, where its client still listens.

What comes in one read of the socket, at most 256 KiB, is parsed before it is counted.

An offer to change the protocol, as clients of HTTP/2 make it with their first request, is
declined by answering in HTTP/1.1: the request is read as if it had not made it. The parser
alone would take its body for the next request.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from renewal.serve.oip import encode_error

MAX_HEAD_BYTES = 64 * 1024
MAX_URL_BYTES = 16 * 1024
MAX_HEADERS = 128
HEAD_S = 30.0
LEFTOVER_S = 30.0

_OFFERS = frozenset({b"upgrade", b"http2-settings"})
_BAD, _LATE, _LONG_URL, _LONG_HEAD = 400, 408, 414, 431


class HeadError(Exception):
    """A head is too large; the parser passes it on as its own error."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on heads, trailers and silence.

    Notes
    -----
    A subclass that overrides `on_headers_complete` calls `check_head` first, and hands
    `on_body` and `on_message_complete` of requests in chunks on to this class; while
    `is_declining`, both verbs of a message do nothing. Costs about half a microsecond a request.
    """

    _refusal: tuple[int, str] | None = None
    _is_head = False  # a head is under way
    _is_chunked = False  # a body in chunks is, perhaps with trailers
    _n_silent = -1  # bytes that came since the last that was of use; -1: within this read
    _is_large_read = False
    _head_timer: asyncio.TimerHandle | None = None
    _leftover_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give a client that says nothing as long as one whose connection is kept alive."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for the rest of a head, or of a body."""
        self._stop_timer()
        self._stop_leftover()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Tell a client that ends in the midst of a request, and still listens, what it did."""
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        is_body = (
            cycle is not None
            and cycle.more_body
            and not cycle.response_complete
            and not getattr(cycle, "response_started", False)
        )
        if self._is_head or is_body:
            self._refuse(_BAD, "the request ended before it was complete")

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse what leads to nothing."""
        self._is_large_read = len(data) > MAX_URL_BYTES
        self._unset_keepalive_if_required()
        self._feed(data)
        if (self._is_head or self._is_chunked) and self._refusal is None:
            self._count(len(data))

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._is_head = True
        self._is_chunked = False
        self._n_silent = -1

    def on_headers_complete(self) -> None:
        """Check the head, then go on as uvicorn does."""
        if not self.is_declining():
            self.check_head()
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Begin to count what is no body: trailers, and the sizes of chunks."""
        self._is_chunked = True
        self._n_silent = -1

    def on_body(self, body: bytes) -> None:
        """Take a part of the body: it is of use, and counted elsewhere."""
        self._n_silent = -1
        super().on_body(body)
        if self._leftover_timer is None and self.cycle.response_complete:
            self._leftover_timer = self.loop.call_later(LEFTOVER_S, self._hang_up)

    def on_message_complete(self) -> None:
        """End the count."""
        if self.is_declining():
            return
        self._is_chunked = False
        self._stop_leftover()
        super().on_message_complete()

    def is_declining(self) -> bool:
        """Say whether the message offers another protocol: it is read again without the offer."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def check_head(self) -> None:
        """Check a head that is complete.

        Raises
        ------
        HeadError
            When it is too large; the client has its reply before the parser returns.
        """
        self._is_head = False
        if self._head_timer is not None:
            self._stop_timer()
        if len(self.url) > MAX_URL_BYTES:
            self._refusal = _LONG_URL, f"the URL is longer than {MAX_URL_BYTES} bytes"
        elif len(self.headers) > MAX_HEADERS:
            self._refusal = _LONG_HEAD, f"there are more than {MAX_HEADERS} headers"
        elif self._is_large_read:
            n_bytes = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if n_bytes > MAX_HEAD_BYTES:
                self._refusal = _too_long()
        if self._refusal is not None:
            raise HeadError(self._refusal[1])

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is none, or too large, in the form of every other error."""
        status, text = self._refusal or (_BAD, msg)
        body = encode_error(text)
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _feed(self, data: bytes) -> None:
        """Parse, declining each offer to change the protocol."""
        left: bytes | memoryview = data
        behind: bytes | memoryview = b""
        while True:
            try:
                self.parser.feed_data(left)
            except httptools.HttpParserUpgrade as offer:
                if not self.is_declining():
                    self.send_400_response("this server is no proxy")
                    return
                behind = memoryview(left)[offer.args[0] :]
                left = self._declined()
            except httptools.HttpParserError as error:
                self.logger.debug("refused what is no request error=%r", error)
                self.send_400_response("Invalid HTTP request received.")
                return
            else:
                if not behind:
                    return
                left, behind = behind, b""

    def _declined(self) -> bytes:
        """Return the head that was read last, without its offer."""
        version = self.parser.get_http_version().encode()
        parts = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name in _OFFERS:
                continue
            kept = value
            if name == b"connection":
                words = (word.strip() for word in value.split(b","))
                kept = b", ".join(word for word in words if word.lower() not in _OFFERS)
            parts += (name, b": ", kept, b"\r\n")
        return b"".join((*parts, b"\r\n"))

    def _hang_up(self) -> None:
        """End a connection whose body goes on though it was answered."""
        self._leftover_timer = None
        self.transport.close()

    def _stop_leftover(self) -> None:
        if self._leftover_timer is not None:
            self._leftover_timer.cancel()
            self._leftover_timer = None

    def _count(self, n_bytes: int) -> None:
        """Count a read that did not end what was begun."""
        if self._n_silent < 0:
            self._n_silent = 0
            if self._is_head and self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_S, self._be_late)
            return
        self._n_silent += n_bytes
        if self._n_silent > MAX_HEAD_BYTES:
            self._refuse(*_too_long())

    def _be_late(self) -> None:
        self._head_timer = None
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        if cycle is not None and not cycle.response_complete:
            # Nothing is read while a request before it is answered: it is not the client's fault.
            self._head_timer = self.loop.call_later(HEAD_S, self._be_late)
            return
        self._refuse(_LATE, f"the head of the request was not complete after {HEAD_S:g} s")

    def _refuse(self, status: int, text: str) -> None:
        if self._refusal is None and not self.transport.is_closing():
            self._refusal = status, text
            self.send_400_response(text)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _too_long() -> tuple[int, str]:
    return _LONG_HEAD, f"the head of the request is longer than {MAX_HEAD_BYTES} bytes"
