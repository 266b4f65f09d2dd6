"""No sequence of events serves a version that no verdict accepted, unless forced by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from renewal.core.plan import Plan
from renewal.registry.codec import from_plain, to_plain
from renewal.rollout.machine import (
    Accepted,
    Errors,
    Event,
    Harm,
    Rejected,
    Rollback,
    Rollout,
    Superseded,
    Tick,
    begin,
    plan_of,
    step,
)
from renewal.rollout.options import RolloutOptions

_ORDER = ("probation", "shadow", "canary", "full", "done")
_DAYS = st.floats(0, 30)
_OPTIONS = st.builds(
    RolloutOptions,
    shadow_for=st.builds(timedelta, days=_DAYS),
    canary=st.sets(st.floats(0.01, 0.99), max_size=4).map(lambda shares: tuple(sorted(shares))),
    canary_for=st.builds(timedelta, days=_DAYS),
    watch_for=st.builds(timedelta, days=_DAYS),
)


class RolloutMachine(RuleBasedStateMachine):
    """Any events in any order, under a policy that may change between any two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2013, 2, 1, tzinfo=UTC)
        self.accepted: set[str] = set()
        self.forced = False
        self.seen: list[tuple[Rollout, Event | None]] = []

    @property
    def rollout(self) -> Rollout:
        """Return the present state."""
        return self.seen[-1][0]

    @property
    def plan(self) -> Plan:
        """Return the present routing."""
        return plan_of(self.rollout)

    @initialize(options=_OPTIONS, how=st.sampled_from(["undecided", "accepted", "forced"]))
    def start(self, options: RolloutOptions, how: str) -> None:
        """Begin in one of the three ways there are."""
        self.options = options
        self.forced = how == "forced"
        if how == "accepted":
            self.accepted.add("verdict-0")
        first = begin(
            "m",
            champion="champion",
            candidate="candidate",
            at=self.now,
            options=options,
            verdict_id="verdict-0" if how == "accepted" else None,
            forced_by="ann" if self.forced else None,
            forced_why="a try" if self.forced else "",
        )
        self.seen.append((first, None))

    def happen(self, event: Event) -> None:
        """Step, and remember the event with the state it led to."""
        self.seen.append((step(self.rollout, event, self.options), event))

    @rule(days=st.floats(-10, 40))
    def tick(self, days: float) -> None:
        """Let time pass, or a slow clock speak."""
        at = self.now + timedelta(days=days)
        self.happen(Tick(at))
        self.now = max(self.now, at)

    @rule()
    def accept(self) -> None:
        """Let the gate accept the candidate."""
        verdict_id = f"verdict-{len(self.seen)}"
        self.accepted.add(verdict_id)
        self.happen(Accepted(verdict_id, self.now))

    # The guards and people end a rollout: rare enough that long walks are seen too.
    @precondition(lambda self: len(self.seen) % 5 == 0)
    @rule(how=st.sampled_from(["reject", "supersede", "harm", "errors", "rollback"]))
    def take_back(self, how: str) -> None:
        """Let the gate, a guard or a person stop it."""
        events: dict[str, Event] = {
            "reject": Rejected("no gain", self.now),
            "supersede": Superseded(self.now),
            "harm": Harm("worse", self.now),
            "errors": Errors("fails", self.now),
            "rollback": Rollback("ann", "a hunch", self.now),
        }
        self.happen(events[how])

    @rule(options=_OPTIONS)
    def change_policy(self, options: RolloutOptions) -> None:
        """Edit the policy file in the middle of it."""
        self.options = options

    @rule()
    def restart(self) -> None:
        """Crash and come back: what SQL keeps is all that there is."""
        stored = from_plain(Rollout, to_plain(self.rollout))
        assert stored == self.rollout
        self.seen[-1] = (stored, self.seen[-1][1])

    @invariant()
    def nothing_unproven_serves(self) -> None:
        """Fail when a version answers that no verdict and no name let in."""
        answers = {arm.version_id for arm in self.plan.arms if arm.weight > 0}
        assert answers <= {"champion", "candidate"}
        if "candidate" in answers:
            assert self.rollout.verdict_id in self.accepted or (
                self.forced and self.rollout.forced_by == "ann"
            )

    @invariant()
    def weights_are_shares_of_one_whole(self) -> None:
        """Fail when requests would be lost or answered twice."""
        assert abs(sum(arm.weight for arm in self.plan.arms) - 1.0) < 1e-9
        assert all(0.0 <= arm.weight <= 1.0 for arm in self.plan.arms)

    @invariant()
    def both_score_every_row_while_it_is_open(self) -> None:
        """Fail when a pair that the guards need would be missing."""
        expected = {"champion", "candidate"} if self.rollout.is_open else {self.rollout.in_charge}
        assert set(self.plan.versions) == expected

    @invariant()
    def taken_back_is_the_champion_alone(self) -> None:
        """Fail when a candidate that was stopped still runs."""
        if self.rollout.stage in {"rolled_back", "ended"}:
            assert [(arm.version_id, arm.weight) for arm in self.plan.arms] == [("champion", 1.0)]
            assert self.plan.shadow == ()

    @invariant()
    def moves_are_those_of_the_drawing(self) -> None:
        """Fail on a step back, a skipped step, or an end that does not last."""
        if len(self.seen) < 2:
            return
        (before, _), (after, event) = self.seen[-2:]
        assert after.entered_at >= before.entered_at
        assert (after.id, after.started_at) == (before.id, before.started_at)
        if not before.is_open:
            assert after == before
        elif isinstance(event, Tick | Accepted):
            one_on = _ORDER.index(after.stage) - _ORDER.index(before.stage)
            assert one_on in {0, 1} or (before.stage, after.stage) == ("shadow", "full")
            assert after.share >= before.share
        elif isinstance(event, Superseded) and before.stage != "probation":
            assert after == before
        else:
            assert after.stage in {"rolled_back", "ended"}
            assert after.share == 0.0


RolloutMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestRolloutMachine = RolloutMachine.TestCase
