"""Small networks for suites, importable from every process that tests start."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TRUST = ("renewal.testing.torch_nets.Dense", "renewal.testing.torch_nets.Pixels")


class Dense(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Two linear layers with a normalization and dropout between them.

    Parameters
    ----------
    n_inputs : int
        Columns of numbers.
    n_texts : int, default 0
        Columns of texts; their codes are embedded.
    width : int, default 16
        Of the hidden layer.
    dropout : float in [0, 1), default 0
        Share of hidden values that a step leaves out.
    """

    def __init__(
        self, n_inputs: int, n_texts: int = 0, width: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, 4) if n_texts else None
        self.body = nn.Linear(n_inputs + 4 * n_texts, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 2)

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return logits, or values, of shape (n_rows, n_outputs)."""
        if self.embed is not None and codes is not None:
            numbers = torch.cat([numbers, self.embed(codes).flatten(1)], dim=1)
        found: Tensor = self.head(self.dropout(self.norm(self.body(numbers)).relu()))
        return found


class Pixels(nn.Module):  # type: ignore[misc]  # as above
    """A convolution, a mean over the picture and a linear layer.

    Parameters
    ----------
    channels : int, default 3
        Of the pictures.
    width : int, default 8
        Channels of the convolution.
    """

    def __init__(self, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.head = nn.Linear(width, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_outputs)."""
        found: Tensor = self.head(self.conv(pixels).relu().mean(dim=(2, 3)))
        return found
