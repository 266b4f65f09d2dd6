"""From a query to its outcome: slot, lease, arms, batchers, outputs, log.

Everything here runs on the event loop's thread and never waits: a query is started, and its
caller is told when the last of its parts has come back. Nothing on this way touches a
database, waits for a disk, or takes a lock that a swap holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from renewal.core.clock import to_us
from renewal.core.errors import Failed, Invalid, RenewalError
from renewal.core.ids import new_id
from renewal.core.plan import Arm, Plan
from renewal.data.rowkey import row_keys
from renewal.models.task import Scores
from renewal.serve.batcher import Work
from renewal.serve.context import working_for
from renewal.serve.merging import merged_outputs, wanted_outputs
from renewal.serve.outcome import MIXED, Outcome
from renewal.serve.routing import FACTS, RowFacts, read_facts, split_by_arm
from renewal.serve.served import Part, Served
from renewal.serve.shadow import ShadowJob

if TYPE_CHECKING:
    from renewal.serve.features import Features, Rows
    from renewal.serve.query import Query
    from renewal.serve.slots import Generation, Loaded, Slot
    from renewal.serve.works import Works

PINNED = "pinned"
_LOG = logging.getLogger("renewal.serve")

Answered = Callable[[Outcome | RenewalError], None]


@dataclass(slots=True)
class Ticket:
    """A query that is under way; `cancel` it when nobody waits any more."""

    query: Query
    slot: Slot
    generation: Generation
    features: Features
    facts: RowFacts | None
    prediction_id: str
    now_us: int
    done: Answered
    works: list[Work] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    n_left: int = 0
    is_over: bool = False

    def cancel(self) -> None:
        """Leave the batches; nobody is told."""
        if not self.is_over:
            self.end()
            self.generation.leave()

    def end(self) -> None:
        """Be over; let go of the works, which hold the ticket in turn.

        A request that is a ring of objects waits for the garbage collector, and twenty thousand
        of them a second keep it busy for a fifth of that second.
        """
        self.is_over = True
        for work in self.works:
            work.cancel()
        self.works.clear()


class Inference:
    """Answers queries by the slots of a server.

    Parameters
    ----------
    works : Works
        What it works with.
    """

    def __init__(self, works: Works) -> None:
        self._works = works
        self._timeout_s = works.options.timeout_s

    async def answer(self, query: Query) -> Outcome:
        """Return what a query comes to.

        Raises
        ------
        RenewalError
            What is wrong with it, or with the version that answers.

        Notes
        -----
        A task that is cancelled while it waits leaves the batch.
        """
        waiting: asyncio.Future[Outcome | RenewalError] = asyncio.get_running_loop().create_future()

        def done(came: Outcome | RenewalError) -> None:
            if not waiting.done():
                waiting.set_result(came)

        ticket = self.start(query, done)
        try:
            came = await waiting
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        if isinstance(came, RenewalError):
            raise came
        return came

    def start(self, query: Query, done: Answered) -> Ticket:
        """Put a query on its way.

        Parameters
        ----------
        query : Query
            The request.
        done : callable
            Called once on this thread, later, with the outcome or what is wrong.

        Raises
        ------
        Invalid, NotFound, Unavailable
            What is wrong before anything was started.
        """
        slot = self._works.slot(query.model)
        generation = slot.enter()
        try:
            ticket = self._ticket(query, slot, generation, done)
            pinned = None if query.pinned is None else generation.named(query.pinned)
            self._put(ticket, pinned)
        except BaseException:
            generation.leave()
            raise
        return ticket

    def _ticket(self, query: Query, slot: Slot, generation: Generation, done: Answered) -> Ticket:
        loaded = generation.first if query.pinned is None else generation.named(query.pinned)
        features = query.source.read(loaded.interface, generation.needed)
        prediction_id = new_id()
        now_us = to_us(self._works.clock.now())
        given = query.parameters
        facts = None
        if given and not FACTS.isdisjoint(given):
            keys = default_keys(slot, prediction_id, features)
            facts = read_facts(given, keys, now_us)
            if "key" not in given:
                facts = replace(facts, has_key=False)
        return Ticket(query, slot, generation, features, facts, prediction_id, now_us, done)

    def _put(self, ticket: Ticket, pinned: Loaded | None) -> None:
        """Hand every part to the queue of its version."""
        works, query = self._works, ticket.query
        allowed_s = self._timeout_s
        if query.timeout_s is not None:
            allowed_s = min(allowed_s, query.timeout_s)
        due_s = monotonic() + allowed_s
        loop = works.loop
        n_rows = ticket.features.n_rows
        assigned = _assigned(ticket, pinned)
        ticket.n_left = len(assigned)
        try:
            for arm, loaded, rows in assigned:
                part = ticket.features if len(rows) == n_rows else ticket.features.take(rows)
                features = part.as_read_by(loaded.version.manifest.signature)
                done = _Came(self, ticket, arm, loaded, rows)
                work = Work(features, done, due_s)
                loaded.batcher.put(work, loop, loaded.pool or works.pool)
                ticket.works.append(work)
        except BaseException:
            for work in ticket.works:
                work.cancel()
            raise

    def came(self, ticket: Ticket, part: Part, error: Exception | None) -> None:
        """Take one part; with the last, or a failed one, the query is over."""
        if ticket.is_over:
            return
        ticket.parts.append(part)
        ticket.n_left -= 1
        if error is None and ticket.n_left:
            return
        ticket.end()
        try:
            if error is not None:
                self._failed(ticket, part, error)
            else:
                self._finished(ticket)
        except Exception as mishap:  # noqa: BLE001  # the worker border: whoever waits must be told
            name = part.loaded.version.name
            _LOG.exception("an answer failed model=%s version=%s", ticket.slot.spec.name, name)
            ticket.done(_told(ticket.slot.spec.name, part.loaded, mishap))
        finally:
            ticket.generation.leave()

    def _failed(self, ticket: Ticket, part: Part, error: Exception) -> None:
        """Answer that a version failed, and log its rows as failed."""
        works = self._works
        told = _told(ticket.slot.spec.name, part.loaded, error)
        if isinstance(told, Failed):
            with working_for(request_id=ticket.query.request_id):
                _LOG.error(
                    "prediction failed model=%s version=%s",
                    ticket.slot.spec.name,
                    part.loaded.version.name,
                    exc_info=error,
                )
        # With what other arms have said of their rows by now.
        served = self._served(ticket, tuple(ticket.parts), is_refused=not isinstance(told, Failed))
        works.counters.scored(ticket.slot.spec.name, served)
        works.log.add(ticket.slot.spec, served)
        ticket.done(told)

    def _finished(self, ticket: Ticket) -> None:
        works, slot = self._works, ticket.slot
        try:
            outcome = _outcome(ticket)
        except RenewalError as error:
            ticket.done(error)
            return
        # Only what was answered: by a row that is refused the next version could not be warmed up.
        if slot.wants_sample():
            slot.remember(ticket.features)
        served = self._served(ticket, tuple(ticket.parts))
        works.counters.scored(slot.spec.name, served)
        if works.options.durability == "fsync":
            self._log_durably(ticket, served, outcome)
        else:
            works.log.add(slot.spec, served)
            ticket.done(outcome)
        generation = ticket.generation
        # After its answer: a shadow can neither slow nor fail the caller.
        if generation.plan.shadow and generation.enter():
            works.shadow.offer(ShadowJob(slot.spec, generation, served))

    def _log_durably(self, ticket: Ticket, served: Served, outcome: Outcome) -> None:
        """Answer once the log entry is on disk; an answer that is not must not leave."""
        loop = self._works.loop

        def written(error: BaseException | None) -> None:
            came = outcome if error is None else _unlogged(error)
            loop.call_soon_threadsafe(ticket.done, came)

        self._works.log.add(ticket.slot.spec, served, written)

    def _served(
        self, ticket: Ticket, parts: tuple[Part, ...], *, is_refused: bool = False
    ) -> Served:
        return Served(
            ticket.prediction_id,
            ticket.features,
            ticket.facts,
            parts,
            ticket.now_us,
            (perf_counter() - ticket.query.started_s) * 1e3,
            sticky=ticket.query.sticky,
            is_refused=is_refused,
        )


class _Came:
    """What a batcher calls with the scores of one part."""

    __slots__ = ("arm", "inference", "loaded", "rows", "ticket")

    def __init__(
        self, inference: Inference, ticket: Ticket, arm: Arm, loaded: Loaded, rows: Rows
    ) -> None:
        self.inference, self.ticket = inference, ticket
        self.arm, self.loaded, self.rows = arm, loaded, rows

    def __call__(self, came: Scores | Exception) -> None:
        error = came if isinstance(came, Exception) else None
        scores = None if isinstance(came, Exception) else came
        part = Part(self.loaded, self.arm.name, self.arm.weight, self.rows, scores)
        self.inference.came(self.ticket, part, error)


def default_keys(slot: Slot, prediction_id: str, features: Features) -> list[str]:
    """Return the keys of rows that bring none.

    Where no column is the key, equal rows are one row, as everywhere in the feed.
    """
    if slot.spec.key is not None:
        return [f"{prediction_id}-{row}" for row in range(features.n_rows)]
    return row_keys(features.table())


_ALL: dict[int, Rows] = {1: np.arange(1)}


def _all_rows(n_rows: int) -> Rows:
    found = _ALL.get(n_rows)
    return np.arange(n_rows) if found is None else found


def _assigned(ticket: Ticket, pinned: Loaded | None) -> list[tuple[Arm, Loaded, Rows]]:
    """Say which version answers which rows; a pinned one answers all, outside the split."""
    n_rows, generation = ticket.features.n_rows, ticket.generation
    if pinned is not None:
        return [(Arm(PINNED, pinned.version.id, 1.0), pinned, _all_rows(n_rows))]
    if generation.only is not None:
        return [(*generation.only, _all_rows(n_rows))]
    return [
        (arm, generation.loaded[arm.version_id], rows)
        for arm, rows in _split(ticket, generation.plan)
    ]


def _split(ticket: Ticket, plan: Plan) -> Sequence[tuple[Arm, Rows]]:
    sticky = ticket.query.sticky
    if sticky is not None:
        return [(plan.assign(sticky), _all_rows(ticket.features.n_rows))]
    if ticket.facts is not None:
        return split_by_arm(plan, ticket.facts.sticky)
    return split_by_arm(plan, default_keys(ticket.slot, ticket.prediction_id, ticket.features))


def _outcome(ticket: Ticket) -> Outcome:
    """Merge the parts in the order of the rows; say which version answered."""
    parts, query, n_rows = ticket.parts, ticket.query, ticket.features.n_rows
    first = parts[0]
    outputs: Mapping[str, np.ndarray[Any, Any]]
    if len(parts) == 1:
        loaded = first.loaded
        classes = loaded.version.manifest.classes
        assert first.scores is not None
        outputs = loaded.task.outputs(first.scores, classes)
        number, version, arm = loaded.number, loaded.version.name, first.arm
    else:
        outputs, classes = merged_outputs(parts)
        number = version = arm = MIXED
    return Outcome(
        ticket.slot.spec.name,
        version,
        number,
        arm,
        ticket.prediction_id,
        ticket.prediction_id if query.request_id is None else query.request_id,
        outputs if not query.wanted else wanted_outputs(outputs, query.wanted, version, n_rows),
        classes,
        n_rows,
    )


def _told(model: str, loaded: Loaded, error: Exception) -> RenewalError:
    """Return what the caller is told; what the estimator does not take is the caller's to fix."""
    who = f"{loaded.version.name} of model {model!r}"
    if isinstance(error, Invalid):
        return Invalid(who, needs=error.needs, came=error.came, todo=error.todo, **error.fields)
    if isinstance(error, RenewalError):
        return error
    return Failed(
        who,
        needs="rows that it can score",
        came=f"rows on which it failed: {error}",
        todo="See the server's log; roll the version back if others fail, too.",
    )


def _unlogged(error: BaseException) -> RenewalError:
    if isinstance(error, RenewalError):
        return error
    return Failed(
        "the prediction log",
        needs="to write an entry before its answer leaves",
        came=f"{type(error).__name__}: {error}",
        todo="See the server's log and disk.",
    )
