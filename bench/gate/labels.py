"""Labels where they decide: how many a verdict takes, and what it is worth.

**Accuracy.** Two classifiers disagree on 5% of the rows, and one is right on a point more.
Random labels need 3,090 for a power of 80% at one-sided 5% (Connor 1987). Asked for on the
rows on which they disagree, 155 do: the rest of the frame cancels out. Both ways are drawn
and tested, with an effect and without one; the second by the gate's own code.

**Loss.** A logistic regression and boosted trees learn one half of a real data set; rows of
the other half are drawn by how far their losses can be apart, and uniformly, many times. The
standard error of the estimated gain is its deviation from the true one.

Run it as ``python -m bench.gate.labels``; ``--quick`` draws fewer times.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from bench.figure import figure
from renewal.gate.claims import parse_proof
from renewal.gate.requests import Answer, Frame, LabelRequest, evidence_of
from renewal.loop.deciding import Said, decisive
from renewal.models.task import Binary, Multiclass, Task
from renewal.stats.mcnemar import discordant_rows_needed, mcnemar
from renewal.stats.sampling import draw, horvitz_thompson, inclusion_probabilities

Floats = NDArray[np.float64]

DIFFERENCE, DISAGREEMENT, ALPHA = 0.01, 0.05, 0.05
N_FRAME = 20_000
FOLDER = Path(os.environ.get("RENEWAL_DATA", "../shared/data"))
BUDGETS = (200, 500, 1_000, 2_000)
AT_BUDGET = 500


@dataclass(frozen=True)
class Design:
    """How often a way of asking for labels proves a gain, and what it costs.

    Parameters
    ----------
    n_labels : float
        Labels used, mean of all runs.
    power : float
        Share of runs that prove a gain of one point.
    null : float
        Share of runs that "prove" it where neither version is better.
    """

    n_labels: float
    power: float
    null: float


def at_random(n_runs: int, *, seed: int = 0) -> Design:
    """Label rows drawn at random, and test them once."""
    n_labels = discordant_rows_needed(DIFFERENCE, DISAGREEMENT, alpha=ALPHA).n_rows
    shares = []
    for difference in (DIFFERENCE, 0.0):
        rng = np.random.default_rng(seed)
        won, lost = 0.5 * (DISAGREEMENT + difference), 0.5 * (DISAGREEMENT - difference)
        counts = rng.multinomial(n_labels, [won, lost, 1.0 - won - lost], size=n_runs)
        proved = [mcnemar(int(b), int(c)).p_value <= ALPHA for b, c, _rest in counts]
        shares.append(float(np.mean(proved)))
    return Design(n_labels, shares[0], shares[1])


def on_disagreements(n_runs: int, *, seed: int = 0) -> Design:
    """Label rows on which the versions disagree, and let the gate's test judge them.

    The mid-p test is discrete: at exactly 155 labels it errs in 5.4% of all runs, over many
    numbers of labels in 5% of them.
    """
    wanted = discordant_rows_needed(DIFFERENCE, DISAGREEMENT, alpha=ALPHA).n_labels
    shares, used = [], []
    for difference in (DIFFERENCE, 0.0):
        rng = np.random.default_rng(seed)
        chance_won = 0.5 * (1.0 + difference / DISAGREEMENT)
        proved = []
        for run in range(n_runs):
            differs = (rng.random(N_FRAME) < DISAGREEMENT).astype(np.float64)
            chance = inclusion_probabilities(differs, wanted)
            at = draw(chance, seed=seed + run)
            is_won = rng.random(at.size) < chance_won
            proved.append(_proved(at, chance[at], is_won))
            used.append(at.size)
        shares.append(float(np.mean(proved)))
    return Design(float(np.mean(used)), shares[0], shares[1])


def _proved(at: NDArray[np.intp], chance: Floats, is_won: NDArray[np.bool_]) -> bool:
    """Judge labels of binary predictions that differ: one of the two is right."""
    number = np.arange(N_FRAME)
    frame = Frame(
        key_hash=number.astype(np.uint64),
        group_hash=number.astype(np.uint64),
        event_us=number,
        blocks=number,
        block_at=number,
        at=at.astype(np.int64),
        chance=chance,
        is_asked=np.ones(at.size, np.bool_),
        baseline_scores=np.empty((at.size, 0)),
        candidate_scores=np.empty((at.size, 0)),
        unit="row",
        is_ordered=False,
        n_seen=0,
        expected=1.0,
    )
    request = LabelRequest(
        "1", "m", "c", "b", "accuracy", N_FRAME, at.size, "", datetime(2026, 1, 1, tzinfo=UTC)
    )
    won = is_won.astype(np.float64)
    came = np.ones(at.size, np.bool_)
    answer = Answer("accuracy", came, 1.0 - won, won, higher_is_better=True, reach=1.0)
    evidence = evidence_of(parse_proof("superior(accuracy)"), request, frame, answer)
    return evidence.estimate.bounds.p_value(0.0) <= ALPHA


@dataclass(frozen=True)
class Errors:
    """Standard errors of an estimated gain at a budget of labels.

    Parameters
    ----------
    n_labels : int
        The budget.
    uniform, drawn : float
        Of labels drawn uniformly, and by how much they can matter.
    bias : float
        Of the second, in its own standard errors of the mean of all draws.
    """

    n_labels: int
    uniform: float
    drawn: float
    bias: float


def loss_errors(n_draws: int, *, seed: int = 0) -> tuple[str, float, list[Errors]]:
    """Estimate a real gain in log-loss from few labels, many times; return its truth, too."""
    name, task, old, new, labels = _versions(seed)
    gains = task.loss(old.scores, labels, old.classes) - task.loss(new.scores, labels, new.classes)
    size = decisive(task, "loss", old, new).size
    truth = float(gains.mean())
    found = []
    for n_labels in BUDGETS:
        if 2 * n_labels > len(gains):
            continue
        errors = [
            [_estimate(gains, weight, n_labels, seed + at) - truth for at in range(n_draws)]
            for weight in (np.ones_like(size), size)
        ]
        uniform, drawn = (float(np.sqrt(np.mean(np.square(each)))) for each in errors)
        bias = float(np.mean(errors[1])) / (drawn / math.sqrt(n_draws))
        found.append(Errors(n_labels, uniform, drawn, bias))
    return name, truth, found


def _estimate(gains: Floats, size: Floats, n_labels: int, seed: int) -> float:
    chance = inclusion_probabilities(size, n_labels)
    at = draw(chance, seed=seed)
    return horvitz_thompson(gains[at], chance[at], n_total=len(gains)).mean


def _versions(seed: int) -> tuple[str, Task, Said, Said, NDArray[np.object_]]:
    """Fit two recipes on one half of a data set and score the other."""
    name = "digits"
    task: Task = Multiclass()
    if (FOLDER / "adult.parquet").exists():
        people = pd.read_parquet(FOLDER / "adult.parquet")
        target = (people["income"].str.strip(" .") == ">50K").astype(int).to_numpy()
        inputs = people.drop(columns=["income", "split"])
        name, task = "adult", Binary()
    else:
        inputs, target = load_digits(return_X_y=True, as_frame=True)
        target = target.to_numpy()
    shuffled = np.random.default_rng(seed).permutation(len(target))
    fitted, judged = np.array_split(shuffled, 2)
    words = inputs.select_dtypes(exclude="number").columns
    numbers = inputs.select_dtypes("number").columns
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        (StandardScaler(), numbers),
    )
    recipes = (
        LogisticRegression(max_iter=1000),
        HistGradientBoostingClassifier(max_iter=60, random_state=seed),
    )
    said = []
    for recipe in recipes:
        model = make_pipeline(encoded, recipe).fit(inputs.iloc[fitted], target[fitted])
        classes = tuple(int(each) for each in model[-1].classes_)
        said.append(Said(model.predict_proba(inputs.iloc[judged]), classes))
    labels = task.labels(target[judged].tolist(), who="bench.gate.labels")
    return name, task, said[0], said[1], labels


def run(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # one switch, as every benchmark has it
    """Print both tables and the figures.

    Parameters
    ----------
    quick : bool, default False
        400 runs in place of 4,000, and 100 draws in place of 400.
    """
    n_runs, n_draws = (400, 100) if quick else (4_000, 400)
    random, asked = at_random(n_runs), on_disagreements(n_runs)
    drawn = Table("design", "labels", "power", "false proofs", box=None, title="Accuracy")
    for name, design in (("random rows", random), ("rows that disagree", asked)):
        drawn.add_row(name, f"{design.n_labels:,.0f}", f"{design.power:.3f}", f"{design.null:.3f}")
    data, truth, errors = loss_errors(n_draws)
    sizes = Table("labels", "uniform", "by size", "ratio", "labels saved", "bias / se", box=None)
    sizes.title = f"Loss, {data}: standard error of a gain of {truth:.4f}"
    for each in errors:
        ratio = each.drawn / each.uniform
        sizes.add_row(
            f"{each.n_labels:,}",
            f"{each.uniform:.5f}",
            f"{each.drawn:.5f}",
            f"{ratio:.2f}",
            f"{1 - ratio**2:.0%}",
            f"{each.bias:+.1f}",
        )
    console = Console()
    console.print(drawn)
    console.print(sizes)
    figure("labels.used_disagreements", asked.n_labels, "<=170", ok=asked.n_labels <= 170)
    figure("labels.used_random", random.n_labels, 3090, ok=random.n_labels == 3090)
    figure("labels.power_disagreement", asked.power, ">=0.78", ok=asked.power >= 0.78)
    figure("labels.null_rejections", asked.null, "<=0.065", ok=asked.null <= 0.065)
    chosen = next((each for each in errors if each.n_labels == AT_BUDGET), errors[-1])
    share = chosen.drawn / chosen.uniform
    figure("labels.loss_se_ratio", share, "<1", ok=share < 1.0)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
