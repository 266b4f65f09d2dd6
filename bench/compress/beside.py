"""Models side by side: bytes, accuracy with its bound, time in turns; and the figures of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.figure import figure
from renewal.stats.discordant import Discordant

Pixels = NDArray[np.uint8]
Run = Callable[[Pixels], NDArray[Any]]
"""Pixels to scores, as a served model answers."""

PARENT = "parent"
ALPHA = 0.05
# A model may be slower by this and count as equally fast: what a repetition shows.
_NOISE = 1.05
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One line of the table.

    Parameters
    ----------
    name : str
        A chain, or a peer.
    n_bytes : int
        Of its file.
    run : callable
        Pixels to scores.
    right : bool array, shape (n_test,)
        Rows that it gets right.
    status : str
        What the certification said; of a peer "peer".
    lower : float or None, default None
        Bound of its gain over the parent; None: the score bound of the test rows.
    """

    name: str
    n_bytes: int
    run: Run
    right: NDArray[np.bool_]
    status: str
    lower: float | None = None

    def beside(self, other: Model) -> Discordant:
        """Return the test of its accuracy over that of another."""
        gained = int(np.sum(self.right & ~other.right))
        lost = int(np.sum(~self.right & other.right))
        return Discordant(gained, lost, n_rows=len(self.right))


@dataclass(frozen=True, slots=True)
class Times:
    """Median milliseconds of a call with one photo, and with 64.

    Parameters
    ----------
    single, batch : float
        In a row of calls of one model.
    cold : float, default 0
        With one photo, right after another model has filled the processor's caches.
    """

    single: float
    batch: float
    cold: float = 0.0


def right_of(run: Run, pixels: Pixels, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows a model gets right."""
    said = [run(pixels[at : at + 64]).argmax(axis=1) for at in range(0, len(pixels), 64)]
    found: NDArray[np.bool_] = np.concatenate(said) == labels
    return found


def timed(runs: Mapping[str, Run], pixels: Pixels, n_single: int, n_batch: int) -> dict[str, Times]:
    """Time models in turns, in random order, each turn with other photos than the one before.

    A turn is three calls. The first finds the caches of the processor full of what the model
    before it has left: that is told apart, for it measures the others, too.
    """
    rng = np.random.default_rng(_SEED)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for size, n_turns in ((1, n_single), (64, n_batch)):
        calls: dict[str, list[list[float]]] = {name: [] for name in runs}
        for _ in range(n_turns):
            at = int(rng.integers(len(pixels) - size + 1))
            some = np.ascontiguousarray(pixels[at : at + size])
            for place in rng.permutation(len(runs)):
                name = list(runs)[place]
                calls[name].append(_turn(runs[name], some))
        for name, each in calls.items():
            table = np.array(each)
            found[name] += [float(np.median(table[:, 1:])), float(np.median(table[:, 0]))]
    return {name: Times(each[0], each[2], each[1]) for name, each in found.items()}


def _turn(run: Run, pixels: Pixels) -> list[float]:
    """Return the milliseconds of three calls in a row."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        run(pixels)
        found.append(1000.0 * (time.perf_counter() - began))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """All that was measured of one network.

    Parameters
    ----------
    net : str
        Its name.
    parent : Model
        Its float32 graph.
    ours, peers : list of Model
        The front, in the order of the tests; and the others.
    times : mapping of str to Times
        By name of the model.
    aims : tuple of (float, float)
        How much smaller, and how much faster with one photo, it is to become.
    """

    net: str
    parent: Model
    ours: list[Model]
    peers: list[Model]
    times: Mapping[str, Times]
    aims: tuple[float, float]

    def size_ratio(self, model: Model) -> float:
        """Return how much smaller a model is."""
        return self.parent.n_bytes / model.n_bytes

    def speed(self, model: Model) -> tuple[float, float]:
        """Return how much faster it answers one photo, and 64."""
        theirs, ours = self.times[PARENT], self.times[model.name]
        return theirs.single / ours.single, theirs.batch / ours.batch

    def speed_cold(self, model: Model) -> float:
        """Return how much faster it answers one photo when others ran before."""
        return self.times[PARENT].cold / self.times[model.name].cold

    def best(self) -> Model | None:
        """Return the certified model that comes nearest to both aims; None where there is none."""
        small, fast = self.aims
        certain = [each for each in self.ours if each.status == "certified"]
        return max(
            certain,
            key=lambda each: (
                min(self.size_ratio(each) / small, self.speed(each)[0] / fast, 1.0),
                self.size_ratio(each),
            ),
            default=None,
        )

    def dominates(self, peer: Model) -> Model | None:
        """Return a model of ours that is as small, as fast (give or take 5%) and as good.

        As good: on the test rows it is not shown to be worse, at 5%.
        """
        for each in self.ours:
            is_small = each.n_bytes <= peer.n_bytes
            is_fast = all(
                mine * _NOISE >= theirs
                for mine, theirs in zip(self.speed(each), self.speed(peer), strict=True)
            )
            if is_small and is_fast and each.beside(peer).upper(ALPHA) >= 0.0:
                return each
        return None


def show(result: Result) -> None:
    """Print one table."""
    table = Table(title=f"{result.net}, {len(result.parent.right):,} test rows, 1 point at 95%")
    for name in ("model", "bytes", "smaller", "accuracy", "difference", "bound", "faster, 1",
                 "cold", "faster, 64", "status"):  # fmt: skip
        table.add_column(name, justify="left" if name == "model" else "right")
    for each in (result.parent, *result.ours, *result.peers):
        bound = each.beside(result.parent)
        single, batch = result.speed(each)
        table.add_row(
            each.name,
            f"{each.n_bytes:,}",
            f"{result.size_ratio(each):.2f}",
            f"{100.0 * each.right.mean():.2f}",
            f"{100.0 * bound.mean:+.2f}",
            f"{100.0 * (bound.lower(ALPHA) if each.lower is None else each.lower):+.2f}",
            f"{single:.2f}",
            f"{result.speed_cold(each):.2f}",
            f"{batch:.2f}",
            each.status,
        )
    Console(width=150).print(table)
    times = result.times[PARENT]
    load = os.getloadavg()[0]
    print(
        f"parent: {times.single:.3f} ms, {times.batch:.2f} ms for 64; "
        f"load of the machine {load:.1f}"
    )


def tell(result: Result) -> None:
    """Print the figures of a network: of the certified model that comes nearest to both aims."""
    small, fast = result.aims
    name, best = f"networks.{result.net}", result.best()
    size, single, batch = (0.0, 0.0, 0.0) if best is None else (
        result.size_ratio(best), *result.speed(best)
    )  # fmt: skip
    print(f"{name}: {'nothing certified' if best is None else best.name}")
    figure(f"{name}.size_ratio", size, f">={small:g}", ok=size >= small)
    figure(f"{name}.latency_ratio_b1", single, f">={fast:g}", ok=single >= fast)
    cold = 0.0 if best is None else result.speed_cold(best)
    figure(f"{name}.latency_ratio_b1_cold", cold, f">={fast:g}", ok=cold >= fast)
    figure(f"{name}.latency_ratio_b64", batch, f">={fast:g}", ok=batch >= fast)
    for each in result.peers:
        by = result.dominates(each)
        key = each.name.replace(" ", "_")
        figure(f"{name}.dominates_{key}", "no" if by is None else "yes", "yes", ok=by is not None)
