"""Breaks when a running test errs more often than its level, or its parts disagree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from renewal.gate.running import BetTest, BlockTest, LimitTest
from renewal.stats.anytime import confidence_sequence, log_t_e_value

GAINS = arrays(np.float64, st.integers(2, 250), elements=st.floats(-1, 1, width=32))
Running = BlockTest | BetTest | LimitTest


def every_test(gains: NDArray[np.float64]) -> list[Running]:
    """Return every running test on the same gains."""
    rows = (1.0 + np.arange(len(gains)) % 5).astype(np.float64)
    return [
        BlockTest(gains, rows, float(len(gains))),
        BlockTest(gains, rows, 0.4 * len(gains) + 0.6),
        BetTest(gains, 1.0),
        LimitTest(gains),
    ]


@settings(max_examples=150, deadline=None)
@given(GAINS, st.floats(-0.9, 0.9), st.sampled_from([0.025, 0.0035, 0.0001]))
def test_a_margin_is_below_the_bound_exactly_where_its_e_value_has_reached_the_goal(
    gains: NDArray[np.float64], margin: float, alpha: float
) -> None:
    """Bound and e-value are one test: a verdict must not depend on which of them is read."""
    for test in every_test(gains):
        reached = test.log_e_value(margin) - math.log(1.0 / alpha)
        lower = test.lower(alpha)
        if abs(reached) > 1e-6 and abs(lower - margin) > 1e-9:
            assert (lower > margin) == (reached > 0.0), type(test).__name__
        assert test.p_value(margin) == pytest.approx(math.exp(-max(test.log_e_value(margin), 0)))


@settings(max_examples=100, deadline=None)
@given(GAINS)
def test_the_upper_bound_is_the_lower_one_of_the_mirrored_gains(
    gains: NDArray[np.float64],
) -> None:
    for test, mirrored in zip(every_test(gains), every_test(-gains), strict=True):
        assert test.upper(0.02) == pytest.approx(-mirrored.lower(0.02), abs=1e-9)
        assert test.upper(0.02) >= test.lower(0.02) - 1e-12


def test_blocks_without_dependence_are_the_t_e_process() -> None:
    gains = np.random.default_rng(1).normal(0.01, 0.02, size=30)
    test = BlockTest(gains, np.full(30, 7.0), 30.0)
    assert test.log_e_value(0.003) == pytest.approx(log_t_e_value(gains, 0.003))
    assert test.lower(0.02) == pytest.approx(confidence_sequence(gains, 0.02)[0])


def test_dependence_is_paid_for_by_the_power_of_the_e_value() -> None:
    gains = np.random.default_rng(1).normal(0.02, 0.02, size=30)
    plain = BlockTest(gains, np.ones(30), 30.0)
    paid = BlockTest(gains, np.ones(30), 10.0)
    assert paid.charge == pytest.approx(3.0)
    assert paid.log_e_value() == pytest.approx(plain.log_e_value() / 3.0)
    assert paid.lower(0.05) == pytest.approx(plain.lower(0.05**3))


def test_so_much_dependence_that_no_level_is_left_proves_nothing() -> None:
    """The level would underflow; rounding it up would hand out an acceptance."""
    gains = np.full(20_000, 0.5) + 0.001 * np.random.default_rng(1).normal(size=20_000)
    test = BlockTest(gains, np.ones(20_000), 20.0)
    assert test.charge == 1000.0
    assert test.lower(0.025) == -math.inf
    assert test.upper(0.025) == math.inf
    assert test.log_e_value() < math.log(40)


@pytest.mark.parametrize(("n", "win", "lose"), [(200, 0.05, 0.05), (200, 0.01, 0.01)])
def test_betting_never_errs_more_than_its_level(n: int, win: float, lose: float) -> None:
    """Two classifiers equally good, looked at after every 10 of 200 rows; 1,000 runs, seed 1.

    Alpha 5%, 3 standard errors.
    """
    rng = np.random.default_rng(1)
    runs = rng.choice([1.0, 0.0, -1.0], p=[win, 1 - win - lose, lose], size=(1000, n))
    goal = math.log(20)
    wrong = sum(
        any(BetTest(run[:k], 1.0).log_e_value() >= goal for k in range(10, n + 1, 10))
        for run in runs
    )
    assert wrong / 1000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


def test_unbounded_rows_err_at_most_at_their_level() -> None:
    """Laplace gains around 0, looked at after every 50 of 1,000 rows; 500 runs, seed 2."""
    runs = np.random.default_rng(2).laplace(0.0, 1.0, size=(500, 1000))
    goal = math.log(20)
    wrong = sum(
        any(LimitTest(run[:k]).log_e_value() >= goal for k in range(100, 1001, 50)) for run in runs
    )
    assert wrong / 500 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 500)


def test_a_margin_beyond_reach_is_refuted_or_certain_without_a_row() -> None:
    test = BetTest(np.array([0.0, 0.0]), 0.5)
    assert test.log_e_value(0.5) == 0.0
    assert test.log_e_value(-0.6) == math.inf
    assert test.p_value(-0.6) == 0.0
    assert -0.5 < test.lower(0.05) < -0.4 < 0.4 < test.upper(0.05) < 0.5


def test_before_a_hundred_rows_the_limit_says_nothing() -> None:
    test = LimitTest(np.full(99, 0.5) + np.arange(99) * 1e-3)
    assert (test.lower(0.05), test.upper(0.05)) == (-math.inf, math.inf)
    assert test.log_e_value() == 0.0


def test_rows_that_do_not_differ_are_known() -> None:
    """Two versions that answer alike are equal, not unknown: the candidate is of no use."""
    test = LimitTest(np.zeros(200))
    assert (test.lower(0.05), test.upper(0.05)) == (0.0, 0.0)
    assert test.log_e_value(0.0) == 0.0
    assert test.log_e_value(-0.01) == math.inf
