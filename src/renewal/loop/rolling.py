"""Rolling out: the pure machine of `rollout`, fed with evidence, written down step by step.

One step is one transaction: the state of the rollout, the aliases that move with it, the
plan that servers obey, and the verdict that allowed it, all or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from renewal.core.clock import to_us
from renewal.core.errors import Conflict, Refused
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.evaluate.gains import loss_series
from renewal.evaluate.report import Report
from renewal.gate.approvals import newest_approval
from renewal.loop.comparing import Unscorable
from renewal.loop.evidence import live_errors, live_pairs
from renewal.loop.happening import Happening
from renewal.loop.judging import Judged, next_verdict, record
from renewal.loop.workshop import Workshop
from renewal.registry.registry import Move
from renewal.rollout.guard import errors, harm
from renewal.rollout.machine import (
    Accepted,
    Errors,
    Event,
    Harm,
    Rejected,
    Rollout,
    Superseded,
    Tick,
    begin,
    plan_of,
    step,
)
from renewal.rollout.states import open_rollout, save

CIRCUIT = "the circuit"
"""Who did it, where no person asked."""


def start_rollout(
    shop: Workshop,
    connection: Connection,
    candidate: Version,
    *,
    verdict_id: str | None = None,
    forced_by: str | None = None,
    why: str = "",
) -> Rollout:
    """Open a rollout of a candidate, in the caller's transaction.

    An accepted candidate starts in shadow; one that the gate left undecided is on probation
    and may not leave the shadow before a verdict accepts it; one forced by name starts in
    canary. A rollout on probation gives way to the new one.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    connection : Connection
        Inside a transaction.
    candidate : Version
        Not the champion.
    verdict_id : str or None
        Its accept verdict; None with no `forced_by`: the gate is undecided.
    forced_by, why : str
        Who forces it past the gate, and why.

    Raises
    ------
    Conflict
        When another rollout has left probation and is not over.
    """
    model = shop.spec.name
    before = open_rollout(connection, model)
    if before is not None:
        if before.stage != "probation":
            raise Conflict(
                "the rollout",
                needs="no other rollout under way",
                came=f"{before.stage} since {before.entered_at.isoformat()}",
                todo="Wait until it is done, or take it back: renewal rollback.",
            )
        gone = step(before, Superseded(shop.clock.now()), shop.rollout)
        write_step(shop, connection, before, gone)
    champion = shop.registry.version(model, "champion")
    opened = begin(
        model,
        champion=champion.id,
        candidate=candidate.id,
        at=shop.clock.now(),
        options=shop.rollout,
        verdict_id=verdict_id,
        forced_by=forced_by,
        forced_why=why,
    )
    write_step(shop, connection, None, opened)
    return opened


def write_step(
    shop: Workshop,
    connection: Connection,
    before: Rollout | None,
    after: Rollout,
    *,
    who: str = CIRCUIT,
) -> None:
    """Write a step of a rollout: state, aliases and plan, in the caller's transaction."""
    save(connection, after, before=before)
    moves = []
    was = after.champion if before is None else before.in_charge
    if after.in_charge != was:
        moves.append(Move("champion", was, after.in_charge))
    if before is None:
        held = shop.registry.aliases(after.model, connection=connection).get("candidate")
        moves.append(Move("candidate", held, after.candidate))
    elif not after.is_open:
        moves.append(Move("candidate", after.candidate, None))
    shop.registry.move(
        after.model,
        *moves,
        who=after.forced_by or who,
        why=f"{after.stage}: {after.reason}",
        verdict_id=after.verdict_id,
        forced=after.forced_by is not None,
        plan=plan_of(after),
        kind="rolled_back" if after.stage == "rolled_back" else "rollout",
        connection=connection,
    )


def advance(shop: Workshop) -> Rollout | None:
    """Look at the evidence of the open rollout and take the step that it calls for.

    Returns
    -------
    Rollout or None
        The rollout after the step; None when there is none under way.
    """
    with shop.db.read() as connection:
        before = open_rollout(connection, shop.spec.name)
    if before is None:
        return None
    candidate = shop.registry.version(shop.spec.name, before.candidate)
    champion = shop.registry.version(shop.spec.name, before.champion)
    after: Rollout = before
    judged: Judged | None = None
    events: list[Event] = []
    try:
        pairs = live_pairs(shop, candidate, champion, to_us(before.started_at))
    except Unscorable as error:
        pairs = None
        if error.fields["version_id"] == candidate.id:
            events.append(Harm(f"its answers cannot be scored: {error.came}", shop.clock.now()))
    events += _guards(shop, before, candidate, champion, pairs)
    if before.stage == "probation" and pairs is not None and not _waits(shop, candidate):
        judged = next_verdict(shop, candidate, champion, pairs)
    with shop.db.transaction() as connection:
        if judged is not None and judged.verdict.outcome != "undecided":
            events += _recorded(shop, connection, judged)
        for event in (*events, Tick(shop.clock.now())):
            after = step(after, event, shop.rollout)
        if after != before:
            write_step(shop, connection, before, after)
    if after != before:
        shop.registry.wake()
        _tell(shop, candidate, before, after, judged)
    return after


def _guards(
    shop: Workshop,
    rollout: Rollout,
    candidate: Version,
    champion: Version,
    pairs: Report | None,
) -> Sequence[Event]:
    """Return what the pairs and the failures of the rollout so far show against it."""
    now, since_us = shop.clock.now(), to_us(rollout.started_at)
    found: list[Event] = []
    if pairs is not None:
        series = loss_series(pairs, candidate.id, champion.id)
        harmed = harm(
            series.gains,
            series.n_block_rows,
            shop.rollout,
            champion_loss=series.baseline_value,
        )
        if harmed is not None:
            found.append(Harm(harmed, now))
    if rollout.stage == "canary":
        *earlier, now_failed = live_errors(shop, candidate, champion, since_us) or [(0, 0, 0.5)]
        worse = errors(*now_failed, shop.rollout, earlier=earlier)
        if worse is not None:
            found.append(Errors(worse, now))
    return found


def _recorded(shop: Workshop, connection: Connection, judged: Judged) -> list[Event]:
    """Store a verdict and return what it does to the rollout: nothing while a person is asked."""
    now = shop.clock.now()
    verdict_id = record(shop, connection, judged, who=CIRCUIT)
    if judged.verdict.outcome == "reject":
        return [Rejected(judged.verdict.reason, now)]
    return [] if shop.gate.approval == "person" else [Accepted(verdict_id, now)]


def _waits(shop: Workshop, candidate: Version) -> bool:
    """Whether the candidate has been accepted and waits for a person."""
    with shop.db.read() as connection:
        found = newest_approval(connection, shop.spec.name, candidate.id)
    return found is not None and found.state == "asked"


def _tell(
    shop: Workshop,
    candidate: Version,
    before: Rollout,
    after: Rollout,
    judged: Judged | None,
) -> None:
    facts = {"candidate": candidate.id, "stage": after.stage, "share": after.share}
    if judged is not None and judged.verdict.outcome != "undecided":
        verdict = judged.verdict
        sentence = f"{candidate.name} after probation: {verdict.reason}"
        shop.tell(Happening(after.entered_at, verdict.outcome, sentence, facts))
    kind = "rolled_back" if after.stage == "rolled_back" else "rollout"
    share = f" {after.share:.0%}" if after.stage == "canary" else ""
    sentence = f"{candidate.name}: {before.stage} -> {after.stage}{share} ({after.reason})"
    shop.tell(Happening(after.entered_at, kind, sentence, facts))


def require_verdict(shop: Workshop, candidate: Version) -> str:
    """Return the id of the newest accept verdict of a candidate.

    Raises
    ------
    Refused
        When the newest verdict on it is no acceptance, or there is none; it carries it. Or
        when the policy wants a person, and none has approved that verdict.
    """
    mine = [
        (verdict_id, verdict)
        for verdict_id, verdict in shop.registry.verdicts(shop.spec.name)
        if verdict.candidate == candidate.id
    ]
    if mine and mine[-1][1].outcome == "accept":
        _demand_approval(shop, candidate, mine[-1])
        return mine[-1][0]
    raise Refused(
        "the rollout",
        needs=f"an accept verdict on {candidate.name}",
        came=f"{mine[-1][1].outcome}: {mine[-1][1].reason}" if mine else "no verdict",
        todo="Judge it with renewal gate, or force it with a name and a reason.",
        verdict=mine[-1][1] if mine else None,
    )


def _demand_approval(shop: Workshop, candidate: Version, accepted: tuple[str, Verdict]) -> None:
    """Raise `Refused` where the policy wants a person and none has approved this verdict."""
    if shop.gate.approval == "none":
        return
    with shop.db.read() as connection:
        found = newest_approval(connection, shop.spec.name, candidate.id)
    if found is not None and found.verdict == accepted[0] and found.state == "approved":
        return
    raise Refused(
        "the rollout",
        needs=f"a person's approval of {candidate.name}",
        came="none yet" if found is None or found.state == "asked" else found.state,
        todo="renewal approve MODEL VERSION --who NAME --why REASON, or decline it.",
        verdict=accepted[1],
    )
