"""The benchmark of claims in a small form: the world, the usual rule, and ours.

Breaks when the world is no longer the one that the targets were taken in, when the usual rule
would no longer be fooled, or when ours is.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.compress import truth


def test_the_world_is_the_one_of_the_targets() -> None:
    assert truth.BEST == 6
    rng = np.random.default_rng(0)
    rows = [(truth.draw(500, rng), truth.draw(500, rng)) for _ in range(400)]
    usual = truth.Course([truth.smallest(*each) for each in rows])
    assert usual.wrong > 0.4
    plain = truth.Course([truth.ladder(*each) for each in rows])
    # 1.87 with 2,000 searches; a standard error of 400 is 0.09.
    assert abs(plain.level - 1.87) < 0.3


def test_ours_claims_little_that_is_false_and_most_of_what_can_be_shown() -> None:
    """2.1% of the claims are false and the level is 2.98 in 2,000 searches."""
    rng = np.random.default_rng(1)
    rows = [(truth.draw(2_000, rng), truth.draw(2_000, rng)) for _ in range(200)]
    ours = truth.Course([truth.searched(*each) for each in rows])
    assert ours.wrong <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert abs(ours.level - 2.98) < 0.4
    assert ours.n_trials < 11
    fooled = truth.Course([truth.searched(*each, bound=truth.point) for each in rows])
    assert fooled.wrong > 0.2


def test_figures_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    found = truth.courses(500, 20)
    truth.show(500, found)
    truth.tell(500, found)
    lines = capsys.readouterr().out.splitlines()
    figures = [each for each in lines if each.startswith("FIGURE compress.truth_500_")]
    assert len(figures) == 7
