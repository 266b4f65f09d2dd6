"""Looks: each row and block once, each alarm once, whenever and however often one looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from renewal.core.clock import to_us
from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.monitor.alarm import Alarm
from renewal.monitor.options import MonitorOptions
from renewal.monitor.performance import BlockLoss
from renewal.monitor.reference import Reference, reference_of
from renewal.monitor.watch import MonitorState, acknowledge, begin, look
from renewal.registry.codec import from_plain, to_plain

Make = Callable[..., Rows]

_START = datetime(2013, 2, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000
_FIRST_DAY = to_us(_START) // _DAY_US
_OPTIONS = MonitorOptions()
_PER_DAY = 100


def _day(number: float) -> datetime:
    return _START + timedelta(days=number)


@pytest.fixture(scope="module")
def reference(make_rows: Make) -> Reference:
    rng = np.random.default_rng(1)
    return reference_of(make_rows({"x": rng.normal(size=3000)}), _OPTIONS)


@pytest.fixture(scope="module")
def traffic(make_rows: Make) -> Rows:
    """Return 40 days of 100 rows; from day 20 on x lies 2 deviations higher."""
    rng = np.random.default_rng(2)
    n = 40 * _PER_DAY
    event_us = to_us(_START) + np.arange(n) * (_DAY_US // _PER_DAY)
    x = rng.normal(size=n) + 2.0 * (np.arange(n) >= 20 * _PER_DAY)
    return make_rows({"x": x}, event_us=event_us)


def _losses(n: int, worse_from: int = 1000) -> list[BlockLoss]:
    return [
        BlockLoss(_FIRST_DAY + i, 0.40 + 0.01 * (i % 3) + 0.1 * (i >= worse_from), 900)
        for i in range(n)
    ]


def _run(
    reference: Reference, traffic: Rows, days: list[float], worse_from: int = 1000
) -> tuple[MonitorState, list[Alarm]]:
    state = begin("flights", "a", reference, _START)
    alarms: list[Alarm] = []
    for day in days:
        losses = _losses(max(0, int(day) - 1), worse_from)
        state, raised = look(state, traffic, losses, _day(day), _OPTIONS)
        alarms += raised
    return state, alarms


def test_drift_is_raised_once_when_features_move(reference: Reference, traffic: Rows) -> None:
    """Breaks when it comes before the shift, weeks after it, or again on each later day."""
    _, alarms = _run(reference, traffic, [float(day) for day in range(1, 40)])
    assert [alarm.kind for alarm in alarms] == ["drift"]
    assert _day(21) <= alarms[0].at <= _day(25)
    assert alarms[0].version_id == "a"
    assert alarms[0].expected_cost == pytest.approx(0.0, abs=1.0)


def test_a_performance_alarm_is_raised_once(reference: Reference, traffic: Rows) -> None:
    days = [float(day) for day in range(1, 20)]
    _, alarms = _run(reference, traffic, days, worse_from=9)
    assert [alarm.kind for alarm in alarms] == ["performance"]
    assert alarms[0].expected_cost is not None
    assert alarms[0].expected_cost > 0


@pytest.mark.parametrize("every", [0.25, 1.0, 5.0, 39.0])
def test_how_often_one_looks_changes_nothing(
    reference: Reference, traffic: Rows, every: float
) -> None:
    """Breaks when many looks a day are many tests, or when a slept-through day is no test."""
    days = [*np.arange(every, 39.0, every).tolist(), 39.0]
    state, alarms = _run(reference, traffic, days, worse_from=30)
    daily, expected = _run(reference, traffic, [float(day) for day in range(1, 40)], worse_from=30)
    assert {a.kind: a.evidence for a in alarms} == {a.kind: a.evidence for a in expected}
    assert len(alarms) == len(expected) == 2
    assert state == daily


def test_rows_and_blocks_count_once(reference: Reference, traffic: Rows) -> None:
    """Breaks when the same look, repeated after a crash, counts its rows again."""
    state, _ = _run(reference, traffic, [3.5])
    again, alarms = look(state, traffic, _losses(2), _day(3.5), _OPTIONS)
    assert again == state
    assert alarms == ()
    assert sum(each.counts.n_rows for each in state.days) == 350


def test_rows_from_the_future_wait(reference: Reference, traffic: Rows) -> None:
    """Breaks when one row with a wrong year stops the watch from counting any other."""
    state, _ = _run(reference, traffic, [1.0])
    assert state.counted_until_us <= to_us(_day(1))
    assert sum(each.counts.n_rows for each in state.days) == 100


def test_half_a_day_at_the_start_is_no_whole_one(reference: Reference, traffic: Rows) -> None:
    state = begin("flights", "a", reference, _day(0.5))
    state, _ = look(state, traffic, (), _day(8.5), _OPTIONS)
    assert state.first_day == _FIRST_DAY + 1
    assert min(each.day for each in state.days) >= _FIRST_DAY + 1


def test_no_rows_and_no_losses_are_no_news(
    reference: Reference, traffic: Rows, make_rows: Make
) -> None:
    state = begin("flights", "a", reference, _START)
    nobody = make_rows({"x": np.array([], float)}, event_us=np.array([], np.int64))
    for rows in (None, nobody):
        after, alarms = look(state, rows, (), _day(30), _OPTIONS)
        assert alarms == ()
        assert after.days == ()
    quiet, alarms = look(after, traffic, (), _day(30), _OPTIONS)
    assert [alarm.kind for alarm in alarms] == []  # those days were looked at, and are over
    assert quiet.looked_day == _FIRST_DAY + 29


def test_an_acknowledged_alarm_may_come_again(reference: Reference, traffic: Rows) -> None:
    """Breaks when a kind stays silent for ever, or speaks again from the same evidence."""
    state, alarms = _run(reference, traffic, [27.0], worse_from=15)
    assert {alarm.kind for alarm in alarms} == {"drift", "performance"}
    fresh = acknowledge(acknowledge(state, "drift"), "performance")
    assert fresh.raised == ()
    _, none = look(fresh, None, _losses(26, 15), _day(28), _OPTIONS)
    assert none == ()
    _, again = look(fresh, traffic, _losses(38, 15), _day(39), _OPTIONS)
    assert {alarm.kind for alarm in again} == {"drift", "performance"}


def test_a_state_survives_json_between_any_two_looks(reference: Reference, traffic: Rows) -> None:
    state = begin("flights", "a", reference, _START)
    plain = state
    for day in (0.5, 6.0, 12.25, 23.0, 30.0):
        losses = _losses(int(day), worse_from=15)
        state, alarms = look(state, traffic, losses, _day(day), _OPTIONS)
        stored = from_plain(MonitorState, to_plain(plain))
        plain, same = look(stored, traffic, losses, _day(day), _OPTIONS)
        assert (plain, same) == (state, alarms)


def test_naive_instants_are_refused(reference: Reference) -> None:
    with pytest.raises(Invalid, match="time zone"):
        begin("flights", "a", reference, datetime(2013, 2, 1))  # noqa: DTZ001  # the point
