"""Breaks when a default chain is no chain, or none of them works on the kind that it is for."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from renewal.compress.defaults import _BY_ADAPTER, default_chains
from renewal.core.plugin import plugin_names
from renewal.testing.forms import FormCase


@pytest.mark.parametrize("adapter", [*_BY_ADAPTER, "python"])
def test_chains_of_an_adapter_begin_with_what_takes_it(adapter: str, forest: FormCase) -> None:
    chains = default_chains(replace(forest.form, adapter=adapter))
    assert len({each.label for each in chains}) == len(chains) >= 2
    is_network = adapter in plugin_names("exports")
    for chain in chains:
        takes = chain.steps[0].does.takes
        assert adapter in takes or (is_network and "onnx" in takes), chain.label


def test_what_is_not_installed_is_left_out(
    forest: FormCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when one missing package takes every other chain with it."""
    network = replace(forest.form, adapter="torch")
    every = {each.label for each in default_chains(network)}
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    monkeypatch.delitem(sys.modules, "renewal.compress.torch_channels", raising=False)
    gone = every - {each.label for each in default_chains(network)}
    assert len(gone) == 1
    assert gone.pop().startswith("prune.channels")


def test_a_table_is_there_for_every_network() -> None:
    assert set(plugin_names("exports")) <= set(_BY_ADAPTER) <= set(plugin_names("adapters"))
