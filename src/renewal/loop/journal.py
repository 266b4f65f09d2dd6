"""The journal: an update is a few long steps that must survive kill -9.

A run is pinned to its spec. A step is named, keyed by the hash of its inputs, and its
output is a small JSON value that refers to stored bytes by digest. A step that has
finished is never repeated; one that was cut off is done again. The fencing token of the
lease is checked in the transaction that records the output, so a watcher that was thought
dead and wakes up cannot write over the one that took over.

References
----------
.. [1] The idea of durable steps: Temporal and DBOS; see ``docs/decisions``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, insert, select, update

from renewal.core.clock import Clock
from renewal.core.errors import Conflict
from renewal.core.ids import new_id
from renewal.loop.tables import runs, steps
from renewal.registry.db import Database

Output = dict[str, Any]

UPDATE = "update"
COMPRESS = "compress"


class Fence(Protocol):
    """A held lease, as far as the journal needs it."""

    def check(self, connection: Connection, fence: int) -> None:
        """Raise `Conflict` when somebody else holds the lease by now."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """One update of one model, from its trigger to its end.

    Parameters
    ----------
    id : str
        Time-ordered.
    model : str
        Whose.
    kind : {"update", "compress"}
        What it does.
    spec : mapping
        What was asked for; fixed when the run starts.
    state : {"open", "done", "failed"}
        An open run is taken up again by whoever watches next.
    outcome : mapping or None
        What came of it.
    started_at : datetime
        By the clock of the home.
    """

    id: str
    model: str
    kind: str
    spec: Mapping[str, Any]
    state: Literal["open", "done", "failed"]
    outcome: Mapping[str, Any] | None
    started_at: datetime


class Journal:
    """The runs and steps of a home's updates and compressions.

    Parameters
    ----------
    db : Database
        Where they are kept.
    clock : Clock
        The time that is written beside them.
    lease : Fence
        The lease under which this process works.
    fence : int
        Its token.
    """

    def __init__(self, db: Database, clock: Clock, lease: Fence, fence: int) -> None:
        self._db = db
        self._clock = clock
        self._lease = lease
        self._fence = fence

    def start(self, model: str, kind: str, spec: Mapping[str, Any]) -> Run:
        """Open a run; raise `Conflict` when the model has an open one."""
        with self._db.transaction() as connection:
            self._lease.check(connection, self._fence)
            other = _open_run(connection, model)
            if other is not None:
                raise Conflict(
                    "Journal.start",
                    needs=f"no open run of {model!r}",
                    came=f"run {other.id}, started {other.started_at.isoformat()}",
                    todo="Let `renewal watch` finish it first.",
                )
            run = Run(new_id(), model, kind, dict(spec), "open", None, self._clock.now())
            connection.execute(
                insert(runs).values(
                    id=run.id,
                    model=model,
                    kind=kind,
                    spec=run.spec,
                    state=run.state,
                    started_at=run.started_at,
                )
            )
        return run

    def step(
        self, run: Run, name: str, inputs: Mapping[str, Any], work: Callable[[], Output]
    ) -> Output:
        """Return the step's output: from the journal where it has finished, else by working.

        Parameters
        ----------
        run : Run
            An open run.
        name : str
            Unique within the run.
        inputs : mapping
            JSON values that decide the output; other inputs, another execution.
        work : callable
            Returns a JSON value; may take hours; must bear being repeated after a crash.

        Returns
        -------
        dict
            What `work` returned, now or before.

        Raises
        ------
        Conflict
            When the lease was lost while working: the output is not recorded.

        Notes
        -----
        Two short transactions, about 1 ms each on a local disk.
        """
        found = self._begin(run, name, inputs)
        if found is not None:
            return found
        output = work()
        with self._db.transaction() as connection:
            self._record(connection, run, name, output)
        return output

    def steps(
        self,
        run: Run,
        wanted: Sequence[tuple[str, Mapping[str, Any]]],
        work: Callable[[Sequence[int]], Iterable[tuple[int, Output]]],
    ) -> list[Output]:
        """Do several steps side by side; each is recorded as soon as it ends.

        Parameters
        ----------
        run : Run
            An open run.
        wanted : sequence of (str, mapping)
            Name and inputs of each step, as of `step`.
        work : callable
            Takes the places of those that have not finished yet; yields place and output of
            each as it ends.

        Returns
        -------
        list of dict
            The outputs, in the order of `wanted`.

        Raises
        ------
        Conflict
            When the lease was lost while working.
        """
        outputs = [self._begin(run, name, inputs) for name, inputs in wanted]
        missing = [at for at, output in enumerate(outputs) if output is None]
        if missing:
            for at, output in work(missing):
                with self._db.transaction() as connection:
                    self._record(connection, run, wanted[at][0], output)
                outputs[at] = output
        return [output for output in outputs if output is not None]

    def commit_step(
        self, run: Run, name: str, inputs: Mapping[str, Any], work: Callable[[Connection], Output]
    ) -> Output:
        """Do a step whose work is itself a transaction: work and record commit together."""
        found = self._begin(run, name, inputs)
        if found is not None:
            return found
        with self._db.transaction() as connection:
            output = work(connection)
            self._record(connection, run, name, output)
        return output

    def finish(
        self, run: Run, state: Literal["done", "failed"], outcome: Mapping[str, Any]
    ) -> None:
        """Close the run."""
        with self._db.transaction() as connection:
            self._lease.check(connection, self._fence)
            connection.execute(
                update(runs)
                .where(runs.c.id == run.id)
                .values(state=state, outcome=dict(outcome), ended_at=self._clock.now())
            )

    def _begin(self, run: Run, name: str, inputs: Mapping[str, Any]) -> Output | None:
        """Return the output of a finished step, else mark the step as running."""
        wanted = input_hash(inputs)
        with self._db.transaction() as connection:
            self._lease.check(connection, self._fence)
            row = connection.execute(
                select(steps).where(steps.c.run == run.id, steps.c.name == name)
            ).one_or_none()
            if row is not None and row.state == "done" and row.input_hash == wanted:
                return dict(row.output)
            values = {
                "input_hash": wanted,
                "attempt": 1 if row is None else row.attempt + 1,
                "state": "running",
                "fence": self._fence,
                "output": None,
                "started_at": self._clock.now(),
                "ended_at": None,
            }
            if row is None:
                done = connection.execute(select(steps.c.seq).where(steps.c.run == run.id)).all()
                connection.execute(
                    insert(steps).values(run=run.id, name=name, seq=len(done) + 1, **values)
                )
            else:
                connection.execute(
                    update(steps)
                    .where(steps.c.run == run.id, steps.c.name == name)
                    .values(**values)
                )
        return None

    def _record(self, connection: Connection, run: Run, name: str, output: Output) -> None:
        self._lease.check(connection, self._fence)
        connection.execute(
            update(steps)
            .where(steps.c.run == run.id, steps.c.name == name)
            .values(state="done", output=output, ended_at=self._clock.now())
        )


def open_run(db: Database, model: str) -> Run | None:
    """Return the run that a crash or a restart left open, if there is one."""
    with db.read() as connection:
        return _open_run(connection, model)


def last_runs(db: Database, model: str, limit: int = 20, *, kind: str = UPDATE) -> tuple[Run, ...]:
    """Return the newest runs of a model of one kind, newest first."""
    mine = (runs.c.model == model, runs.c.kind == kind)
    with db.read() as connection:
        found = connection.execute(
            select(runs).where(*mine).order_by(runs.c.id.desc()).limit(limit)
        )
        return tuple(_run(row) for row in found)


def steps_of(db: Database, run_id: str) -> tuple[Mapping[str, Any], ...]:
    """Return the steps of a run in the order of their first start."""
    with db.read() as connection:
        found = connection.execute(
            select(steps).where(steps.c.run == run_id).order_by(steps.c.seq)
        ).mappings()
        return tuple(dict(row) for row in found)


def input_hash(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the inputs' canonical JSON.

    Examples
    --------
    >>> input_hash({"a": 1, "b": 2}) == input_hash({"b": 2, "a": 1})
    True
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _open_run(connection: Connection, model: str) -> Run | None:
    row = connection.execute(
        select(runs).where(runs.c.model == model, runs.c.state == "open")
    ).one_or_none()
    return None if row is None else _run(row)


def _run(row: Any) -> Run:
    return Run(row.id, row.model, row.kind, row.spec, row.state, row.outcome, row.started_at)
