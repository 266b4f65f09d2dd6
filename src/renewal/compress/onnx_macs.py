"""What a row costs in a graph: multiplications, and comparisons of trees."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unsupported

from renewal.compress.counting import depth_of
from renewal.models.onnx_front import front_of
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_parts import Tokens

_LOOPS = frozenset(("If", "Loop", "Scan"))
# Which input holds the weight of a convolution.
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
# Which inputs are multiplied as matrices.
_PRODUCTS = {
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "DynamicQuantizeMatMul": (0, 1),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3),
    "Gemm": (0, 1),
    "FusedGemm": (0, 1),
}
_RECURRENT = frozenset(("LSTM", "GRU", "RNN"))
# Operators that multiply inside, whose cost nobody here can tell.
_UNTOLD = frozenset(
    ("Attention", "QAttention", "MultiHeadAttention", "Einsum", "ConvTranspose",
     "DeformConv", "SVMClassifier", "SVMRegressor", "QEmbedLayerNormalization")
)  # fmt: skip
_LINEAR = frozenset(("LinearClassifier", "LinearRegressor"))

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Trees:
    """The trees of a node: thresholds and depth of each, and what all leaves say."""

    splits: list[tuple[NDArray[Any], int]]
    leaves: NDArray[Any]


def macs_of(model: OnnxModel) -> int | None:
    """Return the multiplications with an addition of one row.

    Those of convolutions, matrix products (also of two activations, as in attention),
    recurrent layers and linear models, and the comparisons of trees; elementwise work is
    left out, as everywhere. A text is as long as its front allows. None where a shape is not
    known: a length that only the row tells, a branch or a loop, an operator of a stranger.
    """
    proto = onnx.load_model_from_string(model.graph)
    if any(node.op_type in _LOOPS | _UNTOLD for node in proto.graph.node) or proto.functions:
        return None
    longest = _longest(model)
    found = _total(proto, _shapes_of(proto, longest))
    # What inference cannot tell, such as shapes computed in the graph, a run shows.
    return _total(proto, _shapes_seen(proto, longest)) if found is None else found


def _total(proto: Any, shapes: Shapes) -> int | None:
    cost = 0
    for node in proto.graph.node:
        found = _node_macs(node, shapes)
        if found is None:
            return None
        cost += found
    return cost


def trees_of(node: Any) -> Trees | None:
    """Return the trees of a node of ``ai.onnx.ml`` version 1 to 3; None of any other."""
    if node.op_type not in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
        return None
    said = {each.name: each for each in node.attribute}
    is_leaf = np.array([each == b"LEAF" for each in said["nodes_modes"].strings])
    values = np.array(said["nodes_values"].floats or _doubles(said, "nodes_values_as_tensor"))
    tree_ids, node_ids = (np.array(said[name].ints) for name in ("nodes_treeids", "nodes_nodeids"))
    yes, no = (np.array(said[name].ints) for name in ("nodes_truenodeids", "nodes_falsenodeids"))
    splits = []
    for tree in np.unique(tree_ids):
        rows = np.flatnonzero(tree_ids == tree)
        rows = rows[np.argsort(node_ids[rows])]
        at = is_leaf[rows]
        left, right = (np.where(at, -1, side[rows]) for side in (yes, no))
        splits.append((values[rows][~at], depth_of(left, right)))
    kind = "class_weights" if node.op_type.endswith("Classifier") else "target_weights"
    held = said[kind].floats if kind in said else _doubles(said, f"{kind}_as_tensor")
    return Trees(splits, np.array(held))


def _doubles(said: Mapping[str, Any], name: str) -> Any:
    return numpy_helper.to_array(said[name].t) if name in said else []


def _node_macs(node: Any, shapes: Shapes) -> int | None:
    trees = trees_of(node)
    if trees is not None:
        return sum(depth for _, depth in trees.splits)
    if node.op_type in _LINEAR:
        return sum(len(each.floats) for each in node.attribute if each.name == "coefficients")
    return next((cost(node, shapes) for kind, cost in _COSTS if node.op_type in kind), 0)


def _in_bits(node: Any, shapes: Shapes) -> int | None:
    said = {each.name: int(each.i) for each in node.attribute}
    rows = shapes.get(node.input[0])
    return None if rows is None else math.prod(rows[:-1]) * said["K"] * said["N"]


def _convolved(node: Any, shapes: Shapes) -> int | None:
    out, weight = shapes.get(node.output[0]), shapes.get(node.input[_CONVOLUTIONS[node.op_type]])
    return None if weight is None or out is None else math.prod(out) * math.prod(weight[1:])


def _multiplied(node: Any, shapes: Shapes) -> int | None:
    out, left = shapes.get(node.output[0]), shapes.get(node.input[_PRODUCTS[node.op_type][0]])
    if left is None or out is None:
        return None
    is_turned = any(each.name == "transA" and each.i for each in node.attribute)
    return math.prod(out) * left[-2 if is_turned else -1]


def _recurrent(node: Any, shapes: Shapes) -> int | None:
    rows, weight, again = (shapes.get(name) for name in node.input[:3])
    if rows is None or weight is None or again is None:
        return None
    # Weights are of shape (directions, gates x hidden, inputs); a row is a whole sequence.
    return rows[0] * (math.prod(weight) + math.prod(again))


_COSTS: tuple[tuple[Container[str], Callable[[Any, Shapes], int | None]], ...] = (
    (_CONVOLUTIONS, _convolved),
    (_PRODUCTS, _multiplied),
    (_RECURRENT, _recurrent),
    (("MatMulNBits",), _in_bits),
)


def _longest(model: OnnxModel) -> int | None:
    """Return the tokens of the longest text; None where no text comes in."""
    front = None if model.front is None else front_of(model.front)
    lengths = [each.max_length for each in front.parts if isinstance(each, Tokens)] if front else []
    return max(lengths, default=None)


def _shapes_of(proto: Any, longest: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors that are known when one row comes."""
    one = onnx.ModelProto()
    one.CopyFrom(proto)
    # What an export noted holds the number of rows as a name, or as that of its example.
    del one.graph.value_info[:]
    held = {each.name for each in one.graph.initializer}
    for value in one.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in held and len(dims) and not dims[0].dim_value:
            dims[0].dim_value = 1
        for dim in dims[1:] if longest is not None and value.name not in held else ():
            if not dim.dim_value:
                dim.dim_value = longest
    for value in one.graph.output:
        value.type.tensor_type.ClearField("shape")
    _make_plain(one.graph)
    try:
        inferred = onnx.shape_inference.infer_shapes(one, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        inferred = one
    found = {each.name: tuple(each.dims) for each in inferred.graph.initializer}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(dim.HasField("dim_value") for dim in dims):
                found.setdefault(value.name, tuple(dim.dim_value for dim in dims))
    return found


def _shapes_seen(proto: Any, longest: int | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors in a run on one row of ones; none where it fails."""
    held = {each.name: tuple(each.dims) for each in proto.graph.initializer}
    feed: dict[str, Any] = {}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        shape = [size or (longest if at else 1) for at, size in enumerate(dims)]
        if value.name in held:
            continue
        if None in shape or kind.elem_type == onnx.TensorProto.STRING:
            return {}
        # Ones: as a mask, they leave every place in.
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feed[value.name] = np.ones([int(size or 1) for size in shape], dtype=dtype)
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    costly = [node for node in proto.graph.node if any(node.op_type in kind for kind, _ in _COSTS)]
    named = [name for node in costly for name in (*node.input, node.output[0])]
    known = {*held, *feed, ""}
    wanted = [name for name in dict.fromkeys(named) if name not in known]
    del probe.graph.value_info[:]
    there = {each.name for each in proto.graph.output}
    probe.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in wanted if name not in there
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        answers = session.run(wanted, feed)
    except (Fail, InvalidArgument, InvalidGraph, RuntimeException, Unsupported):
        return {}
    seen = {name: np.shape(each) for name, each in zip(wanted, answers, strict=True)}
    return {**held, **{name: each.shape for name, each in feed.items()}, **seen}


def _make_plain(graph: Any) -> None:
    """Put operators of the standard in the place of some of ONNX Runtime, of the same shapes.

    Shape inference knows no others, and ends where it meets one.
    """
    for at, node in enumerate(graph.node):
        if node.domain != "com.microsoft":
            continue
        if node.op_type == "MatMulNBits":
            said = {each.name: int(each.i) for each in node.attribute}
            weight = f"renewal_weight_{at}"
            graph.input.append(
                onnx.helper.make_tensor_value_info(
                    weight, onnx.TensorProto.FLOAT, [said["K"], said["N"]]
                )
            )
            _become(node, "MatMul", [node.input[0], weight])
        elif node.op_type in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
            _become(node, "MatMul", list(node.input[:2]))
        elif node.op_type.endswith(("Gelu", "GELU")):
            _become(node, "Identity", [node.input[0]])
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = ""


def _become(node: Any, op_type: str, inputs: list[str]) -> None:
    node.op_type, node.domain = op_type, ""
    del node.input[:]
    node.input.extend(inputs)
    del node.attribute[:]
