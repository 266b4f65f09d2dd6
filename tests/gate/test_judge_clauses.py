"""Breaks when one claim of several, a shown harm or an unsure guard does not reach the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from renewal.core.verdict import Clause, Verdict
from renewal.evaluate.series import Series
from renewal.gate.judge import not_judged
from renewal.gate.options import GateOptions, Guards
from renewal.registry.codec import from_plain, to_plain

MakeSeries = Callable[..., Series]
Look = Callable[..., Verdict]
LOOKS = pytest.mark.parametrize("is_first", [True, False])


def veto(state: str, name: str = "slice origin=JFK") -> Clause:
    """Return what a guard found."""
    nan = math.nan
    numbers = (0.1, 0.05, 0.2, 0.02, 100, 14, 14.0, 0.05, 0.001, nan)
    said = f"{name} loses 0.1000"
    return Clause(name, "veto_if_shown", state, *numbers, "paired t", said)  # type: ignore[arg-type]  # one of three


def test_a_verdict_survives_the_journal(make_series: MakeSeries, look: Look) -> None:
    found = look(make_series(np.tile([0.05, -0.04], 7)), vetoes=(veto("cannot_tell"),))
    back = from_plain(Verdict, to_plain(found))
    assert repr(back) == repr(found)  # by text, as NaN is not NaN


def test_every_claim_has_to_hold(make_series: MakeSeries, look: Look) -> None:
    options = GateOptions(must_prove=("superior", "no_worse(auc, 0.005)"), futility=0.0)
    noise = 0.004 * np.array([1.0, -1.0] * 10)
    loss = make_series(0.03 + noise)
    same, worse, unclear = (
        make_series(gain + scale * noise, loss=0.8, metric="auc")
        for gain, scale in ((0.0, 0.2), (-0.05, 1.0), (-0.005, 1.0))
    )
    both = look([loss, same], options)
    assert both.outcome == "accept"
    assert [each.state for each in both.clauses] == ["holds", "holds"]
    assert both.e_value == min(each.e_value for each in both.clauses)
    refuted = look([loss, worse], options)
    assert refuted.outcome == "reject"
    assert "; no_worse(auc, 0.005) is refuted: auc" in refuted.reason
    open_ = look([loss, unclear], options)
    assert open_.outcome == "undecided"
    assert "no_worse(auc, 0.005) is not proved: auc" in open_.reason
    assert open_.e_value < open_.threshold


@LOOKS
def test_a_shown_harm_vetoes_what_is_proved(
    make_series: MakeSeries, look: Look, *, is_first: bool
) -> None:
    better = make_series(0.03 + 0.004 * np.array([1.0, -1.0] * 10))
    found = look(better, is_first=is_first, vetoes=(veto("holds"), veto("fails", "churn")))
    assert found.outcome == "reject"
    assert found.reason.startswith("churn loses 0.1000; log-loss -0.0300")
    assert found.next_action == "try another strategy, without harm to churn"
    assert [each.name for each in found.clauses[1:]] == ["slice origin=JFK", "churn"]


def test_a_guard_that_cannot_tell_is_said_and_holds_back_only_if_asked(
    make_series: MakeSeries, look: Look
) -> None:
    better = make_series(0.03 + 0.004 * np.array([1.0, -1.0] * 10))
    unsure = tuple(veto("cannot_tell", f"slice {name}") for name in "abcd")
    passed = look(better, vetoes=unsure)
    assert passed.outcome == "accept"
    assert "too little evidence to tell about slice a, slice b, slice c and 1 more" in passed.reason
    strict = GateOptions(guards=Guards(if_cannot_tell="block"))
    held = look(better, strict, vetoes=unsure)
    assert held.outcome == "undecided"
    assert held.next_action.startswith("wait for")
    assert look(better, strict, vetoes=(veto("holds"),)).outcome == "accept"


def test_notes_end_the_reason(make_series: MakeSeries, look: Look) -> None:
    found = look(make_series([0.03, 0.031] * 7), notes=("v2 does not know the class 'x'",))
    assert found.reason.endswith("in 14 days; v2 does not know the class 'x'")


def test_an_acceptance_waits_for_a_person_where_the_policy_says_so(
    make_series: MakeSeries, look: Look
) -> None:
    found = look(make_series([0.03, 0.031] * 7), GateOptions(approval="person"))
    assert (found.outcome, found.next_action) == ("accept", "approve or decline")


def test_what_was_not_compared_is_never_a_pass() -> None:
    found = not_judged(
        "c" * 64,
        "b" * 64,
        GateOptions(must_prove=("no_worse(0.01)",)),
        loss="log_loss",
        outcome="undecided",
        reason="no row is left",
        next_action="wait",
        n_seen=7,
    )
    assert (found.outcome, found.claim, found.n_seen, found.number) == (
        "undecided",
        "no_worse",
        7,
        0,
    )
    assert math.isnan(found.gain)
    assert (found.n_rows, found.clauses, str(found)) == (0, (), "undecided: no row is left")
    assert repr(from_plain(Verdict, to_plain(found))) == repr(found)
