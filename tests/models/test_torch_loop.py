"""The loop: what a step is, when it stops, and what it refuses to go on from."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from renewal.core.errors import Corrupt, Invalid
from renewal.core.progress import hearing
from renewal.models.layers import Tuning
from renewal.models.torch_inputs import Tensors
from renewal.models.torch_loop import Job, learn
from renewal.models.torch_losses import LearningRows
from renewal.models.torch_tensors import tensors_from_bytes, tensors_to_bytes

CPU = torch.device("cpu")


def _call(module: nn.Module, tensors: Tensors) -> Tensor:
    found: Tensor = module(*tensors)
    return found


def _rows(n_rows: int = 64, seed: int = 0) -> LearningRows:
    inputs = torch.randn(n_rows, 3, generator=torch.Generator().manual_seed(seed))
    return LearningRows((inputs,), (inputs[:, 0] > 0).long())


def _net(width: int = 8) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2))


def _linear() -> nn.Linear:
    torch.manual_seed(6)
    return nn.Linear(3, 2)


def _job(how: Tuning, **changes: Any) -> Job:
    job = Job(_net(), _call, _rows(), None, how, "cross_entropy", 3, CPU, "a test")
    return replace(job, **changes)


def _state(job: Job) -> dict[str, Tensor]:
    learn(job)
    return {name: each.clone() for name, each in job.module.state_dict().items()}


def test_it_learns_and_says_so() -> None:
    heard: list[str] = []
    with hearing(lambda word: heard.append(word.text)):
        found = learn(_job(Tuning(epochs=20, batch=16, lr=1e-2), watched=_rows(seed=1)))
    assert found["steps"] == 80
    assert found["watched_loss"] is not None
    assert found["watched_loss"] < 0.4
    assert heard[1].startswith("epoch 1 of 20, step 4 of 80, loss ")


def test_accumulated_passes_are_one_large_batch() -> None:
    """Breaks when the last passes of a step count more than the first."""
    whole = Tuning(epochs=2, lr=1e-2, batch=15)
    one, other = (
        _state(_job(how, module=_linear(), lesson=_rows(60)))
        for how in (whole, replace(whole, batch=5, accumulate=3))
    )
    for name, each in one.items():
        torch.testing.assert_close(each, other[name], rtol=1e-4, atol=1e-6)


def test_steps_end_it_in_the_middle_of_an_epoch() -> None:
    assert learn(_job(Tuning(epochs=5, steps=6, batch=16)))["steps"] == 6


@pytest.mark.parametrize("n_rows", [1 + 16, 1 + 32])
def test_a_single_last_row_does_not_break_a_normalization(n_rows: int) -> None:
    """Left alone, torch raises on a batch of one row: the number of rows must not matter."""
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        _net().train()(torch.zeros(1, 3))
    assert learn(_job(Tuning(batch=16, epochs=1), lesson=_rows(n_rows)))["steps"] == n_rows // 16


def test_frozen_layers_stay_to_the_bit() -> None:
    before = {name: each.clone() for name, each in _net().state_dict().items()}
    after = _state(_job(Tuning(train="last:1", lr=0.1, weight_decay=0.5)))
    moved = {name for name, each in after.items() if not torch.equal(each, before[name])}
    assert moved == {"3.weight", "3.bias"}


def test_flags_and_mode_are_as_before() -> None:
    """Breaks when the next fine-tuning finds everything but the head frozen."""
    job = _job(Tuning(train="last:1"))
    learn(job)
    assert all(each.requires_grad and each.grad is None for each in job.module.parameters())
    assert not job.module.training


def test_it_stops_early_and_goes_back_to_the_best() -> None:
    watched = _rows(seed=1)
    noise = LearningRows(watched.inputs, 1 - watched.targets)
    job = _job(Tuning(epochs=30, batch=16, lr=1e-2, patience=2), watched=noise)
    before = {name: each.clone() for name, each in job.module.state_dict().items()}
    found = learn(job)
    # Every epoch makes it worse on these rows: the best is what was there before.
    assert found["steps"] == 8
    assert found["best_epoch"] == 0
    for name, each in job.module.state_dict().items():
        assert torch.equal(each, before[name]), name


def test_without_patience_it_goes_on_to_the_end() -> None:
    watched = _rows(seed=1)
    noise = LearningRows(watched.inputs, 1 - watched.targets)
    assert learn(_job(Tuning(epochs=6, batch=16, patience=None), watched=noise))["steps"] == 24


def test_a_divergence_names_step_loss_and_rate() -> None:
    """Left alone, torch trains on and hands out a network of NaN without a word."""
    rows = _rows()
    rows.inputs[0][7] = 3e38
    lesson = LearningRows((rows.inputs[0] * 1e3,), rows.targets)
    silent = nn.Linear(3, 2)
    loss = nn.functional.cross_entropy(silent(lesson.inputs[0]), lesson.targets)
    loss.backward()
    torch.optim.SGD(silent.parameters()).step()
    assert bool(torch.isnan(silent.weight).any())
    with pytest.raises(Invalid, match=r"loss of nan at step \d of 4, learning rate 0.001") as said:
        learn(_job(Tuning(epochs=1, batch=16), module=nn.Linear(3, 2), lesson=lesson))
    assert 1 <= said.value.fields["step"] <= 4


def test_float16_needs_cuda() -> None:
    with pytest.raises(Invalid, match="CUDA"):
        learn(_job(Tuning(precision="float16")))


def test_no_rows() -> None:
    with pytest.raises(Invalid, match="0 rows"):
        learn(_job(Tuning(), lesson=_rows(0)))


def test_randomness_outside_is_not_touched() -> None:
    job = _job(Tuning(epochs=1), module=nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    learn(job)
    assert torch.equal(torch.rand(1), expected)


HALF = Tuning(epochs=2, batch=16, lr=1e-2, checkpoint_every=3)


def _left(folder: Path, **changes: Any) -> Path:
    """Leave a checkpoint after step 6 of 8."""
    learn(_job(HALF, scratch=folder, **changes))
    return folder / "training.safetensors"


def _changed(path: Path, change: Any) -> None:
    tensors, said = tensors_from_bytes(path.read_bytes(), who="test")
    change(tensors, said)
    path.write_bytes(tensors_to_bytes(tensors, said, who="test"))


def _words(job: Job) -> list[str]:
    heard: list[str] = []
    with hearing(lambda word: heard.append(word.text)):
        learn(job)
    return heard


def test_a_checkpoint_is_taken_up_by_the_same_run_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _left(tmp_path)
    assert _words(_job(HALF, scratch=tmp_path))[0] == "went on after step 6"
    caplog.set_level(logging.INFO)
    for changes in (
        {"lesson": _rows(seed=9)},
        {"seed": 4},
        {"how": replace(HALF, lr=1e-3)},
        {"code": "other"},
        {"module": _net(9)},
    ):
        _left(tmp_path)
        caplog.clear()
        other = replace(_job(HALF, scratch=tmp_path), **changes)
        assert "went on" not in _words(other)[0]
        assert "starts over" in caplog.text


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    path = _left(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert "went on" not in _words(_job(HALF, scratch=tmp_path))[0]


def _lose_weights(tensors: dict[str, Tensor], _said: dict[str, Any]) -> None:
    for name, each in tensors.items():
        if name.startswith("weights/") and name.endswith("weight"):
            each.copy_(torch.randn_like(each))


def _count_more(_tensors: dict[str, Tensor], said: dict[str, Any]) -> None:
    said["n_trainable"] += 1


def _other_base(_tensors: dict[str, Tensor], said: dict[str, Any]) -> None:
    said["base"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_lose_weights, "first loss"),
        (_count_more, "trainable numbers"),
        (_other_base, "digest of the frozen weights"),
    ],
)
def test_what_does_not_continue_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    """Breaks when a training goes on from lost weights: its loss is back at the start."""
    _changed(_left(tmp_path), change)
    with pytest.raises(Corrupt, match=says):
        learn(_job(HALF, scratch=tmp_path))
