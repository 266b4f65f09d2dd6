"""Intents of a chatbot: new ones appear, and what each way of updating can do about it.

Customers of a bank write questions (BANKING77: 13,083 texts, 77 intents). The first model knows
50 intents. Then 15 more appear, and later another 12. The text column goes into a scikit-learn
pipeline as it is, and each update is a race of three ways: recalibrate (a map of the scores),
incremental (`partial_fit`) and retrain.

What to see: the first two are refused as soon as a class comes that the champion does not know,
with the reason, since `partial_fit` cannot take one and a map has no score for it; retrain
takes it in. The table shows accuracy on questions that were answered before anybody knew their
intent, for the first version left alone and for the champion, on old intents and on new ones.

The data are read from the folder RENEWAL_DATA (default ../shared/data). Without them the rows
are scikit-learn's digits, of which eight and nine appear later.

    python examples/intents.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import renewal

DATA = Path(os.environ.get("RENEWAL_DATA", "../shared/data")) / "banking77.parquet"
START = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)
PHASE_WEEKS = 4
RECIPES = ["recalibrate", "incremental", "retrain"]
# What appears when: at the start, in phase 1 and in phase 3. Phases 2 and 4 show what the
# update at the end of the phase before them has brought.
PHASES = (
    "known intents",
    "new ones appear",
    "after the update",
    "more of them",
    "after the update",
)
CONSOLE = Console(highlight=False)


@dataclass(frozen=True)
class Story:
    """The rows, what is predicted, the estimator, and the phase in which a class appears."""

    rows: pd.DataFrame
    estimator: Pipeline
    appears: dict[Any, int]


def main(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # the one switch of an example
    """Run the example; `quick` is the form that the tests run."""
    story = intents(quick=quick) if DATA.exists() else digits()
    clock = renewal.ReplayClock(START + PHASE_WEEKS * WEEK)
    with tempfile.TemporaryDirectory() as folder, renewal.open(folder, clock=clock) as home:
        model = home.model(
            "intents", task="multiclass", target="intent", key="question", time="asked_at"
        )
        model.train(story.estimator, phase(story.rows, 0))
        race = Table("update", "recipe", "outcome", "reason", title="the races")
        live = Table(title="accuracy on questions that nobody had labeled yet")
        for name in ("weeks", "", "rows", "v1", "champion", "is", "old ones", "new ones"):
            live.add_column(name)
        for number in range(1, len(PHASES)):
            rows = phase(story.rows, number)
            live.add_row(*accuracy(model, rows, story, number))
            model.feed.append(rows)  # their labels have come
            clock.move_to(START + (number + 1) * PHASE_WEEKS * WEEK)
            if number % 2:
                update(model, race, number)
    CONSOLE.print(race)
    CONSOLE.print(live)
    CONSOLE.print(
        "A class that the champion does not know is wrong in every row until a retraining; "
        "the cheap ways say so instead of guessing."
    )


def update(model: renewal.Model, race: Table, number: int) -> None:
    """Race the recipes; promote what the gate accepts; note what became of each."""
    made = model.update(RECIPES)
    for entry in made.entries:
        if entry["recipe"] in RECIPES:
            reason = entry["reason"].replace("_", " ")
            if entry["loss"] is not None:
                reason = f"log-loss {entry['loss']:.3f} on the newest week; {reason}"
            race.add_row(
                f"week {(number + 1) * PHASE_WEEKS}", entry["recipe"], entry["outcome"], reason
            )
    race.add_row("", "the gate", *made.sentence.split(": ", 1))
    race.add_section()
    if made.candidate is not None and made.verdict and made.verdict.outcome == "accept":
        model.promote(made.candidate, why=made.sentence)


def accuracy(model: renewal.Model, rows: pd.DataFrame, story: Story, number: int) -> list[str]:
    """Answer the questions of a phase before their labels are known, and score the answers."""
    champion = model.version("champion")
    is_new = rows["intent"].map(story.appears).to_numpy() >= number - (number + 1) % 2
    right = {
        ref: answers(model, ref, rows) == rows["intent"].to_numpy() for ref in ("v1", "champion")
    }
    return [
        f"{number * PHASE_WEEKS}-{(number + 1) * PHASE_WEEKS}",
        PHASES[number],
        f"{len(rows):,}",
        share(right["v1"]),
        share(right["champion"]),
        champion.name,
        share(right["champion"][~is_new]),
        share(right["champion"][is_new]),
    ]


def answers(model: renewal.Model, ref: str, rows: pd.DataFrame) -> Any:
    """Return the most probable class of each row."""
    classes = np.array(model.version(ref).manifest.classes, dtype=object)
    return classes[model.predict(ref, rows).argmax(axis=1)]


def share(right: Any) -> str:
    """Return the share of true values."""
    return f"{right.mean():.3f}" if len(right) else "-"


def phase(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return the rows of a phase."""
    since = START + number * PHASE_WEEKS * WEEK
    return rows[(rows["asked_at"] >= since) & (rows["asked_at"] < since + PHASE_WEEKS * WEEK)]


def intents(*, quick: bool) -> Story:
    """Return the questions, each at some time after its intent has appeared."""
    rows = pd.read_parquet(DATA, columns=["text", "category"])
    rows = rows.rename(columns={"category": "intent"})
    names = np.random.default_rng(0).permutation(rows["intent"].unique())
    first, second = (8, 11) if quick else (50, 65)
    names = names[:14] if quick else names
    appears = {name: 0 if n < first else 1 if n < second else 3 for n, name in enumerate(names)}
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    estimator = Pipeline(
        [
            ("words", ColumnTransformer([("text", words, "text")])),
            ("classes", SGDClassifier(loss="log_loss", alpha=1e-5, random_state=0)),
        ]
    )
    return Story(spread(rows[rows["intent"].isin(appears)], appears), estimator, appears)


def digits() -> Story:
    """Return written digits in the place of questions: what is bundled with scikit-learn."""
    frame = load_digits(as_frame=True).frame.rename(columns={"target": "intent"})
    appears = {digit: 0 if digit < 8 else 1 if digit == 8 else 3 for digit in range(10)}
    classes = SGDClassifier(loss="log_loss", alpha=1e-3, random_state=0)
    estimator = Pipeline([("scale", StandardScaler()), ("classes", classes)])
    return Story(spread(frame, appears), estimator, appears)


def spread(rows: pd.DataFrame, appears: dict[Any, int]) -> pd.DataFrame:
    """Spread the rows evenly over the time from the phase of their class to the end."""
    rng = np.random.default_rng(1)
    born = rows["intent"].map(appears).to_numpy()
    weeks = PHASE_WEEKS * rng.uniform(born, len(PHASES))
    rows = rows.assign(asked_at=START + pd.to_timedelta(7 * weeks, unit="D"))
    rows = rows.sort_values("asked_at", ignore_index=True)
    return rows.assign(question=[f"q{n}" for n in range(len(rows))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    main(parser.parse_args().quick)
