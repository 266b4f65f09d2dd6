"""Any sequence of moves ends as a model in memory says, and no champion comes unproved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from renewal.core.clock import SystemClock
from renewal.core.errors import Conflict, Refused, RenewalError
from renewal.core.plan import Arm, Plan
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Outcome, Verdict
from renewal.core.version import Manifest, Version
from renewal.registry.db import Database
from renewal.registry.registry import Move, Registry
from renewal.testing.postgres import empty_tables

VERSIONS = st.integers(0, 2)
"""Which of three versions; with None for nothing, that is all an alias can point at."""

MAYBE = st.none() | VERSIONS
OUTCOMES = st.sampled_from(["accept", "accept", "reject", "undecided"])
Answer = Literal["yes", "refused", "conflict"]


@dataclass(frozen=True)
class Call:
    """A call that moves the champion, lawful or not.

    `verdict` counts back from the newest; where there is none so far back, none is named.
    `follows` means to move to that verdict's candidate, whatever `to` says.
    """

    to: int | None
    verdict: int | None
    follows: bool
    kind: str
    stale: int | None
    is_stale: bool
    forced: bool
    with_plan: bool
    also_candidate: bool


RARELY = st.sampled_from([False, False, False, True])
CALLS = st.builds(
    Call,
    to=MAYBE,
    verdict=st.none() | st.integers(1, 3),
    follows=st.booleans(),
    kind=st.sampled_from(["moved", "moved", "rolled_back", "first"]),
    stale=MAYBE,
    is_stale=RARELY,
    forced=RARELY,
    with_plan=st.booleans(),
    also_candidate=RARELY,
)


@dataclass
class Told:
    """What the registry should hold by now: the whole rule once more, in plain words."""

    points: dict[str, int] = field(default_factory=dict)
    champions: list[int | None] = field(default_factory=list)
    verdicts: list[tuple[int, int, Outcome]] = field(default_factory=list)
    n_events: int = 0
    plans: list[int] = field(default_factory=list)

    def answer(self, call: Call, expected: int | None) -> Answer:
        """Say what a call that moves the champion must meet."""
        now = self.points.get("champion")
        if expected != now:
            return "conflict"
        if call.to == now:
            return "refused" if call.kind == "first" else "yes"
        if not self.champions:
            return "yes" if call.to is not None else "refused"
        if call.kind == "first" or (call.to is None and not call.forced):
            return "refused"
        went_back = call.kind == "rolled_back" and call.to in self.champions
        return "yes" if call.forced or went_back else self._answer_of_verdict(call, now)

    def _answer_of_verdict(self, call: Call, now: int | None) -> Answer:
        if call.verdict is None:
            return "refused"
        candidate, baseline, outcome = self.verdicts[-call.verdict]
        if candidate != call.to or outcome != "accept":
            return "refused"
        return "yes" if baseline == now else "conflict"


class Machine(RuleBasedStateMachine):
    """Drive a registry and `Told` side by side."""

    opened: Callable[[], Any]
    manifest: Manifest
    verdict: Verdict

    def __init__(self) -> None:
        super().__init__()
        self._context = type(self).opened()
        self.registry: Registry = self._context.__enter__()
        self.registry.create_model(ModelSpec("flights", "binary", "late"))
        self.versions: list[Version] = [
            self.registry.add_version(replace(self.manifest, seed=seed)) for seed in range(3)
        ]
        self.verdict_ids: list[str] = []
        self.told = Told(n_events=4)

    def teardown(self) -> None:
        """Close the database."""
        self._context.__exit__(None, None, None)

    def id_(self, version: int | None) -> str | None:
        """Return the id of a version by its place."""
        return None if version is None else self.versions[version].id

    @rule(candidate=VERSIONS, beside=MAYBE, outcome=OUTCOMES)
    def judge(self, candidate: int, beside: int | None, outcome: Outcome) -> None:
        """Store a verdict of two versions; beside the present champion where none is drawn."""
        baseline = self.told.points.get("champion", 0) if beside is None else beside
        verdict = replace(
            self.verdict,
            candidate=self.versions[candidate].id,
            baseline=self.versions[baseline].id,
            outcome=outcome,
        )
        self.verdict_ids.append(self.registry.add_verdict("flights", verdict))
        self.told.verdicts.append((candidate, baseline, outcome))

    @rule(call=CALLS)
    def move_champion_once_more(self, call: Call) -> None:
        """Move the champion: named twice to be drawn more often than the rest."""
        self.move_champion(call)

    @rule(call=CALLS)
    def move_champion(self, call: Call) -> None:
        """Move the champion, perhaps with the candidate and a plan; see if it may."""
        told = self.told
        if call.verdict is not None and call.verdict > len(told.verdicts):
            call = replace(call, verdict=None)
        if call.verdict is not None and call.follows:
            call = replace(call, to=told.verdicts[-call.verdict][0])
        now = told.points.get("champion")
        expected = call.stale if call.is_stale else now
        answer = told.answer(call, expected)
        moves = [Move("champion", self.id_(expected), self.id_(call.to))]
        if call.also_candidate:
            moves.append(Move("candidate", self.id_(told.points.get("candidate")), None))
        planned = call.to if call.with_plan else None
        self._expect(
            answer,
            lambda: self.registry.move(
                "flights",
                *moves,
                who="a name",
                why="a reason",
                verdict_id=None if call.verdict is None else self.verdict_ids[-call.verdict],
                forced=call.forced,
                plan=None if planned is None else _steady(self.versions[planned].id),
                kind=call.kind,
            ),
        )
        if answer != "yes":
            return
        told.n_events += 1
        if call.to != now:
            told.champions.append(call.to)
            self._point("champion", call.to)
        if call.also_candidate:
            self._point("candidate", None)
        if planned is not None:
            told.plans.append(planned)

    @rule(expected=MAYBE, to=MAYBE)
    def move_candidate(self, expected: int | None, to: int | None) -> None:
        """Move an alias that needs no verdict."""
        is_lawful = expected == self.told.points.get("candidate")
        self._expect(
            "yes" if is_lawful else "conflict",
            lambda: self.registry.move(
                "flights", Move("candidate", self.id_(expected), self.id_(to)), who="", why=""
            ),
        )
        if is_lawful:
            self.told.n_events += 1
            self._point("candidate", to)

    @rule(version=VERSIONS)
    def publish(self, version: int) -> None:
        """Append a plan beside all moves."""
        self.registry.publish(_steady(self.versions[version].id))
        self.told.plans.append(version)

    def _point(self, alias: str, to: int | None) -> None:
        if to is None:
            self.told.points.pop(alias, None)
        else:
            self.told.points[alias] = to

    def _expect(self, answer: str, act: Callable[[], None]) -> None:
        try:
            act()
        except (Conflict, Refused) as error:
            came: RenewalError | None = error
        else:
            came = None
        named = "yes" if came is None else type(came).__name__.lower()
        assert named == answer, came

    @invariant()
    def everything_is_as_told(self) -> None:
        """Check that a refused move leaves no trace and a lawful one leaves all of its own."""
        registry, told = self.registry, self.told
        points = {alias: self.id_(to) for alias, to in told.points.items()}
        assert registry.aliases("flights") == points
        history = registry.history("flights", "champion")
        assert [move.to_id for move in history] == [self.id_(to) for to in told.champions]
        assert [move.from_id for move in history[1:]] == [move.to_id for move in history[:-1]]
        assert [move.kind == "first" for move in history] == [n == 0 for n in range(len(history))]
        assert len(registry.log("flights")) == told.n_events
        plans = [plan.arms[0].version_id for _, plan in registry.plans_after(0)]
        assert plans == [self.id_(version) for version in told.plans]

    @invariant()
    def every_champion_was_proved_or_forced_by_name(self) -> None:
        """Check that the log itself, without `Told`, allows each champion that it holds."""
        verdicts = dict(self.registry.verdicts("flights"))
        past: list[str | None] = []
        for move in self.registry.history("flights", "champion"):
            verdict = verdicts.get(move.verdict_id or "")
            proved = verdict is not None and (
                (verdict.outcome, verdict.candidate, verdict.baseline)
                == ("accept", move.to_id, move.from_id)
            )
            went_back = move.kind == "rolled_back" and move.to_id in past
            forced = move.forced and bool(move.who and move.why)
            assert not past or proved or went_back or forced
            past.append(move.to_id)


def _steady(version_id: str) -> Plan:
    return Plan("flights", "steady", (Arm("champion", version_id, 1.0),))


def _run(opened: Callable[[], Any], manifest: Manifest, verdict: Verdict, n: int) -> None:
    parts = {"opened": staticmethod(opened), "manifest": manifest, "verdict": verdict}
    run_state_machine_as_test(
        type("Bound", (Machine,), parts),
        settings=settings(
            max_examples=n,
            stateful_step_count=20,
            deadline=None,
            # No shrinking: it would take minutes of a real database. What fails is printed.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sequences_of_moves_on_sqlite(
    migrated: Path, manifest: Manifest, judged: Callable[..., Verdict]
) -> None:
    @contextmanager
    def opened() -> Iterator[Registry]:
        with TemporaryDirectory() as folder:
            path = shutil.copy(migrated, folder)
            db = Database(f"sqlite:///{path}")
            yield Registry(db, SystemClock())
            db.close()

    _run(opened, manifest, judged("a", "b"), n=25)


def test_sequences_of_moves_on_postgresql(
    migrated_postgres: str, manifest: Manifest, judged: Callable[..., Verdict]
) -> None:
    @contextmanager
    def opened() -> Iterator[Registry]:
        empty_tables(migrated_postgres)
        db = Database(migrated_postgres)
        yield Registry(db, SystemClock())
        db.close()

    _run(opened, manifest, judged("a", "b"), n=6)


@pytest.mark.slow
def test_many_sequences_of_moves(
    migrated: Path, manifest: Manifest, judged: Callable[..., Verdict]
) -> None:
    """Run the large form; the small one above always runs."""

    @contextmanager
    def opened() -> Iterator[Registry]:
        with TemporaryDirectory() as folder:
            path = shutil.copy(migrated, folder)
            db = Database(f"sqlite:///{path}")
            yield Registry(db, SystemClock())
            db.close()

    _run(opened, manifest, judged("a", "b"), n=300)
