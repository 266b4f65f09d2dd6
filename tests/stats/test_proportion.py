"""Breaks when a bound of a share differs from its oracle, or flips are counted the wrong way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.proportion import flips, share_lower, share_upper

ALPHA = 0.05


@pytest.mark.parametrize(
    ("n_events", "n_rows", "upper"),
    [
        (0, 299, 0.00996915),
        (0, 2995, 0.00099974),
        (7, 1000, 0.01310772),
        (20, 5000, 0.00580713),
    ],
)
def test_upper_bounds_of_clopper_and_pearson(n_events: int, n_rows: int, upper: float) -> None:
    assert share_upper(n_events, n_rows, ALPHA) == pytest.approx(upper, abs=5e-9)


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.001, 0.5))
def test_bounds_are_where_the_binomial_tail_is_alpha(k: int, extra: int, alpha: float) -> None:
    """`bdtr(k, n, p)` is the chance of k events or fewer."""
    n = k + extra
    assert special.bdtr(k, n, share_upper(k, n, alpha)) == pytest.approx(alpha, rel=1e-6)
    if k:
        assert 1 - special.bdtr(k - 1, n, share_lower(k, n, alpha)) == pytest.approx(
            alpha, rel=1e-6
        )
    assert share_lower(k, n, alpha) == pytest.approx(1 - share_upper(n - k, n, alpha), abs=1e-9)


def test_all_or_none_leave_one_side_open() -> None:
    assert (share_lower(0, 10, ALPHA), share_upper(10, 10, ALPHA)) == (0.0, 1.0)
    assert (share_lower(0, 0, ALPHA), share_upper(0, 0, ALPHA)) == (0.0, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_the_change_of_the_error_is_negative_minus_positive_flips(
    rows: list[tuple[bool, bool]],
) -> None:
    was, now = zip(*rows, strict=True)
    found = flips(was, now)
    change = found.error_candidate - found.error_baseline
    assert change == pytest.approx(found.negative_rate - found.positive_rate, abs=1e-12)


def test_relative_rate_is_one_when_errors_have_nothing_in_common() -> None:
    """200,000 rows, seed 1: the rate's standard error is 0.7% of it, tolerance 3%."""
    rng = np.random.default_rng(1)
    was, now = rng.random(200_000) < 0.8, rng.random(200_000) < 0.9
    assert flips(was, now).relative_rate == pytest.approx(1.0, abs=0.03)
    assert flips(was, was).relative_rate == 0.0
    assert math.isnan(flips([True], [True]).relative_rate)


def test_p_value_meets_alpha_at_the_lower_bound() -> None:
    found = flips([True] * 100, [False] * 6 + [True] * 94)
    assert found.p_value(found.lower(ALPHA)) == pytest.approx(ALPHA, rel=1e-6)
    assert found.p_value(0.0) == 0.0
    assert found.p_value(1.0) == flips([True], [True]).p_value(0.0) == 1.0


def test_no_flip_in_seven_days_is_no_certainty() -> None:
    """The spread of seven zeros is zero; the exact bound of as many rows must stay."""
    right, day = np.ones(70, bool), np.repeat(np.arange(7), 10)
    found = flips(right, right, blocks=day)
    assert found.upper(ALPHA) == share_upper(0, 70, ALPHA) > 0.04
    assert flips(right, right, blocks=np.zeros(70)).upper(ALPHA) == 1.0


def test_flips_that_come_in_bursts_widen_both_bounds() -> None:
    """All flips fall into two days of twenty."""
    was, day = np.ones(400, bool), np.repeat(np.arange(20), 20)
    now = ~((day < 2) & (np.arange(400) % 2 == 0))
    by_row, by_day = flips(was, now), flips(was, now, blocks=day)
    assert by_day.negative_rate == by_row.negative_rate == 0.05
    assert by_day.upper(ALPHA) > by_row.upper(ALPHA)
    assert 0.0 <= by_day.lower(ALPHA) < by_row.lower(ALPHA)
    assert by_day.p_value(0.02) > by_row.p_value(0.02)


def test_bursts_keep_the_level_in_blocks() -> None:
    """30 days of 50 rows whose rate varies by day, 1,000 looks, seed 2, both sides.

    Tolerance on the upper bound one point and 3 standard errors: rates are skewed.
    """
    rng = np.random.default_rng(2)
    day, was = np.repeat(np.arange(30), 50), np.ones(1500, bool)
    wrong = np.zeros(2)
    for _ in range(1000):
        rate = rng.beta(4.0, 36.0, size=30)[day]
        found = flips(was, rng.random(1500) >= rate, blocks=day)
        wrong += found.upper(ALPHA) < 0.1, found.lower(ALPHA) > 0.1
    assert (wrong / 1000 <= ALPHA + 0.01 + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 1000)).all()


def test_what_is_refused_names_its_remedy() -> None:
    with pytest.raises(Invalid, match="3 events in 2 rows"):
        share_upper(3, 2, ALPHA)
    with pytest.raises(Invalid, match="at least one"):
        flips([], [])
    with pytest.raises(Invalid, match="one block for each of 2 rows"):
        flips([True, True], [True, False], blocks=[1])
    with pytest.raises(Invalid, match="alpha strictly between"):
        share_lower(1, 2, 1.5)
