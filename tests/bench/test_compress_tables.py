"""A tiny form of the tables of compression: every step the real one, on few rows.

Breaks when a parent cannot be compressed and certified through the product's own search, when
what is timed is not the compiled form, when a quantizer of others no longer takes the graph of a
transformer, or when a figure's line cannot be split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.compress import parents, tables
from bench.compress.text_peers import Subject, ort_dynamic, ort_static
from renewal.compress.chain import parse_chain
from renewal.compress.exporting import exported
from renewal.compress.material import Material
from renewal.core.plugin import load_plugin

RECIPE = replace(tables.QUICK.recipe, n_train=300, n_validation=100, n_test=150, n_trees=6)
SIZE = tables.Size(RECIPE, limit_s=60.0, n_single=5, n_batch=2, n_asked=50)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RENEWAL_BENCH_CACHE", str(tmp_path / "parents"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not parents.is_there("forest"), reason="adult is absent: set RENEWAL_DATA")
def test_a_forest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = parents.split_of("forest", RECIPE)
    sizes = [len(each) for each in (split.train, split.validation, split.test)]
    assert sizes == [300, 100, 150]
    parent = parents.parent_of("forest", split, RECIPE)
    again = parents.parent_of("forest", split, RECIPE)
    assert parent[1] == again[1]
    chains = [parse_chain("prune.forest(trees=3,leaves=16,slim=true)")]
    result, runtimes = tables.compared(
        "forest", parent, split, SIZE, chains=chains, folder=tmp_path
    )
    assert result.ours
    assert len(runtimes) == 1 + len(result.ours) == len(result.times)
    assert all(result.size_ratio(each) > 1.0 for each in result.ours)
    tables.tell(result)
    printed = capsys.readouterr().out
    assert "the parent as compiled" in printed
    lines = [line.split() for line in printed.splitlines() if line.startswith("FIGURE")]
    assert [line[1] for line in lines] == [
        "tables.forest.size_ratio",
        "tables.forest.latency_ratio_b1",
        "tables.forest.latency_ratio_b64",
    ]
    assert all(len(line) == 5 for line in lines)


@pytest.mark.skipif(
    not parents.is_there("transformer"), reason="banking77 is absent: set RENEWAL_DATA"
)
def test_the_quantizers_of_others_take_the_graph() -> None:
    split = parents.split_of("transformer", RECIPE)
    form, _ = parents.parent_of("transformer", split, RECIPE)
    assert len(form.classes) == 77
    material = Material(load_plugin("tasks", "multiclass")(), split.train, form)
    graph = exported(form, material)
    n_bytes = len(graph.runs.dump(graph.estimator))
    few = split.train.features.slice(0, 40)
    for make in (ort_dynamic, ort_static):
        made, n_made = make(Subject(form, graph, few))
        assert n_made < n_bytes
        assert made.predict(few).shape == (40, 77)
