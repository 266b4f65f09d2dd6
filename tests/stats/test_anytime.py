"""Breaks when looking often costs error, or when the closed form is not the integral."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from renewal.core.errors import Invalid
from renewal.stats.anytime import (
    confidence_sequence,
    log_t_e_value,
    log_t_e_values,
    t_e_value,
)
from renewal.stats.paired import effective_n
from renewal.stats.power import blocks_needed

ALPHA = 0.05
GOAL = math.log(1 / ALPHA)
N_RUNS = 2000
# Three standard errors of a share of 5% in 2,000 runs.
SLACK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / N_RUNS)
SERIES = arrays(np.float64, st.integers(2, 40), elements=st.floats(-10, 10, width=32))
Draw = Callable[[np.random.Generator, int, int, float], NDArray[np.float64]]


def ever(draws: NDArray[np.float64]) -> float:
    """Return the share of runs in which a peek after some block rejects."""
    return float(np.mean([log_t_e_values(x).max() >= GOAL for x in draws]))


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_the_closed_form_is_the_integral_that_defines_it(n: int) -> None:
    """R(delta) by quadrature over chi_n, then over the half-normal; four digits."""
    x = np.random.default_rng(n).normal(0.3, 1.0, size=n)
    r = x.sum() / math.sqrt((x**2).sum())

    u = np.linspace(1e-9, 25, 6001)
    delta = np.linspace(0, 4, 801)[:, None]
    log_chi = stats.chi(n).logpdf(u)
    ratio = np.trapezoid(np.exp(log_chi + u * delta * r - n * delta**2 / 2), u, axis=1)
    prior = 2 * stats.norm.pdf(delta[:, 0], scale=0.5)
    mixed = np.trapezoid(ratio * prior, delta[:, 0])
    assert t_e_value(x) == pytest.approx(mixed, rel=1e-4)


def test_peeking_at_every_block_keeps_the_level_for_normal_blocks() -> None:
    """2,000 runs of 100 peeks, seed 1; a fixed test peeked at so often errs over 20%."""
    draws = np.random.default_rng(1).normal(size=(N_RUNS, 100))
    assert ever(draws) <= ALPHA + SLACK
    n = np.arange(1, 101)
    sums, squares = np.cumsum(draws, axis=1), np.cumsum(draws**2, axis=1)
    t = sums[:, 6:] / np.sqrt((squares - sums**2 / n)[:, 6:] / (n[6:] - 1) * n[6:])
    assert np.mean((t > stats.t.ppf(1 - ALPHA, n[6:] - 1)).any(axis=1)) > 0.2


def test_peeking_keeps_the_level_for_skewed_blocks() -> None:
    """Means of 30 exponential losses, both sides of the skew; 2,000 runs each, seed 2."""
    draws = np.random.default_rng(2).gamma(30.0, size=(N_RUNS, 100)) - 30.0
    assert ever(draws) <= ALPHA + SLACK
    assert ever(-draws) <= ALPHA + SLACK


def test_a_mean_below_the_tested_one_is_rejected_still_less() -> None:
    draws = np.random.default_rng(3).normal(-0.3, 1.0, size=(N_RUNS, 100))
    assert ever(draws) <= ALPHA / 3


def test_autocorrelated_blocks_need_the_effective_number(autoregressive: Draw) -> None:
    """Neighbors correlate by 0.3: peeking errs about 11% at 5%; tempered it stays below 7%.

    1,000 runs of 60 peeks, seed 4, standard error below 1 point.
    """
    draws = autoregressive(np.random.default_rng(4), 1000, 60, 0.3)
    paths = np.array([log_t_e_values(x) for x in draws])
    naive = np.mean(paths[:, 6:].max(axis=1) >= GOAL)
    # Only looks at which the plain value rejects can reject after it has been lowered.
    tempered = np.mean(
        [
            any(
                path[n - 1] * effective_n(x[:n]) / n >= GOAL
                for n in range(7, 61)
                if path[n - 1] >= GOAL
            )
            for x, path in zip(draws, paths, strict=True)
        ]
    )
    assert naive > 0.08
    assert tempered < 0.07


@pytest.mark.parametrize("delta", [0.25, 0.5, 0.8])
def test_it_finds_an_effect_with_at_most_twice_the_fixed_number(delta: float) -> None:
    """500 runs, seed 5: by twice the blocks of a fixed test with power 0.8, at least 0.78."""
    n = 2 * blocks_needed(delta, 1.0, ALPHA, 0.8)
    draws = np.random.default_rng(5).normal(delta, 1.0, size=(500, n))
    assert ever(draws) >= 0.78


def test_both_bounds_hold_at_all_times() -> None:
    """1,000 runs of 60 looks, true mean 3, seed 6; each side errs at most alpha."""
    draws = np.random.default_rng(6).normal(3.0, 2.0, size=(1000, 60))
    above = below = 0
    for x in draws:
        bounds = [confidence_sequence(x[:n], ALPHA) for n in range(2, 61, 2)]
        above += any(low > 3.0 for low, _high in bounds)
        below += any(high < 3.0 for _low, high in bounds)
    slack = 3 * math.sqrt(ALPHA / 1000)
    assert above / 1000 <= ALPHA + slack
    assert below / 1000 <= ALPHA + slack


@settings(max_examples=100, deadline=None)
@given(SERIES)
def test_the_lower_bound_is_where_the_e_value_reaches_its_goal(x: NDArray[np.float64]) -> None:
    low, high = confidence_sequence(x, ALPHA)
    if math.isinf(low) or np.ptp(x) < 1e-6:
        return
    assert log_t_e_value(x, low) == pytest.approx(GOAL, abs=1e-5)
    assert log_t_e_value(-x, -high) == pytest.approx(GOAL, abs=1e-5)


def test_weighted_bounds_are_where_the_weighted_e_value_reaches_its_goal() -> None:
    rng = np.random.default_rng(7)
    d, n = rng.normal(0.2, 1.0, size=30), rng.integers(50, 150, size=30)
    low, high = confidence_sequence(d, ALPHA, weights=n)
    assert log_t_e_value(n * (d - low)) == pytest.approx(GOAL, abs=1e-9)
    assert log_t_e_value(n * (high - d)) == pytest.approx(GOAL, abs=1e-9)
    assert low < np.average(d, weights=n) < high


def test_one_giant_block_among_dwarfs_proves_nothing() -> None:
    weights = [1.0] * 19 + [1e6]
    assert confidence_sequence(np.full(20, 0.1), ALPHA, weights=weights) == (-math.inf, math.inf)


@settings(max_examples=100, deadline=None)
@given(SERIES, st.floats(1e-6, 1e6), st.floats(-100, 100))
def test_e_values_and_bounds_know_no_unit(
    x: NDArray[np.float64], scale: float, shift: float
) -> None:
    if np.ptp(x) < 1e-3:
        x = x + np.arange(x.size)
    assert log_t_e_value(x * scale) == pytest.approx(log_t_e_value(x), rel=1e-9, abs=1e-9)
    before, after = confidence_sequence(x, ALPHA), confidence_sequence(x + shift, ALPHA)
    for one, other in zip(before, after, strict=True):
        assert other == pytest.approx(one + shift, rel=1e-6, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(SERIES)
def test_a_larger_tested_mean_is_never_harder_to_believe(x: NDArray[np.float64]) -> None:
    path = [log_t_e_value(x, m) for m in np.linspace(-12, 12, 25)]
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(path))


def test_the_path_ends_at_the_value() -> None:
    x = np.random.default_rng(8).normal(0.2, 1.0, size=40)
    path = log_t_e_values(x)
    assert path.shape == (40,)
    assert path[-1] == log_t_e_value(x)
    assert path[10] == pytest.approx(log_t_e_value(x[:11]), abs=1e-12)
    assert t_e_value(x) == pytest.approx(math.exp(path[-1]))


def test_a_hundred_thousand_blocks_do_not_overflow() -> None:
    rng = np.random.default_rng(9)
    for mean in (-5.0, 0.0, 5.0):
        path = log_t_e_values(rng.normal(mean, 1.0, size=100_000))
        assert np.isfinite(path).all()
    low, high = confidence_sequence(rng.normal(0.02, 1.0, size=100_000), 0.025)
    assert -0.01 < low < 0.02 < high < 0.05
    assert t_e_value(np.full(5000, 1.0)) == math.inf


def test_series_that_say_nothing() -> None:
    assert log_t_e_values([0.0, 0.0, 0.0]).tolist() == [0.0, 0.0, 0.0]
    assert confidence_sequence([0.0] * 20, ALPHA) == (0.0, 0.0)
    assert confidence_sequence([0.3], ALPHA) == (-math.inf, math.inf)
    # One block can at most double the odds.
    assert 1.0 < t_e_value([1e300]) < 2.0


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(Invalid, match="positive scale"):
        t_e_value([0.1, 0.2], scale=scale)
