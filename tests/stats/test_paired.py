"""Breaks when the one-look bounds err more often than they say, or depend on the unit."""

from __future__ import annotations

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
from renewal.stats.paired import PairedMean, effective_n, paired_mean
from renewal.stats.power import power_of

ALPHA = 0.05
SERIES = arrays(np.float64, st.integers(3, 40), elements=st.floats(-10, 10, width=32))
Draw = Callable[[np.random.Generator, int, int, float], NDArray[np.float64]]


def independent(found: PairedMean) -> PairedMean:
    return PairedMean(found.mean, found.sd, found.n, float(found.n))


def test_without_autocorrelation_it_is_the_t_test_of_scipy() -> None:
    d = np.random.default_rng(2).normal(0.3, 1.0, size=25)
    found = independent(paired_mean(d))
    oracle = stats.ttest_1samp(d, 0.1, alternative="greater")
    assert found.p_value(0.1) == pytest.approx(oracle.pvalue, rel=1e-12)
    interval = stats.ttest_1samp(d, 0.0).confidence_interval(1 - 2 * ALPHA)
    assert found.lower(ALPHA) == pytest.approx(interval.low, rel=1e-12)
    assert found.upper(ALPHA) == pytest.approx(interval.high, rel=1e-12)


def test_a_bound_touches_the_margin_where_the_p_value_is_alpha() -> None:
    found = paired_mean([0.2, 0.1, 0.4, -0.1, 0.3, 0.2, 0.1, 0.5])
    assert found.p_value(found.lower(ALPHA)) == pytest.approx(ALPHA, rel=1e-9)


def test_weights_give_the_mean_over_rows_and_cochrans_error() -> None:
    d, n = np.array([0.1, 0.3, -0.1, 0.2]), np.array([100, 300, 50, 250])
    found = paired_mean(d, weights=n)
    ratio = float((n * d).sum() / n.sum())
    z = n * (d - ratio) / n.mean()
    assert found.mean == pytest.approx(ratio)
    assert found.sd == pytest.approx(math.sqrt((z**2).sum() / 3))


@pytest.mark.parametrize("n", [7, 14, 60])
def test_equal_models_are_called_better_at_most_alpha_of_the_time(n: int) -> None:
    """4,000 looks, seed 3; tolerance 3 standard errors, so one run in 700 would fail."""
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(4000, n))
    share = np.mean([paired_mean(d).lower(ALPHA) > 0 for d in draws])
    assert share <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 4000)
    assert share > {7: 0.002, 14: 0.008, 60: 0.02}[n]  # the charge for what is not there


def test_skewed_blocks_keep_the_level() -> None:
    """Means of 30 exponential losses, both sides of the skew; 4,000 looks, seed 4."""
    draws = np.random.default_rng(4).gamma(30.0, size=(4000, 14)) - 30.0
    for side in (1.0, -1.0):
        share = np.mean([paired_mean(side * d).lower(ALPHA) > 0 for d in draws])
        assert share <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 4000)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("n", [14, 28, 60])
def test_blocks_that_resemble_each_other_keep_the_level(
    autoregressive: Draw, n: int, rho: float
) -> None:
    """4,000 looks on both sides, seed 5; 5.2% is promised at 5%, the tolerance 3 errors.

    Breaks when dependence that few blocks cannot show is taken for independence: without a
    charge 17% err at a correlation of 0.5.
    """
    draws = autoregressive(np.random.default_rng(5), 4000, n, rho)
    p = np.array([paired_mean(d).p_value() for d in draws])
    for alpha, promised in ((0.05, 0.052), (0.025, 0.029), (0.005, 0.0075)):
        share = np.mean(np.minimum(p, 1 - p) < alpha) / 2
        assert share <= promised + 3 * math.sqrt(promised / 8000)
    if rho == 0.5:
        naive = np.array([independent(paired_mean(d)).p_value() for d in draws[:1000]])
        assert np.mean(np.minimum(naive, 1 - naive) < ALPHA) / 2 > 0.13


def test_a_slow_swing_that_neighbors_hide_is_charged() -> None:
    """A tenth of the variance in a wave of 200 blocks, 400 blocks, seed 8.

    Neighbors correlate by 0.1, which alone would leave 330 blocks; the sum of all
    autocorrelations is far larger.
    """
    rng = np.random.default_rng(8)
    swing = math.sqrt(0.2) * np.sin(np.arange(400) / 400 * 4 * np.pi)
    found = [effective_n(rng.normal(size=400) * math.sqrt(0.9) + swing) for _ in range(50)]
    assert np.median(found) < 200


def test_effective_n_finds_the_true_number(autoregressive: Draw) -> None:
    """An autoregression of 0.5 is worth a third of its blocks; 300 of 2,000, seed 6."""
    draws = autoregressive(np.random.default_rng(6), 300, 2000, 0.5)
    assert np.mean([effective_n(d) for d in draws]) == pytest.approx(2000 / 3, rel=0.10)


def test_the_prior_charges_few_blocks_and_fades() -> None:
    """Independent blocks, 200 series each, seed 9: a proof pays more than an alarm."""
    rng = np.random.default_rng(9)
    kept = {}
    for n in (14, 1000):
        draws = rng.normal(size=(200, n))
        kept[n] = np.mean([paired_mean(d).n_effective / n for d in draws])
        assert kept[n] < np.mean([effective_n(d) / n for d in draws])
    assert kept[14] < 0.65
    assert kept[1000] > 0.88


def test_without_time_the_order_means_nothing() -> None:
    """Sorted values look as dependent as can be; as single rows they are independent."""
    d = np.sort(np.random.default_rng(10).normal(0.2, 1.0, size=300))
    found = paired_mean(d, ordered=False)
    assert found.n_effective == found.n == 300
    assert paired_mean(d).n_effective < 30
    oracle = stats.ttest_1samp(d, 0.0, alternative="greater")
    assert found.p_value() == pytest.approx(oracle.pvalue, rel=1e-9)


def test_a_million_independent_blocks_keep_nearly_all_they_are_worth() -> None:
    """Breaks when the memory grows with lags times blocks; bench.gate has the time."""
    d = np.random.default_rng(11).normal(size=1_000_000)
    found = paired_mean(d)
    assert found.n_effective > 900_000


def test_alternating_blocks_earn_no_credit() -> None:
    assert effective_n([1.0, -1.0] * 20) == 40.0


def test_it_finds_what_the_power_function_promises() -> None:
    """Effect 0.7 sd, 20 blocks: promised 0.92; the charge costs 16 points.

    4,000 looks, seed 7, standard error below 0.006.
    """
    promised = power_of(0.7, 1.0, 20, ALPHA)
    draws = np.random.default_rng(7).normal(0.7, 1.0, size=(4000, 20))
    share = np.mean([paired_mean(d).lower(ALPHA) > 0 for d in draws])
    assert promised - 0.20 < share < promised - 0.10


def test_one_block_bounds_nothing() -> None:
    found = paired_mean([0.5])
    assert (found.lower(ALPHA), found.upper(ALPHA)) == (-math.inf, math.inf)
    assert found.p_value() == 1.0


def test_equal_blocks_are_certain() -> None:
    found = paired_mean([0.25] * 5)
    assert found.lower(ALPHA) == found.upper(ALPHA) == 0.25
    assert (found.p_value(0.2), found.p_value(0.25)) == (0.0, 1.0)


def test_a_nan_block_is_refused() -> None:
    with pytest.raises(Invalid, match="1 of 3"):
        paired_mean([0.1, np.nan, 0.2])


@settings(max_examples=100, deadline=None)
@given(SERIES, st.floats(0.01, 100), st.floats(-100, 100))
def test_bounds_move_with_shift_and_scale(
    d: NDArray[np.float64], scale: float, shift: float
) -> None:
    """A loss in other units must give the same verdict."""
    # Series without spread relative to the shift are all rounding error.
    if np.ptp(d) < 1e-3:
        d = d + np.arange(d.size)
    before, after = paired_mean(d), paired_mean(scale * d + shift)
    size = scale * np.abs(d).max() + abs(shift) + 1
    for bound in ("lower", "upper"):
        expected = scale * getattr(before, bound)(ALPHA) + shift
        assert getattr(after, bound)(ALPHA) == pytest.approx(expected, rel=1e-6, abs=1e-6 * size)


@settings(max_examples=100, deadline=None)
@given(SERIES)
def test_swapping_the_models_mirrors_the_bounds(d: NDArray[np.float64]) -> None:
    there, back = paired_mean(d), paired_mean(-d)
    assert there.lower(ALPHA) == pytest.approx(-back.upper(ALPHA), rel=1e-9, abs=1e-12)
    assert 1.0 <= there.n_effective <= there.n
