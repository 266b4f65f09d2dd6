"""Photos for the two CIFAR-10 examples: the network, the images, and what may happen to them.

The network lives in a module of its own because a stored version holds no code: whoever loads
it imports `photos.SmallCnn`, and only where the policy of the home trusts that name.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits
from torch import Tensor, nn

from renewal.models.layers import Tuning
from renewal.models.torch_inputs import Reading
from renewal.models.torch_model import TorchModel

DATA = Path(os.environ.get("RENEWAL_DATA", "../shared/data")) / "cifar10_train.parquet"
TRUST = 'trust = ["photos.SmallCnn"]\n'
START = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)

Pixels = NDArray[np.uint8]


class SmallCnn(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Two convolutions and three linear layers, the network of many a first tutorial.

    Parameters
    ----------
    channels, size : int
        Of the square images.
    """

    def __init__(self, channels: int = 3, size: int = 32) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(channels, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.think = nn.Sequential(
            nn.Linear(32 * (size // 4) ** 2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()
        )
        self.head = nn.Linear(84, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the score of each class."""
        scores: Tensor = self.head(self.think(self.look(pixels)))
        return scores


class Photos:
    """Images and what they show, in one order; digits of scikit-learn where CIFAR-10 is absent.

    Parameters
    ----------
    n : int
        How many are wanted; there may be fewer.
    """

    def __init__(self, n: int) -> None:
        if DATA.exists():
            table = pq.read_table(DATA).slice(0, n)
            names = np.array(table.schema.metadata[b"classes"].decode().split(","), dtype=object)
            self.labels = names[table["label"].to_numpy()]
            self.pixels: Pixels = np.stack(
                [np.asarray(Image.open(io.BytesIO(each.as_py()))) for each in table["jpeg"]]
            )
        else:
            digits = load_digits()
            self.labels = np.array([str(each) for each in digits.target[:n]], dtype=object)
            self.pixels = (digits.images[:n, :, :, np.newaxis] * 15.9).astype(np.uint8)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.labels)

    def model(self, how: Tuning) -> TorchModel:
        """Return the network for these images, not trained yet."""
        _, size, _, channels = self.pixels.shape
        reading = Reading(channels=3 if channels == 3 else 1)
        return TorchModel(SmallCnn, {"channels": channels, "size": size}, how, reading)

    def rows(self, at: NDArray[np.int64], weeks: tuple[float, float], pixels: Pixels) -> pa.Table:
        """Return some of them as rows of a feed, spread evenly over a stretch of weeks.

        Parameters
        ----------
        at : ndarray of int
            Which.
        weeks : tuple of (float, float)
            Since the start, and until.
        pixels : ndarray of uint8, shape (len(at), height, width, channels)
            What the camera makes of them.
        """
        since, until = (START + each * WEEK for each in weeks)
        steps = np.arange(len(at)) / len(at)
        return pa.table(
            {
                "photo": pa.array([f"{weeks[0]}/{each}" for each in at]),
                "taken_at": pa.array([since + step * (until - since) for step in steps]),
                "image": pa.array(files(pixels), pa.binary()),
                "shows": pa.array(self.labels[at].tolist()),
            }
        )


def files(pixels: Pixels) -> Iterator[bytes]:
    """Yield each image as the bytes of a PNG file, as a camera would send it."""
    for each in pixels:
        file = io.BytesIO()
        _image(each).save(file, "PNG", compress_level=1)
        yield file.getvalue()


def blurred(pixels: Pixels, radius: float = 1.0) -> Pixels:
    """Return the images as a lens out of focus sees them."""
    gauss = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(_image(each).filter(gauss)).reshape(each.shape) for each in pixels])


def noisy(pixels: Pixels, spread: float = 40.0) -> Pixels:
    """Return the images as a cheap sensor in bad light sees them."""
    noise = np.random.default_rng(0).normal(0.0, spread, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def dark(pixels: Pixels, light: float = 0.3) -> Pixels:
    """Return the images as they are after sunset: dark, and bluer than by day."""
    tint = np.array([0.7, 0.85, 1.0])[-pixels.shape[-1] :]
    darker: Pixels = (pixels * light * tint).astype(np.uint8)
    return darker


def _image(pixels: Any) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels)
