"""CIFAR-10 after dusk: a frozen trunk with a new head against retraining, and the loop's speed.

A small convolutional network learns from photos taken by day; then dark and bluish ones come.
The last layer alone goes on learning from the new photos, or everything is retrained on both.
The three are compared on other dark photos, by accuracy and by seconds.

Then the training loop of the product runs beside a loop of plain torch: the same network, rows,
order, batch and optimizer, one after the other and again, so that both meet the same machine. On
a GPU that is in bfloat16 with 512 images a batch, and a network of four times the width; on the
processor in single precision with 64, one thread, by processor seconds.

Run it as ``python -m bench.update.cifar``; ``--quick`` takes a tenth of the photos. Without the
photos of RENEWAL_DATA only the speed is measured, on noise.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from bench.figure import figure
from renewal.models.layers import Lesson, Tuning
from renewal.models.torch import TorchAdapter
from renewal.models.torch_build import called
from renewal.models.torch_inputs import learn_inputs
from renewal.models.torch_learning import raw_tensors
from renewal.models.torch_loop import Job, learn
from renewal.models.torch_losses import LearningRows
from renewal.models.torch_model import Fitted, TorchModel

DATA = Path(os.environ.get("RENEWAL_DATA", "../shared/data")) / "cifar10_train.parquet"
NET = "bench.update.cifar:SmallCnn"  # by its name: this file may run as __main__
ADAPTER = TorchAdapter()
CLASSES = tuple(range(10))
LEAST_SPEED, MOST_SECONDS = 0.95, 0.5
HEAD = "last:1"
LIGHT = np.array([0.21, 0.255, 0.3])


class SmallCnn(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Two convolutions and three linear layers.

    Parameters
    ----------
    width : int
        Channels of the first convolution.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.think = nn.Sequential(
            nn.Linear(2 * width * 64, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()
        )
        self.head = nn.Linear(84, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the score of each class."""
        scores: Tensor = self.head(self.think(self.look(pixels)))
        return scores


@dataclass(frozen=True)
class Size:
    """How much is done.

    Parameters
    ----------
    n_old, n_new, n_test : int
        Photos by day, dark ones to learn from, and dark ones to measure on.
    epochs : int
        Of a fit from scratch.
    n_speed, repeats : int
        Images of one pass of the loops, and passes of each.
    """

    n_old: int
    n_new: int
    n_test: int
    epochs: int
    n_speed: int
    repeats: int

    @property
    def how(self) -> Tuning:
        """How it is trained from scratch, and beside the bare loop."""
        if torch.cuda.is_available():
            return Tuning(epochs=self.epochs, batch=512, precision="bfloat16", patience=None)
        return Tuning(epochs=self.epochs, batch=64, patience=None)


@dataclass(frozen=True)
class Measured:
    """One version on the dark photos that none has learned from."""

    name: str
    accuracy: float
    log_loss: float
    seconds: float


@dataclass(frozen=True)
class Speed:
    """Images a second of both loops, pass by pass.

    Parameters
    ----------
    ours, bare : tuple of float
        Of each pass, in turns.
    """

    ours: tuple[float, ...]
    bare: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of ours over bare: each pass beside the one that followed it."""
        pairs = zip(self.ours, self.bare, strict=True)
        return statistics.median(one / other for one, other in pairs)


def size_of(*, quick: bool) -> Size:
    """Return the size that fits this machine."""
    if torch.cuda.is_available():
        return Size(30_000, 10_000, 10_000, 5 if quick else 20, 50_000, 3 if quick else 9)
    if quick:
        return Size(1_000, 500, 500, 3, 1_280, 5)
    return Size(10_000, 5_000, 5_000, 10, 3_200, 15)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the photos")
    run(quick=parser.parse_args().quick)


def run(quick: bool) -> None:  # noqa: FBT001  # the form of every part of the benchmark
    """Run it, and print tables and figures."""
    size = size_of(quick=quick)
    if not torch.cuda.is_available():
        print("NOT RUN: the form on a GPU (bfloat16, batch 512), for want of one here")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if DATA.exists():
            report_ways(ways(size))
        else:
            print(f"NOT RUN: fine-tuning against retraining, for want of {DATA.name}")
        report_speed({"all": speed(size, "all"), "head": speed(size, HEAD)})
    finally:
        torch.set_num_threads(threads)


def ways(size: Size) -> tuple[Measured, ...]:
    """Return the original, the fine-tuned and the retrained network on the same dark photos."""
    photos, labels = photos_of(size.n_old + size.n_new + size.n_test)
    ends = np.cumsum([size.n_old, size.n_new])
    day, night, test = np.split(photos, ends)
    of_day, of_night, of_test = np.split(labels, ends)
    rows = [as_rows(each) for each in (day, after_dusk(night), after_dusk(test))]
    recipe = TorchModel(NET, {"width": 16}, size.how)
    found = []

    def measure(name: str, make: Callable[[], TorchModel]) -> TorchModel:
        began = _now_s()
        network = make()
        seconds = _now_s() - began
        scores = ADAPTER.predict(network, rows[2])
        chosen = scores[np.arange(len(of_test)), of_test.astype(int)]
        is_right = scores.argmax(axis=1) == of_test
        loss = float(-np.log(np.clip(chosen, 1e-12, 1.0)).mean())
        found.append(Measured(name, float(is_right.mean()), loss, seconds))
        return network

    original = measure("original", lambda: ADAPTER.fit(recipe, rows[0], of_day, seed=0))
    how = replace(size.how, epochs=max(1, size.epochs // 2), train=HEAD, lr=3e-3)
    lesson = Lesson(rows[1], of_night)
    measure("fine-tuned", lambda: ADAPTER.fine_tune(original, lesson, None, how, seed=0))
    both = pa.concat_tables(rows[:2])
    measure("retrained", lambda: ADAPTER.fit(recipe, both, np.append(of_day, of_night), seed=0))
    return tuple(found)


def photos_of(n: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return the first photos, (n, 32, 32, 3), and what they show."""
    table = pq.read_table(DATA).slice(0, n)
    photos = [np.asarray(Image.open(io.BytesIO(each.as_py()))) for each in table["jpeg"]]
    return np.stack(photos), np.array(table["label"].to_pylist(), dtype=object)


def after_dusk(photos: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return photos as they are after sunset: dark, and bluer than by day."""
    darker: NDArray[np.uint8] = (photos * LIGHT).astype(np.uint8)
    return darker


def as_rows(photos: NDArray[np.uint8]) -> pa.Table:
    """Return photos as a column of PNG files."""
    files = []
    for each in photos:
        file = io.BytesIO()
        Image.fromarray(each).save(file, "PNG", compress_level=1)
        files.append(file.getvalue())
    return pa.table({"image": pa.array(files, pa.binary())})


def speed(size: Size, train: str) -> Speed:
    """Run both loops in turns; the first pass of each warms up and does not count."""
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (size.n_speed, 32, 32, 3), np.uint8)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    width = 64 if device.type == "cuda" else 16
    inputs = learn_inputs(as_rows(photos[:64]), TorchModel(NET).reading, who="bench")
    fitted = Fitted(SmallCnn(width).to(device), inputs, CLASSES, "head")
    lesson = LearningRows(
        raw_tensors(fitted, as_rows(photos), who="bench"),
        torch.from_numpy(rng.integers(0, 10, size.n_speed)),
    )
    how = replace(size.how, epochs=1, train=train)
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    loops = {"ours": ours, "bare": bare}
    for at in range(size.repeats + 1):
        # Who goes first changes: a machine that slows down must not slow one of them.
        for name in sorted(loops, reverse=at % 2 == 0):
            began = _now_s()
            loops[name](fitted, lesson, how, device)
            found[name].append(size.n_speed / (_now_s() - began))
    return Speed(tuple(found["ours"][1:]), tuple(found["bare"][1:]))


def ours(fitted: Fitted, lesson: LearningRows, how: Tuning, device: torch.device) -> None:
    """Go once through the rows by the product's loop."""
    learn(
        Job(
            module=fitted.module,
            call=lambda module, tensors: called(fitted, module, tensors, who="bench"),
            lesson=lesson,
            watched=None,
            how=how,
            loss="cross_entropy",
            seed=0,
            device=device,
            who="bench",
        )
    )


def bare(fitted: Fitted, lesson: LearningRows, how: Tuning, device: torch.device) -> None:
    """Go once through the rows as a script of plain torch would."""
    module = fitted.module.train()
    for name, each in module.named_parameters():
        each.requires_grad_(how.train == "all" or name.startswith("head."))
    trained = [each for each in module.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=how.lr, weight_decay=0.0, fused=True)
    ((_, means, spreads),) = fitted.inputs.images.values()
    mean = torch.tensor(means, device=device).view(1, -1, 1, 1)
    spread = torch.tensor(spreads, device=device).view(1, -1, 1, 1)
    pixels, targets = lesson.inputs[0].to(device), lesson.targets.to(device)
    order = torch.randperm(len(targets)).to(device)
    for at in order.split(how.batch):
        images = (pixels[at].float() / 255.0 - mean) / spread
        with torch.autocast(device.type, torch.bfloat16, enabled=how.precision == "bfloat16"):
            outputs = module(images)
        functional.cross_entropy(outputs.float(), targets[at]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    module.requires_grad_(True)


def report_ways(found: tuple[Measured, ...]) -> None:
    """Print the three versions and their figures."""
    table = Table(title="on dark photos that none of the three has seen")
    of = "seconds" if torch.cuda.is_available() else "processor seconds"
    for name in ("", "accuracy", "log-loss", of):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            each.name, f"{each.accuracy:.3f}", f"{each.log_loss:.3f}", f"{each.seconds:.1f}"
        )
    Console(width=100).print(table)
    original, tuned, again = found
    gain = tuned.accuracy - original.accuracy
    figure("cifar.fine_tuned_accuracy_gain", gain, ">0", ok=gain > 0.0)
    share = tuned.seconds / again.seconds
    figure(
        "cifar.fine_tuned_seconds_over_retrained", share, f"<={MOST_SECONDS}", share <= MOST_SECONDS
    )


def report_speed(found: dict[str, Speed]) -> None:
    """Print images a second of both loops, and the figures."""
    of = "second" if torch.cuda.is_available() else "processor second"
    table = Table(title=f"images a {of}, medians of {len(found['all'].ours)} passes in turns")
    for name in ("trained", "Renewal", "bare torch", "ratio", "smallest", "largest"):
        table.add_column(name, justify="right")
    for name, each in found.items():
        ratios = [one / other for one, other in zip(each.ours, each.bare, strict=True)]
        table.add_row(
            name,
            f"{statistics.median(each.ours):,.0f}",
            f"{statistics.median(each.bare):,.0f}",
            *(f"{ratio:.3f}" for ratio in (each.ratio, min(ratios), max(ratios))),
        )
    Console(width=100).print(table)
    for name, each in found.items():
        is_fast = each.ratio >= LEAST_SPEED
        figure(f"cifar.images_per_s_over_bare_{name}", each.ratio, f">={LEAST_SPEED}", is_fast)


def _now_s() -> float:
    """Return the time of a GPU's work, or of the processor's."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    main()
