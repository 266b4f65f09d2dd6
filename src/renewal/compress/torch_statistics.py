"""Batch normalizations after a cut: their statistics are those of channels that are gone."""

from __future__ import annotations

import torch
from torch import nn

from renewal.compress.torch_forms import Opened
from renewal.models.torch_inputs import Tensors
from renewal.models.torch_losses import chunks_of

# Rows by which the statistics are found again, and at once.
_STATISTICS, _AT_ONCE = 2_048, 256
_LAYERS = nn.modules.batchnorm._BatchNorm  # noqa: SLF001  # the one common parent of all of them


def adapt_statistics(opened: Opened, inputs: Tensors) -> None:
    """Find running means and variances of batch normalizations again, over some rows."""
    layers = [
        each
        for each in opened.module.modules()
        if isinstance(each, _LAYERS) and each.running_mean is not None
    ]
    # Of one row no spread is known: the statistics stay as they are.
    n_rows = min(_STATISTICS, len(inputs[0]))
    if not layers or n_rows < 2:
        return
    order = torch.linspace(0, len(inputs[0]) - 1, n_rows).round().long()
    before = [each.momentum for each in layers]
    for each in layers:
        each.reset_running_stats()
        each.momentum = None  # the plain mean over all batches
        each.train()
    with torch.no_grad():
        for at in chunks_of(order, _AT_ONCE):
            opened.call(opened.module, tuple(each[at] for each in inputs))
    for each, momentum in zip(layers, before, strict=True):
        each.momentum = momentum
        each.eval()


def freeze_for_one(module: nn.Module, n_rows: int) -> None:
    """Let batch normalizations read their statistics where a batch is a single row."""
    for each in module.modules():
        if isinstance(each, _LAYERS):
            each.train(n_rows > 1)
