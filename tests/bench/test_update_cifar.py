"""A tiny form of the benchmark of a small network: the same loops, few images.

Breaks when the two loops no longer do the same work, when the trunk moves under a frozen one,
or when a figure's line cannot be split.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.update import cifar
from renewal.models.torch_inputs import learn_inputs
from renewal.models.torch_learning import raw_tensors
from renewal.models.torch_losses import LearningRows
from renewal.models.torch_model import Fitted, TorchModel

SIZE = cifar.Size(n_old=60, n_new=40, n_test=30, epochs=1, n_speed=64, repeats=2)


def figures(printed: str) -> dict[str, tuple[str, str, str]]:
    found = {}
    for line in printed.splitlines():
        if line.startswith("FIGURE"):
            _word, name, value, target, word = line.split()
            found[name] = (value, target, word)
    return found


def test_the_speed_of_both_loops_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    cifar.report_speed({"all": cifar.speed(SIZE, "all"), "head": cifar.speed(SIZE, cifar.HEAD)})
    found = figures(capsys.readouterr().out)
    assert set(found) == {
        "cifar.images_per_s_over_bare_all",
        "cifar.images_per_s_over_bare_head",
    }
    assert all(float(value) > 0.0 for value, _target, _word in found.values())


@pytest.mark.skipif(not cifar.DATA.exists(), reason="the photos of RENEWAL_DATA are not here")
def test_three_versions_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    found = cifar.ways(SIZE)
    assert [each.name for each in found] == ["original", "fine-tuned", "retrained"]
    assert all(0.0 <= each.accuracy <= 1.0 and each.seconds > 0.0 for each in found)
    cifar.report_ways(found)
    assert len(figures(capsys.readouterr().out)) == 2


@pytest.mark.parametrize("loop", [cifar.ours, cifar.bare])
@pytest.mark.parametrize("train", ["all", cifar.HEAD])
def test_both_loops_train_what_they_are_told_to(loop: object, train: str) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    inputs = learn_inputs(cifar.as_rows(photos), TorchModel(cifar.NET).reading, who="test")
    torch.manual_seed(0)
    fitted = Fitted(cifar.SmallCnn(2), inputs, cifar.CLASSES, "head")
    lesson = LearningRows(
        raw_tensors(fitted, cifar.as_rows(photos), who="test"), torch.arange(32) % 10
    )
    before = {name: each.clone() for name, each in fitted.module.state_dict().items()}
    how = replace(SIZE.how, epochs=1, batch=8, train=train)
    assert callable(loop)
    loop(fitted, lesson, how, torch.device("cpu"))
    moved = {
        name for name, each in fitted.module.state_dict().items() if (each != before[name]).any()
    }
    assert moved == (set(before) if train == "all" else {"head.weight", "head.bias"})
