"""Whole messages over a socket between two processes of one machine."""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!Q")


def send(line: socket.socket, message: Any) -> None:
    """Send one message: anything that pickles.

    Raises
    ------
    OSError
        When the other side is gone.
    """
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    line.sendall(_LENGTH.pack(len(body)) + body)


def receive(line: socket.socket) -> Any | None:
    """Wait for one message and return it; None when the other side is gone.

    Examples
    --------
    >>> here, there = socket.socketpair()
    >>> send(here, ("words", 0.5))
    >>> here.close()
    >>> receive(there), receive(there)
    (('words', 0.5), None)
    >>> there.close()
    """
    head = _exactly(line, _LENGTH.size)
    if head is None:
        return None
    body = _exactly(line, _LENGTH.unpack(head)[0])
    return None if body is None else pickle.loads(body)  # noqa: S301  # our own process wrote it


def _exactly(line: socket.socket, n_bytes: int) -> bytearray | None:
    """Read so many bytes; None when the line ends before: half a message is none."""
    got = bytearray(n_bytes)
    view, n_got = memoryview(got), 0
    while n_got < n_bytes:
        try:
            n_new = line.recv_into(view[n_got:])
        except ConnectionResetError:
            return None
        if n_new == 0:
            return None
        n_got += n_new
    return got
