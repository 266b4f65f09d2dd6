"""The networks that are compressed, trained here on photos of CIFAR-10.

Two of them: a perceptron of 1.7 million weights, and a residual network of the size of a
ResNet-20 (0.30 million weights), of fewer and wider layers: it is trained on a core in minutes.
`NETS["resnet20"]` is that network itself, for who has the hours.

A parent is trained once: its weights are kept in a folder (RENEWAL_BENCH_CACHE, by default
among the temporary files) under a name of everything that they depend on.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from renewal.compress.form import Form
from renewal.data.frame import signature_of
from renewal.data.rows import Rows
from renewal.models.torch_inputs import Inputs, Reading, finished, learn_inputs, tensors_of
from renewal.models.torch_model import Fitted, TorchModel
from renewal.testing.forms import rows_of

FOLDER = Path(os.environ.get("RENEWAL_DATA", "../shared/data"))
CLASSES = tuple(range(10))
_WHO = "bench"
_BATCH = 128


class Block(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Two convolutions and a way around them."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        self.way = nn.Sequential()
        if n_in != n_out or stride != 1:
            self.way = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps behind the block."""
        inside = functional.relu(self.first_norm(self.first(maps)))
        return functional.relu(self.second_norm(self.second(inside)) + self.way(maps))


class Residual(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """A stem, blocks of (channels, stride), the mean over the picture, and a head.

    Parameters
    ----------
    stem : int
        Channels of the first convolution.
    blocks : list of (int, int)
        Channels and stride of each block.
    n_classes : int
        Outputs.
    """

    def __init__(self, stem: int, blocks: list[tuple[int, int]], n_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        widths = [stem, *(width for width, _ in blocks)]
        self.body = nn.Sequential(
            *(Block(before, *each) for before, each in zip(widths, blocks, strict=False))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the score of each class."""
        scores: Tensor = self.head(self.pool(self.body(self.stem(pixels))).flatten(1))
        return scores


class Perceptron(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Dense layers over all pixels.

    Parameters
    ----------
    widths : list of int
        Of the hidden layers.
    n_inputs, n_classes : int
        Numbers of a picture, and outputs.
    """

    def __init__(self, widths: list[int], n_inputs: int = 3_072, n_classes: int = 10) -> None:
        super().__init__()
        sizes = [n_inputs, *widths]
        layers: list[nn.Module] = []
        for before, width in zip(sizes, widths, strict=False):
            layers += [nn.Linear(before, width), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], n_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the score of each class."""
        scores: Tensor = self.head(self.body(pixels.flatten(1)))
        return scores


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a parent is made.

    Parameters
    ----------
    net : str
        Import path of its class.
    options : mapping
        Of the class.
    epochs : int
        Over all training rows, half of the photos mirrored each time.
    lr : float
        Highest learning rate of AdamW.
    shift : int, pixels
        Photos are shifted at random by so many at most.
    """

    net: str
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 10
    lr: float = 4e-3
    shift: int = 4


_TWENTY = [(16, 1)] * 3 + [(32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)]
NETS = {
    "mlp": Recipe("bench.compress.nets:Perceptron", {"widths": [512, 256]}, 12, 1e-3, 0),
    "cnn": Recipe(
        "bench.compress.nets:Residual",
        {"stem": 32, "blocks": [[32, 2], [64, 2], [64, 1], [96, 2]]},
    ),
    "resnet20": Recipe(
        "bench.compress.nets:Residual",
        {"stem": 16, "blocks": [list(each) for each in _TWENTY]},
        30,
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Rows by what they are for; none of them is in two.

    Parameters
    ----------
    train, validation, test : Rows
        Their photos are JPEG files in the column ``image``.
    """

    train: Rows
    validation: Rows
    test: Rows


def photos(n_train: int, n_validation: int, n_test: int) -> Photos:
    """Return the first rows of both files; validation rows are the last of the training file."""
    train, test = (_read(FOLDER / f"cifar10_{name}.parquet") for name in ("train", "test"))
    n_rows = len(train)
    return Photos(
        train.take(np.arange(n_train)),
        train.take(np.arange(n_rows - n_validation, n_rows)),
        test.take(np.arange(min(n_test, len(test)))),
    )


def is_there() -> bool:
    """Return whether the photos are."""
    return (FOLDER / "cifar10_train.parquet").exists()


def parent_of(recipe: Recipe, train: Rows, *, seed: int = 0) -> tuple[Form, float]:
    """Return a trained network, and the seconds that it took; 0 where it was kept.

    Parameters
    ----------
    recipe : Recipe
        What, and for how long.
    train : Rows
        It learns from all of them.
    seed : int, default 0
        Of weights, order and augmentation.
    """
    inputs = learn_inputs(train.features, Reading(), who=_WHO)
    torch.manual_seed(seed)
    model = TorchModel(recipe.net, recipe.options)
    module = _class_of(recipe.net)(**recipe.options)
    needs = {**asdict(recipe), "seed": seed, "n": len(train), "torch": torch.__version__}
    kept = _folder() / f"{_named(needs, train)}.pt"
    seconds = 0.0
    if kept.exists():
        module.load_state_dict(torch.load(kept, weights_only=True))
    else:
        began = time.perf_counter()
        pixels = tensors_of(inputs, train.features, who=_WHO)[0]
        targets = torch.from_numpy(labels_of(train))
        _train(module, inputs, (pixels, targets), recipe, seed=seed)
        seconds = time.perf_counter() - began
        _keep(module, kept)
    fitted = Fitted(module.eval(), inputs, CLASSES, "head")
    model = TorchModel(recipe.net, recipe.options, fitted=fitted)
    return Form("torch", model, signature_of(train.features), CLASSES), seconds


def pixels_of(form: Form, rows: Rows) -> NDArray[np.uint8]:
    """Return photos as the graph of a network takes them, uint8 of (n, 3, height, width)."""
    inputs = form.estimator.fitted.inputs
    found: NDArray[np.uint8] = tensors_of(inputs, rows.features, who=_WHO)[0].numpy()
    return found


def labels_of(rows: Rows) -> NDArray[np.int64]:
    """Return what photos show, as whole numbers."""
    assert rows.label is not None, "every photo has a label"
    found: NDArray[np.int64] = rows.label.astype(np.int64)
    return found


def _train(
    module: nn.Module, inputs: Inputs, rows: tuple[Tensor, Tensor], recipe: Recipe, *, seed: int
) -> None:
    """Train in place: AdamW, a rate that rises and falls, mirrored and shifted photos."""
    pixels, targets = rows
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.lr, weight_decay=0.02)
    per_epoch = -(-len(targets) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=per_epoch * recipe.epochs, pct_start=0.2
    )
    module.train().to(memory_format=torch.channels_last)
    for epoch in range(recipe.epochs):
        total = 0.0
        for at in torch.randperm(len(targets), generator=draw).split(_BATCH):
            (some,) = finished(inputs, (_moved(pixels[at], recipe.shift, draw),))
            some = some.contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(module(some), targets[at])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            total += float(loss.detach()) * len(at)
        print(f"  epoch {epoch + 1} of {recipe.epochs}: loss {total / len(targets):.3f}")
    module.eval().to(memory_format=torch.contiguous_format)


def _moved(pixels: Tensor, shift: int, draw: torch.Generator) -> Tensor:
    """Return photos, half of them mirrored, all shifted by the same few pixels."""
    is_mirrored = torch.rand(len(pixels), generator=draw) < 0.5
    pixels = torch.where(is_mirrored[:, None, None, None], pixels.flip(3), pixels)
    down, right = torch.randint(0, 2 * shift + 1, (2,), generator=draw).tolist()
    padded = functional.pad(pixels, (shift,) * 4)
    height, width = pixels.shape[2:]
    return padded[:, :, down : down + height, right : right + width]


def _read(path: Path) -> Rows:
    table = pq.read_table(path)
    labels = np.array(table["label"].to_pylist(), dtype=object)
    features = pa.table({"image": table["jpeg"].combine_chunks().cast(pa.binary())})
    return rows_of(features, labels)


def _class_of(path: str) -> Any:
    known = {each.__name__: each for each in (Residual, Perceptron)}
    return known[path.partition(":")[2]]


def _named(needs: dict[str, Any], train: Rows) -> str:
    text = json.dumps(
        {**needs, "last": labels_of(train)[-50:].tolist()}, sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _folder() -> Path:
    default = Path(tempfile.gettempdir()) / "renewal-bench"
    return Path(os.environ.get("RENEWAL_BENCH_CACHE", default))


def _keep(module: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    out = io.BytesIO()
    torch.save(module.state_dict(), out)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(out.getvalue())
    partial.replace(path)
