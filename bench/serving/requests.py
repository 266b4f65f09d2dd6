"""Requests as bytes, in the protocols of ours and of the peers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_COLUMNS = 30
COLUMNS = tuple(f"c{at}" for at in range(N_COLUMNS))
_DATATYPES = {"float64": "FP64", "float32": "FP32"}

Rows = NDArray[Any]


def rows(n_requests: int, n_rows: int = 1, dtype: str = "float64", seed: int = 1) -> list[Rows]:
    """Return the rows of some requests; four decimals, as a client would write them."""
    values = np.random.default_rng(seed).normal(size=(n_requests, n_rows, N_COLUMNS)).round(4)
    return list(values.astype(dtype))


def post(path: str, body: bytes, kind: str = "application/json", **headers: Any) -> bytes:
    """Return a whole request; header names are written with ``_``."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def v2_json(model: str, values: Rows, name: str = "rows", **parameters: Any) -> bytes:
    """Return an Open Inference Protocol request, one tensor of all columns, in JSON."""
    return post(f"/v2/models/{model}/infer", v2_body(values, name, **parameters))


def v2_body(values: Rows, name: str = "rows", **parameters: Any) -> bytes:
    """Return the body of such a request."""
    tensor = {
        "name": name,
        "shape": list(values.shape),
        "datatype": _DATATYPES[values.dtype.name],
        "data": [float(f"{each:.4f}") for each in values.ravel()],
    }
    body = {"id": "1", "inputs": [tensor]} | ({"parameters": parameters} if parameters else {})
    return json.dumps(body, separators=(",", ":")).encode()


def v2_binary(model: str, values: Rows, name: str = "rows") -> bytes:
    """Return the same in the binary tensor extension, outputs wanted in binary form as well."""
    raw = np.ascontiguousarray(values).tobytes()
    tensor = {
        "name": name,
        "shape": list(values.shape),
        "datatype": _DATATYPES[values.dtype.name],
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps(
        {"id": "1", "inputs": [tensor], "parameters": {"binary_data_output": True}},
        separators=(",", ":"),
    ).encode()
    return post(
        f"/v2/models/{model}/infer",
        head + raw,
        "application/octet-stream",
        Inference_Header_Content_Length=len(head),
    )


def invocations(values: Rows) -> bytes:
    """Return a request of MLflow's scoring protocol, its fastest form: a plain tensor."""
    return post("/invocations", json.dumps({"inputs": values.tolist()}).encode())
