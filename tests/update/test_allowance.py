"""Time for trials, and time for the fits that must follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sklearn.naive_bayes import GaussianNB

from renewal.core.errors import Refused
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.update.allowance import ONE_FIT, Allowance, demand_time
from renewal.update.contract import Parent

ParentOf = Callable[..., Parent]


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


def champion(parent_of: ParentOf, rows: Rows, facts: dict[str, Any], **changed: Any) -> Version:
    """Return a version that was fitted on 1,000 rows, with what is known of it."""
    version = parent_of(GaussianNB(), rows).version
    manifest = replace(version.manifest, **{"n_trained_rows": 1000, **changed})
    return replace(version, manifest=manifest, facts=facts)


def test_a_budget_below_one_fit_is_refused_before_it_starts(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when a race of two minutes starts a fit of an hour."""
    told = champion(parent_of, timed, {"fit_s": 100.0})
    with pytest.raises(Refused, match=r"50\.0 s for one fit of 500 rows.*budget of 20\.0 s"):
        demand_time(told, 500, 20.0)
    demand_time(told, 500, 60.0)
    demand_time(told, 500, None)
    # Ten times the rows may well take ten times as long; that much is not certain.
    demand_time(told, 10_000, 101.0)


def test_what_nobody_timed_is_not_refused(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a champion of unknown cost, or with thirty trials, can never be retrained."""
    tuned: dict[str, Any] = {"fit_s": 3000.0, "tuning": {}}
    for told in (
        champion(parent_of, timed, {}),
        champion(parent_of, timed, {"fit_s": 100.0}, n_trained_rows=0),
        champion(parent_of, timed, {"fit_s": 100.0}, strategy="fine_tune"),
        champion(parent_of, timed, tuned, strategy="retrain"),
    ):
        demand_time(told, 500, 0.001)
    one = champion(parent_of, timed, {**tuned, ONE_FIT: 100.0}, strategy="retrain")
    with pytest.raises(Refused, match=r"100\.0 s for 1,000"):
        demand_time(one, 500, 20.0)
