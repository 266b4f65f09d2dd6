"""Breaks when the missing evidence is misjudged, dated wrongly, or hope is given up too soon."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from renewal.core.clock import from_us
from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.options import GateOptions
from renewal.gate.proving import Estimate, Levels, Lines, levels_of
from renewal.gate.waiting import Missing, is_futile, missing
from renewal.stats.power import power_of

MakeSeries = Callable[..., Series]
DAY_US = 86_400_000_000
OPTIONS = GateOptions()
LATER = levels_of(OPTIONS, 0.05, is_first=False)
SUPERIOR = Lines(0.0, 0.0043)


def futile(
    estimate: Estimate, lines: Lines, levels: Levels, *, futility: float = OPTIONS.futility
) -> bool:
    """Say whether the default gate gives up."""
    return is_futile(
        estimate,
        lines,
        levels,
        futility=futility,
        least=OPTIONS.min_blocks,
        most=OPTIONS.max_blocks,
    )


def lacking(
    series: Series, lines: Lines = SUPERIOR, span: tuple[int, int] | None = None
) -> Missing:
    """Return what a series lacks."""
    span = (series.from_us, series.until_us) if span is None else span
    found = missing(estimate_of(series), lines, LATER, least=OPTIONS.min_blocks, span_us=span)
    assert found is not None
    return found


def test_the_date_is_as_many_days_away_as_are_missing(make_series: MakeSeries) -> None:
    """A day too early, and whoever waits is told to wait again."""
    found = lacking(make_series(np.tile([0.02, 0.0], 2), first=10))
    assert (found.n_blocks, found.n_rows) == (3, 2700)
    assert found.at_us is not None
    # Day 10 to 13 are there; day 16 is over when the 17th, January 18, begins.
    assert f"{from_us(found.at_us):%Y-%m-%d %H:%M}" == "1970-01-18 00:00"


def test_a_feed_of_every_other_day_takes_twice_as_long(make_series: MakeSeries) -> None:
    series = make_series(np.tile([0.02, 0.0], 2))
    found = lacking(series, span=(0, 8 * DAY_US))
    assert found.at_us == 8 * DAY_US + 3 * 2 * DAY_US


def test_no_rate_no_date(make_series: MakeSeries) -> None:
    series = make_series(np.tile([0.02, 0.0], 2))
    assert lacking(series, span=(5, 5)).at_us is None


def test_more_noise_takes_more_and_more_gain_less(make_series: MakeSeries) -> None:
    def days(gain: float, sd: float) -> int:
        noise = np.tile([1.0, -1.0], 7)
        return lacking(make_series(gain + sd * noise)).n_blocks

    assert days(0.005, 0.02) < days(0.005, 0.03)
    assert days(0.005, 0.02) > days(0.010, 0.02)
    # A gain below the smallest worth shipping is planned for as if it were that.
    assert days(-0.003, 0.02) == days(0.0, 0.02)
    assert days(0.5, 0.02) == 1


def test_what_holds_nothing_worth_shipping_lacks_no_number(make_series: MakeSeries) -> None:
    series = make_series(-0.01 + 0.005 * np.tile([1.0, -1.0], 7))
    none = Lines(0.0, 0.0)
    span = (series.from_us, series.until_us)
    assert missing(estimate_of(series), none, LATER, least=OPTIONS.min_blocks, span_us=span) is None


def test_futility_is_the_power_that_is_left(make_series: MakeSeries) -> None:
    """Waiting ends exactly where a fixed test at the cap has less than the asked chance."""
    noise = np.tile([1.0, -1.0], 10)
    for gain in np.linspace(-0.1, 0.1, 21):
        estimate = estimate_of(make_series(gain + 0.2 * noise))
        hoped = estimate.bounds.upper(0.1)
        power = power_of(hoped, estimate.sd, OPTIONS.max_blocks, LATER.accept)
        assert futile(estimate, SUPERIOR, LATER) == (power < OPTIONS.futility)


def test_hope_is_not_given_up_early_or_when_it_is_switched_off(make_series: MakeSeries) -> None:
    hopeless = -0.05 + 0.001 * np.tile([1.0, -1.0], 10)
    assert futile(estimate_of(make_series(hopeless)), SUPERIOR, LATER)
    assert not futile(estimate_of(make_series(hopeless[:6])), SUPERIOR, LATER)
    assert not futile(estimate_of(make_series(hopeless)), SUPERIOR, LATER, futility=0.0)


@pytest.mark.parametrize("level", [0.05, 0.007])
def test_a_candidate_that_would_be_found_is_seldom_given_up(
    make_series: MakeSeries, level: float
) -> None:
    """A gain of half a deviation, which 90 days find, is given up after 14 in at most 2%.

    1,000 stories, seed 1.
    """
    rng = np.random.default_rng(1)
    later = levels_of(OPTIONS, level, is_first=False)
    given_up = sum(
        futile(
            estimate_of(make_series(rng.normal(0.01, 0.02, size=14))),
            SUPERIOR,
            later,
        )
        for _ in range(1000)
    )
    assert given_up <= 20


def test_one_block_has_no_spread_and_no_verdict_on_hope(make_series: MakeSeries) -> None:
    estimate = estimate_of(make_series([0.01]))
    assert math.isnan(estimate.sd)
    assert not futile(estimate, SUPERIOR, LATER)
    assert lacking(make_series([0.01])).n_blocks == 6
