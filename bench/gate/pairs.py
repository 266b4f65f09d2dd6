"""Pairs of models on real data, judged over 28 days and followed for 28 more.

Null pairs: one recipe trained on two random halves of the same past, so that neither has any
reason to be the better one. The past is as long as it takes for a half to hold 4,000 rows or
more; with less the two models differ by 5% of their loss and are not nearly equal.

Stale pairs: the recipe trained on the newest two months, against the same recipe trained on
two months that end one, two or three months earlier.

Between training and judging lies a day whose labels are still on their way.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import HuberRegressor, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from renewal.cli.demo_data import CATEGORIES, SCHEDULE, WEATHER, flights
from renewal.models.task import SMALLEST_PROBABILITY
from renewal.stats.anytime import log_t_e_values
from renewal.stats.paired import paired_mean

FOLDER = Path(os.environ.get("RENEWAL_DATA", "../shared/data"))
JUDGED_DAYS = 28
STALE_MONTHS = (1, 2, 3)
RECIPES = ("boosting", "linear")
_GAP_DAYS = 1
_MONTH_DAYS = 30
_TWO_MONTHS_DAYS = 60
_FIRST_ROWS = 100
_LOG_20 = float(np.log(20.0))


@dataclass(frozen=True)
class Source:
    """A data set and how pairs are drawn from it.

    Parameters
    ----------
    name : str
        Of the data set.
    past_days : int
        What the two halves are drawn from.
    step_days : int
        From one first judged day to the next; a divisor of a month.
    n_splits : int
        Random halvings at each of them.
    has_stale : bool, default True
        Whether stale pairs are built too.
    """

    name: str
    past_days: int
    step_days: int
    n_splits: int
    has_stale: bool = True

    @property
    def label(self) -> str:
        """Name and past, as printed."""
        return f"{self.name}, halves of {self.past_days} days"


@dataclass(frozen=True)
class World:
    """One data set: day of each row, inputs of both recipes, labels."""

    day: NDArray[np.int64]
    inputs: dict[str, NDArray[np.float32]]
    label: NDArray[Any]

    def between(self, since: int, until: int) -> NDArray[np.int64]:
        """Return the rows of the half-open stretch of days."""
        return np.flatnonzero((self.day >= since) & (self.day < until))


@dataclass(frozen=True)
class Pair:
    """The gain of a candidate over a baseline, by day; positive is better.

    Parameters
    ----------
    months : int
        How much older the baseline is; 0 for a null pair.
    sums, n_rows : ndarray
        Gain and rows of each judged day that has rows.
    after : float
        Mean gain in the 28 days that follow.
    share : float
        Mean gain of the judged days as a share of the baseline's loss.
    rows_p : float
        P-value of "no better" with rows taken as independent.
    rows_e : tuple of bool
        Whether a row-wise e-process ever calls the candidate better, and the baseline.
    """

    months: int
    sums: NDArray[np.float64]
    n_rows: NDArray[np.int64]
    after: float
    share: float
    rows_p: float
    rows_e: tuple[bool, bool]


def is_there(source: Source) -> bool:
    """Tell whether the data are installed."""
    return source.name == "flights" or _path(source.name).exists()


def build(source: Source, *, quick: bool) -> list[Pair]:
    """Return all pairs of a data set; `quick` takes every sixth first day and one halving."""
    n_days = int(world(source.name).day.max()) + 1
    step = source.step_days * (6 if quick else 1)
    starts = range(source.past_days + _GAP_DAYS, n_days - 2 * JUDGED_DAYS + 1, step)
    jobs = [(source, recipe, start, quick) for recipe in RECIPES for start in starts]
    if quick:
        return [pair for job in jobs for pair in _pairs(job)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return [pair for pairs in pool.map(_pairs, jobs, chunksize=4) for pair in pairs]


@lru_cache(maxsize=1)
def world(name: str) -> World:
    """Read a data set."""
    return {"flights": _flights, "elec2": _elec2, "beijing": _beijing}[name]()


def _path(name: str) -> Path:
    return FOLDER / {"elec2": "elec2.parquet", "beijing": "beijing_pm25.parquet"}[name]


def _pairs(job: tuple[Source, str, int, bool]) -> list[Pair]:
    source, recipe, start, quick = job
    data = world(source.name)
    judged = data.between(start, start + 2 * JUDGED_DAYS)
    end = start - _GAP_DAYS
    past = data.between(end - source.past_days, end)
    found = []
    with threadpool_limits(1):
        for split in range(1 if quick else source.n_splits):
            order = np.random.default_rng((start, split)).permutation(past)
            halves = order[: len(order) // 2], order[len(order) // 2 :]
            first, second = (_losses(source.name, recipe, np.sort(half), judged) for half in halves)
            found.append(_pair(0, first, second, data.day[judged] - start))
        if source.has_stale:
            ends = {months: end - _MONTH_DAYS * months for months in (0, *STALE_MONTHS)}
            by_age = {
                months: _losses(
                    source.name, recipe, data.between(at - _TWO_MONTHS_DAYS, at), judged
                )
                for months, at in ends.items()
                if at >= _TWO_MONTHS_DAYS
            }
            newest = by_age.pop(0)
            found += [
                _pair(months, stale, newest, data.day[judged] - start)
                for months, stale in by_age.items()
            ]
    return found


def _pair(
    months: int,
    baseline: NDArray[np.float64],
    candidate: NDArray[np.float64],
    day: NDArray[np.int64],
) -> Pair:
    gain = baseline - candidate
    now = day < JUDGED_DAYS
    sums = np.asarray(np.bincount(day[now], gain[now], JUDGED_DAYS), dtype=np.float64)
    n_rows = np.bincount(day[now], minlength=JUDGED_DAYS)
    better, worse = (
        bool(log_t_e_values(sign * gain[now])[_FIRST_ROWS:].max() >= _LOG_20) for sign in (1, -1)
    )
    return Pair(
        months=months,
        sums=sums[n_rows > 0],
        n_rows=n_rows[n_rows > 0],
        after=float(gain[~now].mean()),
        share=float(gain[now].mean() / baseline[now].mean()),
        rows_p=paired_mean(gain[now], ordered=False).p_value(),
        rows_e=(better, worse),
    )


def _losses(
    name: str, recipe: str, train: NDArray[np.int64], judged: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Train on some rows and return the loss of others: clipped log-loss, or absolute error."""
    data = world(name)
    inputs, label = data.inputs[recipe], data.label
    model = _recipe(recipe, is_regression=name == "beijing").fit(inputs[train], label[train])
    if name == "beijing":
        errors = np.asarray(model.predict(inputs[judged]), dtype=np.float64) - label[judged]
        return np.asarray(np.abs(errors))
    scores = np.asarray(model.predict_proba(inputs[judged]), dtype=np.float64)
    right = scores[np.arange(len(judged)), label[judged]]
    losses: NDArray[np.float64] = -np.log(np.maximum(right, SMALLEST_PROBABILITY))
    return losses


def _recipe(recipe: str, *, is_regression: bool) -> Any:
    if recipe == "linear":
        # Trained on what it is judged by: at its smallest epsilon, nearly the absolute error.
        median = HuberRegressor(epsilon=1.01, max_iter=1000)
        last = median if is_regression else LogisticRegression(tol=1e-3)
        return make_pipeline(StandardScaler(), last)
    if is_regression:
        return HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=40, early_stopping=False
        )
    return HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, early_stopping=False)


def _world(
    day: Any, numbers: pd.DataFrame, codes: pd.DataFrame, classes: list[Any], label: Any
) -> World:
    """Put together trees' inputs (numbers and codes) and linear ones (numbers and indicators)."""
    dummies = [pd.get_dummies(each) for each in classes]
    linear = pd.concat([numbers.fillna(numbers.median()), *dummies], axis=1)
    trees = pd.concat([numbers, codes], axis=1)
    return World(
        day=np.asarray(day, dtype=np.int64),
        inputs={
            "boosting": trees.to_numpy(dtype=np.float32),
            "linear": linear.to_numpy(dtype=np.float32),
        },
        label=np.asarray(label),
    )


def _flights() -> World:
    table: Any = flights().to_pandas().dropna(subset=["late"])
    zone = "America/New_York"
    since = table["sched_dep_at"].dt.tz_convert(zone) - pd.Timestamp("2013-01-01", tz=zone)
    often = table["dest"].value_counts().index[:20]
    dest = table["dest"].where(table["dest"].isin(often), "other")
    return _world(
        since // pd.Timedelta("1D"),
        table[[*SCHEDULE, *WEATHER]].astype("float64"),
        table[list(CATEGORIES)].apply(lambda each: each.astype("category").cat.codes),
        [table["carrier"], table["origin"], dest, table["sched_minute"] // 60],
        table["late"].to_numpy(dtype=np.int64),
    )


def _elec2() -> World:
    table: Any = pd.read_parquet(_path("elec2"))
    names = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]
    hour = (table["period"] * 24).astype("int64")
    is_up = (table["class"] == "UP").to_numpy(dtype=np.int64)
    return _world(
        np.arange(len(table)) // 48,
        table[names].astype("float64"),
        table[["day"]],
        [hour, table["day"]],
        is_up,
    )


def _beijing() -> World:
    table: Any = pd.read_parquet(_path("beijing"))
    day = np.arange(len(table)) // 24
    known = table["pm2.5"].notna().to_numpy()
    table = table[known]
    names = ["hour", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"]
    return _world(
        day[known],
        table[names].astype("float64"),
        table[["cbwd"]].apply(lambda each: each.astype("category").cat.codes),
        [table["cbwd"], table["hour"] // 3],
        table["pm2.5"].to_numpy(dtype=np.float64),
    )
