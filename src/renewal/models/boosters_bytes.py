"""Boosted trees as bytes that hold no code: a line of JSON, then the library's own format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from renewal.core.errors import Invalid

_MAGIC = b"renewal-booster 1 "
_MOST_HEADER_BYTES = 1 << 26


def to_bytes(header: Mapping[str, Any], payload: bytes) -> bytes:
    r"""Return one line that describes the payload, and the payload.

    Parameters
    ----------
    header : mapping
        JSON values.
    payload : bytes
        What the library wrote; the line holds its digest, so that the library never reads
        half of it.

    Examples
    --------
    >>> from_bytes(to_bytes({"classes": [0, 1]}, b"trees"), who="demo")
    ({'classes': [0, 1]}, b'trees')
    """
    # The line is part of what is digested: a damaged list of classes is no better than a
    # damaged tree.
    line = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return _MAGIC + _digest(line, payload).encode() + b" " + line + b"\n" + payload


def from_bytes(data: bytes, *, who: str) -> tuple[dict[str, Any], bytes]:
    """Return what `to_bytes` was handed.

    Raises
    ------
    Invalid
        On bytes that `to_bytes` did not write, or not all of what it wrote.
    """
    end = data.find(b"\n", 0, _MOST_HEADER_BYTES)
    if not data.startswith(_MAGIC) or end < 0:
        raise not_ours(who, "they do not begin as a stored booster does")
    digest, _, line = data[len(_MAGIC) : end].partition(b" ")
    payload = data[end + 1 :]
    if digest != _digest(line, payload).encode():
        raise not_ours(who, "their digest differs: a part is missing or damaged")
    try:
        header: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise not_ours(who, str(error)) from error
    return header, payload


def not_ours(who: str, reason: str) -> Invalid:
    """Return the error for bytes that are no stored booster."""
    return Invalid(
        who,
        needs="bytes that dump of the same adapter has written",
        came=reason.strip().rstrip("."),
        todo="Load the version with the adapter that its manifest names.",
    )


def _digest(line: bytes, payload: bytes) -> str:
    return hashlib.blake2b(line + b"\n" + payload, digest_size=16).hexdigest()
