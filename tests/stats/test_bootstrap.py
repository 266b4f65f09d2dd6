"""Breaks when resampling forgets pairs, blocks or strata, or its bounds err too often."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.stats.bootstrap import Bootstrapped, bootstrap_totals, bootstrap_weights
from renewal.stats.paired import PRIOR_BLOCKS, effective_n, paired_mean

ALPHA = 0.05
Floats = NDArray[np.float64]


def f1_gain(totals: Floats) -> Floats:
    tp, fp, fn, tp_new, fp_new, fn_new = np.moveaxis(totals, -1, 0)
    was, now = 2 * tp / (2 * tp + fp + fn), 2 * tp_new / (2 * tp_new + fp_new + fn_new)
    return np.asarray(now - was, dtype=np.float64)


def blocks_of_equal_versions(rng: np.random.Generator, n_blocks: int, n_rows: int) -> Floats:
    """Return counts of two versions of one F1; blocks differ in difficulty and in luck of each."""
    truth = rng.random((n_blocks, n_rows)) < 0.2
    common = 0.8 * rng.normal(size=(n_blocks, n_rows))
    counts = []
    for _ in range(2):
        luck = 0.3 * rng.normal(size=(n_blocks, 1))
        said = 1.6 * truth - 0.8 + common + luck + 0.6 * rng.normal(size=truth.shape) > 0.6
        counts += [(said & truth).sum(1), (said & ~truth).sum(1), (~said & truth).sum(1)]
    return np.stack(counts, axis=1).astype(np.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 99))
def test_totals_are_weights_times_counts_within_strata(n: int, n_strata: int, seed: int) -> None:
    """One draw serves all columns, and the blocks of each stratum stay as many as they are."""
    rng = np.random.default_rng(seed)
    strata, counts = rng.integers(n_strata, size=n), rng.integers(9, size=(n, 3))
    weights = np.stack(list(bootstrap_weights(n, n_boot=20, seed=seed, strata=strata)))
    totals = bootstrap_totals(counts, n_boot=20, seed=seed, strata=strata)
    assert np.array_equal(totals, weights @ counts)
    for stratum in np.unique(strata):
        assert (weights[:, strata == stratum].sum(1) == (strata == stratum).sum()).all()


def test_same_seed_same_totals_and_another_seed_others() -> None:
    counts = np.random.default_rng(1).integers(9, size=(5000, 2))
    first, again = (bootstrap_totals(counts, n_boot=50, seed=3) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, bootstrap_totals(counts, n_boot=50, seed=4))


def test_error_of_a_mean_is_that_of_the_t_test() -> None:
    """20,000 replicates, seed 2; the error of an error is then 0.5%, tolerance 2%."""
    values = np.random.default_rng(2).normal(size=(25, 1))
    samples = bootstrap_totals(values, n_boot=20_000)[:, 0] / 25
    found = Bootstrapped(float(values.mean()), samples, n_blocks=25)
    oracle = paired_mean(values[:, 0])
    assert found.se == pytest.approx(oracle.sd / 5, rel=0.02)
    assert found.p_value(found.lower(ALPHA)) == pytest.approx(ALPHA, rel=1e-9)


@pytest.mark.parametrize("n_blocks", [2003, 2500, 30_011])
def test_merging_many_blocks_leaves_the_error_as_it_is(n_blocks: int) -> None:
    """Totals of a heavy-tailed count, seed 3, 4,000 replicates.

    1,000 groups tell a standard deviation to 2.3%, and 4,000 replicates to 1.1%: tolerance 8%.
    """
    counts = np.random.default_rng(3).geometric(0.3, size=(n_blocks, 1)) - 1.0
    totals = bootstrap_totals(counts, n_boot=4000)[:, 0]
    assert totals.std() == pytest.approx(counts.std() * math.sqrt(n_blocks), rel=0.08)
    assert totals.mean() == pytest.approx(counts.sum(), abs=5 * totals.std() / math.sqrt(4000))


def test_merging_keeps_the_size_of_every_stratum() -> None:
    """Drawn by label, the number of positives must not vary; at most one group is larger."""
    truth = np.random.default_rng(4).random(40_000) < 0.1
    totals = bootstrap_totals(np.stack([truth, ~truth], 1), n_boot=300, strata=truth)
    assert (totals.std(0) / totals.mean(0) < 1e-3).all()


def test_a_million_single_row_blocks_are_within_reach() -> None:
    """Breaks when memory grows with blocks times resamples; bench.gate has the time."""
    counts = np.random.default_rng(5).random((1_000_000, 6)) < 0.3
    totals = bootstrap_totals(counts)
    assert totals.shape == (2000, 6)
    assert np.abs(totals.mean(0) / counts.sum(0) - 1.0).max() < 0.001


@pytest.mark.parametrize(("n_blocks", "n_rows"), [(14, 40), (30, 40), (100, 20)])
def test_equal_versions_are_called_better_or_worse_alpha_of_the_time(
    n_blocks: int, n_rows: int
) -> None:
    """Differences of F1, both sides, 1,000 trials, seed 6.

    Tolerance 3 standard errors and one point, which is what small samples of a ratio cost.
    """
    rng = np.random.default_rng(6)
    wrong = np.zeros(2)
    for trial in range(1000):
        counts = blocks_of_equal_versions(rng, n_blocks, n_rows)
        samples = f1_gain(bootstrap_totals(counts, n_boot=200, seed=trial))
        found = Bootstrapped(float(f1_gain(counts.sum(0))), samples, n_blocks)
        wrong += found.lower(ALPHA) > 0, found.upper(ALPHA) < 0
    most = ALPHA + 0.01 + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 1000)
    assert (wrong / 1000 <= most).all()
    assert (wrong / 1000 >= ALPHA / 3).all()


def test_blocks_that_resemble_their_neighbors_widen_the_error_like_the_paired_mean() -> None:
    """Each value shares four of five parts with the next; 20,000 replicates, tolerance 2%."""
    values = np.convolve(np.random.default_rng(8).normal(size=104), np.ones(5), "valid")
    samples = bootstrap_totals(values[:, None], n_boot=20_000)[:, 0] / 100
    found = Bootstrapped(
        float(values.mean()), samples, 100, effective_n(values, prior_blocks=PRIOR_BLOCKS)
    )
    oracle = paired_mean(values)
    assert oracle.n_effective < 50
    assert found.se == pytest.approx(oracle.se, rel=0.02)
    assert found.upper(ALPHA) - found.observed == pytest.approx(
        oracle.upper(ALPHA) - oracle.mean, rel=0.02
    )


def test_undefined_replicates_are_dropped_and_counted() -> None:
    samples = np.random.default_rng(7).normal(size=1000)
    samples[:50] = math.nan
    found = Bootstrapped(0.0, samples, n_blocks=30)
    assert found.n_undefined == 50
    assert found.se == pytest.approx(samples[50:].std() * math.sqrt(30 / 29))


@pytest.mark.parametrize(
    "found",
    [
        Bootstrapped(0.5, np.array([math.nan] * 11 + [0.5] * 89), 30),
        Bootstrapped(math.nan, np.zeros(100), 30),
        Bootstrapped(0.5, np.zeros(100), 1),
    ],
    ids=["over 10% undefined", "observed undefined", "one block"],
)
def test_what_cannot_be_told_is_nan_and_never_a_pass(found: Bootstrapped) -> None:
    assert math.isnan(found.lower(ALPHA))
    assert math.isnan(found.upper(ALPHA))
    assert found.p_value(-10.0) == 1.0


def test_a_statistic_that_never_varies_is_its_own_bound() -> None:
    found = Bootstrapped(0.0, np.zeros(100), 30)
    assert found.lower(ALPHA) == found.upper(ALPHA) == 0.0
    assert (found.p_value(0.0), found.p_value(-0.01)) == (1.0, 0.0)


def test_what_is_refused_names_its_remedy() -> None:
    with pytest.raises(Invalid, match="shape"):
        bootstrap_totals([1.0, 2.0])
    with pytest.raises(Invalid, match="1 not finite"):
        bootstrap_totals([[1.0], [math.nan]])
    with pytest.raises(Invalid, match="one stratum for each block"):
        bootstrap_weights(3, strata=[0, 1])
    with pytest.raises(Invalid, match="at least one block"):
        bootstrap_weights(0)
