"""Approval by a person: an accepted candidate waits for a name, and not for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, insert, select, update

from renewal.core.errors import Conflict
from renewal.gate.tables import gate_approvals

ApprovalState = Literal["asked", "approved", "declined", "expired"]

_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Approval:
    """One accepted candidate before a person.

    Parameters
    ----------
    id : int
        In the order of asking.
    model, candidate : str
        Whose, and the version id.
    verdict : str
        Id of the accept verdict; what is approved is this evidence and no later one.
    state : {"asked", "approved", "declined", "expired"}
        ``asked`` until somebody decides or the time is over.
    who, why : str
        Who decided, and the reason given; empty while it waits.
    asked_at, expires_at : datetime
        Since when, and until when it waits.
    decided_at : datetime or None
        When it was decided, or taken for declined.
    """

    id: int
    model: str
    candidate: str
    verdict: str
    state: ApprovalState
    who: str
    why: str
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        """Whether it waits no longer, though nobody has decided."""
        return self.state == "asked" and now >= self.expires_at


def ask(
    connection: Connection,
    model: str,
    *,
    candidate: str,
    verdict: str,
    at: datetime,
    expires_at: datetime,
) -> None:
    """Begin to wait for a person, in the transaction that stores the accept verdict."""
    connection.execute(
        insert(gate_approvals).values(
            model=model,
            candidate=candidate,
            verdict=verdict,
            state="asked",
            who="",
            why="",
            asked_at=at,
            expires_at=expires_at,
        )
    )


def newest_approval(connection: Connection, model: str, candidate: str) -> Approval | None:
    """Return the newest approval that was asked for a candidate; None where none was."""
    query = (
        select(gate_approvals)
        .where(gate_approvals.c.model == model, gate_approvals.c.candidate == candidate)
        .order_by(gate_approvals.c.id.desc())
    )
    found = connection.execute(query).first()
    return None if found is None else Approval(**found._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def waiting(connection: Connection, model: str) -> tuple[Approval, ...]:
    """Return the approvals of a model that nobody has decided, oldest first."""
    query = (
        select(gate_approvals)
        .where(gate_approvals.c.model == model, gate_approvals.c.state == "asked")
        .order_by(gate_approvals.c.id)
    )
    return tuple(Approval(**row._mapping) for row in connection.execute(query))  # noqa: SLF001  # SQLAlchemy's public name


def decide(
    connection: Connection,
    approval: Approval,
    state: Literal["approved", "declined", "expired"],
    *,
    who: str,
    why: str,
    at: datetime,
) -> None:
    """Write a decision down, once.

    Parameters
    ----------
    connection : Connection
        In the transaction that acts on it.
    approval : Approval
        As it was read; it must still be waiting.
    state : {"approved", "declined", "expired"}
        What was decided.
    who, why : str
        A name and a reason; they stay.
    at : datetime
        Now.

    Raises
    ------
    Conflict
        When somebody has decided it meanwhile.
    """
    query = (
        update(gate_approvals)
        .where(gate_approvals.c.id == approval.id, gate_approvals.c.state == "asked")
        .values(state=state, who=who[:_LONGEST_NAME], why=why, decided_at=at)
    )
    if connection.execute(query).rowcount != 1:
        raise Conflict(
            "the approval",
            needs="one that nobody has decided",
            came=f"one that was decided since {approval.asked_at:%Y-%m-%d %H:%M}",
            todo="Read renewal log: who was first is written there.",
        )
