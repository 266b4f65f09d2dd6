"""Breaks when evidence is given a test that its rows do not support."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.running import BetTest, BlockTest, LimitTest
from renewal.stats.discordant import Discordant
from renewal.stats.paired import PairedMean, paired_mean

MakeSeries = Callable[..., Series]
GAINS = np.random.default_rng(1).normal(0.01, 0.1, size=200)
WINS = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=200)
DAYS: dict[str, Any] = {}
ROWS: dict[str, Any] = {"n_block_rows": 1, "unit": "block", "is_single": True}


@pytest.mark.parametrize(
    ("gains", "fields", "once", "running", "method"),
    [
        (GAINS, DAYS, PairedMean, BlockTest, "paired t on blocks"),
        (WINS, DAYS, PairedMean, BlockTest, "paired t on blocks"),
        (WINS, {**ROWS, "reach": 1.0}, Discordant, BetTest, "McNemar, mid-p"),
        (GAINS, {**ROWS, "reach": 6.9}, PairedMean, BetTest, "paired t on rows"),
        (GAINS, ROWS, PairedMean, LimitTest, "paired t on rows"),
    ],
)
def test_each_kind_of_evidence_has_its_tests(
    make_series: MakeSeries, gains: Any, *, fields: Any, once: type, running: type, method: str
) -> None:
    found = estimate_of(make_series(gains, **fields))
    assert isinstance(found.bounds, once)
    assert isinstance(found.running, running)
    assert found.method == method
    assert found.gain == pytest.approx(np.mean(gains))


def test_days_pay_for_neighbors_and_rows_apart_do_not(make_series: MakeSeries) -> None:
    runs = np.repeat(np.random.default_rng(2).normal(size=40), 5)
    days, rows = estimate_of(make_series(runs)), estimate_of(make_series(runs, **ROWS))
    assert days.n_effective < 60
    assert rows.n_effective == rows.n_blocks == 200
    assert days.sd == pytest.approx(rows.sd * math.sqrt(200 / days.n_effective))


def test_days_count_by_their_rows(make_series: MakeSeries) -> None:
    rows = [100, 900] * 10
    gains = np.tile([0.0, 0.1], 10) + np.random.default_rng(3).normal(0, 0.01, 20)
    found = estimate_of(make_series(gains, n_block_rows=rows))
    assert found.gain == pytest.approx(np.average(gains, weights=rows))
    assert (found.n_rows, found.n_blocks) == (10_000, 20)
    assert found.running.lower(0.02) < found.gain < found.running.upper(0.02)


def test_a_test_made_for_the_metric_speaks_at_the_first_look_only(make_series: MakeSeries) -> None:
    own = paired_mean(GAINS + 1.0)
    found = estimate_of(make_series(GAINS), bounds=own, method="DeLong")
    assert (found.bounds, found.method) == (own, "DeLong")
    assert isinstance(found.running, BlockTest)
    assert found.gain == pytest.approx(GAINS.mean())


def test_pairs_of_rows_of_one_group_are_no_single_rows(make_series: MakeSeries) -> None:
    """A block of one row that goes on later with a second one must not be bet on as a row."""
    one = make_series([0.0, 1.0], **ROWS, reach=1.0)
    two = make_series([1.0, 1.0], **ROWS, reach=1.0, first=1)
    assert estimate_of(one.then(two)).method == "paired t on blocks"
