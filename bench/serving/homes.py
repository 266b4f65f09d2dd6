"""Homes to serve: the two models on 30 columns, and graphs as large as one likes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import renewal
from bench.serving.requests import COLUMNS, N_COLUMNS
from renewal.evaluate.compiled_record import read_form
from renewal.models.onnx_convert import compile_key
from renewal.models.onnx_model import OnnxModel

MODELS = ("logistic", "forest")
_N_WIDE = 64


def training_data(n_rows: int = 5000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what all servers' models are fitted on."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, N_COLUMNS))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=n_rows) > 0).astype(np.int64)
    return x, y


def estimator(name: str, n_trees: int = 100) -> Any:
    """Return one of the two, unfitted."""
    if name == "logistic":
        return LogisticRegression()
    return RandomForestClassifier(n_trees, random_state=0, n_jobs=1)


def write_policy(root: Path, **serve: Any) -> None:
    """Write how the server of a home serves."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in serve.items()]
    (root / "renewal.toml").write_text("\n".join(["[serve]", *lines, ""]), encoding="utf-8")


def make_home(
    root: Path, models: Sequence[str] = MODELS, n_trees: int = 100, n_rows: int = 5000
) -> dict[str, bytes]:
    """Train and compile the models in a home; return the graph that serves each.

    A model that is not served as a graph is told of, and missing in what is returned.
    """
    x, y = training_data(n_rows)
    table = {name: x[:, at] for at, name in enumerate(COLUMNS)} | {"y": y}
    table["row"] = np.arange(len(y))
    graphs = {}
    with renewal.open(root) as home:
        for name in models:
            model = home.model(name, task="binary", target="y", key="row")
            version = model.train(estimator(name, n_trees), table)
            found = model.compile()
            record = read_form(home.db, version.id, str(compile_key(version.manifest.adapter)))
            if record is None or record.graph is None:
                print(f"NOT COMPILED: {name} is served {found.form}: {found.reason}")
                continue
            graphs[name] = home.store.get(record.graph)
    return graphs


def session_of(graph: bytes) -> Any:
    """Return a session of one thread, as a server opens it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def input_dtype(graph: bytes) -> str:
    """Return the width of a graph's input."""
    kind = session_of(graph).get_inputs()[0].type
    return "float64" if kind == "tensor(double)" else "float32"


def large_graph(n_bytes: int, seed: int) -> OnnxModel:
    """Return a graph of random weights that is quick for its size.

    A row's first column chooses one line of a table that fills `n_bytes`; the line and the
    row together give a chance. So a prediction reads 256 bytes of it, and loading reads all.
    """
    n_lines = max(n_bytes // (4 * _N_WIDE), 1)
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((n_lines, _N_WIDE), dtype=np.float32)
    weights: dict[str, NDArray[Any]] = {
        "table": table,
        "mix": rng.standard_normal((N_COLUMNS, _N_WIDE), dtype=np.float32) / 8,
        "ends": rng.standard_normal((_N_WIDE, 2), dtype=np.float32) / 8,
        "scale": np.array(1000.0, np.float32),
        "first": np.array([0], np.int64),
        "lines": np.array(n_lines, np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["rows", "first"], ["column"], axis=1),
        node("Squeeze", ["column", "one"], ["values"]),
        node("Abs", ["values"], ["sizes"]),
        node("Mul", ["sizes", "scale"], ["scaled"]),
        node("Cast", ["scaled"], ["whole"], to=TensorProto.INT64),
        node("Mod", ["whole", "lines"], ["chosen"]),
        node("Gather", ["table", "chosen"], ["found"], axis=0),
        node("MatMul", ["rows", "mix"], ["mixed"]),
        node("Add", ["mixed", "found"], ["both"]),
        node("Tanh", ["both"], ["bent"]),
        node("MatMul", ["bent", "ends"], ["logits"]),
        node("Softmax", ["logits"], ["probability"], axis=1),
    ]
    weights["one"] = np.array([1], np.int64)
    return _model(nodes, weights, "large")


def dense_graph(n_bytes: int, seed: int) -> OnnxModel:
    """Return a network of one hidden matrix of `n_bytes`, of which a prediction reads all."""
    n_wide = max(round((n_bytes / 4) ** 0.5), 1)
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[Any]] = {
        "first": rng.standard_normal((N_COLUMNS, n_wide), dtype=np.float32) / 8,
        "hidden": rng.standard_normal((n_wide, n_wide), dtype=np.float32) / n_wide**0.5,
        "ends": rng.standard_normal((n_wide, 2), dtype=np.float32) / n_wide**0.5,
    }
    node = helper.make_node
    nodes = [
        node("MatMul", ["rows", "first"], ["mixed"]),
        node("Tanh", ["mixed"], ["bent"]),
        node("MatMul", ["bent", "hidden"], ["deep"]),
        node("Tanh", ["deep"], ["again"]),
        node("MatMul", ["again", "ends"], ["logits"]),
        node("Softmax", ["logits"], ["probability"], axis=1),
    ]
    return _model(nodes, weights, "dense")


def add_large(
    root: Path,
    sizes: Mapping[str, Sequence[int]],
    n_rows: int = 200,
    make: Callable[[int, int], OnnxModel] = large_graph,
) -> None:
    """Register versions of large models, the first of each its champion.

    Parameters
    ----------
    root : Path
        The home.
    sizes : mapping of str to sequence of int
        For each model the bytes of its versions' tables.
    n_rows : int
        Rows in the feed, by which versions warm up.
    make : callable, default `large_graph`
        From bytes and a seed to a graph.
    """
    x, y = training_data(n_rows)
    table = {name: x[:, at] for at, name in enumerate(COLUMNS)}
    with renewal.open(root) as home:
        for name, versions in sizes.items():
            model = home.model(name, task="binary", target="y")
            model.feed.append(table | {"y": y})
            for seed, n_bytes in enumerate(versions):
                model.register(make(n_bytes, seed), trained_on=table | {"y": y})


def _model(nodes: list[Any], weights: Mapping[str, NDArray[Any]], name: str) -> OnnxModel:
    """Return nodes from ``rows`` to ``probability`` with their weights as a model."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", N_COLUMNS])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return OnnxModel.read(model.SerializeToString(), classes=(0, 1), output="probability")
