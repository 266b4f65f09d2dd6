"""What KServe's own clients see of a server; runs in their environment, prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.infer_type import RequestedOutput

URL, ROWS, GRPC = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
COLUMNS = ("distance", "hour", "carrier_delay")
MATRIX = np.array(ROWS)


def request(
    model: str = "flights", *, binary: bool = False, columns: Any = COLUMNS, **more: Any
) -> InferRequest:
    """Return a request with one tensor for each column."""
    inputs = []
    for at, name in enumerate(columns):
        tensor = InferInput(name, [len(ROWS)], "FP64")
        tensor.set_data_from_numpy(MATRIX[:, at].copy(), binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model, inputs, **more)


def outputs(response: Any) -> dict[str, Any]:
    """Return what a V2 response holds."""
    return {
        "id": response.id,
        "model": response.model_name,
        # Over REST the client drops the model's version, but keeps the parameters.
        "version": response.model_version or response.parameters["version"],
        "outputs": {each.name: each.as_numpy().tolist() for each in response.outputs},
    }


async def failure(call: Awaitable[Any]) -> dict[str, Any]:
    """Return the client's own exception."""
    try:
        came = await call
    except httpx.HTTPStatusError as error:
        return {"status": error.response.status_code, "text": str(error)}
    except grpc.RpcError as error:
        return {"status": error.code().name, "text": error.details()}
    return {"came": str(came)}


async def v1() -> dict[str, Any]:
    """Speak KServe V1."""
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        objects = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
        headers: dict[str, str] = {}
        instances = await client.infer(
            URL, {"instances": objects}, "flights", response_headers=headers
        )
        return {
            "live": await client.is_server_live(URL),
            "ready": await client.is_model_ready(URL, "flights"),
            "instances": instances,
            "headers": {name: value for name, value in headers.items() if "renewal" in name},
            "lists": await client.infer(URL, {"instances": ROWS}, "flights"),
            "inputs": await client.infer(URL, {"inputs": ROWS}, "flights"),
            "version": await client.infer(URL, {"instances": ROWS}, "flights/versions/2"),
            "regression": await client.infer(URL, {"instances": ROWS}, "delays"),
            "unknown_ready": await failure(client.is_model_ready(URL, "nobody")),
            "unknown": await failure(client.infer(URL, {"instances": ROWS}, "nobody")),
            "wrong": await failure(client.infer(URL, {"instances": [[1]]}, "flights")),
            "explain": await failure(client.explain(URL, "flights", {"instances": ROWS})),
        }


async def v2() -> dict[str, Any]:
    """Speak the Open Inference Protocol over REST."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        wanted = request(request_id="mine", request_outputs=[RequestedOutput("label")])
        binary_out = request(binary=True, parameters={"binary_data_output": True})
        wrong = request(columns=("distance", "houur", "carrier_delay"))
        return {
            "live": await client.is_server_live(URL),
            "ready": await client.is_server_ready(URL),
            "model_ready": await client.is_model_ready(URL, "flights"),
            "unknown_ready": await client.is_model_ready(URL, "nobody"),
            "json": outputs(await client.infer(URL, request(), "flights")),
            "binary": outputs(await client.infer(URL, request(binary=True), "flights")),
            "binary_out": outputs(await client.infer(URL, binary_out, "flights")),
            "wanted": outputs(await client.infer(URL, wanted, "flights")),
            "version": outputs(await client.infer(URL, request(), "flights/versions/2")),
            "unknown": await failure(client.infer(URL, request(), "nobody")),
            "wrong": await failure(client.infer(URL, wrong, "flights")),
        }


async def over_grpc() -> dict[str, Any]:
    """Speak the Open Inference Protocol over gRPC."""
    async with InferenceGRPCClient(GRPC) as client:
        wrong = request(columns=("distance", "houur", "carrier_delay"))
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("flights"),
            "typed": outputs(await client.infer(request(request_id="mine"))),
            "raw": outputs(await client.infer(request(binary=True))),
            "version": outputs(await client.infer(request(model_version="2"))),
            "unknown": await failure(client.infer(request("nobody"))),
            "unknown_ready": await failure(client.is_model_ready("nobody")),
            "wrong": await failure(client.infer(wrong)),
        }


async def main() -> None:
    """Speak all of them."""
    said = {"v1": await v1(), "v2": await v2(), "grpc": await over_grpc()}
    print(json.dumps(said))  # noqa: T201  # what the tests read


asyncio.run(main())
