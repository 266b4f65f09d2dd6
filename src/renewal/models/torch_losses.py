"""What one row costs a network while it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from renewal.models.torch_inputs import Tensors

# Up to this share of a GPU's free memory all rows lie there; beyond it they are sent.
_SHARE_FOR_ROWS = 0.4

RowLoss = Literal["cross_entropy", "l1", "mse"]
Call = Callable[[torch.nn.Module, Tensors], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class LearningRows:
    """Rows as tensors, n rows first, on one device.

    Parameters
    ----------
    inputs : tuple of Tensor
        What `call` of the loop takes.
    targets : Tensor of shape (n,)
        Column of the true class, int64; or the value in the network's units, float32.
    weights : Tensor of shape (n,) or None
        float32 with mean 1.
    teacher : Tensor of shape (n, n_outputs) or None
        float32: probabilities, or a value in the network's units. A row of zeros among
        classes is one of which the teacher knows nothing.
    """

    inputs: Tensors
    targets: Tensor
    weights: Tensor | None = None
    teacher: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.targets)

    @property
    def tensors(self) -> Tensors:
        """Every tensor that is there."""
        further = (self.targets, self.weights, self.teacher)
        return self.inputs + tuple(each for each in further if each is not None)

    def to(self, device: torch.device) -> LearningRows:
        """Return the rows on another device."""
        return LearningRows(
            tuple(each.to(device) for each in self.inputs),
            self.targets.to(device),
            None if self.weights is None else self.weights.to(device),
            None if self.teacher is None else self.teacher.to(device),
        )

    def take(self, at: Tensor, device: torch.device) -> LearningRows:
        """Return some of the rows on a device."""
        at = at.to(self.targets.device)

        def some(each: Tensor) -> Tensor:
            return each[at].to(device, non_blocking=True)

        return LearningRows(
            tuple(some(each) for each in self.inputs),
            some(self.targets),
            None if self.weights is None else some(self.weights),
            None if self.teacher is None else some(self.teacher),
        )


def row_losses(outputs: Tensor, rows: LearningRows, kind: RowLoss, distil: float) -> Tensor:
    r"""Return the loss of every row, weighted.

    With a teacher it is :math:`(1 - d)\\, loss + d\\, KL(teacher \\| network)` for classes, and
    the distance to the teacher's value in place of the divergence for numbers.

    Parameters
    ----------
    outputs : Tensor of shape (n, n_outputs)
        Of the network; logits for classes.
    rows : LearningRows
        The n rows.
    kind : {"cross_entropy", "l1", "mse"}
        Of the plain loss.
    distil : float in [0, 1)
        The weight d.

    Examples
    --------
    >>> rows = LearningRows((), torch.tensor([0]), teacher=torch.tensor([[0.5, 0.5]]))
    >>> round(float(row_losses(torch.zeros(1, 2), rows, "cross_entropy", 0.5)), 4)
    0.3466
    """
    outputs = outputs.float()
    found = _plain(outputs, rows.targets, kind)
    if rows.teacher is not None and distil > 0.0:
        teacher = rows.teacher
        if kind == "cross_entropy":
            answers = functional.log_softmax(outputs, dim=1)
            apart = (torch.xlogy(teacher, teacher) - teacher * answers).sum(dim=1)
            share = distil * (teacher.sum(dim=1) > 0.0)
        else:
            apart = _plain(outputs, teacher[:, 0], kind)
            share = torch.full_like(apart, distil)
        found = (1.0 - share) * found + share * apart
    return found if rows.weights is None else found * rows.weights


def mean_loss(
    module: torch.nn.Module,
    call: Call,
    rows: LearningRows,
    kind: RowLoss,
    *,
    device: torch.device,
    batch: int,
) -> float:
    """Return the mean loss of rows in evaluation mode, without their teacher.

    The modes of the module's parts are as they were afterwards.
    """
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    total = torch.zeros((), device=device)
    with torch.inference_mode():
        for chunk in torch.arange(len(rows)).split(batch):
            some = rows.take(chunk, device)
            total += row_losses(call(module, some.inputs), some, kind, 0.0).sum()
    for each, mode in modes:
        each.training = mode
    return float(total) / len(rows)


def chunks_of(at: Tensor, batch: int) -> tuple[Tensor, ...]:
    """Split the rows of a step into passes; a last one of a single row joins the one before.

    Examples
    --------
    >>> [len(each) for each in chunks_of(torch.arange(9), 4)]
    [4, 5]
    """
    chunks = tuple(at.split(batch))
    if len(chunks) > 1 and len(chunks[-1]) == 1:
        return (*chunks[:-2], torch.cat(chunks[-2:]))
    return chunks


def placed(rows: LearningRows, device: torch.device) -> LearningRows:
    """Return rows on the device, or as they are where they would fill too much of a GPU."""
    if device.type == "cuda":
        n_bytes = sum(each.numel() * each.element_size() for each in rows.tensors)
        if n_bytes > _SHARE_FOR_ROWS * torch.cuda.mem_get_info(device)[0]:
            return rows
    return rows.to(device)


def _plain(outputs: Tensor, targets: Tensor, kind: RowLoss) -> Tensor:
    if kind == "cross_entropy":
        return functional.cross_entropy(outputs, targets, reduction="none")
    gap = outputs[:, 0] - targets
    return gap.abs() if kind == "l1" else gap.square()
