"""The order of layers by what rounding each of them alone does to the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from renewal.compress.form import Form
from renewal.compress.onnx_layers import Layer, layers_of, parsed
from renewal.compress.onnx_sensitivity import most_sensitive
from renewal.testing.onnx_forms import Array, GraphOf, attention_form, material_of


def spoiled(weights: Array) -> Array:
    """Return weights of which one in each channel makes all others round to nothing."""
    weights = weights.copy()
    weights[0] = 60.0
    return weights


def ordered(form: Form, *, values: Array | None = None, activations: bool) -> list[Any]:
    proto = parsed(form.estimator.graph, who="test")
    before = proto.SerializeToString(deterministic=True)
    layers = layers_of(proto, ["MatMul", "Gather"])
    features = material_of(form, 70, values=values).train.features
    order = most_sensitive(form.estimator, proto, layers, features, activations=activations)
    assert proto.SerializeToString(deterministic=True) == before
    assert sorted(order, key=layers.index) == list(layers)
    return [layers.index(each) for each in order]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("classes", [("a", "b", "c"), ()])
def test_the_layer_that_rounds_badly_comes_first(at: int, classes: tuple[str, ...]) -> None:
    """Breaks when the order is turned, or another layer's weights are replaced."""
    graph, rng = GraphOf(), np.random.default_rng(5)
    last = "x"
    for place in range(3):
        weights = rng.normal(size=(16, 16)) / 4
        # The large input is zero in all rows, so that only the rounding shows.
        last = graph.node(
            "MatMul", last, graph.weights(value=spoiled(weights) if place == at else weights)
        )
        last = graph.node(
            "Mul", graph.node("Tanh", last), graph.weights(value=(np.arange(16) > 0.5) * 1.0)
        )
    made = graph.node("MatMul", last, graph.weights(16, len(classes) or 1))
    values = rng.normal(size=(70, 16))
    values[:, 0] = 0.0
    form = graph.form(made, shape=(16,), classes=classes)
    assert ordered(form, values=values, activations=False)[0] == at


def test_activations_count_only_where_they_are_rounded() -> None:
    """Breaks when the switch before a layer does nothing, or stays on.

    The second layer's input holds one huge value whose weights are zero: rounding the input
    loses all others, rounding the weights loses nothing.
    """
    graph, rng = GraphOf(), np.random.default_rng(6)
    first = np.round(rng.normal(size=(16, 16)) * 20) / 127
    first[0] = 1.0
    hidden = graph.node("Tanh", graph.node("MatMul", "x", graph.weights(value=first)))
    huge = np.zeros(16)
    huge[0] = 1e4
    hidden = graph.node("Add", hidden, graph.weights(value=huge))
    second = rng.choice([-1.0, 1.0 / 127, 1.0], size=(16, 16))
    second[0] = 0.0
    made = graph.node("MatMul", hidden, graph.weights(value=second))
    form = graph.form(
        graph.node("MatMul", made, graph.weights(16, 3)), shape=(16,), classes=("a", "b", "c")
    )
    assert ordered(form, activations=True)[0] == 1
    assert ordered(form, activations=False)[0] == 0


def test_equal_layers_keep_the_order_of_the_graph() -> None:
    graph = GraphOf()
    zeros = [graph.node("MatMul", "x", graph.weights(value=np.zeros((16, 16)))) for _ in range(3)]
    made = graph.node("MatMul", graph.node("Sum", *zeros), graph.weights(16, 3))
    form = graph.form(made, shape=(16,), classes=("a", "b", "c"))
    assert ordered(form, activations=True) == [0, 1, 2]


def test_it_is_the_same_every_time() -> None:
    form = attention_form()
    assert ordered(form, activations=True) == ordered(form, activations=True)


def test_a_layer_that_breaks_the_scores_comes_first() -> None:
    """Breaks when infinite scores end the comparison instead of ranking the layer."""
    graph, rng = GraphOf(), np.random.default_rng(8)
    weights = rng.normal(size=(16, 16))
    plain = graph.node("MatMul", "x", graph.weights(value=weights))
    # Its one small weight rounds to zero, and what is divided by it grows without end.
    tiny = np.zeros((16, 16))
    tiny[0], tiny[1] = 1e-4, 1.0
    small = graph.node("MatMul", graph.node("Relu", plain), graph.weights(value=tiny))
    ratio = graph.node("Div", plain, small)
    made = graph.node("MatMul", ratio, graph.weights(16, 1))
    form = graph.form(made, shape=(16,))
    values = np.zeros((70, 16))
    values[:] = np.linalg.solve(weights.T, np.eye(16)[0])
    layers = layers_of(parsed(form.estimator.graph, who="test"), ["MatMul"])
    assert isinstance(layers[1], Layer)
    assert ordered(form, values=values, activations=False)[0] == 1
