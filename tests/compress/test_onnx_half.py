"""Weights in halves: half the bytes, widened once, odd numbers defined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from renewal.compress.form import Form
from renewal.compress.onnx_dynamic import DynamicOptions, QuantizeDynamic
from renewal.compress.onnx_half import HalfOptions, QuantizeHalf
from renewal.core.errors import Invalid
from renewal.testing.onnx_forms import (
    Array,
    GraphOf,
    attention_form,
    cnn_form,
    material_of,
    mlp_form,
)

CLASSES = ("a", "b", "c")
HALF = QuantizeHalf()


def one_layer(weights: Array) -> Form:
    graph = GraphOf()
    made = graph.node("Tanh", graph.node("MatMul", "x", graph.weights(value=weights)))
    made = graph.node("MatMul", made, graph.weights(weights.shape[1], 3))
    return graph.form(made, shape=(weights.shape[0],), classes=CLASSES)


def stored(form: Form) -> list[int]:
    tensors = onnx.load_model_from_string(form.estimator.graph).graph.initializer
    return [each.data_type for each in tensors if len(each.dims) == 2]


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("make", [mlp_form, cnn_form, attention_form])
def test_half_the_bytes_and_the_same_answers(kind: str, make: Callable[[], Form]) -> None:
    form = make()
    material = material_of(form, 40)
    options = HalfOptions(kind)  # type: ignore[arg-type]  # from a parameter
    before = form.estimator.graph
    found, again = (HALF.apply(form, options, material, seed=0) for _ in range(2))
    assert found.estimator.graph == again.estimator.graph
    assert len(found.estimator.graph) < 0.62 * len(before)
    scores, others = (each.predict(material.train.features) for each in (form, found))
    assert (
        np.abs(scores - others).max()
        < (0.002 if kind == "float16" else 0.02) * np.abs(scores).max()
    )
    assert form.estimator.graph == before
    assert HALF.levels(form, material) == (HalfOptions(),)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_are_widened_once_while_the_session_is_opened(kind: str, tmp_path: Path) -> None:
    """Breaks when every prediction would pay for the Cast."""
    form = mlp_form()
    options = HalfOptions(kind)  # type: ignore[arg-type]  # from a parameter
    found = HALF.apply(form, options, material_of(form, 5), seed=0)
    session = onnxruntime.SessionOptions()
    session.log_severity_level = 4
    session.optimized_model_filepath = str(tmp_path / "run.onnx")
    onnxruntime.InferenceSession(found.estimator.graph, session, providers=["CPUExecutionProvider"])
    ran = onnx.load_model(tmp_path / "run.onnx")
    assert "Cast" not in {node.op_type for node in ran.graph.node}


def test_bfloat16_rounds_to_the_nearest_and_reaches_as_far() -> None:
    """Breaks when bits are cut instead of rounded, or the largest number becomes infinite."""
    weights = np.random.default_rng(2).normal(size=(20, 32)).astype(np.float32)
    weights[0, :6] = [0.0, -0.0, 3.4e38, -3.4e38, 1e-40, 1.00390625]
    form = one_layer(weights)
    found = HALF.apply(form, HalfOptions("bfloat16"), material_of(form, 5), seed=0)
    proto = onnx.load_model_from_string(found.estimator.graph)
    wide = next(numpy_helper.to_array(each) for each in proto.graph.initializer).astype(np.float32)
    assert np.isfinite(wide).all()
    normal = np.abs(weights) > 1e-37
    assert np.all(np.abs(wide - weights)[normal] <= np.abs(weights[normal]) * 2.0**-8)
    assert np.mean(np.abs(wide - weights)[1:] / np.abs(weights[1:])) < 2.0**-9


def test_what_float16_cannot_hold_stays_float32() -> None:
    weights = np.ones((20, 32))
    weights[0, 0] = 1e5
    form = one_layer(weights)
    material = material_of(form, 20)
    found = HALF.apply(form, HalfOptions(), material, seed=0)
    assert stored(found) == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16]
    found = HALF.apply(form, HalfOptions("bfloat16"), material, seed=0)
    assert stored(found) == [onnx.TensorProto.BFLOAT16] * 2


def test_a_graph_without_weights_is_a_reason() -> None:
    graph = GraphOf()
    form = graph.form(graph.node("MatMul", "x", graph.weights(4, 3)), shape=(4,), classes=CLASSES)
    material = material_of(form, 5)
    reason = HALF.why_not(form, material)
    assert reason is not None
    assert "no tensor" in reason
    with pytest.raises(Invalid, match="float32 weights"):
        HALF.apply(form, HalfOptions(), material, seed=0)


def test_tied_weights_stay_one_tensor() -> None:
    graph = GraphOf()
    shared = graph.weights(20, 20)
    hidden = graph.node("MatMul", graph.node("Tanh", graph.node("MatMul", "x", shared)), shared)
    form = graph.form(
        graph.node("MatMul", hidden, graph.weights(20, 4)),
        shape=(20,),
        classes=("a", "b", "c", "d"),
    )
    found = HALF.apply(form, HalfOptions(), material_of(form, 0), seed=0)
    assert stored(found) == [onnx.TensorProto.FLOAT16] * 2


def test_what_another_step_kept_in_float32_is_halved() -> None:
    """Breaks when a chain of two steps on one graph loses what the first one did."""
    form = mlp_form(depth=4)
    material = material_of(form, 40)
    first = QuantizeDynamic().apply(form, DynamicOptions(keep=0.34), material, seed=0)
    second = HALF.apply(first, HalfOptions(), material, seed=0)
    assert len(second.estimator.graph) < 0.75 * len(first.estimator.graph)
    scores, others = (each.predict(material.train.features) for each in (first, second))
    assert np.abs(scores - others).max() < 0.02
