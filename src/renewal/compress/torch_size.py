"""The size of a network before its export: its parameters; tied ones count once."""

from __future__ import annotations

from typing import Any

import torch

from renewal.compress.counting import Count, total


def size(estimator: Any) -> Count:
    """Return the count of a fitted network of the adapters ``torch`` and ``transformers``.

    Its multiplications depend on the rows and are read off the exported graph: None here.
    Buffers, such as the means of a batch normalization, are counted too: they are stored.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> layer = torch.nn.Linear(3, 2)
    >>> size(layer).parameters
    8
    """
    fitted = getattr(estimator, "fitted", None)
    module = getattr(fitted, "module", estimator)
    if not isinstance(module, torch.nn.Module):
        return Count(macs=None)
    held = [*module.parameters(), *(each for each in module.buffers() if each.is_floating_point())]
    with torch.no_grad():
        counted = total(_count(each) for each in held)
    return Count(counted.parameters, counted.nonzero, counted.l1, None)


def _count(tensor: Any) -> Count:
    if not tensor.is_floating_point():
        return Count()
    sizes = tensor.detach().abs().double()
    norm = float(sizes[torch.isfinite(sizes)].sum())
    return Count(tensor.numel(), int(torch.count_nonzero(sizes)), norm)
