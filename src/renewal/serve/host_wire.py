"""What a server and the process of a version say to each other, over one socket.

One question, one answer: a head of three numbers, then raw bytes. Rows travel as the float64
matrix that they are, or as an Arrow stream; scores as float64; an error pickled. A row of 30
numbers takes 0.02 ms there and back, 10,000 of them 0.3 ms; shared memory would halve the
latter, of which the table alone takes as much again.
"""

from __future__ import annotations

import socket
import struct
from time import monotonic
from typing import Any

import numpy as np

Buffer = bytes | bytearray | memoryview

Message = tuple[int, int, int, Buffer]
"""A head and a body of as many bytes as `body_bytes` tells of the head."""

HEAD = struct.Struct("=QQQ")
"""What comes, and two numbers: those of rows and of columns, or that of bytes and zero."""

MATRIX, TABLE = 1, 2
"""What is asked: rows as a matrix of float64, or as an Arrow stream."""

SCORES, ERROR, READY = 3, 4, 5
"""What is answered: a matrix of float64, a pickled error, or that the version is loaded."""

_FLOAT_BYTES = 8
# Up to this, to copy head and body into one message is quicker than to send two.
_TOGETHER_BYTES = 32_768
_FIRST_BYTES = 16_384


def send(line: socket.socket, message: Message, due_s: float | None) -> None:
    """Send one message.

    Parameters
    ----------
    line : socket
        Where to.
    message : tuple
        Head and body.
    due_s : float or None, seconds
        `time.monotonic` by which it must be taken; None: whenever.

    Raises
    ------
    TimeoutError
        When it is not taken in time.
    OSError
        When the other side is gone.
    """
    *head, body = message
    packed = HEAD.pack(*head)
    _allow(line, due_s)
    if len(body) <= _TOGETHER_BYTES:
        line.sendall(packed + body)
        return
    line.sendall(packed)
    _allow(line, due_s)
    line.sendall(body)


def receive(line: socket.socket, due_s: float | None) -> tuple[int, int, int, memoryview] | None:
    """Wait for one message and return its head and its body; None: the other side is gone.

    Raises
    ------
    TimeoutError
        When it does not come in time.

    Examples
    --------
    >>> here, there = socket.socketpair()
    >>> send(here, (SCORES, 1, 2, np.array([[0.25, 0.75]]).tobytes()), None)
    >>> here.close()
    >>> kind, n_rows, n_columns, body = receive(there, None)
    >>> matrix_of(body, n_rows, n_columns), receive(there, None)
    (array([[0.25, 0.75]]), None)
    >>> there.close()
    """
    # One question, one answer: whatever comes belongs to this message.
    first = bytearray(_FIRST_BYTES)
    n_got = _fill(line, memoryview(first), HEAD.size, due_s)
    if n_got < HEAD.size:
        return None
    kind, one, two = HEAD.unpack_from(first)
    n_there = n_got - HEAD.size
    body = memoryview(bytearray(body_bytes(kind, one, two)))
    # Copied: who keeps one score must not keep the whole first read.
    body[:n_there] = memoryview(first)[HEAD.size : n_got]
    rest = body[n_there:]
    if _fill(line, rest, len(rest), due_s) < len(rest):
        return None
    return kind, one, two, body


def body_bytes(kind: int, first: int, second: int) -> int:
    """Return how many bytes follow a head.

    Examples
    --------
    >>> body_bytes(MATRIX, 2, 3), body_bytes(TABLE, 17, 0)
    (48, 17)
    """
    return first * second * _FLOAT_BYTES if kind in {MATRIX, SCORES} else first


def bytes_of(matrix: np.ndarray[Any, Any]) -> Buffer:
    """Return the bytes of a matrix of float64, row by row; a large one is not copied."""
    if matrix.nbytes <= _TOGETHER_BYTES or not matrix.flags.c_contiguous:
        return matrix.tobytes()
    return matrix.data.cast("B")


def matrix_of(body: memoryview, n_rows: int, n_columns: int) -> np.ndarray[Any, Any]:
    """Return a body as the matrix that it is; nothing is copied."""
    return np.frombuffer(body, dtype=np.float64).reshape(n_rows, n_columns)


def _fill(line: socket.socket, view: memoryview, n_least: int, due_s: float | None) -> int:
    """Read until at least so many bytes are there; fewer: the other side is gone."""
    n_got = 0
    while n_got < n_least:
        _allow(line, due_s)
        try:
            n_new = line.recv_into(view[n_got:])
        except ConnectionError:
            return n_got
        if n_new == 0:
            return n_got
        n_got += n_new
    return n_got


def _allow(line: socket.socket, due_s: float | None) -> None:
    # A socket with a time of zero does not wait at all.
    line.settimeout(None if due_s is None else max(due_s - monotonic(), 1e-3))
