"""Unstructured pruning of graphs: which weights go, and what stays as it is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from renewal.compress.chain import parse_chain
from renewal.compress.form import Form
from renewal.compress.measure import size_of
from renewal.compress.onnx_magnitude import MagnitudeOptions, PruneMagnitude
from renewal.compress.onnx_matrices import Matrices
from renewal.compress.onnx_size import size
from renewal.core.errors import Invalid
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_model import OnnxModel
from renewal.testing.onnx_forms import GraphOf, cnn_form, material_of, mlp_form

TECHNIQUE = PruneMagnitude()


def pruned(form: Form, share: float, *, last: bool = True) -> Form:
    return TECHNIQUE.apply(form, MagnitudeOptions(share, last), material_of(form, 8), seed=0)


def weights_of(form: Form) -> dict[str, NDArray[Any]]:
    held = onnx.load_model_from_string(form.estimator.graph).graph.initializer
    return {each.name: numpy_helper.to_array(each) for each in held}


def two_layers(first: list[float], second: list[float]) -> Form:
    graph = GraphOf()
    hidden = graph.node("MatMul", "x", graph.weights(value=np.array([first])))
    made = graph.node("MatMul", hidden, graph.weights(value=np.array([second]).T))
    return graph.form(made, shape=(1,))


def test_one_threshold_cuts_through_all_layers() -> None:
    """Broken when each layer loses the same share: the small one must lose both."""
    form = two_layers([0.1, -0.2], [3.0, -4.0])
    first, second = weights_of(pruned(form, 0.5)).values()
    assert first.tolist() == [[0.0, 0.0]]
    assert second.ravel().tolist() == [3.0, -4.0]
    spared = weights_of(pruned(form, 0.5, last=False)).values()
    assert [each.ravel().tolist() for each in spared] == [
        [0.0, pytest.approx(-0.2)],
        [3.0, -4.0],
    ]


def test_equal_weights_go_in_their_order_and_zeros_first() -> None:
    assert [each.ravel().tolist() for each in weights_of(
        pruned(two_layers([0.0, 1.0], [1.0, 0.0]), 0.75)
    ).values()] == [[0.0, 0.0], [1.0, 0.0]]  # fmt: skip


@pytest.mark.parametrize("made", [mlp_form, cnn_form])
def test_bytes_and_norm_fall_along_the_levels_and_time_does_not(made: Any) -> None:
    form = made()
    material = material_of(form, 16)
    assert TECHNIQUE.why_not(form, material) is None
    levels = TECHNIQUE.levels(form, material)
    sizes = [size_of(form, len(OnnxAdapter().dump(form.estimator)))]
    before = form.estimator.graph
    for each in levels:
        found = TECHNIQUE.apply(form, each, material, seed=0)
        assert (
            found.estimator.graph == TECHNIQUE.apply(form, each, material, seed=1).estimator.graph
        )
        assert (found.classes, found.estimator.is_logits, found.estimator.output) == (
            form.classes, form.estimator.is_logits, form.estimator.output,
        )  # fmt: skip
        sizes.append(size_of(found, len(OnnxAdapter().dump(found.estimator))))
    assert form.estimator.graph == before
    assert 4 <= len(levels) <= 12
    assert all(b.bytes < a.bytes for a, b in pairwise(sizes))
    counts = [size(TECHNIQUE.apply(form, each, material, seed=0).estimator) for each in levels]
    assert all(b.nonzero < a.nonzero and b.l1 < a.l1 for a, b in pairwise(counts))
    assert len({each.macs for each in counts}) == 1


def test_tied_weights_count_once_and_stay_tied() -> None:
    graph = GraphOf()
    tied = graph.weights(4, 4)
    made = graph.node("MatMul", graph.node("MatMul", "x", tied), tied)
    form = graph.form(graph.node("MatMul", made, graph.weights(4, 1)), shape=(4,))
    found = weights_of(pruned(form, 0.5))
    assert sum(int((each == 0).sum()) for each in found.values()) == 10
    assert len(found) == 2


def test_layers_of_zeros_and_what_is_no_layer() -> None:
    silent = two_layers([0.0, 0.0], [0.0, 0.0])
    assert (
        pruned(silent, 0.5).predict(material_of(silent, 3).train.features).tolist() == [[0.0]] * 3
    )
    graph = GraphOf()
    bare = graph.form(graph.node("Relu", "x"), shape=(1,))
    reason = TECHNIQUE.why_not(bare, material_of(bare, 1))
    assert reason is not None
    assert "no MatMul" in reason
    with pytest.raises(Invalid, match="got none"):
        pruned(bare, 0.5)
    broken = two_layers([float("nan"), 1.0], [1.0, 1.0])
    with pytest.raises(Invalid, match="finite"):
        TECHNIQUE.apply(broken, MagnitudeOptions(), material_of(silent, 1), seed=0)
    with pytest.raises(Invalid, match="share=1"):
        pruned(silent, 1.0)


def test_an_operator_of_a_stranger_is_no_layer() -> None:
    graph = GraphOf()
    made = graph.node("MatMul", "x", graph.weights(4, 1), domain="shop")
    proto = graph.proto(made, shape=(4,), n_scores=1)
    assert Matrices(OnnxModel.read(proto), who="test").found() == []


def test_no_row_is_needed_and_the_chain_is_read() -> None:
    form = mlp_form()
    found = TECHNIQUE.apply(form, MagnitudeOptions(0.9), material_of(form, 0), seed=0)
    assert size(found.estimator).nonzero < 0.2 * size(form.estimator).nonzero
    assert parse_chain("prune.magnitude:share=0.9").steps[0].options == MagnitudeOptions(0.9)
