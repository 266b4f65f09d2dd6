"""The race: who starts, who goes on, who leaves, and what the budget allows.

Heats are made up: each starter has a true loss that falls with the share of the rows, and a
price a row. The race sees only what a real one would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from renewal.update.budget import Budget
from renewal.update.entry import Entry, pick
from renewal.update.race import Heat, Result, Starter, paired, race
from renewal.update.series import straight

N_ROWS = 400
BLOCKS = np.repeat(np.arange(40, dtype=np.int64), 10)


@dataclass
class Track:
    """Where made-up starters run: a loss at the end, how much worse on fewer rows, a price."""

    ends: Mapping[str, float]
    steepness: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    noise: NDArray[np.float64] = field(default_factory=lambda: np.zeros(N_ROWS))
    heats: list[Heat] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)

    def __call__(self, heats: Sequence[Heat]) -> list[Result]:
        self.heats += heats
        self.groups.append(len(heats))
        return [self._run(heat) for heat in heats]

    def _run(self, heat: Heat) -> Result:
        seconds = self.seconds.get(heat.label, 0.0) * heat.share
        if heat.label in self.broken:
            return Result(Entry(heat.label, "failed", "ValueError: broken", seconds=seconds))
        loss = self.ends[heat.label] - self.steepness.get(heat.label, 0.0) * math.log(heat.share)
        losses = loss + self.noise
        return Result(Entry(heat.label, "made", "", float(losses.mean()), seconds), losses)

    def shares(self, label: str) -> list[float]:
        return [heat.share for heat in self.heats if heat.label == label]


def run(track: Track, *dear: str, budget: Budget | None = None, n_slots: int = 1) -> list[Entry]:
    starters = [
        Starter(label, is_dear=label in dear, expected_s=track.seconds.get(label))
        for label in track.ends
    ]
    found = race(starters, track, budget or Budget(), blocks=BLOCKS, n_slots=n_slots)
    assert [each.recipe for each in found] == list(track.ends)
    return list(found)


def test_cheap_starters_run_once_on_all_rows() -> None:
    track = Track({"keep": 0.5, "recalibrate": 0.4})
    entries = run(track)
    assert [(each.recipe, each.share) for each in entries] == [("keep", 1.0), ("recalibrate", 1.0)]
    assert len(track.heats) == 2
    assert entries[1].ahead == pytest.approx(0.1)


def test_the_worse_half_of_the_dear_leaves_early() -> None:
    """Breaks when everybody is fitted on everything: the race would cost what it saves."""
    ends = {"keep": 0.9, "a": 0.3, "b": 0.5, "c": 0.6, "d": 0.7}
    track = Track(ends, seconds=dict.fromkeys("abcd", 90.0))
    entries = {each.recipe: each for each in run(track, *"abcd")}
    assert {label: entry.outcome for label, entry in entries.items()} == {
        "keep": "made",
        "a": "made",
        "b": "behind",
        "c": "behind",
        "d": "behind",
    }
    assert track.shares("a") == [1 / 9, 1 / 3, 1.0]
    assert track.shares("d") == [1 / 9]
    total_s = sum(each.seconds for each in entries.values())
    assert total_s == pytest.approx(90.0 * (4 / 9 + 2 / 3 + 1))
    assert pick(entries.values()) == entries["a"]


def test_one_dear_starter_alone_is_not_tried_on_shares() -> None:
    track = Track({"keep": 0.5, "retrain": 0.4})
    run(track, "retrain")
    assert track.shares("retrain") == [1.0]


def test_who_cannot_catch_up_stops_before_the_whole_fit() -> None:
    """Its curve is flat and above the leader's: the whole fit costs most and cannot pay."""
    ends = {"keep": 0.3, "a": 0.5, "b": 0.6}
    track = Track(ends, steepness={"a": 0.01, "b": 0.01})
    entries = {each.recipe: each for each in run(track, "a", "b")}
    assert track.shares("a") == [1 / 9, 1 / 3]
    assert entries["a"].outcome == "behind"
    assert "cannot pay" in entries["a"].reason


def test_who_still_falls_fast_goes_on() -> None:
    ends = {"keep": 0.3, "a": 0.25, "b": 0.6}
    track = Track(ends, steepness={"a": 0.2, "b": 0.2})
    entries = {each.recipe: each for each in run(track, "a", "b")}
    assert track.shares("a") == [1 / 9, 1 / 3, 1.0]
    winner = pick(entries.values())
    assert winner is not None
    assert winner.recipe == "a"


def test_nothing_starts_after_the_budget() -> None:
    ends = {"keep": 0.9, "a": 0.5, "b": 0.4, "c": 0.3}
    track = Track(ends, seconds={"a": 6.0, "b": 6.0, "c": 6.0})
    starters = [Starter(each) for each in ends]  # nobody knows what they take
    entries = race(starters, track, Budget(seconds=10.0), blocks=BLOCKS)
    assert [each.outcome for each in entries] == ["made", "made", "made", "skipped"]
    assert "used up" in entries[3].reason


def test_a_fit_that_is_longer_than_what_is_left_does_not_start() -> None:
    """Breaks when a budget smaller than one fit is spent on half of it."""
    track = Track({"keep": 0.9, "a": 0.5}, seconds={"a": 60.0})
    entries = run(track, budget=Budget(seconds=10.0))
    assert entries[1].outcome == "skipped"
    assert "about 60 s, and 10 s are left" in entries[1].reason
    assert [heat.label for heat in track.heats] == ["keep"]


def test_trials_are_counted_with_those_on_a_share() -> None:
    track = Track({"keep": 0.9, "a": 0.5, "b": 0.4, "c": 0.3})
    entries = run(track, budget=Budget(trials=2))
    assert [each.outcome for each in entries] == ["made", "made", "made", "skipped"]


def test_money_is_shown_for_each() -> None:
    track = Track({"keep": 0.9, "a": 0.5}, seconds={"a": 36.0})
    entries = run(track, budget=Budget(price_per_hour=10.0))
    assert [each.cost for each in entries] == [0.0, pytest.approx(0.1)]


def test_as_many_run_side_by_side_as_there_are_slots() -> None:
    track = Track(dict.fromkeys("abcde", 0.5))
    run(track, n_slots=2)
    assert track.groups == [2, 2, 1]


def test_a_broken_one_leaves_the_others_alone() -> None:
    track = Track({"keep": 0.9, "a": 0.5, "b": 0.4}, broken=frozenset("a"))
    entries = run(track)
    assert [each.outcome for each in entries] == ["made", "failed", "made"]


def test_one_that_breaks_on_all_rows_has_not_won_on_a_share() -> None:
    class Breaking(Track):
        def _run(self, heat: Heat) -> Result:
            if heat.label == "a" and heat.share == 1.0:
                return Result(Entry("a", "failed", "out of memory", seconds=1.0))
            return super()._run(heat)

    track = Breaking({"keep": 0.9, "a": 0.2, "b": 0.4}, seconds={"a": 9.0})
    entries = run(track, "a", "b")
    assert entries[1].outcome == "failed"
    assert pick(entries) is None
    assert entries[1].seconds == pytest.approx(1.0 + 3.0 + 1.0)


def test_who_rests_does_not_run() -> None:
    track = Track({"keep": 0.9, "a": 0.5})
    entries = race(
        [Starter("keep"), Starter("a", rests="it was beaten")], track, Budget(), blocks=BLOCKS
    )
    assert entries[1] == Entry("a", "sat_out", "it was beaten")
    assert [heat.label for heat in track.heats] == ["keep"]


def test_a_champion_that_may_not_be_scored_is_no_yardstick() -> None:
    def unscored(heats: Sequence[Heat]) -> list[Result]:
        return [
            Result(Entry("keep", "not_possible", "trained on them"))
            if heat.label == "keep"
            else Result(Entry(heat.label, "made", "", 0.5), np.full(N_ROWS, 0.5))
            for heat in heats
        ]

    entries = race([Starter("keep"), Starter("a")], unscored, Budget(), blocks=BLOCKS)
    assert entries[1].ahead is None
    assert pick(entries) == entries[1]


@given(
    st.lists(st.floats(0.1, 0.9), min_size=2, max_size=7),
    st.integers(1, 3),
    st.sampled_from([None, 1, 3, 50]),
)
def test_every_starter_ends_and_the_best_that_ran_wins(
    losses: list[float], n_slots: int, trials: int | None
) -> None:
    ends = {f"r{at}": loss for at, loss in enumerate(losses)}
    track = Track(ends, seconds=dict.fromkeys(ends, 1.0))
    entries = run(track, *list(ends)[1:], budget=Budget(trials=trials), n_slots=n_slots)
    made = [each for each in entries if each.outcome == "made"]
    assert all(each.share == 1.0 for each in made)
    best = pick(entries)
    if made:
        assert best is not None
        assert best.loss == min(each.loss for each in made if each.loss is not None)
    if trials is None:
        assert best is not None
        assert best.loss == pytest.approx(min(losses))


def test_errors_are_over_blocks_not_rows() -> None:
    """Rows of one block move together: taken one by one they would prove far too much."""
    rng = np.random.default_rng(0)
    per_block = np.repeat(rng.normal(size=40), 10)
    ahead, error = paired(np.zeros(N_ROWS), per_block, BLOCKS)
    assert ahead == pytest.approx(per_block.mean())
    expected = per_block[::10].std(ddof=1) / math.sqrt(40)
    assert error == pytest.approx(expected)
    assert paired(np.zeros(3), np.ones(3), np.zeros(3, np.int64))[1] == math.inf


def raced(track: Track, *others: Starter) -> dict[str, Entry]:
    starters = [Starter("keep"), Starter("a", is_dear=True, is_straight=True), *others]
    return {each.recipe: each for each in race(starters, track, Budget(), blocks=BLOCKS)}


def test_who_goes_straight_runs_no_heat_where_the_others_rest() -> None:
    """Breaks when the races of a quiet year cost more than the fits that they lead to."""
    track = Track({"keep": 0.5, "a": 0.5, "b": 0.4})
    entries = raced(track, Starter("b", is_dear=True, rests="it was beaten"))
    assert track.heats == []
    assert [each.outcome for each in entries.values()] == ["sat_out", "sure", "sat_out"]
    assert pick(entries.values()) == entries["a"]


def test_a_tie_with_its_last_version_does_not_stop_it() -> None:
    """What it made last time is older than what it will make: the tie is in its favour."""
    track = Track({"keep": 0.5, "a": 0.5, "b": 0.5})
    entries = raced(track, Starter("b", is_dear=True))
    assert [heat.label for heat in track.heats] == ["keep", "b"]
    assert pick(entries.values()) == entries["a"]


def test_who_clearly_beats_the_champion_makes_it_race() -> None:
    """Breaks when a better recipe comes back from its rest and is not let through."""
    track = Track({"keep": 0.5, "a": 0.49, "b": 0.3})
    entries = raced(track, Starter("b", is_dear=True))
    assert [heat.label for heat in track.heats] == ["keep", "b", "a"]
    assert pick(entries.values()) == entries["b"]
    assert straight([list(entries.values())], "b")


def test_what_cannot_be_made_is_not_tried() -> None:
    track = Track({"keep": 0.5, "b": 0.4})
    entries = race(
        [Starter("keep"), Starter("b", why_not="it cannot")], track, Budget(), blocks=BLOCKS
    )
    assert entries[1] == Entry("b", "not_possible", "it cannot")
    assert [heat.label for heat in track.heats] == ["keep"]


def test_a_step_back_needs_a_clear_lead() -> None:
    """Breaks when an older version comes back by the luck of one week."""

    def against(ahead: float) -> list[Entry]:
        former = Entry("version:1", "made", "", 0.5 - ahead, ahead=ahead, ahead_se=0.02)
        return [Entry("keep", "made", "", 0.5), former]

    assert pick(against(0.03)) is None
    back = pick(against(0.05))
    assert back is not None
    assert back.recipe == "version:1"
