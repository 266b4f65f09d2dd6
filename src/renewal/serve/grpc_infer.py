"""ModelInfer and ModelStreamInfer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import perf_counter
from typing import Any

from renewal.serve.grpc_calls import Call, Context
from renewal.serve.grpc_codec import (
    ModelInferRequest,
    infer_request,
    infer_response,
    parse,
)
from renewal.serve.grpc_messages import message_class
from renewal.serve.grpc_status import trailers_with
from renewal.serve.oip_front import read_parameters
from renewal.serve.oip_rows import OipRows
from renewal.serve.outcome import Outcome
from renewal.serve.query import Query
from renewal.serve.works import Works

_Streamed = message_class("ModelStreamInferResponse")
_MOST_AHEAD = 64
_EMPTY_FINAL, _FINAL = "triton_enable_empty_final_response", "triton_final_response"

Metadata = Sequence[tuple[str, str | bytes]]


class Infer:
    """Answers prediction calls by the slots of a server.

    Parameters
    ----------
    works : Works
        What it works with.
    """

    def __init__(self, works: Works) -> None:
        self._works = works
        self._sticky = works.options.sticky_header.lower()

    async def one(self, data: bytes, context: Context) -> bytes:
        """Answer ``ModelInfer``.

        Notes
        -----
        A client that cancels, or whose deadline passes, cancels this coroutine, and so leaves
        the batch.
        """
        with Call(self._works) as call:
            try:
                outcome, message = await self._answer(data, context, call)
                context.set_trailing_metadata(trailers_with(outcome))
                answer: bytes = message.SerializeToString()
                call.answered(outcome)
            except Exception as error:  # noqa: BLE001  # the request border: the worker lives on
                told = call.refused(error)
            else:
                return answer
            return await context.abort(*told)

    async def stream(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        """Answer ``ModelStreamInfer``: one answer a request, in their order.

        A request that is wrong gets its error as its answer; the stream goes on.

        Notes
        -----
        Up to 64 requests of a stream are under way at once, so that they meet in batches.
        """
        room = asyncio.Semaphore(_MOST_AHEAD)
        begun: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()

        async def begin() -> None:
            try:
                async for data in requests:
                    await room.acquire()
                    begun.put_nowait(asyncio.create_task(self._streamed(data, context)))
            finally:
                begun.put_nowait(None)

        beginning = asyncio.create_task(begin())
        try:
            while (task := await begun.get()) is not None:
                yield await task
                room.release()
            await beginning
        finally:
            beginning.cancel()
            while not begun.empty():
                left = begun.get_nowait()
                if left is not None:
                    left.cancel()

    async def _streamed(self, data: bytes, context: Context) -> bytes:
        with Call(self._works) as call:
            try:
                outcome, message = await self._answer(data, context, call)
                streamed = _Streamed(infer_response=message)
                call.answered(outcome)
            except Exception as error:  # noqa: BLE001  # the request border: the stream lives on
                streamed = _Streamed(error_message=call.refused(error)[1])
            answer: bytes = streamed.SerializeToString()
            return answer

    async def _answer(self, data: bytes, context: Context, call: Call) -> tuple[Outcome, Any]:
        started_s = perf_counter()
        message = parse(data, ModelInferRequest)
        model: str = message.model_name
        call.asks(context, "predict", model)
        request, values = infer_request(message)
        source = OipRows(request, b"", values, request.outputs)
        query = Query(model, source, message.model_version or None, started_s=started_s)
        query.request_id = request.id
        if request.outputs:
            query.wanted = [each.name for each in request.outputs]
        wants_final = False
        if request.parameters:
            wants_final = request.parameters.pop(_EMPTY_FINAL, None) is True
            read_parameters(query, source)
        query.timeout_s = _sooner(query.timeout_s, context.time_remaining())
        query.sticky = _value(context.invocation_metadata() or (), self._sticky)
        outcome = await self._works.inference.answer(query)
        answer = infer_response(
            outcome, request.outputs, is_raw=bool(message.raw_input_contents) or source.all_binary
        )
        if wants_final:
            answer.parameters[_FINAL].bool_param = True
        return outcome, answer


def _sooner(one_s: float | None, other_s: float | None) -> float | None:
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)


def _value(metadata: Metadata, name: str) -> str | None:
    """Return the value of a header; None where it is not there, or empty."""
    for key, value in metadata:
        if key == name:
            text = value if isinstance(value, str) else value.decode("latin-1")
            return text or None
    return None
