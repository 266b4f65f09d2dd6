"""Small networks for suites, importable from every process that tests start."""

from __future__ import annotations

import itertools

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


class Places(nn.Module):  # type: ignore[misc]  # as above
    """Looks up its one column of numbers: those from 0 to 7 have a place, no others.

    A GPU that is asked for another place refuses all work of the process from then on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(8, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_outputs)."""
        found: Tensor = self.head(self.places(numbers[:, 0].long()))
        return found


class ResNet(nn.Module):  # type: ignore[misc]  # as above
    """A residual network for small pictures: three stages, each twice as wide as the one before.

    Parameters
    ----------
    blocks : int, default 3
        Residual blocks of each stage; 3 make the network of 20 layers.
    width : int, default 16
        Channels of the first stage.
    """

    def __init__(self, blocks: int = 3, width: int = 16) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(3) for _ in range(blocks)]
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Sequential(
            *(_Residual(before, after) for before, after in itertools.pairwise([width, *widths]))
        )
        self.head = nn.Linear(widths[-1], 2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_outputs)."""
        found: Tensor = self.body(self.norm(self.stem(pixels)).relu())
        answers: Tensor = self.head(found.mean(dim=(2, 3)))
        return answers


class _Residual(nn.Module):  # type: ignore[misc]  # as above
    """Two convolutions, added to what came in; a wider one shrinks the picture."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.last = nn.BatchNorm2d(after)
        self.way = (
            nn.Identity()
            if before == after
            else nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )
        )

    def forward(self, pixels: Tensor) -> Tensor:
        inner = self.last(self.second(self.norm(self.first(pixels)).relu()))
        found: Tensor = (inner + self.way(pixels)).relu()
        return found


class Perceptron(nn.Module):  # type: ignore[misc]  # as above
    """Linear layers with ReLU between them.

    Parameters
    ----------
    n_inputs : int
        Columns of numbers.
    width : int, default 32
        Of each hidden layer.
    hidden : int, default 2
        How many of them.
    is_tied : bool, default False
        Whether the second and the last hidden layer share one weight.
    """

    def __init__(
        self, n_inputs: int, width: int = 32, hidden: int = 2, *, is_tied: bool = False
    ) -> None:
        super().__init__()
        sizes = [n_inputs, *[width] * hidden]
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in itertools.pairwise(sizes)
        )
        if is_tied:
            self.layers[-1].weight = self.layers[1].weight
        self.head = nn.Linear(width, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return logits, or values, of shape (n_rows, n_outputs)."""
        for layer in self.layers:
            numbers = layer(numbers).relu()
        found: Tensor = self.head(numbers)
        return found


class Own(nn.Module):  # type: ignore[misc]  # as above
    """A network with a layer that no library knows, between two that every library knows.

    Parameters
    ----------
    n_inputs : int
        Columns of numbers.
    width : int, default 32
        Of each hidden layer.
    """

    def __init__(self, n_inputs: int, width: int = 32) -> None:
        super().__init__()
        self.before = nn.Linear(n_inputs, width)
        self.own = _Mixed(width)
        self.after = nn.Linear(width, width)
        self.unused = nn.Linear(width, width)
        self.free = nn.Linear(width, width)
        self.head = nn.Linear(width, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_outputs)."""
        inner = self.after(self.own(self.before(numbers).relu())).relu()
        # The weight is read past its layer, as attention does.
        inner = nn.functional.linear(inner, self.unused.weight).relu()
        found: Tensor = self.head(self.free(inner).relu())
        return found


class _Mixed(nn.Module):  # type: ignore[misc]  # as above
    """A weight of its own, with the width written into the code that uses it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mix = nn.Parameter(torch.randn(width, width) / width**0.5)

    def forward(self, numbers: Tensor) -> Tensor:
        found: Tensor = numbers.reshape(-1, self.width) @ self.mix
        return found.relu()
