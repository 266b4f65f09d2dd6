"""Layers in two by singular values: fewer parameters, the nearest outputs, an untouched parent."""

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
from renewal.compress.torch_factorize import FactorizeSvd, SvdOptions
from renewal.core.errors import Invalid
from renewal.models.layers import Tuning
from renewal.models.torch_model import TorchModel
from renewal.testing.forms import FormCase, fitted_case, numbers
from renewal.testing.torch_nets import Own, Perceptron, ResNet
from renewal.testing.transformers_forms import transformers_forms

SVD = FactorizeSvd()
HALF = SvdOptions(0.5)


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _case(net: type[nn.Module], **options: Any) -> FormCase:
    features, labels = numbers(90)
    recipe = TorchModel(net, {"n_inputs": 6, **options}, Tuning(epochs=2, patience=None))
    return fitted_case(net.__name__, "torch", recipe, features, labels)


@cache
def _pictures() -> FormCase:
    _, labels = numbers(60)
    shown = np.random.default_rng(0).normal(size=(60, 3, 8, 8)).astype(np.float32)
    rows = pa.table({"picture": pa.FixedShapeTensorArray.from_numpy_ndarray(shown)})
    recipe = TorchModel(ResNet, {"blocks": 1, "width": 8}, Tuning(epochs=1, patience=None))
    return fitted_case("pictures", "torch", recipe, rows, labels)


def _n_parameters(form: Form) -> int:
    return sum(each.numel() for each in form.estimator.fitted.module.parameters())


def _with(case: FormCase, change: Any) -> Form:
    """Return the form of a case with a copy of its module changed."""
    module = copy.deepcopy(case.form.estimator.fitted.module)
    with torch.no_grad():
        change(module)
    fitted = replace(case.form.estimator.fitted, module=module)
    return replace(case.form, estimator=replace(case.form.estimator, fitted=fitted))


@pytest.mark.parametrize("case", [_pictures, lambda: transformers_forms()[0]])
def test_parameters_fall_along_the_levels_and_the_parent_stays(case: Any) -> None:
    case = case()
    module = case.form.estimator.fitted.module
    before = {name: each.clone() for name, each in module.state_dict().items()}
    made = [
        SVD.apply(case.form, each, case.material, seed=0)
        for each in SVD.levels(case.form, case.material)[::3]
    ]
    sizes = [_n_parameters(case.form), *map(_n_parameters, made)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < sizes[0]
    assert all(torch.equal(module.state_dict()[name], each) for name, each in before.items())
    assert all(each.requires_grad for each in module.parameters())
    assert not any(each.training for each in made[-1].estimator.fitted.module.modules())
    said = made[-1].predict(case.features)
    assert said.shape == (len(case.features), 2)
    again = SVD.apply(
        case.form, SVD.levels(case.form, case.material)[::3][-1], case.material, seed=0
    )
    np.testing.assert_array_equal(said, again.predict(case.features))


def test_a_layer_of_low_rank_is_written_without_loss() -> None:
    """Breaks when a factor is transposed, or a convolution's stride and bias get lost."""
    case = _pictures()

    def flatten(module: Any) -> None:
        weight = module.body[1].first.weight  # stride 2, 16 of 8 channels and 3 x 3
        left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        weight.copy_(((left[:, :3] * values[:3]) @ right[:3]).reshape(weight.shape))

    form = _with(case, flatten)
    made = SVD.apply(form, SvdOptions(0.9999, rows=0), case.material, seed=0)
    parts = made.estimator.fitted.module.body[1].first
    assert [tuple(each.weight.shape) for each in parts] == [(3, 8, 3, 3), (16, 3, 1, 1)]
    np.testing.assert_allclose(made.predict(case.features), form.predict(case.features), atol=1e-5)


def test_layers_that_do_not_matter_are_taken_apart_first() -> None:
    """Breaks when ranks are chosen by the weights alone: rows say which layer matters."""
    case = _pictures()
    form = _with(case, lambda module: module.body[2].last.weight.zero_())
    even, chosen = (
        SVD.apply(form, SvdOptions(0.8, rows), case.material, seed=0) for rows in (0, 32)
    )
    assert _n_parameters(chosen) <= _n_parameters(even)
    muted = [_n_of(each.estimator.fitted.module.body[2].second) for each in (even, chosen)]
    assert muted[1] < muted[0]
    gaps = [np.abs(each.predict(case.features) - form.predict(case.features)).max()
            for each in (even, chosen)]  # fmt: skip
    assert gaps[1] < gaps[0]


def _n_of(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_weights_that_others_read_stay_whole() -> None:
    """Breaks when a layer is taken apart whose weight is read past it, or tied."""
    case = _case(Own)
    module = SVD.apply(case.form, HALF, case.material, seed=0).estimator.fitted.module
    assert type(module.unused) is nn.Linear
    assert type(module.after) is nn.Sequential
    assert type(module.head) is nn.Linear
    case = _case(Perceptron, hidden=4, is_tied=True)
    layers = SVD.apply(case.form, HALF, case.material, seed=0).estimator.fitted.module.layers
    assert [type(each) for each in layers[1::2]] == [nn.Linear, nn.Linear]
    assert layers[1].weight is layers[3].weight
    assert type(layers[2]) is nn.Sequential


class Attention(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """One layer of attention over numbers as tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, numbers: Any) -> Any:
        """Return logits."""
        return self.head(self.block(self.embed(numbers[:, :, None])).mean(dim=1))


def test_attention_of_torch_keeps_what_it_reads_itself() -> None:
    features, labels = numbers(60)
    recipe = TorchModel(Attention, {}, Tuning(epochs=1, patience=None))
    case = fitted_case("attention", "torch", recipe, features, labels)
    wrong = SVD.why_not(case.form, case.material)
    # In one fast call the block reads the weights of all its layers.
    assert wrong == "no linear layer or convolution of its own has fewer parameters in two"
    with pytest.raises(Invalid, match="none of 0"):
        SVD.apply(case.form, HALF, case.material, seed=0)


def test_a_layer_of_zeros_becomes_one_of_rank_one() -> None:
    case = _case(Perceptron)
    form = _with(case, lambda module: module.layers[1].weight.zero_())
    made = SVD.apply(form, SvdOptions(0.99), case.material, seed=0)
    assert made.estimator.fitted.module.layers[1][0].weight.shape == (1, 32)
    np.testing.assert_allclose(made.predict(case.features), form.predict(case.features), atol=1e-6)


def test_without_rows_nothing_can_be_tried() -> None:
    case = _case(Perceptron)
    assert "no training row" in (SVD.why_not(case.form, case.without_rows()) or "")
    with pytest.raises(Invalid, match="a training row"):
        SVD.apply(case.form, HALF, case.without_rows(), seed=0)
    with pytest.raises(Invalid, match="0 < energy < 1"):
        SvdOptions(1.0)
