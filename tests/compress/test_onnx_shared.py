"""The knob, the checks before and after, and the processor that is asked."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest

from renewal.compress.onnx_dynamic import QuantizeDynamic
from renewal.compress.onnx_layers import parsed
from renewal.compress.onnx_shared import n_kept, quiet, rebuilt, shares
from renewal.compress.processor import on_x86, saturates
from renewal.core.errors import Invalid
from renewal.testing.onnx_forms import GraphOf, material_of, mlp_form


@pytest.mark.parametrize("n_layers", [1, 2, 3, 5, 8, 40, 700])
def test_levels_are_different_numbers_of_layers_down_to_none(n_layers: int) -> None:
    """Breaks when two levels are one graph, or one keeps every layer."""
    found = shares(n_layers, ranked=True)
    counts = [n_kept(keep, n_layers) for keep in found]
    assert counts == sorted(set(counts), reverse=True)
    assert counts[-1] == 0
    assert counts[0] < n_layers
    assert len(found) == min(n_layers, 8) or (n_layers < 40 and 4 <= len(found) <= n_layers)


def test_without_rows_there_is_one_level() -> None:
    assert shares(12, ranked=False) == (0.0,)


def test_scores_that_are_not_finite_are_no_model() -> None:
    graph = GraphOf()
    weights = np.zeros((20, 3))
    made = graph.node("MatMul", "x", graph.weights(value=weights, name="w"))
    form = graph.form(made, shape=(20,), classes=("a", "b", "c"))
    material = material_of(form, 5)
    proto = parsed(form.estimator.graph, who="test")
    weights[0, 0] = np.nan
    proto.graph.initializer[0].raw_data = weights.astype(np.float32).tobytes()
    with pytest.raises(Invalid, match="not finite"):
        rebuilt(form, proto, material, who="test")
    proto.graph.node[0].op_type = "Mystery"
    with pytest.raises(Invalid, match="Mystery"):
        rebuilt(form, proto, material, who="test")


@pytest.mark.skipif(not on_x86(), reason="only x86 processors saturate")
def test_the_processor_is_asked(tmp_path: Path) -> None:
    """Breaks when a flag of another name, or a file that is not there, counts as VNNI."""
    told = tmp_path / "cpuinfo"
    told.write_text("model name: x avx512_vnni\nflags : fpu avx2 avx512f\n")
    assert saturates(told)
    told.write_text("flags : fpu avx2 avx512_vnni\n")
    assert not saturates(told)
    assert saturates(tmp_path / "none")


def test_only_the_quantizer_is_silenced(caplog: pytest.LogCaptureFixture) -> None:
    """Breaks when its advice reaches the log, another's words are lost, or a handler stays."""
    form = mlp_form()
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.INFO), quiet():
        logging.getLogger().warning("ours")
        QuantizeDynamic().apply(form, QuantizeDynamic.Options(), material_of(form, 9), seed=0)
    assert [each.getMessage() for each in caplog.records] == ["ours"]
    assert logging.getLogger().handlers == handlers
    assert not logging.getLogger().filters


def test_nothing_warns() -> None:
    form = mlp_form()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        QuantizeDynamic().apply(form, QuantizeDynamic.Options(), material_of(form, 9), seed=0)
