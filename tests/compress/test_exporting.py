"""Networks leave as graphs: once, where a graph is needed or the chain ends, and equal.

What would break it: a network that is stored as itself, a graph that is exported again, or a
step on graphs that is handed a network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from renewal.compress.book import MemoryBook
from renewal.compress.chain import parse_chain
from renewal.compress.exporting import ExportGraph, ExportOptions, exported, is_exported
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.runner import Runner
from renewal.data.rows import Rows
from renewal.store.local import LocalStore
from renewal.testing.forms import FormCase, numbers, rows_of
from renewal.testing.onnx_forms import mlp_form
from renewal.testing.torch_forms import torch_forms
from renewal.testing.torch_nets import TRUST


@pytest.fixture(scope="module")
def net() -> FormCase:
    """Return a small network, trained for a moment."""
    return torch_forms()[0]


@pytest.fixture
def runner(net: FormCase, tmp_path: Path) -> Runner:
    """Return a runner on the network."""
    _, labels = numbers(240)
    validation: Rows = rows_of(net.features, labels[160:])
    material = Material(net.material.task, net.material.train, net.form, trust=TRUST)
    book = MemoryBook(LocalStore(tmp_path))
    return Runner(net.form, "net", 10_000, material=material, validation=validation, book=book)


def test_a_graph_says_what_the_network_says(net: FormCase) -> None:
    graph = exported(net.form, net.material)
    assert (graph.adapter, graph.classes) == ("onnx", net.form.classes)
    expected = net.form.predict(net.features)
    np.testing.assert_allclose(graph.predict(net.features), expected, atol=1e-5)
    assert exported(graph, net.material) is graph
    same = ExportGraph().apply(net.form, ExportOptions(), net.material, seed=0)
    np.testing.assert_array_equal(same.predict(net.features), graph.predict(net.features))


def test_only_networks_are_exported(forest: FormCase) -> None:
    assert [is_exported(each) for each in ("torch", "transformers", "sklearn", "onnx")] == [
        True,
        True,
        False,
        False,
    ]
    assert exported(forest.form, forest.material) is forest.form
    graph: Form = mlp_form(width=4)
    assert exported(graph, forest.material) is graph


def test_every_chain_on_a_network_ends_in_a_graph(runner: Runner) -> None:
    nothing = runner.trial(parse_chain("nothing"))
    assert (nothing.adapter, nothing.artifact) == ("torch", "")
    graph = runner.trial(parse_chain("export.graph"))
    small = runner.trial(parse_chain("quantize.dynamic"))
    for each in (graph, small):
        assert (each.failed, each.adapter) == (None, "onnx")
    np.testing.assert_allclose(runner.scores(graph), runner.scores(nothing), atol=1e-5)
    np.testing.assert_allclose(runner.scores(small), runner.scores(nothing), atol=0.1)
    assert small.size is not None
    assert graph.size is not None
    assert small.size.bytes < graph.size.bytes
    assert nothing.size is not None
    # A batch normalization is folded into its layer: a few parameters less.
    assert 0 < graph.size.parameters <= nothing.size.parameters


def test_levels_of_a_step_on_graphs_are_asked_of_a_graph(runner: Runner) -> None:
    assert runner.levels(parse_chain("factorize.graph:*"))


def test_a_network_is_no_model_of_trees(runner: Runner) -> None:
    failed = runner.trial(parse_chain("prune.forest:trees=1")).failed
    assert failed is not None
    assert "needs a model of sklearn; got one of torch" in failed


def test_chains_on_graphs_share_one_export(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by an export, seconds for a transformer, at every level of every chain."""
    networks: list[str] = []

    def counted(form: Form, material: Material) -> Form:
        networks.extend([form.adapter] if is_exported(form.adapter) else [])
        return exported(form, material)

    monkeypatch.setattr("renewal.compress.runner.exported", counted)
    runner.levels(parse_chain("prune.magnitude:*"))
    for chain in ("prune.magnitude:share=0.3", "prune.magnitude:share=0.6", "quantize.half"):
        made = runner.trial(parse_chain(chain))
        assert (made.failed, made.adapter) == (None, "onnx")
    assert networks == ["torch"]
