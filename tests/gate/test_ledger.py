"""Breaks when a look is lost, a level is granted twice, or rows count for two candidates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from renewal.core.verdict import Outcome, Verdict
from renewal.evaluate.series import Series
from renewal.gate.judge import Grant, not_judged
from renewal.gate.ledger import (
    budget_of,
    claims,
    grant,
    looks,
    looks_at,
    record_look,
    rows_used,
)
from renewal.gate.options import GateOptions
from renewal.registry.db import Database
from renewal.stats.lifetime import granted_level

MakeSeries = Callable[..., Series]
Look = Callable[..., Verdict]
AT = datetime(2013, 3, 1, tzinfo=UTC)
CANDIDATE, BASELINE, OTHER = "c" * 64, "b" * 64, "d" * 64
PAIR = (CANDIDATE, BASELINE)
OPTIONS = GateOptions()


@pytest.fixture
def verdict(make_series: MakeSeries, look: Look) -> Verdict:
    """Return an undecided first look at a level of 5%."""
    return look(make_series(np.tile([0.05, -0.04], 7)), GateOptions(futility=0.0))


def record(db: Database, *verdicts: Verdict, **more: Any) -> None:
    """Write each verdict down in a transaction of its own, an hour apart."""
    for hour, each in enumerate(verdicts):
        with db.transaction() as connection:
            record_look(connection, "flights", each, AT + timedelta(hours=hour), **more)


def decided(verdict: Verdict, granted: Grant, outcome: Outcome = "undecided") -> Verdict:
    """Return the verdict as a look at a granted level would give it."""
    return replace(verdict, outcome=outcome, number=granted.number, threshold=1.0 / granted.level)


def test_looks_come_back_in_order_and_whole(
    db: Database, verdict: Verdict, make_series: MakeSeries, look: Look
) -> None:
    later = look(make_series([0.05] * 10), is_first=False)
    record(db, verdict, later, rows="e" * 64, series=("f" * 64, "0" * 64))
    first, second = looks(db, "flights")
    assert (first.look, first.outcome, first.alpha) == ("first", "undecided", 0.025)
    assert (second.look, second.outcome) == ("sequential", "accept")
    assert (first.n_rows, first.n_blocks) == (verdict.n_rows, 14)
    assert first.judged_from_us == verdict.judged_from_us
    assert first.judged_until_us == verdict.judged_until_us
    assert (first.candidate, first.baseline, first.model) == (CANDIDATE, BASELINE, "flights")
    assert (first.at, second.at) == (AT, AT + timedelta(hours=1))
    assert (first.rows, first.series) == ("e" * 64, ("f" * 64, "0" * 64))
    assert first.verdict is None
    assert looks(db, "others") == ()


def test_the_looks_at_a_pair_come_oldest_first(db: Database, verdict: Verdict) -> None:
    """The running test goes on from the newest."""
    assert looks_at(db, "flights", *PAIR) == ()
    record(db, verdict, replace(verdict, look="sequential", judged_until_us=9_000))
    found = looks_at(db, "flights", *PAIR)
    assert [each.look for each in found] == ["first", "sequential"]
    assert found[-1].judged_until_us == 9_000


def test_a_look_at_nothing_is_no_first_look(db: Database, verdict: Verdict) -> None:
    """A candidate that once could not be scored keeps its one fixed look."""
    nothing = not_judged(
        *PAIR,
        OPTIONS,
        loss="log_loss",
        outcome="undecided",
        reason="no row",
        next_action="wait",
    )
    record(db, nothing)
    assert looks_at(db, "flights", *PAIR) == ()
    assert len(looks(db, "flights")) == 1
    assert claims(db, "flights") == ()
    record(db, verdict)
    assert len(looks_at(db, "flights", *PAIR)) == 1


def test_only_the_pair_counts(db: Database, verdict: Verdict) -> None:
    record(db, replace(verdict, candidate=OTHER))
    record(db, replace(verdict, baseline=OTHER, number=2))
    assert looks_at(db, "flights", *PAIR) == ()
    assert len(looks_at(db, "flights", OTHER, BASELINE)) == 1


def test_the_first_claim_gets_what_the_life_leaves_to_it(db: Database, verdict: Verdict) -> None:
    found = grant(db, "flights", PAIR, OPTIONS)
    assert found == Grant(granted_level(OPTIONS.budget, 0, n_accepted_before=0), 1)
    assert grant(db, "flights", PAIR, OPTIONS) == found  # asking writes nothing
    assert claims(db, "flights") == ()
    record(db, decided(verdict, found))
    (claim,) = claims(db, "flights")
    assert (claim.claim, claim.number, claim.candidate, claim.baseline) == ("superior", 1, *PAIR)
    assert claim.level == pytest.approx(found.level, rel=1e-15)
    assert (claim.outcome, claim.opened_at, claim.decided_at) == ("undecided", AT, None)
    assert claim.e_value == verdict.e_value


def test_a_pair_keeps_its_number_and_level_whatever_comes_after(
    db: Database, verdict: Verdict
) -> None:
    """A level chosen after a look promises nothing."""
    first = grant(db, "flights", PAIR, OPTIONS)
    record(db, decided(verdict, first))
    second = grant(db, "flights", (OTHER, BASELINE), OPTIONS)
    assert second == Grant(granted_level(OPTIONS.budget, 1, n_accepted_before=0), 2)
    record(db, replace(decided(verdict, second, "accept"), candidate=OTHER))
    kept = grant(db, "flights", PAIR, GateOptions(budget=0.5))
    assert kept.number == 1
    assert kept.level == pytest.approx(first.level, rel=1e-15)
    later = replace(decided(verdict, kept, "accept"), look="sequential", e_value=999.0)
    record(db, replace(later, outcome="undecided", e_value=3.0), later)
    mine = next(each for each in claims(db, "flights") if each.candidate == CANDIDATE)
    assert (mine.outcome, mine.e_value) == ("accept", 999.0)
    assert (mine.opened_at, mine.decided_at) == (AT, AT + timedelta(hours=1))
    assert mine.level == pytest.approx(first.level, rel=1e-15)
    assert len(claims(db, "flights")) == 2


def test_an_acceptance_raises_the_next_level(db: Database, verdict: Verdict) -> None:
    first = grant(db, "flights", PAIR, OPTIONS)
    record(db, decided(verdict, first, "accept"))
    found = grant(db, "flights", (OTHER, BASELINE), OPTIONS)
    assert found == Grant(granted_level(OPTIONS.budget, 1, n_accepted_before=1), 2)
    assert found.level > granted_level(OPTIONS.budget, 1, n_accepted_before=0)
    spent = budget_of(db, "flights", OPTIONS)
    assert (spent.n_tested, spent.n_accepted, spent.n_looks) == (1, 1, 1)
    assert (spent.n_rows_used, spent.next_level) == (verdict.n_rows, found.level)


def test_no_level_is_above_alpha(db: Database) -> None:
    options = GateOptions(alpha=0.001, budget=0.9)
    assert grant(db, "flights", PAIR, options).level == 0.001
    assert budget_of(db, "flights", options).next_level == 0.001


def test_each_kind_of_claim_has_a_life_of_its_own(db: Database, verdict: Verdict) -> None:
    first = grant(db, "flights", PAIR, OPTIONS)
    record(db, decided(verdict, first, "reject"))
    no_worse = GateOptions(must_prove=("no_worse(1%)", "superior(auc)"))
    found = grant(db, "flights", PAIR, no_worse)
    assert found == first  # number 1 again, of the other kind
    record(db, replace(decided(verdict, found), claim="no_worse"))
    assert [(each.claim, each.number) for each in claims(db, "flights")] == [
        ("superior", 1),
        ("no_worse", 1),
    ]
    assert budget_of(db, "flights", no_worse).n_tested == 1


def test_a_failure_to_score_ends_an_open_claim(db: Database, verdict: Verdict) -> None:
    """The ledger must not show as undecided whom the gate has rejected; evidence stays."""
    granted = grant(db, "flights", PAIR, OPTIONS)
    record(db, decided(verdict, granted))
    broken = not_judged(
        *PAIR,
        OPTIONS,
        loss="log_loss",
        outcome="reject",
        reason="it raised",
        next_action="mend it",
    )
    record(db, replace(broken, look="sequential"))
    (claim,) = claims(db, "flights")
    assert (claim.outcome, claim.decided_at) == ("reject", AT)
    assert claim.e_value == verdict.e_value
    assert not math.isnan(claim.level)


def test_rows_of_another_pair_are_used_and_those_of_the_pair_are_its_own(
    db: Database, verdict: Verdict
) -> None:
    record(db, verdict, replace(verdict, look="sequential"), rows="1" * 64)
    other = replace(verdict, candidate=OTHER, number=2)
    record(db, other, rows="2" * 64)
    record(db, replace(other, look="sequential"), rows="1" * 64)
    record(db, replace(other, look="sequential"))
    assert rows_used(db, "flights", besides=PAIR) == ("2" * 64, "1" * 64)
    assert rows_used(db, "flights", besides=(OTHER, BASELINE)) == ("1" * 64,)
    assert rows_used(db, "flights", besides=(CANDIDATE, OTHER)) == ("1" * 64, "2" * 64)
    assert rows_used(db, "others", besides=PAIR) == ()


def test_a_number_is_given_out_once(db: Database, verdict: Verdict) -> None:
    """Two who were granted the same number: the second look fails and leaves nothing."""
    both = [grant(db, "flights", (name, BASELINE), OPTIONS) for name in (CANDIDATE, OTHER)]
    assert both[0].number == both[1].number == 1
    record(db, decided(verdict, both[0]))
    with pytest.raises(IntegrityError, match="gate_claims"):
        record(db, replace(decided(verdict, both[1]), candidate=OTHER))
    assert [each.candidate for each in claims(db, "flights")] == [CANDIDATE]
    assert [each.candidate for each in looks(db, "flights")] == [CANDIDATE]


def test_a_look_is_written_with_its_transaction_or_not_at_all(
    db: Database, verdict: Verdict
) -> None:
    def crash() -> None:
        with db.transaction() as connection:
            record_look(connection, "flights", verdict, AT)
            message = "the lights go out"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="lights"):
        crash()
    assert looks(db, "flights") == ()
    assert claims(db, "flights") == ()


def test_a_look_at_an_unknown_version_is_no_look(db: Database, verdict: Verdict) -> None:
    with pytest.raises(IntegrityError):
        record(db, replace(verdict, candidate="e" * 64))
