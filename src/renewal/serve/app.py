"""The application: a bare ASGI callable that knows the paths of the protocol.

::

    GET  /v2 · /v2/health/live · /v2/health/ready · /v2/models
    GET  /v2/models/{m}[/versions/{v}][/ready]
    POST /v2/models/{m}[/versions/{v}]/infer
    POST /v2/models/{m}/feedback · /feedback
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from time import perf_counter

import pyarrow as pa

from renewal.core.clock import to_us
from renewal.core.errors import Invalid, NotFound, RenewalError
from renewal.core.spec import ModelSpec
from renewal.serve.answer import Answer, answer_request
from renewal.serve.feedback import (
    LabelEntry,
    check_kind,
    label_tables,
    read_feedback,
    request_ids,
    take_labels,
)
from renewal.serve.health import health_reply
from renewal.serve.http import (
    FAILED,
    MISSING,
    OK,
    TOO_LARGE,
    WRONG_METHOD,
    GoneError,
    Receive,
    Reply,
    Scope,
    Send,
    TooLargeError,
    error_reply,
    json_reply,
    read_body,
    reply_to,
    send_reply,
)
from renewal.serve.shadow import ShadowJob
from renewal.serve.slots import Generation, Slot
from renewal.serve.works import Works

_LOG = logging.getLogger("renewal.serve")
_VERSION, _PREDICTION_ID = b"x-renewal-version", b"x-renewal-prediction-id"


@dataclass(frozen=True, slots=True)
class _Computed:
    """What the pool hands back: an answer, and a lease for the shadow where it has work."""

    spec: ModelSpec
    answer: Answer
    shadow_of: Generation | None


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
            parts = tuple(scope["path"].strip("/").split("/"))
            match parts:
                case ("v2", "models", model, "infer"):
                    await self._infer(scope, receive, send, model, None)
                case ("v2", "models", model, "versions", version, "infer"):
                    await self._infer(scope, receive, send, model, version)
                case _:
                    reply = await self._guarded(self._reply(parts, scope, receive), scope)
                    await self._send(send, reply)
        except GoneError:
            works.counters.gone()
        finally:
            works.counters.close()

    async def _send(self, send: Send, reply: Reply) -> None:
        self._works.counters.answered(reply.status)
        await send_reply(send, reply, is_last=self._works.is_draining)

    async def _guarded(self, work: Awaitable[Reply], scope: Scope) -> Reply:
        """Turn errors into replies: the request border."""
        try:
            return await work
        except GoneError:
            raise
        except RenewalError as error:
            return reply_to(error)
        except TooLargeError:
            limit = self._works.options.max_body_bytes
            return error_reply(
                TOO_LARGE, f"the body is larger than {limit} bytes: send it in parts"
            )
        except Exception as error:  # noqa: BLE001  # the request border: the worker lives on
            _LOG.exception("request failed path=%s", scope["path"])
            return error_reply(FAILED, f"internal error: {type(error).__name__}")

    async def _reply(self, parts: tuple[str, ...], scope: Scope, receive: Receive) -> Reply:
        """Answer everything but infer."""
        posts = parts == ("feedback",) or (
            parts[:2] == ("v2", "models") and parts[3:] == ("feedback",)
        )
        reply: Reply | None
        if posts:
            if scope["method"] != "POST":
                return _wrong_method("POST")
            return await self._feedback(scope, receive, parts[2] if len(parts) > 1 else None)
        reply = health_reply(self._works, parts) if parts[:1] == ("v2",) else None
        if reply is None:
            return error_reply(MISSING, f"no such path: {scope['path']}")
        return reply if scope["method"] in {"GET", "HEAD"} else _wrong_method("GET")

    async def _infer(
        self, scope: Scope, receive: Receive, send: Send, model: str, version: str | None
    ) -> None:
        if scope["method"] != "POST":
            await self._send(send, _wrong_method("POST"))
            return
        computed: list[_Computed] = []
        reply = await self._guarded(self._answered(scope, receive, model, version, computed), scope)
        try:
            await self._send(send, reply)
        finally:
            for each in computed:
                if each.shadow_of is not None:
                    job = ShadowJob(each.spec, each.shadow_of, each.answer.served)
                    self._works.shadow.offer(job)

    async def _answered(
        self,
        scope: Scope,
        receive: Receive,
        model: str,
        version: str | None,
        computed: list[_Computed],
    ) -> Reply:
        works = self._works
        slot = self._works.slot(model)
        body = await read_body(scope, receive, works.options.max_body_bytes)
        found = await asyncio.get_running_loop().run_in_executor(
            works.pool, self._compute, slot, body, version, perf_counter()
        )
        computed.append(found)
        answer = found.answer
        works.counters.scored(model, answer.served)
        if works.options.durability == "fsync":
            await self._log_durably(slot.spec, answer)
        else:
            works.log.add(slot.spec, answer.served)
        if answer.status != OK:
            return Reply(answer.status, answer.body)
        prediction_id = answer.served.prediction_id.encode()
        headers = {_VERSION: answer.version.encode(), _PREDICTION_ID: prediction_id}
        return Reply(OK, answer.body, headers)

    def _compute(self, slot: Slot, body: bytes, version: str | None, started_s: float) -> _Computed:
        """Answer under a lease; runs in the pool, and ends its lease even when nobody waits."""
        with slot.lease() as generation:
            answer = answer_request(
                slot.spec,
                generation,
                body,
                pinned=version,
                now_us=to_us(self._works.clock.now()),
                started_s=started_s,
            )
            if slot.sample is None:
                slot.sample = answer.served.features.take([0])
            has_shadow = bool(generation.plan.shadow) and answer.status == OK
            held = generation if has_shadow and generation.enter() else None
            return _Computed(slot.spec, answer, held)

    async def _log_durably(self, spec: ModelSpec, answer: Answer) -> None:
        """Wait until the log entry is on disk; an answer that is not must not leave."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()

        def done(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_resolve, written, error)

        self._works.log.add(spec, answer.served, done)
        await written

    async def _feedback(self, scope: Scope, receive: Receive, model: str | None) -> Reply:
        works = self._works
        body = await read_body(scope, receive, works.options.max_body_bytes)
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


def _resolve(written: asyncio.Future[None], error: BaseException | None) -> None:
    if written.done():
        return  # the client left meanwhile
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)


def _wrong_method(allowed: str) -> Reply:
    return error_reply(WRONG_METHOD, f"use {allowed} on this path", allow=allowed)
