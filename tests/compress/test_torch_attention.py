"""Heads of attentions: found by the names of layers, silenced, and cut out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from renewal.compress.torch_attention import (
    FewerHeads,
    attentions_of,
    keep_heads,
    without_head,
)
from renewal.models.transformers_nets import random_net

_SMALL = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
          "intermediate_size": 16}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _SMALL,
    "roberta": _SMALL,
    "electra": {**_SMALL, "embedding_size": 16},
    "modernbert": {**_SMALL, "local_attention": 8, "pad_token_id": 0, "cls_token_id": 2},
    "llama": _SMALL,
    "distilbert": {"vocab_size": 300, "dim": 16, "hidden_dim": 16, "n_heads": 4, "n_layers": 2},
}


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _said(net: nn.Module) -> Any:
    ids = torch.arange(5, 17).reshape(2, 6)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.no_grad():
        return net(input_ids=ids, attention_mask=mask).logits


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_cut_network_says_what_it_says_with_the_head_silenced(kind: str) -> None:
    """Breaks when rows of another head are cut, or the code counts the heads elsewhere."""
    net = random_net({"model_type": kind, **CONFIGS[kind]}, n_classes=3, seed=0)
    # Fresh networks hardly look at each other: make what the heads say matter.
    with torch.no_grad():
        for each in net.parameters():
            each.mul_(3.0)
    whole = _said(net)
    n_weights = sum(each.numel() for each in net.parameters())
    first, second = attentions_of(net)
    assert (first.n_heads, first.head_size) == (4, 4)
    with without_head(net, first, [1, 3]), without_head(net, second, [0]):
        silenced = _said(net)
    torch.testing.assert_close(_said(net), whole)
    assert (silenced - whole).abs().max() > 1e-3
    keep_heads(net, first, [0, 2])
    keep_heads(net, second, [1, 2, 3])
    torch.testing.assert_close(_said(net), silenced, atol=1e-4, rtol=1e-4)
    # Three heads of 4 numbers, in 4 layers of 16 and their biases.
    assert n_weights - sum(each.numel() for each in net.parameters()) >= 3 * 4 * 4 * 16
    assert [each.n_heads for each in attentions_of(net)] == [2, 3]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masks", ["none", "ends", "causal", "each head"])
def test_fewer_heads_weigh_as_before(batch_first: bool, masks: str) -> None:  # noqa: FBT001  # a parameter of the test
    """Breaks when a mask of some heads falls on others, or what is masked is turned round."""
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(8, 4, batch_first=batch_first).eval()
    rows = torch.randn(2, 5, 8)
    rows = rows if batch_first else rows.transpose(0, 1)
    ends = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    later = torch.ones(5, 5).triu(1).bool()
    given: dict[str, Any] = {
        "none": {},
        "ends": {"key_padding_mask": ends},
        "causal": {"attn_mask": later, "is_causal": True},
        "each head": {"attn_mask": torch.randn(8, 5, 5), "key_padding_mask": ends.float() * -1e9},
    }[masks]
    with torch.no_grad():
        whole.out_proj.weight[:, 2:4] = 0.0
        fewer = FewerHeads(whole, [0, 2, 3])
        for need_weights in (True, False):
            found, weights = fewer(rows, rows, rows, need_weights=need_weights, **given)
            expected, _ = whole(rows, rows, rows, need_weights=need_weights, **given)
            torch.testing.assert_close(found, expected)
            assert (weights is None) is not need_weights
            assert weights is None or weights.shape == (2, 5, 5)
        one = rows[0] if batch_first else rows[:, 0]
        torch.testing.assert_close(fewer(one, one, one)[0], whole(one, one, one)[0])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # its own, uncut
def test_an_encoder_calls_what_is_left_of_its_attention() -> None:
    """Breaks when a layer around reads the weights itself, on its fast path."""
    layer = nn.TransformerEncoderLayer(8, 4, 16, batch_first=True)
    net = nn.TransformerEncoder(layer, 2).eval()
    rows, ends = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    first, second = attentions_of(net)
    seen = ~ends
    with torch.no_grad(), without_head(net, first, [2]):
        expected = net(rows), net(rows, src_key_padding_mask=ends)[seen]
    keep_heads(net, first, [0, 1, 3])
    with torch.no_grad():
        found = net(rows), net(rows, src_key_padding_mask=ends)[seen]
    torch.testing.assert_close(found, expected)
    assert [each.n_heads for each in attentions_of(net)] == [3, 4]
    # What was cut once can be cut again.
    again = attentions_of(net)[0]
    with torch.no_grad(), without_head(net, again, [0]):
        silenced = net(rows)
    keep_heads(net, again, [1, 2])
    with torch.no_grad():
        torch.testing.assert_close(net(rows), silenced)
    assert second.n_heads == 4


def test_attentions_of_another_form_are_left_alone() -> None:
    """Breaks when keys that several heads share are cut with one of them."""
    grouped = random_net(
        {"model_type": "llama", **_SMALL, "num_key_value_heads": 2}, n_classes=2, seed=0
    )
    assert attentions_of(grouped) == []
    fused = {"model_type": "gpt2", "vocab_size": 300, "n_embd": 16, "n_layer": 1, "n_head": 2}
    assert attentions_of(random_net(fused, n_classes=2, seed=0)) == []
    tied = nn.Sequential(nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2))
    tied[1].out_proj.weight = tied[0].out_proj.weight
    assert attentions_of(tied) == []
    assert attentions_of(nn.MultiheadAttention(8, 2, add_bias_kv=True)) == []
    assert attentions_of(nn.MultiheadAttention(8, 2, kdim=4)) == []
    assert attentions_of(nn.Linear(2, 2)) == []
