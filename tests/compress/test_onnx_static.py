"""Static quantization: ranges from rows, batch normalization folded, odd graphs defined."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from renewal.compress.form import Form
from renewal.compress.onnx_static import QuantizeStatic, StaticOptions
from renewal.core.errors import Invalid
from renewal.testing.onnx_forms import (
    GraphOf,
    attention_form,
    cnn_form,
    form_of,
    material_of,
    mlp_form,
)

CLASSES = ("a", "b", "c")
STATIC = QuantizeStatic()


def far(form: Form, other: Form) -> float:
    """Return the largest difference of scores of rows that were not calibrated on."""
    features = material_of(form, 60, seed=9).train.features
    return float(np.abs(form.predict(features) - other.predict(features)).max())


def ops(form: Form) -> list[str]:
    return [each.op_type for each in onnx.load_model_from_string(form.estimator.graph).graph.node]


def int8s(form: Form) -> int:
    """Return how many matrices of bytes there are."""
    tensors = onnx.load_model_from_string(form.estimator.graph).graph.initializer
    return sum(each.data_type == onnx.TensorProto.INT8 and len(each.dims) > 1 for each in tensors)


def test_a_network_of_convolutions_shrinks_and_stays_close() -> None:
    """Breaks when batch normalization is not folded, or a kept layer is quantized."""
    form = cnn_form(width=24)
    material = material_of(form, 80)
    before = form.estimator.graph
    made = [STATIC.apply(form, each, material, seed=0) for each in STATIC.levels(form, material)]
    assert [int8s(each) for each in made] == [1, 2, 3]
    sizes = [len(each.estimator.graph) for each in made]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.42 * len(before)
    assert all("BatchNormalization" not in ops(each) for each in made)
    assert max(far(form, each) for each in made) < 0.05
    assert form.estimator.graph == before


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_way_to_read_a_range(
    method: str, *, symmetric: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks when a method fails, talks, or gives another graph the second time."""
    form = mlp_form()
    material = material_of(form, 60)
    options = StaticOptions(method=method, symmetric=symmetric, rows=40)  # type: ignore[arg-type]  # from a parameter
    first, second = (STATIC.apply(form, options, material, seed=0) for _ in range(2))
    assert first.estimator.graph == second.estimator.graph
    assert far(form, first) < 0.2
    assert not capsys.readouterr().out


def test_matrices_that_come_of_rows_are_left_alone() -> None:
    """Breaks when the products inside attention are rounded: nobody asked for these."""
    form = attention_form()
    made = STATIC.apply(form, StaticOptions(), material_of(form, 60), seed=0)
    assert int8s(made) == 3
    assert far(form, made) < 0.8


def test_one_row_is_enough_and_none_is_a_reason() -> None:
    form = mlp_form()
    one = STATIC.apply(form, StaticOptions(keep=0.5), material_of(form, 1), seed=0)
    assert int8s(one) == 1
    nothing = material_of(form, 0)
    reason = STATIC.why_not(form, nothing)
    assert reason is not None
    assert "no training row" in reason
    with pytest.raises(Invalid, match="one training row or more"):
        STATIC.apply(form, StaticOptions(), nothing, seed=0)
    with pytest.raises(Invalid, match="rows=0"):
        StaticOptions(rows=0)


def test_rows_that_are_all_alike_make_a_graph() -> None:
    """Breaks when an activation that never changes has a range, and a scale, of zero."""
    form = mlp_form()
    material = material_of(form, 30, values=np.zeros((30, 20)))
    made = STATIC.apply(form, StaticOptions(), material, seed=0)
    features = material.train.features
    assert np.abs(made.predict(features) - form.predict(features)).max() < 0.05


def test_tied_weights_read_along_two_axes_are_right() -> None:
    """Breaks when both nodes get one tensor of bytes.

    ONNX Runtime 1.32 takes the scales of one axis for the other, and says nothing.
    """
    graph = GraphOf()
    shared = graph.weights(20, 20)
    hidden = graph.node("Relu", graph.node("Gemm", "x", shared, transB=1))
    hidden = graph.node("Relu", graph.node("MatMul", hidden, shared))
    made = graph.node("MatMul", hidden, graph.weights(20, 3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    found = STATIC.apply(form, StaticOptions(), material_of(form, 60), seed=0)
    assert int8s(found) == 2
    assert far(form, found) < 0.15


def test_a_table_shared_with_a_head_is_quantized_for_both() -> None:
    graph = GraphOf()
    table = graph.weights(50, 16)
    places = graph.node("Cast", graph.node("Abs", "x"), to=onnx.TensorProto.INT64)
    mean = graph.node("ReduceMean", graph.node("Gather", table, places), axes=[1], keepdims=0)
    made = graph.node("MatMul", graph.node("Gemm", mean, table, transB=1), graph.weights(50, 3))
    form = graph.form(made, shape=(6,), classes=CLASSES)
    found = STATIC.apply(form, StaticOptions(), material_of(form, 20), seed=0)
    assert far(form, found) < 0.05
    assert len(found.estimator.graph) > 0


@pytest.mark.parametrize("opset", [9, 11, 20, 23])
def test_every_opset_is_taken(opset: int) -> None:
    graph = GraphOf(opset=opset)
    hidden = graph.node("Gemm", "x", graph.weights(32, 20), graph.weights(32), transB=1)
    made = graph.node("Gemm", graph.node("Relu", hidden), graph.weights(32, 3), graph.weights(3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    found = STATIC.apply(form, StaticOptions(), material_of(form, 20), seed=0)
    assert int8s(found) == 1
    assert far(form, found) < 0.1


def test_a_layer_of_zeros_makes_a_graph() -> None:
    graph = GraphOf()
    zeros = graph.weights(value=np.zeros((32, 3, 3, 3)))
    hidden = graph.node("Relu", graph.node("Conv", "x", zeros, graph.weights(32)))
    flat = graph.node("Flatten", graph.node("GlobalAveragePool", hidden))
    made = graph.node("MatMul", flat, graph.weights(32, 3))
    form = graph.form(made, shape=(3, 8, 8), classes=CLASSES)
    found = STATIC.apply(form, StaticOptions(), material_of(form, 20), seed=0)
    assert far(form, found) < 0.05


def test_weights_that_a_subgraph_reads_too_stay_for_it() -> None:
    helper = onnx.helper
    rng = np.random.default_rng(0)
    tensors = [
        onnx.numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in (
            ("w", rng.normal(size=(20, 20)) / 4),
            ("v", rng.normal(size=(20, 3))),
            ("zero", np.array(0.0)),
        )
    ]
    branches = {
        name: helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(name, 1, ["n", 20])]
        )
        for name, node in (
            ("then", helper.make_node("MatMul", ["x", "w"], ["then"])),
            ("other", helper.make_node("Identity", ["x"], ["other"])),
        )
    }
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "zero"], ["is_high"]),
        helper.make_node(
            "If", ["is_high"], ["i"], then_branch=branches["then"], else_branch=branches["other"]
        ),
        helper.make_node("MatMul", ["i", "w"], ["j"]),
        helper.make_node("MatMul", ["j", "v"], ["y"]),
    ]
    source = helper.make_tensor_value_info("x", 1, ["n", 20])
    target = helper.make_tensor_value_info("y", 1, ["n", 3])
    proto = helper.make_model(
        helper.make_graph(nodes, "graph", [source], [target], tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    form = form_of(proto, shape=(20,), classes=CLASSES)
    found = STATIC.apply(form, StaticOptions(), material_of(form, 40), seed=0)
    assert "If" in ops(found)
    assert far(form, found) < 0.2


def test_a_graph_of_bytes_has_no_layer_left() -> None:
    """Breaks when folding constants turns the bytes of an earlier step into float32 again."""
    form = mlp_form()
    material = material_of(form, 30)
    made = STATIC.apply(form, StaticOptions(), material, seed=0)
    reason = STATIC.why_not(made, material)
    assert reason is not None
    assert "no layer to quantize" in reason


def test_biases_of_one_row_are_biases() -> None:
    """Breaks when a bias of shape (1, n), as skl2onnx writes it, ends in a bare error."""
    graph = GraphOf(seed=3)
    hidden = graph.node("Gemm", "x", graph.weights(20, 64), graph.weights(1, 64))
    made = graph.node("Gemm", graph.node("Relu", hidden), graph.weights(64, 3), graph.weights(1, 3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    found = STATIC.apply(form, StaticOptions(), material_of(form, 100), seed=0)
    assert int8s(found) == 1
    assert far(form, found) < 0.1
