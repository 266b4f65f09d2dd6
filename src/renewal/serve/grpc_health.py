"""gRPC's own health service: what Kubernetes and load balancers ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from renewal.core.errors import Invalid, NotFound
from renewal.serve.grpc_calls import Context, Verb, page_verb
from renewal.serve.grpc_codec import parse
from renewal.serve.grpc_messages import HEALTH, INFERENCE, verb_messages
from renewal.serve.grpc_status import code_of, details_of
from renewal.serve.works import Works

_Request, _Response = verb_messages(HEALTH)["Check"]
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
_STEP_S = 0.1


class Health:
    """Says whether the server takes requests, by the same rule as ``/v2/health/ready``.

    Parameters
    ----------
    works : Works
        Knows it.

    Notes
    -----
    It asks for no token: whoever asks this has none.
    """

    def __init__(self, works: Works) -> None:
        self._works = works
        self._is_over = False

    def end(self) -> None:
        """End every watch, once it has told the newest state."""
        self._is_over = True

    def check(self) -> Verb:
        """Return what answers ``Check``."""

        def page(_works: Works, asked: Any) -> Any:
            status = self._status(asked.service)
            if status == _SERVICE_UNKNOWN:
                raise NotFound(
                    "health",
                    needs=f"the service '', {INFERENCE!r} or {HEALTH!r}",
                    came=repr(asked.service),
                    todo="Ask for '', which is the whole server.",
                )
            return _Response(status=status)

        return page_verb(self._works, "Check", _Request, page)

    async def watch(self, data: bytes, context: Context) -> AsyncIterator[bytes]:
        """Answer ``Watch``: the state now, and each time that it changes."""
        try:
            service: str = parse(data, _Request).service
        except Invalid as error:
            await context.abort(code_of(error), details_of(error))
        told = 0
        while True:
            # Asked first: what turned since then is told before the watch ends.
            is_over = self._is_over
            status = self._status(service)
            if status != told:
                told = status
                answer: bytes = _Response(status=status).SerializeToString()
                yield answer
            if is_over:
                return
            await asyncio.sleep(_STEP_S)

    def _status(self, service: str) -> int:
        if service not in {"", INFERENCE, HEALTH}:
            return _SERVICE_UNKNOWN
        is_ready = self._works.follower.is_ready and not self._works.is_draining
        return _SERVING if is_ready else _NOT_SERVING
