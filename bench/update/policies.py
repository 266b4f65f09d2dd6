"""Policies of updating, live on streams whose labels come late: never, always, a window, the race.

Elec2 in blocks of 1,000 rows, labels 48 rows late; the flights of 2013 week by week, labels a
day late. Before each block a policy may fit on whatever labels are there by then; the block is
then served by whoever it named, so that every score is live. All of them begin with one fit on
the rows before the first block.

The race is that of `renewal.update.race`, as a schedule applies it with ``straight = true``. It
chooses by errors, since accuracy is what is compared; beside it run one that chooses by
log-loss, compared by that, and one that never goes straight. A policy of fixed recipe is the
yardstick of each.

There is no gate between the race and the traffic, as there would be in a home: what a gate
costs and gains is measured in `bench.loop`. Processor seconds are those of fitting and of
scoring for the choice, one thread, in one process; what serving costs is shown beside them.

Run it as ``python -m bench.update.policies``; ``--quick`` takes a third of each stream,
where the first races, in which everybody starts, weigh more than the target allows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from bench.figure import figure
from bench.update.living import TASK, Bill, Errors, Every, Fits, Never, Race
from bench.update.worlds import ELEC2, World, elec2, labels_of, last_label, new_york

N_SEEDS = {"elec2": 3, "flights": 2}
REPEATED, REPEATED_WITHIN, FULL_ELEC2 = 0.656, 0.002, 45_312
NEAR_BEST, MOST_CPU = 0.005, 1.3


@dataclass(frozen=True)
class Lived:
    """How a policy did, over all blocks.

    Parameters
    ----------
    name : str
        Of the policy.
    accuracy, log_loss : float
        Of every served row, live.
    bill : Bill
        What it cost.
    n_swaps : int
        Blocks that began with another version.
    n_flips : int
        Rows, right under the version before and wrong under the one that came, in the block
        after each swap.
    served_s : float, seconds
        Of the processor, in serving.
    """

    name: str
    accuracy: float
    log_loss: float
    bill: Bill
    n_swaps: int
    n_flips: int
    served_s: float


def live(world: World, policy: Never) -> Lived:
    """Let a policy live through a world."""
    champion = policy.fits.first
    right, losses = [], []
    n_swaps = n_flips = 0
    served_s = 0.0
    for start_us, block in world.blocks():
        before, champion = champion, policy.next(champion, start_us)
        labels = labels_of(block)
        began_s = time.process_time()
        scores = champion.scores(block)
        served_s += time.process_time() - began_s
        is_right = decided(scores, champion.classes) == labels
        if champion is not before:
            n_swaps += 1
            n_flips += int(
                (~is_right & (decided(before.scores(block), before.classes) == labels)).sum()
            )
        right.append(is_right)
        losses.append(TASK.loss(scores, TASK.labels(labels, who="bench"), champion.classes))
    return Lived(
        policy.name,
        float(np.concatenate(right).mean()),
        float(np.concatenate(losses).mean()),
        policy.bill,
        n_swaps,
        n_flips,
        served_s,
    )


def decided(scores: np.ndarray, classes: Sequence[Any]) -> np.ndarray:
    """Return the likeliest label of each row."""
    likeliest: np.ndarray = np.array(classes, dtype=object)[scores.argmax(axis=1)]
    return likeliest


def policies(fits: Fits) -> tuple[Never, ...]:
    """Return the policies, all with the same fits; the cheapest recipe stands first."""
    window = fits.world.recipe
    raced = ("recalibrate", "incremental", window, "retrain")
    return (
        Never(fits),
        Every(fits, "every", "retrain"),
        Every(fits, "window", window),
        Race(fits, raced, "race", straight=True, task=Errors()),
        Race(fits, raced, "race_by_log_loss", straight=True),
        Race(fits, raced, "race_not_straight", task=Errors()),
    )


def measured(world: World, seed: int, *, max_iter: int = 60) -> tuple[Lived, ...]:
    """Let every policy live through a world, with one thread."""
    with threadpool_limits(1):
        fits = Fits(world, HistGradientBoostingClassifier(max_iter=max_iter), seed)
        return tuple(live(world, each) for each in policies(fits))


def show(world: World, lived: Sequence[Lived]) -> None:
    """Print the table of one seed."""
    n_served = int((world.rows.event_us >= world.first_us).sum())
    table = Table(title=f"{world.name}: {n_served:,} rows served, seed 0")
    table.add_column("policy")
    for column in ("accuracy", "log-loss", "fits", "cpu-s fits", "to choose", "serving"):
        table.add_column(column, justify="right")
    for column in ("swaps", "negative flips"):
        table.add_column(column, justify="right")
    table.add_row("repeat the last label", f"{last_label(world).mean():.4f}", *[""] * 7)
    for each in lived:
        bill = each.bill
        shown = [f"{each.accuracy:.4f}", f"{each.log_loss:.4f}", f"{bill.n_fits}"]
        shown += [f"{value:.2f}" for value in (bill.fit_s, bill.score_s, each.served_s)]
        table.add_row(each.name, *shown, f"{each.n_swaps}", f"{each.n_flips}")
    Console(width=120).print(table)


def tell(world: World, seeds: Sequence[Sequence[Lived]]) -> None:
    """Print the figures, means over the seeds."""
    prefix = f"update.{world.name}"
    repeated = float(last_label(world).mean())
    is_known = world.name == "elec2" and len(world.rows) == FULL_ELEC2
    target = f"{REPEATED}+-{REPEATED_WITHIN}" if is_known else "none"
    near = not is_known or abs(repeated - REPEATED) <= REPEATED_WITHIN
    figure(f"{prefix}.repeat_last_label_accuracy", repeated, target, ok=near)
    names = [each.name for each in seeds[0]]
    accuracy = {
        name: np.array([lived[at].accuracy for lived in seeds]) for at, name in enumerate(names)
    }
    loss = {
        name: np.array([-lived[at].log_loss for lived in seeds]) for at, name in enumerate(names)
    }
    cpu_s = {
        name: np.array([lived[at].bill.cpu_s for lived in seeds]) for at, name in enumerate(names)
    }
    for name in names:
        figure(f"{prefix}.accuracy_{name}", float(accuracy[name].mean()), "none", ok=True)
        spread = float(np.ptp(accuracy[name]))
        figure(f"{prefix}.accuracy_{name}_spread_of_{len(seeds)}_seeds", spread, "none", ok=True)
    compare(f"{prefix}.race", "race", accuracy, cpu_s)
    compare(f"{prefix}.race_by_log_loss", "race_by_log_loss", loss, cpu_s)


def compare(
    prefix: str, race: str, good: dict[str, np.ndarray], cpu_s: dict[str, np.ndarray]
) -> None:
    """Print how far a race is from the best policy, and its cost over the cheapest as near.

    Parameters
    ----------
    prefix : str
        Of the figures' names.
    race : str
        Which policy is looked at.
    good : dict of str to array of shape (n_seeds,)
        The larger the better: accuracy, or log-loss with its sign changed.
    cpu_s : dict of str to array of shape (n_seeds,)
        What each policy cost.
    """
    means = {name: float(values.mean()) for name, values in good.items()}
    costs = {name: float(values.mean()) for name, values in cpu_s.items()}
    fixed = [name for name in means if not name.startswith("race")]
    best = max(means[name] for name in fixed)
    cheapest = min(
        (name for name in fixed if means[name] >= best - NEAR_BEST), key=costs.__getitem__
    )
    behind, times = means[race] - best, costs[race] / costs[cheapest]
    figure(f"{prefix}_minus_best", behind, f">=-{NEAR_BEST}", ok=behind >= -NEAR_BEST)
    figure(f"{prefix}_cpu_over_{cheapest}", times, f"<={MOST_CPU}", ok=times <= MOST_CPU)


def run(quick: bool) -> None:  # noqa: FBT001  # the form of every part of the benchmark
    """Run it on the data that are here."""
    worlds = [new_york(n_weeks=18 if quick else None)]
    if ELEC2.exists():
        worlds.insert(0, elec2(n_rows=15_000 if quick else None))
    else:
        print(f"{ELEC2} is absent, set RENEWAL_DATA; skipped")
    for world in worlds:
        seeds = [measured(world, seed) for seed in range(1 if quick else N_SEEDS[world.name])]
        show(world, seeds[0])
        tell(world, seeds)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of each stream, one seed")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
