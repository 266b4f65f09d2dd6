"""The race over the journal: heats run on the engine, and none that has ended is run again."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from renewal.core.errors import Conflict, Refused, RenewalError, Unavailable
from renewal.core.progress import Progress
from renewal.core.version import Manifest, Version
from renewal.engine.contract import Call, Ended
from renewal.loop.journal import Journal, Output, Run
from renewal.loop.rolling import CIRCUIT
from renewal.loop.starting import starters
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain, to_plain
from renewal.store.digest import digest
from renewal.update.budget import Budget
from renewal.update.desk import Desk
from renewal.update.entry import KEEP, Entry
from renewal.update.heat import Done, Order, carry_out, losses_of
from renewal.update.race import Heat, Result, race
from renewal.update.recipe import Recipe

_log = logging.getLogger(__name__)
_NAME_LENGTH = 128
_FOLDER_LENGTH = 80


class Racing:
    """The race of one update; what it found stays to be registered and refitted.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    journal : Journal
        Under a held lease.
    run : Run
        The update.
    desk : Desk
        Its rows and its parent.
    inputs : mapping
        What is pinned, as the journal has it: other inputs, another heat.
    """

    def __init__(
        self, shop: Workshop, journal: Journal, run: Run, desk: Desk, *, inputs: Mapping[str, Any]
    ) -> None:
        self.shop = shop
        self.journal = journal
        self.run = run
        self.desk = desk
        self.done: dict[str, Done] = {}
        self.thin: set[str] = set()  # whose last heat was on a share of the rows
        self._inputs = dict(inputs)

    def race(
        self, recipes: Sequence[Recipe], budget: Budget, *, is_routine: bool
    ) -> tuple[Entry, ...]:
        """Race the champion, former versions and the recipes; see `renewal.update.race.race`."""
        foreseen = starters(self.shop, self.desk, recipes, is_routine=is_routine)
        return race(
            [each.starter for each in foreseen],
            self._heats,
            budget,
            blocks=self.desk.selection.block,
            n_slots=self.shop.engine.n_slots,
            min_gain=self.shop.update.min_gain,
        )

    def order(self, heat: Heat) -> Order:
        """Return what is to be made for a heat."""
        before = self.done.get(heat.label)
        return Order(
            label=heat.label,
            share=heat.share,
            budget_s=heat.limit_s if heat.limit_s < math.inf else None,
            scratch=self.scratch(heat.label),
            found={} if before is None else before.facts,
        )

    def scratch(self, label: str) -> str:
        """Return the folder in which the work on a recipe keeps what a kill must not lose."""
        place = self.desk.pinned.place
        words = "".join(c if c.isascii() and c.isalnum() else "-" for c in label)
        return str(
            place.scratch(self.run.id) / f"{words[:_FOLDER_LENGTH]}-{digest(label.encode())[:16]}"
        )

    def fit(self, label: str, *, limit_s: float | None = None, in_race: bool = False) -> Output:
        """Fit a recipe up to the cut; return its manifest and its cost, or why it failed.

        Parameters
        ----------
        label : str
            The recipe.
        limit_s : float or None, seconds
            After that long it has failed; None: it may take as long as it takes.
        in_race : bool, default False
            Whether it is fitted on the rows of the race instead, to stand beside what raced.
        """
        raced = self.done.get(label)
        is_same = in_race or self.desk.pinned.window is None
        if raced is not None and raced.manifest is not None and is_same and label not in self.thin:
            # Without time the race has fitted on all rows that may be fitted: these bytes.
            return _fitted(label, raced, 0.0)
        order = replace(self.order(Heat(label)), in_race=in_race)
        order = replace(order, scratch=f"{order.scratch}-fit")
        engine = self.shop.engine
        call = Call(carry_out, (self.desk, order, engine), label, limit_s)
        (ended,) = engine.run_all([call], lambda _, said: self.shop.hear(label, said))
        if ended.ran is None:
            error = ended.error
            if error is not None and _is_no_ones_fault(error):
                raise error
            return {"failed": self._reason(label, error), "recipe": label}
        done: Done = ended.ran.value
        if done.manifest is None:
            return {"failed": str(done.why_not), "recipe": label}
        return _fitted(label, done, ended.ran.seconds)

    def add(self, manifest: Any, recipe: str, facts: Mapping[str, Any]) -> Version:
        """Register a candidate with the files of its snapshot; the same one twice is once."""
        shop = self.shop
        noted = {**facts, "run": self.run.id, "recipe": recipe}
        version = shop.registry.add_version(
            from_plain(Manifest, manifest), facts=noted, who=CIRCUIT
        )
        if version.manifest.snapshot is not None:
            shop.feed.lease(version.manifest.snapshot, version.id)
        return version

    def _heats(self, heats: Sequence[Heat]) -> list[Result]:
        """Run heats side by side; those that the journal has are not run again."""
        orders = [self.order(heat) for heat in heats]
        steps = [
            (_heat_name(heat), {"recipe": heat.label, "share": heat.share, **self._inputs})
            for heat in heats
        ]

        def work(missing: Sequence[int]) -> Iterator[tuple[int, Output]]:
            calls = [self._call(heats[at], orders[at]) for at in missing]

            def hear(at: int, said: Progress) -> None:
                self.shop.hear(heats[missing[at]].label, said)

            for ended in self.shop.engine.run_all(calls, hear):
                at = missing[ended.at]
                yield at, self._ended(heats[at].label, ended)

        return [
            self._result(heat, output)
            for heat, output in zip(heats, self.journal.steps(self.run, steps, work), strict=True)
        ]

    def _call(self, heat: Heat, order: Order) -> Call:
        limit_s = heat.limit_s if heat.limit_s < math.inf else None
        return Call(carry_out, (self.desk, order, self.shop.engine), heat.label, limit_s)

    def _ended(self, label: str, ended: Ended) -> Output:
        """Return what the journal keeps of a heat, however it ended."""
        if ended.error is not None and _is_no_ones_fault(ended.error):
            raise ended.error
        if isinstance(ended.error, Refused) and ended.error.who == "the race":
            raise ended.error  # no rows to choose on: no heat of this race can be scored
        if ended.ran is None:
            reason = self._reason(label, ended.error)
            entry = Entry(label, "failed", reason, seconds=ended.seconds)
            return {"entry": to_plain(entry), "done": to_plain(Done())}
        ran = ended.ran
        done: Done = ran.value
        entry = Entry(
            label,
            "made" if done.why_not is None else "not_possible",
            _told(label, done),
            loss=done.loss,
            seconds=ran.seconds,
            cpu_s=ran.cpu_s,
            peak_bytes=ran.peak_bytes,
        )
        return {"entry": to_plain(entry), "done": to_plain(done)}

    def _reason(self, label: str, error: Exception | None) -> str:
        if isinstance(error, RenewalError):
            return str(error)
        # A plug-in may raise anything: what it raised is the reason that people read.
        _log.error("model %s: %s failed", self.shop.spec.name, label, exc_info=error)
        return f"{type(error).__name__}: {error}"

    def _result(self, heat: Heat, output: Output) -> Result:
        done = from_plain(Done, output["done"])
        if done.why_not is None and done.losses is not None:
            self.done[heat.label] = done
            (self.thin.add if heat.share < 1.0 else self.thin.discard)(heat.label)
        losses = None if done.losses is None else losses_of(self.desk, done.losses)
        return Result(from_plain(Entry, output["entry"]), losses)


def _heat_name(heat: Heat) -> str:
    share = "" if heat.share == 1.0 else f"@{heat.share:.3f}"
    return step_name(f"select:{heat.label}", share)


def step_name(name: str, end: str = "") -> str:
    """Return the name of a step; of a long one the beginning, and a digest of the whole."""
    if len(name + end) > _NAME_LENGTH:
        end = f"#{digest(name.encode())[:16]}{end}"
    return name[: _NAME_LENGTH - len(end)] + end


def _is_no_ones_fault(error: Exception) -> bool:
    """Whether a fit ended for no reason of its own: the run stays open, and is taken up again.

    Somebody else holds the lease by now, or the engine was closed: its home goes down.
    """
    if isinstance(error, Unavailable):
        return error.fields.get("reason") == "cancelled"
    return isinstance(error, Conflict)


def _fitted(label: str, done: Done, seconds: float) -> Output:
    return {
        "manifest": to_plain(done.manifest),
        "seconds": seconds,
        "recipe": label,
        "facts": to_plain(done.facts),
    }


def _told(label: str, done: Done) -> str:
    if done.why_not is not None:
        return done.why_not
    return "the champion as it is" if label == KEEP else f"{done.n_rows:,} rows"
