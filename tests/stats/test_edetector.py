"""Breaks when a quiet stream alarms more often than promised, or a change is found late."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.stats.edetector import EDetector, from_reference


def run(detector: EDetector, draw: Callable[[], float], most: int) -> int:
    """Return after how many values it alarms, or `most`."""
    while not detector.has_alarm and detector.n < most:
        detector = detector.update(draw())
    return detector.n


def test_the_time_between_false_alarms_is_at_least_the_promised_one() -> None:
    """A = 50 normal blocks, 200 runs, seed 1: mean near 70, standard error 5."""
    rng = np.random.default_rng(1)
    times = [run(EDetector(0.0, 1.0, 50), rng.normal, 2000) for _ in range(200)]
    assert np.mean(times) >= 50


def test_seven_reference_blocks_do_not_make_it_nervous() -> None:
    """A = 50, seven blocks of reference, 150 runs cut at 400, seed 2.

    With the plain estimates in place of their bounds the lower quartile falls under 25.
    """
    rng = np.random.default_rng(2)
    times = [run(from_reference(rng.normal(size=7), every=50), rng.normal, 400) for _ in range(150)]
    assert np.mean(times) >= 50
    assert np.quantile(times, 0.25) >= 50


@pytest.mark.parametrize(("shift", "most"), [(1.0, 60), (2.0, 15), (3.0, 8)])
def test_a_rise_is_found_soon(shift: float, most: int) -> None:
    """Median of 100 runs against seven reference blocks, A = 365, seed 3."""
    rng = np.random.default_rng(3)
    times = [
        run(from_reference(rng.normal(size=7), every=365), lambda: rng.normal(shift), 400)
        for _ in range(100)
    ]
    assert np.median(times) <= most


@pytest.mark.parametrize(("rate", "delay"), [(0.20, 209), (0.30, 70), (0.15, 714)])
def test_errors_that_jump_are_found_as_fast_as_measured_before(rate: float, delay: int) -> None:
    """Bernoulli errors, e0 = 0.10, A = 1e6 (field notes 3.2); median of 40 runs, within 25%."""
    rng = np.random.default_rng(4)
    times = []
    for _ in range(40):
        detector = EDetector(0.10, 1.0, 1e6, kind="bounded")
        for x in rng.random(500) < 0.10:
            detector = detector.update(float(x))
        times.append(run(detector, lambda: float(rng.random() < rate), 6000) - 500)
    assert np.median(times) == pytest.approx(delay, rel=0.25)


def test_one_step_is_the_recursion_of_shiryaev_and_roberts() -> None:
    detector = EDetector(1.0, 2.0, 100, bets=(0.5,))
    m = 0.0
    for x in (2.0, -1.0, 4.0):
        detector = detector.update(x)
        z = (x - 1.0) / 2.0
        m = (m + 1.0) * math.exp(0.5 * z - 0.125)
        assert detector.log_value == pytest.approx(math.log(m))


def test_it_neither_changes_nor_overflows() -> None:
    before = EDetector(0.0, 1.0, 365)
    after = before
    for _ in range(2000):
        after = after.update(50.0)
    assert before.n == 0
    assert math.isfinite(after.log_value)
    assert after.restarted() == before


def test_a_fall_of_the_loss_is_no_alarm() -> None:
    rng = np.random.default_rng(5)
    assert run(EDetector(0.0, 1.0, 50), lambda: rng.normal(-1.0), 500) == 500


def test_the_state_survives_json() -> None:
    detector = EDetector(0.4, 0.1, 365).update(0.45)
    again = msgspec.json.decode(msgspec.json.encode(detector), type=EDetector)
    assert again == detector


def test_bets_that_a_value_of_0_would_ruin_are_left_out() -> None:
    detector = EDetector(0.6, 1.0, 50, kind="bounded")
    assert detector.bets == (0.25, 0.5, 1.0)
    assert math.isfinite(detector.update(0.0).log_value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(Invalid, match="finite number"):
        EDetector(0.0, 1.0, 50).update(value)


def test_input_that_voids_the_guarantee_is_refused() -> None:
    with pytest.raises(Invalid, match=r"\[0, 1\]"):
        EDetector(0.1, 1.0, 50, kind="bounded").update(1.5)
    with pytest.raises(Invalid, match="deviation above 0"):
        EDetector(0.0, 0.0, 50)
    with pytest.raises(Invalid, match="at least two reference blocks"):
        from_reference([0.4], every=50)
    with pytest.raises(Invalid, match="at least two reference blocks"):
        from_reference([0.4, 0.4], every=50)
