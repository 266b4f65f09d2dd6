"""HTTP without a framework: read a body, send a reply, and the status of each error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

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
from renewal.serve.oip import encode, encode_error

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OK, BAD, MISSING, WRONG_METHOD, TOO_LARGE = 200, 400, 404, 405, 413
FAILED, UNSUPPORTED, NOT_READY = 500, 501, 503

_STATUS: dict[type[RenewalError], int] = {
    Invalid: BAD,
    NotFound: MISSING,
    Conflict: 409,
    Refused: 403,
    Corrupt: FAILED,
    Unavailable: NOT_READY,
    Missing: UNSUPPORTED,
}


class TooLargeError(Exception):
    """The body is larger than the server takes."""


class GoneError(Exception):
    """The client left before its request was complete."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that is ready to be sent.

    Parameters
    ----------
    status : int
        HTTP.
    body : bytes
        JSON.
    headers : mapping of bytes to bytes
        Beside its type and length.
    """

    status: int
    body: bytes
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


def json_reply(value: Any, status: int = OK) -> Reply:
    """Return a reply that carries a value as JSON."""
    return Reply(status, encode(value))


def error_reply(status: int, message: str, **headers: str) -> Reply:
    """Return a reply in the protocol's error form; header names are written with ``_``."""
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Reply(status, encode_error(message), named)


def reply_to(error: RenewalError) -> Reply:
    """Return the protocol's form of an error.

    Examples
    --------
    >>> reply_to(NotFound("the server", needs="a model", came="'x'", todo="Check it.")).status
    404
    """
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), FAILED)
    retry_after_s = error.fields.get("retry_after_s")
    if retry_after_s is None:
        return error_reply(status, str(error))
    return error_reply(status, str(error), retry_after=str(max(1, round(retry_after_s))))


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Read the body of a request.

    Raises
    ------
    TooLargeError
        As soon as it is known to be larger than `max_bytes`.
    GoneError
        When the client left in its midst.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise TooLargeError
    message = await _next(receive)
    if not message.get("more_body", False):
        return _checked(message["body"], max_bytes)
    parts = [message["body"]]
    n_bytes = len(parts[0])
    while message.get("more_body", False):
        message = await _next(receive)
        parts.append(message["body"])
        n_bytes += len(parts[-1])
        if n_bytes > max_bytes:
            raise TooLargeError
    return b"".join(parts)


async def send_reply(send: Send, reply: Reply, *, is_last: bool) -> None:
    """Send a reply; `is_last` tells the client to open a new connection for its next."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers.items(),
    ]
    if is_last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _next(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise GoneError
    return message


def _checked(body: bytes, max_bytes: int) -> bytes:
    if len(body) > max_bytes:
        raise TooLargeError
    return body
