"""The registry: models, their versions, the names that point at them, and why they moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select

from renewal.core.clock import Clock
from renewal.core.errors import Invalid
from renewal.core.plan import Plan
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Verdict
from renewal.core.version import Manifest, Version
from renewal.registry import adding, lookup, outbox
from renewal.registry.codec import from_plain
from renewal.registry.db import Database
from renewal.registry.events import append_event, moves_of, read_events
from renewal.registry.moving import Grounds, move_aliases
from renewal.registry.records import AliasMove, Event, Move
from renewal.registry.tables import aliases, models, verdicts
from renewal.registry.tokens import TokenShelf
from renewal.registry.wake import Bell

__all__ = ["AliasMove", "Event", "Move", "Registry"]


class Registry(TokenShelf):
    """Read and move what a home knows of its models.

    Parameters
    ----------
    db : Database
        Where it is kept.
    clock : Clock
        The time that is written beside everything.

    Notes
    -----
    Every verb is one transaction: it happens whole or not at all. Some take a `connection`
    to be part of a larger one; the caller then calls `wake` after the commit. A verb without
    it must not be called inside a write transaction: it would wait for its own caller. Safe
    to call from any thread and any process.

    Examples
    --------
    >>> import tempfile
    >>> from renewal.core.clock import SystemClock
    >>> from renewal.core.spec import Signature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     db = Database(f"sqlite:///{folder}/registry.db")
    ...     registry = Registry(db, SystemClock())
    ...     spec = registry.create_model(ModelSpec("flights", "binary", "late"))
    ...     made = ("sklearn", "af" * 32, 9, Signature(()), (0, 1), "train")
    ...     v1 = registry.add_version(Manifest("flights", "binary", *made))
    ...     registry.move("flights", Move("champion", None, v1.id), who="ada", why="the first")
    ...     found = registry.version("flights", "@champion").name
    ...     kinds = [event.kind for event in registry.log("flights")]
    ...     db.close()
    >>> found, kinds
    ('v1', ['created', 'registered', 'first'])
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self.db = db
        self._clock = clock
        self._bell = Bell()

    def create_model(self, spec: ModelSpec) -> ModelSpec:
        """Declare a model; declaring it again in the same words does nothing.

        Parameters
        ----------
        spec : ModelSpec
            What its columns mean.

        Returns
        -------
        ModelSpec
            As stored.

        Raises
        ------
        Conflict
            When it is declared differently; `fields["differs"]` names the fields.
        """
        with self.db.transaction() as connection:
            return adding.add_model(connection, spec, self._clock.now())

    def model(self, name: str) -> ModelSpec:
        """Return the specification of a model; `NotFound` offers the nearest name."""
        with self.db.read() as connection:
            return lookup.find_model(connection, name)

    def models(self) -> tuple[ModelSpec, ...]:
        """Return every model by name."""
        with self.db.read() as connection:
            found = connection.execute(select(models.c.spec).order_by(models.c.name)).scalars()
            return tuple(from_plain(ModelSpec, plain) for plain in found)

    def add_version(
        self, manifest: Manifest, *, facts: Mapping[str, Any] | None = None, who: str = ""
    ) -> Version:
        """Register a version; registering the same manifest again returns the stored one.

        Parameters
        ----------
        manifest : Manifest
            What it is; its digest becomes the id. Its bytes are in the store already.
        facts : mapping or None
            What is worth knowing beside it, such as ``fit_s``; JSON values.
        who : str, at most 128 characters, default ""
            Who registers it.

        Returns
        -------
        Version
            With its number: one more than the model's newest.

        Raises
        ------
        NotFound
            When its model is unknown, or its parent is no version of the model.
        Invalid
            When its task is not the model's, or an option has no JSON form.
        """
        with self.db.transaction() as connection:
            at = self._clock.now()
            return adding.add_version(connection, manifest, at, facts=facts or {}, who=who)

    def version(self, model: str, ref: str) -> Version:
        """Return one version of a model.

        Parameters
        ----------
        model : str
            Whose.
        ref : str
            ``v3`` or ``3``; ``@champion`` or ``champion``; an id, or at least 8 digits of it.

        Returns
        -------
        Version
            Its manifest is checked against its id.

        Raises
        ------
        NotFound
            When there is none; the nearest name is offered.
        Conflict
            When several ids start like this.
        Corrupt
            When the stored manifest has another digest.
        """
        with self.db.read() as connection:
            return lookup.find_version(connection, model, ref)

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return every version of a model, oldest first."""
        with self.db.read() as connection:
            lookup.find_model(connection, model)
            return lookup.find_versions(connection, model)

    def lineage(self, version_id: str) -> tuple[Version, ...]:
        """Return a version, what it was made from, what that was made from, and so on."""
        with self.db.read() as connection:
            return lookup.find_lineage(connection, version_id)

    def aliases(self, model: str, connection: Connection | None = None) -> dict[str, str]:
        """Return where each alias of a model points: alias to version id.

        In a transaction of the caller, handed in as `connection`, it stays so until commit.
        """
        with self._reading(connection) as reading:
            lookup.find_model(reading, model)
            found = reading.execute(
                select(aliases).where(aliases.c.model == model).order_by(aliases.c.alias)
            )
            return {row.alias: row.version_id for row in found}

    def wishes(self, seq: int) -> tuple[tuple[tuple[int, Plan], ...], dict[str, dict[str, str]]]:
        """Return what servers are to follow: the plans after number `seq`, and every alias.

        Both of one moment: an alias and a plan that were changed together come together.

        Returns
        -------
        (tuple of (int, Plan), dict of str to dict)
            The plans in order; for each model, its aliases and the ids of their versions.
        """
        with self.db.read() as connection:
            return outbox.after(connection, seq), lookup.pointers(connection)

    def move(
        self,
        model: str,
        *moves: Move,
        who: str,
        why: str,
        verdict_id: str | None = None,
        forced: bool = False,
        plan: Plan | None = None,
        kind: str = "moved",
        connection: Connection | None = None,
    ) -> None:
        """Move aliases by compare-and-swap, with the event and the plan, all or nothing.

        ``champion`` moves only where there was none ever before (the event's kind becomes
        ``first``), on a verdict that accepts the candidate beside the present champion,
        back to a former champion (`kind` is ``rolled_back``), or when forced by name.

        Parameters
        ----------
        model : str
            Whose aliases.
        *moves : Move
            Each alias once; one to None takes the alias away. None at all where only the
            traffic changes, by `plan`.
        who, why : str
            For the log; a forced move needs both.
        verdict_id : str or None
            The verdict that allows it.
        forced : bool, default False
            Past the gate.
        plan : Plan or None
            The traffic from now on, for the servers.
        kind : str, default "moved"
            Of the event.
        connection : Connection or None
            A transaction of the same database to be part of; call `wake` after its commit.

        Raises
        ------
        Conflict
            When an alias points elsewhere by now (the error names who moved it), or the
            verdict's baseline is no longer champion.
        Refused
            When nothing allows the new champion; carries the verdict where there is one.
        NotFound
            When the model, a version or the verdict does not exist.
        Invalid
            When an alias is no name, or is named twice, when the plan is of another model,
            or there is neither a move nor a plan.
        """
        if (plan is None and not moves) or (plan is not None and plan.model != model):
            raise Invalid(
                "Registry.move",
                needs=f"a move, a plan of {model!r}, or both",
                came="neither" if plan is None else f"a plan of {plan.model!r}",
                todo="Move each model's aliases with its own plan.",
            )
        with self._writing(connection, wakes=True) as writing:
            lookup.find_model(writing, model)
            at = self._clock.now()
            move_aliases(writing, model, moves, Grounds(who, why, verdict_id, forced, kind), at)
            if plan is not None:
                outbox.publish(writing, plan, at)

    def add_verdict(
        self, model: str, verdict: Verdict, connection: Connection | None = None
    ) -> str:
        """Store a verdict for ever and return its id; ids sort in the order of storing."""
        with self._writing(connection) as writing:
            return adding.add_verdict(writing, model, verdict, self._clock.now())

    def verdict(self, verdict_id: str) -> Verdict:
        """Return a verdict by its id; raise `NotFound` where there is none."""
        with self.db.read() as connection:
            return lookup.find_verdict(connection, verdict_id)

    def verdicts(self, model: str) -> tuple[tuple[str, Verdict], ...]:
        """Return every verdict of a model with its id, oldest first."""
        with self.db.read() as connection:
            lookup.find_model(connection, model)
            found = connection.execute(
                select(verdicts).where(verdicts.c.model == model).order_by(verdicts.c.id)
            )
            return tuple((row.id, from_plain(Verdict, row.body)) for row in found)

    def log(self, model: str, limit: int | None = None) -> tuple[Event, ...]:
        """Return what happened to a model, newest last; the newest `limit`, None for all.

        The log of the home itself, such as who made which token, has an empty name.
        """
        with self.db.read() as connection:
            if model:
                lookup.find_model(connection, model)
            return read_events(connection, model, limit)

    def note(
        self,
        model: str,
        kind: str,
        *,
        who: str,
        why: str,
        details: Mapping[str, Any],
        connection: Connection | None = None,
    ) -> None:
        """Append an event to the log of a model.

        Parameters
        ----------
        model, kind : str
            Whose, and what happened, such as ``alarm``; a kind has at most 32 characters.
        who, why : str
            Who did it, and the reason.
        details : mapping
            JSON values, instants, durations and records; ``moves`` is the registry's own.
        connection : Connection or None
            A transaction to be part of.

        Raises
        ------
        NotFound
            When there is no such model.
        Invalid
            When `details` holds ``moves``: the history of an alias is written by `move`.
        """
        if "moves" in details:
            raise Invalid(
                "Registry.note",
                needs="details without the key 'moves'",
                came=", ".join(sorted(details)),
                todo="Use Registry.move; the history of an alias is read from its events.",
            )
        with self._writing(connection) as writing:
            lookup.find_model(writing, model)
            append_event(writing, self._clock.now(), model, kind, who=who, why=why, details=details)

    def history(self, model: str, alias: str) -> tuple[AliasMove, ...]:
        """Return every move of an alias, oldest first."""
        with self.db.read() as connection:
            lookup.find_model(connection, model)
            return moves_of(connection, model, alias)

    def publish(self, plan: Plan, connection: Connection | None = None) -> int:
        """Append a plan to the outbox of the servers and return its number.

        Raises
        ------
        NotFound
            When its model, or a version that it names, does not exist.
        """
        with self._writing(connection, wakes=True) as writing:
            return outbox.publish(writing, plan, self._clock.now())

    def plan(self, model: str) -> tuple[int, Plan] | None:
        """Return the newest plan of a model with its number; None where there is none yet."""
        with self.db.read() as connection:
            return outbox.newest(connection, model)

    def plans_after(self, seq: int) -> tuple[tuple[int, Plan], ...]:
        """Return the plans of every model after number `seq`, in order; 0 for all."""
        with self.db.read() as connection:
            return outbox.after(connection, seq)

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after every commit of a move or a plan made through this object.

        Parameters
        ----------
        callback : callable
            Takes nothing, is quick, and reads the registry for itself if it must.

        Returns
        -------
        callable
            Ends the subscription.
        """
        return self._bell.subscribe(callback)

    def wake(self) -> None:
        """Call the subscribers; for who committed a transaction of their own."""
        self._bell.ring()

    @contextmanager
    def _reading(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
            return
        with self.db.read() as own:
            yield own

    @contextmanager
    def _writing(
        self, connection: Connection | None, *, wakes: bool = False
    ) -> Iterator[Connection]:
        """Yield the caller's transaction, or one of our own, and ring when ours committed."""
        if connection is not None:
            yield connection
            return
        with self.db.transaction() as own:
            yield own
        if wakes:
            self._bell.ring()
