"""The watch over losses: silent for as long as it promises, quick when they rise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.monitor.options import MonitorOptions
from renewal.monitor.performance import BlockLoss, Performance, baseline_of, take_in
from renewal.registry.codec import from_plain, to_plain

_OPTIONS = MonitorOptions()


def _after(
    values: list[float], options: MonitorOptions = _OPTIONS, n_rows: int = 900
) -> Performance:
    state = Performance()
    for block, value in enumerate(values):
        state = take_in(state, BlockLoss(block, value, n_rows), options)
    return state


def _blocks_to_alarm(rng: np.random.Generator, rise: float, cap: int) -> int:
    """Return after how many blocks behind the reference it alarms; `cap` if it does not."""
    options = MonitorOptions(loss_floor_share=0.0)
    state = _after(rng.normal(0.40, 0.02, 7).tolist(), options)
    for block in range(cap):
        loss = BlockLoss(7 + block, rng.normal(0.40 + rise, 0.02), 900)
        state = take_in(state, loss, options)
        if state.is_worse(options):
            return block + 1
    return cap


def test_false_alarms_come_no_more_often_than_once_a_year() -> None:
    """30 clean streams with a reference of 7 days (seed 1): mean time, cut at 700, >= 365.

    No floor helps here. Breaks when 7 days are taken for the truth: then it is about 150.
    """
    rng = np.random.default_rng(1)
    assert np.mean([_blocks_to_alarm(rng, 0.0, 700) for _ in range(30)]) >= 365


def test_a_rise_of_the_loss_is_found_within_days() -> None:
    """40 streams whose loss rises by 4 deviations, 20% (seed 2): 90% found within 6 days.

    Of 2 deviations, 10%: half of them within 9 days.
    """
    rng = np.random.default_rng(2)
    assert np.quantile([_blocks_to_alarm(rng, 0.08, 60) for _ in range(40)], 0.9) <= 6
    assert np.median([_blocks_to_alarm(rng, 0.04, 60) for _ in range(40)]) <= 9


def test_a_rise_that_does_not_matter_is_no_alarm() -> None:
    """Breaks when significance alone decides: 1% more loss, beyond all doubt, is no news."""
    before = [0.4000, 0.4001, 0.3999, 0.4000, 0.4001, 0.3999, 0.4000]
    state = _after([*before, *[0.404] * 30])
    assert state.detector is not None
    assert state.detector.has_alarm
    assert not state.is_worse(_OPTIONS)
    assert _after([*before, *[0.43] * 30]).is_worse(_OPTIONS)


def test_a_falling_loss_is_never_an_alarm() -> None:
    assert not _after([0.40, 0.41, 0.39, 0.40, 0.41, 0.39, 0.40, *[0.2] * 50]).is_worse(_OPTIONS)


def test_nothing_is_said_before_there_is_a_reference() -> None:
    state = _after([0.4] * 3 + [9.0] * 3)
    assert state.baseline is None
    assert state.excess is None
    assert not state.is_worse(_OPTIONS)
    assert math.isnan(Performance().mean_now)
    assert math.isnan(Performance().rows_per_block)


def test_blocks_that_are_all_alike_make_a_reference() -> None:
    """Breaks when a model that never erred divides by its deviation of 0."""
    perfect = _after([0.0] * 7)
    assert not _after([0.0] * 60).is_worse(_OPTIONS)
    assert take_in(perfect, BlockLoss(7, 0.2, 900), _OPTIONS).is_worse(_OPTIONS)


def test_a_block_is_taken_in_once() -> None:
    """Breaks when a look that is repeated after a crash counts its losses again."""
    state = _after([0.40, 0.41, 0.39, 0.40, 0.41, 0.39, 0.40, 0.42, 0.43])
    assert take_in(state, BlockLoss(8, 0.9, 900), _OPTIONS) is state
    assert take_in(state, BlockLoss(3, 0.9, 900), _OPTIONS) is state


def test_a_small_block_weighs_less() -> None:
    """Breaks when the 9 rows of a holiday speak as loudly as 900."""
    before = [0.40, 0.41, 0.39, 0.40, 0.41, 0.39, 0.40]
    state = _after(before)
    small = take_in(state, BlockLoss(7, 0.50, 9), _OPTIONS)
    large = take_in(state, BlockLoss(7, 0.50, 900), _OPTIONS)
    assert small.detector is not None
    assert large.detector is not None
    assert not small.is_worse(_OPTIONS)
    assert large.is_worse(_OPTIONS)
    assert small.detector.log_value < large.detector.log_value


def test_only_one_window_is_remembered() -> None:
    state = _after([0.4 + 0.01 * (i % 3) for i in range(100)])
    assert [each.block for each in state.recent] == list(range(93, 100))
    assert state.mean_now == pytest.approx(np.mean([each.mean for each in state.recent]))


def test_the_baseline_pays_for_being_short() -> None:
    """Of mean .41 and sd .0082, the detector takes upper bounds; more days bring them nearer."""
    days = [BlockLoss(i, 0.40 + 0.01 * (i % 3), 900 + i) for i in range(60)]
    short, long = baseline_of(days[:6], _OPTIONS), baseline_of(days, _OPTIONS)
    assert short.mean == pytest.approx(0.41)
    assert short.rows_per_block == 902.5
    assert short.detector.mean > long.detector.mean > long.mean
    assert short.detector.sd > long.detector.sd > long.sd
    assert short.detector.every == 365


def test_bad_blocks_are_refused() -> None:
    with pytest.raises(Invalid, match="finite"):
        BlockLoss(1, math.nan, 10)
    with pytest.raises(Invalid, match="at least one row"):
        BlockLoss(1, 0.1, 0)
    with pytest.raises(Invalid, match="at least 2 blocks"):
        baseline_of([BlockLoss(1, 0.4, 10)], _OPTIONS)


def test_a_state_survives_json() -> None:
    """Breaks when the detector's -inf, or one of its digits, is lost between two looks."""
    for n in (0, 3, 7, 20):
        state = _after([0.4 + 0.01 * (i % 3) for i in range(n)])
        assert from_plain(Performance, to_plain(state)) == state
