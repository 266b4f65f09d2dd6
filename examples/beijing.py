"""Air quality in Beijing: weekly updates of a regression, and which of them are worth having.

Hourly PM2.5 with the weather, 2010 to 2014; the target of one hour in twenty was never measured.
LightGBM learns the first year. Then six ways of going on run beside each other for half a year,
a week at a time: never; shift (recalibrate: the median residual); boost (ten more trees on the
new rows); window (retrain on the last 13 weeks); hasty (a race of them, the winner goes live at
once); judged (the same race, and the winner has to pass the gate).

What to see: the mean absolute error of every way on hours that had not happened when the model
was made, beside the plainest forecast, the value of a day ago. A season is not a trend: what
follows the newest weeks forgets the rest of the year, and a race that chooses on one week is
taken in by that week. The gate lets through what is shown to be better, and keeps the champion
where nothing is.

The data are read from the folder RENEWAL_DATA (default ../shared/data). Without them the rows
are `TrumpApproval`, bundled with the package `river`.

    python examples/beijing.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from river.datasets import TrumpApproval

import renewal

DATA = Path(os.environ.get("RENEWAL_DATA", "../shared/data")) / "beijing_pm25.parquet"
START = datetime(2010, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
SHIFT, BOOST, WINDOW = "recalibrate:method=shift", "incremental:way=boost", "retrain:window=13w"
WAYS: dict[str, list[str]] = {
    "never": [],
    "shift": [SHIFT],
    "boost": [BOOST],
    "window": [WINDOW],
    "hasty": [SHIFT, BOOST, WINDOW, "retrain"],
    "judged": [SHIFT, BOOST, WINDOW, "retrain"],
}
# A candidate has a season to prove itself, then the next one gets its turn.
POLICY = "[update]\nformer = 0\n\n[gate]\nmax_blocks = 60\n"
CONSOLE = Console(highlight=False)


@dataclass
class Way:
    """A model that is kept up to date in one way, and what its answers were off by."""

    model: renewal.Model
    recipes: list[str]
    is_judged: bool
    errors: list[Any] = field(default_factory=list)
    candidate: Any = None
    n_fitted: int = 0
    n_live: int = 0

    def answer(self, week: pd.DataFrame) -> None:
        """Forecast a week that has not happened yet."""
        said = self.model.predict("champion", week)[:, 0]
        self.errors.append(np.abs(said - week["value"].to_numpy()))

    def go_on(self) -> None:
        """Make a candidate, or look again at the one on trial; put it live where it may."""
        if not self.recipes:
            return
        if self.candidate is None:
            made = self.model.update(self.recipes)
            self.candidate, verdict = made.candidate, made.verdict
            self.n_fitted += made.candidate is not None
        else:
            verdict = self.model.gate(self.candidate)
        if self.candidate is None or verdict is None:
            return
        if not self.is_judged:
            why = "to see what it would have brought"
            self.model.promote(self.candidate, force=True, who="the example", why=why)
        elif verdict.outcome == "accept":
            self.model.promote(self.candidate, why=verdict.reason)
        self.n_live += not self.is_judged or verdict.outcome == "accept"
        if not self.is_judged or verdict.outcome != "undecided":
            self.candidate = None


def main(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # the one switch of an example
    """Run the example; `quick` is the form that the tests run."""
    rows = air() if DATA.exists() else approval()
    first, n_weeks = (4, 2) if quick else (min(52, len(rows) // 24 // 14), 26)
    clock = renewal.ReplayClock(START + first * WEEK + DAY)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "renewal.toml").write_text(POLICY, encoding="utf-8")
        with renewal.open(folder, clock=clock) as home:
            names = ("never", "boost", "judged") if quick else tuple(WAYS)
            ways = {name: started(home, name, rows, first) for name in names}
            told = [first]
            table = Table(title="mean absolute error")
            for name in ("weeks", "a day ago", *ways):
                table.add_column(name, justify="right")
            day_ago = []
            for number in range(first, first + n_weeks):
                week = between(rows, number)
                day_ago.append(np.abs(week["day_ago"] - week["value"]).to_numpy())
                for way in ways.values():
                    way.answer(week)
                    way.model.feed.append(week)  # the values, as far as they were measured
                clock.move_to(START + (number + 1) * WEEK + DAY)
                for way in ways.values():
                    way.go_on()
                if (number + 1 - first) % 2 == 0:
                    columns = [day_ago[-2:], *(way.errors[-2:] for way in ways.values())]
                    table.add_row(f"{told[-1]}-{number + 1}", *map(mean, columns))
                    told.append(number + 1)
    table.add_section()
    table.add_row("all", mean(day_ago), *(mean(way.errors) for way in ways.values()))
    table.add_row("went live", "", *(str(way.n_live) for way in ways.values()))
    CONSOLE.print(table)
    CONSOLE.print(sentence(ways))


def started(home: renewal.Home, name: str, rows: pd.DataFrame, first: int) -> Way:
    """Declare a model and train its first version."""
    model = home.model(
        name, task="regression", target="value", key="hour_id", time="at", block="1d",
        label_delay="1d",
    )  # fmt: skip
    trees = lightgbm.LGBMRegressor(
        objective="l1", n_estimators=100, num_leaves=15, n_jobs=1, verbosity=-1
    )
    model.train(trees, rows[rows["at"] < START + first * WEEK])
    return Way(model, WAYS[name], is_judged=name == "judged")


def between(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return the rows of a week."""
    since = START + number * WEEK
    return rows[(rows["at"] >= since) & (rows["at"] < since + WEEK)]


def mean(errors: list[Any]) -> str:
    """Return the mean error where the truth was measured."""
    joined = np.concatenate(errors)
    known = joined[~np.isnan(joined)]
    return f"{known.mean():.1f}" if len(known) else "-"


def air() -> pd.DataFrame:
    """Return the hours, with what was measured a day ago; a target may be missing."""
    rows = pd.read_parquet(DATA)
    rows["at"] = pd.to_datetime(rows[["year", "month", "day", "hour"]]).dt.tz_localize("UTC")
    rows = rows.rename(columns={"pm2.5": "value"})
    rows = rows.assign(day_ago=rows["value"].shift(24), hour_id=rows["No"].map("hour-{}".format))
    # Neither month nor day: the first year holds each once, and would be learned by heart.
    return rows.drop(columns=["No", "year", "month", "day"])


def approval() -> pd.DataFrame:
    """Return bundled rows in the place of the air, an hour each."""
    rows = pd.DataFrame([{**x, "value": float(y)} for x, y in TrumpApproval()])
    return rows.assign(
        at=START + pd.to_timedelta(np.arange(len(rows)), unit="h"),
        day_ago=rows["value"].shift(24),
        hour_id=[f"hour-{n}" for n in range(len(rows))],
    ).drop(columns="ordinal_date")


def sentence(ways: dict[str, Way]) -> str:
    """Say what came out."""
    by_error = sorted(ways, key=lambda name: float(mean(ways[name].errors)))
    told = ", ".join(f"{name} {mean(ways[name].errors)}" for name in by_error)
    judged = ways["judged"]
    return (
        f"From the best to the worst: {told}. The gate was shown {judged.n_fitted} candidates "
        f"and put {judged.n_live} of them live."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    main(parser.parse_args().quick)
