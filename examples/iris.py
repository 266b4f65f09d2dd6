"""Iris: a model updated with appended rows, and the leak that most texts build in.

The usual recipe: append the new rows to the old ones, split everything at random again, fit
again, and compare the old and the new model on the new test rows. Four in ten of these were in
the old model's training set, so that the comparison favors the old model. Here a row has one
role for life, drawn from a hash of its key, and a version is judged only on rows that neither
it nor the champion was fitted on.

What to see: how many test rows of the usual recipe leak and what that does to the gain; that an
honest test on so few rows is often undecided, and says so; and what cross-fitting, which uses
every row, can still tell. Roles are drawn anew in every new home, so numbers differ a little.

    python examples/iris.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import renewal

TARGET = "target"
INPUTS = [*load_iris().feature_names]
CONSOLE = Console(highlight=False)


def main(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # the one switch of an example
    """Run the example; `quick` is the form that the tests run."""
    rows = load_iris(as_frame=True).frame.sample(frac=1, random_state=0, ignore_index=True)
    rows["flower"] = [f"flower-{n}" for n in range(len(rows))]
    the_leak(rows, n_draws=20 if quick else 200)
    with tempfile.TemporaryDirectory() as folder, renewal.open(folder) as home:
        the_update(home, rows, quick=quick)


def the_leak(rows: pd.DataFrame, n_draws: int) -> None:
    """Compare old and new as the usual recipe does, and on rows that neither has seen."""
    leaky, honest, shares = [], [], []
    for draw in range(n_draws):
        known, unseen = train_test_split(rows, test_size=50, random_state=draw)
        first, appended = known[:50], known[50:]
        old_train, _ = train_test_split(first, test_size=0.2, random_state=draw)
        again_train, again_test = train_test_split(known, test_size=0.2, random_state=draw + 1)
        old, new = fitted(old_train), fitted(again_train)
        shares.append(again_test["flower"].isin(old_train["flower"]).mean())
        leaky.append(gain(old, new, again_test))
        # The same models, and one fitted without a second split, on rows kept apart for good.
        honest.append(gain(old, fitted(pd.concat([old_train, appended])), unseen))
    table = Table(title=f"gain of the update, in log-loss, {n_draws} draws")
    table.add_column("judged on")
    for name in ("seen by old model", "mean gain", "update looks worse"):
        table.add_column(name, justify="right")
    for name, share, gains in (
        ("a second random split", np.mean(shares), leaky),
        ("rows neither has seen", 0.0, honest),
    ):
        worse = np.mean(np.array(gains) < 0)
        table.add_row(name, f"{share:.0%}", f"{np.mean(gains):+.4f}", f"{worse:.0%}")
    CONSOLE.print(table)
    CONSOLE.print(
        f"The second split shows the old model rows that it was fitted on, and hides "
        f"{np.mean(honest) - np.mean(leaky):.4f} of the gain.\n"
    )


def fitted(rows: pd.DataFrame) -> LogisticRegression:
    """Return a logistic regression fitted on the rows."""
    return LogisticRegression(max_iter=1000).fit(rows[INPUTS], rows[TARGET])


def gain(old: LogisticRegression, new: LogisticRegression, rows: pd.DataFrame) -> float:
    """Return by how much the log-loss of the new model is below the old one's."""
    losses = [
        log_loss(rows[TARGET], model.predict_proba(rows[INPUTS]), labels=model.classes_)
        for model in (old, new)
    ]
    return float(losses[0] - losses[1])


def the_update(home: renewal.Home, rows: pd.DataFrame, *, quick: bool) -> None:
    """Train on the first half, append the second, update, and see what can be said."""
    iris = home.model("iris", task="multiclass", target=TARGET, key="flower")
    first = iris.train(LogisticRegression(max_iter=1000), rows[:75])
    iris.feed.append(rows[75:])
    trials = 3 if quick else 15
    update = iris.update(
        ["recalibrate", "incremental", "retrain", f"retrain:trials={trials},space=C:0.1..100:log"]
    )
    table = Table(title=f"{first.name} saw {first.manifest.n_trained_rows} rows; 75 are appended")
    for name in ("recipe", "outcome", "log-loss", "reason"):
        table.add_column(name, overflow="fold")
    for entry in update.entries:
        loss = "" if entry["loss"] is None else f"{entry['loss']:.3f}"
        table.add_row(entry["recipe"], entry["outcome"], loss, entry["reason"])
    CONSOLE.print(table)
    CONSOLE.print(f"The gate: {update.sentence}.")
    if update.candidate is None or update.verdict is None:
        return
    if update.verdict.outcome == "undecided":
        CONSOLE.print("So few rows do not decide it: the champion stays.\n")
    compared = iris.compare_recipes(
        update.candidate, folds=5 if quick else 10, repeats=1 if quick else 5
    )
    CONSOLE.print(f"Cross-fitted, every row judges: {compared.sentence}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    main(parser.parse_args().quick)
