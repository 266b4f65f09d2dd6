"""Going on beside beginning anew, live on Elec2: rows, trees, leaves, against a window.

Blocks of 1,000 rows, labels 48 rows late, the file's own columns without `date`. Before each
block a model goes on with the rows whose labels have come, or is fitted anew; the block is then
served by it, so that every score is live. Boosters may grow as they like here: the size at the
end is what a cap is for.

Run it as ``python -m bench.update.going_on``; ``--quick`` takes a third of the stream.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightgbm import LGBMClassifier
from rich.console import Console
from rich.table import Table
from river import forest, linear_model, naive_bayes, preprocessing, tree
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none
from xgboost import XGBClassifier

from bench.update.living import Every, Fits, Never, Serving
from bench.update.policies import Lived, live
from bench.update.worlds import ELEC2, World, elec2, last_label

QUICK_ROWS = 15_000
UNCAPPED = "max_size=1000000"


class Remembering(Every):
    """Every block one recipe; it keeps who served last, to be measured at the end."""

    last: Serving | None = None

    def next(self, champion: Serving, now_us: int) -> Serving:
        """Return who serves from now on; before the first block nothing new is there yet."""
        if champion is self.fits.first and now_us == self.fits.world.first_us:
            return champion
        self.last = super().next(champion, now_us)
        return self.last


@dataclass(frozen=True)
class Line:
    """How a model did in one way.

    Parameters
    ----------
    name, way : str
        The model, and how it was kept up to date.
    lived : Lived
        As of any policy.
    size : int or None
        At the end, of what grows.
    """

    name: str
    way: str
    lived: Lived
    size: int | None

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns of the table."""
        return (
            self.name,
            self.way,
            f"{self.lived.accuracy:.3f}",
            f"{self.lived.log_loss:.3f}",
            f"{self.lived.n_flips:,}",
            f"{self.lived.bill.fit_s:.1f}",
            f"{self.lived.served_s:.1f}",
            "" if self.size is None else f"{self.size:,}",
        )


def recipes(window: str) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Return each estimator by its name, with the ways in which it is kept up to date."""
    boosting = (
        "retrain",
        window,
        f"incremental:way=boost,rounds=10,{UNCAPPED}",
        f"incremental:way=boost,rounds=10,replay=1,{UNCAPPED}",
        f"incremental:way=leaves,{UNCAPPED}",
        f"incremental:way=leaves,decay=0.5,{UNCAPPED}",
    )
    rows = ("incremental:way=rows",)
    scaled = preprocessing.StandardScaler
    return {
        "LightGBM": (LGBMClassifier(n_estimators=60, n_jobs=1, verbosity=-1), boosting),
        "XGBoost": (XGBClassifier(n_estimators=60, n_jobs=1), boosting),
        "SGD": (
            make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)),
            (window, *rows),
        ),
        "River: logistic": (scaled() | linear_model.LogisticRegression(), rows),
        "River: naive Bayes": (naive_bayes.GaussianNB(), rows),
        "River: Hoeffding tree": (tree.HoeffdingTreeClassifier(), (f"{rows[0]},{UNCAPPED}",)),
        "River: adaptive tree": (
            tree.HoeffdingAdaptiveTreeClassifier(seed=0),
            (f"{rows[0]},{UNCAPPED}",),
        ),
        "River: adaptive forest": (
            forest.ARFClassifier(n_models=10, seed=0),
            (f"{rows[0]},{UNCAPPED}",),
        ),
    }


def lines(world: World, name: str, estimator: Any, ways: Sequence[str]) -> Iterator[Line]:
    """Let a model live through a world, left alone and in each of some ways."""
    fits = Fits(world, estimator, 0)
    for way in ("never", *ways):
        policy = Never(fits) if way == "never" else Remembering(fits, way, way)
        lived = live(world, policy)
        last = getattr(policy, "last", None) or fits.first
        size = last.parent.adapter.capabilities(last.parent.estimator).size
        yield Line(name, way.replace(f",{UNCAPPED}", ""), lived, size)


def run(quick: bool) -> None:  # noqa: FBT001  # the one switch of every part
    """Print a line for each model and way."""
    if not ELEC2.exists():
        print(f"NOT RUN: {ELEC2.name} is not here")
        return
    world = elec2(n_rows=QUICK_ROWS if quick else None)
    table = Table(title="Elec2, blocks of 1,000, labels 48 rows late; one seed")
    for column in ("model", "way", "accuracy", "log-loss", "flips", "fit s", "serve s", "size"):
        table.add_column(column)
    table.add_row("the last label", "", f"{last_label(world).mean():.3f}")
    with threadpool_limits(1):
        for name, (estimator, ways) in recipes(world.recipe).items():
            for line in lines(world, name, estimator, ways):
                table.add_row(*line.shown)
    Console(width=110).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the stream")
    run(parser.parse_args().quick)
