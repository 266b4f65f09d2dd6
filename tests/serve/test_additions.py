"""Additions to one graph, chosen by each request's URL: one session, each its own answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest, Version
from renewal.models.adapters import adapter_for, stored
from renewal.models.onnx_lora_model import lora_model
from renewal.models.onnx_model import OnnxModel
from renewal.registry.registry import Move

from .conftest import COLUMNS, Client, Home

SIGNATURE = Signature(tuple(Field(name, "float") for name in COLUMNS))


def base_of() -> OnnxModel:
    """Return a linear model whose weights a run may override."""
    inputs = [
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 3]),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 1]),
    ]
    made = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "w"], ["y"])],
        "graph",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.zeros((3, 1), np.float32), "w")],
    )
    return OnnxModel.read(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    )


def registered(home: Home, estimator: Any) -> Version:
    adapter = adapter_for(estimator, who="test")
    put = stored(adapter, estimator, home.store)
    manifest = Manifest(
        model="flights",
        task="regression",
        adapter=adapter.name,
        artifact=put.artifact,
        artifact_bytes=put.artifact_bytes,
        parts=put.parts,
        signature=SIGNATURE,
        classes=(),
        strategy="register",
        environment=adapter.environment(),
    )
    return home.registry.add_version(manifest)


def ask(client: Client, path: str, row: list[float]) -> float:
    inputs = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
        for name, value in zip(COLUMNS, row, strict=True)
    ]
    answer = client.send("POST", f"/v2/models/flights{path}/infer", {"inputs": inputs})
    assert answer.status == 200, answer.body
    return float(answer.body["outputs"][0]["data"][0])


def test_a_request_chooses_its_addition(home: Home) -> None:
    """Broken when a version's addition is another's, or stays active for the next request."""
    home.declare(task="regression")
    base = base_of()
    parent = registered(home, base)
    weights = [np.full((3, 1), each, np.float32) for each in (1.0, -2.0)]
    tuned = [registered(home, lora_model(base, {"w": each})) for each in weights]
    home.steady(parent)
    for name, version in zip(("north", "south"), tuned, strict=True):
        home.registry.move("flights", Move(name, None, version.id), who="test", why="a region")
    client = home.client(home.start())
    row = [1.0, 2.0, 3.0]
    for _ in range(3):
        assert ask(client, "", row) == 0.0
        for version, factor in zip(tuned, (1.0, -2.0), strict=True):
            assert ask(client, f"/versions/{version.number}", row) == 6.0 * factor
