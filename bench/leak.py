"""Judging on rows that a model has trained on, against judging on rows that none has seen.

2,000 rows train a model, 2,000 more arrive, nothing drifts, 15% of the labels are wrong. The
common recipe appends them, splits again at random and compares: 40% of its new test rows were
in the old model's training set, and a model that memorizes looks better on these than any
honest successor. Ours keeps the role of a row for ever (`renewal.data.roles`), computes what
both have seen (`renewal.evaluate.unseen`) and lets the gate look once.

The truth is measured on 20,000 fresh rows: by accuracy, as the recipe compares, and by the
task's loss, as the gate does. The power of the gate is computed from pilot seeds before any
of its own data exist. Here every gain is worth shipping, so that a rejection claims that the
new model is no better, and can be wrong.

Run it as ``python -m bench.leak``; ``--quick`` takes 4 seeds in place of 20.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from bench.figure import figure
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Verdict
from renewal.data.keyset import KeySet
from renewal.data.roles import TEST, TRAIN, role_of
from renewal.data.rows import Rows, to_rows
from renewal.data.stamp import stamp
from renewal.evaluate.report import Scored, evaluate
from renewal.evaluate.unseen import unseen
from renewal.gate.gathering import gather
from renewal.gate.judge import Grant, judge
from renewal.gate.options import GateOptions
from renewal.gate.proving import levels_of
from renewal.models.labels import Labels
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Binary
from renewal.stats.power import power_of

N_OLD = N_NEW = 2000
N_TRUTH = 20_000
N_FEATURES = 20
LABEL_NOISE = 0.15
PILOT_SEEDS = range(1000, 1012)
OPTIONS = GateOptions(smallest_gain_share=0.0)
# One look at one candidate: 5%, as if the life of the model ended with it.
LOOK = Grant(level=OPTIONS.alpha, number=1)
SPEC = ModelSpec("leak", "binary", "label", key="key")
MODELS = {
    "forest": RandomForestClassifier(n_estimators=60, n_jobs=1),
    "boosting": HistGradientBoostingClassifier(max_iter=40),
    "neighbors": KNeighborsClassifier(n_neighbors=5),
    "logistic": LogisticRegression(),
}
_ADAPTER = SklearnAdapter()
_TASK = Binary()


@dataclass(frozen=True)
class World:
    """One seed's data: rows that came first, rows that came later, and the truth."""

    old: Rows
    new: Rows
    truth: Rows
    salt: bytes

    @property
    def both(self) -> Rows:
        """All rows but the truth."""
        return joined(self.old, self.new)


@dataclass(frozen=True)
class Judged:
    """What one way of comparing says, and what is true.

    Parameters
    ----------
    said, true : float
        Gain of the new model: accuracy for the recipe, loss for the gate.
    sd : float
        Deviation of one row's gain, from the truth rows.
    n_leaked : int
        Judged rows that the old model was trained on.
    n_judged : int
        Rows judged.
    verdict : Verdict or None
        The gate's.
    """

    said: float
    true: float
    sd: float
    n_leaked: int
    n_judged: int
    verdict: Verdict | None = None


def world(seed: int, n_truth: int = N_TRUTH) -> World:
    """Draw one seed's data: one population, no drift."""
    n_rows = N_OLD + N_NEW + n_truth
    features, label = make_classification(
        n_samples=n_rows,
        n_features=N_FEATURES,
        n_informative=12,
        n_redundant=0,
        n_clusters_per_class=6,
        class_sep=1.5,
        flip_y=0.0,
        random_state=seed,
    )
    label = np.where(np.random.default_rng(seed).random(n_rows) < LABEL_NOISE, 1 - label, label)
    table = pa.table({f"x{at}": features[:, at] for at in range(N_FEATURES)})
    keys = [f"{seed}-{at}" for at in range(n_rows)]
    labels = np.empty(n_rows, dtype=object)
    labels[:] = label.tolist()
    rows = to_rows(stamp(table, SPEC, arrived_us=0, key=keys), labels, np.zeros(n_rows, np.int64))
    at = np.arange(n_rows)
    old, new, truth = np.split(at, [N_OLD, N_OLD + N_NEW])
    return World(rows.take(old), rows.take(new), rows.take(truth), f"salt{seed}".encode())


def joined(first: Rows, second: Rows) -> Rows:
    """Return the rows of both."""

    def append(name: str) -> Any:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    names = ("key", "key_hash", "group_hash", "event_us", "arrived_us", "label", "block")
    return Rows(
        features=pa.concat_tables([first.features, second.features]),
        sticky=None,
        label_arrived_us=append("label_arrived_us"),
        **{name: append(name) for name in names},
    )


def labels_of(rows: Rows) -> Labels:
    """Return the labels; every row here has one."""
    assert rows.label is not None
    return rows.label


def fit(name: str, rows: Rows, seed: int) -> Any:
    """Train one of the models."""
    return _ADAPTER.fit(MODELS[name], rows.features, labels_of(rows), seed=seed)


def accuracy(estimator: Any, rows: Rows) -> float:
    """Return the share of rows that an estimator gets right."""
    at = _ADAPTER.predict(estimator, rows.features).argmax(axis=1)
    found = np.array(_ADAPTER.classes(estimator), dtype=object)[at]
    return float(np.mean(found == rows.label))


def losses(estimator: Any, rows: Rows) -> np.ndarray:
    """Return the task's loss of every row."""
    scores = _ADAPTER.predict(estimator, rows.features)
    return _TASK.loss(scores, labels_of(rows), _ADAPTER.classes(estimator))


def by_resplit(name: str, data: World, seed: int) -> Judged:
    """Append, split again at random, compare on the new test split."""
    rng = np.random.default_rng(seed)
    trained = data.old.take(np.sort(rng.permutation(N_OLD)[: N_OLD * 4 // 5]))
    order = rng.permutation(N_OLD + N_NEW)
    cut = len(order) * 4 // 5
    again, test = data.both.take(np.sort(order[:cut])), data.both.take(np.sort(order[cut:]))
    champion, candidate = fit(name, trained, seed), fit(name, again, seed)
    return Judged(
        said=accuracy(candidate, test) - accuracy(champion, test),
        true=accuracy(candidate, data.truth) - accuracy(champion, data.truth),
        sd=float("nan"),
        n_leaked=int(KeySet.of(trained).seen(test).sum()),
        n_judged=len(test),
    )


def by_gate(name: str, data: World, seed: int) -> Judged:
    """Keep every row's role, set aside what was seen, and look once."""
    roles = [role_of(rows.group_hash, data.salt) for rows in (data.old, data.new)]
    first = data.old.take(roles[0] == TRAIN)
    second = joined(first, data.new.take(roles[1] == TRAIN))
    test = joined(data.old.take(roles[0] == TEST), data.new.take(roles[1] == TEST))
    seen = [KeySet.of(first), KeySet.of(second)]
    test, n_seen = unseen(test, seen, [0, 0])
    champion, candidate = fit(name, first, seed), fit(name, second, seed)
    scored = [
        Scored(side, _ADAPTER.predict(estimator, test.features), _ADAPTER.classes(estimator))
        for side, estimator in (("champion", champion), ("candidate", candidate))
    ]
    report = evaluate(_TASK, test, scored, n_seen=n_seen)
    evidence = gather(report, "candidate", "champion", OPTIONS)
    verdict = judge(evidence, OPTIONS, grant=LOOK, is_first=True)
    gains = losses(champion, data.truth) - losses(candidate, data.truth)
    return Judged(
        said=verdict.gain,
        true=float(gains.mean()),
        sd=float(gains.std(ddof=1)),
        n_leaked=int((seen[0].seen(test) | seen[1].seen(test)).sum()),
        n_judged=len(test),
        verdict=verdict,
    )


def pilot(seed: int) -> dict[str, float]:
    """Return the power of the gate's look at each model, as this seed foretells it."""
    with threadpool_limits(1):
        data = world(seed)
        found = {name: by_gate(name, data, seed) for name in MODELS}
    alpha = levels_of(OPTIONS, LOOK.level, is_first=True).accept
    return {
        name: power_of(each.true, each.sd, each.n_judged, alpha) for name, each in found.items()
    }


def play(seed: int) -> dict[str, tuple[Judged, Judged]]:
    """Compare both ways on one seed, each model; one thread, so that two can run at a time."""
    with threadpool_limits(1):
        data = world(seed)
        return {name: (by_resplit(name, data, seed), by_gate(name, data, seed)) for name in MODELS}


@dataclass(frozen=True)
class Tally:
    """Everything about one model over all seeds; `powers` come from the pilots."""

    name: str
    powers: tuple[float, ...]
    naive: tuple[Judged, ...]
    ours: tuple[Judged, ...]

    @property
    def power(self) -> float:
        """Chance that the gate accepts on a seed, as computed beforehand."""
        return float(np.mean(self.powers))

    @property
    def power_variance(self) -> float:
        """Squared standard error of `power`: worlds differ, and the pilots are few."""
        return float(np.var(self.powers, ddof=1)) / len(self.powers)

    @property
    def naive_wrong(self) -> int:
        """Seeds whose new model is truly better and was called worse by the recipe."""
        return sum(each.true > 0 > each.said for each in self.naive)

    def outcomes(self, outcome: str) -> int:
        """Seeds with this verdict."""
        return sum(
            each.verdict is not None and each.verdict.outcome == outcome for each in self.ours
        )

    @property
    def wrongly_rejected(self) -> int:
        """Seeds whose new model is truly better and was rejected by the gate."""
        return sum(
            each.true > 0 and each.verdict is not None and each.verdict.outcome == "reject"
            for each in self.ours
        )

    @property
    def wrongly_accepted(self) -> int:
        """Seeds whose new model is truly no better and was accepted by the gate."""
        return sum(
            each.true <= 0 and each.verdict is not None and each.verdict.outcome == "accept"
            for each in self.ours
        )


def tally(seeds: range, n_processes: int = 1) -> tuple[Tally, ...]:
    """Play every seed for every model; the power is computed before."""
    if n_processes > 1:
        with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
            pilots = list(pool.map(pilot, PILOT_SEEDS))
            played = list(pool.map(play, seeds))
    else:
        pilots = [pilot(seed) for seed in PILOT_SEEDS]
        played = [play(seed) for seed in seeds]
    return tuple(
        Tally(
            name,
            tuple(each[name] for each in pilots),
            tuple(each[name][0] for each in played),
            tuple(each[name][1] for each in played),
        )
        for name in MODELS
    )


def show(tallies: tuple[Tally, ...], n_seeds: int) -> None:
    """Print the table."""
    table = Table(title=f"{n_seeds} seeds, no drift; gains of the new model, means")
    for column in (
        "model",
        "leaked rows",
        "re-split says (acc.)",
        "true (acc.)",
        "better, called worse",
        "gate says (log-loss)",
        "true (log-loss)",
        "accepted",
        "power",
        "undecided",
        "rejected",
    ):
        table.add_column(column, justify="left" if column == "model" else "right")
    for each in tallies:
        table.add_row(
            each.name,
            f"{np.mean([one.n_leaked / one.n_judged for one in each.naive]):.0%} / "
            f"{np.mean([one.n_leaked / one.n_judged for one in each.ours]):.0%}",
            f"{np.mean([one.said for one in each.naive]):+.3f}",
            f"{np.mean([one.true for one in each.naive]):+.3f}",
            f"{each.naive_wrong}/{n_seeds}",
            f"{np.mean([one.said for one in each.ours]):+.4f}",
            f"{np.mean([one.true for one in each.ours]):+.4f}",
            f"{each.outcomes('accept')}/{n_seeds}",
            f"{each.power:.0%}",
            f"{each.outcomes('undecided')}/{n_seeds}",
            f"{each.outcomes('reject')}/{n_seeds}",
        )
    Console(width=150).print(table)


def tell(tallies: tuple[Tally, ...], n_seeds: int) -> None:
    """Print the figures."""
    by_name = {each.name: each for each in tallies}
    wrong = by_name["forest"].naive_wrong
    least = round(0.75 * n_seeds)
    figure("leak.resplit_calls_better_forest_worse", wrong, f">={least}", ok=wrong >= least)
    rejected = sum(each.wrongly_rejected for each in tallies)
    figure("leak.gate_rejects_truly_better", rejected, "0", ok=rejected == 0)
    leaked = sum(one.n_leaked for each in tallies for one in each.ours)
    figure("leak.gate_rows_seen_in_training", leaked, "0", ok=leaked == 0)
    for each in tallies:
        accepts(f"leak.gate_accepts_{each.name}", (each,), n_seeds)
    accepts("leak.gate_accepts", tallies, n_seeds)
    worse = sum(each.wrongly_accepted for each in tallies)
    figure("leak.gate_accepts_no_better", worse, "0", ok=worse == 0)


def accepts(name: str, tallies: tuple[Tally, ...], n_seeds: int) -> None:
    """Print how often the gate accepted, against what its power says beforehand.

    The first line is the plain comparison. Acceptances are drawn by chance and the power is an
    estimate, so the second says whether fewer came than in 95 of 100 such benchmarks.
    """
    expected = sum(each.power for each in tallies) * n_seeds
    variance = sum(
        n_seeds * each.power * (1 - each.power) + n_seeds**2 * each.power_variance
        for each in tallies
    )
    least = max(0, math.ceil(expected - 1.645 * math.sqrt(variance)))
    accepted = sum(each.outcomes("accept") for each in tallies)
    target = f">={expected:.1f}(of_{n_seeds * len(tallies)})"
    figure(name, accepted, target, ok=accepted >= expected)
    figure(f"{name}_within_chance", accepted, f">={least}", ok=accepted >= least)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="4 seeds in place of 20")
    n_seeds = 4 if parser.parse_args().quick else 20
    began_s = time.perf_counter()
    tallies = tally(range(n_seeds), n_processes=2)
    show(tallies, n_seeds)
    print(f"{time.perf_counter() - began_s:.0f} s")
    tell(tallies, n_seeds)


if __name__ == "__main__":
    main()
