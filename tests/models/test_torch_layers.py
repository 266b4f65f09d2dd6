"""Which layers are trained, how fast, and a head that takes in classes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.models.layers import Tuning
from renewal.models.torch_layers import (
    fit_head,
    freeze,
    handed_to,
    head_of,
    layers_of,
    resize_head,
    trained_of,
)


def _net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 2)
    )


def test_a_block_of_a_list_is_one_layer() -> None:
    """Breaks when the rate of a transformer decays with every matrix of its blocks."""
    blocks = nn.ModuleList(
        nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2)
    )
    net = nn.ModuleDict({"embed": nn.Embedding(9, 4), "blocks": blocks, "head": nn.Linear(4, 2)})
    layers = layers_of(net)
    assert [len(layer) for layer in layers] == [1, 6, 6, 2]
    assert {name.split(".")[1] for name in layers[1]} == {"0"}


@pytest.mark.parametrize(
    ("train", "names"),
    [
        ("all", {"0", "1", "3", "4"}),
        ("last:1", {"4"}),
        ("last:3", {"0", "1", "3", "4"}),
        ("3.*|4.bias", {"3", "4"}),
    ],
)
def test_what_train_means(train: str, names: set[str]) -> None:
    trained = trained_of(_net(), Tuning(train=train), who="test")
    assert {name.split(".")[0] for name in trained.names} == names


@pytest.mark.parametrize("train", ["last:0", "last:x", "nothing.*", ""])
def test_what_names_nothing_is_refused(train: str) -> None:
    """Breaks when a misspelled pattern trains nothing, which looks like a fine candidate."""
    with pytest.raises(Invalid, match="names none of 8"):
        trained_of(_net(), Tuning(train=train), who="test")


def test_the_rate_falls_from_layer_to_layer() -> None:
    trained = trained_of(_net(), Tuning(lr=1.0, lr_decay=0.5), who="test")
    assert trained.rates == (1.0, 0.5, 0.25)
    assert trained.layers[2][-1] == "1.bias"


def test_layers_are_unfrozen_one_after_the_other() -> None:
    how = Tuning(epochs=5, train="last:1", unfreeze_every=2)
    trained = trained_of(_net(), how, who="test")
    counts = [len(trained.at(epoch)) for epoch in range(5)]
    assert counts == [2, 2, 4, 4, 8]


def test_unfreezing_what_was_never_frozen_is_refused() -> None:
    """Breaks when somebody asks for gradual unfreezing and everything moves from the start."""
    with pytest.raises(Invalid, match="unfreeze_every=1 with train=all"):
        Tuning(unfreeze_every=1)


def test_the_base_of_an_addition_is_never_trained() -> None:
    net = load_plugin("additions", "lora")().attach(_net(), rank=2, keep=("4",), seed=0)
    how = Tuning(lora_rank=2, lr=1.0, lr_decay=0.5)
    trained = trained_of(net, how, who="test")
    assert not any("base_layer" in name for name in trained.names)
    # Both matrices of a layer have the rate of that layer.
    assert [len(layer) for layer in trained.layers] == [2, 2, 2]
    assert trained.rates == (1.0, 0.5, 0.25)


def test_frozen_means_do_not_move() -> None:
    net = _net()
    freeze(net, {"4.weight", "4.bias"})
    net(torch.randn(8, 3, 3, 3))
    assert torch.equal(net[1].running_mean, torch.zeros(4))
    freeze(net, {"1.weight"})
    net(torch.randn(8, 3, 3, 3))
    assert not torch.equal(net[1].running_mean, torch.zeros(4))


def test_old_rows_of_the_head_are_kept_where_their_class_now_stands() -> None:
    net = _net()
    before = net[4].weight.detach().clone()
    resize_head(net, "4", [None, 0, 1])
    assert torch.equal(net[4].weight[1:], before)
    assert net[4].out_features == 3
    fit_head(net, "4", 3)
    assert torch.equal(net[4].weight[1:], before)


def test_the_head_is_the_last_linear_layer_or_the_named_one() -> None:
    assert head_of(_net(), None, who="test") == "4"
    assert head_of(_net(), "3", who="test") == "3"
    assert head_of(nn.Conv2d(1, 1, 1), None, who="test") is None
    with pytest.raises(Invalid, match="linear layers 3, 4"):
        head_of(_net(), "0", who="test")


def test_what_the_head_is_handed() -> None:
    net, rows = _net().eval(), torch.randn(5, 3, 3, 3)
    found = handed_to(net, "4", lambda: net(rows))
    assert torch.equal(net[4](found), net(rows))
    assert not net[4]._forward_pre_hooks
    with pytest.raises(Invalid, match="never"):
        handed_to(net, "4", lambda: rows)
