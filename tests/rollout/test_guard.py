"""The guards: silent without harm at the stated level, quick with it."""

from __future__ import annotations

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.rollout.guard import errors, harm
from renewal.rollout.options import RolloutOptions

_OPTIONS = RolloutOptions()


def _first_alarm(gains: np.ndarray, options: RolloutOptions) -> int:
    """Return the number of blocks at the first alarm of one who looks after each; 0 for none."""
    rows = np.full(gains.size, 100)
    for n in range(1, gains.size + 1):
        if harm(gains[:n], rows[:n], options) is not None:
            return n
    return 0


def test_equal_versions_are_rarely_taken_back_however_often_one_looks() -> None:
    """At harm_alpha .10, 300 rollouts of 20 daily looks (seed 1): at most .10 + 2.3 se = .14.

    Breaks when a fixed-n test, which errs far more often under peeking, takes the place of
    the e-process.
    """
    rng = np.random.default_rng(1)
    options = RolloutOptions(harm_alpha=0.10)
    alarms = [_first_alarm(rng.normal(0, 0.03, 20), options) > 0 for _ in range(300)]
    assert np.mean(alarms) <= 0.14


def test_gross_harm_is_found_within_days() -> None:
    """Losses of 4 deviations a block: found within 10 blocks in 90% of 100 runs.

    And within 7 in half of them (seed 2).

    Breaks when the guard waits for the slight kind of harm only.
    """
    rng = np.random.default_rng(2)
    found = [_first_alarm(rng.normal(-0.12, 0.03, 15), _OPTIONS) for _ in range(100)]
    assert np.mean([0 < n <= 10 for n in found]) >= 0.90
    assert np.median(found) <= 7
    assert min(found) >= 3  # two days never suffice: the spread is not known yet


def test_resembling_neighbors_are_paid_for() -> None:
    """A slow wave without harm, 200 runs of 20 looks (seed 3) at harm_alpha .05: at most .08.

    The same waves alarm in about a third of the runs when each day counts as new evidence.
    """
    rng = np.random.default_rng(3)
    options = RolloutOptions(harm_alpha=0.05)
    alarms = []
    for _ in range(200):
        noise = rng.normal(size=60)
        for i in range(1, noise.size):
            noise[i] += 0.6 * noise[i - 1]
        alarms.append(harm(noise[40:], np.full(20, 100), options) is not None)
    assert np.mean(alarms) <= 0.08


def test_a_gain_is_never_harm() -> None:
    rng = np.random.default_rng(4)
    assert _first_alarm(rng.normal(0.05, 0.03, 40), _OPTIONS) == 0


def test_the_margin_is_a_share_of_the_champions_loss() -> None:
    """Breaks when a tolerated worsening still takes a candidate back."""
    gains = np.random.default_rng(5).normal(-0.02, 0.005, 15)
    rows = np.full(15, 100)
    tolerant = RolloutOptions(harm_margin_share=0.10)
    assert harm(gains, rows, _OPTIONS) is not None
    assert harm(gains, rows, tolerant, champion_loss=0.5) is None
    assert harm(gains, rows, tolerant, champion_loss=0.05) is not None
    with pytest.raises(Invalid, match="champion's mean loss"):
        harm(gains, rows, tolerant)


def test_blocks_count_by_their_rows() -> None:
    """Breaks when a day with 3 bad rows outweighs days with thousands of good ones."""
    gains = np.array([-0.5, 0.01, 0.012, 0.011, 0.009, 0.01, 0.013, 0.01])
    rows = np.array([3, 4000, 4000, 4000, 4000, 4000, 4000, 4000])
    assert harm(gains, rows, RolloutOptions(harm_alpha=0.5)) is None
    said = harm([-0.1] * 9 + [-0.3], [1] * 9 + [91], RolloutOptions(harm_alpha=0.5))
    assert said is not None
    assert said.startswith("it loses 0.2820 more a row than the champion over 10 blocks (100 rows)")


def test_no_block_is_no_evidence_and_nan_is_an_error() -> None:
    assert harm([], [], _OPTIONS) is None
    assert harm([-5.0], [100], _OPTIONS) is None
    with pytest.raises(Invalid, match="finite"):
        harm([0.1, float("nan")], [1, 1], _OPTIONS)
    with pytest.raises(Invalid, match="positive weight"):
        harm([0.1, 0.2], [1, 0], _OPTIONS)


def test_equal_failure_rates_are_rarely_an_alarm() -> None:
    """1% failures on both arms, share .1, 200 runs of 60 looks (seed 6) at .05: at most .085."""
    rng = np.random.default_rng(6)
    options = RolloutOptions(error_alpha=0.05)
    alarms = []
    for _ in range(200):
        b = np.cumsum(rng.binomial(100, 0.01, 60))
        c = np.cumsum(rng.binomial(900, 0.01, 60))
        looks = zip(b.tolist(), c.tolist(), strict=True)
        alarms.append(any(errors(m, n, 0.1, options) is not None for m, n in looks))
    assert np.mean(alarms) <= 0.085


def test_failures_of_earlier_shares_count_on() -> None:
    """Breaks when evidence is forgotten at each new share, or counted at the wrong one."""
    assert errors(11, 30, 0.1, _OPTIONS) is None
    said = errors(40, 12, 0.5, _OPTIONS, earlier=[(11, 30, 0.1)])
    assert said is not None
    assert said.startswith("it failed 51 times against 42 of the champion")


def test_without_a_control_nothing_is_compared() -> None:
    assert errors(1000, 0, 1.0, _OPTIONS) is None
    assert errors(0, 1000, 0.0, _OPTIONS) is None
    assert errors(1, 1, 1.0, _OPTIONS, earlier=[(40, 30, 0.1)]) is not None
