"""Roles: proportions, stability, independence of the salt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from renewal.core.errors import Invalid
from renewal.data.columns import hash_keys
from renewal.data.roles import TEST, TRAIN, VALIDATION, role_of

GROUPS = hash_keys(f"customer {n}" for n in range(50_000))


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize("groups", [GROUPS, np.arange(50_000, dtype=np.uint64)])
def test_shares_are_kept(groups: np.ndarray, shares: tuple[float, float, float]) -> None:
    """Chi-square at 1e-4 on fixed salts (6 tests: a false alarm once in 1,600 choices of salt)."""
    roles = role_of(groups, b"salt", shares)
    counts = np.bincount(roles, minlength=3)
    assert chisquare(counts, np.array(shares) * len(groups)).pvalue > 1e-4


def test_roles_are_pinned() -> None:
    """Breaks when the function changes: test rows of old homes would become training rows."""
    assert role_of(GROUPS[:20], b"salt").tolist() == [
        0,
        0,
        1,
        0,
        0,
        0,
        2,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]


def test_another_salt_gives_independent_roles() -> None:
    """Agreement of two salts is .54 by chance; 6 standard errors are .0134."""
    agree = np.mean(role_of(GROUPS, b"one") == role_of(GROUPS, b"two"))
    assert abs(agree - (0.7**2 + 0.1**2 + 0.2**2)) < 0.0134


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.binary(max_size=40))
def test_a_role_depends_on_the_group_alone(groups: list[int], salt: bytes) -> None:
    """Breaks when batches, order or repeats matter."""
    hashes = np.array(groups, np.uint64)
    together = role_of(hashes, salt)
    assert set(together.tolist()) <= {TRAIN, VALIDATION, TEST}
    alone = [role_of(np.array([each], np.uint64), salt)[0] for each in hashes]
    assert together.tolist() == alone


def test_a_share_of_nothing_gets_nothing() -> None:
    assert set(role_of(GROUPS, b"salt", (1.0, 0.0, 0.0)).tolist()) == {TRAIN}
    assert set(role_of(GROUPS, b"salt", (0.0, 0.0, 1.0)).tolist()) == {TEST}


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.2), (1.2, -0.4, 0.2), (1.0,), (0.5, 0.5)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(Invalid, match="sum to 1"):
        role_of(GROUPS[:2], b"salt", shares)
