"""Breaks when the mixture bounds change, or when their error on unbounded losses grows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.stats.asymptotic import (
    asymptotic_confidence_sequence,
    asymptotic_half_width,
    log_asymptotic_e_values,
    mixture_scale,
)

ALPHA = 0.05
GOAL = math.log(1 / ALPHA)
N_RUNS = 1000
SLACK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / N_RUNS)


def ever(draws: NDArray[np.float64], n_planned: float = 500) -> float:
    paths = [log_asymptotic_e_values(x, n_planned=n_planned) for x in draws]
    return float(np.mean([path.max() >= GOAL for path in paths]))


def test_the_scale_is_the_papers() -> None:
    assert mixture_scale(0.05, 5000) == pytest.approx(0.03984007, abs=5e-9)


@pytest.mark.parametrize(
    ("n", "factor"),
    [(100, 6.694), (500, 3.855), (1000, 3.364), (5000, 3.035), (20_000, 3.127), (100_000, 3.337)],
)
def test_the_two_sided_factors_are_the_papers(n: int, factor: float) -> None:
    width = asymptotic_half_width(n, 0.05, n_planned=5000, sides="two")
    assert width * math.sqrt(n) == pytest.approx(factor, abs=5e-4)


def test_the_boundaries_are_those_of_confseq() -> None:
    """`normal_mixture_bound(100)`, best at 100, alpha 0.05, of its C++ tests."""
    two = asymptotic_half_width(100, 0.05, n_planned=100, sides="two")
    one = asymptotic_half_width(100, 0.05, n_planned=100)
    assert 100 * two == pytest.approx(30.35209, abs=5e-6)
    assert 100 * one == pytest.approx(27.66071, abs=5e-6)


@pytest.mark.parametrize(
    ("champion", "candidate", "n_planned", "expected"),
    [
        # (mean, variance, n) of each arm: sums of a revenue, then proportions.
        (
            (1396.87 / 3000, (52377.9767 - 1396.87**2 / 3000) / 2999, 3000),
            (2422.7 / 3461, (134698.29 - 2422.7**2 / 3461) / 3460, 3461),
            1000,
            (0.50336, -0.55844, 1.56516),
        ),
        (
            (1396 / 3000, 1396 / 3000 * (1 - 1396 / 3000), 3000),
            (2422 / 3461, 2422 / 3461 * (1 - 2422 / 3461), 3461),
            5000,
            (0.50386, 0.40098, 0.60675),
        ),
    ],
)
def test_with_the_delta_method_they_are_growthbooks_relative_bounds(
    champion: tuple[float, float, int],
    candidate: tuple[float, float, int],
    n_planned: int,
    expected: tuple[float, float, float],
) -> None:
    """Its sequential tests of two unpaired arms: the sd of one of all rows, linearized."""
    (mean, variance, n), (other_mean, other_variance, other_n) = champion, candidate
    lift = other_mean / mean - 1
    error = other_variance / other_n / mean**2 + variance / n * other_mean**2 / mean**4
    width = asymptotic_half_width(n + other_n, 0.05, n_planned=n_planned, sides="two")
    reach = math.sqrt(error * (n + other_n)) * width
    assert (lift, lift - reach, lift + reach) == pytest.approx(expected, abs=1e-5)


def test_it_is_narrowest_near_the_planned_number() -> None:
    factors = {
        n: asymptotic_half_width(1000, ALPHA, n_planned=n) for n in (250, 800, 1000, 1250, 4000)
    }
    assert min(factors, key=factors.__getitem__) == 1000


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(-3, 3), st.floats(0.01, 100))
def test_the_lower_bound_is_where_the_e_value_reaches_its_goal(
    seed: int, mean: float, scale: float
) -> None:
    x = scale * np.random.default_rng(seed).normal(mean, 1.0, size=150)
    low, high = asymptotic_confidence_sequence(x, ALPHA, n_planned=300)
    at = log_asymptotic_e_values(x, low, n_planned=300, alpha=ALPHA)[-1]
    assert at == pytest.approx(GOAL, abs=1e-6)
    at = log_asymptotic_e_values(-x, -high, n_planned=300, alpha=ALPHA)[-1]
    assert at == pytest.approx(GOAL, abs=1e-6)


def test_peeking_from_the_hundredth_value_keeps_the_level() -> None:
    """1,000 runs of 1,000 looks each, seed 1, tolerance 3 standard errors."""
    rng = np.random.default_rng(1)
    shape = (N_RUNS, 1000)
    assert ever(rng.normal(size=shape)) <= ALPHA + SLACK
    assert ever(rng.laplace(size=shape)) <= ALPHA + SLACK
    assert ever(rng.exponential(size=shape) - 1.0) <= ALPHA + SLACK
    assert ever(1.0 - rng.exponential(size=shape)) <= ALPHA + SLACK


def test_a_mean_that_drifts_below_is_rejected_still_less() -> None:
    """The mean wanders between -0.3 sd and 0; 1,000 runs, seed 2."""
    drift = -0.15 + 0.15 * np.sin(np.arange(1000) / 50)
    draws = np.random.default_rng(2).normal(size=(N_RUNS, 1000)) + drift
    assert ever(draws) <= ALPHA / 3


def test_rare_large_losses_are_the_known_limit() -> None:
    """One value in 100 carries all: 20 of them keep the level, one does not; 300 runs, seed 3."""
    draws = 0.01 - (np.random.default_rng(3).random((300, 6000)) < 0.01)
    paths = [log_asymptotic_e_values(x, n_planned=4000, min_n=100) for x in draws]
    assert np.mean([path.max() >= GOAL for path in paths]) > 0.15
    assert np.mean([path[2000:].max() >= GOAL for path in paths]) <= 2 * ALPHA


def test_it_decides_about_when_a_fixed_test_would() -> None:
    """Effect 0.1 sd: a fixed test needs 618 for power 0.8; median of 300 runs, seed 4."""
    draws = np.random.default_rng(4).laplace(0.1 * math.sqrt(2.0), 1.0, size=(300, 1300))
    hits = [log_asymptotic_e_values(x, n_planned=618) >= GOAL for x in draws]
    rows = [int(np.argmax(hit)) + 1 if hit.any() else 1300 for hit in hits]
    assert np.median(rows) <= 1.2 * 618


def test_before_enough_values_nothing_is_bounded() -> None:
    x = np.full(99, 5.0) + np.arange(99) / 1000
    assert asymptotic_confidence_sequence(x, 0.025, n_planned=500) == (-math.inf, math.inf)
    assert not log_asymptotic_e_values(x, n_planned=500).any()
    low, high = asymptotic_confidence_sequence(x, 0.025, n_planned=500, min_n=50)
    assert 0 < low < high


def test_values_without_spread_are_no_evidence_but_no_crash() -> None:
    assert not log_asymptotic_e_values(np.full(200, 0.3), n_planned=500).any()


def test_a_large_common_part_loses_no_digits() -> None:
    x = np.random.default_rng(5).normal(size=300)
    there = log_asymptotic_e_values(x + 1e8, 1e8, n_planned=300)
    assert there == pytest.approx(log_asymptotic_e_values(x, n_planned=300), abs=1e-4)


def test_input_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(Invalid, match="planned values"):
        mixture_scale(0.05, 0)
    with pytest.raises(Invalid, match="1/2"):
        asymptotic_half_width(100, 0.5, n_planned=100)
    with pytest.raises(Invalid, match="number of values"):
        asymptotic_half_width(0, 0.05, n_planned=100)
    with pytest.raises(Invalid, match="sides one or two"):
        asymptotic_half_width(9, 0.05, n_planned=100, sides="both")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="min_n"):
        asymptotic_confidence_sequence([1.0, 2.0], 0.05, n_planned=100, min_n=1)
    with pytest.raises(Invalid, match="finite numbers"):
        log_asymptotic_e_values([1.0, math.nan], n_planned=100)
