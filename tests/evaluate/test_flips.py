"""Breaks when a lost row is counted as won, or flips of dependent rows look certain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.evaluate.flips import FlipsTable, flips_table, flips_tables
from renewal.evaluate.slices import Slice
from renewal.stats.paired import paired_mean

Objects = NDArray[np.object_]


def named(*counts: tuple[str, str, str, int]) -> tuple[Objects, Objects, Objects]:
    """Return truth, baseline and candidate from (truth, baseline, candidate, rows)."""
    rows = [each[:3] for each in counts for _ in range(each[3])]
    columns = np.array(rows, dtype=object).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def single(labels: tuple[Objects, Objects, Objects], **options: object) -> FlipsTable:
    n = len(labels[0])
    return flips_table(*labels, block_at=np.arange(n), n_blocks=n, **options)  # type: ignore[arg-type]  # of the test


def test_every_kind_of_row_is_counted_once() -> None:
    found = single(
        named(
            ("a", "a", "a", 70), ("a", "a", "b", 5), ("a", "b", "a", 12),
            ("a", "b", "b", 9), ("a", "b", "c", 4),
        )
    )  # fmt: skip
    assert (found.n_both_right, found.n_negative, found.n_positive) == (70, 5, 12)
    assert (found.n_both_wrong, found.n_wrong_otherwise, found.n_rows) == (13, 4, 100)
    assert (found.negative_rate, found.positive_rate, found.churn) == (0.05, 0.12, 0.21)
    assert found.costs == 0.05
    assert found.relative_rate == pytest.approx(0.05 / (0.75 * 0.18))
    error_change = (5 + 13) / 100 - (12 + 13) / 100
    assert found.negative_rate - found.positive_rate == pytest.approx(error_change)


@pytest.mark.parametrize(
    ("n_flips", "n_rows", "upper"),
    [(0, 299, 0.00996915), (0, 2995, 0.00099974), (7, 1000, 0.01310772), (20, 5000, 0.00580713)],
)
def test_independent_rows_have_exact_bounds(n_flips: int, n_rows: int, upper: float) -> None:
    """Clopper and Pearson, one-sided 95%."""
    found = single(named(("a", "a", "b", n_flips), ("a", "a", "a", n_rows - n_flips)))
    assert found.bounds is not None
    assert found.bounds.upper(0.05) == pytest.approx(upper, abs=5e-9)


def test_rows_of_one_day_flip_together() -> None:
    """Breaks when 50 flips of one day are taken for 50 independent ones."""
    n_blocks, n_each = 20, 100
    block_at = np.repeat(np.arange(n_blocks), n_each)
    truth = np.full(len(block_at), "a", dtype=object)
    lost = (block_at == 7) & (np.arange(len(block_at)) % 2 == 0)
    now = np.where(lost, "b", truth)
    found = flips_table(truth, truth, now, block_at=block_at, n_blocks=n_blocks)
    assert found.bounds is not None
    oracle = paired_mean(lost.reshape(n_blocks, n_each).mean(axis=1))
    assert found.bounds.upper(0.05) == pytest.approx(oracle.upper(0.05))
    assert found.bounds.lower(0.05) == 0.0
    as_rows = single((truth, truth, now))
    assert as_rows.bounds is not None
    assert as_rows.bounds.lower(0.05) > 0.015
    assert found.bounds.p_value(0.01) > 0.05 > as_rows.bounds.p_value(0.01)


def test_no_flip_in_seven_days_is_not_certain() -> None:
    block_at = np.repeat(np.arange(7), 20)
    y = np.full(140, "a", dtype=object)
    found = flips_table(y, y, y, block_at=block_at, n_blocks=7)
    assert found.bounds is not None
    assert found.bounds.upper(0.05) > 0.02


def test_costs_weigh_what_is_lost() -> None:
    labels = named(*[("a", "a", "b", 1), ("a", "a", "a", 9)] * 10)
    cost = np.where(np.arange(100) % 10 == 0, 9.0, 1.0)
    found = single(labels, cost=cost)
    assert found.costs == pytest.approx(0.5)
    assert found.costs_by_block is not None
    assert found.costs_by_block.lower(0.05) > 0.2
    nothing = single(labels, cost=np.zeros(100))
    assert math.isnan(nothing.costs)
    assert nothing.costs_by_block is None


def test_slices_come_after_all_rows() -> None:
    labels = named(("a", "a", "b", 10), ("a", "a", "a", 90))
    mask = np.arange(100) < 20
    slices = [Slice("x=1", "x", mask), Slice("x=2", "x", np.zeros(100, bool))]
    every, first, empty = flips_tables(
        *labels, block_at=np.arange(100) // 10, n_blocks=10, slices=slices
    )
    assert [each.name for each in (every, first, empty)] == ["all", "x=1", "x=2"]
    assert (every.negative_rate, first.negative_rate) == (0.1, 0.5)
    assert every.above(0.04) == pytest.approx(0.06)
    assert empty.bounds is None
    assert math.isnan(empty.negative_rate)
    assert math.isnan(empty.churn)
    assert math.isnan(empty.relative_rate)
    assert math.isnan(empty.costs)


def test_no_rows_are_an_answer() -> None:
    empty = np.array([], dtype=object)
    found = flips_table(
        empty, empty, empty, block_at=np.array([], int), n_blocks=0, cost=np.array([])
    )
    assert found.n_rows == 0
    assert found.bounds is None
    assert found.costs_by_block is None


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_a_cost_that_is_none_is_refused(cost: float) -> None:
    labels = named(("a", "a", "b", 2))
    with pytest.raises(Invalid, match="1 of 2"):
        single(labels, cost=np.array([1.0, cost]))


def test_other_rows_are_refused() -> None:
    truth, was, now = named(("a", "a", "b", 2))
    with pytest.raises(Invalid, match="lengths 2, 2, 1, 2"):
        flips_table(truth, was, now[:1], block_at=np.arange(2), n_blocks=2)
