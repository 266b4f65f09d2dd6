"""Small graphs as forms, with rows to compress them on: what tests of ONNX techniques need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Signature
from renewal.data.rows import Rows
from renewal.models.onnx_model import OnnxModel
from renewal.models.task import Task

Array = NDArray[Any]


class GraphOf:
    """A graph in the making: nodes and weights, one line each.

    Parameters
    ----------
    seed : int, default 0
        Of the weights.
    opset : int, default 17
        Of the standard operators.

    Examples
    --------
    >>> graph = GraphOf()
    >>> made = graph.node("MatMul", "x", graph.weights(8, 3))
    >>> form = graph.form(made, shape=(8,), classes=("a", "b", "c"))
    >>> form.predict(rows_of(np.zeros((2, 8)))).round(3).tolist()
    [[0.333, 0.333, 0.333], [0.333, 0.333, 0.333]]
    """

    def __init__(self, *, seed: int = 0, opset: int = 17) -> None:
        self._rng = np.random.default_rng(seed)
        self._opset = opset
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def weights(self, *shape: int, value: Array | None = None, name: str | None = None) -> str:
        """Add an initializer, of random numbers where none are given; return its name."""
        name = name or f"weights_{len(self._tensors)}"
        scale = 1.0 / np.sqrt(max(1, int(np.prod(shape)) // max(shape or (1,))))
        numbers = self._rng.normal(scale=scale, size=shape) if value is None else value
        if np.issubdtype(np.asarray(numbers).dtype, np.floating):
            numbers = np.asarray(numbers, np.float32)
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(numbers), name))
        return name

    def node(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return the name of the output."""
        output = f"{op.lower()}_{len(self._nodes)}"
        domain = attributes.pop("domain", "")
        self._nodes.append(
            helper.make_node(op, inputs, [output], name=name, domain=domain, **attributes)
        )
        return output

    def proto(self, output: str, *, shape: Sequence[int], n_scores: int) -> Any:
        """Return the graph, from the input ``x`` of rows of a shape to an output."""
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
        target = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", n_scores])
        graph = helper.make_graph(self._nodes, "graph", [source], [target], self._tensors)
        opsets = [helper.make_opsetid("", self._opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def form(self, output: str, *, shape: Sequence[int], classes: tuple[Any, ...] = ()) -> Form:
        """Return the graph as a form; its output are logits where there are classes."""
        proto = self.proto(output, shape=shape, n_scores=len(classes) or 1)
        return form_of(proto, shape=shape, classes=classes)


def form_of(proto: Any, *, shape: Sequence[int], classes: tuple[Any, ...] = ()) -> Form:
    """Return a graph over rows of a shape as a form; its output are logits or values."""
    graph = proto if isinstance(proto, bytes) else proto.SerializeToString(deterministic=True)
    output = onnx.load_model_from_string(graph).graph.output[0].name
    model = OnnxModel(graph, classes, output, is_logits=bool(classes))
    field = (
        [Field("x", "tensor", shape=tuple(shape))]
        if len(shape) > 1
        else [Field(f"x{at}", "float") for at in range(shape[0])]
    )
    return Form("onnx", model, Signature(tuple(field)), classes)


def mlp_form(*, n_features: int = 20, width: int = 64, depth: int = 3, seed: int = 0) -> Form:
    """Return dense layers with biases and three classes."""
    graph = GraphOf(seed=seed)
    last, size = "x", n_features
    for _ in range(depth - 1):
        last = graph.node("Gemm", last, graph.weights(width, size), graph.weights(width), transB=1)
        last, size = graph.node("Relu", last), width
    made = graph.node("Gemm", last, graph.weights(size, 3), graph.weights(3))
    return graph.form(made, shape=(n_features,), classes=("a", "b", "c"))


def cnn_form(*, width: int = 16, seed: int = 0) -> Form:
    """Return convolutions with batch normalization, a residual sum and three classes."""
    graph = GraphOf(seed=seed)
    first = graph.node("Relu", _normed(graph, "x", 3, width))
    second = graph.node("Relu", _normed(graph, first, width, width))
    third = graph.node("Relu", graph.node("Add", _normed(graph, second, width, width), first))
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", third))
    made = graph.node("Gemm", pooled, graph.weights(width, 3), graph.weights(3))
    return graph.form(made, shape=(3, 8, 8), classes=("a", "b", "c"))


def attention_form(*, width: int = 32, seed: int = 0) -> Form:
    """Return one block of attention over 6 places, a dense head, one value."""
    graph = GraphOf(seed=seed)
    three = [graph.node("MatMul", "x", graph.weights(width, width)) for _ in range(3)]
    turned = graph.node("Transpose", three[1], perm=[0, 2, 1])
    shares = graph.node("Softmax", graph.node("MatMul", three[0], turned), axis=-1)
    mixed = graph.node("Add", graph.node("MatMul", shares, three[2]), "x")
    mean = graph.node("ReduceMean", mixed, axes=[1], keepdims=0)
    made = graph.node("MatMul", mean, graph.weights(width, 1))
    return graph.form(made, shape=(6, width))


def rows_of(values: Array) -> pa.Table:
    """Return features: one column of tensors, or one of numbers for each column."""
    values = np.ascontiguousarray(values, np.float32)
    if values.ndim == 2:
        return pa.table(
            {f"x{at}": values[:, at].astype(np.float64) for at in range(values.shape[1])}
        )
    return pa.table({"x": pa.FixedShapeTensorArray.from_numpy_ndarray(values)})


def material_of(form: Form, n_rows: int, *, seed: int = 1, values: Array | None = None) -> Material:
    """Return random rows that the form itself has labelled."""
    shape = form.signature.fields[0].shape or (len(form.signature.fields),)
    if values is None:
        values = np.random.default_rng(seed).normal(size=(n_rows, *shape))
    features = rows_of(values) if n_rows else rows_of(np.zeros((1, *shape))).slice(0, 0)
    scores = form.predict(features)
    if form.classes:
        label = np.array(form.classes, dtype=object)[scores.argmax(axis=1)]
    else:
        label = scores[:, 0]
    task: Task = load_plugin("tasks", "multiclass" if form.classes else "regression")()
    whole = np.arange(n_rows, dtype=np.int64)
    rows = Rows(
        features=features,
        key=np.array([str(each) for each in whole], dtype=object),
        key_hash=whole.astype(np.uint64),
        group_hash=whole.astype(np.uint64),
        sticky=None,
        event_us=whole,
        arrived_us=whole,
        label=label,
        label_arrived_us=whole,
        block=whole,
    )
    return Material(task, rows, form)


def _normed(graph: GraphOf, source: str, n_in: int, n_out: int) -> str:
    made = graph.node("Conv", source, graph.weights(n_out, n_in, 3, 3), pads=[1, 1, 1, 1])
    rng = np.random.default_rng(n_in)
    parts = [
        graph.weights(value=each)
        for each in (
            rng.uniform(0.5, 1.5, n_out),
            rng.normal(size=n_out),
            rng.normal(size=n_out),
            rng.uniform(0.5, 1.5, n_out),
        )
    ]
    return graph.node("BatchNormalization", made, *parts)
