"""Thin factors in the place of large matrices: exact where nothing is lost, and never larger."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest

from renewal.compress.form import Form
from renewal.compress.onnx_factorize import FactorizeGraph, GraphFactorOptions
from renewal.compress.onnx_size import size
from renewal.core.errors import Invalid
from renewal.testing.onnx_forms import GraphOf, attention_form, cnn_form, material_of, mlp_form

TECHNIQUE = FactorizeGraph()


def thin(form: Form, keep: float, n_rows: int = 64) -> Form:
    return TECHNIQUE.apply(form, GraphFactorOptions(keep), material_of(form, n_rows), seed=0)


def gap(form: Form, other: Form) -> float:
    features = material_of(form, 40, seed=9).train.features
    return float(np.abs(form.predict(features) - other.predict(features)).max())


def low(rng: np.random.Generator, *shape: int, rank: int) -> Any:
    flat = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, int(np.prod(shape[1:]))))
    return flat.reshape(shape)


@pytest.mark.parametrize("kind", ["MatMul", "Gemm", "turned", "scaled"])
def test_a_matrix_of_low_rank_loses_nothing(kind: str) -> None:
    """Broken when factors are turned, or a bias or a scale of a Gemm is lost."""
    graph, rng = GraphOf(), np.random.default_rng(2)
    weight = low(rng, 24, 16, rank=2)
    bias = graph.weights(value=rng.normal(size=16))
    if kind == "MatMul":
        made = graph.node("Add", graph.node("MatMul", "x", graph.weights(value=weight)), bias)
    elif kind == "scaled":
        matrix = graph.weights(value=weight)
        made = graph.node("Gemm", "x", matrix, bias, alpha=0.5, beta=2.0)
    else:
        matrix = graph.weights(value=weight.T if kind == "turned" else weight)
        made = graph.node("Gemm", "x", matrix, bias, transB=int(kind == "turned"))
    made = graph.node("ReduceMean", graph.node("Tanh", made), axes=[1], keepdims=1)
    form = graph.form(made, shape=(24,))
    found = thin(form, 0.25)
    assert gap(form, found) < 1e-5
    counted = size(found.estimator)
    assert counted.macs == 2 * (24 + 16)
    assert counted.parameters == 2 * (24 + 16) + 16


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_of_low_rank_loses_nothing(kernel: int) -> None:
    """Broken when strides, pads or the bias go to the wrong one of the two convolutions."""
    graph, rng = GraphOf(), np.random.default_rng(2)
    weight = graph.weights(value=low(rng, 12, 6, kernel, kernel, rank=2))
    bias = graph.weights(value=rng.normal(size=12))
    pads = [kernel // 2] * 4
    made = graph.node("Conv", "x", weight, bias, pads=pads, strides=[2, 2])
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", graph.node("Tanh", made)))
    form = graph.form(graph.node("ReduceMean", pooled, axes=[1]), shape=(6, 8, 8))
    found = thin(form, 0.6)
    assert gap(form, found) < 1e-4
    nodes = onnx.load_model_from_string(found.estimator.graph).graph.node
    assert [each.op_type for each in nodes].count("Conv") == 2
    assert (size(found.estimator).macs or 0) < (size(form.estimator).macs or 0)


@pytest.mark.parametrize("made", [mlp_form, cnn_form, attention_form])
def test_weights_fall_along_the_levels_and_what_is_left_is_kept(made: Any) -> None:
    form = made()
    material, before = material_of(form, 32), form.estimator.graph
    assert TECHNIQUE.why_not(form, material) is None
    levels = TECHNIQUE.levels(form, material)[::2]
    found = [TECHNIQUE.apply(form, each, material, seed=0) for each in levels]
    assert form.estimator.graph == before
    counts = [size(each.estimator).parameters for each in (form, *found)]
    assert all(b < a for a, b in pairwise(counts))
    again = TECHNIQUE.apply(form, levels[1], material, seed=5)
    assert again.estimator.graph == found[1].estimator.graph
    assert (again.classes, again.estimator.output) == (form.classes, form.estimator.output)
    assert gap(form, found[0]) < gap(form, found[-1])


def test_the_inputs_that_occur_decide_what_is_kept() -> None:
    """Broken without the second moments: the large rows of the weight, which no input reaches."""
    graph, rng = GraphOf(), np.random.default_rng(4)
    weight = rng.normal(size=(24, 24))
    weight[8:] *= 10.0
    made = graph.node("MatMul", "x", graph.weights(value=weight))
    form = graph.form(graph.node("ReduceMean", graph.node("Tanh", made), axes=[1]), shape=(24,))
    values = rng.normal(size=(200, 24))
    values[:, 8:] = 0.5
    material = material_of(form, 200, values=values)
    found = TECHNIQUE.apply(form, GraphFactorOptions(0.99, rows=200), material, seed=0)
    blind = TECHNIQUE.apply(form, GraphFactorOptions(0.99), material_of(form, 0), seed=0)
    rows = material.train.features
    said = form.predict(rows)
    assert np.abs(found.predict(rows) - said).max() < 1e-2
    assert np.abs(blind.predict(rows) - said).max() > 0.1


def test_a_layer_of_zeros_goes_first_and_tied_weights_stay() -> None:
    graph = GraphOf()
    zero = graph.weights(value=np.zeros((16, 16)))
    silent = graph.node("MatMul", "x", zero)
    tied = graph.weights(16, 16, name="tied")
    loud = graph.node("MatMul", graph.node("Tanh", graph.node("MatMul", "x", tied)), tied)
    own = graph.node("MatMul", graph.node("Add", silent, loud), graph.weights(16, 16, name="own"))
    form = graph.form(graph.node("ReduceMean", own, axes=[1], keepdims=1), shape=(16,))
    found = thin(form, 0.6)
    held = {
        each.name for each in onnx.load_model_from_string(found.estimator.graph).graph.initializer
    }
    assert {"tied", "own"} < held
    assert gap(form, found) < 1e-6


def test_a_graph_is_factorized_twice() -> None:
    """Broken by names of tensors that are taken already."""
    form = mlp_form(width=64)
    twice = thin(thin(form, 0.6), 0.6)
    assert size(twice.estimator).parameters < size(thin(form, 0.6).estimator).parameters


def test_no_row_and_one_row_are_enough() -> None:
    form = mlp_form()
    for n_rows in (0, 1):
        found = thin(form, 0.5, n_rows=n_rows)
        assert size(found.estimator).parameters < size(form.estimator).parameters
        assert np.isfinite(found.predict(material_of(form, 5).train.features)).all()


def test_refusals_name_what_is_missing() -> None:
    graph = GraphOf()
    small = graph.form(graph.node("MatMul", "x", graph.weights(3, 1)), shape=(3,))
    reason = TECHNIQUE.why_not(small, material_of(small, 2))
    assert reason is not None
    assert "two thin factors" in reason
    with pytest.raises(Invalid, match="two thin factors"):
        thin(small, 0.5)
    for keep in (0.0, 1.0):
        with pytest.raises(Invalid, match=f"keep={keep}"):
            thin(mlp_form(), keep)
