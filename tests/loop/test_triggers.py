"""Triggers speak when they should, and say why with numbers."""

from datetime import UTC, datetime, timedelta

import pytest

from renewal.core.errors import Invalid
from renewal.loop.triggers import AlarmRaised, NewLabels, Schedule, Since

THEN = datetime(2020, 1, 1, tzinfo=UTC)


def since(days: float = 0.0, n_labels: int = 0, alarms: tuple[str, ...] = ()) -> Since:
    return Since(THEN + timedelta(days=days), THEN, n_labels, alarms)


def test_schedule_speaks_at_its_time_and_not_before() -> None:
    schedule = Schedule(timedelta(days=28))
    assert schedule.ask(since(days=27.99)) is None
    reason = schedule.ask(since(days=28))
    assert reason is not None
    assert "28.0 days" in reason.sentence


def test_amount_speaks_at_its_number_and_not_before() -> None:
    assert NewLabels(1000).ask(since(n_labels=999)) is None
    reason = NewLabels(1000).ask(since(n_labels=1000))
    assert reason is not None
    assert "1,000 labels" in reason.sentence


def test_newest_alarm_is_the_reason() -> None:
    assert AlarmRaised().ask(since()) is None
    reason = AlarmRaised().ask(since(alarms=("old", "new")))
    assert reason is not None
    assert reason.sentence == "new"


def test_triggers_that_never_rest_are_refused() -> None:
    with pytest.raises(Invalid):
        Schedule(timedelta(0))
    with pytest.raises(Invalid):
        NewLabels(0)
