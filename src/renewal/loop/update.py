"""One update, from its reason to its verdict: a transaction in journal steps.

::

    pin -> select:<recipe> ... -> fit -> register -> compare -> verdict -> roll out

``pin`` fixes the snapshot and the forward window, so that every later step, now or after a
crash, sees the same rows. The race picks a recipe on the newest rows before the cut; the
winner is fitted once more up to the cut *before* anybody judges it, and the bytes that are
judged are the bytes that are promoted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from sqlalchemy import Connection

from renewal.core.clock import from_us
from renewal.core.errors import Refused, RenewalError
from renewal.core.plugin import load_plugin
from renewal.core.verdict import Verdict
from renewal.core.version import Manifest, Snapshot, Version
from renewal.data.forward import ForwardWindow
from renewal.data.rows import Rows
from renewal.loop.comparing import keyset_of, unseen_by
from renewal.loop.evidence import forward
from renewal.loop.happening import Happening
from renewal.loop.journal import Journal, Output, Run
from renewal.loop.judging import Judged, first_verdict, record
from renewal.loop.line import take_over
from renewal.loop.rolling import CIRCUIT, start_rollout
from renewal.loop.sampled import without_requested
from renewal.loop.workshop import Workshop
from renewal.models.load import load_estimator
from renewal.models.task import Classes, Scores, Task
from renewal.registry.codec import from_plain, to_plain
from renewal.update.contract import Made, Parent
from renewal.update.lineage import living_ancestors, unknown_until_us
from renewal.update.race import (
    KEEP,
    Entry,
    Recipe,
    judged_rows,
    parse_recipe,
    pick,
    selection_rows,
    training_rows,
)

_log = logging.getLogger(__name__)
_NAME_LENGTH = 128
_SEEN = "the champion trained on all rows on which the race chooses"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an update was asked for; the spec of its run.

    Parameters
    ----------
    reasons : tuple of str
        Sentences of the triggers, or of a person.
    recipes : tuple of str
        What the race tries, in order.
    budget_s : float
        Seconds of fitting for the race.
    roll_out : bool
        Whether a candidate that was not rejected goes on into a rollout.
    n_labels : int
        Labels of the feed at the time; the amount trigger counts from here.
    """

    reasons: tuple[str, ...]
    recipes: tuple[str, ...]
    budget_s: float
    roll_out: bool
    n_labels: int = 0


class UpdateRun:
    """The steps of one update; what they share is read once a process.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    journal : Journal
        Under a held lease.
    run : Run
        Its spec is an `Asked`.
    """

    def __init__(self, shop: Workshop, journal: Journal, run: Run) -> None:
        self.shop = shop
        self.journal = journal
        self.run = run
        self.asked = from_plain(Asked, run.spec)
        self._pinned = self._pin()

    def finish(self) -> Mapping[str, Any]:
        """Do every step that is not done yet, close the run, and return its outcome."""
        recipes = {each.label: each for each in map(parse_recipe, self.asked.recipes)}
        entries = self._race(list(recipes.values()))
        winner = pick(entries)
        self._tell("race", _race_sentence(entries, winner), entries=to_plain(entries))
        if winner is None:
            outcome: dict[str, Any] = {"entries": to_plain(entries), "candidate": None}
        else:
            fitted = self._fit(recipes[winner.recipe])
            candidate = self._register(fitted)
            verdict, verdict_id = self._judge(candidate)
            self._roll_out(candidate, verdict, verdict_id)
            outcome = {
                "entries": to_plain(entries),
                "candidate": candidate.id,
                "fit_s": fitted["seconds"],
                "verdict": to_plain(verdict),
            }
        self.journal.finish(self.run, "done", outcome)
        return outcome

    @cached_property
    def _window(self) -> ForwardWindow | None:
        """The forward window; None where the model has no event time."""
        found = self._pinned["window"]
        return None if found is None else from_plain(ForwardWindow, found)

    @cached_property
    def _rows(self) -> Rows:
        """Every labelled row of the pinned snapshot, by time and key.

        Workers log in any order; in this one the same rows and seed give the same bytes.
        """
        snapshot = from_plain(Snapshot, self._pinned["snapshot"])
        rows = self.shop.feed.rows(snapshot=snapshot, labelled=True)
        return rows.take(np.lexsort((rows.key_hash, rows.event_us)))

    @cached_property
    def _baseline(self) -> Version:
        return self.shop.registry.version(self.shop.spec.name, self._pinned["baseline"])

    @cached_property
    def _parent(self) -> Parent:
        """The champion, loaded: what every strategy starts from."""
        manifest = self._baseline.manifest
        return Parent(
            version=self._baseline,
            estimator=load_estimator(manifest, self.shop.store, self.shop.trust),
            adapter=load_plugin("adapters", manifest.adapter)(),
            task=load_plugin("tasks", manifest.task)(),
            keyset=keyset_of(self.shop, self._baseline),
            unknown_until_us=unknown_until_us(
                living_ancestors(self.shop.registry.lineage(self._baseline.id))
            ),
        )

    def _pin(self) -> Output:
        """Fix what this update sees: the snapshot, the window and the champion."""
        shop = self.shop

        def work() -> Output:
            return {
                "snapshot": to_plain(shop.feed.snapshot()),
                "window": to_plain(forward(shop, self.run.started_at)),
                "baseline": shop.registry.version(shop.spec.name, "champion").id,
            }

        return self.journal.step(self.run, "pin", {}, work)

    def _race(self, recipes: list[Recipe]) -> list[Entry]:
        """Fit every recipe before the selection rows and score it there, under the budget."""
        spent_s = 0.0
        entries = [self._entry(KEEP, self._keep)]
        for recipe in recipes:
            left_s = self.asked.budget_s - spent_s
            entry = self._entry(recipe.label, partial(self._try, recipe, left_s))
            spent_s += entry.seconds
            entries.append(entry)
        return entries

    def _entry(self, label: str, work: Callable[[], Entry]) -> Entry:
        done = self.journal.step(
            self.run,
            f"select:{label}"[:_NAME_LENGTH],
            {"recipe": label, "pinned": self._pinned},
            lambda: to_plain(work()),
        )
        return from_plain(Entry, done)

    def _keep(self) -> Entry:
        """Score doing nothing on the selection rows, where the champion may be scored."""
        if not self._is_fair_to_champion:
            return Entry(KEEP, "not_possible", _SEEN)
        return Entry(KEEP, "made", "the champion as it is", self._loss_of_champion())

    def _try(self, recipe: Recipe, left_s: float) -> Entry:
        """Fit one recipe before the selection rows and score it on them."""
        if left_s <= 0:
            return Entry(recipe.label, "skipped", "the budget was used up before its turn")
        strategy = load_plugin("strategies", recipe.strategy)()
        rows = training_rows(
            self._rows, self._window, salt=self.shop.salt, before=self.shop.update.selection
        )
        why_not = strategy.why_not(self._parent, rows)
        if why_not is None and strategy.keeps_parent and not self._is_fair_to_champion:
            why_not = _SEEN
        if why_not is not None:
            return Entry(recipe.label, "not_possible", why_not)
        try:
            ran = self.shop.engine.run(
                strategy.make,
                self._parent,
                rows,
                recipe.options,
                self.shop.update.seed,
                label=recipe.label,
            )
        except RenewalError as error:
            return Entry(recipe.label, "failed", str(error))
        except Exception as error:  # noqa: BLE001  # a plug-in may raise anything
            _log.exception("model %s: %s failed", self.shop.spec.name, recipe.label)
            return Entry(recipe.label, "failed", f"{type(error).__name__}: {error}")
        loss = self._loss(ran.value)
        return Entry(recipe.label, "made", f"{ran.value.n_rows:,} rows", loss, ran.seconds)

    @cached_property
    def _selection(self) -> Rows:
        """The rows on which the race chooses; those that the champion trained on are left out.

        Where it trained on all of them, the recipes that learn afresh still race on them.
        """
        rows = selection_rows(
            self._rows, self._window, salt=self.shop.salt, length=self.shop.update.selection
        )
        rows = without_requested(self.shop, rows)
        if not len(rows):
            raise Refused(
                "the race",
                needs="labelled rows to choose on",
                came="none before the cut",
                todo="Wait for labels, or shorten the holdout of the gate.",
            )
        try:
            return unseen_by(self.shop, rows, self._baseline)[0]
        except Refused:
            return rows

    @cached_property
    def _is_fair_to_champion(self) -> bool:
        rows = self._selection
        try:
            return len(unseen_by(self.shop, rows, self._baseline)[0]) == len(rows)
        except Refused:
            return False

    def _loss_of_champion(self) -> float:
        parent, rows = self._parent, self._selection
        scores = parent.adapter.predict(parent.estimator, rows.features)
        return _mean_loss(parent.task, scores, rows, self._baseline.manifest.classes)

    def _loss(self, made: Made) -> float:
        rows = self._selection
        scores = self._parent.adapter.predict(made.estimator, rows.features)
        return _mean_loss(self._parent.task, scores, rows, made.classes)

    def _fit(self, recipe: Recipe) -> Output:
        """Fit the winner up to the cut and store its bytes; the output is its manifest."""

        def work() -> Output:
            strategy = load_plugin("strategies", recipe.strategy)()
            rows = training_rows(self._rows, self._window, salt=self.shop.salt)
            ran = self.shop.engine.run(
                strategy.make,
                self._parent,
                rows,
                recipe.options,
                self.shop.update.seed,
                label=recipe.label,
            )
            manifest = self._manifest(recipe, ran.value)
            return {
                "manifest": to_plain(manifest),
                "seconds": ran.seconds,
                "recipe": recipe.label,
            }

        return self.journal.step(
            self.run, "fit", {"recipe": recipe.label, "pinned": self._pinned}, work
        )

    def _manifest(self, recipe: Recipe, made: Made) -> Manifest:
        parent = self._baseline.manifest
        data = self._parent.adapter.dump(made.estimator)
        return Manifest(
            model=parent.model,
            task=parent.task,
            adapter=parent.adapter,
            artifact=self.shop.store.put(data),
            artifact_bytes=len(data),
            signature=parent.signature,
            classes=made.classes,
            strategy=recipe.strategy,
            options=made.options,
            parent=self._baseline.id,
            trained_keys=self.shop.store.put(made.keyset.to_bytes()),
            n_trained_rows=made.n_rows,
            trained_until=None if made.trained_until_us is None else from_us(made.trained_until_us),
            snapshot=from_plain(Snapshot, self._pinned["snapshot"]),
            seed=self.shop.update.seed,
            environment=self._parent.adapter.environment(),
        )

    def _register(self, fitted: Output) -> Version:
        """Make the candidate a version; its id is its content, so twice is once."""

        def work() -> Output:
            manifest = from_plain(Manifest, fitted["manifest"])
            version = self.shop.registry.add_version(
                manifest,
                facts={
                    "fit_s": fitted["seconds"],
                    "run": self.run.id,
                    "recipe": fitted["recipe"],
                },
                who="the circuit",
            )
            if manifest.snapshot is not None:
                self.shop.feed.lease(manifest.snapshot, version.id)
            return {"version": version.id}

        done = self.journal.step(self.run, "register", {"manifest": fitted["manifest"]}, work)
        return self.shop.registry.version(self.shop.spec.name, done["version"])

    def _judge(self, candidate: Version) -> tuple[Verdict, str]:
        """Take the one fixed look at the rows held back, and spend its error."""

        def look() -> Output:
            rows = judged_rows(self._rows, self._window, salt=self.shop.salt)
            found: tuple[Judged, ...] = ()
            if self.asked.roll_out:
                found = take_over(self.shop, candidate, self._baseline, rows)
            found = found or (first_verdict(self.shop, candidate, self._baseline, rows),)
            return {"looks": [to_plain(each) for each in found]}

        plain = self.journal.step(self.run, "compare", {"candidate": candidate.id}, look)
        looks = [from_plain(Judged, each) for each in plain["looks"]]

        def record_it(connection: Connection) -> Output:
            ids = [record(self.shop, connection, each, who=CIRCUIT) for each in looks]
            return {"id": ids[-1]}

        done = self.journal.commit_step(self.run, "verdict", {"verdict": plain}, record_it)
        verdict, told = looks[-1].verdict, plain["looks"][-1]["verdict"]
        sentence = f"{candidate.name} against {self._baseline.name}: {verdict.reason}"
        self._tell(verdict.outcome, sentence, candidate=candidate.id, verdict=told)
        return verdict, done["id"]

    def _roll_out(self, candidate: Version, verdict: Verdict, verdict_id: str) -> None:
        if not self.asked.roll_out or verdict.outcome == "reject":
            return
        if verdict.outcome == "accept" and self.shop.gate.approval == "person":
            self._tell("waits", f"{candidate.name} waits for a person to approve or decline it")
            return

        def work(connection: Connection) -> Output:
            accepted = verdict_id if verdict.outcome == "accept" else None
            started = start_rollout(self.shop, connection, candidate, verdict_id=accepted)
            return {"rollout": started.id, "stage": started.stage}

        done = self.journal.commit_step(self.run, "roll out", {"candidate": candidate.id}, work)
        self.shop.registry.wake()
        self._tell("rollout", f"{candidate.name} goes into {done['stage']}", candidate=candidate.id)

    def _tell(self, kind: str, sentence: str, **facts: Any) -> None:
        self.shop.tell(Happening(self.run.started_at, kind, sentence, facts))


def _mean_loss(task: Task, scores: Scores, rows: Rows, classes: Classes) -> float:
    labels = task.labels(rows.label, who="the race")
    return float(np.mean(task.loss(scores, labels, classes)))


def _race_sentence(entries: list[Entry], winner: Entry | None) -> str:
    told = []
    for entry in entries:
        if entry.outcome == "made":
            told.append(f"{entry.recipe} {entry.loss:.4f} ({entry.seconds:.1f} s)")
        else:
            told.append(f"{entry.recipe} {entry.outcome.replace('_', ' ')}: {entry.reason}")
    best = "nothing beats the champion" if winner is None else f"best: {winner.recipe}"
    return f"{best}. " + "; ".join(told)
