"""Recovery after a cut: it learns from its parent, and from nothing it must not see."""

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
from torch.optim.optimizer import register_optimizer_step_post_hook

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_channels import ChannelOptions, PruneChannels
from renewal.compress.torch_factorize import FactorizeSvd, SvdOptions
from renewal.compress.torch_recover import RecoverDistil, RecoverOptions
from renewal.core.errors import Invalid
from renewal.models.layers import Tuning
from renewal.models.torch_model import TorchModel
from renewal.testing.forms import FormCase, fitted_case, numbers
from renewal.testing.torch_nets import Dense, ResNet
from renewal.testing.transformers_forms import transformers_forms

RECOVER = RecoverDistil()
SHORT = RecoverOptions(epochs=6, batch=32, lr=1e-2)


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _case(task: str = "binary") -> FormCase:
    features, labels = numbers(600, task=task)
    how = Tuning(epochs=8, batch=32, lr=1e-2, patience=None)
    recipe = TorchModel(Dense, {"n_inputs": 6, "width": 32}, how)
    return fitted_case("dense", "torch", recipe, features, labels, task=task)


@cache
def _cut(task: str = "binary") -> Form:
    case = _case(task)
    return PruneChannels().apply(case.form, ChannelOptions(0.75), case.material, seed=0)


def _gap(case: FormCase, form: Form) -> float:
    return float(np.abs(form.predict(case.features) - case.form.predict(case.features)).mean())


def _state(form: Form) -> dict[str, torch.Tensor]:
    module = form.estimator.fitted.module
    return {name: each.clone() for name, each in module.state_dict().items()}


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_cut_network_comes_back_to_its_parent(task: str) -> None:
    case, cut = _case(task), _cut(task)
    before, parent = _state(cut), _state(case.form)
    made = RECOVER.apply(cut, replace(SHORT, distil=1.0), case.material, seed=0)
    assert _gap(case, made) < 0.6 * _gap(case, cut)
    assert all(torch.equal(_state(cut)[name], each) for name, each in before.items())
    assert all(torch.equal(_state(case.form)[name], each) for name, each in parent.items())
    assert not any(each.training for each in made.estimator.fitted.module.modules())
    assert all(each.grad is None for each in made.estimator.fitted.module.parameters())


def test_features_of_another_width_are_followed() -> None:
    case, cut = _case(), _cut()
    options = replace(SHORT, features=0.5)
    made = RECOVER.apply(cut, options, case.material, seed=0)
    assert _gap(case, made) < 0.8 * _gap(case, cut)
    assert sorted(_state(made)) == sorted(_state(cut))
    plain = RECOVER.apply(cut, SHORT, case.material, seed=0)
    assert not np.array_equal(plain.predict(case.features), made.predict(case.features))


def test_no_epoch_adapts_the_normalizations_alone() -> None:
    """Breaks when weights move, or the statistics are not those of what the layer gives now."""
    case, cut = _case(), _cut()
    made = RECOVER.apply(cut, RecoverOptions(epochs=0), case.material, seed=0)
    before, after = _state(cut), _state(made)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved <= {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    module = made.estimator.fitted.module
    assert module.norm.momentum == cut.estimator.fitted.module.norm.momentum == 0.1
    drifted = _shifted(cut)
    again = RECOVER.apply(drifted, RecoverOptions(epochs=0), case.material, seed=0)
    np.testing.assert_allclose(again.predict(case.features), made.predict(case.features), atol=1e-6)


def _shifted(form: Form) -> Form:
    """Return the form with statistics that are not its rows'."""
    module = copy.deepcopy(form.estimator.fitted.module)
    module.norm.running_mean += 3.0
    fitted = replace(form.estimator.fitted, module=module)
    return replace(form, estimator=replace(form.estimator, fitted=fitted))


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    case, cut = _case(), _cut()
    one, same, other = (
        RECOVER.apply(cut, replace(SHORT, epochs=1), case.material, seed=seed).predict(
            case.features
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_rows_without_a_label_are_fuel() -> None:
    """Breaks when what nobody has labelled yet is not learned from, or with a made-up label."""
    case, cut = _case(), _cut()
    few = case.material.train.take(np.arange(20))
    alone = Material(case.material.task, few, case.form)
    rest = case.material.train.features.slice(20)
    more = Material(case.material.task, few, case.form, unlabelled=rest)
    gaps = [_gap(case, RECOVER.apply(cut, SHORT, material, seed=0)) for material in (alone, more)]
    assert gaps[1] < gaps[0]
    none = Material(case.material.task, case.without_rows().train, case.form, unlabelled=rest)
    assert _gap(case, RECOVER.apply(cut, SHORT, none, seed=0)) < _gap(case, cut)


def test_less_effort_is_less_of_the_same() -> None:
    case, cut = _case(), _cut()
    steps = []
    for effort in (1.0, 0.5, 1 / 12):
        material = Material(case.material.task, case.material.train, case.form, effort=effort)
        with _counting_steps() as taken:
            RECOVER.apply(cut, SHORT, material, seed=0)
        steps.append(len(taken))
    assert steps == [6 * 13, 3 * 13, 7]


class _counting_steps:  # noqa: N801  # read as a verb
    """Counts the steps of every optimizer inside the block."""

    def __enter__(self) -> list[int]:
        self.taken: list[int] = []
        self.hook = register_optimizer_step_post_hook(lambda *_: self.taken.append(1))
        return self.taken

    def __exit__(self, *_: object) -> None:
        self.hook.remove()


def test_a_text_model_in_two_layers_recovers() -> None:
    """Breaks when the recipe's shapes are asked of a network that has others."""
    case = transformers_forms()[0]
    cut = FactorizeSvd().apply(case.form, SvdOptions(0.5, rows=16), case.material, seed=0)
    options = RecoverOptions(epochs=4, batch=8, lr=3e-3, distil=1.0, features=0.1)
    made = RECOVER.apply(cut, options, case.material, seed=0)
    assert _gap(case, made) < _gap(case, cut)
    assert sorted(_state(made)) == sorted(_state(cut))


@pytest.mark.parametrize("batch", [1, 64])
def test_a_single_row_is_enough_to_end_well(batch: int) -> None:
    shown = np.random.default_rng(0).normal(size=(30, 3, 8, 8)).astype(np.float32)
    rows = pa.table({"picture": pa.FixedShapeTensorArray.from_numpy_ndarray(shown)})
    recipe = TorchModel(ResNet, {"blocks": 1, "width": 4}, Tuning(epochs=1, patience=None))
    for case in (_case(), fitted_case("pictures", "torch", recipe, rows, numbers(30)[1])):
        one = case.material.train.take(np.arange(1))
        material = Material(case.material.task, one, case.form)
        made = RECOVER.apply(case.form, RecoverOptions(batch=batch), material, seed=0)
        assert np.isfinite(made.predict(case.features)).all()


def test_what_cannot_be_learned_is_said() -> None:
    case, cut = _case(), _cut()
    assert RECOVER.why_not(cut, case.without_rows()) == "there is no row to learn from"
    with pytest.raises(Invalid, match="no row to learn from"):
        RECOVER.apply(cut, SHORT, case.without_rows(), seed=0)
    strange: Any = replace(cut, classes=("no", "perhaps"))
    assert RECOVER.why_not(strange, case.material) == "the parent has other classes"
    with pytest.raises(Invalid, match="stays finite"):
        RECOVER.apply(cut, replace(SHORT, lr=1e30), case.material, seed=0)
    with pytest.raises(Invalid, match="0 <= distil <= 1"):
        RecoverOptions(distil=1.5)
