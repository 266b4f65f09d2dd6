"""The size of a graph: its weights, also quantized ones and trees, and what a row costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from renewal.compress.counting import Count, count_array, count_tree, total
from renewal.compress.onnx_macs import macs_of, trees_of
from renewal.models.onnx_model import OnnxModel

_FLOATS = frozenset(
    (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16,
     onnx.TensorProto.BFLOAT16)
)  # fmt: skip
# Which input of a node is a quantized weight, and which its scale and zero point.
_QUANTIZED = {
    "DequantizeLinear": (0, 1, 2),
    "QLinearConv": (3, 4, 5),
    "QLinearMatMul": (3, 4, 5),
    "QGemm": (3, 4, 5),
    "DynamicQuantizeMatMul": (1, 2, 3),
    "MatMulIntegerToFloat": (1, 3, 5),
}
# These hold the weight alone; a multiplication further on holds its scale.
_SCALED_LATER = {"MatMulInteger": (1, 3), "ConvInteger": (1, 3)}


def size(estimator: Any) -> Count:
    """Return the count of a graph.

    Every tensor of floats with a dimension counts, each once; a quantized weight counts by
    what it stands for, (q - zero point) x scale, and its scale and zero point do not. Trees
    and linear models of ``ai.onnx.ml`` count by their attributes.

    Parameters
    ----------
    estimator : OnnxModel
        Its multiplications are those of one row; None where shapes are not known.
    """
    proto = onnx.load_model_from_string(estimator.graph)
    nodes = list(_nodes(proto.graph.node))
    held = {each.name: each for each in _initializers(proto.graph)}
    counted, aside = _quantized(nodes, held)
    floats = [
        each for name, each in held.items() if name not in aside and each.data_type in _FLOATS
    ]
    counted += total(_plain(each) for each in (*floats, *_constants(nodes)))
    counted += total(_classical(node) for node in nodes if node.domain == "ai.onnx.ml")
    macs = macs_of(estimator if isinstance(estimator, OnnxModel) else OnnxModel.read(proto))
    return Count(counted.parameters, counted.nonzero, counted.l1, macs)


def _nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner.node)


def _initializers(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in _nodes(graph.node):
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from inner.initializer


def _constants(nodes: list[Any]) -> Iterator[Any]:
    for node in nodes:
        if node.op_type == "Constant":
            yield from (each.t for each in node.attribute if each.t.data_type in _FLOATS)


def _plain(tensor: Any) -> Count:
    # A number without a dimension is a constant of the arithmetic, such as a half.
    return count_array(numpy_helper.to_array(tensor)) if len(tensor.dims) else Count()


def _quantized(nodes: list[Any], held: dict[str, Any]) -> tuple[Count, set[str]]:
    """Return the count of quantized weights, and the names of all that belongs to them."""
    found: dict[str, Count] = {}
    aside: set[str] = set()
    for node in nodes:
        if node.op_type == "MatMulNBits":
            weight, *scales = node.input[1:4]
            if weight in held:
                found[weight] = _blocks(node, held)
                aside.update((weight, *scales))
            continue
        places = _QUANTIZED.get(node.op_type)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            aside.update(node.input[1:])
        if node.op_type in _SCALED_LATER:
            at, zero = _SCALED_LATER[node.op_type]
            scale = node.input[at].removesuffix("_quantized") + "_scale"
            names = (node.input[at], scale, _input(node, zero))
        elif places is not None:
            names = tuple(_input(node, place) for place in places)  # type: ignore[assignment]  # three places each
            aside.update(name for at, name in enumerate(node.input) if at and name != names[0])
        else:
            continue
        if names[0] in held and held[names[0]].data_type not in _FLOATS:
            aside.update(names)
            found[names[0]] = _stands_for(names, node, held)
    return total(found.values()), aside


def _input(node: Any, place: int) -> str:
    return node.input[place] if place < len(node.input) else ""


def _stands_for(names: tuple[str, str, str], node: Any, held: dict[str, Any]) -> Count:
    weight, scale, zero = (
        numpy_helper.to_array(held[name]).astype(np.float64) if name in held else None
        for name in names
    )
    assert weight is not None, "the caller has looked"
    axis = next((int(each.i) for each in node.attribute if each.name == "axis"), None)
    if axis is None:
        # Of a convolution the outputs come first, of a matrix last.
        axis = 0 if "Conv" in node.op_type else weight.ndim - 1
        axis = 1 if node.op_type == "DequantizeLinear" else axis
    block = next((int(each.i) for each in node.attribute if each.name == "block_size"), 0)
    centred = weight if zero is None else weight - _spread(zero, weight, axis, block)
    return count_array(centred if scale is None else centred * _spread(scale, weight, axis, block))


def _spread(values: NDArray[Any], like: NDArray[Any], axis: int, block: int) -> NDArray[Any]:
    """Return scales or zero points so that they fit their weight."""
    if block:
        repeated = np.repeat(values, block, axis=axis)
        return repeated.take(np.arange(like.shape[axis]), axis=axis)
    if values.size == 1:
        return values.reshape(())
    shape = [1] * like.ndim
    shape[axis] = values.size
    return values.reshape(shape)


def _blocks(node: Any, held: dict[str, Any]) -> Count:
    """Return the count of a weight in blocks of a few bits, each with its scale."""
    said = {each.name: int(each.i) for each in node.attribute}
    bits, n_in, n_out = said.get("bits", 4), said["K"], said["N"]
    packed = numpy_helper.to_array(held[node.input[1]]).reshape(n_out, -1)
    if bits not in (4, 8):
        return Count(n_in * n_out, n_in * n_out, 0.0)
    whole = packed if bits == 8 else np.stack([packed & 15, packed >> 4], -1).reshape(n_out, -1)
    scales = numpy_helper.to_array(held[node.input[2]]).astype(np.float64).reshape(n_out, -1)
    zeros: Any = float(2 ** (bits - 1))
    if _input(node, 3) in held:
        kept = numpy_helper.to_array(held[node.input[3]]).reshape(n_out, -1)
        if kept.dtype == np.uint8 and bits == 4:
            kept = np.stack([kept & 15, kept >> 4], -1).reshape(n_out, -1)
        zeros = np.repeat(kept[:, : scales.shape[1]], said["block_size"], axis=1)
    values = (whole - zeros) * np.repeat(scales, said["block_size"], axis=1)
    return count_array(values[:, :n_in])


def _classical(node: Any) -> Count:
    trees = trees_of(node)
    if trees is not None:
        counts = [count_tree(split, np.empty(0), depth) for split, depth in trees.splits]
        return total(counts) + count_array(trees.leaves)
    names = ("coefficients", "intercepts", "support_vectors", "rho", "offset", "scale")
    said = [each.floats for each in node.attribute if each.name in names]
    return total(count_array(np.array(each)) for each in said)
