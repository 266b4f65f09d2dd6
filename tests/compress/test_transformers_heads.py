"""Attention heads that go, those that matter least first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_attention import attentions_of
from renewal.compress.transformers_heads import HeadsOptions, PruneHeads
from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.data.columns import hash_keys
from renewal.data.rows import Rows
from renewal.models.layers import Tuning
from renewal.models.task import Binary
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import TransformersModel

TECHNIQUE = PruneHeads()
ADAPTER = TransformersAdapter()
CONFIG = {"model_type": "distilbert", "vocab_size": 300, "dim": 16, "hidden_dim": 16, "n_heads": 4,
          "n_layers": 2}  # fmt: skip
TEXTS = pa.table({"text": ["my card is lost", "where is my money"] * 20})
LABELS = np.array(["card", "money"] * 20, dtype=object)


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _rows(features: pa.Table, labels: NDArray[Any]) -> Rows:
    keys = np.array([f"{at}" for at in range(len(features))], dtype=object)
    hashes, instants = hash_keys(keys.tolist()), np.zeros(len(features), np.int64)
    return Rows(
        features=features,
        key=keys,
        key_hash=hashes,
        group_hash=hashes,
        sticky=None,
        event_us=instants,
        arrived_us=instants,
        label=labels,
        label_arrived_us=instants,
        block=instants,
    )


def _material(form: Form, n_rows: int = 40) -> Material:
    return Material(Binary(), _rows(TEXTS.slice(0, n_rows), LABELS[:n_rows]), form)


def _form(config: dict[str, Any]) -> Form:
    how = Tuning(epochs=3, batch=16, lr=5e-3, patience=None)
    model = ADAPTER.fit(TransformersModel(config, max_length=16, how=how), TEXTS, LABELS, seed=0)
    return Form("transformers", model, Signature((Field("text", "string"),)), ("card", "money"))


@pytest.fixture(scope="module")
def texts() -> Form:
    return _form(CONFIG)


def _heads(form: Form) -> list[int]:
    return [each.n_heads for each in attentions_of(form.estimator.fitted.module)]


def test_heads_go_and_the_parent_stays(texts: Form) -> None:
    before = ADAPTER.dump(texts.estimator)
    said = texts.predict(TEXTS)
    small = TECHNIQUE.apply(texts, HeadsOptions(share=0.5), _material(texts), seed=0)
    assert sum(_heads(small)) == 4
    assert min(_heads(small)) >= 1
    assert small.predict(TEXTS).shape == (40, 2)
    assert _heads(texts) == [4, 4]
    assert ADAPTER.dump(texts.estimator) == before
    np.testing.assert_array_equal(texts.predict(TEXTS), said)
    again = TECHNIQUE.apply(texts, HeadsOptions(share=0.5), _material(texts), seed=0)
    np.testing.assert_array_equal(again.predict(TEXTS), small.predict(TEXTS))


def test_heads_that_say_nothing_go_first() -> None:
    """Breaks when the most important heads are cut: the scores would change."""
    opened = _form(CONFIG)
    first, second = attentions_of(opened.estimator.fitted.module)
    for attention, dead in ((first, [1]), (second, [0, 2])):
        writing = opened.estimator.fitted.module.get_submodule(attention.writing)
        writing.weight.data[:, attention.columns(dead)] = 0.0
    small = TECHNIQUE.apply(opened, HeadsOptions(share=3 / 8), _material(opened), seed=0)
    assert _heads(small) == [3, 2]
    np.testing.assert_allclose(small.predict(TEXTS), opened.predict(TEXTS), atol=1e-5)


def test_levels_cut_one_head_after_the_other(texts: Form) -> None:
    levels = TECHNIQUE.levels(texts, _material(texts))
    cut = [round(each.share * 8) for each in levels]
    assert cut == [1, 2, 3, 4, 5, 6]
    strongest = TECHNIQUE.apply(texts, levels[-1], _material(texts), seed=0)
    assert _heads(strongest) == [1, 1]


def test_what_cannot_lose_a_head_is_said(texts: Form) -> None:
    single = _form({**CONFIG, "n_heads": 1})
    assert "DistilBert" in str(TECHNIQUE.why_not(single, _material(single)))
    with pytest.raises(Invalid, match="single head"):
        TECHNIQUE.apply(single, HeadsOptions(), _material(single), seed=0)
    assert TECHNIQUE.levels(single, _material(single)) == ()
    assert "no row" in str(TECHNIQUE.why_not(texts, _material(texts, 0)))
    assert "no network" in str(
        TECHNIQUE.why_not(replace(texts, adapter="sklearn"), _material(texts))
    )
    with pytest.raises(Invalid, match="0 < share < 1"):
        HeadsOptions(share=1.0)


def test_a_network_whose_code_counts_heads_elsewhere_is_refused() -> None:
    """Breaks when a cut that changes the answers beyond the heads themselves is let through."""
    odd = _form(CONFIG)
    body = odd.estimator.fitted.module
    for each in body.modules():
        if hasattr(each, "q_lin"):
            each.out_lin.register_forward_pre_hook(_by_width)
    with pytest.raises(Invalid, match="silenced"):
        TECHNIQUE.apply(odd, HeadsOptions(share=0.5), _material(odd), seed=0)


def _by_width(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (given[0] * given[0].shape[-1],)
