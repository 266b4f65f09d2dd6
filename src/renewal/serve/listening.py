"""The address a server listens on, alone or shared by its workers."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress

from renewal.core.errors import Unavailable

# Of Linux; the module socket does not name it.
_ATTACH_FILTER = 26
_RETURN = 0x06  # the instruction of a packet filter that takes so many bytes: none


def bound_socket(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """Return a socket that is bound, and does not listen yet.

    Parameters
    ----------
    host : str
        An address of this machine.
    port : int
        0 takes a free one.
    shares_port : bool, default False
        Whether further processes bind the same address; the system deals out the connections
        among those that listen.

    Raises
    ------
    Unavailable
        When the address is taken.

    Examples
    --------
    >>> one = bound_socket("127.0.0.1", 0, shares_port=True)
    >>> two = bound_socket("127.0.0.1", one.getsockname()[1], shares_port=True)
    >>> one.getsockname() == two.getsockname()
    True
    >>> one.close(); two.close()
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:  # the latter: no port has such a number
        bound.close()
        raise Unavailable(
            "Server.start",
            needs=f"the address {host}:{port}",
            came=str(error),
            todo="Stop whoever listens there, or choose another port (0 takes a free one).",
        ) from error
    return bound


def url_of(host: str, bound: socket.socket) -> str:
    """Return the URL of a bound socket by the host's name, such as ``http://localhost:8080``."""
    shown = f"[{host}]" if bound.family == socket.AF_INET6 else host
    return f"http://{shown}:{bound.getsockname()[1]}"


def turn_away(listening: socket.socket) -> None:
    """Let nobody new connect to a socket whose queue is about to be closed.

    Whoever stands in the queue of a listening socket when it is closed is cut off, though it
    may have sent its request already. With a filter that drops every packet the queue only
    gets shorter: those in it are answered, and who comes now tries again by itself a second
    later, at whoever listens then. Where the system knows no such filter nothing is done.

    Parameters
    ----------
    listening : socket.socket
        Open connections that it has accepted are not touched.
    """
    if sys.platform != "linux" or listening.fileno() < 0:
        return
    drop = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drop))
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


def reserved_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket by which workers to come share one port; it never listens itself.

    Raises
    ------
    Unavailable
        When somebody listens there, who may share the port, too: a second server on it would
        take half of the first one's requests.
    """
    if port:
        bound_socket(host, port).close()
    return bound_socket(host, port, shares_port=True)
