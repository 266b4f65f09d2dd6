"""Breaks when a line of candidates errs more often than its level, or speaks for a bad newcomer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from renewal.core.verdict import Verdict
from renewal.evaluate.series import Series
from renewal.gate.judge import level_of_newest, share_of_newest
from renewal.gate.options import GateOptions

Floats = NDArray[np.float64]
MakeSeries = Callable[..., Series]
Look = Callable[..., Verdict]
OTHER = "d" * 64
WAITING = GateOptions(futility=0.0)
PATIENT = GateOptions(futility=0.0, smallest_gain_share=0.5)


def line(make_series: MakeSeries, before: object, own: object) -> Series:
    """Return a series whose first blocks are of a candidate that was replaced."""
    n = len(before)  # type: ignore[arg-type]  # gains
    first = make_series(before).handed_to(OTHER, share=0.25)
    if not len(own):  # type: ignore[arg-type]  # gains
        return first
    return first.then(make_series(own, first=n, candidate=OTHER))


def test_a_series_that_is_handed_over_keeps_its_blocks(make_series: MakeSeries) -> None:
    found = line(make_series, [0.1, 0.2], [0.3])
    assert (found.candidate, found.n_before, found.gains.tolist()) == (OTHER, 2, [0.1, 0.2, 0.3])
    assert found.own.gains.tolist() == [0.3]
    again = Series.from_bytes(found.to_bytes())
    assert (again.n_before, again.own.gains.tolist()) == (2, [0.3])


def test_a_line_speaks_only_for_who_has_blocks_of_its_own(
    make_series: MakeSeries, look: Look
) -> None:
    rng = np.random.default_rng(1)
    good = rng.normal(0.03, 0.02, size=40)
    for n_own, outcome in ((0, "undecided"), (6, "undecided"), (7, "accept")):
        own = rng.normal(0.03, 0.02, size=n_own)
        found = look(line(make_series, good, own), PATIENT, is_first=False)
        assert found.outcome == outcome
        assert found.n_blocks == 40 + n_own
    assert "40 days of them of candidates whose place it took" in found.reason


def test_a_line_does_not_speak_for_a_newcomer_that_loses(
    make_series: MakeSeries, look: Look
) -> None:
    rng = np.random.default_rng(2)
    good = rng.normal(0.05, 0.02, size=60)
    bad = rng.normal(-0.002, 0.002, size=10)
    assert look(line(make_series, good, bad), PATIENT, is_first=False).outcome == "undecided"


def test_a_newcomer_that_is_far_better_needs_no_line(make_series: MakeSeries, look: Look) -> None:
    """Breaks when a dull past drowns what the newest shows by itself."""
    rng = np.random.default_rng(3)
    dull = rng.normal(0.001, 0.05, size=30)
    great = rng.normal(0.8, 0.05, size=12)
    found = look(line(make_series, dull, great), PATIENT, is_first=False)
    assert found.outcome == "accept"
    assert found.gain == pytest.approx(0.8, abs=0.05), "its own gain is claimed, not the line's"


def test_a_line_never_speaks_against_the_newest(make_series: MakeSeries, look: Look) -> None:
    rng = np.random.default_rng(4)
    worse = rng.normal(-0.05, 0.02, size=40)
    better = rng.normal(0.004, 0.02, size=10)
    options = GateOptions(futility=0.0)
    assert look(line(make_series, worse, better), options, is_first=False).outcome == "undecided"


def test_a_line_of_equal_candidates_is_accepted_at_most_at_its_level(
    make_series: MakeSeries, look: Look
) -> None:
    """Three equal candidates, one after the other, 21 days each, looked at every third day.

    400 stories, seed 5, level 20%; the running test has half of it: 10% and 3 standard errors.
    """
    rng = np.random.default_rng(5)
    accepted = 0
    for _ in range(400):
        days = rng.normal(0.0, 0.02, size=63)
        accepted += any(
            look(
                line(make_series, days[:start], days[start : start + n]),
                PATIENT,
                is_first=False,
                level=0.2,
            ).outcome
            == "accept"
            for start in (21, 42)
            for n in range(9, 22, 3)
        )
    assert accepted / 400 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


def test_a_long_line_of_equal_candidates_keeps_to_the_level_of_its_claim(
    make_series: MakeSeries, look: Look
) -> None:
    """Breaks when newcomers add to what the claim was granted.

    Four equal candidates, 21 days each, looked at every third day; each newcomer has a first
    look at the last 7 days before its start. 300 stories, seed 6, level 40%.
    """
    rng = np.random.default_rng(6)
    level, accepted = 0.4, 0
    for _ in range(300):
        days = rng.normal(0.0, 0.02, size=84)
        accepted += _is_ever_accepted(
            days, rng.normal(0.0, 0.02, size=84), level, make_series, look
        )
    assert accepted / 300 <= level + 3 * math.sqrt(level * (1.0 - level) / 300)


def _is_ever_accepted(
    days: Floats, held_back: Floats, level: float, make_series: MakeSeries, look: Look
) -> bool:
    if look(make_series(days[:14]), PATIENT, level=level).outcome == "accept":
        return True
    share = 0.0
    for start in range(0, 84, 21):
        if start:
            before = make_series(days[:start])
            if start > 21:
                before = replace(before, share=share, n_before=start - 21)
            worth = look(make_series(days[:start]), PATIENT, is_first=False, level=level).e_value
            share = share_of_newest(before, worth)
            own = level_of_newest(PATIENT, level, share)
            first = make_series(held_back[start - 7 : start])
            if look(first, PATIENT, level=own).outcome == "accept":
                return True
        for end in range(start + 9, start + 22, 3):
            series = make_series(days[:end])
            if start:
                series = replace(series, n_before=start, share=share)
            if look(series, PATIENT, is_first=False, level=level).outcome == "accept":
                return True
    return False


def test_a_share_is_never_more_than_what_the_line_has(make_series: MakeSeries) -> None:
    first = make_series(np.full(9, 0.1))
    assert share_of_newest(first, 7.0) == 0.25
    assert share_of_newest(first, 0.5) == 0.125
    assert share_of_newest(first.handed_to(OTHER, share=0.125), 7.0) == 0.0625


def test_the_wait_is_for_the_newest_alone(make_series: MakeSeries, look: Look) -> None:
    """Breaks when a newcomer is rejected since those before it have waited long."""
    gains = np.tile([0.05, -0.04], 50)
    found = look(line(make_series, gains, gains[:20]), WAITING, is_first=False)
    assert found.outcome == "undecided"
    assert look(line(make_series, gains, gains[:90]), WAITING, is_first=False).outcome == "reject"
