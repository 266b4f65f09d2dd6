"""The front, and the order in which it is certified.

Breaks when luck of one level takes the place of a milder one, when a model that another beats
in both is tested, or when the order depends on that of the trials.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.compress.front import Point, front, order


def point(key: str, value: float, gain: float, family: str = "a", se: float = 0.0) -> Point:
    """Return a point whose chain is its key."""
    return Point(key, key, family, value, gain, se)


POINTS = st.lists(
    st.builds(
        point,
        st.uuids().map(str),
        st.integers(1, 9).map(float),
        st.integers(-9, 3).map(lambda each: each / 100),
        st.sampled_from("abc"),
    ),
    unique_by=lambda each: each.key,
    max_size=12,
)


@given(POINTS)
def test_no_point_of_the_front_is_beaten_and_every_other_is(points: list[Point]) -> None:
    kept = front(points)
    for each in points:
        beaten = any(
            it.value <= each.value
            and it.gain >= each.gain
            and (it.value, -it.gain) != (each.value, -each.gain)
            for it in points
        )
        assert beaten or any((it.value, it.gain) == (each.value, each.gain) for it in kept)
        assert not (beaten and each in kept)


@given(POINTS, st.randoms())
def test_the_order_is_that_of_the_points_and_not_of_their_list(
    points: list[Point], rng: object
) -> None:
    shuffled = list(points)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a random.Random
    assert order(points, margin=0.05) == order(shuffled, margin=0.05)


def test_a_lucky_level_does_not_take_the_turn_of_a_milder_one() -> None:
    lucky = [point("mild", 90, -0.004), point("bold", 80, -0.002), point("wild", 70, -0.009)]
    assert [each.key for each in order(lucky, margin=0.01)] == ["mild", "bold", "wild"]
    assert [each.key for each in front(lucky)] == ["bold", "wild"]


def test_another_chain_that_is_smaller_and_better_ends_it() -> None:
    two = [point("pruned", 90, -0.004), point("int8", 25, -0.001, family="b")]
    assert [each.key for each in order(two, margin=0.01)] == ["int8"]


def test_twins_are_tested_once() -> None:
    twins = [point("one", 50, -0.001), point("two", 50, -0.001, family="b")]
    assert [each.key for each in order(twins, margin=0.01)] == ["one"]


def test_what_clearly_breaks_the_line_or_saves_nothing_is_not_tested() -> None:
    points = [
        point("as large", 100, 0.0),
        point("unsure", 60, -0.011, family="b", se=0.002),
        point("over", 50, -0.02, family="c", se=0.002),
        point("failed", 10, math.nan),
        point("unknown", math.inf, 0.0),
    ]
    assert [each.key for each in order(points, margin=0.01, parent_value=100)] == ["unsure"]


@pytest.mark.parametrize("n", [1, 12, 13, 40])
def test_many_are_thinned_and_both_ends_stay(n: int) -> None:
    points = [point(f"{at:02}", 100 - at, -1e-4 * at) for at in range(n)]
    keys = [each.key for each in order(points, margin=0.01)]
    assert len(keys) == min(n, 12)
    assert (keys[0], keys[-1]) == ("00", f"{n - 1:02}")


def test_nothing_has_no_order() -> None:
    assert order([], margin=0.01) == ()
    assert front([]) == ()
    assert order([point("a", 1, -1.0)], margin=0.01) == ()
