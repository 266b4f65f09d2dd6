"""What the gate claims a candidate gains, beside what it gains in the period that follows.

At every update of a series a candidate is trained on the past and compared with a champion,
in three ways. Ours: fit until 15 days ago, leave a day out, judge the last 14 days in blocks
of a day. Hashed roles: the same 14 days and the same test, on rows whose keys have the role
test, while rows of the same days with the role train are fitted; right for rows without a
time, wrong for days whose rows resemble each other. The naive recipe: append, split again at
random, compare point estimates; its interval takes rows as independent.

The truth is the gain of the same two models in the 28 or 30 days that follow. A claim covers
it when it lies between both one-sided 97.5% bounds. No interval for the mean of one fortnight
can do that in 95% of months: the truth is a mean of few days too, so that with no drift at
all an exact interval covers it in about 89%, and what was true in one fortnight need not be
true in the month after. A claim takes a side when its interval lies on one, the recipe's
always; the side is wrong when the truth is on the other by more than 1% of the champion's
loss.

Two rules of who is champion: the first model for ever, and the last that was called better.
The last columns say what the gate's own level, which a life of updates leaves to each, would
have made of it: how many candidates truly were better by 1%, how many are accepted at the one
look, and how many more once the running test has seen the period that follows. Run it as
``python -m bench.gate.truth``; ``--quick`` takes every fourth update.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from bench.figure import figure
from bench.gate.pairs import Source, is_there, world
from renewal.core.clock import from_us
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Outcome
from renewal.data.forward import forward_window
from renewal.data.roles import TEST, TRAIN, role_of
from renewal.data.rows import Rows, to_rows
from renewal.data.stamp import stamp
from renewal.evaluate.gains import loss_series
from renewal.evaluate.report import Report, Scored, evaluate
from renewal.gate.gathering import carried, gather
from renewal.gate.judge import Grant, judge
from renewal.gate.options import GateOptions
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Binary, Regression, Task
from renewal.stats.lifetime import granted_level
from renewal.stats.paired import PairedMean, paired_mean

OURS, HASHED, NAIVE = "ours, forward", "hashed roles", "naive re-split"
WAYS = (OURS, HASHED, NAIVE)
NEVER, BETTER = "first for ever", "last called better"
POLICIES = (NEVER, BETTER)
OPTIONS = GateOptions()
# `past_days` trains the first champion; `step_days` is from update to update, and the truth's.
SOURCES = (
    Source("flights", past_days=31, step_days=30, n_splits=1),
    Source("elec2", past_days=168, step_days=28, n_splits=1),
    Source("beijing", past_days=364, step_days=28, n_splits=1),
)
MATTERS_SHARE = 0.01
N_MEANS = len(SOURCES) * len(POLICIES)
LEAST_COVERAGE = 0.8
_TAIL = 0.025
_DAY = timedelta(days=1)
DAY_US = 86_400_000_000
_TEST_SHARE = 0.2
_SALT = b"truth"
_ADAPTER = SklearnAdapter()

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Claimed:
    """What one way says of a candidate.

    Parameters
    ----------
    gain, lower, upper : float
        In the unit of the loss; the bounds one-sided at 97.5%.
    side : {-1, 0, 1}
        1: better, -1: worse; 0 where the interval holds both. The recipe always takes one.
    outcome : {"accept", "reject", "undecided"}
        The gate's, at the level that the life of the model leaves. The recipe knows no such
        thing and accepts what it calls better.
    """

    gain: float
    lower: float
    upper: float
    side: int
    outcome: Outcome


@dataclass(frozen=True)
class Update:
    """One update under one rule of who is champion.

    Parameters
    ----------
    day : int
        The first day of the period that follows.
    claimed : Claimed
        What was said before it.
    true : PairedMean
        The gain in it, in blocks of a day.
    loss : float
        The champion's mean loss in it.
    is_accepted_later : bool
        Whether a candidate undecided at first is accepted with that period's evidence.
    """

    day: int
    claimed: Claimed
    true: PairedMean
    loss: float
    is_accepted_later: bool = False

    @property
    def error(self) -> float:
        """Claimed less true gain."""
        return self.claimed.gain - self.true.mean

    @property
    def is_covered(self) -> bool:
        """Whether the claim's interval holds the true gain."""
        return self.claimed.lower <= self.true.mean <= self.claimed.upper

    @property
    def is_wrong(self) -> bool:
        """Whether the truth lies on the other side by a size that matters."""
        return self.claimed.side * self.true.mean < -MATTERS_SHARE * self.loss


@dataclass(frozen=True)
class Course:
    """All updates of one data set, in one way, under one rule of who is champion."""

    name: str
    way: str
    policy: str
    updates: tuple[Update, ...]

    @property
    def errors(self) -> PairedMean:
        """Mean of claimed less true gain, updates as independent."""
        return paired_mean([each.error for each in self.updates], ordered=False)

    @property
    def coverage(self) -> float:
        """Share of updates whose interval holds the truth."""
        return float(np.mean([each.is_covered for each in self.updates]))

    def n_wrong(self, side: int) -> int:
        """Count the updates at which it took a side and the truth lay on the other."""
        return sum(each.is_wrong for each in self.updates if each.claimed.side == side)

    def n_said(self, side: int) -> int:
        """Count the updates at which it took a side."""
        return sum(each.claimed.side == side for each in self.updates)


@lru_cache(maxsize=1)
def rows_of(name: str) -> Rows:
    """Return a data set as rows; an event's time is the start of its day."""
    data = world(name)
    inputs = data.inputs["boosting"]
    table = pa.table({f"x{at}": inputs[:, at] for at in range(inputs.shape[1])})
    labels = data.label if name == "beijing" else np.array(data.label.tolist(), dtype=object)
    spec = ModelSpec(name, task_of(name).name, "label", key="key", time="at", label_delay=_DAY)
    keys = [f"{name}-{at}" for at in range(len(labels))]
    event_us = data.day * DAY_US
    stamped = stamp(table, spec, arrived_us=0, key=keys, event_us=event_us)
    return to_rows(stamped, labels, event_us + DAY_US)


def task_of(name: str) -> Task:
    """Return the task of a data set."""
    return Regression() if name == "beijing" else Binary()


def recipe(name: str) -> Any:
    """Return the unfitted model of a data set: a few boosted trees."""
    if name == "beijing":
        return HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=40, early_stopping=False
        )
    return HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, early_stopping=False)


def parts(way: str, rows: Rows, day: int) -> tuple[Mask, Mask]:
    """Return which rows a way fits and which it judges on, at the start of a day."""
    if way == OURS:
        now = from_us(day * DAY_US)
        window = forward_window(now, OPTIONS.holdout, _DAY, _DAY)
        return window.fitted(rows.event_us), window.judged(rows.event_us)
    past = rows.event_us < day * DAY_US
    if way == HASHED:
        role = role_of(rows.group_hash, _SALT)
        newest = rows.event_us >= (day - OPTIONS.holdout // _DAY) * DAY_US
        return past & (role == TRAIN), past & newest & (role == TEST)
    is_test = np.random.default_rng(day).random(len(rows)) < _TEST_SHARE
    return past & ~is_test, past & is_test


def first_fit(way: str, rows: Rows, day: int) -> Mask:
    """Return which rows train the first champion: of all before a day those a way may fit."""
    past = np.asarray(rows.event_us < day * DAY_US)
    return past if way == OURS else parts(way, rows, day)[0]


def fit(name: str, rows: Rows) -> Any:
    """Train the model of a data set."""
    assert rows.label is not None
    return _ADAPTER.fit(recipe(name), rows.features, rows.label, seed=0)


def side_by_side(name: str, rows: Rows, champion: Any, candidate: Any) -> Report:
    """Evaluate both models on the same rows, in blocks of a day."""
    scored = [
        Scored(who, _ADAPTER.predict(model, rows.features), _ADAPTER.classes(model))
        for who, model in (("champion", champion), ("candidate", candidate))
    ]
    return evaluate(task_of(name), rows, scored, block_us=DAY_US, is_timed=True)


def claim(way: str, report: Report, grant: Grant) -> Claimed:
    """Return what a way says of a report; ours and the hashed roles by the gate."""
    if way == NAIVE:
        gains = report.of("champion").losses - report.of("candidate").losses
        found = paired_mean(gains, ordered=False)
        is_better = found.mean > 0.0
        outcome: Outcome = "accept" if is_better else "reject"
        side = 1 if is_better else -1
        return Claimed(found.mean, found.lower(_TAIL), found.upper(_TAIL), side, outcome)
    evidence = gather(report, "candidate", "champion", OPTIONS)
    verdict = judge(evidence, OPTIONS, grant=grant, is_first=True)
    bounds = evidence[0].estimate.bounds
    lower, upper = bounds.lower(_TAIL), bounds.upper(_TAIL)
    side = int(lower > 0.0) - int(upper < 0.0)
    return Claimed(verdict.gain, lower, upper, side, verdict.outcome)


def is_accepted_with(before: Report, after: Report, grant: Grant) -> bool:
    """Tell whether the running test accepts once it has seen the period that follows."""
    first, later = (gather(each, "candidate", "champion", OPTIONS) for each in (before, after))
    evidence = carried([each.series for each in first], later)
    return judge(evidence, OPTIONS, grant=grant, is_first=False).outcome == "accept"


def play(source: Source, way: str, *, every: int = 1) -> tuple[Course, ...]:
    """Go through a series in one way, under both rules of who is champion.

    Parameters
    ----------
    source : Source
        The series.
    way : str
        One of `WAYS`.
    every : int, default 1
        Take each, each second, ... of its updates.
    """
    rows = rows_of(source.name)
    n_days = int(rows.event_us.max()) // DAY_US + 1
    first = source.past_days + source.step_days
    days = range(first, n_days - source.step_days + 1, source.step_days * every)
    original = fit(source.name, rows.take(first_fit(way, rows, source.past_days)))
    champions = dict.fromkeys(POLICIES, original)
    n_accepted = dict.fromkeys(POLICIES, 0)
    updates: dict[str, list[Update]] = {policy: [] for policy in POLICIES}
    for n_tested, day in enumerate(days):
        fitted, judged = parts(way, rows, day)
        candidate = fit(source.name, rows.take(fitted))
        end_us = (day + source.step_days) * DAY_US
        after = (rows.event_us >= day * DAY_US) & (rows.event_us < end_us)
        both = (rows.take(judged), rows.take(after))
        for policy in POLICIES:
            level = granted_level(OPTIONS.budget, n_tested, n_accepted[policy])
            grant = Grant(min(OPTIONS.alpha, level), n_tested + 1)
            said, truth = (
                side_by_side(source.name, each, champions[policy], candidate) for each in both
            )
            found = claim(way, said, grant)
            is_later = found.outcome == "undecided" and is_accepted_with(said, truth, grant)
            series = loss_series(truth, "candidate", "champion")
            true = paired_mean(series.gains, weights=series.weights)
            updates[policy].append(Update(day, found, true, series.baseline_value, is_later))
            n_accepted[policy] += found.outcome == "accept" or is_later
            if policy == BETTER and found.side > 0:
                champions[policy] = candidate
    return tuple(Course(source.name, way, policy, tuple(updates[policy])) for policy in POLICIES)


def _job(job: tuple[Source, str, int]) -> tuple[Course, ...]:
    source, way, every = job
    with threadpool_limits(1):
        return play(source, way, every=every)


def show(name: str, courses: list[Course]) -> None:
    """Print one data set's table."""
    table = Table(title=f"{name}: {len(courses[0].updates)} updates, gain in the unit of the loss")
    lines = [_line(each) for policy in POLICIES for each in courses if each.policy == policy]
    for column in lines[0]:
        is_word = column in {"champion", "compared by"}
        table.add_column(column, justify="left" if is_word else "right")
    for line in lines:
        table.add_row(*line.values())
    Console(width=190).print(table)


def _line(course: Course) -> dict[str, str]:
    errors, updates = course.errors, course.updates
    n_better = sum(each.true.mean > MATTERS_SHARE * each.loss for each in updates)
    return {
        "champion": course.policy,
        "compared by": course.way,
        "claimed": f"{np.mean([each.claimed.gain for each in updates]):+.4f}",
        "true": f"{np.mean([each.true.mean for each in updates]):+.4f}",
        "claimed less true": f"{errors.mean:+.4f} (se {errors.se:.4f})",
        "truth within 95%": f"{course.coverage:.0%}",
        "called better, wrong": f"{course.n_wrong(1)} of {course.n_said(1)}",
        "called worse, wrong": f"{course.n_wrong(-1)} of {course.n_said(-1)}",
        "truly better": f"{n_better}",
        "accepted": f"{sum(each.claimed.outcome == 'accept' for each in updates)}",
        "later": f"{sum(each.is_accepted_later for each in updates)}",
    }


def tell(name: str, courses: list[Course]) -> None:
    """Print one data set's figures: ours, the worse of both rules.

    Beside each strict target stands what chance allows: of the six mean errors of a run one
    leaves its interval in 5 of 100 runs, and a side is wrong at 5% of the updates.
    """
    ours = [each for each in courses if each.way == OURS]
    least = min(each.coverage for each in ours)
    figure(f"truth.{name}_coverage", least, f">={LEAST_COVERAGE:g}", ok=least >= LEAST_COVERAGE)
    worst = max((each.errors for each in ours), key=lambda each: abs(each.mean) / each.se)
    mean, error = f"truth.{name}_mean_error", abs(worst.mean)
    widest = worst.upper(_TAIL / N_MEANS) - worst.mean
    for what, most in (("", 2.0 * worst.se), ("_within_chance", widest)):
        figure(f"{mean}{what}", worst.mean, f"|x|<={most:.4g}", ok=error <= most)
    wrong = max(each.n_wrong(1) + each.n_wrong(-1) for each in ours)
    allowed = math.ceil(2.0 * _TAIL * len(ours[0].updates))
    for what, n_most in (("", 0), ("_within_chance", allowed)):
        figure(f"truth.{name}_sign_errors{what}", wrong, f"<={n_most}", ok=wrong <= n_most)


def run(quick: bool) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Go through every series in every way, print the tables, then the figures.

    Parameters
    ----------
    quick : bool
        Every fourth update.
    """
    began_s = time.perf_counter()
    there = [source for source in SOURCES if is_there(source)]
    for source in SOURCES:
        if source not in there:
            print(f"{source.name}: data absent, set RENEWAL_DATA; skipped")
    jobs = [(source, way, 4 if quick else 1) for source in there for way in WAYS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        courses = [course for found in pool.map(_job, jobs) for course in found]
    for source in there:
        show(source.name, [each for each in courses if each.name == source.name])
    print(f"{time.perf_counter() - began_s:.0f} s")
    for source in there:
        tell(source.name, [each for each in courses if each.name == source.name])


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="every fourth update")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
