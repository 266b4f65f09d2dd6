"""How much the scores of a graph move when one of its layers is quantized alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from renewal.compress.onnx_layers import Layer, Proto, quantized
from renewal.core.errors import Invalid
from renewal.models.onnx_feed import feed_of, output_of, scores_of
from renewal.models.onnx_model import OnnxModel
from renewal.models.task import Scores

Feed = dict[str, NDArray[Any]]

_FLAG = "renewal_quantized_"
# Rows of one forward: activations of all layers of many rows could fill the memory.
_BATCH_ROWS = 64
_TINY = 1e-12


def most_sensitive(
    model: OnnxModel,
    proto: Proto,
    layers: Sequence[Layer],
    features: pa.Table,
    *,
    activations: bool,
) -> list[Layer]:
    r"""Return layers, those that are best left alone first.

    Each layer in turn is rounded to int8, and the scores are compared with those of the
    graph as it is: mean Kullback-Leibler divergence
    :math:`\sum_c p_c \log(p_c / q_c)` for classes, mean squared difference for numbers,
    each per byte that the layer would save. A layer that breaks the scores comes first; equal
    ones keep the order of the graph.

    Parameters
    ----------
    model : OnnxModel
        How rows go in and scores come out.
    proto : onnx.ModelProto
        Its graph, as `parsed` returns it; not changed.
    layers : sequence of Layer
        To be compared.
    features : pyarrow.Table
        Rows to compare on, one or more.
    activations : bool
        Whether what goes into a layer is rounded too, as dynamic and static quantization do.

    Notes
    -----
    One session for all layers: each layer's weights are an input with a default, and a
    switch, an input too, turns the rounding of what goes in on. One forward of the rows for
    each layer. It measures rounding, not the kernels; the search scores the real graph.
    """
    probe = replace(model, graph=_probe(proto, layers, activations=activations))
    feeds = list(feeds_of(model, features))
    base = _scores(probe, feeds, {})
    moved = []
    for at, layer in enumerate(layers):
        given = {**_rounded(proto, layer), **_switch(probe, at)}
        moved.append(_distance(probe, base, feeds, given) / layer.n_weights)
    order = sorted(range(len(layers)), key=lambda at: (-moved[at], at))
    return [layers[at] for at in order]


def feeds_of(model: OnnxModel, features: pa.Table) -> Iterator[tuple[Feed, int]]:
    """Return what goes into a graph, a few rows at a time, and how many rows that are."""
    if model.columns is not None:
        for at, feed in model.columns.batches(features):
            yield feed, len(at)
        return
    for start in range(0, features.num_rows, _BATCH_ROWS):
        rows = features.slice(start, _BATCH_ROWS)
        yield feed_of(model, rows), rows.num_rows


def _distance(
    probe: OnnxModel, base: Scores, feeds: Sequence[tuple[Feed, int]], given: Feed
) -> float:
    try:
        scores = _scores(probe, feeds, given)
    except Invalid:
        # It answers no scores any more: nothing is more sensitive.
        return float("inf")
    return divergence(base, scores, is_classes=bool(probe.classes))


def divergence(base: Scores, scores: Scores, *, is_classes: bool) -> float:
    """Return how far scores have moved: mean KL divergence, or mean squared difference.

    Examples
    --------
    >>> divergence(np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]]), is_classes=True)
    0.0
    """
    if not is_classes:
        return float(np.mean((scores - base) ** 2))
    ratio = np.log(np.maximum(base, _TINY)) - np.log(np.maximum(scores, _TINY))
    return float(np.mean(np.sum(base * ratio, axis=1)))


def _scores(model: OnnxModel, feeds: Sequence[tuple[Feed, int]], given: Feed) -> Scores:
    output = output_of(model)
    found = []
    for feed, n_rows in feeds:
        (answer,) = model.session.run([output], {**feed, **given})
        found.append(scores_of(model, answer, n_rows))
    return np.concatenate(found)


def _rounded(proto: Proto, layer: Layer) -> Feed:
    tensors = {each.name: each for each in proto.graph.initializer}
    given = {}
    for name, axis in zip(layer.weights, layer.axes, strict=True):
        whole, scale = quantized(numpy_helper.to_array(tensors[name]), axis)
        given[name] = (whole * scale).astype(np.float32)
    return given


def _switch(probe: OnnxModel, at: int) -> Feed:
    name = f"{_FLAG}{at}"
    known = {each.name for each in probe.session.get_overridable_initializers()}
    return {name: np.array(True)} if name in known else {}


def _probe(proto: Proto, layers: Sequence[Layer], *, activations: bool) -> bytes:
    """Return the graph with its weights as inputs, and switches before its layers."""
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    graph = probe.graph
    shapes = {each.name: list(each.dims) for each in graph.initializer}
    weights = dict.fromkeys(name for layer in layers for name in layer.weights)
    for name in weights:
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]))
    if activations:
        _insert_switches(graph, layers)
    data: bytes = probe.SerializeToString(deterministic=True)
    return data


def _insert_switches(graph: Proto, layers: Sequence[Layer]) -> None:
    layer_of = {name: at for at, layer in enumerate(layers) for name in layer.nodes}
    nodes, used = [], set()
    for each in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(each)
        at = layer_of.get(node.name)
        # A table is looked up by whole numbers, which nobody rounds.
        if at is not None and node.op_type != "Gather":
            used.add(at)
            before, node.input[0] = _switched(node.input[0], node.name, f"{_FLAG}{at}")
            nodes.extend(before)
        nodes.append(node)
    for at in sorted(used):
        name = f"{_FLAG}{at}"
        graph.initializer.append(numpy_helper.from_array(np.array(False), name))
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.BOOL, []))
    del graph.node[:]
    graph.node.extend(nodes)


def _switched(source: str, node: str, flag: str) -> tuple[list[Any], str]:
    """Return nodes that round a tensor to a byte while a switch is on."""
    whole, scale, zero, rounded, chosen = (
        f"renewal_{node}_{part}" for part in ("whole", "scale", "zero", "rounded", "chosen")
    )
    made = [
        helper.make_node("DynamicQuantizeLinear", [source], [whole, scale, zero]),
        helper.make_node("DequantizeLinear", [whole, scale, zero], [rounded]),
        helper.make_node("Where", [flag, rounded, source], [chosen]),
    ]
    return made, chosen
