"""Which layers of a graph can be quantized, and what the rewriting leaves as it was."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from renewal.compress.onnx_layers import layers_of, opset_of, parsed, quantized, untie
from renewal.testing.onnx_forms import GraphOf, cnn_form, form_of, mlp_form, rows_of

CLASSES = ("a", "b", "c")
X = rows_of(np.random.default_rng(0).normal(size=(30, 20)))


def test_layers_come_in_order_with_their_axes() -> None:
    """Breaks when a transposed Gemm is scaled along its inputs, or a small layer counts."""
    proto = parsed(mlp_form().estimator.graph, who="test")
    layers = layers_of(proto, ["Gemm"])
    assert [each.n_weights for each in layers] == [20 * 64, 64 * 64]
    assert [each.axes for each in layers] == [(0,), (0,)]
    assert len({name for each in layers for name in each.nodes}) == 2


def test_a_convolution_is_no_layer_unless_asked_for() -> None:
    proto = parsed(cnn_form().estimator.graph, who="test")
    assert layers_of(proto, ["Gemm", "MatMul"]) == ()
    assert [each.axes for each in layers_of(proto, ["Conv"])] == [(0,)] * 3


def test_nodes_that_share_weights_are_one_layer() -> None:
    """Breaks when tied weights are counted twice, or rounded for one node alone."""
    graph = GraphOf()
    shared = graph.weights(20, 20)
    last = graph.node("MatMul", graph.node("Relu", graph.node("MatMul", "x", shared)), shared)
    made = graph.node("MatMul", last, graph.weights(20, 3))
    proto = parsed(graph.form(made, shape=(20,), classes=CLASSES).estimator.graph, who="test")
    (layer,) = layers_of(proto, ["MatMul"])
    assert len(layer.nodes) == 2
    assert layer.n_weights == 400


def test_untied_weights_are_copied_for_another_axis_only() -> None:
    graph = GraphOf()
    shared = graph.weights(20, 20)
    last = graph.node("Gemm", graph.node("MatMul", "x", shared), shared, transB=1)
    last = graph.node("Gemm", last, shared, transB=1)
    made = graph.node("MatMul", last, graph.weights(20, 3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    proto = parsed(form.estimator.graph, who="test")
    untie(proto, ["MatMul", "Gemm"])
    layers = layers_of(proto, ["MatMul", "Gemm"])
    assert [(len(each.nodes), each.axes) for each in layers] == [(1, (1,)), (2, (0,))]
    again = form_of(proto, shape=(20,), classes=CLASSES)
    assert np.array_equal(again.predict(X), form.predict(X))


@pytest.mark.parametrize("change", ["constants", "inputs", "nameless", "old"])
def test_a_graph_written_otherwise_is_read_alike(change: str) -> None:
    """Breaks when weights in constants, or initializers that are inputs too, are overlooked."""
    form = mlp_form()
    proto = onnx.load_model_from_string(form.estimator.graph)
    tensors = list(proto.graph.initializer)
    if change == "constants":
        nodes = [helper.make_node("Constant", [], [each.name], value=each) for each in tensors]
        nodes += list(proto.graph.node)
        graph = onnx.GraphProto(name="other", node=nodes)
        graph.input.extend(proto.graph.input)
        graph.output.extend(proto.graph.output)
        proto.graph.CopyFrom(graph)
    elif change == "inputs":
        proto.ir_version = 3
        for each in tensors:
            kind = helper.make_tensor_value_info(each.name, TensorProto.FLOAT, list(each.dims))
            proto.graph.input.append(kind)
    elif change == "nameless":
        for node in proto.graph.node:
            node.name = ""
    else:
        proto.opset_import[0].version = 9
    other = form_of(proto, shape=(20,), classes=CLASSES)
    read = parsed(other.estimator.graph, who="test")
    assert opset_of(read) >= 13
    assert len(read.graph.input) == 1
    assert len({node.name for node in read.graph.node}) == len(read.graph.node)
    assert [each.n_weights for each in layers_of(read, ["Gemm"])] == [20 * 64, 64 * 64]
    again = form_of(read, shape=(20,), classes=CLASSES)
    assert np.array_equal(again.predict(X), form.predict(X))


def test_weights_that_are_not_finite_are_no_layer() -> None:
    graph = GraphOf()
    weights = np.ones((20, 32))
    weights[0, 0] = np.inf
    hidden = graph.node("Tanh", graph.node("MatMul", "x", graph.weights(value=weights)))
    made = graph.node("MatMul", hidden, graph.weights(32, 3))
    proto = parsed(graph.form(made, shape=(20,), classes=CLASSES).estimator.graph, who="test")
    assert layers_of(proto, ["MatMul"]) == ()


def test_rounding_is_off_by_half_a_step_at_most() -> None:
    """Breaks on a scale of the wrong axis, and on zeros divided by a scale of zero."""
    weights = np.random.default_rng(3).normal(size=(40, 7)).astype(np.float32)
    weights[:, 2] = 0.0
    weights[:, 3] *= 1e-30
    weights[:, 4] = np.float32(1e-42)
    whole, scale = quantized(weights, 1)
    assert whole.dtype == np.int8
    assert scale.shape == (1, 7)
    assert np.all(np.abs(whole * scale - weights) <= 0.5001 * np.where(scale == 1.0, 1e-30, scale))
    assert not whole[:, 2].any()
