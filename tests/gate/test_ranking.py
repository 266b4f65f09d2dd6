"""Breaks when the best of many equal versions is called better more often than alpha."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.ids import key_hash
from renewal.data.rows import Rows
from renewal.evaluate.blocks import Blocks
from renewal.evaluate.report import Measured, Report, Scored
from renewal.gate.ranking import rank
from renewal.models.task import Regression

Floats = NDArray[np.float64]
HASHES = np.array([key_hash(f"row{at}") for at in range(100)], dtype=np.uint64)


def report_of(losses: Sequence[Floats]) -> Report:
    """Return versions a, b, c and on with the given losses, one row in each day."""
    n = len(losses[0])
    days = np.arange(n, dtype=np.int64)
    rows = Rows(
        features=pa.table({"x": np.zeros(n)}),
        key=np.array([f"row{at}" for at in range(n)], dtype=object),
        key_hash=HASHES[:n],
        group_hash=HASHES[:n],
        sticky=None,
        event_us=days,
        arrived_us=days,
        label=np.zeros(n),
        label_arrived_us=days,
        block=days,
    )
    measured = [
        Measured(Scored(chr(97 + at) * 64, each[:, None], (), name=f"v{at + 1}"), each, {})
        for at, each in enumerate(losses)
    ]
    blocks = Blocks(days, np.arange(n), np.ones(n, np.int64), "day", is_ordered=False)
    return Report(Regression(), rows, np.zeros(n), tuple(measured), blocks)


def drawn(gains: Sequence[float], *, seed: int, n: int = 28) -> Report:
    """Return a baseline and versions whose mean gain over it is given; noise has sd 0.02."""
    rng = np.random.default_rng(seed)
    hard = rng.gamma(2.0, 0.2, size=n)
    return report_of([hard, *(hard - gain - rng.normal(0.0, 0.02, size=n) for gain in gains)])


def test_equal_versions_are_called_better_at_most_at_alpha() -> None:
    """Three versions equal to the baseline, 28 blocks, 600 runs of seed 0 to 599, 5%.

    With Holm at most 5% + 3 standard errors = 7.7% of runs; the naive rule, which is beside
    it, must err in more than that, or this test would see nothing.
    """
    wrong, naive = 0, 0
    for seed in range(600):
        report = drawn((0.0, 0.0, 0.0), seed=seed)
        wrong += rank(report, "a" * 64, alpha=0.05).winner is not None
        naive += any(
            rank(_pair(report, at), "a" * 64, alpha=0.05).winner is not None for at in (1, 2, 3)
        )
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert wrong / 600 <= limit
    assert naive / 600 > limit


def test_a_worse_rest_does_not_make_an_equal_one_win_more_often() -> None:
    """One equal version among two that are clearly worse: still at most 5% of 400 runs."""
    wrong = sum(
        rank(drawn((0.0, -0.05, -0.05), seed=seed), "a" * 64, alpha=0.05).winner is not None
        for seed in range(400)
    )
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_two_equal_winners_are_told_apart_at_most_at_alpha() -> None:
    """Two versions, both better by the same: which of them is luck; 400 runs at 5%."""
    found = [rank(drawn((0.03, 0.03), seed=seed), "a" * 64, alpha=0.05) for seed in range(400)]
    assert all(each.winner is not None for each in found)
    wrong = sum(each.is_separable for each in found)
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_the_three_way_comparison_after_a_fine_tune() -> None:
    """The original, the fine-tuned and the retrained: the larger proved gain wins."""
    found = rank(drawn((0.02, 0.06), seed=1), "a" * 64, alpha=0.05)
    assert (found.winner, found.runner_up, found.is_separable) == ("c" * 64, "b" * 64, True)
    assert [each.name for each in found.contenders] == ["v3", "v2"]
    assert found.of("c" * 64).lower > 0.0
    assert found.sentence.startswith("v3 wins: absolute error -0.06")
    assert found.sentence.endswith("it is shown to be better than v2, too.")


def test_winners_that_cannot_be_told_apart_say_so() -> None:
    found = rank(drawn((0.030, 0.031), seed=2), "a" * 64, alpha=0.05)
    assert not found.is_separable
    assert "cannot be told apart from" in found.sentence


def test_without_proof_the_baseline_stays() -> None:
    found = rank(drawn((0.0, -0.04), seed=3), "a" * 64, alpha=0.05)
    assert (found.winner, found.runner_up, found.is_separable) == (None, None, False)
    assert found.sentence.startswith("v1 stays: none of the 2 others is proved better")
    assert found.of("c" * 64).state == "worse"


def test_a_winner_beside_losers_is_separated_from_the_baseline() -> None:
    found = rank(drawn((0.05, -0.05), seed=4), "a" * 64, alpha=0.05)
    assert (found.winner, found.runner_up, found.is_separable) == ("b" * 64, "a" * 64, True)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_too_few_blocks_tell_nothing_however_far_apart(n: int) -> None:
    found = rank(drawn((1.0, 2.0), seed=5, n=n), "a" * 64, alpha=0.05)
    assert found.winner is None
    assert {each.state for each in found.contenders} == {"cannot_tell"}
    assert found.sentence.startswith("Cannot tell")


def test_identical_versions_stay_where_they_are() -> None:
    """No spread at all must be no proof and no division by zero."""
    hard = np.linspace(0.1, 1.0, 20)
    found = rank(report_of([hard, hard.copy(), hard.copy()]), "a" * 64, alpha=0.05)
    assert found.winner is None
    assert [each.gain for each in found.contenders] == [0.0, 0.0]


def test_a_baseline_alone_or_unknown_is_refused() -> None:
    report = drawn((), seed=6)
    with pytest.raises(Invalid, match="the baseline alone"):
        rank(report, "a" * 64, alpha=0.05)
    with pytest.raises(Invalid, match="one of its 1 versions"):
        rank(report, "z" * 64, alpha=0.05)


def _pair(report: Report, at: int) -> Report:
    losses = [report.versions[place].losses for place in (0, at)]
    return report_of(losses)
