"""Content encodings of HTTP: undo a request's, and encode a reply as the client asks.

What inflates is bounded: a body that would become larger than the server takes is refused
when it crosses the line, so a small "zip bomb" costs at most the memory of an honest body.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO

from renewal.core.errors import Invalid

_WHO = "the server"
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's `wbits`: which frame is around the deflated bytes
_DEFLATES = (_ZLIB, _RAW)
_WORDS = {b"gzip": (_GZIP,), b"x-gzip": (_GZIP,), b"deflate": _DEFLATES}
_CHUNK_BYTES = 64 * 1024  # what follows the end of a frame is copied, so it must be short
_MAX_MEMBERS = 1024  # of a gzip body: each costs a few microseconds, however little it holds
_MAX_ENCODINGS = 2  # one over the other
_MIN_BYTES = 1024  # below, the frame and the work cost more than the bytes that they save
_MAX_ACCEPTED = 32  # items of an ``accept-encoding`` that are read
_QUICK = 1  # level: answers are made on the event loop, and 1 already gives most of the saving


def plain_body(headers: Sequence[tuple[bytes, bytes]], body: bytes, max_bytes: int) -> bytes:
    """Return a request's body without its ``content-encoding``.

    Parameters
    ----------
    headers : sequence of (bytes, bytes)
        Names in lower case. Several ``content-encoding`` headers count as one list.
    body : bytes
        As it came.
    max_bytes : int, bytes
        How large the body may become.

    Returns
    -------
    bytes
        The same object where there is nothing to undo.

    Raises
    ------
    Invalid
        Of an encoding other than gzip, deflate (with the frame of zlib or without) and identity
        (``reason="encoding"``, 415), of one that becomes too large (``reason="large"``, 413),
        and of damaged bytes (400).

    Examples
    --------
    >>> plain_body([(b"content-encoding", b"gzip")], zlib.compress(b"[1]", wbits=31), 1024)
    b'[1]'
    """
    named = [value for name, value in headers if name == b"content-encoding"]
    if not named:
        return body
    words = [word.strip().lower() for word in b",".join(named).split(b",", 8)]
    words = [word for word in words if word not in (b"", b"identity")]
    for word in words:
        if word not in _WORDS:
            raise _unknown(word)
    if len(words) > _MAX_ENCODINGS:
        raise _unknown(b", ".join(words))
    for word in reversed(words):
        if body:
            body = _inflated(word, body, max_bytes)
    return body


def encoded_body(body: bytes, accept_encoding: bytes | None) -> tuple[bytes, bytes | None]:
    """Return a reply's body as the client wants it, and its ``content-encoding``.

    Parameters
    ----------
    body : bytes
        The reply.
    accept_encoding : bytes or None
        The client's header; None: it sent none.

    Returns
    -------
    body : bytes
        The same object where it is not encoded: under 1 KiB, not asked for, or no smaller.
    encoding : bytes or None
        ``gzip`` or ``deflate`` (in the frame of zlib), at the highest ``q``, gzip first; None:
        the body is plain. ``identity;q=0`` is obeyed at any size where the client takes one of
        the two; where it takes neither, it gets the plain body.

    Examples
    --------
    >>> reply, encoding = encoded_body(b"0.125," * 1000, b"deflate;q=0.5, gzip")
    >>> encoding, len(reply) < 100
    (b'gzip', True)
    """
    if not accept_encoding:
        return body, None
    encoding, must = _preferred(accept_encoding)
    if encoding is None or (len(body) < _MIN_BYTES and not must):
        return body, None
    wbits = _GZIP if encoding == b"gzip" else _ZLIB
    encoded = zlib.compress(body, _QUICK, wbits)
    if len(encoded) >= len(body) and not must:
        return body, None
    return encoded, encoding


@lru_cache(maxsize=128)
def _preferred(accept_encoding: bytes) -> tuple[bytes | None, bool]:
    """Return the encoding to use, and whether the plain body is refused."""
    asked: dict[bytes, float] = {}
    for item in accept_encoding.lower().split(b",", _MAX_ACCEPTED)[:_MAX_ACCEPTED]:
        word, _, said = item.partition(b";")
        quality = _quality(said)
        if quality is not None:
            asked[word.strip().removeprefix(b"x-")] = quality
    rest = asked.get(b"*", 0.0)
    offers = {word: asked.get(word, rest) for word in (b"gzip", b"deflate")}
    best = max(offers, key=lambda word: offers[word])  # of equals the first
    # Plain is always allowed unless it is refused by name or by a star.
    plain = asked.get(b"identity", rest if b"*" in asked and rest == 0.0 else None)
    if offers[best] <= 0.0 or (plain is not None and plain > offers[best]):
        return None, False
    return best, plain == 0.0


def _quality(said: bytes) -> float | None:
    """Return the weight in ``;q=0.5``; None where it is none."""
    said = said.strip()
    if not said:
        return 1.0
    name, _, value = said.partition(b"=")
    digits = value.strip()
    if (
        name.strip() != b"q"
        or not digits.replace(b".", b"", 1).isdigit()
        or len(digits) > len("0.000")
    ):
        return None
    return min(1.0, float(digits))


def _inflated(word: bytes, body: bytes, max_bytes: int) -> bytes:
    cause: zlib.error | None = None
    for wbits in _WORDS[word]:
        try:
            return _undone(body, wbits, max_bytes)
        except zlib.error as error:
            cause = error
    raise Invalid(
        _WHO,
        needs=f"a body in the encoding {word.decode()}, as its content-encoding says",
        came=f"{len(body)} bytes that are not, or not to their end",
        todo="Send the whole encoded body, or leave the header out.",
    ) from cause


def _undone(body: bytes, wbits: int, max_bytes: int) -> bytes:
    """Inflate, never keeping more than `max_bytes`.

    Raises
    ------
    zlib.error
        The body is damaged, cut off, or followed by something else.
    Invalid
        It is larger than `max_bytes`.
    """
    # A BytesIO hands its buffer out as bytes without a copy.
    plain, n_members = BytesIO(), 1
    frame = zlib.decompressobj(wbits)
    view = memoryview(body)
    for start in range(0, len(body), _CHUNK_BYTES):
        given: bytes | memoryview = view[start : start + _CHUNK_BYTES]
        while given:
            if frame.eof:
                n_members += 1
                if wbits != _GZIP or n_members > _MAX_MEMBERS:
                    raise zlib.error("bytes after the end")
                frame = zlib.decompressobj(wbits)
            plain.write(frame.decompress(given, max_bytes + 1 - plain.tell()))
            if plain.tell() > max_bytes:
                raise _too_large(max_bytes)
            given = frame.unconsumed_tail or frame.unused_data
    if not frame.eof:
        raise zlib.error("no end")
    return plain.getvalue()


def _unknown(word: bytes) -> Invalid:
    return Invalid(
        _WHO,
        needs="a body in the content-encoding gzip, deflate or identity",
        came=repr(word[:64].decode("ascii", "backslashreplace")),
        todo="Send it in one of these, or plain, without the header.",
        reason="encoding",
    )


def _too_large(max_bytes: int) -> Invalid:
    return Invalid(
        _WHO,
        needs=f"a body of at most {max_bytes} bytes once it is inflated",
        came="a larger one",
        todo="Send fewer rows a request, or raise max_body_bytes of the server.",
        reason="large",
    )
