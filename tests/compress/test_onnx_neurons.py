"""Hidden units that leave a graph: which, what the others take over, and where it is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from renewal.compress.form import Form
from renewal.compress.onnx_matrices import Matrices
from renewal.compress.onnx_neurons import NeuronOptions, PruneNeurons
from renewal.compress.onnx_size import size
from renewal.compress.onnx_units import hidden_of
from renewal.core.errors import Invalid
from renewal.testing.onnx_forms import GraphOf, attention_form, cnn_form, material_of, mlp_form

TECHNIQUE = PruneNeurons()


def narrowed(form: Form, share: float, n_rows: int = 64) -> Form:
    return TECHNIQUE.apply(form, NeuronOptions(share), material_of(form, n_rows), seed=0)


def widths(form: Form) -> list[int]:
    return [each.width for each in hidden_of(Matrices(form.estimator, who="test"))]


def gap(form: Form, other: Form, n_rows: int = 50) -> float:
    features = material_of(form, n_rows, seed=9).train.features
    return float(np.abs(form.predict(features) - other.predict(features)).max())


def dense(graph: GraphOf, source: str, weight: NDArray[Any], bias: NDArray[Any], kind: str) -> str:
    if kind == "Gemm":
        return graph.node("Gemm", source, graph.weights(value=weight), graph.weights(value=bias))
    if kind == "turned":
        turned = graph.weights(value=weight.T)
        return graph.node("Gemm", source, turned, graph.weights(value=bias), transB=1)
    made = graph.node("MatMul", source, graph.weights(value=weight))
    return made if kind == "bare" else graph.node("Add", made, graph.weights(value=bias))


def half_dead(kind: str, activation: str, *, last: str = "Gemm") -> Form:
    """Return 16 hidden units of which 8 say nothing, or the same for every row."""
    rng = np.random.default_rng(3)
    first, bias = rng.normal(size=(5, 16)), rng.normal(size=16)
    second = rng.normal(size=(16, 1))
    first[:, [1, 4, 7, 9]] = 0.0  # constant: what they say belongs into the next bias
    second[[0, 2, 11, 15]] = 0.0  # nobody listens
    graph = GraphOf()
    hidden = graph.node(activation, dense(graph, "x", first, bias, kind))
    made = dense(graph, hidden, second, rng.normal(size=1), last)
    return graph.form(made, shape=(5,))


@pytest.mark.parametrize("kind", ["Gemm", "turned", "MatMul"])
@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid"])
def test_units_that_say_nothing_cost_nothing(kind: str, activation: str) -> None:
    """Broken when a constant unit goes without what it said, or the wrong rows are cut."""
    form = half_dead(kind, activation)
    found = narrowed(form, 0.5)
    assert widths(found) == [8]
    assert gap(form, found) < 1e-5
    counted = size(found.estimator)
    assert (counted.parameters, counted.macs) == (5 * 8 + 8 + 8 + 1, 5 * 8 + 8)


@pytest.mark.parametrize("last", ["MatMul", "bare", "turned"])
def test_what_was_constant_finds_a_bias_in_the_next_layer(last: str) -> None:
    form = half_dead("Gemm", "Relu", last=last)
    assert gap(form, narrowed(form, 0.5)) < 1e-5


def test_twins_take_over_from_each_other() -> None:
    """Broken without the least squares fit: eight of sixteen units would be missing."""
    rng = np.random.default_rng(5)
    first, bias = np.tile(rng.normal(size=(4, 8)), 2), np.tile(rng.normal(size=8), 2)
    graph = GraphOf()
    hidden = graph.node("Relu", dense(graph, "x", first, bias, "Gemm"))
    second = rng.normal(size=(16, 1))
    form = graph.form(dense(graph, hidden, second, np.zeros(1), "Gemm"), shape=(4,))
    spread = float(np.std(form.predict(material_of(form, 200).train.features)))
    assert gap(form, narrowed(form, 0.5, n_rows=200)) < 0.02 * spread


def test_gelu_in_its_parts_and_a_layer_of_places_are_followed() -> None:
    graph = GraphOf()
    source = dense(
        graph, "x", np.random.default_rng(1).normal(size=(6, 32)), np.zeros(32), "MatMul"
    )
    half = graph.node("Div", source, graph.weights(value=np.array(2**0.5)))
    raised = graph.node("Add", graph.node("Erf", half), graph.weights(value=np.array(1.0)))
    made = graph.node("MatMul", graph.node("Mul", source, raised), graph.weights(32, 4))
    mean = graph.node("ReduceMean", made, axes=[1], keepdims=0)
    form = graph.form(graph.node("MatMul", mean, graph.weights(4, 1)), shape=(3, 6))
    assert widths(form) == [32]
    assert widths(narrowed(form, 0.5)) == [16]


def test_widths_fall_along_the_levels_to_multiples_of_eight() -> None:
    form = mlp_form(width=64, depth=3)
    material, before = material_of(form, 64), form.estimator.graph
    assert TECHNIQUE.why_not(form, material) is None
    levels = TECHNIQUE.levels(form, material)
    found = [TECHNIQUE.apply(form, each, material, seed=0) for each in levels]
    assert form.estimator.graph == before
    assert all(width % 8 == 0 for each in found for width in widths(each))
    costs = [size(each.estimator).macs or 0 for each in (form, *found)]
    assert all(b < a for a, b in pairwise(costs))
    assert 4 <= len(levels) <= 12
    again = TECHNIQUE.apply(form, levels[2], material, seed=7)
    assert again.estimator.graph == found[2].estimator.graph
    assert again.estimator.is_logits
    assert again.classes == form.classes


def test_few_rows_go_by_the_weights() -> None:
    """One row knows no spread; the units with the smallest weights go then."""
    form = half_dead("Gemm", "Relu")
    assert widths(narrowed(form, 0.25, n_rows=1)) == [16]
    one = narrowed(form, 0.5, n_rows=1)
    assert widths(one) == [8]
    assert gap(form, one) < 1e-5


def test_what_is_not_certain_stays() -> None:
    """Broken when units go that a sum, a normalization or another reader still needs."""
    rng = np.random.default_rng(0)

    def residual(graph: GraphOf, source: str) -> str:
        return graph.node("Add", graph.node("Relu", source), "x")

    def normed(graph: GraphOf, source: str) -> str:
        return graph.node("Softmax", source, axis=-1)

    def summed(graph: GraphOf, source: str) -> str:
        mean = graph.node("ReduceMean", source, axes=[1], keepdims=1)
        return graph.node("Sub", source, mean)

    for between in (residual, normed, summed):
        graph = GraphOf()
        source = dense(graph, "x", rng.normal(size=(16, 16)), np.zeros(16), "Gemm")
        made = dense(graph, between(graph, source), rng.normal(size=(16, 1)), np.zeros(1), "Gemm")
        form = graph.form(made, shape=(16,))
        reason = TECHNIQUE.why_not(form, material_of(form, 4))
        assert reason is not None, between.__name__
        assert "no hidden layer" in reason
    tied = GraphOf()
    weight = tied.weights(16, 16)
    hidden = tied.node("Relu", tied.node("MatMul", "x", weight))
    twice = tied.node("Relu", tied.node("MatMul", hidden, weight))
    form = tied.form(tied.node("MatMul", twice, tied.weights(16, 1)), shape=(16,))
    assert TECHNIQUE.why_not(form, material_of(form, 4)) is not None


def test_refusals_name_what_is_missing() -> None:
    form = mlp_form()
    assert TECHNIQUE.why_not(form, material_of(form, 0)) == (
        "there is no row to look at the hidden units with"
    )
    with pytest.raises(Invalid, match="no row"):
        narrowed(form, 0.5, n_rows=0)
    with pytest.raises(Invalid, match="share=1"):
        narrowed(form, 1.0)
    for other in (cnn_form(), attention_form()):
        with pytest.raises(Invalid, match="no hidden layer"):
            narrowed(other, 0.5)
