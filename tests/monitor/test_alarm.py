"""Alarms: a sentence with its numbers, and what waiting costs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from renewal.monitor.alarm import Alarm, drift_alarm, performance_alarm
from renewal.monitor.drift import FeatureDrift
from renewal.monitor.options import MonitorOptions
from renewal.monitor.performance import BlockLoss, Performance, take_in
from renewal.registry.codec import from_plain, to_plain

_AT = datetime(2013, 3, 1, tzinfo=UTC)


def _worse() -> Performance:
    state = Performance()
    for block in range(21):
        value = 0.40 + 0.01 * (block % 3) if block < 7 else 0.50 + 0.01 * (block % 3)
        state = take_in(state, BlockLoss(block, value, 900), MonitorOptions())
    return state


def _drift(name: str, psi: float, *, has_drifted: bool = True) -> FeatureDrift:
    return FeatureDrift(name, psi, 0.25, 1e-9, psi - 0.01, has_drifted, "from 12.5: 10% -> 31%")


def test_the_cost_of_waiting_is_excess_times_rows_a_day() -> None:
    """(.51143 - .40857) a row, 900 rows a day: 92.6 a day."""
    alarm = performance_alarm("v", _AT, _worse())
    assert alarm.expected_cost == pytest.approx(92.571, abs=0.001)
    assert alarm.sentence == (
        "loss 0.5114 a row over the last 7 blocks, 0.4086 over the first 7: +0.1029; "
        "expected cost of doing nothing: 92.6 loss a day (900 rows a day)"
    )
    assert alarm.evidence["n_rows"] == 6300
    assert alarm.evidence["log_detector"] > 5.9  # ln 365


def test_drift_names_the_three_largest_and_keeps_all() -> None:
    found = [_drift(name, 2.0 - i / 10) for i, name in enumerate("abcd")]
    found.append(_drift("quiet", 0.01, has_drifted=False))
    alarm = drift_alarm("v", _AT, found, n_rows=6300, window_days=7, performance=Performance())
    assert alarm.sentence.startswith(
        "4 of 5 features drifted over 7 days (6,300 rows): "
        "a (PSI 2.00, 0.25 needed; from 12.5: 10% -> 31%), b (PSI 1.90"
    )
    assert "and 1 more; expected cost of doing nothing: unknown until labels" in alarm.sentence
    assert alarm.expected_cost is None
    assert list(alarm.evidence["features"]) == list("abcd")


def test_drift_costs_what_the_labels_say() -> None:
    """Breaks when a shift that costs nothing is announced with a price, or the reverse."""
    found = [_drift("a", 1.0)]
    alarm = drift_alarm("v", _AT, found, n_rows=100, window_days=7, performance=_worse())
    assert alarm.expected_cost == pytest.approx(92.571, abs=0.001)
    better = Performance()
    for block in range(21):
        value = 0.40 + 0.01 * (block % 3) if block < 7 else 0.2
        better = take_in(better, BlockLoss(block, value, 900), MonitorOptions())
    alarm = drift_alarm("v", _AT, found, n_rows=100, window_days=7, performance=better)
    assert alarm.expected_cost == 0.0


def test_an_alarm_survives_json() -> None:
    for alarm in (
        performance_alarm("v", _AT, _worse()),
        drift_alarm("v", _AT, [_drift("a", 1)], n_rows=9, window_days=7, performance=_worse()),
    ):
        assert from_plain(Alarm, to_plain(alarm)) == alarm
