"""The ledger of a model's life: claims, the level each was granted, looks, the rows they used.

A claim is opened with the first look at a candidate and keeps its number and its level. What
is written here is written in the transaction that acts on it, so that a crash can neither act
on a look that is not in the ledger nor lose one that was acted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from renewal.core.verdict import Claim, Outcome, Verdict
from renewal.gate.judge import Grant
from renewal.gate.options import GateOptions
from renewal.gate.tables import gate_claims, gate_looks
from renewal.registry.db import Database
from renewal.stats.lifetime import granted_level


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
        One fixed look, or one of the running test.
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
    rows : str or None
        Digest of the key set of the rows it used.
    series : tuple of str or None
        Digests of the series it was taken at, one for each claim.
    verdict : str or None
        Id of the verdict that it led to.
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
    rows: str | None = None
    series: tuple[str, ...] | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimEntry:
    """One candidate's place in the life of a model.

    Parameters
    ----------
    claim : {"superior", "better_by", "no_worse"}
        What it had to prove; each kind has an error, and numbers, of its own.
    number : int
        From 1, in the order of the first looks.
    candidate, baseline : str
        Version ids.
    level : float
        Chance of a wrong acceptance that it was granted.
    e_value : float
        The smallest of its ``must_prove`` clauses at the newest look.
    outcome : {"accept", "reject", "undecided"}
        Of the newest look.
    opened_at : datetime
        When it was first looked at.
    decided_at : datetime or None
        When it was accepted or rejected.
    """

    claim: Claim
    number: int
    candidate: str
    baseline: str
    level: float
    e_value: float
    outcome: Outcome
    opened_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Budget:
    """What the life of a model has spent for one kind of claim, and what the next one gets.

    Parameters
    ----------
    claim : str
        The kind.
    n_tested, n_accepted : int
        Candidates so far.
    n_looks : int
        Looks at them; each told the outside one of three outcomes.
    n_rows_used : int
        Rows that informed a verdict, a row once for each candidate.
    next_level : float
        What the next candidate would be granted.
    """

    claim: str
    n_tested: int
    n_accepted: int
    n_looks: int
    n_rows_used: int
    next_level: float


def grant(db: Database, model: str, pair: tuple[str, str], options: GateOptions) -> Grant:
    """Return the level of a pair: the one that its open claim has, or that of the next claim.

    Parameters
    ----------
    db : Database
        Of the home.
    model : str
        Whose life.
    pair : tuple of (candidate id, baseline id)
        Who is to be judged beside whom.
    options : GateOptions
        `alpha` and `budget`.

    Notes
    -----
    Nothing is written: `record_look` opens the claim. Whoever judges holds the model's lease,
    so nobody else takes the number in between; if somebody did, the second one fails.
    """
    kind = options.proofs[0].kind
    with db.read() as connection:
        stored = _claim_of(connection, model, kind, pair)
        if stored is not None:
            return Grant(stored.level, stored.number)
        n_tested, n_accepted = _counts(connection, model, kind)
    level = granted_level(options.budget, n_tested, n_accepted_before=n_accepted)
    return Grant(min(options.alpha, level), n_tested + 1)


def record_look(
    connection: Connection,
    model: str,
    verdict: Verdict,
    at: datetime,
    *,
    level: float | None = None,
    rows: str | None = None,
    series: Sequence[str] = (),
    verdict_id: str | None = None,
    takes_over: str | None = None,
) -> None:
    """Write down a look and what it makes of its claim, in the caller's transaction.

    Parameters
    ----------
    connection : Connection
        Of `Database.transaction`.
    model : str
        A registered model; both versions of the verdict are registered too.
    verdict : Verdict
        What the look found; one without a number opens no claim.
    at : datetime
        When; aware.
    level : float or None
        Granted to the pair; needed by the look that opens its claim.
    rows : str or None
        Digest of the key set of the rows that it used.
    series : sequence of str
        Digests of the series that it was taken at.
    verdict_id : str or None
        Of the stored verdict.
    takes_over : str or None
        Id of the candidate whose place, and so whose claim, this one takes in its line.
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
            rows=rows,
            series=list(series) or None,
            verdict=verdict_id,
        )
    )
    values: dict[str, Any] = {
        "outcome": verdict.outcome,
        "decided_at": None if verdict.outcome == "undecided" else at,
    }
    if verdict.number:
        values["e_value"] = verdict.e_value
    pair = (takes_over or verdict.candidate, verdict.baseline)
    stored = _claim_of(connection, model, verdict.claim, pair)
    if stored is not None:
        where = (gate_claims.c.model == model, gate_claims.c.claim == verdict.claim)
        query = update(gate_claims).where(*where, gate_claims.c.number == stored.number)
        connection.execute(query.values(candidate=verdict.candidate, **values))
        return
    if verdict.number == 0:
        return
    connection.execute(
        insert(gate_claims).values(
            model=model,
            claim=verdict.claim,
            number=verdict.number,
            candidate=verdict.candidate,
            baseline=verdict.baseline,
            level=1.0 / verdict.threshold if level is None else level,
            opened_at=at,
            **values,
        )
    )


def looks(db: Database, model: str) -> tuple[Look, ...]:
    """Return every look at a model's candidates, oldest first."""
    columns = [column for column in gate_looks.columns if column.name != "id"]
    query = select(*columns).where(gate_looks.c.model == model).order_by(gate_looks.c.id)
    with db.read() as connection:
        return tuple(_look(row._mapping) for row in connection.execute(query))  # noqa: SLF001  # SQLAlchemy's public name


def claims(db: Database, model: str) -> tuple[ClaimEntry, ...]:
    """Return every claim of a model's life, in the order in which they were opened."""
    query = select(*_CLAIM_COLUMNS).where(gate_claims.c.model == model).order_by(gate_claims.c.id)
    with db.read() as connection:
        return tuple(ClaimEntry(**row._mapping) for row in connection.execute(query))  # noqa: SLF001  # SQLAlchemy's public name


def budget_of(db: Database, model: str, options: GateOptions) -> Budget:
    """Return what the claims of the policy's kind have spent, and what the next one gets."""
    kind = options.proofs[0].kind
    with db.read() as connection:
        n_tested, n_accepted = _counts(connection, model, kind)
        used = (
            select(func.count(), func.max(gate_looks.c.n_rows))
            .where(gate_looks.c.model == model)
            .group_by(gate_looks.c.candidate, gate_looks.c.baseline)
        )
        pairs = connection.execute(used).all()
    n_looks = sum(int(row[0]) for row in pairs)
    # The newest look at a pair counts the rows of all looks at it.
    n_rows = sum(int(row[1]) for row in pairs)
    level = min(
        options.alpha, granted_level(options.budget, n_tested, n_accepted_before=n_accepted)
    )
    return Budget(kind, n_tested, n_accepted, n_looks, n_rows, level)


def looks_at(db: Database, model: str, candidate: str, baseline: str) -> tuple[Look, ...]:
    """Return the looks at a pair, oldest first.

    The series of each hold the evidence of every look before it: the running test goes on
    from the newest. Looks at which nothing could be compared do not count: they used no row.
    """
    return tuple(
        each
        for each in looks(db, model)
        if (each.candidate, each.baseline) == (candidate, baseline) and each.n_rows
    )


def rows_used(
    db: Database, model: str, *, besides: tuple[str, str] | None = None
) -> tuple[str, ...]:
    """Return the digests of the key sets of all rows that informed a verdict.

    Parameters
    ----------
    db : Database
        Of the home.
    model : str
        Whose life.
    besides : tuple of (candidate id, baseline id) or None
        A pair whose own rows are left out.
    """
    found = [
        each.rows
        for each in looks(db, model)
        if each.rows is not None and (each.candidate, each.baseline) != besides
    ]
    return tuple(dict.fromkeys(found))


_CLAIM_COLUMNS = [column for column in gate_claims.columns if column.name not in {"id", "model"}]


def _look(row: Any) -> Look:
    values = dict(row)
    values["series"] = None if values["series"] is None else tuple(values["series"])
    return Look(**values)


def _claim_of(
    connection: Connection, model: str, kind: str, pair: tuple[str, str]
) -> ClaimEntry | None:
    query = select(*_CLAIM_COLUMNS).where(
        gate_claims.c.model == model,
        gate_claims.c.claim == kind,
        gate_claims.c.candidate == pair[0],
        gate_claims.c.baseline == pair[1],
    )
    found = connection.execute(query.order_by(gate_claims.c.id.desc())).first()
    return None if found is None else ClaimEntry(**found._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def _counts(connection: Connection, model: str, kind: str) -> tuple[int, int]:
    """Return how many claims of a kind were opened and how many accepted."""
    mine = (gate_claims.c.model == model, gate_claims.c.claim == kind)
    query = select(gate_claims.c.outcome, func.count()).where(*mine)
    rows = connection.execute(query.group_by(gate_claims.c.outcome))
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return sum(found.values()), found.get("accept", 0)
