"""Breaks when the worst of several harms is bounded as if it had been the only one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from renewal.core.errors import Invalid
from renewal.evaluate.harm import Worst, worst_of

ALPHA = 0.05
Floats = NDArray[np.float64]


def of_blocks(
    blocks: Floats, *, n_boot: int = 500, seed: int = 0, is_ordered: bool = False
) -> Worst:
    """Return the worst of the means over blocks, shape (n_blocks, m), blocks drawn again."""
    n = len(blocks)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot)
    without = (blocks.sum(axis=0) - blocks) / (n - 1) if is_ordered else None
    return worst_of(blocks.mean(axis=0), drawn @ blocks / n, n_blocks=n, without=without)


@pytest.mark.parametrize(("n_blocks", "most"), [(12, 0.09), (40, 0.07)])
def test_the_worst_of_ten_harmless_ones_is_rarely_called_harmful(
    n_blocks: int, most: float
) -> None:
    """400 looks, seed 1; without the joint bound about 40% would be. Sd of the share: 0.011."""
    rng = np.random.default_rng(1)
    looks = [of_blocks(rng.normal(size=(n_blocks, 10)), seed=at) for at in range(400)]
    assert np.mean([each.p_value(0.0) <= ALPHA for each in looks]) <= most
    singly = [(each.values / each.se).max() > 1.645 for each in looks]
    assert np.mean(singly) > 0.3


def test_days_that_resemble_each_other_are_paid_for() -> None:
    """Three harmless ones, neighbors correlate by 0.5, 28 blocks; 400 looks, seed 8.

    As independent blocks they are called harmful several times as often as said.
    """
    rng = np.random.default_rng(8)
    shown = np.zeros(2)
    for at in range(400):
        days = rng.normal(size=(60, 3))
        for day in range(1, 60):
            days[day] += 0.5 * days[day - 1]
        for place, is_ordered in enumerate((False, True)):
            worst = of_blocks(days[32:], n_boot=300, seed=at, is_ordered=is_ordered)
            shown[place] += worst.p_value(0.0) <= ALPHA
    naive, paid = shown / 400
    assert naive > 0.15
    assert paid <= 0.08


def test_a_real_harm_among_harmless_ones_is_found_and_named() -> None:
    blocks = np.random.default_rng(2).normal(size=(40, 10))
    blocks[:, 7] += 1.0
    worst = of_blocks(blocks)
    assert worst.p_value(0.0) < 0.01
    assert worst.p_value(0.2) < 0.05
    assert worst.at() == worst.at(0.2) == 7
    assert 0.2 < worst.lower(ALPHA) < worst.value < worst.upper(ALPHA) < 1.6


def test_the_largest_is_not_always_the_surest() -> None:
    """Breaks when a group of three rows is named in place of the one that is harmed."""
    rng = np.random.default_rng(3)
    seen = np.array([0.3, 0.2])
    worst = worst_of(seen, seen + rng.normal(size=(2000, 2)) * [0.3, 0.01], n_blocks=50)
    assert (worst.at(), worst.at(0.0)) == (0, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 0.5), st.floats(-0.5, 0.5))
def test_the_bound_is_above_a_margin_exactly_where_the_p_value_is_small(
    seed: int, alpha: float, margin: float
) -> None:
    worst = of_blocks(np.random.default_rng(seed).normal(size=(20, 4)), n_boot=199, seed=seed)
    assert (worst.lower(alpha) > margin) == (worst.p_value(margin) <= alpha)


def test_nothing_to_tell_is_no_harm_shown() -> None:
    empty = worst_of([], np.zeros((0, 0)), n_blocks=0)
    undefined = worst_of([np.nan], np.full((100, 1), np.nan), n_blocks=30)
    one_block = worst_of([0.5], np.full((100, 1), 0.5), n_blocks=1)
    for worst in (empty, undefined, one_block):
        assert not worst.can_tell
        assert math.isnan(worst.lower(ALPHA))
        assert math.isnan(worst.upper(ALPHA))
        assert worst.p_value(0.0) == 1.0
    assert empty.at() == empty.at(0.0) == undefined.at() == -1
    assert math.isnan(empty.value)
    assert one_block.value == 0.5


def test_samples_without_a_value_count_against_a_claim() -> None:
    """A group that every tenth sample lacks must not look surer than one that is always there."""
    rng = np.random.default_rng(4)
    drawn = 0.3 + 0.01 * rng.normal(size=(1000, 1))
    assert worst_of([0.3], drawn, n_blocks=40).p_value(0.0) < 0.01
    drawn[::10] = np.nan
    worst = worst_of([0.3], drawn, n_blocks=40)
    assert worst.p_value(0.0) > 0.1
    assert worst.lower(ALPHA) == -math.inf


def test_a_level_below_what_samples_tell_shows_nothing() -> None:
    worst = of_blocks(5.0 + np.random.default_rng(5).normal(size=(40, 2)), n_boot=100)
    assert worst.p_value(0.0) == pytest.approx(1 / 101)
    assert worst.lower(0.001) == -math.inf


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(Invalid, match="one column of samples"):
        worst_of([0.1, 0.2], np.zeros((10, 3)), n_blocks=5)


def test_the_bound_that_excludes_harm_is_students() -> None:
    """One harm, 8 blocks: the upper bound is that of the t test, to a percent of its reach."""
    blocks = np.random.default_rng(6).normal(size=(8, 1))
    worst = of_blocks(blocks, n_boot=20_000)
    interval = stats.ttest_1samp(blocks[:, 0], 0.0).confidence_interval(1 - 2 * ALPHA)
    assert worst.upper(ALPHA) == pytest.approx(
        interval.high, abs=0.02 * (interval.high - worst.value)
    )


def test_the_largest_true_harm_is_rarely_above_its_upper_bound() -> None:
    """400 looks at five harms, the largest 0.5; 15 blocks, seed 7; three standard errors."""
    rng = np.random.default_rng(7)
    true = np.array([0.5, 0.5, 0.0, -1.0, 0.2])
    looks = [of_blocks(true + rng.normal(size=(15, 5)), seed=at) for at in range(400)]
    assert np.mean([each.upper(ALPHA) < 0.5 for each in looks]) <= 0.05 + 0.033
