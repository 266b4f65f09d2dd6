"""The status of each error, and bodies that come in pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from renewal.core.errors import (
    Conflict,
    Corrupt,
    Invalid,
    Missing,
    NotFound,
    Refused,
    RenewalError,
    Unavailable,
)
from renewal.serve.http import (
    GoneError,
    error_reply,
    read_body,
    reply_to,
    send_reply,
)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Invalid, 400),
        (Refused, 403),
        (NotFound, 404),
        (Conflict, 409),
        (Corrupt, 500),
        (Missing, 501),
        (Unavailable, 503),
        (RenewalError, 500),
    ],
)
def test_every_family_has_its_status_and_its_own_words(
    kind: type[RenewalError], status: int
) -> None:
    error = kind("the server", needs="a model", came="'x'", todo="Check the name.")
    reply = reply_to(error)
    assert reply.status == status
    assert json.loads(reply.body) == {"error": str(error)}


def test_try_again_says_when() -> None:
    error = Unavailable("a", needs="b", came="c", todo="d", retry_after_s=0.2)
    assert reply_to(error).headers == {b"retry-after": b"1"}


def read(messages: list[dict[str, Any]], max_bytes: int = 10, length: str | None = None) -> bytes:
    waiting = iter(messages)

    async def receive() -> MutableMapping[str, Any]:
        return next(waiting)

    headers = [] if length is None else [(b"content-length", length.encode())]
    return asyncio.run(read_body({"headers": headers}, receive, max_bytes))


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_is_whole_when_its_last_part_is_there() -> None:
    assert (
        read([part(b"abc", more=True), part(b"", more=True), part(b"de", more=False)]) == b"abcde"
    )


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert read([part(b"0123456789", more=False)]) == b"0123456789"


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([], "11"),
        ([part(b"01234567890", more=False)], None),
        ([part(b"012345", more=True), part(b"67890", more=True)], None),
        ([part(b"01234567890", more=False)], "not a number"),
    ],
)
def test_a_body_over_the_limit_is_refused_as_soon_as_it_is_known(
    messages: list[dict[str, Any]], length: str | None
) -> None:
    """The parts after the limit are not even asked for: `next` would fail."""
    with pytest.raises(Invalid, match="at most"):
        read(messages, length=length)


def test_a_client_that_leaves_is_noticed() -> None:
    with pytest.raises(GoneError):
        read([part(b"abc", more=True), {"type": "http.disconnect"}])


def test_the_last_reply_of_a_connection_says_so() -> None:
    sent: list[Any] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    for is_last in (True, False):
        asyncio.run(send_reply(send, error_reply(404, "x", allow="GET"), is_last=is_last))
    first, _, second, _ = sent
    assert (b"connection", b"close") in first["headers"]
    assert (b"connection", b"close") not in second["headers"]
    assert (b"allow", b"GET") in second["headers"]
