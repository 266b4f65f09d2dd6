"""The circuit of one model: finish, seal, roll, watch, update, compress. One round, one tick."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from renewal.compress.options import CompressOptions
from renewal.core.errors import Corrupt, Invalid, Missing, NotFound, Refused, RenewalError
from renewal.core.verdict import Verdict
from renewal.loop.approving import expire
from renewal.loop.compiling import compile_due
from renewal.loop.compress_asked import asked_by, is_due
from renewal.loop.compressing import CompressRun
from renewal.loop.happening import Happening
from renewal.loop.journal import COMPRESS, UPDATE, Journal, Run, last_runs, open_run
from renewal.loop.lease import held
from renewal.loop.options import UpdateOptions
from renewal.loop.rolling import advance
from renewal.loop.sealing import seal
from renewal.loop.triggers import AlarmRaised, NewLabels, Reason, Schedule, Since, Trigger
from renewal.loop.update import Asked, UpdateRun
from renewal.loop.vigil import keep_vigil, standing_alarms
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain, to_plain
from renewal.registry.leases import Lease
from renewal.rollout.machine import Rollout
from renewal.update.budget import Budget

_log = logging.getLogger(__name__)

# What trying again will not mend: the run is closed with the reason. A conflict, a lost
# lease or a busy database leaves it open for the next watch.
_FINAL = (Invalid, NotFound, Refused, Missing, Corrupt)


class Circuit:
    """The circuit of one model.

    Parameters
    ----------
    shop : Workshop
        The rooms of the model.

    Notes
    -----
    Whoever changes something holds the lease ``watch:<model>``; a second watcher gets
    `Unavailable` at once and the first goes on. What a person asks for is in `operating`.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop

    def tick(self) -> None:
        """Run one round: finish an open run, seal, roll, watch; update or compress if due."""
        shop = self.shop
        if "champion" not in shop.registry.aliases(shop.spec.name):
            return
        with held(shop.db, shop.watched) as (lease, fence):
            seal(shop)
            left = open_run(shop.db, shop.spec.name)
            if left is not None:
                self._try(left, lease, fence)
            expire(shop)
            rollout = advance(shop)
            keep_vigil(shop)
            compile_due(shop)
            if rollout is not None and rollout.is_open and not self._may_replace(rollout):
                return
            reasons = self._reasons()
            if reasons:
                for reason in reasons:
                    self._tell("trigger", reason.sentence, trigger=reason.trigger)
                options = shop.update
                asked = self._asked(
                    tuple(f"{each.trigger}: {each.sentence}" for each in reasons),
                    options.recipes,
                    options.spending,
                    roll_out=True,
                )
                self._try(self._opened(UPDATE, asked, lease, fence), lease, fence)
            elif rollout is None or not rollout.is_open:
                self._compress_if_due(lease, fence)

    def _compress_if_due(self, lease: Lease, fence: int) -> None:
        shop = self.shop
        try:
            asked = asked_by(shop, shop.compress, roll_out=True) if is_due(shop) else None
        except _FINAL as error:
            # A chain that the policy has wrong must not stop the rounds of this model.
            _log.warning(
                "model %s: the policy's [compress] cannot be used: %s", shop.spec.name, error
            )
            return
        if asked is not None:
            self._try(self._opened(COMPRESS, asked, lease, fence), lease, fence)

    def update(
        self, reasons: Sequence[str], recipes: Sequence[str], budget: Budget, *, roll_out: bool
    ) -> Run:
        """Run one update now and return its closed run.

        Raises
        ------
        NotFound
            When the model has no champion yet.
        Unavailable
            When a watcher is at work on the model.
        """
        shop = self.shop
        shop.registry.version(shop.spec.name, "champion")
        with held(shop.db, shop.watched) as (lease, fence):
            seal(shop)
            left = open_run(shop.db, shop.spec.name)
            if left is not None:
                self._try(left, lease, fence)
            asked = self._asked(reasons, recipes, budget, roll_out=roll_out)
            return self._run(self._opened(UPDATE, asked, lease, fence), lease, fence)

    def compress(self, options: CompressOptions, *, roll_out: bool) -> Run:
        """Compress the champion now and return the closed run.

        Raises
        ------
        NotFound
            When the model has no champion yet.
        Unavailable
            When a watcher is at work on the model.
        Refused
            When there is no row to search on.
        """
        shop = self.shop
        with held(shop.db, shop.watched) as (lease, fence):
            seal(shop)
            left = open_run(shop.db, shop.spec.name)
            if left is not None:
                self._try(left, lease, fence)
            asked = asked_by(shop, options, roll_out=roll_out)
            return self._run(self._opened(COMPRESS, asked, lease, fence), lease, fence)

    def _asked(
        self, reasons: Sequence[str], recipes: Sequence[str], budget: Budget, *, roll_out: bool
    ) -> Asked:
        return Asked(
            tuple(reasons),
            tuple(recipes),
            budget.seconds,
            roll_out,
            self.shop.feed.n_labels(),
            trials=budget.trials,
            money=budget.money,
            price_per_hour=budget.price_per_hour,
        )

    def _may_replace(self, rollout: Rollout) -> bool:
        """Whether a newer candidate may take the place of one that is under way."""
        on_probation_for = self.shop.clock.now() - rollout.started_at
        return rollout.stage == "probation" and on_probation_for >= self.shop.update.patience

    def _opened(self, kind: str, asked: Any, lease: Lease, fence: int) -> Run:
        journal = self._journal(lease, fence)
        return journal.start(self.shop.spec.name, kind, to_plain(asked))

    def _try(self, run: Run, lease: Lease, fence: int) -> None:
        """Do a run whose failure stops nothing else: it is logged, told and in the journal."""
        try:
            self._run(run, lease, fence)
        except _FINAL as error:
            self._note_failure(run, error)

    def _run(self, run: Run, lease: Lease, fence: int) -> Run:
        """Do what is left of a run; one that cannot go on is closed with its reason."""
        journal = self._journal(lease, fence)
        doing = CompressRun if run.kind == COMPRESS else UpdateRun
        what = "compression" if run.kind == COMPRESS else "update"
        try:
            doing(self.shop, journal, run).finish()
        except _FINAL as error:
            _log.warning("model %s: %s %s failed: %s", run.model, what, run.id, error)
            journal.finish(run, "failed", {"entries": [], "candidate": None, "why": str(error)})
            shutil.rmtree(self.shop.place.scratch(run.id), ignore_errors=True)
            self._tell("failed", f"the {what} could not go on: {error}")
            raise
        return last_runs(self.shop.db, run.model, limit=1, kind=run.kind)[0]

    def _note_failure(self, run: Run, error: RenewalError) -> None:
        self.shop.registry.note(
            run.model,
            "failed",
            who="the circuit",
            why=str(error),
            details={"run": run.id, "error": type(error).__name__},
        )

    def _journal(self, lease: Lease, fence: int) -> Journal:
        return Journal(self.shop.db, self.shop.clock, lease, fence)

    def _reasons(self) -> list[Reason]:
        since = self._since()
        if since.now - since.last_update_at < self.shop.update.cooldown:
            return []
        asked = [trigger.ask(since) for trigger in _triggers(self.shop.update)]
        return [reason for reason in asked if reason is not None]

    def _since(self) -> Since:
        shop = self.shop
        runs = last_runs(shop.db, shop.spec.name, limit=1)
        if runs:
            last_at, before = runs[0].started_at, int(runs[0].spec["n_labels"])
        else:
            first = shop.registry.history(shop.spec.name, "champion")[0]
            made = shop.registry.version(shop.spec.name, str(first.to_id))
            last_at, before = first.at, int(made.facts.get("n_labels", 0))
        return Since(
            now=shop.clock.now(),
            last_update_at=last_at,
            n_labels=shop.feed.n_labels() - before,
            alarms=standing_alarms(shop),
        )

    def _tell(self, kind: str, sentence: str, **facts: Any) -> None:
        self.shop.tell(Happening(self.shop.clock.now(), kind, sentence, facts))


def verdict_in(outcome: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict that a run's outcome holds, if it came to one."""
    found = outcome.get("verdict")
    return None if found is None else from_plain(Verdict, found)


def _triggers(options: UpdateOptions) -> list[Trigger]:
    found: list[Trigger] = []
    if options.every is not None:
        found.append(Schedule(options.every))
    if options.new_labels is not None:
        found.append(NewLabels(options.new_labels))
    if options.on_alarm:
        found.append(AlarmRaised())
    return found
