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

OK, BAD, NO_TOKEN, MISSING, WRONG_METHOD, SLOW = 200, 400, 401, 404, 405, 408
TOO_LARGE, FULL = 413, 429
WRONG_ENCODING, FAILED, UNSUPPORTED, NOT_READY, LATE = 415, 500, 501, 503, 504

_STATUS: dict[type[RenewalError], int] = {
    Invalid: BAD,
    NotFound: MISSING,
    Conflict: 409,
    Refused: 403,
    Corrupt: FAILED,
    Unavailable: NOT_READY,
    Missing: UNSUPPORTED,
}
# What `fields["reason"]` of an error says more exactly.
_REASONS: dict[str, int] = {
    "full": FULL,
    "late": LATE,
    "token": NO_TOKEN,
    "encoding": WRONG_ENCODING,
    "large": TOO_LARGE,
    "slow": SLOW,
}


class GoneError(Exception):
    """The client left before its request was complete."""


@dataclass(slots=True)
class Reply:
    """A response that is ready to be sent.

    Parameters
    ----------
    status : int
        HTTP.
    body : bytes
        What `content_type` says.
    headers : mapping of bytes to bytes
        Beside its type and length.
    content_type : bytes, default ``application/json``
        Of the body.
    """

    status: int
    body: bytes
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    content_type: bytes = b"application/json"


def json_reply(value: Any, status: int = OK) -> Reply:
    """Return a reply that carries a value as JSON."""
    return Reply(status, encode(value))


def error_reply(status: int, message: str, **headers: str) -> Reply:
    """Return a reply in the protocol's error form; header names are written with ``_``."""
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Reply(status, encode_error(message), named)


def wrong_method(*allowed: str) -> Reply:
    """Return the reply to a method that a path does not know.

    Examples
    --------
    >>> wrong_method("GET", "HEAD").headers
    {b'allow': b'GET, HEAD'}
    """
    text = f"use {' or '.join(allowed)} on this path"
    return error_reply(WRONG_METHOD, text, allow=", ".join(allowed))


def reply_to(error: RenewalError) -> Reply:
    """Return the protocol's form of an error.

    Examples
    --------
    >>> reply_to(NotFound("the server", needs="a model", came="'x'", todo="Check it.")).status
    404
    """
    headers: dict[str, str] = {}
    retry_after_s = error.fields.get("retry_after_s")
    if retry_after_s is not None:
        headers["retry_after"] = str(max(1, round(retry_after_s)))
    status = status_of(error)
    if status == NO_TOKEN:
        headers["www_authenticate"] = "Bearer"
    return error_reply(status, str(error), **headers)


def status_of(error: RenewalError) -> int:
    """Return the HTTP status of an error.

    Of an `Unavailable`, ``fields["reason"]`` may say ``full`` (429, a queue) or ``late`` (504, a
    deadline); of a `Refused`, ``token`` (401, none or an unknown one); of an `Invalid`,
    ``encoding`` (415), ``large`` (413) or ``slow`` (408).

    Examples
    --------
    >>> said = {"needs": "room", "came": "a full queue", "todo": "Wait.", "reason": "full"}
    >>> status_of(Unavailable("the server", **said))
    429
    """
    reason = _REASONS.get(str(error.fields.get("reason")))
    if reason is not None:
        return reason
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), FAILED)


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Read the body of a request.

    Raises
    ------
    Invalid
        With ``reason="large"`` as soon as it is known to be larger than `max_bytes`.
    GoneError
        When the client left in its midst.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise _too_large(max_bytes)
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
            raise _too_large(max_bytes)
    return b"".join(parts)


async def send_reply(send: Send, reply: Reply, *, is_last: bool) -> None:
    """Send a reply; `is_last` tells the client to open a new connection for its next.

    Raises
    ------
    GoneError
        When the connection was reset meanwhile.
    """
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers.items(),
    ]
    if is_last:
        headers.append((b"connection", b"close"))
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
    except RuntimeError as error:
        # uvloop's word for a socket that it has closed and has not told uvicorn about yet.
        raise GoneError from error


async def _next(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise GoneError
    return message


def _checked(body: bytes, max_bytes: int) -> bytes:
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def _too_large(max_bytes: int) -> Invalid:
    return Invalid(
        "the server",
        needs=f"a body of at most {max_bytes} bytes",
        came="a larger one",
        todo="Send fewer rows a request, or raise max_body_bytes of the server.",
        reason="large",
    )
