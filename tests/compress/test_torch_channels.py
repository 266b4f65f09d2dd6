"""Channels cut out of networks: smaller dense layers, the same outputs, an untouched parent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from renewal.compress.form import Form
from renewal.compress.torch_channels import ChannelOptions, PruneChannels
from renewal.core.errors import Invalid
from renewal.models.layers import Tuning
from renewal.models.torch_model import TorchModel
from renewal.testing.forms import FormCase, fitted_case, numbers
from renewal.testing.torch_nets import Dense, Own, Perceptron, ResNet

HALF = ChannelOptions(0.5)
PRUNE = PruneChannels()


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _case(net: type[nn.Module], *, task: str = "binary", **options: Any) -> FormCase:
    features, labels = numbers(90, task=task)
    recipe = TorchModel(net, {"n_inputs": 6, **options}, Tuning(epochs=2, patience=None))
    return fitted_case(net.__name__, "torch", recipe, features, labels, task=task)


@cache
def _pictures() -> FormCase:
    _, labels = numbers(60)
    shown = np.random.default_rng(0).normal(size=(60, 3, 8, 8)).astype(np.float32)
    shown += (labels == "yes")[:, None, None, None]
    rows = pa.table({"picture": pa.FixedShapeTensorArray.from_numpy_ndarray(shown)})
    recipe = TorchModel(ResNet, {"blocks": 1, "width": 8}, Tuning(epochs=2, patience=None))
    return fitted_case("pictures", "torch", recipe, rows, labels)


def _shapes(form: Form) -> dict[str, tuple[int, ...]]:
    named = form.estimator.fitted.module.named_parameters()
    return {name: tuple(each.shape) for name, each in named if each.ndim > 1}


def _photo(form: Form) -> Any:
    module = form.estimator.fitted.module
    state = {name: each.clone() for name, each in module.state_dict().items()}
    flags = [each.requires_grad for each in module.parameters()]
    grads = [each.grad is None for each in module.parameters()]
    return state, flags, grads, [each.training for each in module.modules()]


def test_channels_bound_by_an_addition_go_together() -> None:
    """Breaks when a residual network loses other channels on its two ways."""
    case = _pictures()
    made = PRUNE.apply(case.form, HALF, case.material, seed=0)
    shapes = _shapes(made)
    assert shapes["stem.weight"] == (4, 3, 3, 3)
    assert shapes["body.1.first.weight"] == (8, 4, 3, 3)
    assert shapes["body.1.way.0.weight"] == (8, 4, 1, 1)
    assert shapes["head.weight"] == (2, 16)
    module = made.estimator.fitted.module
    assert module.get_submodule("body.1.last").running_mean.shape == (8,)
    assert module.get_submodule("body.1.first").out_channels == 8
    assert made.predict(case.features).shape == (len(case.features), 2)


@pytest.mark.parametrize(
    "options",
    [HALF, replace(HALF, over="network"), replace(HALF, by="gradient"), ChannelOptions(0.999)],
)
def test_the_parent_stays_as_it_is(options: ChannelOptions) -> None:
    case = _pictures()
    module = case.form.estimator.fitted.module
    module.stem.weight.requires_grad_(requires_grad=False)
    before, said = _photo(case.form), case.form.predict(case.features)
    made = PRUNE.apply(case.form, options, case.material, seed=0)
    after = _photo(case.form)
    assert all(torch.equal(after[0][name], each) for name, each in before[0].items())
    assert after[1:] == before[1:]
    np.testing.assert_array_equal(case.form.predict(case.features), said)
    cut = made.estimator.fitted.module
    assert not cut.stem.weight.requires_grad
    assert cut.head.weight.requires_grad
    assert not any(each.training for each in cut.modules())
    module.stem.weight.requires_grad_(requires_grad=True)


@pytest.mark.parametrize("by", ["size", "gradient"])
def test_dead_neurons_go_first_and_change_nothing(by: Any) -> None:
    """Breaks when importance is upside down, or channels are mapped to the wrong layer."""
    case = _case(Perceptron, width=64)
    module: Any = copy.deepcopy(case.form.estimator.fitted.module)
    dead = torch.arange(64) % 2 == 1
    with torch.no_grad():
        for layer in module.layers:
            layer.weight[dead] = 0.0
            layer.bias[dead] = 0.0
        module.layers[1].weight[:, dead] = 0.0
        module.head.weight[:, dead] = 0.0
    fitted = replace(case.form.estimator.fitted, module=module)
    form = replace(case.form, estimator=replace(case.form.estimator, fitted=fitted))
    made = PRUNE.apply(form, replace(HALF, by=by), case.material, seed=0)
    assert _shapes(made)["layers.1.weight"] == (32, 32)
    np.testing.assert_allclose(made.predict(case.features), form.predict(case.features), atol=1e-6)


def test_a_network_of_zeros_is_cut_and_predicts() -> None:
    case = _case(Perceptron, width=16)
    module = copy.deepcopy(case.form.estimator.fitted.module)
    for each in module.parameters():
        each.data.zero_()
    fitted = replace(case.form.estimator.fitted, module=module)
    form = replace(case.form, estimator=replace(case.form.estimator, fitted=fitted))
    made = PRUNE.apply(form, HALF, case.material, seed=0)
    assert _shapes(made)["layers.1.weight"] == (8, 8)
    np.testing.assert_allclose(made.predict(case.features), 0.5)


def test_tied_layers_keep_their_width_and_their_tie() -> None:
    case = _case(Perceptron, hidden=5, is_tied=True)
    made = PRUNE.apply(case.form, HALF, case.material, seed=0)
    layers = made.estimator.fitted.module.layers
    assert layers[1].weight is layers[-1].weight
    assert layers[1].weight.shape == (32, 32)
    assert layers[2].weight.shape == (16, 32)
    alone = _case(Perceptron, hidden=3, is_tied=True)
    assert "no layer" in (PRUNE.why_not(alone.form, alone.material) or "")


def test_groups_that_the_network_needs_keep_their_width() -> None:
    """Breaks when one layer of a kind that nobody knows forbids all cuts, or breaks them."""
    case = _case(Own)
    shapes = _shapes(PRUNE.apply(case.form, HALF, case.material, seed=0))
    assert shapes["own.mix"] == (32, 32)
    assert shapes["before.weight"] == (32, 6)
    assert shapes["free.weight"] == (16, 32)
    assert shapes["head.weight"] == (2, 16)


def test_levels_fall_and_widths_are_round() -> None:
    case = _case(Perceptron, width=64)
    found = [
        _shapes(PRUNE.apply(case.form, each, case.material, seed=0))["layers.1.weight"][0]
        for each in PRUNE.levels(case.form, case.material)
    ]
    assert found == [56, 48, 40, 32, 24, 16]


def test_the_same_seed_gives_the_same_network() -> None:
    case = _pictures()
    options = ChannelOptions(0.4, over="network", by="gradient", rows=20)
    one, other = (PRUNE.apply(case.form, options, case.material, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.predict(case.features), other.predict(case.features))
    assert _shapes(one) == _shapes(other)


def test_a_regression_is_cut_by_its_gradient() -> None:
    case = _case(Dense, task="regression")
    made = PRUNE.apply(case.form, replace(HALF, by="gradient"), case.material, seed=0)
    assert _shapes(made)["body.weight"] == (8, 6)
    assert np.isfinite(made.predict(case.features)).all()


def test_what_cannot_be_cut_is_said() -> None:
    case = _case(Dense)
    nothing = case.without_rows()
    assert "no training row" in (PRUNE.why_not(case.form, nothing) or "")
    with pytest.raises(Invalid, match="a training row"):
        PRUNE.apply(case.form, HALF, nothing, seed=0)
    linear = TorchModel(nn.Linear, {"in_features": 6, "out_features": 2}, Tuning(epochs=1))
    features, labels = numbers(30)
    alone = fitted_case("linear", "torch", linear, features, labels)
    assert PRUNE.why_not(alone.form, alone.material) == "no layer has a channel that could go"
    with pytest.raises(Invalid, match=r"share=0\.5"):
        PRUNE.apply(alone.form, HALF, alone.material, seed=0)
    with pytest.raises(Invalid, match="0 < share < 1"):
        ChannelOptions(1.0)
