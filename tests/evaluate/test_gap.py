"""Breaks when equal versions, or equal groups, are called unfair more often than said."""

from __future__ import annotations

import numpy as np
import pytest

from renewal.evaluate.fairness import Fairness, fairness
from renewal.evaluate.slices import Grouping

ALPHA = 0.05
N_LOOKS = 150
# Three standard errors of a share of 5% over 150 looks.
MOST = 0.103


def looks(*, n_blocks: int, n_groups: int, gap: float, worse: float = 0.0) -> list[Fairness]:
    """Versions of one quality that agree on four rows of five; blocks of 100 rows.

    The first group is selected less often by `gap`, and by the candidate by `worse` besides.
    """
    rng = np.random.default_rng(n_blocks)
    n = 100 * n_blocks
    names = tuple(f"g={at}" for at in range(n_groups))
    found = []
    for seed in range(N_LOOKS):
        at = rng.integers(0, n_groups, n)
        first = rng.random(n)
        second = np.where(rng.random(n) < 0.8, first, rng.random(n))
        sides = [
            (draw < 0.5 - lost * (at == 0)).astype(object)
            for draw, lost in ((first, gap), (second, gap + worse))
        ]
        found.append(
            fairness(
                (rng.random(n) < 0.5).astype(object),
                sides[0],
                sides[1],
                Grouping("g", names, at),
                block_at=np.arange(n) // 100,
                n_blocks=n_blocks,
                n_boot=300,
                seed=seed,
            )
        )
    return found


def share(found: list[Fairness], name: str, limit: float) -> float:
    return float(np.mean([each.gaps[name].p_value(limit) <= ALPHA for each in found]))


@pytest.mark.parametrize("n_blocks", [10, 40])
def test_equal_groups_and_versions_are_called_unfair_at_most_alpha_of_the_time(
    n_blocks: int,
) -> None:
    """With 4 equal groups every claim is at the edge of its null.

    The naive bootstrap of the widest gap errs by more than 50% here: it is never 0.
    """
    found = looks(n_blocks=n_blocks, n_groups=4, gap=0.0)
    limits = {"difference": 0.0, "ratio": 1.0}
    for measure in ("selection_rate", "tpr"):
        for form in ("difference", "ratio", "difference_change", "ratio_change", "group_change"):
            assert share(found, f"{measure}_{form}", limits.get(form, 0.0)) <= MOST, form


def test_an_old_gap_that_stays_is_no_change() -> None:
    """Two groups, a tenth apart under both versions: change at its null, the gap at its limit."""
    found = looks(n_blocks=30, n_groups=2, gap=0.1)
    assert share(found, "selection_rate_difference", 0.1) <= MOST
    assert share(found, "selection_rate_ratio", 0.8) <= MOST
    for form in ("difference_change", "ratio_change", "group_change"):
        assert share(found, f"selection_rate_{form}", 0.0) <= MOST, form


def test_a_gap_that_grows_is_found() -> None:
    """A tenth more, of 3,000 rows in 30 blocks and 3 groups: nearly always above 2 points."""
    found = looks(n_blocks=30, n_groups=3, gap=0.05, worse=0.1)
    assert share(found, "selection_rate_difference_change", 0.02) > 0.8
    assert share(found, "selection_rate_difference", 0.05) > 0.8
    assert share(found, "selection_rate_group_change", -0.02) > 0.9
    named = [each.gaps["selection_rate_difference_change"].shown(0.02)[1] for each in found]
    assert named.count("g=0") == N_LOOKS
