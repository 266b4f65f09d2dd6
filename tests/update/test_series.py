"""What past races say about the next one: who rests, for how long, and who goes straight."""

from __future__ import annotations

import pytest

from renewal.update.entry import Entry
from renewal.update.series import rest, straight


def beaten(label: str = "b") -> list[Entry]:
    return [Entry("keep", "made", "", 0.5), Entry("a", "made", "", 0.3), Entry(label, "behind", "")]


def sat_out() -> list[Entry]:
    return [Entry("a", "made", "", 0.3), Entry("b", "sat_out", "")]


@pytest.mark.parametrize(
    ("past", "rests"),
    [
        ([], False),
        ([beaten()], False),
        ([beaten(), beaten()], True),
        ([sat_out(), beaten(), beaten()], False),
        ([beaten(), sat_out(), beaten(), beaten()], True),
        ([sat_out(), beaten(), sat_out(), beaten(), beaten()], True),
        ([sat_out(), sat_out(), beaten(), sat_out(), beaten(), beaten()], False),
        ([[Entry("b", "made", "", 0.2)], beaten(), beaten()], False),
        ([[Entry("b", "failed", "")], beaten(), beaten()], False),
        ([beaten("other"), beaten()], False),
    ],
)
def test_the_beaten_rest_longer_each_time(past: list[list[Entry]], rests: bool) -> None:  # noqa: FBT001  # a case
    assert (rest(past, "b") is not None) == rests


def test_a_narrow_loss_is_no_beating() -> None:
    narrow = [
        Entry("a", "made", "", 0.30, ahead=0.2, ahead_se=0.05),
        Entry("b", "made", "", 0.35, ahead=0.15, ahead_se=0.05),
    ]
    assert rest([narrow] * 5, "b") is None
    wide = [narrow[0], Entry("b", "made", "", 0.45, ahead=0.05, ahead_se=0.05)]
    assert rest([wide] * 5, "b") is not None


def test_nobody_rests_for_ever() -> None:
    """Breaks when the world turns and the recipe for it is never tried again."""
    past: list[list[Entry]] = [beaten(), beaten()]
    longest = 0
    for _ in range(60):
        n_rest = 0
        while rest(past, "b") is not None:
            past.insert(0, sat_out())
            n_rest += 1
            assert n_rest <= 8
        longest = max(longest, n_rest)
        past.insert(0, beaten())
    assert longest == 8


def test_losing_to_a_much_cheaper_one_is_a_beating() -> None:
    """Breaks when a recipe of five times the price goes on for a tie."""

    def tie(seconds: float) -> list[Entry]:
        return [
            Entry("a", "made", "", 0.30, seconds=1.0, ahead=0.2, ahead_se=0.05),
            Entry("b", "made", "", 0.31, seconds=seconds, ahead=0.19, ahead_se=0.05),
        ]

    assert rest([tie(5.0)] * 2, "b") is not None
    assert rest([tie(1.5)] * 2, "b") is None


def test_losing_to_the_champion_is_one_only_where_it_is_clear() -> None:
    def race_of(loss: float) -> list[Entry]:
        return [
            Entry("keep", "made", "", 0.30),
            Entry("b", "made", "", loss, seconds=9.0, ahead=0.30 - loss, ahead_se=0.05),
        ]

    assert rest([race_of(0.35)] * 3, "b") is None
    assert rest([race_of(0.45)] * 3, "b") is not None


def won(label: str = "a") -> list[Entry]:
    return [Entry("keep", "made", "", 0.5), Entry(label, "made", "", 0.3)]


def went_straight(keep: str = "sat_out") -> list[Entry]:
    return [
        Entry("keep", keep, "", 0.5 if keep == "made" else None),  # type: ignore[arg-type]  # a case
        Entry("a", "sure", ""),
    ]


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        ([], False),
        ([won()], True),
        ([won("b"), won()], False),
        ([[Entry("keep", "made", "", 0.1)], won()], False),
        ([went_straight()] * 23 + [won()], True),
        ([went_straight()] * 24 + [won()], False),
        ([went_straight()] * 20 + [went_straight("made")], True),
    ],
)
def test_who_won_goes_straight_for_a_while(past: list[list[Entry]], expected: bool) -> None:  # noqa: FBT001  # a case
    """Breaks when nobody is ever compared again, or a loss is not noticed."""
    assert straight(past, "a") == expected


def test_a_loss_to_one_that_went_straight_is_a_beating() -> None:
    lost = [*went_straight("made"), Entry("b", "made", "", 0.45, ahead=0.05, ahead_se=0.05)]
    assert rest([lost, lost], "b") is not None
    assert rest([lost], "b") is None


def test_a_dearer_one_rests_longer_but_not_for_ever() -> None:
    """Breaks when one look at a recipe of ten times the price costs as much as the year."""
    past = [beaten(), beaten(), beaten(), beaten()]
    due = {times: str(rest(past, "b", times=times)).split()[-1] for times in (0.5, 1.0, 2.5, 10.0)}
    assert due == {0.5: "4", 1.0: "4", 2.5: "10", 10.0: "12"}


def test_former_versions_rest_together() -> None:
    """Their ids change with every update, so that none of them would ever have lost twice."""

    def lost(version: str) -> list[Entry]:
        return [*went_straight("made"), Entry(f"version:{version}", "made", "", 0.6)]

    assert rest([lost("d"), lost("c")], "version:") is not None
    assert rest([lost("d"), lost("c")], "version:d") is None
