"""The application: a bare ASGI callable that knows the fronts and pages of the server.

Prediction requests are mostly answered before they come here (`renewal.serve.lane`); what
does come is large, slow, or wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from urllib.parse import parse_qsl, unquote

import pyarrow as pa

from renewal.core.clock import to_us
from renewal.core.errors import Invalid, NotFound, RenewalError
from renewal.serve.asking import demand_entry, query_of, refusal, too_slow
from renewal.serve.feedback import (
    LabelEntry,
    check_kind,
    label_tables,
    read_feedback,
    request_ids,
    take_labels,
)
from renewal.serve.front import Front, Request, Target
from renewal.serve.guard import NOT_YET
from renewal.serve.http import (
    BAD,
    MISSING,
    GoneError,
    Receive,
    Reply,
    Scope,
    Send,
    error_reply,
    json_reply,
    read_body,
    send_reply,
    wrong_method,
)
from renewal.serve.needs import scope_of
from renewal.serve.outcome import Outcome
from renewal.serve.query import Query
from renewal.serve.routes import PAGES, front_of
from renewal.serve.works import Works

_LARGE_BYTES = 1024 * 1024


class App:
    """Answers HTTP requests by the slots.

    Parameters
    ----------
    works : Works
        What it works with.
    """

    def __init__(self, works: Works) -> None:
        self._works = works

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong has the protocol's error form."""
        works = self._works
        works.counters.open()
        try:
            request = _request_of(scope)
            found = front_of(request.path)
            if found is None:
                reply = await self._guarded(self._page(request, scope, receive), request)
                works.counters.answered(reply.status)
            else:
                reply = await self._predicted(request, scope, receive, *found)
            # Who was not asked for its body, and is refused, may send it or not: nobody can tell
            # where its next request begins.
            is_unasked = reply.status >= BAD and request.header(b"expect") is not None
            await send_reply(send, reply, is_last=works.is_draining or is_unasked)
        except GoneError:
            works.counters.gone()
        finally:
            works.counters.close()

    async def _guarded(
        self, work: Awaitable[Reply], request: Request, front: Front | None = None
    ) -> Reply:
        """Turn errors into replies: the request border."""
        try:
            return await work
        except GoneError:
            raise
        except Exception as error:  # noqa: BLE001  # the request border: the worker lives on
            return refusal(request, error, front)

    async def _page(self, request: Request, scope: Scope, receive: Receive) -> Reply:
        """Answer everything that is no prediction."""
        path = request.path
        need = scope_of(request.method, path)
        if need is not None:
            demand_entry(self._works, request, need, _model_in(path))
        if path == ("feedback",) or (path[:2] == ("v2", "models") and path[3:] == ("feedback",)):
            if request.method != "POST":
                return wrong_method("POST")
            return await self._feedback(scope, receive, path[2] if len(path) > 1 else None)
        if request.method not in {"GET", "HEAD"}:
            request.body = await self._body(scope, receive)
        for page in PAGES:
            came = page(self._works, request)
            if came is not None:
                return came if isinstance(came, Reply) else await came
        return error_reply(MISSING, f"no such path: {scope['path']}")

    async def _predicted(
        self, request: Request, scope: Scope, receive: Receive, front: Front, target: Target
    ) -> Reply:
        works = self._works
        outcome: Outcome | None = None

        async def answered() -> Reply:
            nonlocal outcome
            if request.method != "POST":
                return wrong_method("POST")
            demand_entry(works, request, "predict", target.model or NOT_YET)
            if target.model is not None:
                works.slot(target.model)  # before the body of an unknown model is read
            request.body = await self._body(scope, receive)
            if len(request.body) > _LARGE_BYTES or request.header(b"content-encoding"):
                # What takes long is done beside the loop, where it lets go of the interpreter.
                query = await asyncio.to_thread(query_of, works, front, target, request)
            else:
                query = query_of(works, front, target, request)
            outcome = await self._unless_gone(query, receive)
            return front.write(outcome, request, query)

        reply = await self._guarded(answered(), request, front)
        model = works.known(target.model)
        works.counters.answered(reply.status, front.protocol, outcome, model=model)
        return reply

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read a body; one that trickles in has no more time than a request."""
        options = self._works.options
        try:
            async with asyncio.timeout(options.timeout_s):
                return await read_body(scope, receive, options.max_body_bytes)
        except TimeoutError as error:
            raise too_slow(options.timeout_s) from error

    async def _unless_gone(self, query: Query, receive: Receive) -> Outcome:
        """Wait for an outcome; a client that leaves meanwhile leaves the batch, too."""
        answer = asyncio.ensure_future(self._works.inference.answer(query))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise GoneError
        finally:
            for each in (answer, gone):
                each.cancel()

    async def _feedback(self, scope: Scope, receive: Receive, model: str | None) -> Reply:
        works = self._works
        body = await self._body(scope, receive)
        named, entries = read_feedback(body)
        tables = label_tables(entries, to_us(works.clock.now()))
        refused: RenewalError | None = None
        for name in self._models_of(model or named, entries):
            try:
                return await self._take(name, entries, tables)
            except (NotFound, Invalid) as error:
                # The ids may be of another model's predictions. What is wrong with a label
                # is worth more to the caller than that one of the others does not know it.
                refused = error if isinstance(error, Invalid) else refused or error
        assert refused is not None  # there is at least one model
        raise refused

    def _models_of(self, named: str | None, entries: Sequence[LabelEntry]) -> list[str]:
        """Return the models whose labels these may be, the only one or the named one first."""
        if named is not None:
            return [self._works.slot(named).spec.name]
        models = sorted(self._works.follower.slots)
        if len(models) == 1 or (models and all(entry.key is None for entry in entries)):
            return models
        raise Invalid(
            "feedback",
            needs="the model of labels that are given by key",
            came=f"none; there are {', '.join(models) or 'none here'}",
            todo="Post to /v2/models/NAME/feedback, or add `model` to the body.",
        )

    async def _take(
        self, model: str, entries: Sequence[LabelEntry], tables: Sequence[pa.Table]
    ) -> Reply:
        """Hand labels to the feed of a model, one writer at a time."""
        works = self._works
        loop = asyncio.get_running_loop()
        async with works.feed_locks.setdefault(model, asyncio.Lock()):
            taken = await loop.run_in_executor(
                works.feedback_pool, self._write_labels, model, entries, tables
            )
        works.counters.labelled(model, taken["n_labels"])
        return json_reply(taken)

    def _write_labels(
        self, model: str, entries: Sequence[LabelEntry], tables: Sequence[pa.Table]
    ) -> dict[str, int]:
        generation = self._works.slot(model).generation
        if generation is not None:
            check_kind(entries, generation.first.version.manifest.classes)
        if self._works.log.holds(model, request_ids(entries)):
            # The feed finds a prediction in its tables or in the segments, not in memory.
            self._works.log.flush()
        return take_labels(self._works.feeds(model), tables)


def _model_in(path: tuple[str, ...]) -> str | None:
    """Return the model that a path names, which is the part after ``models``."""
    if "models" not in path[1:3]:
        return None
    at = path.index("models", 1) + 1
    return path[at].partition(":")[0] if at < len(path) else None


def _request_of(scope: Scope) -> Request:
    # Split first: an encoded slash is part of a name.
    path = tuple(unquote(part) for part in scope["raw_path"].decode().split("/") if part)
    text = scope.get("query_string", b"")
    query = dict(parse_qsl(text.decode("latin-1"))) if text else {}
    return Request(scope["method"], path, scope["headers"], query=query)
