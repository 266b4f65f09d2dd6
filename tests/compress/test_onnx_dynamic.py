"""Dynamic quantization: smaller, close, deterministic, and defined on odd graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from renewal.compress.form import Form
from renewal.compress.onnx_dynamic import DynamicOptions, QuantizeDynamic
from renewal.core.errors import Invalid
from renewal.models.score_map import ScoreMap
from renewal.models.score_map_curves import Temperature
from renewal.testing.onnx_forms import GraphOf, attention_form, cnn_form, material_of, mlp_form

CLASSES = ("a", "b", "c")
DYNAMIC = QuantizeDynamic()


def far(form: Form, other: Form, *, n_rows: int = 60) -> float:
    """Return the largest difference of scores."""
    features = material_of(form, n_rows, seed=9).train.features
    return float(np.abs(form.predict(features) - other.predict(features)).max())


def ops(form: Form) -> list[str]:
    return [each.op_type for each in onnx.load_model_from_string(form.estimator.graph).graph.node]


def test_size_falls_along_the_levels_and_scores_stay_close() -> None:
    """Breaks when a kept layer is quantized all the same, or one that should be is not."""
    form = mlp_form(width=64, depth=5)
    material = material_of(form, 80)
    before = form.estimator.graph
    made = [DYNAMIC.apply(form, each, material, seed=0) for each in DYNAMIC.levels(form, material)]
    sizes = [len(each.estimator.graph) for each in made]
    assert len(sizes) == 4
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.4 * len(before)
    assert [ops(each).count("MatMulInteger") for each in made] == [1, 2, 3, 4]
    assert max(far(form, each) for each in made) < 0.05
    assert form.estimator.graph == before


def test_it_is_the_same_every_time() -> None:
    form = attention_form()
    material = material_of(form, 50)
    options = DynamicOptions(keep=0.34)
    first, second = (DYNAMIC.apply(form, options, material, seed=0) for _ in range(2))
    assert first.estimator.graph == second.estimator.graph


def test_what_the_graph_does_not_say_is_carried_on() -> None:
    form = mlp_form()
    form = Form("onnx", form.estimator, form.signature, CLASSES, ScoreMap((Temperature(2.0),)))
    made = DYNAMIC.apply(form, DynamicOptions(), material_of(form, 20), seed=0)
    assert (made.adapter, made.signature, made.classes) == ("onnx", form.signature, CLASSES)
    assert made.score_map is form.score_map
    assert made.estimator.output == form.estimator.output
    assert made.estimator.is_logits
    again = form.runs.load(form.runs.dump(made.estimator))
    assert again.graph == made.estimator.graph


def test_convolutions_are_left_alone() -> None:
    """Breaks when ConvInteger, ten times slower than float32, comes into a graph."""
    form = cnn_form()
    reason = DYNAMIC.why_not(form, material_of(form, 5))
    assert reason is not None
    assert "no layer to quantize" in reason
    with pytest.raises(Invalid, match="a layer to quantize"):
        DYNAMIC.apply(form, DynamicOptions(), material_of(form, 5), seed=0)


@pytest.mark.parametrize("opset", [9, 11, 20, 23])
def test_every_opset_is_taken(opset: int) -> None:
    graph = GraphOf(opset=opset)
    hidden = graph.node("Gemm", "x", graph.weights(32, 20), graph.weights(32), transB=1)
    made = graph.node("Gemm", graph.node("Relu", hidden), graph.weights(32, 3), graph.weights(3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    found = DYNAMIC.apply(form, DynamicOptions(), material_of(form, 20), seed=0)
    assert "MatMulInteger" in ops(found)
    assert far(form, found) < 0.05


def test_a_layer_of_zeros_stays_zero() -> None:
    """Breaks on a scale of zero."""
    graph = GraphOf()
    zeros = graph.weights(value=np.zeros((32, 20)))
    hidden = graph.node("Gemm", "x", zeros, graph.weights(32), transB=1)
    made = graph.node("MatMul", graph.node("Tanh", hidden), graph.weights(32, 3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    found = DYNAMIC.apply(form, DynamicOptions(), material_of(form, 20), seed=0)
    assert far(form, found) < 0.02


def test_a_table_shared_with_a_head_is_quantized_for_both() -> None:
    """Breaks when tied weights, read along two axes, get the scales of one."""
    graph = GraphOf()
    table = graph.weights(50, 16)
    places = graph.node("Cast", graph.node("Abs", "x"), to=onnx.TensorProto.INT64)
    mean = graph.node("ReduceMean", graph.node("Gather", table, places), axes=[1], keepdims=0)
    made = graph.node("MatMul", graph.node("Gemm", mean, table, transB=1), graph.weights(50, 3))
    form = graph.form(made, shape=(6,), classes=CLASSES)
    found = DYNAMIC.apply(form, DynamicOptions(), material_of(form, 20), seed=0)
    assert "MatMulInteger" in ops(found)
    assert far(form, found) < 0.05


def test_a_recurrent_layer_is_quantized() -> None:
    graph = GraphOf()
    turned = graph.node("Transpose", "x", perm=[1, 0, 2])
    parts = [graph.weights(1, 64, 8), graph.weights(1, 64, 16), graph.weights(1, 128)]
    hidden = graph.node("LSTM", turned, *parts, hidden_size=16)
    mean = graph.node("ReduceMean", hidden, axes=[0, 1], keepdims=0)
    made = graph.node("MatMul", graph.node("MatMul", mean, graph.weights(16, 32)), "last")
    graph.weights(32, 3, name="last")
    form = graph.form(made, shape=(5, 8), classes=CLASSES)
    material = material_of(form, 20)
    found = DYNAMIC.apply(form, DynamicOptions(), material, seed=0)
    assert {"DynamicQuantizeLSTM", "MatMulInteger"} <= set(ops(found))
    assert far(form, found) < 0.05
    half = DYNAMIC.apply(form, DynamicOptions(keep=0.5), material, seed=0)
    assert sum(op in {"DynamicQuantizeLSTM", "MatMulInteger"} for op in ops(half)) == 1


def test_a_scaled_product_stays_as_it_is() -> None:
    graph = GraphOf()
    hidden = graph.node("Gemm", "x", graph.weights(32, 20), transB=1, alpha=0.5)
    last = graph.node("Relu", graph.node("Gemm", hidden, graph.weights(32, 32)))
    made = graph.node("MatMul", last, graph.weights(32, 3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    found = DYNAMIC.apply(form, DynamicOptions(), material_of(form, 20), seed=0)
    assert ops(found).count("MatMulInteger") == 1
    assert far(form, found) < 0.05


def test_a_custom_operator_is_left_alone_and_an_unknown_one_is_a_reason() -> None:
    """Breaks when a graph that ONNX Runtime does not run ends in an exception of its own."""
    found = {}
    for op in ("Gelu", "Mystery"):
        graph = GraphOf()
        hidden = graph.node(
            op, graph.node("MatMul", "x", graph.weights(20, 32)), domain="com.microsoft"
        )
        made = graph.node("MatMul", hidden, graph.weights(32, 3))
        found[op] = graph.form(made, shape=(20,), classes=CLASSES)
    material = material_of(mlp_form(), 20)
    assert "Gelu" in ops(DYNAMIC.apply(found["Gelu"], DynamicOptions(), material, seed=0))
    reason = DYNAMIC.why_not(found["Mystery"], material)
    assert reason is not None
    assert "Mystery" in reason


def test_without_rows_all_layers_are_quantized() -> None:
    form = mlp_form()
    material = material_of(form, 0)
    assert DYNAMIC.levels(form, material) == (DynamicOptions(),)
    assert ops(DYNAMIC.apply(form, DynamicOptions(), material, seed=0)).count("MatMulInteger") == 2
    with pytest.raises(Invalid, match="training rows"):
        DYNAMIC.apply(form, DynamicOptions(keep=0.5), material, seed=0)


@pytest.mark.parametrize("keep", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(keep: float) -> None:
    with pytest.raises(Invalid, match="keep"):
        DynamicOptions(keep=keep)
