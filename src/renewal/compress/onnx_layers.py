"""The layers of an ONNX graph that can be quantized: which nodes, and which weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper, version_converter

from renewal.core.errors import Invalid

Proto = Any
Weights = NDArray[Any]

MIN_WEIGHTS = 256
"""Layers with fewer weights stay as they are: the nodes around them weigh more than they save."""

# QuantizeLinear and DequantizeLinear have an axis from here on.
_MIN_OPSET = 13
_MIN_IR = 4
STANDARD = ("", "ai.onnx")
"""The names of the standard operators' domain: a stranger's may do anything with its weights."""

# The standard's own Attention holds no weights.
_OWN = ("com.microsoft",)
_RECURRENT = ("LSTM", "GRU")


@dataclass(frozen=True, slots=True)
class Layer:
    """Nodes that share their weights: one, or several where weights are tied.

    Parameters
    ----------
    nodes : tuple of str
        Their names.
    weights : tuple of str
        Names of their float32 initializers; two for a recurrent layer.
    axes : tuple of int or None
        The axis of the output channels of each; None: one scale for the whole.
    n_weights : int
        Numbers in all of them.
    """

    nodes: tuple[str, ...]
    weights: tuple[str, ...]
    axes: tuple[int | None, ...]
    n_weights: int


def parsed(graph: bytes, *, who: str) -> Proto:
    """Return a graph as the quantizers want it; what it computes stays the same.

    Every node has a name of its own, constants are initializers, initializers are no inputs
    (nobody feeds them), and the opset is at least 13.

    Raises
    ------
    Invalid
        When an older opset cannot be raised.
    """
    proto = onnx.load_model_from_string(graph)
    opset = opset_of(proto)
    if opset < _MIN_OPSET:
        try:
            proto = version_converter.convert_version(proto, _MIN_OPSET)
        except (RuntimeError, ValueError) as error:
            raise Invalid(
                who,
                needs=f"a graph of opset {_MIN_OPSET} or newer",
                came=f"opset {opset}, which cannot be raised: {error}",
                todo="Export it again with a newer opset.",
            ) from error
    proto.ir_version = max(proto.ir_version, _MIN_IR)
    _lift_constants(proto.graph)
    held = {each.name for each in proto.graph.initializer}
    inputs = [each for each in proto.graph.input if each.name not in held]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    _name_nodes(proto.graph)
    return proto


def opset_of(proto: Proto) -> int:
    """Return the opset of the standard operators; 1 where a graph uses none of them."""
    found = [each.version for each in proto.opset_import if each.domain in STANDARD]
    return int(found[0]) if found else 1


def layers_of(proto: Proto, ops: Iterable[str]) -> tuple[Layer, ...]:
    """Return the layers of some operators, in the order of the graph.

    A layer counts when its weights are float32 initializers, all finite, and at least
    `MIN_WEIGHTS` of them. Matrices that are computed from rows, as in attention, are none.

    Parameters
    ----------
    proto : onnx.ModelProto
        As `parsed` returns it.
    ops : iterable of str
        Of MatMul, Gemm, Conv, ConvTranspose, Gather, LSTM, GRU, Attention.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import TensorProto, helper, numpy_helper
    >>> weights = numpy_helper.from_array(np.ones((32, 16), np.float32), "w")
    >>> graph = helper.make_graph(
    ...     [helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")],
    ...     "one",
    ...     [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
    ...     [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
    ...     [weights],
    ... )
    >>> layers_of(helper.make_model(graph), ["MatMul"])
    (Layer(nodes=('dense',), weights=('w',), axes=(1,), n_weights=512),)
    """
    wanted = set(ops)
    tensors = {each.name: each for each in proto.graph.initializer}
    found: dict[tuple[str, ...], Layer] = {}
    for node in proto.graph.node:
        places = _places(node) if node.op_type in wanted else ()
        weights = tuple(node.input[at] for at in places if at < len(node.input))
        if not weights or not all(_is_able(tensors.get(name)) for name in weights):
            continue
        n_weights = sum(int(np.prod(tensors[name].dims)) for name in weights)
        if n_weights < MIN_WEIGHTS:
            continue
        before = found.get(weights)
        axes = tuple(_axis(node, len(tensors[name].dims)) for name in weights)
        found[weights] = Layer(
            nodes=(*(before.nodes if before else ()), node.name),
            weights=weights,
            # Tied layers that disagree on the channels get one scale.
            axes=axes if before is None or before.axes == axes else (None,) * len(axes),
            n_weights=n_weights,
        )
    return tuple(found.values())


def untie(proto: Proto, ops: Iterable[str]) -> None:
    """Give nodes that read one tensor of weights along different axes a tensor each.

    Parameters
    ----------
    proto : onnx.ModelProto
        As `parsed` returns it; changed in place. What it computes stays the same.
    ops : iterable of str
        Operators of layers.
    """
    wanted = set(ops)
    tensors = {each.name: each for each in proto.graph.initializer}
    first: dict[str, tuple[str, int | None]] = {}
    copies: dict[str, Any] = {}
    for node in proto.graph.node:
        for at in _places(node) if node.op_type in wanted else ():
            name = node.input[at] if at < len(node.input) else ""
            if name not in tensors:
                continue
            kind = "Gather" if node.op_type == "Gather" else "product"
            way = (kind, _axis(node, len(tensors[name].dims)))
            if first.setdefault(name, way) == way:
                continue
            other = f"{name}_{kind}_{way[1]}"
            if other not in copies:
                copies[other] = onnx.TensorProto.FromString(tensors[name].SerializeToString())
                copies[other].name = other
            node.input[at] = other
    proto.graph.initializer.extend(copies.values())


def quantized(weights: Weights, axis: int | None, *, limit: int = 127) -> tuple[Weights, Weights]:
    """Return whole numbers of one byte and their scales: symmetric, one scale a channel.

    Parameters
    ----------
    weights : float array
        Finite.
    axis : int or None
        Of the channels; None: one scale for all.
    limit : int, default 127
        The largest whole number; 63 keeps sums of older processors from saturating.

    Returns
    -------
    tuple of arrays
        int8 of the shape of `weights`, and float32 that stretches over it. A channel of
        zeros has the scale 1.

    Examples
    --------
    >>> import numpy as np
    >>> whole, scale = quantized(np.array([[1.0, 0.0], [-0.5, 0.0]], np.float32), 1)
    >>> whole.tolist(), scale.shape
    ([[127, 0], [-64, 0]], (1, 2))
    """
    others = tuple(at for at in range(weights.ndim) if at != axis) if axis is not None else None
    largest = np.abs(weights).max(axis=others, keepdims=True)
    scale = (largest / np.float32(limit)).astype(np.float32)
    # Below the normal numbers a division has no sense left: such a channel is zero.
    scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(1.0), scale)
    whole = np.clip(np.rint(weights / scale), -limit, limit).astype(np.int8)
    return whole, scale


def replace_initializers(
    proto: Proto, names: Iterable[str], made: Callable[[str, Weights], tuple[list[Any], list[Any]]]
) -> None:
    """Put nodes in the place of initializers; what they feed does not notice.

    Parameters
    ----------
    proto : onnx.ModelProto
        Changed in place.
    names : iterable of str
        Initializers, float32.
    made : callable
        Gets the name and the numbers, returns tensors and the nodes that make of them a
        tensor of that name. Tied weights stay one tensor, and subgraphs see it as before.
    """
    wanted = set(names)
    tensors, nodes = [], []
    for each in proto.graph.initializer:
        if each.name in wanted:
            new_tensors, new_nodes = made(each.name, numpy_helper.to_array(each))
            tensors.extend(new_tensors)
            nodes.extend(new_nodes)
        else:
            tensors.append(each)
    nodes.extend(proto.graph.node)
    graph = onnx.GraphProto()
    graph.CopyFrom(proto.graph)
    del graph.initializer[:]
    del graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend(nodes)
    proto.graph.CopyFrom(graph)


def _places(node: Proto) -> tuple[int, ...]:
    """Return the inputs that hold weights; none of an operator that only shares a name."""
    if node.domain not in (_OWN if node.op_type == "Attention" else STANDARD):
        return ()
    if node.op_type in _RECURRENT:
        return (1, 2)
    return (0,) if node.op_type == "Gather" else (1,)


def _axis(node: Proto, n_axes: int) -> int | None:
    if node.op_type == "Gather":
        return None
    if node.op_type in {"Conv", *_RECURRENT}:
        return 0 if node.op_type == "Conv" else 1
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return 0
    return 1 if node.op_type == "ConvTranspose" else n_axes - 1


def attribute(node: Proto, name: str, default: Any) -> Any:
    """Return what a node says of itself, or a default where it is silent."""
    for each in node.attribute:
        if each.name == name:
            return onnx.helper.get_attribute_value(each)
    return default


def is_product(node: Proto) -> bool:
    """Return whether a layer is a product and perhaps a sum: a Gemm that scales is more."""
    if node.op_type != "Gemm":
        return True
    scaled = (attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0))
    return scaled == (1.0, 1.0) and not attribute(node, "transA", 0)


def _is_able(tensor: Any) -> bool:
    if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
        return False
    return bool(np.isfinite(numpy_helper.to_array(tensor)).all())


def _lift_constants(graph: Proto) -> None:
    """Make initializers of constant nodes: quantizers look for weights there."""
    kept = []
    for node in graph.node:
        value = attribute(node, "value", None) if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
        else:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    if len(kept) < len(graph.node):
        kept = [_copied(each) for each in kept]
        del graph.node[:]
        graph.node.extend(kept)


def _copied(node: Proto) -> Proto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _name_nodes(graph: Proto) -> None:
    taken: set[str] = set()
    for at, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{at}"
        while name in taken:
            name += f"_{at}"
        taken.add(name)
        node.name = name
