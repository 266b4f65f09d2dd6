"""Fronts and pages: what a protocol adds to the server.

A *front* reads a prediction request and writes its answer; both are pure, and run on the event
loop, so a front never waits. A *page* answers anything else: health, metadata, statistics.
Adding a protocol is a front, its pages, and their entries in `renewal.serve.routes`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from renewal.core.errors import RenewalError
from renewal.serve.http import Reply
from renewal.serve.outcome import Outcome
from renewal.serve.query import Query
from renewal.serve.works import Works

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class Request:
    """An HTTP request whose body is complete.

    Parameters
    ----------
    method : str
        In capitals.
    path : tuple of str
        The decoded path, split at its slashes, without empty ends.
    headers : sequence of (bytes, bytes)
        Names in lower case.
    body : bytes
        As it came; a front or page that offers a ``content-encoding`` undoes it (`plain_body`).
    query : mapping of str to str
        Of the URL; unknown names are ignored.
    """

    method: str
    path: tuple[str, ...]
    headers: Headers
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, its name in lower case."""
        for found, value in self.headers:
            if found == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a prediction URL names.

    Parameters
    ----------
    model : str or None
        None: the URL names none (MLflow); it is the server's only model, or the one that the
        request names.
    pinned : str or None
        A version or an alias; None: the plan decides.
    """

    model: str | None
    pinned: str | None = None


class Front(Protocol):
    """How one protocol asks for predictions over HTTP. Stateless; all verbs are quick.

    Attributes
    ----------
    protocol : str
        Its name in metrics.
    """

    protocol: str

    def match(self, path: tuple[str, ...]) -> Target | None:
        """Return whom a path names; None where it is no prediction path of this protocol."""
        ...

    def read(self, request: Request, target: Target, works: Works) -> Query:
        """Read a request; raise `Invalid` and its like where it is wrong."""
        ...

    def write(self, outcome: Outcome, request: Request, query: Query) -> Reply:
        """Write an answer."""
        ...

    def refuse(self, error: RenewalError) -> Reply:
        """Write an error in the protocol's form, with its status."""
        ...


Page = Callable[[Works, Request], Reply | Awaitable[Reply] | None]
"""Answers a request, perhaps after waiting; None where the path is none of its own.

Raises `RenewalError` for what is wrong; the application writes it in the form of V2.
"""
