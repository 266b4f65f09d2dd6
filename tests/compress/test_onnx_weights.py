"""Weight-only quantization: bytes in the file, the kernels that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from renewal.compress.form import Form
from renewal.compress.onnx_weights import QuantizeWeights, WeightsOptions
from renewal.core.errors import Invalid
from renewal.testing.onnx_forms import GraphOf, attention_form, cnn_form, material_of, mlp_form

CLASSES = ("a", "b", "c")
WEIGHTS = QuantizeWeights()


def far(form: Form, other: Form) -> float:
    features = material_of(form, 60, seed=9).train.features
    return float(np.abs(form.predict(features) - other.predict(features)).max())


def ops(form: Form) -> list[str]:
    return [each.op_type for each in onnx.load_model_from_string(form.estimator.graph).graph.node]


@pytest.mark.parametrize("kernel", ["blocks", "folded"])
@pytest.mark.parametrize("make", [mlp_form, cnn_form, attention_form])
def test_size_falls_and_scores_stay_close(kernel: str, make: Callable[[], Form]) -> None:
    """Breaks when a block is laid out otherwise than the kernel reads it."""
    form = make()
    material = material_of(form, 60)
    levels = [
        WeightsOptions(keep=each.keep, kernel=kernel)  # type: ignore[arg-type]  # from a parameter
        for each in WEIGHTS.levels(form, material)
    ]
    before = form.estimator.graph
    made = [WEIGHTS.apply(form, each, material, seed=0) for each in levels]
    sizes = [len(each.estimator.graph) for each in made]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes) >= 2
    assert sizes[-1] < 0.45 * len(before)
    scale = np.abs(form.predict(material.train.features)).max()
    assert max(far(form, each) for each in made) < 0.05 * scale
    again = WEIGHTS.apply(form, levels[0], material, seed=0)
    assert again.estimator.graph == made[0].estimator.graph
    assert form.estimator.graph == before


def test_dense_layers_run_on_bytes_and_others_do_not() -> None:
    form = mlp_form()
    material = material_of(form, 20)
    assert ops(WEIGHTS.apply(form, WeightsOptions(), material, seed=0)).count("MatMulNBits") == 2
    folded = WEIGHTS.apply(form, WeightsOptions(kernel="folded"), material, seed=0)
    assert "MatMulNBits" not in ops(folded)
    picture = cnn_form()
    found = WEIGHTS.apply(picture, WeightsOptions(), material_of(picture, 20), seed=0)
    assert ops(found).count("Conv") == 3


def test_bytes_are_widened_once_while_the_session_is_opened(tmp_path: Path) -> None:
    """Breaks when ONNX Runtime would multiply the weights out at every prediction."""
    form = mlp_form()
    made = WEIGHTS.apply(form, WeightsOptions(kernel="folded"), material_of(form, 20), seed=0)
    assert {"Cast", "Mul"} <= set(ops(made))
    session = onnxruntime.SessionOptions()
    session.log_severity_level = 4
    session.optimized_model_filepath = str(tmp_path / "run.onnx")
    onnxruntime.InferenceSession(made.estimator.graph, session, providers=["CPUExecutionProvider"])
    ran = onnx.load_model(tmp_path / "run.onnx")
    assert {"Cast", "Mul"}.isdisjoint({node.op_type for node in ran.graph.node})


@pytest.mark.parametrize("n_inputs", [17, 64, 129, 300])
def test_inputs_that_fill_no_block(n_inputs: int) -> None:
    """Breaks when the last block is padded otherwise than by zeros."""
    graph = GraphOf()
    hidden = graph.node("Relu", graph.node("MatMul", "x", graph.weights(n_inputs, 32)))
    made = graph.node("MatMul", hidden, graph.weights(32, 3))
    form = graph.form(made, shape=(n_inputs,), classes=CLASSES)
    found = WEIGHTS.apply(form, WeightsOptions(), material_of(form, 20), seed=0)
    assert "MatMulNBits" in ops(found)
    assert far(form, found) < 0.1


def test_tied_weights_are_stored_once() -> None:
    graph = GraphOf()
    shared = graph.weights(64, 64)
    hidden = graph.node("Relu", graph.node("MatMul", "x", shared))
    hidden = graph.node("Relu", graph.node("Gemm", hidden, shared))
    made = graph.node("MatMul", hidden, graph.weights(64, 3))
    form = graph.form(made, shape=(64,), classes=CLASSES)
    material = material_of(form, 20)
    for kernel in ("blocks", "folded"):
        found = WEIGHTS.apply(form, WeightsOptions(kernel=kernel), material, seed=0)
        assert len(found.estimator.graph) < 64 * 64 + 2500
        assert far(form, found) < 0.05


def test_a_table_shared_with_a_head_is_widened_for_both() -> None:
    graph = GraphOf()
    table = graph.weights(50, 16)
    places = graph.node("Cast", graph.node("Abs", "x"), to=onnx.TensorProto.INT64)
    mean = graph.node("ReduceMean", graph.node("Gather", table, places), axes=[1], keepdims=0)
    made = graph.node("MatMul", graph.node("Gemm", mean, table, transB=1), graph.weights(50, 3))
    form = graph.form(made, shape=(6,), classes=CLASSES)
    found = WEIGHTS.apply(form, WeightsOptions(), material_of(form, 20), seed=0)
    assert "MatMulNBits" not in ops(found)
    assert len(found.estimator.graph) < 0.6 * len(form.estimator.graph)
    assert far(form, found) < 0.05


@pytest.mark.parametrize("kernel", ["blocks", "folded"])
def test_zeros_and_one_row_and_no_row(kernel: str) -> None:
    graph = GraphOf()
    zeros = graph.weights(value=np.zeros((32, 20)))
    hidden = graph.node("Gemm", "x", zeros, graph.weights(32), transB=1)
    made = graph.node("MatMul", graph.node("Tanh", hidden), graph.weights(32, 32))
    made = graph.node("MatMul", made, graph.weights(32, 3))
    form = graph.form(made, shape=(20,), classes=CLASSES)
    options = WeightsOptions(kernel=kernel)  # type: ignore[arg-type]  # from a parameter
    for n_rows in (0, 1, 20):
        found = WEIGHTS.apply(form, options, material_of(form, n_rows), seed=0)
        assert far(form, found) < 0.02
    with pytest.raises(Invalid, match="training rows"):
        WEIGHTS.apply(form, WeightsOptions(keep=0.5), material_of(form, 0), seed=0)


def test_other_bits_are_refused() -> None:
    with pytest.raises(Invalid, match="bits=4"):
        WeightsOptions(bits=4)


def test_nothing_to_quantize_is_a_reason() -> None:
    graph = GraphOf()
    made = graph.node("MatMul", "x", graph.weights(4, 3))
    form = graph.form(made, shape=(4,), classes=CLASSES)
    reason = WEIGHTS.why_not(form, material_of(form, 5))
    assert reason is not None
    assert "no layer to quantize" in reason
