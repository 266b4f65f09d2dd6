"""A network that no export can equal: it never answers alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Unsteady(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """One linear layer and noise.

    Parameters
    ----------
    n_inputs : int
        Columns of numbers.
    """

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(n_inputs, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return logits that are never the same."""
        found: Tensor = self.head(numbers)
        return found + torch.rand_like(found)
