"""What every call goes through: counted, read, allowed, and its errors turned into statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol, Self

from grpc import StatusCode

from renewal.core.errors import RenewalError
from renewal.serve.grpc_codec import parse
from renewal.serve.grpc_pages import Page
from renewal.serve.grpc_status import Trailers, code_of, details_of, trailers_of
from renewal.serve.guard import Need, headers_of
from renewal.serve.http import FAILED, OK, status_of
from renewal.serve.needs import scope_of_call
from renewal.serve.outcome import Outcome
from renewal.serve.works import Works

PROTOCOL = "grpc"
_LOG = logging.getLogger("renewal.serve")


class Context(Protocol):
    """What is used of ``grpc.aio.ServicerContext``, which has no types."""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]] | None:
        """Return what the client sent beside its message."""
        ...

    def time_remaining(self) -> float | None:
        """Return the seconds until the client's deadline; None where it has none."""
        ...

    def set_trailing_metadata(self, metadata: Trailers) -> None:
        """Say what is sent after the answer."""
        ...

    async def abort(
        self, code: Any, details: str = "", trailing_metadata: Trailers = ()
    ) -> NoReturn:
        """End the call with a status, by an exception."""
        ...


Verb = Callable[[bytes, Context], Awaitable[bytes]]
Streaming = Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]


class Call:
    """A call while it is answered; a context manager that counts it.

    Parameters
    ----------
    works : Works
        Counts it, and says who may call.
    """

    __slots__ = ("_model", "_works")

    def __init__(self, works: Works) -> None:
        self._works = works
        self._model = ""

    def __enter__(self) -> Self:
        """Count a call that has come."""
        self._works.counters.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Count it as over; one that was cancelled, as a client that left."""
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self._works.counters.gone()
        self._works.counters.close()

    def asks(self, context: Context, need: Need | None, model: str | None) -> None:
        """Say what it wants of which model.

        Raises
        ------
        Refused, Unavailable
            Where its token does not allow it.
        """
        self._model = self._works.known(model)
        guard = self._works.guard
        if need is None or guard.is_open:
            return
        error = guard.check(headers_of(context.invocation_metadata() or ()), need, model or None)
        if error is not None:
            raise error

    def answered(self, outcome: Outcome | None = None) -> None:
        """Count it as answered."""
        self._works.counters.answered(OK, PROTOCOL, outcome, model=self._model)

    def refused(self, error: Exception) -> tuple[StatusCode, str, Trailers]:
        """Count it as refused or failed; return what its client is told."""
        if isinstance(error, RenewalError):
            self._works.counters.answered(status_of(error), PROTOCOL, model=self._model)
            return code_of(error), details_of(error), trailers_of(error)
        _LOG.error("call failed protocol=grpc model=%s", self._model, exc_info=error)
        self._works.counters.answered(FAILED, PROTOCOL, model=self._model)
        return StatusCode.INTERNAL, f"internal error: {type(error).__name__}", ()


def page_verb(works: Works, name: str, kind: Any, page: Page) -> Verb:
    """Return what answers a verb that is no prediction.

    Parameters
    ----------
    works : Works
        What the page looks at.
    name : str
        Of the verb: says what its caller needs.
    kind : message class
        Of its request.
    page : callable
        Answers it.
    """
    need = scope_of_call(name)

    async def verb(data: bytes, context: Context) -> bytes:
        with Call(works) as call:
            try:
                asked = parse(data, kind)
                call.asks(context, need, model_of(asked))
                came = page(works, asked)
                message = await came if asyncio.iscoroutine(came) else came
                answer: bytes = message.SerializeToString()
                call.answered()
            except Exception as error:  # noqa: BLE001  # the request border: the worker lives on
                told = call.refused(error)
            else:
                return answer
            return await context.abort(*told)

    return verb


def model_of(asked: Any) -> str | None:
    """Return the model that a request names; KServe writes it where Triton has a repository."""
    for field in ("name", "model_name", "repository_name"):
        found: str = getattr(asked, field, "")
        if found:
            return found
    return None
