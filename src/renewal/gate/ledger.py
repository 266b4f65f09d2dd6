"""Every look at evidence and the error it spent, in the transaction that acts on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, func, insert, select

from renewal.core.verdict import Outcome, Verdict
from renewal.gate.tables import gate_looks
from renewal.registry.db import Database


@dataclass(frozen=True, slots=True)
class Look:
    """One look, as the ledger keeps it.

    Parameters
    ----------
    model : str
        Whose.
    candidate, baseline : str
        Version ids.
    look : {"first", "sequential"}
        One fixed look, or one of many over new rows.
    outcome : {"accept", "reject", "undecided"}
        What came of it.
    alpha : float
        Error that it, or all sequential looks at this pair together, may spend.
    n_rows, n_blocks : int
        Rows and blocks looked at.
    judged_from_us, judged_until_us : int, microseconds since 1970
        Event time of the first and last of them.
    at : datetime
        When.
    """

    model: str
    candidate: str
    baseline: str
    look: Literal["first", "sequential"]
    outcome: Outcome
    alpha: float
    n_rows: int
    n_blocks: int
    judged_from_us: int
    judged_until_us: int
    at: datetime


def record_look(connection: Connection, model: str, verdict: Verdict, at: datetime) -> None:
    """Write down a look, in the caller's transaction.

    Parameters
    ----------
    connection : Connection
        Of `Database.transaction`: the look and what follows from it are written together or
        not at all, so that a crash can neither act on a look that is not in the ledger nor
        lose one that was acted on.
    model : str
        A registered model; both versions of the verdict are registered too.
    verdict : Verdict
        What the look found.
    at : datetime
        When; aware.
    """
    connection.execute(
        insert(gate_looks).values(
            model=model,
            candidate=verdict.candidate,
            baseline=verdict.baseline,
            look=verdict.look,
            outcome=verdict.outcome,
            alpha=verdict.alpha,
            n_rows=verdict.n_rows,
            n_blocks=verdict.n_blocks,
            judged_from_us=verdict.judged_from_us,
            judged_until_us=verdict.judged_until_us,
            at=at,
        )
    )


def looks(db: Database, model: str) -> tuple[Look, ...]:
    """Return every look at a model's candidates, oldest first."""
    columns = [column for column in gate_looks.columns if column.name != "id"]
    query = select(*columns).where(gate_looks.c.model == model).order_by(gate_looks.c.id)
    with db.read() as connection:
        return tuple(Look(**row._mapping) for row in connection.execute(query))  # noqa: SLF001  # SQLAlchemy's public name


def last_judged_us(db: Database, model: str, candidate: str, baseline: str) -> int | None:
    """Return the event time from which rows of a pair are new to `go_on`.

    It is the instant after the last row of the pair's first look. Later looks do not move
    it: theirs is one running test over everything since then, and to start it afresh at each
    look would spend its error each time.

    Parameters
    ----------
    db : Database
        Of the home.
    model, candidate, baseline : str
        A model and ids of its versions.

    Returns
    -------
    int or None
        Microseconds since 1970; None when there was no first look at this pair.
    """
    query = select(func.max(gate_looks.c.judged_until_us)).where(
        gate_looks.c.model == model,
        gate_looks.c.candidate == candidate,
        gate_looks.c.baseline == baseline,
        gate_looks.c.look == "first",
    )
    with db.read() as connection:
        found = connection.execute(query).scalar()
    return None if found is None else int(found) + 1
