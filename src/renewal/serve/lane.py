"""The fast lane: predictions that are answered without a task, from the parser to the socket.

uvicorn makes a task, an event and half a dozen dictionaries for each request, which takes
longer than a small model. A prediction whose body is small and whose connection has nothing
else under way needs none of that: it is read when its last byte has come, put into the queue of
its version, and written when its scores come back. Every other request takes uvicorn's way to
the application; both use the same fronts, the same inference and the same errors.

A request in the lane stands where uvicorn keeps its cycle, so that pipelined requests,
keep-alive and shutdown go on as uvicorn does them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from renewal.core.errors import RenewalError
from renewal.serve.asking import query_of, refusal, too_slow
from renewal.serve.front import Front, Request, Target
from renewal.serve.http import Reply
from renewal.serve.limits import BoundedProtocol
from renewal.serve.outcome import Outcome
from renewal.serve.routes import front_of

if TYPE_CHECKING:
    from renewal.serve.inference import Ticket
    from renewal.serve.query import Query
    from renewal.serve.works import Works

_LOG = logging.getLogger("renewal.serve")
_MOST_BYTES = 1024 * 1024
_MOST_URLS = 4096
_LONGEST_URL = 512

_Way = tuple[Front, Target, tuple[str, ...], Mapping[str, str]]


class _Silent:
    """Stands for the event by which uvicorn wakes an application that reads."""

    def set(self) -> None:
        """Wake nobody: the body was complete."""


_SILENT = _Silent()


class Direct:
    """A request in the lane; has what uvicorn asks of a cycle."""

    __slots__ = (
        "body",
        "disconnected",
        "keep_alive",
        "lane",
        "message_event",
        "query",
        "request",
        "response_complete",
        "ticket",
        "timer",
        "way",
    )

    def __init__(self, lane: Lane, way: _Way, *, keep_alive: bool) -> None:
        self.lane = lane
        self.way = way
        self.keep_alive = keep_alive
        self.body: bytes | bytearray = b""
        self.disconnected = False
        self.response_complete = False
        self.message_event = _SILENT
        self.request: Request | None = None
        self.query: Query | None = None
        self.ticket: Ticket | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def more_body(self) -> bool:
        """Whether a part of the body has still to come."""
        return self.request is None

    def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Read the request, which is complete, and put it on its way."""
        works, (front, target, path, query) = self.lane.works, self.way
        if self.timer is not None:
            self.timer.cancel()
        works.counters.open()
        request = self.request = Request("POST", path, headers, bytes(self.body), query)
        try:
            self.query = query_of(works, front, target, request)
            self.ticket = works.inference.start(self.query, self.done)
        except Exception as error:  # noqa: BLE001  # the request border: the worker lives on
            self._reply(refusal(request, error, front))

    def be_late(self) -> None:
        """Refuse a request whose body has trickled in for too long, and hang up."""
        if self.request is None and not self.response_complete:
            works, (front, _, path, query) = self.lane.works, self.way
            works.counters.open()
            self.request = Request("POST", path, (), b"", query)
            self.keep_alive = False
            self._reply(refusal(self.request, too_slow(works.options.timeout_s), front))

    def done(self, came: Outcome | RenewalError) -> None:
        """Write what the request came to."""
        if self.response_complete:
            return
        assert self.request is not None and self.query is not None  # noqa: PT018  # both are set when it starts
        front = self.way[0]
        try:
            if isinstance(came, RenewalError):
                reply = refusal(self.request, came, front)
            else:
                reply = front.write(came, self.request, self.query)
        except Exception as error:  # noqa: BLE001  # the request border: the worker lives on
            reply = refusal(self.request, error, front)
        self._reply(reply, came if isinstance(came, Outcome) else None)

    def gone(self) -> None:
        """Take the request back: its client has left."""
        if not self.response_complete:
            self.response_complete = True
            if self.timer is not None:
                self.timer.cancel()
            if self.ticket is not None:
                self.ticket.cancel()
            if self.request is not None:
                self.lane.works.counters.gone()
                self.lane.works.counters.close()

    def _reply(self, reply: Reply, outcome: Outcome | None = None) -> None:
        self.response_complete = True
        # It holds this request in turn: see `Ticket.end`.
        self.ticket = None
        works, (front, target, _path, _query) = self.lane.works, self.way
        counters = works.counters
        model = "" if outcome is not None else works.known(target.model)
        counters.answered(reply.status, front.protocol, outcome, model=model)
        counters.close()
        self.lane.send_direct(reply, keep_alive=self.keep_alive)


class Lane(BoundedProtocol):
    """uvicorn's HTTP protocol with a fast lane for predictions; see `lane_of`."""

    works: Works
    ways: dict[bytes, _Way]

    def data_received(self, data: bytes) -> None:
        """Parse what came; a body that is not all there has no more time than a request."""
        super().data_received(data)
        direct: Any = self.cycle
        if type(direct) is Direct and direct.request is None and direct.timer is None:
            direct.timer = self.loop.call_later(self.works.options.timeout_s, direct.be_late)

    def on_headers_complete(self) -> None:
        """Take a request into the lane, or hand it to uvicorn."""
        if self.is_declining():
            return
        self.check_head()
        way = self._way()
        if way is None:
            super().on_headers_complete()
        else:
            parser = self.parser
            # As uvicorn does: a client of HTTP/1.0 that is told nothing waits for the end.
            keep_alive = parser.should_keep_alive() and parser.get_http_version() != "1.0"
            self.cycle = Direct(self, way, keep_alive=keep_alive)  # type: ignore[assignment]  # it stands where a cycle does

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        direct: Any = self.cycle
        if type(direct) is not Direct:
            super().on_body(body)
        elif not direct.body:
            direct.body = body
        else:
            if isinstance(direct.body, bytes):
                direct.body = bytearray(direct.body)
            direct.body += body

    def on_message_complete(self) -> None:
        """Start a request of the lane."""
        direct: Any = self.cycle
        if type(direct) is not Direct:
            super().on_message_complete()
        elif not direct.response_complete and not self.is_declining():
            direct.start(self.headers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take back what the client does not wait for any more."""
        direct: Any = self.cycle
        if type(direct) is Direct:
            direct.gone()
        super().connection_lost(exc)

    def send_direct(self, reply: Reply, *, keep_alive: bool) -> None:
        """Write a reply to the connection, and go on with what waits behind it."""
        if self.transport.is_closing():
            return
        is_last = not keep_alive or self.works.is_draining
        parts = [
            STATUS_LINE[reply.status],
            b"content-type: ",
            reply.content_type,
            b"\r\ncontent-length: %d\r\n" % len(reply.body),
        ]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in reply.headers.items():
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"connection: close\r\n\r\n" if is_last else b"\r\n")
        parts.append(reply.body)
        self.transport.write(b"".join(parts))
        if is_last:
            self.transport.close()
        self.on_response_complete()

    def _way(self) -> _Way | None:
        """Return the way of a request that the lane can take; None: it is uvicorn's."""
        way = self.ways.get(self.url)
        if way is None:
            way = self._new_way()
            if way is None:
                return None
        cycle: Any = self.cycle
        parser = self.parser
        is_free = cycle is None or cycle.response_complete
        if (
            not is_free
            or parser.get_method() != b"POST"
            or self.expect_100_continue
            or self.flow.write_paused
        ):
            return None
        return way if self._is_small() else None

    def _new_way(self) -> _Way | None:
        parsed = httptools.parse_url(self.url)
        text = parsed.path.decode("ascii")
        path = tuple(unquote(part) for part in text.split("/") if part)
        found = front_of(path)
        if found is None:
            return None
        front, target = found
        query = dict(parse_qsl((parsed.query or b"").decode("latin-1")))
        # Only short URLs of models that exist are kept. A client may still make up as many as it
        # likes, by their queries: a full table begins anew, so that others find room again.
        if target.model in self.works.follower.slots and len(self.url) <= _LONGEST_URL:
            if len(self.ways) >= _MOST_URLS:
                self.ways.clear()
            self.ways[self.url] = (front, target, path, query)
        return front, target, path, query

    def _is_small(self) -> bool:
        """Whether the whole body is announced, and is small."""
        for name, value in self.headers:
            if name == b"content-length":
                most = min(_MOST_BYTES, self.works.options.max_body_bytes)
                return len(value) <= 7 and int(value) <= most
            if name == b"transfer-encoding":
                return False
        return False


def lane_of(works: Works) -> type[Lane]:
    """Return the protocol class of a server, for ``uvicorn.Config(http=...)``."""
    return type("Lane", (Lane,), {"works": works, "ways": {}})
