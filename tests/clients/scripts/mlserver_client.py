"""What MLServer's types, codecs and command line see of a server; prints JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, PandasCodec
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    Parameters,
    RequestInput,
    RequestOutput,
)

URL, ROWS = sys.argv[1], json.loads(sys.argv[2])
COLUMNS = ["distance", "hour", "carrier_delay"]
FLAT = [cell for row in ROWS for cell in row]
FRAME = pd.DataFrame(ROWS, columns=COLUMNS)


def fetch(path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a request; return its status and body."""
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(URL + path, body, headers)  # noqa: S310  # our own server
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310  # our own server
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def infer(request: InferenceRequest, path: str = "/v2/models/flights/infer") -> dict[str, Any]:
    """Send MLServer's request; read the answer by MLServer's types and codecs."""
    status, body = fetch(path, request.model_dump_json(exclude_none=True).encode())
    if status != 200:
        error = InferenceErrorResponse.model_validate_json(body)
        return {"status": status, "error": error.error}
    answer = InferenceResponse.model_validate_json(body)
    found = {each.name: NumpyCodec.decode_output(each).tolist() for each in answer.outputs}
    return {
        "id": answer.id,
        "version": answer.model_version,
        "parameters": answer.parameters.model_dump() if answer.parameters else {},
        "outputs": found,
    }


def started(*, binary: bool) -> tuple[Path, subprocess.Popen[str]]:
    """Start `mlserver infer` over a file with one request for each row."""
    name = "binary" if binary else "json"
    asked, answered = Path(f"{name}.jsonl"), Path(f"{name}-out.jsonl")
    requests = [PandasCodec.encode_request(FRAME.iloc[[at]]) for at in range(len(FRAME))]
    asked.write_text("".join(f"{each.model_dump_json(exclude_none=True)}\n" for each in requests))
    command: list[str | Path] = [
        Path(sys.executable).with_name("mlserver"), "infer", "-u", urlsplit(URL).netloc,
        "-m", "flights", "-i", asked, "-o", answered, "-s", "2", "-w", "2",
    ]  # fmt: skip
    if binary:
        command.append("-b")
    pipe = subprocess.PIPE
    return answered, subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def ended(answered: Path, command: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Return what a command has written, once it is done."""
    told, _ = command.communicate(timeout=60)
    if command.returncode:
        raise SystemExit(told)
    return [json.loads(line) for line in answered.read_text().splitlines()]


def main() -> None:
    """Ask in every form that MLServer's types can write."""
    commands = [started(binary=False), started(binary=True)]
    frame = PandasCodec.encode_request(FRAME)
    with_parameters = PandasCodec.encode_request(FRAME)
    with_parameters.id = "mine"
    with_parameters.parameters = Parameters(key=["a", "b", "c"])
    with_parameters.outputs = [RequestOutput(name="label")]
    wrong = InferenceRequest(
        inputs=[RequestInput(name="houur", shape=[1], datatype="FP64", data=[1.0])]
    )
    flat = InferenceRequest(
        inputs=[RequestInput(name="x", shape=[len(ROWS), 3], datatype="FP64", data=FLAT)]
    )
    said = {
        "server": MetadataServerResponse.model_validate_json(fetch("/v2")[1]).model_dump(),
        "model": MetadataModelResponse.model_validate_json(
            fetch("/v2/models/flights")[1]
        ).model_dump(),
        "frame": infer(frame),
        "parameters": infer(with_parameters),
        "matrix": infer(NumpyRequestCodec.encode_request(np.array(ROWS))),
        "flat": infer(flat),
        "version": infer(frame, "/v2/models/flights/versions/2/infer"),
        "unknown": infer(frame, "/v2/models/nobody/infer"),
        "wrong": infer(wrong),
        "command": ended(*commands[0]),
        "binary_command": ended(*commands[1]),
    }
    print(json.dumps(said))  # noqa: T201  # what the tests read


main()
