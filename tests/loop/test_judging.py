"""Breaks when a candidate is judged on spent rows, twice at first, or passes by failing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest

from renewal.core.verdict import Verdict
from renewal.data.keyset import KeySet
from renewal.evaluate.series import Series
from renewal.gate.ledger import claims, looks, looks_at
from renewal.loop.comparing import evaluate_versions
from renewal.loop.judging import (
    Judged,
    first_verdict,
    hand_over,
    next_verdict,
    record,
    running_verdict,
)
from renewal.registry.codec import from_plain, to_plain
from renewal.stats.lifetime import granted_level

Stage = Any


def boom(_x: Any) -> NoReturn:
    """Fail as a model may."""
    message = "no such category"
    raise ValueError(message)


def half(x: Any) -> Any:
    """Answer as little as possible, with a little noise that is the same each time."""
    p = 0.5 + 0.01 * np.sin(1e4 * x)
    return np.column_stack([1 - p, p])


def kept(stage: Stage, judged: Judged) -> str:
    """Write a verdict down, as whoever acts on it does."""
    with stage.shop.db.transaction() as connection:
        return record(stage.shop, connection, judged, who="ada")


def test_a_better_candidate_is_accepted_at_the_first_look(stage: Stage) -> None:
    rows = stage.days(0, 14)
    judged = first_verdict(stage.shop, stage.candidate, stage.champion, rows)
    found = judged.verdict
    assert (found.outcome, found.look, found.number) == ("accept", "first", 1)
    assert (found.candidate, found.baseline) == (stage.candidate.id, stage.champion.id)
    assert (found.n_blocks, found.n_rows, found.n_seen) == (14, 14 * 60, 0)
    assert found.threshold == pytest.approx(
        1 / granted_level(stage.shop.gate.budget, 0, n_accepted_before=0)
    )
    assert found.e_value >= found.threshold
    assert judged.rows is not None
    used = KeySet.from_bytes(stage.shop.store.get(judged.rows))
    assert sorted(used.keys.tolist()) == sorted(rows.key_hash.tolist())
    (digest,) = judged.series
    series = Series.from_bytes(stage.shop.store.get(digest))
    assert (series.n_rows, series.candidate) == (found.n_rows, found.candidate)
    assert looks(stage.shop.db, "m") == ()  # nothing is written before somebody acts


def test_it_goes_through_the_journal_as_plain_values(stage: Stage) -> None:
    judged = first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14))
    assert from_plain(Judged, to_plain(judged)) == judged


def test_a_verdict_is_stored_with_its_look_its_claim_and_a_line(stage: Stage) -> None:
    judged = first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14))
    verdict_id = kept(stage, judged)
    (look,) = looks(stage.shop.db, "m")
    assert (look.rows, look.series, look.verdict) == (judged.rows, judged.series, verdict_id)
    (claim,) = claims(stage.shop.db, "m")
    assert (claim.number, claim.outcome, claim.e_value) == (1, "accept", judged.verdict.e_value)
    ((stored_id, stored),) = stage.shop.registry.verdicts("m")
    assert (stored_id, stored) == (verdict_id, judged.verdict)


def test_what_was_not_committed_never_was(stage: Stage) -> None:
    judged = first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14))

    def crash() -> None:
        with stage.shop.db.transaction() as connection:
            record(stage.shop, connection, judged, who="ada")
            message = "the lights go out"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="lights"):
        crash()
    assert looks(stage.shop.db, "m") == ()
    assert claims(stage.shop.db, "m") == ()
    assert stage.shop.registry.verdicts("m") == ()
    again = first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14))
    assert again == judged


def test_rows_that_informed_a_verdict_do_not_count_for_another_candidate(stage: Stage) -> None:
    """Who tries again until the same rows say yes would be accepted in the end."""
    kept(stage, first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14)))
    judged = first_verdict(stage.shop, stage.other, stage.champion, stage.days(0, 14))
    found = judged.verdict
    assert (found.outcome, found.n_rows, found.number) == ("undecided", 0, 0)
    assert "840 rows, all of them used by earlier verdicts" in found.reason
    assert found.n_seen == 840
    assert (judged.rows, judged.series) == (None, ())
    later = first_verdict(stage.shop, stage.other, stage.champion, stage.days(7, 28)).verdict
    assert (later.n_blocks, later.n_seen, later.number) == (14, 7 * 60, 2)
    assert later.outcome == "accept"


def test_the_running_test_carries_the_rows_of_the_fixed_look_on(stage: Stage) -> None:
    champion = stage.answers[stage.champion.id]
    stage.answers[stage.candidate.id] = lambda x: champion(1.1 * x + 0.9 * np.sin(1e4 * x))
    patient = stage.gate(futility=0.0, smallest_gain_share=0.0)
    first = first_verdict(patient, stage.candidate, stage.champion, stage.days(0, 14))
    assert first.verdict.outcome == "undecided"
    kept(stage, first)
    judged = running_verdict(patient, stage.candidate, stage.champion, stage.days(0, 20))
    found = judged.verdict
    assert (found.look, found.n_blocks, found.n_rows) == ("sequential", 20, 20 * 60)
    assert (found.number, found.threshold) == (1, first.verdict.threshold)
    assert judged.rows is not None
    # It used the new rows only; those of the fixed look are in the ledger already.
    assert len(KeySet.from_bytes(stage.shop.store.get(judged.rows))) == 6 * 60
    kept(stage, judged)
    # Every later look goes on where the last one ended, and counts no row twice.
    more = running_verdict(patient, stage.candidate, stage.champion, stage.days(0, 25))
    assert (more.verdict.n_blocks, more.verdict.n_rows) == (25, 25 * 60)
    assert more.rows is not None
    assert len(KeySet.from_bytes(stage.shop.store.get(more.rows))) == 5 * 60
    before = looks_at(stage.shop.db, "m", stage.candidate.id, stage.champion.id)
    assert [each.n_blocks for each in before] == [14, 20]


def test_a_running_test_without_a_new_row_says_so(stage: Stage) -> None:
    kept(stage, first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14)))
    found = running_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14)).verdict
    assert (found.outcome, found.look, found.n_rows) == ("undecided", "sequential", 0)
    assert "used by earlier verdicts" in found.reason


def test_without_a_fixed_look_the_running_test_stands_alone(stage: Stage) -> None:
    report = evaluate_versions(stage.shop, (stage.champion, stage.candidate), stage.days(0, 14))
    found = next_verdict(stage.shop, stage.candidate, stage.champion, report).verdict
    assert (found.look, found.n_blocks) == ("sequential", 14)


@pytest.mark.parametrize("look", [first_verdict, running_verdict])
def test_a_candidate_that_cannot_be_scored_is_rejected(
    stage: Stage, caplog: pytest.LogCaptureFixture, look: Any
) -> None:
    stage.answers[stage.candidate.id] = boom
    judged = look(stage.shop, stage.candidate, stage.champion, stage.days(0, 14))
    found = judged.verdict
    assert (found.outcome, found.next_action) == ("reject", "mend the candidate")
    assert found.reason == "the candidate v2 cannot be scored: ValueError: no such category"
    assert found.look == ("first" if look is first_verdict else "sequential")
    assert (found.n_rows, found.number, judged.rows) == (0, 0, None)
    assert math.isnan(found.gain)
    assert "no such category" in caplog.text
    kept(stage, judged)
    assert claims(stage.shop.db, "m") == ()
    assert looks_at(stage.shop.db, "m", stage.candidate.id, stage.champion.id) == ()


def test_a_champion_that_cannot_be_scored_decides_nothing(stage: Stage) -> None:
    """Its candidate would otherwise be rejected for it, or win without a rival."""
    stage.answers[stage.champion.id] = lambda x: np.full((len(x), 2), np.nan)
    found = first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14)).verdict
    assert found.outcome == "undecided"
    assert found.reason.startswith("the champion v1 cannot be scored: 840 of 840 rows with NaN")
    assert "promote by force" in found.next_action


@pytest.mark.parametrize("look", [first_verdict, running_verdict])
def test_without_an_unseen_row_nothing_is_decided(stage: Stage, look: Any) -> None:
    found = look(stage.shop, stage.candidate, stage.champion, stage.days(50, 60)).verdict
    assert found.outcome == "undecided"
    assert found.reason == "no row to judge on: no labelled row at all"
    assert found.next_action.startswith("wait for labelled rows")
    trained = stage.shop.store.put(KeySet.of(stage.days(0, 14)).to_bytes())
    manifest = replace(stage.candidate.manifest, trained_keys=trained)
    version = stage.shop.registry.add_version(manifest, facts={}, who="ada")
    found = look(stage.shop, version, stage.champion, stage.days(0, 14)).verdict
    assert found.outcome == "undecided"
    assert "840 rows, all of them trained on by one of the two" in found.reason
    assert found.n_seen == 840


@pytest.mark.parametrize("look", [first_verdict, running_verdict])
def test_a_claim_that_rows_do_not_define_decides_nothing(stage: Stage, look: Any) -> None:
    """Days of one class are no reason to stop the circuit, nor to reject."""
    shop = stage.gate(must_prove=("superior", "no_worse(auc, 0.01)"))
    rows = stage.days(0, 14)
    rows = rows.take(rows.label == 0)
    found = look(shop, stage.candidate, stage.champion, rows).verdict
    assert (found.outcome, found.n_rows) == ("undecided", 0)
    assert found.reason.startswith("the claim no_worse(auc, 0.01) cannot be judged: ")
    assert found.look == ("first" if look is first_verdict else "sequential")


def test_every_claim_is_kept_and_carried(stage: Stage) -> None:
    shop = stage.gate(must_prove=("superior", "no_worse(auc, 0.05)", "superior(accuracy)"))
    first = first_verdict(shop, stage.candidate, stage.champion, stage.days(0, 14))
    assert len(first.series) == len(first.verdict.clauses) == 3
    kept(stage, first)
    found = running_verdict(shop, stage.candidate, stage.champion, stage.days(0, 20)).verdict
    assert [each.n_blocks for each in found.clauses] == [20, 20, 20]
    assert [each.name for each in found.clauses] == [
        "superior",
        "no_worse(auc, 0.05)",
        "superior(accuracy)",
    ]


def test_what_a_shown_harm_vetoes_is_rejected_at_both_looks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guards are asked where the claims are proved, with the level of that look."""
    asked: list[bool] = []
    accepted = first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14)).verdict
    harm = replace(accepted.clauses[0], name="churn", kind="veto_if_shown", state="fails")

    def ask(*_given: Any, is_first: bool) -> tuple[Any, ...]:
        asked.append(is_first)
        return (harm,)

    monkeypatch.setattr("renewal.loop.judging.vetoes_of", ask)
    first = first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14))
    assert first.verdict.outcome == "reject"
    kept(stage, first)
    later = running_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 20))
    assert later.verdict.outcome == "reject"
    assert later.verdict.next_action == "try another strategy, without harm to churn"
    assert asked == [True, False]


def test_guards_are_not_asked_about_what_is_not_proved(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_given: Any, is_first: bool) -> NoReturn:
        raise AssertionError(is_first)

    stage.answers[stage.candidate.id] = half
    kept(stage, first_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 14)))
    monkeypatch.setattr("renewal.loop.judging.vetoes_of", never)
    found = running_verdict(stage.shop, stage.candidate, stage.champion, stage.days(0, 20)).verdict
    assert isinstance(found, Verdict)
    assert found.outcome == "reject"


def test_a_newer_candidate_takes_over_evidence_and_claim(stage: Stage) -> None:
    """Breaks when a candidate that is replaced has been watched for nothing, or charged twice."""
    patient = replace(stage.shop, gate=replace(stage.shop.gate, futility=0.0, min_blocks=20))
    kept(stage, first_verdict(patient, stage.candidate, stage.champion, stage.days(0, 14)))
    pairs = evaluate_versions(patient, (stage.champion, stage.candidate), stage.days(14, 18))
    last, first, start = hand_over(
        patient, stage.other, stage.candidate, stage.champion, pairs, rows=stage.days(14, 18)
    )
    assert (last.verdict.candidate, last.verdict.n_blocks) == (stage.candidate.id, 18)
    assert (start.verdict.candidate, start.verdict.n_blocks) == (stage.other.id, 18)
    assert start.verdict.outcome == "undecided", "it has no block of its own yet"
    assert start.rows is None, "the two looks before used the rows"
    assert (first.verdict.look, first.verdict.outcome) == ("first", "undecided")
    least = 8.0 * last.verdict.threshold
    assert first.verdict.threshold >= 0.999 * least, "at most a quarter of the running half"
    for each in (last, first, start):
        kept(stage, each)
    (claim,) = claims(stage.shop.db, "m")
    assert (claim.number, claim.candidate) == (1, stage.other.id)
    more = running_verdict(patient, stage.other, stage.champion, stage.days(0, 25)).verdict
    assert (more.n_blocks, more.number) == (25, 1)
    assert more.outcome == "undecided", "seven of twenty blocks of its own"
    short = replace(stage.shop, gate=replace(stage.shop.gate, min_blocks=7))
    found = running_verdict(short, stage.other, stage.champion, stage.days(0, 25)).verdict
    assert found.outcome == "accept"


def test_a_line_that_does_not_look_promising_ends(stage: Stage) -> None:
    patient = replace(stage.shop, gate=replace(stage.shop.gate, futility=0.0, min_blocks=20))
    stage.answers[stage.candidate.id] = stage.answers[stage.champion.id]
    kept(stage, first_verdict(patient, stage.candidate, stage.champion, stage.days(0, 14)))
    rows = stage.days(14, 28)
    assert hand_over(patient, stage.other, stage.candidate, stage.champion, None, rows=rows) == ()


def test_a_newer_candidate_that_is_far_better_is_accepted_at_its_first_look(stage: Stage) -> None:
    """Breaks when the world has turned, and the model that follows it waits as long as the line."""
    patient = replace(stage.shop, gate=replace(stage.shop.gate, futility=0.0, min_blocks=20))
    kept(stage, first_verdict(patient, stage.candidate, stage.champion, stage.days(0, 14)))
    short = replace(stage.shop, gate=replace(stage.shop.gate, min_blocks=7))
    looks = hand_over(
        short, stage.other, stage.candidate, stage.champion, None, rows=stage.days(14, 28)
    )
    assert [each.verdict.outcome for each in looks] == ["accept"]
    for each in looks:
        kept(stage, each)
    (claim,) = claims(stage.shop.db, "m")
    assert (claim.candidate, claim.outcome) == (stage.other.id, "accept")


def test_a_newer_candidate_that_is_worse_takes_no_place(stage: Stage) -> None:
    """Breaks when a bad newcomer ends the claim of the one that it was to replace."""
    patient = replace(stage.shop, gate=replace(stage.shop.gate, futility=0.0, min_blocks=20))
    kept(stage, first_verdict(patient, stage.candidate, stage.champion, stage.days(0, 14)))
    stage.answers[stage.other.id] = half
    (first,) = hand_over(
        patient, stage.other, stage.candidate, stage.champion, None, rows=stage.days(14, 34)
    )
    assert (first.verdict.outcome, first.takes_over) == ("reject", None)
    kept(stage, first)
    (claim,) = claims(stage.shop.db, "m")
    assert (claim.candidate, claim.outcome) == (stage.candidate.id, "undecided")
