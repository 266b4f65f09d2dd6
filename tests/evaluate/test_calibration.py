"""Breaks when a spoiled probability goes unnoticed, or chance alone is called a worsening."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve

from renewal.core.errors import Invalid
from renewal.evaluate.calibration import (
    Calibration,
    calibration,
    calibration_counts,
    said_and_happened,
)

Floats = NDArray[np.float64]
ALPHA = 0.05


def compared(
    baseline: Floats, candidate: Floats, happened: NDArray[np.bool_], *, n_blocks: int = 40
) -> Calibration:
    n = len(happened)
    return calibration(
        (baseline, happened),
        (candidate, happened),
        block_at=np.arange(n) * n_blocks // max(n, 1),
        n_blocks=n_blocks,
        n_boot=300,
    )


def test_bins_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(2000)
    happened = rng.random(2000) < p**1.5
    found = compared(p, p, happened).baseline
    observed, predicted = calibration_curve(happened, p, n_bins=10)
    assert found.predicted == pytest.approx(predicted)
    assert found.observed == pytest.approx(observed)
    assert found.n.sum() == 2000
    gaps = np.abs(observed - predicted)
    assert found.ece == pytest.approx(float((found.n * gaps).sum() / 2000))
    assert found.in_the_large == pytest.approx(p.mean() - happened.mean())


def test_a_spoiled_probability_is_shown_and_a_repaired_one_is_not() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(8000)
    happened = rng.random(8000) < p
    found = compared(p, np.clip(p + 0.1, 0, 1), happened)
    assert found.ece_change.observed > 0.05
    assert found.ece_change.p_value(0.02) < 0.01
    assert found.ece_change.lower(ALPHA) > 0.05
    assert found.in_the_large_change.lower(ALPHA) > 0.05
    back = compared(np.clip(p + 0.1, 0, 1), p, happened)
    assert back.ece_change.observed == -found.ece_change.observed
    assert back.ece_change.p_value(0.0) > 0.99


def test_equally_calibrated_versions_are_called_worse_at_most_alpha_of_the_time() -> None:
    """Both off by a twentieth, each in its own bins; 30 blocks of 100 rows, 200 looks, seed 2.

    Tolerance three standard errors. Two versions without any error are worse at most as often:
    there the chance part of both is alike.
    """
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.05):
        shown = 0
        for _ in range(200):
            truth = rng.uniform(0.1, 0.9, 3000)
            happened = rng.random(3000) < truth
            jitter = np.where(rng.random((2, 3000)) < 0.5, shift, -shift)
            one, other = truth + jitter
            shown += compared(one, other, happened, n_blocks=30).ece_change.p_value(0.0) <= ALPHA
        assert shown / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_the_event_of_many_classes_is_that_the_first_choice_is_right() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])
    labels = np.array(["a", "b", "a"], dtype=object)
    said, happened = said_and_happened(scores, labels, ("a", "b", "c"))
    assert said.tolist() == [0.5, 0.8, 0.4]
    assert happened.tolist() == [True, False, True]


def test_classes_in_another_order_name_the_same_event() -> None:
    """Breaks when two versions with swapped columns are judged on opposite events."""
    scores = np.array([[0.2, 0.8], [0.6, 0.4]])
    labels = np.array(["no", "yes"], dtype=object)
    said, happened = said_and_happened(scores, labels, ("no", "yes"))
    swapped, same = said_and_happened(scores[:, ::-1], labels, ("yes", "no"))
    assert said.tolist() == swapped.tolist() == [0.8, 0.4]
    assert happened.tolist() == same.tolist() == [False, True]


def test_counts_of_blocks_add_up() -> None:
    rng = np.random.default_rng(3)
    p, block_at = rng.random(500), rng.integers(0, 9, 500)
    happened = rng.random(500) < p
    counts = calibration_counts(p, happened, block_at=block_at, n_blocks=10)
    assert counts.shape == (10, 3, 10)
    assert counts.sum(axis=(0, 2)) == pytest.approx([500, p.sum(), happened.sum()])
    assert counts[9].sum() == 0


@pytest.mark.parametrize(("n", "n_blocks"), [(0, 0), (0, 5), (50, 1)])
def test_too_little_tells_nothing(n: int, n_blocks: int) -> None:
    p = np.linspace(0, 1, n)
    found = compared(p, p, p > 0.5, n_blocks=n_blocks)
    for change in (found.ece_change, found.in_the_large_change):
        assert math.isnan(change.lower(ALPHA))
        assert change.p_value(-1.0) == 1.0
    assert math.isnan(found.candidate.ece) == math.isnan(found.candidate.in_the_large) == (n == 0)


def test_one_class_and_certain_answers_are_defined() -> None:
    p = np.ones(400)
    found = compared(p, p, np.ones(400, bool))
    assert found.candidate.ece == found.candidate.in_the_large == 0.0
    assert found.ece_change.p_value(0.0) == 1.0
    assert found.candidate.n.tolist() == [0] * 9 + [400]
    wrong = compared(p, np.zeros(400), np.ones(400, bool))
    assert wrong.ece_change.observed == 1.0
    assert wrong.ece_change.p_value(0.5) < 0.01


@pytest.mark.parametrize("bad", [math.nan, 1.5, -0.5, math.inf])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    p = np.array([0.5, 0.5])
    with pytest.raises(Invalid, match="1 of 2"):
        compared(p, np.array([0.5, bad]), np.array([True, False]), n_blocks=2)


def test_regressions_and_other_rows_are_refused() -> None:
    with pytest.raises(Invalid, match="at least two classes"):
        said_and_happened(np.ones((2, 1)), np.ones(2), ())
    p, happened = np.array([0.5, 0.5]), np.array([True, False])
    with pytest.raises(Invalid, match="lengths 2, 2, 1, 2, 2"):
        calibration((p, happened), (p[:1], happened), block_at=np.arange(2), n_blocks=2)
