"""The forward window keeps fitted and judged rows apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.clock import to_us
from renewal.core.errors import Invalid
from renewal.data.forward import forward_window

DAY = timedelta(days=1)
NOW = datetime(2013, 3, 31, 15, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

LENGTHS = st.timedeltas(min_value=MICROSECOND, max_value=timedelta(days=400))


def test_the_last_fortnight_is_judged_in_whole_days() -> None:
    window = forward_window(NOW, 14 * DAY, 2 * DAY, DAY)
    assert window.judge_until_us == to_us(NOW)
    assert window.judge_from_us == to_us(datetime(2013, 3, 17, tzinfo=UTC))
    assert window.fit_until_us == to_us(datetime(2013, 3, 15, tzinfo=UTC))


@given(
    st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001  # made aware below
    LENGTHS,
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)),
    LENGTHS,
    st.lists(st.integers(-(10**15), 5 * 10**15), min_size=1, max_size=50),
)
def test_no_fitted_row_lies_within_the_embargo_of_a_judged_one(
    now: datetime, holdout: timedelta, embargo: timedelta, block: timedelta, offsets: list[int]
) -> None:
    """Breaks when a border is moved the wrong way by the alignment: the rule of D1."""
    window = forward_window(now.replace(tzinfo=UTC), holdout, embargo, block)
    borders = (window.fit_until_us, window.judge_from_us, window.judge_until_us)
    near = [border + step for border in borders for step in (-1, 0, 1)]
    event_us = np.array([*near, *(window.judge_until_us - offset for offset in offsets)])
    fitted, judged = event_us[window.fitted(event_us)], event_us[window.judged(event_us)]
    assert not (window.fitted(event_us) & window.judged(event_us)).any()
    assert len(fitted) > 0
    assert len(judged) > 0
    assert judged.min() - fitted.max() > embargo // MICROSECOND
    assert window.judge_from_us % (block // MICROSECOND) == 0
    held = (window.judge_until_us - window.judge_from_us) * MICROSECOND
    assert holdout <= held < holdout + block


@pytest.mark.parametrize(
    ("holdout", "embargo", "block"),
    [(timedelta(0), DAY, DAY), (DAY, -DAY, DAY), (DAY, DAY, timedelta(0)), (-DAY, DAY, DAY)],
)
def test_lengths_that_are_none_are_refused(
    holdout: timedelta, embargo: timedelta, block: timedelta
) -> None:
    with pytest.raises(Invalid, match="holdout"):
        forward_window(NOW, holdout, embargo, block)


def test_a_now_without_a_zone_is_refused() -> None:
    with pytest.raises(Invalid, match="time zone"):
        forward_window(NOW.replace(tzinfo=None), DAY, DAY, DAY)
