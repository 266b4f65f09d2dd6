"""Weights as bytes, activations left as they are: no calibration, no clipped ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_layers import (
    Layer,
    Proto,
    Weights,
    attribute,
    is_product,
    layers_of,
    parsed,
    quantized,
    replace_initializers,
)
from renewal.compress.onnx_shared import (
    demand_share,
    kept_layers,
    rebuilt,
    shares,
    why_not_layers,
)
from renewal.core.errors import Invalid

_WHO = "quantize.weights"
_OPS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Gather", "LSTM", "GRU", "Attention")
_DENSE = {"MatMul", "Gemm"}
_MS = "com.microsoft"
_BLOCK = 128
_SMALLEST_BLOCK = 16
# Sums of bytes, the fast kernel; without it each product is widened first, 50 times slower.
_INT8_SUMS = 4
_MIDDLE = 128


@dataclass(frozen=True)
class WeightsOptions:
    """Options of `QuantizeWeights`.

    Parameters
    ----------
    keep : float in [0, 1), default 0
        Share of the layers, the most sensitive ones, that stay float32.
    kernel : {"blocks", "folded"}, default "blocks"
        How dense layers run. ``blocks``: on bytes, by ONNX Runtime's MatMulNBits, one scale
        for each 128 weights of a channel. ``folded``: widened to float32 while the session is
        opened, one scale a channel; the file is small, the rest is as before.
    bits : int, default 8
        Of a weight. 8 is all that there is yet.

    Raises
    ------
    Invalid
        On another share, or another number of bits.
    """

    keep: float = 0.0
    kernel: Literal["blocks", "folded"] = "blocks"
    bits: int = 8

    def __post_init__(self) -> None:
        """Refuse a share that is none, and bits that no kernel here has."""
        demand_share(self.keep, who=_WHO)
        if self.bits != 8:
            raise Invalid(
                _WHO,
                needs="weights of 8 bits",
                came=f"bits={self.bits}",
                todo="Leave bits out; 4 are not built yet.",
            )


class QuantizeWeights:
    """Store weights as int8 with their scales; what flows between layers stays float32.

    Dense layers run on the bytes (``kernel="blocks"``): fewer bytes to read is what a batch
    of one waits for. The weights of all other layers, and of dense ones with
    ``kernel="folded"``, are int8 times a scale in the file, which ONNX Runtime multiplies
    out once while it opens the session.

    Notes
    -----
    No DequantizeLinear on purpose: ONNX Runtime would carry it out at each prediction, which
    was 19 times slower than float32 for three layers of 1,024 x 1,024.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "quantize"
    takes: ClassVar[tuple[str, ...]] = ("onnx",)
    Options: ClassVar[type[WeightsOptions]] = WeightsOptions
    knob: ClassVar[str | None] = "keep"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # part of the contract
        """Return why no layer can be quantized; None when one can."""
        return why_not_layers(form, _layers, ops=_OPS, who=_WHO)

    def levels(self, form: Form, material: Material) -> tuple[WeightsOptions, ...]:
        """Return shares of layers that stay float32, from three quarters to none.

        As many levels as there are layers where these are fewer than 8, and one where there
        are no training rows to rank them with.
        """
        layers = _layers(parsed(form.estimator.graph, who=_WHO))
        found = shares(len(layers), ranked=len(material.train) > 0)
        return tuple(WeightsOptions(keep=each) for each in found)

    def apply(self, form: Form, options: WeightsOptions, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # nothing is drawn
        """Return the form with most of its weights in bytes.

        Raises
        ------
        Invalid
            When layers are to be kept and there are no rows to rank them with, or what came
            out answers no scores.
        """
        proto = parsed(form.estimator.graph, who=_WHO)
        layers = _layers(proto)
        kept = kept_layers(
            form, proto, layers, material, keep=options.keep, activations=False, who=_WHO
        )
        chosen = [each for each in layers if each not in kept]
        if options.kernel == "blocks":
            chosen = _into_blocks(proto, chosen)
        _into_products(proto, chosen)
        return rebuilt(form, proto, material, who=_WHO)


def _layers(proto: Proto) -> tuple[Layer, ...]:
    return layers_of(proto, _OPS)


def _into_products(proto: Proto, layers: list[Layer]) -> None:
    """Store weights as bytes, with nodes that widen them when the session is opened."""
    axes = {
        name: axis for layer in layers for name, axis in zip(layer.weights, layer.axes, strict=True)
    }

    def stored(name: str, weights: Weights) -> tuple[list[Any], list[Any]]:
        whole, scale = quantized(weights, axes[name])
        inner, wide, by = f"{name}_whole", f"{name}_wide", f"{name}_scale"
        nodes = [
            helper.make_node("Cast", [inner], [wide], name=f"widen_{name}", to=TensorProto.FLOAT),
            helper.make_node("Mul", [wide, by], [name], name=f"scale_{name}"),
        ]
        return [numpy_helper.from_array(whole, inner), numpy_helper.from_array(scale, by)], nodes

    replace_initializers(proto, axes, stored)


def _into_blocks(proto: Proto, layers: list[Layer]) -> list[Layer]:
    """Let dense layers run on bytes; return the layers that cannot."""
    nodes = {each.name: each for each in proto.graph.node}
    tensors = {each.name: each for each in proto.graph.initializer}
    others, dense = [], {}
    for layer in layers:
        able = all(_is_able(nodes[name], tensors[layer.weights[0]]) for name in layer.nodes)
        if able:
            dense.update(dict.fromkeys(layer.nodes, layer.weights[0]))
        else:
            others.append(layer)
    made, blocks = [], {}
    for node in proto.graph.node:
        if node.name not in dense:
            made.append(node)
            continue
        weights = numpy_helper.to_array(tensors[dense[node.name]])
        is_turned = bool(node.op_type == "Gemm" and attribute(node, "transB", 0))
        by_channel = weights if is_turned else weights.T
        stem = f"{dense[node.name]}_{'turned_' if is_turned else ''}blocks"
        if stem not in blocks:
            blocks[stem] = _blocks(by_channel, stem)
        made.extend(_block_nodes(node, by_channel.shape, stem))
    graph = onnx.GraphProto()
    graph.CopyFrom(proto.graph)
    del graph.node[:]
    graph.node.extend(made)
    graph.initializer.extend(each for pair in blocks.values() for each in pair)
    _drop_unused(graph, set(dense.values()))
    proto.graph.CopyFrom(graph)
    if dense and all(each.domain != _MS for each in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(_MS, 1))
    return others


def _is_able(node: Proto, tensor: Any) -> bool:
    """Return whether a node is a product with a matrix and perhaps a sum."""
    return node.op_type in _DENSE and len(tensor.dims) == 2 and is_product(node)


def _block(n_inputs: int) -> int:
    """Return the numbers under one scale: 128, or fewer for a narrow layer."""
    size = _BLOCK
    while size > _SMALLEST_BLOCK and size // 2 >= n_inputs:
        size //= 2
    return size


def _blocks(by_channel: Weights, stem: str) -> list[Any]:
    """Return a matrix of shape (outputs, inputs) as MatMulNBits reads it, and its scales."""
    n_outputs, n_inputs = by_channel.shape
    size = _block(n_inputs)
    n_blocks = -(-n_inputs // size)
    padded = np.zeros((n_outputs, n_blocks * size), np.float32)
    padded[:, :n_inputs] = by_channel
    whole, scale = quantized(padded.reshape(n_outputs * n_blocks, size), 0)
    stored = (whole.astype(np.int16) + _MIDDLE).astype(np.uint8)
    return [
        numpy_helper.from_array(stored.reshape(n_outputs, n_blocks, size), stem),
        numpy_helper.from_array(scale.reshape(n_outputs, n_blocks), f"{stem}_scale"),
    ]


def _block_nodes(node: Proto, shape: tuple[int, ...], stem: str) -> list[Any]:
    n_outputs, n_inputs = shape
    has_bias = len(node.input) > 2 and bool(node.input[2])
    product = f"{node.output[0]}_product" if has_bias else node.output[0]
    made = [
        helper.make_node(
            "MatMulNBits",
            [node.input[0], stem, f"{stem}_scale"],
            [product],
            name=f"{node.name}_blocks",
            domain=_MS,
            K=n_inputs,
            N=n_outputs,
            bits=8,
            block_size=_block(n_inputs),
            accuracy_level=_INT8_SUMS,
        )
    ]
    if has_bias:
        made.append(
            helper.make_node(
                "Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}_bias"
            )
        )
    return made


def _drop_unused(graph: Proto, names: set[str]) -> None:
    """Remove float32 weights that no node reads any more; a subgraph may still."""
    used = {each.name for each in graph.output}
    open_graphs = [graph]
    while open_graphs:
        for node in open_graphs.pop().node:
            used.update(node.input)
            for each in node.attribute:
                open_graphs.extend(inner for inner in (each.g, *each.graphs) if inner.node)
    held = [each for each in graph.initializer if each.name not in names or each.name in used]
    kept = [onnx.TensorProto.FromString(each.SerializeToString()) for each in held]
    del graph.initializer[:]
    graph.initializer.extend(kept)
