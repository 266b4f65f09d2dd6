"""How often to update: the same recipe every block, every second, every fourth ..., live.

Elec2 in blocks of 1,000 rows, labels 48 rows late; the flights of 2013 week by week, labels a day
late. Every block is served by whoever was fitted last, so that every score is live.

Run it as ``python -m bench.update.how_often``; ``--quick`` takes a third of each stream.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from lightgbm import LGBMClassifier
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from bench.update.living import Every, Fits, Never, Serving
from bench.update.policies import Lived, live
from bench.update.worlds import ELEC2, World, elec2, last_label, new_york

STEPS = (1, 2, 4, 8, 16)


class EveryNth(Every):
    """Fit one recipe before every so-manieth block."""

    def __init__(self, fits: Fits, recipe: str, step: int) -> None:
        super().__init__(fits, f"{recipe}, every {step}", recipe)
        self._step = step
        self._n_blocks = 0

    def next(self, champion: Serving, now_us: int) -> Serving:
        """Return who serves from now on; the first block is served by the first fit."""
        at = self._n_blocks
        self._n_blocks += 1
        return champion if at == 0 or at % self._step else super().next(champion, now_us)


def rhythms(world: World, *, steps: tuple[int, ...] = STEPS) -> Iterator[Lived]:
    """Let one recipe live through a world in several rhythms, from never to every block."""
    fits = Fits(world, LGBMClassifier(n_estimators=60, n_jobs=1, verbosity=-1), 0)
    yield live(world, Never(fits))
    for recipe in (world.recipe, "retrain"):
        for step in reversed(steps):
            yield live(world, EveryNth(fits, recipe, step))


def run(quick: bool) -> None:  # noqa: FBT001  # the one switch of every part
    """Print a table for each stream."""
    worlds = [new_york(n_weeks=16 if quick else None)]
    if ELEC2.exists():
        worlds.insert(0, elec2(n_rows=15_000 if quick else None))
    else:
        print(f"NOT RUN: {ELEC2.name} is not here")
    with threadpool_limits(1):
        for world in worlds:
            table = Table(title=f"{world.name}: the last label {last_label(world).mean():.3f}")
            for column in ("recipe", "accuracy", "log-loss", "flips", "fits", "fit s"):
                table.add_column(column)
            for lived in rhythms(world):
                table.add_row(*_shown(lived))
            Console(width=100).print(table)


def _shown(lived: Lived) -> tuple[str, ...]:
    bill = lived.bill
    return (
        lived.name,
        f"{lived.accuracy:.4f}",
        f"{lived.log_loss:.4f}",
        f"{lived.n_flips:,}",
        f"{bill.n_fits}",
        f"{bill.fit_s:.1f}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of each stream")
    run(parser.parse_args().quick)
