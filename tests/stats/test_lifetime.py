"""Breaks when the budget for life can be overspent, or a p-value counts for too much."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.lifetime import all_or_nothing, granted_level, spending

BUDGET = 0.05


@pytest.mark.parametrize("horizon", [1, 12, 520])
def test_the_shares_of_all_updates_sum_to_one(horizon: int) -> None:
    """The tail after T telescopes to 0.05 * horizon / T, so the sum is known exactly."""
    last = 20_000
    total = math.fsum(spending(t, horizon) for t in range(1, last + 1))
    assert total + 0.05 * horizon / last == pytest.approx(1.0, abs=1e-12)
    within = math.fsum(spending(t, horizon) for t in range(1, horizon + 1))
    assert within == pytest.approx(0.95, abs=1e-12)


def test_shares_fall_and_never_reach_zero() -> None:
    shares = [spending(t) for t in range(1, 3000)]
    assert all(later < earlier for earlier, later in pairwise(shares))
    assert spending(10**9) > 0.0


def test_acceptances_earn_levels_up_to_the_budget() -> None:
    assert granted_level(BUDGET, 9, 3) == pytest.approx(4 * granted_level(BUDGET, 9, 0))
    assert granted_level(BUDGET, 500, 500) <= BUDGET
    assert granted_level(0.9, 1, 1, horizon=1) <= 0.9


def test_one_of_32_null_candidates_is_accepted_in_at_most_a_budget_of_lives() -> None:
    """4,000 lives, seed 1; tolerance 3 standard errors of the budget (one run in 700)."""
    p = np.random.default_rng(1).random((4000, 32))
    levels = np.array([granted_level(BUDGET, t, 0) for t in range(32)])
    any_accepted = float((p <= levels).any(axis=1).mean())
    assert any_accepted <= BUDGET + 3 * math.sqrt(BUDGET * (1 - BUDGET) / 4000)
    # The naive rule: each at 5%. It promotes a null candidate in four lives of five.
    assert (p <= BUDGET).any(axis=1).mean() > 0.75


@pytest.mark.parametrize("share_good", [0.02, 0.1, 0.5])
def test_the_share_of_wrong_acceptances_stays_within_the_budget_for_life(
    share_good: float,
) -> None:
    """1,000 lives of 500 updates, good ones shifted by 3 standard errors, seed 2.

    Null candidates are worse or equal, half each. Tolerance 3 standard errors of the mean.
    """
    rng = np.random.default_rng(2)
    n_lives, n_updates = 1000, 500
    is_good = rng.random((n_lives, n_updates)) < share_good
    shift = np.where(is_good, 3.0, np.where(rng.random(is_good.shape) < 0.5, 0.0, -1.0))
    p = special.ndtr(-rng.normal(size=is_good.shape) - shift)
    grid = np.array([spending(t) for t in range(1, n_updates + 1)]) * BUDGET
    n_accepted, n_wrong = np.zeros(n_lives), np.zeros(n_lives)
    for t in range(n_updates):
        accepted = p[:, t] <= np.minimum(BUDGET, grid[t] * (n_accepted + 1))
        n_wrong += accepted & ~is_good[:, t]
        n_accepted += accepted
    false_share = n_wrong / np.maximum(n_accepted, 1)
    error = float(false_share.std()) / math.sqrt(n_lives)
    assert false_share.mean() <= BUDGET + 3 * error
    assert n_accepted.mean() > 0.1 * share_good * n_updates  # it does not just say no


def test_e_values_of_a_null_average_to_at_most_one() -> None:
    """By the midpoint rule over uniform p-values: the mean under the null, no simulation."""
    grid = (np.arange(200_000) + 0.5) / 200_000
    assert np.mean([all_or_nothing(p, 0.01) for p in grid]) == pytest.approx(1.0)


def test_all_or_nothing_reaches_the_threshold_with_the_level() -> None:
    assert all_or_nothing(0.01, 0.01) >= 1 / 0.01
    assert all_or_nothing(0.0100001, 0.01) == 0.0


def test_what_is_refused_names_its_remedy() -> None:
    with pytest.raises(Invalid, match="3 accepted of 2 tested"):
        granted_level(BUDGET, 2, 3)
    with pytest.raises(Invalid, match="budget strictly between"):
        granted_level(0.0, 2, 1)
    with pytest.raises(Invalid, match="Count updates from 1"):
        spending(0)
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(Invalid, match="p-value between 0 and 1"):
            all_or_nothing(p, 0.01)
