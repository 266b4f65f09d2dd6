"""Losses of rows: weighed, taught, and none lost between two passes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from renewal.models.torch_inputs import Tensors
from renewal.models.torch_losses import LearningRows, chunks_of, mean_loss, row_losses

OUTPUTS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
TARGETS = torch.tensor([0, 0, 1])


def test_a_teacher_who_says_the_same_pulls_nowhere() -> None:
    teacher = OUTPUTS.softmax(dim=1)
    plain = row_losses(OUTPUTS, LearningRows((), TARGETS), "cross_entropy", 0.4)
    taught = LearningRows((), TARGETS, teacher=teacher)
    found = row_losses(OUTPUTS, taught, "cross_entropy", 0.4)
    np.testing.assert_allclose(found.numpy(), 0.6 * plain.numpy(), rtol=1e-6)


def test_of_what_a_teacher_does_not_know_only_the_label_counts() -> None:
    """Breaks when a new class is taught to be no class: the loss would be taken off by 40%."""
    teacher = torch.tensor([[0.9, 0.1], [0.0, 0.0], [0.9, 0.1]])
    rows = LearningRows((), TARGETS, teacher=teacher)
    found = row_losses(OUTPUTS, rows, "cross_entropy", 0.4)
    plain = row_losses(OUTPUTS, LearningRows((), TARGETS), "cross_entropy", 0.4)
    assert found[1] == plain[1]
    assert found[0] != plain[0]


@pytest.mark.parametrize(
    ("kind", "expected"), [("l1", [1.0, 1.0, 4.5]), ("mse", [1.0, 1.0, 20.25])]
)
def test_numbers(kind: Literal["l1", "mse"], expected: list[float]) -> None:
    rows = LearningRows((), torch.tensor([1.0, -1.0, 5.0]))
    assert row_losses(OUTPUTS, rows, kind, 0.0).tolist() == expected


def test_weights_multiply() -> None:
    weights = torch.tensor([2.0, 0.5, 0.5])
    one = row_losses(OUTPUTS, LearningRows((), TARGETS, weights), "cross_entropy", 0.0)
    other = row_losses(OUTPUTS, LearningRows((), TARGETS), "cross_entropy", 0.0)
    assert torch.equal(one, other * weights)


@pytest.mark.parametrize("n_rows", range(1, 12))
def test_no_row_is_lost_and_none_is_alone(n_rows: int) -> None:
    chunks = chunks_of(torch.arange(n_rows), 4)
    assert torch.equal(torch.cat(chunks), torch.arange(n_rows))
    assert n_rows == 1 or min(len(each) for each in chunks) > 1


def test_a_look_leaves_the_modes_as_they_were() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9))
    net.train()
    net[0].eval()

    def call(module: nn.Module, tensors: Tensors) -> Tensor:
        found: Tensor = module(*tensors)
        return found

    rows = LearningRows((torch.randn(9, 2),), torch.zeros(9, dtype=torch.int64))
    cpu = torch.device("cpu")
    found = [mean_loss(net, call, rows, "cross_entropy", device=cpu, batch=b) for b in (2, 9)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert [each.training for each in net.modules()] == [True, False, True]
