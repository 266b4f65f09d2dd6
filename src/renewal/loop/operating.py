"""What a person asks of the circuit: judge, roll out, promote, roll back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from renewal.core.clock import to_us
from renewal.core.errors import Conflict, NotFound, Refused
from renewal.core.plan import Arm, Plan
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.gate.ledger import looks_at
from renewal.gate.requests import request_for
from renewal.loop.evidence import forward, live_pairs
from renewal.loop.happening import Happening
from renewal.loop.judging import Judged, first_verdict, next_verdict, record, running_verdict
from renewal.loop.lease import held
from renewal.loop.requested import requested_verdict
from renewal.loop.rolling import CIRCUIT, require_verdict, start_rollout, write_step
from renewal.loop.sealing import seal
from renewal.loop.workshop import Workshop
from renewal.registry.registry import Move
from renewal.rollout.machine import Rollback, Rollout, step
from renewal.rollout.states import open_rollout
from renewal.update.stretches import judged_rows


def judge(shop: Workshop, candidate: Version) -> Verdict:
    """Judge a version beside the champion, record the look and return the verdict.

    The first time it is the one fixed look; after that, anytime-valid over rows that no
    look of this pair has judged.

    Raises
    ------
    Refused
        When no unseen row is left.
    Conflict
        When it is the champion itself.
    """
    name = shop.spec.name
    champion = shop.registry.version(name, "champion")
    if champion.id == candidate.id:
        raise Conflict(
            "the gate",
            needs="a candidate beside the champion",
            came=f"{candidate.name}, which is the champion",
            todo="Name another version.",
        )
    with held(shop.db, shop.watched):
        seal(shop)
        judged = _look(shop, candidate, champion)
        with shop.db.transaction() as connection:
            record(shop, connection, judged, who=CIRCUIT)
    verdict = judged.verdict
    sentence = f"{candidate.name} against {champion.name}: {verdict.reason}"
    _tell(shop, verdict.outcome, sentence, candidate=candidate.id)
    return verdict


def _look(shop: Workshop, candidate: Version, champion: Version) -> Judged:
    """Take the look that is due: the first one, or the next of the running one.

    A pair has one running test. While its rollout is open that is the one over live pairs,
    which the circuit looks at too; a second one beside it would spend the error twice.
    """
    rollout = rollout_of(shop)
    if rollout is not None and rollout.candidate == candidate.id:
        report = live_pairs(shop, candidate, champion, to_us(rollout.started_at))
        if report is None:
            raise Refused(
                "the gate",
                needs="a block of rows that both versions scored and whose labels have come",
                came=f"none since the rollout began on {rollout.started_at:%Y-%m-%d %H:%M}",
                todo="Wait: renewal watch judges again with every block.",
            )
        return next_verdict(shop, candidate, champion, report)
    before = looks_at(shop.db, shop.spec.name, candidate.id, champion.id)
    if not before:
        request = request_for(shop.db, shop.spec.name, (candidate.id, champion.id))
        if request is not None:
            return requested_verdict(shop, candidate, champion, request)
    since_us = before[-1].judged_until_us + 1 if before else None
    rows = shop.feed.rows(since_us=since_us, labelled=True)
    window = forward(shop, shop.clock.now(), since_us)
    rows = judged_rows(rows, window, salt=shop.salt)
    look = running_verdict if before else first_verdict
    return look(shop, candidate, champion, rows)


def roll_out(
    shop: Workshop, candidate: Version, *, forced_by: str | None = None, why: str = ""
) -> Rollout:
    """Start the rollout of an accepted or forced candidate.

    Raises
    ------
    Refused
        When no verdict accepts it and nobody forces it with a name and a reason.
    Conflict
        When its verdict names another baseline than the champion, or another rollout is
        under way.
    """
    if forced_by is not None and not (forced_by and why):
        raise Refused(
            "a forced rollout",
            needs="a name and a reason",
            came=f"forced_by={forced_by!r}, why={why!r}",
            todo="Say who forces it and why; both stay in the log.",
        )
    verdict_id = None if forced_by else require_verdict(shop, candidate)
    with held(shop.db, shop.watched):
        if verdict_id is not None:
            _same_baseline(shop, verdict_id)
        with shop.db.transaction() as connection:
            opened = start_rollout(
                shop,
                connection,
                candidate,
                verdict_id=verdict_id,
                forced_by=forced_by,
                why=why,
            )
        shop.registry.wake()
    share = f" {opened.share:.0%}" if opened.stage == "canary" else ""
    _tell(
        shop,
        "rollout",
        f"{candidate.name} starts in {opened.stage}{share} ({opened.reason})",
        candidate=candidate.id,
    )
    return opened


def promote(
    shop: Workshop, version: Version, *, expected: str | None, force: bool, who: str, why: str
) -> Version:
    """Make a version the champion at once; a rollout under way ends first."""
    verdict_id = None if force else require_verdict(shop, version)
    with held(shop.db, shop.watched):
        champion = shop.registry.version(shop.spec.name, "champion")
        wanted = champion.id if expected is None else expected
        with shop.db.transaction() as connection:
            _end_rollout(shop, connection, who, f"{version.name} is promoted: {why}")
            shop.registry.move(
                shop.spec.name,
                Move("champion", wanted, version.id),
                who=who,
                why=why or f"promoted on verdict {verdict_id}",
                verdict_id=verdict_id,
                forced=force,
                plan=steady(shop.spec.name, version.id),
                kind="promoted",
                connection=connection,
            )
        shop.registry.wake()
    return version


def roll_back(shop: Workshop, to: Version | None, *, who: str, why: str) -> Version:
    """Take the model back to a former champion; end a rollout that is under way.

    Raises
    ------
    NotFound
        When nothing is under way and there is no former champion.
    """
    with held(shop.db, shop.watched):
        with shop.db.transaction() as connection:
            ended = _end_rollout(shop, connection, who, why)
        champion = shop.registry.version(shop.spec.name, "champion")
        if to is None and ended is not None:
            goal = shop.registry.version(shop.spec.name, ended.champion)
        else:
            goal = to or _former(shop, champion)
        if goal.id != champion.id:
            shop.registry.move(
                shop.spec.name,
                Move("champion", champion.id, goal.id),
                who=who,
                why=why,
                plan=steady(shop.spec.name, goal.id),
                kind="rolled_back",
            )
        shop.registry.wake()
    _tell(shop, "rolled_back", f"champion is {goal.name}: {why}", candidate=champion.id)
    return goal


def rollout_of(shop: Workshop) -> Rollout | None:
    """Return the rollout under way, if there is one."""
    with shop.db.read() as connection:
        return open_rollout(connection, shop.spec.name)


def _end_rollout(shop: Workshop, connection: Connection, who: str, why: str) -> Rollout | None:
    before = open_rollout(connection, shop.spec.name)
    if before is None:
        return None
    event = Rollback(who, why or "asked for", shop.clock.now())
    after = step(before, event, shop.rollout)
    write_step(shop, connection, before, after, who=who)
    return after


def _former(shop: Workshop, champion: Version) -> Version:
    moves = shop.registry.history(shop.spec.name, "champion")
    for move in reversed(moves):
        if move.to_id == champion.id and move.from_id is not None:
            return shop.registry.version(shop.spec.name, move.from_id)
    raise NotFound(
        "renewal rollback",
        needs=f"a champion of {shop.spec.name!r} before {champion.name}",
        came="none in its history",
        todo="Promote another version instead.",
    )


def _same_baseline(shop: Workshop, verdict_id: str) -> None:
    verdict = shop.registry.verdict(verdict_id)
    champion = shop.registry.version(shop.spec.name, "champion")
    if verdict.baseline != champion.id:
        raise Conflict(
            "the rollout",
            needs=f"a verdict against the champion {champion.name}",
            came=f"one against {verdict.baseline[:12]}, which is no longer champion",
            todo="Judge the candidate again: renewal gate.",
        )


def steady(model: str, version_id: str) -> Plan:
    """Return the plan in which one version answers everything."""
    return Plan(model, "steady", (Arm("champion", version_id, 1.0),))


def _tell(shop: Workshop, kind: str, sentence: str, **facts: Any) -> None:
    shop.tell(Happening(shop.clock.now(), kind, sentence, facts))
