"""Elec2: will the price of electricity rise? A market that turns, labels that come a day later.

Half-hourly prices of New South Wales, May 1996 to December 1998, with whether the price is above
its mean of the last day. The rows come in blocks of three weeks; the label of a row is known 48
rows (one day) later. LightGBM learns the first six weeks. At the end of every block a race of
recalibrate, ten more trees, new leaf values, retrain and retrain on a window makes a candidate;
the gate judges it on the newest two weeks, which it has not seen, and goes on judging it for two
more blocks where that decides nothing; then the next candidate begins anew (`renewal watch`
carries the evidence over). Beside it runs a model whose candidates go live at once.

What to see: always answering with the last known label is right in .66 of the rows (.85 if
labels came at once: a result without this row means nothing); a model that is never updated
falls towards it; updates win much of that back. What the gate costs in a market that turns this
fast, and what it saves in the weeks in which a hasty update loses, stand side by side.

The data are read from the folder RENEWAL_DATA (default ../shared/data). Without them the rows
are `Bananas`, bundled with the package `river`: there nothing turns, and updates bring little.

    python examples/elec2.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from river.datasets import Bananas

import renewal

DATA = Path(os.environ.get("RENEWAL_DATA", "../shared/data")) / "elec2.parquet"
START = datetime(1996, 5, 7, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
DAY = timedelta(days=1)
BLOCK = timedelta(weeks=3)
FIRST_BLOCKS = 2
DAY_ROWS = DAY // HALF_HOUR
MORE_LOOKS = 2
RECIPES = [
    "recalibrate",
    "incremental:way=boost",
    "incremental:way=leaves",
    "retrain",
    "retrain:window=15w",
]
POLICY = "[update]\nformer = 1\n"
CONSOLE = Console(highlight=False)


def main(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # the one switch of an example
    """Run the example; `quick` is the form that the tests run."""
    rows = prices() if DATA.exists() else bananas()
    n_blocks = min(FIRST_BLOCKS + 3 if quick else 1_000, (len(rows) * HALF_HOUR) // BLOCK)
    clock = renewal.ReplayClock(START + FIRST_BLOCKS * BLOCK + DAY)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "renewal.toml").write_text(POLICY, encoding="utf-8")
        with renewal.open(folder, clock=clock) as home:
            judged, hasty = Judged(first(home, "judged", rows)), first(home, "hasty", rows)
            table = Table(title="share of right answers, given before the labels came")
            for name in ("weeks", "last label", "never", "hasty", "judged", "the judged model"):
                table.add_column(name, overflow="fold")
            kept = []
            for number in range(FIRST_BLOCKS, n_blocks):
                block = between(rows, number)
                right = [
                    block["last_known"] == block["up"],
                    answers(judged.model, "v1", block),
                    answers(hasty, "champion", block),
                    answers(judged.model, "champion", block),
                ]
                kept.append(np.array([each.to_numpy() for each in right]))
                clock.move_to(START + (number + 1) * BLOCK + DAY)
                for model in (judged.model, hasty):
                    model.feed.append(block.drop(columns="last_known"))  # with their labels
                at_once(hasty)
                shares = [f"{each.mean():.3f}" for each in right]
                table.add_row(f"{number * 3}-{number * 3 + 3}", *shares, judged.step())
    means = np.concatenate(kept, axis=1).mean(axis=1)
    table.add_section()
    table.add_row("all", *[f"{each:.3f}" for each in means], "")
    CONSOLE.print(table)
    CONSOLE.print(sentence(means, np.array([each.mean(axis=1) for each in kept])))


class Judged:
    """The model whose candidates have to pass the gate; one is on trial at a time."""

    def __init__(self, model: renewal.Model) -> None:
        self.model = model
        self.candidate: Any = None
        self.n_looks = 0

    def step(self) -> str:
        """Go on with the trial, or make the next candidate; say what came of it."""
        if self.candidate is None:
            made = self.model.update(RECIPES)
            self.candidate, verdict, self.n_looks = made.candidate, made.verdict, 0
        else:
            verdict = self.model.gate(self.candidate)
            self.n_looks += 1
        if self.candidate is None or verdict is None:
            return "keep"
        told = f"{self.candidate.manifest.strategy}: {verdict.outcome}"
        if verdict.outcome == "accept":
            self.model.promote(self.candidate, why=verdict.reason)
        if verdict.outcome != "undecided" or self.n_looks >= MORE_LOOKS:
            self.candidate = None
        return told


def at_once(model: renewal.Model) -> None:
    """Race, and put the winner live whatever the gate says."""
    made = model.update(RECIPES)
    if made.candidate is not None:
        model.promote(made.candidate, force=True, who="the example", why="to see what it costs")


def first(home: renewal.Home, name: str, rows: pd.DataFrame) -> renewal.Model:
    """Declare a model and train its first version."""
    model = home.model(
        name, task="binary", target="up", key="row", time="at", block="1d", label_delay="1d"
    )
    trees = lightgbm.LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, verbosity=-1)
    known = rows[rows["at"] < START + FIRST_BLOCKS * BLOCK]
    model.train(trees, known.drop(columns="last_known"))
    return model


def answers(model: renewal.Model, ref: str, block: pd.DataFrame) -> Any:
    """Answer the rows of a block, and say which answers were right."""
    return (model.predict(ref, block)[:, 1] > 0.5) == block["up"]


def between(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return the rows of a block."""
    since = START + number * BLOCK
    return rows[(rows["at"] >= since) & (rows["at"] < since + BLOCK)]


def prices() -> pd.DataFrame:
    """Return the prices in time order; the file's `date` is left out, it counts the rows."""
    rows = pd.read_parquet(DATA).drop(columns="date")
    rows["up"] = (rows.pop("class") == "UP").astype(int)
    return timed(rows)


def bananas() -> pd.DataFrame:
    """Return bundled rows in the place of prices."""
    return timed(pd.DataFrame([{**x, "up": int(y)} for x, y in Bananas()]))


def timed(rows: pd.DataFrame) -> pd.DataFrame:
    """Give each row its half hour, its key and the newest label known then."""
    return rows.assign(
        at=START + pd.to_timedelta(30 * np.arange(len(rows)), unit="min"),
        row=[f"row-{n}" for n in range(len(rows))],
        last_known=rows["up"].shift(DAY_ROWS),
    )


def sentence(means: Any, blocks: Any) -> str:
    """Say what came out."""
    last, never, hasty, judged = means
    n_worse = [int((blocks[:, at] < blocks[:, 1] - 0.005).sum()) for at in (2, 3)]
    return (
        f"Never updated {never:.3f}, judged updates {judged:.3f}, hasty ones {hasty:.3f}, the "
        f"last known label {last:.3f}. Of {len(blocks)} blocks, updates were worse than none in "
        f"{n_worse[0]} where they went live at once and in {n_worse[1]} where they were judged."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    main(parser.parse_args().quick)
