"""Label shift: how many there are of each class now, without a label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.models.score_map import ScoreMap
from renewal.models.score_map_prior import fit_prior
from renewal.models.task import Multiclass

CENTERS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def world(shares: Any, n_rows: int, seed: int) -> tuple[Any, Any]:
    """Points around three centers, and what a model says that learned from equal shares."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n_rows, p=shares)
    points = rng.normal(CENTERS[labels])
    density = np.exp(-((points[:, np.newaxis] - CENTERS) ** 2).sum(axis=2) / 2)
    return density / density.sum(axis=1, keepdims=True), np.array(labels.tolist(), dtype=object)


def test_the_shares_are_found_and_the_loss_falls() -> None:
    """Broken by an EM that stops early, or weights the wrong way round.

    20,000 rows whose shares moved from equal to 70, 25 and 5 in a hundred; the seed is fixed.
    The corrected scores must be as good as those under the true shares, to .002.
    """
    shares = np.array([0.7, 0.25, 0.05])
    scores, labels = world(shares, 20_000, 1)
    found = fit_prior(scores, np.full(3, 1 / 3))
    assert found.after == pytest.approx(shares, abs=0.015)
    task = Multiclass()
    truth = scores * shares / (scores * shares).sum(axis=1, keepdims=True)
    losses = [
        float(task.loss(each, labels, (0, 1, 2)).mean())
        for each in (scores, ScoreMap((found,)).apply(scores), truth)
    ]
    assert losses[0] - losses[1] > 0.1
    assert losses[1] - losses[2] < 0.002


def test_without_a_shift_next_to_nothing_moves() -> None:
    scores, _ = world(np.full(3, 1 / 3), 20_000, 2)
    assert fit_prior(scores, np.full(3, 1 / 3)).after == pytest.approx([1 / 3] * 3, abs=0.02)


def test_a_class_that_was_not_seen_is_not_ruled_out() -> None:
    """Broken by a share of zero: no later row could ever be of that class."""
    scores = np.tile([0.999, 0.001, 0.0], (50, 1))
    after = fit_prior(scores, np.full(3, 1 / 3)).after
    assert min(after) >= 0.9 / 53
    assert sum(after) == pytest.approx(1.0)


def test_a_class_without_a_share_before_is_refused() -> None:
    with pytest.raises(Invalid, match="a share above 0"):
        fit_prior(np.full((3, 2), 0.5), np.array([1.0, 0.0]))
    with pytest.raises(Invalid, match="0 rows"):
        fit_prior(np.empty((0, 2)), np.array([0.5, 0.5]))
