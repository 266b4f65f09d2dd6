"""The least that can answer a V2 request: what ours is measured against. Run in a process.

uvicorn with httptools and uvloop, typed structs of msgspec, the same graph in ONNX Runtime on
one thread; no plan, no lease, no log, no metrics, no checks. It answers what ours answers:
label and probability. ``echo`` reads a body and answers as many bytes, without any model: the
floor of HTTP itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvicorn

from bench.serving.homes import session_of

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Answer = Callable[[bytes], bytes]


class Tensor(msgspec.Struct):
    """An input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(msgspec.Struct):
    """The body of a request."""

    inputs: list[Tensor]
    id: str | None = None


_DECODER = msgspec.json.Decoder(Request)
_ENCODER = msgspec.json.Encoder()


def predicting(graph: bytes) -> Answer:
    """Return a function from a V2 body to the body of its answer."""
    session = session_of(graph)
    taken = session.get_inputs()[0]
    width = np.float64 if taken.type == "tensor(double)" else np.float32
    name, outputs = taken.name, [session.get_outputs()[0].name]
    written = "FP64" if width is np.float64 else "FP32"

    def answer(body: bytes) -> bytes:
        request = _DECODER.decode(body)
        tensor = request.inputs[0]
        (scores,) = session.run(outputs, {name: np.array(tensor.data, width).reshape(tensor.shape)})
        labels = scores.argmax(axis=1)
        return _ENCODER.encode(
            {
                "model_name": "stripped",
                "model_version": "1",
                "id": request.id,
                "outputs": [
                    {
                        "name": "label",
                        "datatype": "INT64",
                        "shape": [len(labels)],
                        "data": labels.tolist(),
                    },
                    {
                        "name": "probability",
                        "datatype": written,
                        "shape": list(scores.shape),
                        "data": scores.ravel().tolist(),
                    },
                ],
            }
        )

    return answer


def application(answer: Answer) -> Any:
    """Return the handler: body in, body out, nothing else."""

    async def handle(_scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        found = answer(body) if body else b""
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(found)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found})

    return handle


def main() -> None:
    """Serve a graph, or an echo, until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--graph", type=Path, help="without it: an echo")
    parser.add_argument("--n-bytes", type=int, default=200, help="what the echo answers")
    asked = parser.parse_args()
    echoed = b"x" * asked.n_bytes
    answer = predicting(asked.graph.read_bytes()) if asked.graph else lambda _body: echoed
    uvicorn.run(
        application(answer),
        port=asked.port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
    )


if __name__ == "__main__":
    main()
