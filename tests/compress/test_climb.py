"""The levels that a search looks at.

Breaks when bisection follows the estimate, when no mild level is looked at, when a level is
tried twice, or when a search goes on after its time.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from renewal.compress.climb import Look, climb, look_of


def looked(n_levels: int, n_safe: int, n_seems: int) -> list[int]:
    """Return the levels looked at where so many are safe, and so many more seem to hold."""
    seen: list[int] = []

    def look(level: int) -> Look:
        seen.append(level)
        if level < n_safe:
            return "safe"
        return "seems" if level < n_safe + n_seems else "fails"

    climb(n_levels, look)
    return seen


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_finds_the_boldest_safe_level_and_keeps_a_mild_one(
    n_levels: int, n_safe: int, n_seems: int
) -> None:
    seen = looked(n_levels, min(n_safe, n_levels), n_seems)
    assert len(seen) == len(set(seen))
    assert all(0 <= each < n_levels for each in seen)
    assert 0 in seen
    if 0 < n_safe <= n_levels:
        assert n_safe - 1 in seen
    assert len(seen) <= 2 * (n_levels.bit_length() + 1) + 5


def test_bolder_levels_end_at_the_first_that_fails() -> None:
    assert max(looked(20, 3, 2)[4:]) == 5


def test_nothing_is_looked_at_once_the_time_is_over() -> None:
    seen: list[int] = []

    def look(level: int) -> Look | None:
        seen.append(level)
        return None if len(seen) == 3 else "fails"

    climb(20, look)
    assert len(seen) == 3


def test_no_level_is_no_trial() -> None:
    seen: list[int] = []
    climb(0, seen.append)
    assert seen == []


def test_what_an_estimate_says() -> None:
    assert look_of(0.0, 0.004, margin=0.01) == "safe"
    assert look_of(-0.012, 0.002, margin=0.01) == "seems"
    assert look_of(-0.02, 0.002, margin=0.01) == "fails"
