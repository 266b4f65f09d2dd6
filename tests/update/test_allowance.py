"""Time for trials, and time for the fits that must follow."""

from __future__ import annotations

import pytest

from renewal.core.errors import Refused
from renewal.update.allowance import Allowance, demand_time


def test_the_last_fit_has_its_time() -> None:
    """Breaks when trials use up what the last fit needs."""
    allowance = Allowance(1000.0)
    assert allowance.allows(1.0)  # nobody knows yet
    allowance.note(1.0, 400.0)
    assert allowance.allows(1.0)
    assert Allowance(1000.0, n_fits=2).allows(1.0)
    several = Allowance(1000.0, n_fits=2)
    several.note(1.0, 400.0)
    assert not several.allows(1.0)
    assert several.allows(0.1)


def test_the_dearest_fit_counts() -> None:
    """Breaks when a cheap trial after a dear one makes room that is not there."""
    allowance = Allowance(100.0)
    allowance.note(0.5, 60.0)
    allowance.note(1.0, 1.0)
    assert not allowance.allows(0.1)


def test_without_a_budget_there_is_time() -> None:
    allowance = Allowance(None)
    allowance.note(0.01, 1e9)
    assert allowance.allows(1.0)


def test_a_budget_below_one_fit_is_refused_before_it_starts() -> None:
    """Breaks when a race of two minutes starts a fit of an hour."""
    with pytest.raises(Refused, match=r"50\.0 s for one fit of 500 rows.*budget of 20\.0 s"):
        demand_time({"fit_s": 100.0}, 1000, 500, 20.0)
    demand_time({"fit_s": 100.0}, 1000, 500, 60.0)
    demand_time({"fit_s": 100.0}, 1000, 500, None)


def test_what_nobody_timed_is_not_refused() -> None:
    """Breaks when a champion that was trained elsewhere can never be retrained."""
    demand_time({}, 1000, 500, 0.001)
    demand_time({"fit_s": 100.0}, 0, 500, 0.001)
    # Ten times the rows may well take ten times as long; that much is not certain.
    demand_time({"fit_s": 1.0}, 100, 1000, 2.0)
