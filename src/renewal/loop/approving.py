"""Approve or decline an accepted candidate, by name; what nobody decides in time is declined."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection

from renewal.core.errors import NotFound, Refused
from renewal.core.version import Version
from renewal.gate.approvals import Approval, decide, newest_approval, waiting
from renewal.loop.happening import Happening
from renewal.loop.lease import held
from renewal.loop.rolling import start_rollout, write_step
from renewal.loop.workshop import Workshop
from renewal.rollout.machine import Accepted, Event, Rejected, Rollout, step
from renewal.rollout.states import open_rollout

Decision = Literal["approved", "declined"]


def settle(
    shop: Workshop, candidate: Version, decision: Decision, *, who: str, why: str
) -> Rollout | None:
    """Approve or decline a candidate that waits for a person.

    An approved one goes into its rollout at once, or on with the one in which it is on
    probation. A declined one goes nowhere; on probation it ends there.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate : Version
        With an accept verdict that waits.
    decision : {"approved", "declined"}
        What the person says.
    who, why : str
        A name and a reason, for ever in the log.

    Returns
    -------
    Rollout or None
        The rollout after it, if the candidate has one.

    Raises
    ------
    Refused
        Without a name and a reason, or when the time for it is over.
    NotFound
        When nothing about this candidate waits for a person.
    Conflict
        When somebody decided first, or another rollout is under way.
    """
    if not (who and why):
        raise Refused(
            f"to be {decision}",
            needs="a name and a reason",
            came=f"who={who!r}, why={why!r}",
            todo="Say who decides and why; both stay in the log.",
        )
    with held(shop.db, shop.watched):
        with shop.db.transaction() as connection:
            found = newest_approval(connection, shop.spec.name, candidate.id)
            if found is None or found.state != "asked":
                raise _nothing(candidate, found)
            now = shop.clock.now()
            if found.is_over(now):
                raise Refused(
                    f"{candidate.name} to be {decision}",
                    needs=f"a decision before {found.expires_at:%Y-%m-%d %H:%M}",
                    came=f"one at {now:%Y-%m-%d %H:%M}",
                    todo="Judge it again: renewal gate.",
                )
            decide(connection, found, decision, who=who, why=why, at=now)
            shop.registry.note(
                shop.spec.name,
                decision,
                who=who,
                why=why,
                details={"candidate": candidate.id, "verdict_id": found.verdict},
                connection=connection,
            )
            rollout = _followed(shop, connection, candidate, found, decision, who=who, why=why)
        shop.registry.wake()
    shop.tell(Happening(now, decision, f"{candidate.name} is {decision} by {who}: {why}", {}))
    return rollout


def expire(shop: Workshop) -> tuple[Approval, ...]:
    """Take for declined what nobody has decided in time; the caller holds the model's lease."""
    now = shop.clock.now()
    with shop.db.transaction() as connection:
        over = [each for each in waiting(connection, shop.spec.name) if each.is_over(now)]
        for each in over:
            why = f"nobody decided by {each.expires_at:%Y-%m-%d %H:%M}"
            decide(connection, each, "expired", who="", why=why, at=now)
            candidate = shop.registry.version(shop.spec.name, each.candidate)
            shop.registry.note(
                shop.spec.name,
                "expired",
                who="",
                why=why,
                details={"candidate": candidate.id, "verdict_id": each.verdict},
                connection=connection,
            )
            _followed(shop, connection, candidate, each, "declined", who="nobody", why=why)
    for each in over:
        name = shop.registry.version(shop.spec.name, each.candidate).name
        shop.tell(Happening(now, "expired", f"nobody approved {name} in time", {}))
    return tuple(over)


def _followed(
    shop: Workshop,
    connection: Connection,
    candidate: Version,
    approval: Approval,
    decision: Decision,
    *,
    who: str,
    why: str,
) -> Rollout | None:
    """Take the step that a decision calls for."""
    now = shop.clock.now()
    before = open_rollout(connection, shop.spec.name)
    if before is None or before.candidate != candidate.id:
        if decision == "declined":
            return None
        return start_rollout(shop, connection, candidate, verdict_id=approval.verdict)
    event: Event = (
        Accepted(approval.verdict, now)
        if decision == "approved"
        else Rejected(f"declined by {who}: {why}", now)
    )
    after = step(before, event, shop.rollout)
    if after != before:
        write_step(shop, connection, before, after)
    return after


def _nothing(candidate: Version, found: Approval | None) -> NotFound:
    came = "none" if found is None else f"one that is {found.state}"
    return NotFound(
        "renewal approve",
        needs=f"an accept verdict on {candidate.name} that waits for a person",
        came=came,
        todo="See renewal status; the policy's [gate] approval asks for it.",
    )
