"""Each arrow of the drawing in `machine.py`, and each plan beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from renewal.core.errors import Invalid
from renewal.core.plan import Arm, Plan
from renewal.rollout.machine import (
    Accepted,
    Errors,
    Event,
    Harm,
    Rejected,
    Rollback,
    Rollout,
    Tick,
    begin,
    plan_of,
    step,
)
from renewal.rollout.options import RolloutOptions

_START = datetime(2013, 2, 1, tzinfo=UTC)
_OPTIONS = RolloutOptions()


def _day(number: float) -> datetime:
    return _START + timedelta(days=number)


def _begin(
    verdict_id: str | None = None,
    forced_by: str | None = None,
    options: RolloutOptions = _OPTIONS,
) -> Rollout:
    return begin(
        "m",
        champion="a",
        candidate="b",
        at=_START,
        options=options,
        verdict_id=verdict_id,
        forced_by=forced_by,
        forced_why="to see it fail" if forced_by else "",
    )


def _walk(rollout: Rollout, *days: float) -> Rollout:
    for day in days:
        rollout = step(rollout, Tick(_day(day)), _OPTIONS)
    return rollout


def test_an_accepted_candidate_walks_from_shadow_to_done() -> None:
    """Breaks when a step is skipped, repeated, or taken before its time."""
    seen = []
    rollout = _begin("v")
    for hour in range(0, 24 * 21, 6):
        rollout = step(rollout, Tick(_day(hour / 24)), _OPTIONS)
        seen.append((hour / 24, rollout.stage, rollout.share))
    changes = [seen[0]] + [after for before, after in pairwise(seen) if after[1:] != before[1:]]
    assert changes == [
        (0, "shadow", 0.0),
        (2, "canary", 0.1),
        (4, "canary", 0.5),
        (6, "full", 1.0),
        (20, "done", 1.0),
    ]


def test_a_late_tick_leads_one_step_on_and_no_further() -> None:
    """Breaks when a watcher that slept for a month sends all traffic to a candidate at once."""
    rollout = _walk(_begin("v"), 300)
    assert (rollout.stage, rollout.share, rollout.entered_at) == ("canary", 0.1, _day(300))
    assert _walk(rollout, 301).share == 0.1


def test_an_old_tick_changes_nothing() -> None:
    """Breaks when a clock that went back makes a stage look longer or shorter."""
    rollout = _walk(_begin("v"), 2)
    assert step(rollout, Tick(_day(-50)), _OPTIONS) is rollout
    assert step(rollout, Harm("worse", _day(-50)), _OPTIONS).entered_at == rollout.entered_at


@pytest.mark.parametrize("days", [1, 100, 10_000])
def test_time_never_ends_probation(days: int) -> None:
    """Breaks when an undecided candidate gets in by waiting."""
    rollout = _begin()
    assert step(rollout, Tick(_day(days)), _OPTIONS) is rollout


def test_probation_ends_by_the_gate() -> None:
    accepted = step(_begin(), Accepted("v9", _day(3)), _OPTIONS)
    assert (accepted.stage, accepted.verdict_id, accepted.entered_at) == ("shadow", "v9", _day(3))
    rejected = step(_begin(), Rejected("no gain", _day(3)), _OPTIONS)
    assert (rejected.stage, rejected.reason) == ("ended", "the gate rejected it: no gain")


def test_a_second_verdict_does_not_replace_the_first() -> None:
    rollout = _walk(_begin("v1"), 2)
    assert step(rollout, Accepted("v2", _day(3)), _OPTIONS) is rollout


@pytest.mark.parametrize(
    "event",
    [
        Harm("it loses more", _day(9)),
        Errors("it fails more", _day(9)),
        Rollback("ann", "a hunch", _day(9)),
    ],
)
@pytest.mark.parametrize("days", [(), (2,), (2, 4), (2, 4, 6)])
def test_harm_errors_and_people_take_it_back(event: Event, days: tuple[float, ...]) -> None:
    """Breaks when a guard is not listened to in some stage."""
    taken = step(_walk(_begin("v"), *days), event, _OPTIONS)
    assert (taken.stage, taken.share, taken.entered_at) == ("rolled_back", 0.0, _day(9))
    assert plan_of(taken) == Plan("m", "steady", (Arm("champion", "a", 1.0),))


def test_a_rejection_ends_what_has_not_served_and_takes_back_what_has() -> None:
    no = Rejected("worse", _day(9))
    assert step(_walk(_begin("v")), no, _OPTIONS).stage == "ended"
    assert step(_walk(_begin("v"), 2), no, _OPTIONS).stage == "rolled_back"


def test_a_forced_candidate_starts_as_a_canary_and_keeps_the_name() -> None:
    """Breaks when the log can no longer say who let a harmful candidate in."""
    rollout = _begin(forced_by="ann")
    assert (rollout.stage, rollout.share) == ("canary", 0.1)
    taken = step(_walk(rollout, 2, 4), Harm("it loses 0.1 a row", _day(5)), _OPTIONS)
    assert (taken.stage, taken.forced_by, taken.forced_why) == (
        "rolled_back",
        "ann",
        "to see it fail",
    )
    assert taken.reason == "it loses 0.1 a row"


def test_without_canary_shares_shadow_leads_to_full() -> None:
    options = RolloutOptions(canary=())
    assert step(_begin("v", options=options), Tick(_day(2)), options).stage == "full"
    assert _begin(forced_by="ann", options=options).stage == "full"


def test_a_changed_policy_never_lowers_a_share() -> None:
    """Breaks when a new list of shares is read by position instead of by value."""
    rollout = _walk(_begin("v"), 2, 4)
    assert rollout.share == 0.5
    fewer = step(rollout, Tick(_day(6)), RolloutOptions(canary=(0.05, 0.2)))
    assert (fewer.stage, fewer.share) == ("full", 1.0)
    more = step(rollout, Tick(_day(6)), RolloutOptions(canary=(0.05, 0.75)))
    assert (more.stage, more.share) == ("canary", 0.75)


def test_the_plan_of_each_stage() -> None:
    """Breaks when a stage serves or shadows anything but what the drawing says."""
    champion = Arm("champion", "a", 1.0)
    shadow = _begin("v")
    assert plan_of(_begin()) == Plan("m", "shadow", (champion,), ("b",))
    assert plan_of(shadow) == Plan("m", "shadow", (champion,), ("b",))
    assert plan_of(_walk(shadow, 2)) == Plan(
        "m", "canary", (Arm("champion", "a", 0.9), Arm("candidate", "b", 0.1)), ("a", "b")
    )
    assert plan_of(_walk(shadow, 2, 4, 6)) == Plan(
        "m", "full", (Arm("candidate", "b", 1.0),), ("a",)
    )
    done = _walk(shadow, 2, 4, 6, 20)
    assert plan_of(done) == Plan("m", "steady", (Arm("champion", "b", 1.0),))
    assert (done.in_charge, _walk(shadow, 2, 4).in_charge) == ("b", "a")


def test_no_record_can_say_that_an_unproven_candidate_serves() -> None:
    """Breaks when a stored or hand-made record could smuggle a version past the gate."""
    for stage, share in (("shadow", 0.0), ("canary", 0.1), ("full", 1.0), ("done", 1.0)):
        with pytest.raises(Invalid, match="accept verdict"):
            replace(_begin(), stage=stage, share=share)  # type: ignore[arg-type]  # each is a Stage
    with pytest.raises(Invalid, match="accept verdict"):
        replace(_begin("v"), verdict_id="")
    with pytest.raises(Invalid, match="share"):
        replace(_begin(), share=0.5)
    with pytest.raises(Invalid, match="a name and a reason"):
        replace(_begin(forced_by="ann"), forced_why="")
    with pytest.raises(Invalid, match="not the champion"):
        replace(_begin("v"), candidate="a")


def test_naive_instants_are_refused() -> None:
    with pytest.raises(Invalid, match="time zone"):
        step(_begin("v"), Tick(datetime(2013, 2, 2)), _OPTIONS)  # noqa: DTZ001  # the point
