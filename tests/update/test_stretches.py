"""The stretches of rows: which rows fit, choose and judge."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.data.forward import ForwardWindow
from renewal.data.roles import role_of
from renewal.data.rows import Rows
from renewal.testing.updating import DAY_US
from renewal.update.stretches import judged_rows, selection_rows, thinned, training_rows

SALT = b"salt"


def test_timed_rows_are_cut_forward(timed: Rows) -> None:
    """Breaks when a row decides about a candidate that was fitted on it, or inside the embargo."""
    start_us = int(timed.event_us.min())
    window = ForwardWindow(start_us + 40 * DAY_US, start_us + 42 * DAY_US, start_us + 56 * DAY_US)
    week = timedelta(days=7)
    raced = training_rows(timed, window, salt=SALT, before=week)
    chosen = selection_rows(timed, window, salt=SALT, length=week)
    fitted = training_rows(timed, window, salt=SALT)
    judged = judged_rows(timed, window, salt=SALT)

    def days(rows: Rows) -> tuple[int, int]:
        found = (rows.event_us - start_us) // DAY_US
        return int(found.min()), int(found.max())

    assert days(raced) == (0, 30)  # two days of embargo before the selection
    assert days(chosen) == (33, 39)
    assert days(fitted) == (0, 39)
    assert days(judged) == (42, 55)
    assert len(judged) == 14 * 20


def test_the_borders_are_half_open(timed: Rows) -> None:
    at_us = int(timed.event_us[100])
    window = ForwardWindow(at_us, at_us, int(timed.event_us[200]))
    assert training_rows(timed, window, salt=SALT).event_us.max() < at_us
    judged = judged_rows(timed, window, salt=SALT).event_us
    assert judged.min() == at_us
    assert judged.max() < timed.event_us[200]


def test_timeless_rows_are_split_by_role(timeless: Rows) -> None:
    """Breaks when a group is in two of the three, or a row in none."""
    week = timedelta(days=7)
    parts = [
        training_rows(timeless, None, salt=SALT),
        selection_rows(timeless, None, salt=SALT, length=week),
        judged_rows(timeless, None, salt=SALT),
    ]
    for role, part in enumerate(parts):
        assert np.all(role_of(part.group_hash, SALT) == role)
    assert sum(map(len, parts)) == len(timeless)
    groups = [set(part.group_hash.tolist()) for part in parts]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_before_does_not_move_timeless_rows(timeless: Rows) -> None:
    raced = training_rows(timeless, None, salt=SALT, before=timedelta(days=7))
    assert len(raced) == len(training_rows(timeless, None, salt=SALT))


def test_a_smaller_share_is_a_part_of_a_larger_one(timed: Rows) -> None:
    """Breaks when a rung fits other rows than the next, so that their losses tell of luck."""
    ninth, third = (set(thinned(timed, share).key) for share in (1 / 9, 1 / 3))
    assert ninth < third < set(timed.key)
    assert abs(len(third) - len(timed) / 3) < 4 * np.sqrt(len(timed) * 2 / 9)
    assert thinned(timed, 1.0) is timed


def test_what_is_drawn_is_spread_over_all_of_time(timed: Rows) -> None:
    drawn = thinned(timed, 1 / 3).event_us
    days = (drawn - timed.event_us.min()) // DAY_US
    assert len(set(days.tolist())) > 50


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_other_shares_are_refused(timed: Rows, share: float) -> None:
    with pytest.raises(Invalid, match="share"):
        thinned(timed, share)
