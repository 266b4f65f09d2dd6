"""Breaks when a promised power is not the power, or when a search never ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from renewal.core.errors import Invalid
from renewal.stats.power import blocks_needed, power_of


@pytest.mark.parametrize(
    ("effect", "n", "alpha"), [(0.5, 27, 0.05), (0.8, 14, 0.025), (0.1, 500, 0.01)]
)
def test_power_is_the_noncentral_t_of_scipy(effect: float, n: int, alpha: float) -> None:
    critical = stats.t.ppf(1 - alpha, n - 1)
    oracle = stats.nct.sf(critical, n - 1, math.sqrt(n) * effect)
    assert power_of(effect, 1.0, n, alpha) == pytest.approx(oracle, rel=1e-9)


def test_power_is_how_often_a_t_test_finds_it() -> None:
    """20,000 simulated tests, seed 1, standard error 0.003, tolerance 4 of them."""
    d = np.random.default_rng(1).normal(0.6, 1.0, size=(20_000, 15))
    t = d.mean(axis=1) / d.std(axis=1, ddof=1) * math.sqrt(15)
    found = np.mean(t > stats.t.ppf(0.95, 14))
    assert found == pytest.approx(power_of(0.6, 1.0, 15, 0.05), abs=0.012)


@pytest.mark.parametrize(
    ("d", "p", "rows"),
    [(0.005, 0.05, 12_364), (0.01, 0.02, 1235), (0.01, 0.05, 3090), (0.02, 0.10, 1544)],
)
def test_rows_for_a_paired_difference_agree_with_connor(d: float, p: float, rows: int) -> None:
    """Connor (1987) for McNemar's test; ours is the t test of the same rows, within 2%."""
    assert blocks_needed(d, math.sqrt(p - d * d), 0.05, 0.8) == pytest.approx(rows, rel=0.02)


def test_the_normal_branch_joins_the_noncentral_one() -> None:
    below, above = power_of(0.018, 1.0, 19_999, 0.05), power_of(0.018, 1.0, 20_001, 0.05)
    assert above == pytest.approx(below, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 3), st.floats(0.005, 0.2), st.floats(0.5, 0.95))
def test_blocks_needed_are_the_fewest(effect: float, alpha: float, power: float) -> None:
    n = blocks_needed(effect, 1.0, alpha, power)
    assert power_of(effect, 1.0, n, alpha) >= power
    assert n == 2 or power_of(effect, 1.0, n - 1, alpha) < power
    assert blocks_needed(effect * 8, 8.0, alpha, power) == pytest.approx(n, abs=1)


def test_edges() -> None:
    assert power_of(1.0, 1.0, 1, 0.05) == 0.0
    assert power_of(1.0, 0.0, 5, 0.05) == 1.0
    assert power_of(-1.0, 0.0, 5, 0.05) == 0.0
    assert power_of(-0.5, 1.0, 30, 0.05) < 0.05
    assert blocks_needed(1.0, 0.0, 0.05) == 2
    assert blocks_needed(1e-12, 1.0, 0.05) == 10**12


@pytest.mark.parametrize("effect", [0.0, -1.0, math.nan])
def test_no_number_of_blocks_proves_what_is_not_there(effect: float) -> None:
    with pytest.raises(Invalid, match="positive effect"):
        blocks_needed(effect, 1.0, 0.05)


@pytest.mark.parametrize("sd", [-1.0, math.nan, math.inf])
def test_a_deviation_that_is_none_is_refused(sd: float) -> None:
    with pytest.raises(Invalid, match="standard deviation"):
        power_of(1.0, sd, 10, 0.05)
