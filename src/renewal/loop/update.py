"""One update, from its reason to its verdict: a transaction in journal steps.

::

    pin -> select:<recipe> ... -> fit -> register -> keep -> compare -> verdict -> roll out

``pin`` fixes the snapshot and the forward window, so that every later step, now or after a
crash, sees the same rows. The race picks a recipe on the newest rows before the cut; the
winner is fitted once more up to the cut *before* anybody judges it, and the bytes that are
judged are the bytes that are promoted. What else the race made is kept as versions.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from renewal.core.errors import Conflict
from renewal.core.plugin import plugin_module
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.loop.happening import Happening
from renewal.loop.journal import Journal, Output, Run
from renewal.loop.judging import Judged, first_verdict, record
from renewal.loop.line import take_over
from renewal.loop.pinning import desk_of, pin
from renewal.loop.racing import Racing, step_name
from renewal.loop.rolling import CIRCUIT, start_rollout
from renewal.loop.three_way import FINE_TUNE, three_way
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain, to_plain
from renewal.update.budget import Budget
from renewal.update.desk import Desk
from renewal.update.entry import FORMER, Entry, pick
from renewal.update.lineage import source_version
from renewal.update.recipe import parse_recipe
from renewal.update.stretches import judged_rows

_MANY_TIMES = 10.0
_LEAST_LIMIT_S = 60.0
_ROUTINE = ("schedule:", "new_labels:")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an update was asked for; the spec of its run.

    Parameters
    ----------
    reasons : tuple of str
        Sentences of the triggers, or of a person.
    recipes : tuple of str
        What the race tries, in order.
    budget_s : float or None
        Seconds of fitting for the race; None: no limit.
    roll_out : bool
        Whether a candidate that was not rejected goes on into a rollout.
    n_labels : int
        Labels of the feed at the time; the amount trigger counts from here.
    trials : int or None, default None
        Fits of the race.
    money : float or None, default None
        What the race may cost.
    price_per_hour : float, default 0
        Of fitting.
    """

    reasons: tuple[str, ...]
    recipes: tuple[str, ...]
    budget_s: float | None
    roll_out: bool
    n_labels: int = 0
    trials: int | None = None
    money: float | None = None
    price_per_hour: float = 0.0

    @property
    def budget(self) -> Budget:
        """What the race may cost."""
        return Budget(self.budget_s, self.trials, self.money, self.price_per_hour)

    @property
    def is_routine(self) -> bool:
        """Whether only the calendar or the number of labels asked for it."""
        return all(each.startswith(_ROUTINE) for each in self.reasons)


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
        self._warm_up()
        self._pinned = self._pin()

    def finish(self) -> Mapping[str, Any]:
        """Do every step that is not done yet, close the run, and return its outcome."""
        racing = Racing(
            self.shop, self.journal, self.run, self._desk, inputs={"pinned": self._pinned}
        )
        recipes = {each.label: each for each in map(parse_recipe, self.asked.recipes)}
        entries = racing.race(
            tuple(recipes.values()), self.asked.budget, is_routine=self.asked.is_routine
        )
        entries, winner, fitted = self._fitted(racing, entries)
        self._tell("race", _race_sentence(entries, winner), entries=to_plain(entries))
        outcome: dict[str, Any] = {"entries": to_plain(entries), "candidate": None}
        if winner is not None:
            candidate = self._candidate(racing, winner, fitted)
            outcome |= {"candidate": candidate.id, "fit_s": fitted.get("seconds", 0.0)}
        outcome["kept"] = self._keep(racing, entries)
        if winner is not None:
            verdict, verdict_id = self._judge(candidate)
            outcome["verdict"] = to_plain(verdict)
            self._roll_out(candidate, verdict, verdict_id)
        tuned = _tuned(entries, winner) if self.shop.update.three_way else None
        if tuned is not None:
            is_candidate = tuned is winner
            outcome["three_way"] = three_way(
                racing,
                candidate if is_candidate else self._desk.version(outcome["kept"][tuned.recipe]),
                tuple(recipes),
                in_race=not is_candidate,
                limit_s=self._limit_s(tuned),
            )
        self.journal.finish(self.run, "done", outcome)
        shutil.rmtree(self._desk.pinned.place.scratch(self.run.id), ignore_errors=True)
        return outcome

    def _warm_up(self) -> None:
        """Let workers load what they will need while this process reads and loads its own."""
        champion = self.shop.registry.version(self.shop.spec.name, "champion")
        source = source_version(self.shop.registry.lineage(champion.id))
        self.shop.engine.warm_up([plugin_module("adapters", source.manifest.adapter)])

    @cached_property
    def _desk(self) -> Desk:
        """The rows and the parent of every fit."""
        return desk_of(self.shop, self._pinned)

    def _pin(self) -> Output:
        """Fix what this update sees: the snapshot, the window and the champion."""
        return self.journal.step(self.run, "pin", {}, lambda: pin(self.shop, self.run.started_at))

    def _fitted(
        self, racing: Racing, entries: tuple[Entry, ...]
    ) -> tuple[tuple[Entry, ...], Entry | None, Output]:
        """Fit the winner up to the cut; where that fails, the next best one."""
        name = "fit"
        while True:
            winner = pick(entries)
            if winner is None or winner.recipe.startswith(FORMER):
                return entries, winner, {}
            fitted = self._fit(racing, winner, name)
            if fitted.get("failed") is None:
                return entries, winner, fitted
            failed = replace(winner, outcome="failed", reason=fitted["failed"])
            entries = tuple(failed if each is winner else each for each in entries)
            name = step_name(f"fit after {winner.recipe}")

    def _fit(self, racing: Racing, winner: Entry, name: str) -> Output:
        """Fit a recipe up to the cut; the output is its manifest, or why it failed."""
        label = winner.recipe

        def work() -> Output:
            return racing.fit(label, limit_s=self._limit_s(winner))

        return self.journal.step(self.run, name, {"recipe": label, "pinned": self._pinned}, work)

    def _limit_s(self, winner: Entry) -> float | None:
        """Return when the last fit counts as one that never ends; a watch must go on some day.

        It has hardly more rows than the heat had, and may take its time on a busy machine.
        """
        if self.asked.budget_s is None or winner.outcome == "sure":
            return None  # nobody has said, or seen, how long it may take
        return max(self.asked.budget_s, _MANY_TIMES * winner.seconds, _LEAST_LIMIT_S)

    def _candidate(self, racing: Racing, winner: Entry, fitted: Output) -> Version:
        """Make the winner a version; its id is its content, so twice is once."""
        if winner.recipe.startswith(FORMER):
            return self._desk.version(winner.recipe.removeprefix(FORMER))

        def work() -> Output:
            facts = {"fit_s": fitted["seconds"] or winner.seconds, **fitted.get("facts", {})}
            return {"version": racing.add(fitted["manifest"], fitted["recipe"], facts).id}

        done = self.journal.step(self.run, "register", {"manifest": fitted["manifest"]}, work)
        return self._desk.version(done["version"])

    def _keep(self, racing: Racing, entries: tuple[Entry, ...]) -> dict[str, str]:
        """Register what else the race made; return the version of each recipe."""
        costs = {each.recipe: each for each in entries}
        made = {
            label: done
            for label, done in racing.done.items()
            if done.manifest is not None and label in costs
        }
        if not made:
            return {}

        def work() -> Output:
            return {
                label: racing.add(
                    to_plain(done.manifest),
                    label,
                    {
                        **done.facts,
                        "fit_s": costs[label].seconds,
                        "loss": done.loss,
                        "share": costs[label].share,
                        "raced": True,
                    },
                ).id
                for label, done in made.items()
            }

        inputs = {label: to_plain(done.manifest) for label, done in made.items()}
        return self.journal.step(self.run, "keep", inputs, work)

    def _judge(self, candidate: Version) -> tuple[Verdict, str]:
        """Take the one fixed look at the rows held back, and spend its error."""

        def look() -> Output:
            desk = self._desk
            rows = judged_rows(desk.rows, desk.pinned.window, salt=self.shop.salt)
            found: tuple[Judged, ...] = ()
            if self.asked.roll_out:
                found = take_over(self.shop, candidate, self._desk.baseline, rows)
            found = found or (first_verdict(self.shop, candidate, self._desk.baseline, rows),)
            return {"looks": [to_plain(each) for each in found]}

        plain = self.journal.step(self.run, "compare", {"candidate": candidate.id}, look)
        looks = [from_plain(Judged, each) for each in plain["looks"]]

        def record_it(connection: Connection) -> Output:
            ids = [record(self.shop, connection, each, who=CIRCUIT) for each in looks]
            return {"id": ids[-1]}

        done = self.journal.commit_step(self.run, "verdict", {"verdict": plain}, record_it)
        verdict, told = looks[-1].verdict, plain["looks"][-1]["verdict"]
        sentence = f"{candidate.name} against {self._desk.baseline.name}: {verdict.reason}"
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

        try:
            done = self.journal.commit_step(self.run, "roll out", {"candidate": candidate.id}, work)
        except Conflict as error:
            # Another rollout is under way, and the next tick must not trip over this run.
            self._tell("waits", f"{candidate.name} is not rolled out yet: {error}")
            return
        self.shop.registry.wake()
        self._tell("rollout", f"{candidate.name} goes into {done['stage']}", candidate=candidate.id)

    def _tell(self, kind: str, sentence: str, **facts: Any) -> None:
        self.shop.tell(Happening(self.run.started_at, kind, sentence, facts))


def _tuned(entries: tuple[Entry, ...], winner: Entry | None) -> Entry | None:
    """Return the fine-tuning of a race, the winner first; None where there was none."""
    if winner is not None and winner.recipe.startswith(FINE_TUNE):
        return winner
    made = [each for each in entries if each.outcome == "made" and each.share == 1.0]
    return next((each for each in made if each.recipe.startswith(FINE_TUNE)), None)


def _race_sentence(entries: tuple[Entry, ...], winner: Entry | None) -> str:
    told = []
    for entry in entries:
        if entry.outcome == "made":
            told.append(f"{entry.recipe} {entry.loss:.4f} ({entry.seconds:.1f} s)")
        else:
            told.append(f"{entry.recipe} {entry.outcome.replace('_', ' ')}: {entry.reason}")
    best = "nothing beats the champion" if winner is None else f"best: {winner.recipe}"
    return f"{best}. " + "; ".join(told)
