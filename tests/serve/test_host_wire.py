"""What travels between a server and the process of a version."""

from __future__ import annotations

import socket
import threading
from time import monotonic

import numpy as np
import pytest

from renewal.serve import host_wire as wire


@pytest.mark.parametrize("shape", [(0, 3), (1, 30), (700, 3), (10_000, 30)])
def test_a_matrix_arrives_as_it_left(shape: tuple[int, int]) -> None:
    """Broken by a message that is cut where a socket's buffer ends."""
    sent = np.random.default_rng(0).normal(size=shape)
    here, there = socket.socketpair()
    with here, there:
        message = (wire.MATRIX, *shape, wire.bytes_of(sent))
        sending = threading.Thread(target=wire.send, args=(here, message, monotonic() + 30))
        sending.start()
        came = wire.receive(there, monotonic() + 30)
        sending.join()
    assert came is not None
    assert came[:3] == (wire.MATRIX, *shape)
    assert np.array_equal(wire.matrix_of(came[3], *shape), sent)


def test_rows_that_do_not_lie_together_are_put_together() -> None:
    """Broken by sending the memory of a slice, which holds other rows, too."""
    every = np.arange(60_000.0).reshape(10_000, 6)[::2, ::3]
    assert bytes(wire.bytes_of(every)) == np.ascontiguousarray(every).tobytes()


@pytest.mark.parametrize("n_bytes", [0, 5, wire.HEAD.size, wire.HEAD.size + 7])
def test_half_a_message_is_none(n_bytes: int) -> None:
    """Broken by scores made of what a process had written when it died."""
    whole = wire.HEAD.pack(wire.SCORES, 1, 2) + bytes(16)
    here, there = socket.socketpair()
    with there:
        here.sendall(whole[:n_bytes])
        here.close()
        assert wire.receive(there, monotonic() + 30) is None


def test_nobody_waits_for_ever() -> None:
    """Broken by a limit that counts for the first read, or not for sending."""
    here, there = socket.socketpair()
    with here, there:
        here.sendall(wire.HEAD.pack(wire.SCORES, 1, 2))
        with pytest.raises(TimeoutError):
            wire.receive(there, monotonic() + 0.05)
        large = np.zeros((100_000, 30))
        with pytest.raises(TimeoutError):
            wire.send(here, (wire.MATRIX, *large.shape, wire.bytes_of(large)), monotonic() + 0.05)
