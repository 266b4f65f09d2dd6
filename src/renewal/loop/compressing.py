"""One compression, from its goal to a version that serves: a transaction in journal steps.

::

    pin -> search -> certify -> register -> verdict -> roll out

The search is resumable by itself: each trial is kept by everything that it depends on, so a
run that was killed reads what was done. The chain that won last time is tried first; where it
is certified again, that was the whole search.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from sqlalchemy import Connection

from renewal.compress.book import SqlBook
from renewal.compress.chain import parse_chain
from renewal.compress.defaults import default_chains
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.runner import Runner
from renewal.compress.search import Found, search
from renewal.compress.trial import Trial
from renewal.core.errors import Conflict
from renewal.core.progress import hearing
from renewal.core.verdict import Verdict
from renewal.core.version import Manifest, Version
from renewal.data.keyset import KeySet
from renewal.evaluate.cache import rows_id
from renewal.gate.ledger import looks_at
from renewal.loop.asking import asked_of
from renewal.loop.certificate import (
    Certificate,
    Search,
    answered,
    certificate_of,
    is_certified,
    no_further,
)
from renewal.loop.certifying import claim_of
from renewal.loop.compress_asked import CompressAsked
from renewal.loop.entrants import entrants_of, manifest_of, spread_of_trial
from renewal.loop.happening import Happening
from renewal.loop.journal import COMPRESS, Journal, Output, Run, last_runs, steps_of
from renewal.loop.judging import Judged, first_verdict, record
from renewal.loop.pinning import desk_of, pin
from renewal.loop.rolling import CIRCUIT, start_rollout
from renewal.loop.stretches import Stretches, stretches_of
from renewal.loop.trials import sentence_of, shown
from renewal.loop.workshop import Workshop
from renewal.models.load import score_map_of
from renewal.models.score_map import unmapped
from renewal.registry.codec import from_plain, to_plain
from renewal.store.digest import digest
from renewal.update.desk import Desk
from renewal.update.lineage import COMPRESS as COMPRESSED

_HALF = 0.5


class CompressRun:
    """The steps of one compression; what they share is read once a process.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    journal : Journal
        Under a held lease.
    run : Run
        Its spec is a `CompressAsked`.
    """

    def __init__(self, shop: Workshop, journal: Journal, run: Run) -> None:
        self.shop = shop
        self.journal = journal
        self.run = run
        self.asked = from_plain(CompressAsked, run.spec)
        self._pinned = journal.step(run, "pin", {}, lambda: pin(shop, run.started_at))

    def finish(self) -> Mapping[str, Any]:
        """Do every step that is not done yet, close the run, and return its outcome."""
        before = answered(self.shop, self.run, rows_id(self._rows.test))
        if before is not None:
            # The same question on the same rows has the same answer, and spends nothing.
            outcome = {**(before.outcome or {}), "same_as": before.id}
            is_new = not before.spec.get("roll_out") or outcome.pop("waits", False)
            if self.asked.roll_out and is_new and outcome["candidate"]:
                candidate = self.shop.registry.version(self.shop.spec.name, outcome["candidate"])
                certificate = from_plain(Certificate, outcome["certificate"])
                outcome |= self._offered(candidate, certificate)
            self.journal.finish(self.run, "done", outcome)
            return outcome
        return self._finish()

    def _finish(self) -> Mapping[str, Any]:
        winner = self._last_winner()
        first = () if winner is None else (winner,)
        found, certificate = self._searched("last winner", first) if first else (None, None)
        if certificate is None or certificate.certified.status != "certified":
            spent = 0.0 if certificate is None else _HALF
            chains = self.asked.chains or tuple(
                each.label for each in default_chains(self._runner.parent)
            )
            found, certificate = self._searched("search", (*first, *chains), spent=spent)
        assert found is not None, "something was searched"
        outcome: dict[str, Any] = {
            "trials": [shown(each, found) for each in found.trials],
            "margin": found.margin,
            "is_cut": found.is_cut,
            "n_evaluated": found.n_evaluated,
            "certificate": to_plain(certificate),
            "candidate": None,
            "chain": None,
        }
        trial = _to_register(found, certificate)
        if trial is not None:
            assert certificate is not None, "what is registered was tested"
            candidate = self._registered(trial, found, certificate)
            outcome |= {
                "candidate": candidate.id,
                "chain": trial.chain if is_certified(certificate) else None,
                **self._offered(candidate, certificate),
            }
        self.journal.finish(self.run, "done", outcome)
        shutil.rmtree(self.shop.place.scratch(self.run.id), ignore_errors=True)
        return outcome

    @cached_property
    def _desk(self) -> Desk:
        return desk_of(self.shop, self._pinned)

    @cached_property
    def _source(self) -> Version:
        return self.shop.registry.version(self.shop.spec.name, self.asked.source)

    @cached_property
    def _rows(self) -> Stretches:
        return stretches_of(self.shop, self._desk, self._source)

    @cached_property
    def _parent(self) -> Form:
        """The source as a form: the model inside, and the map of its scores beside it."""
        manifest = self._source.manifest
        return Form(
            manifest.adapter,
            unmapped(self._desk.parent.estimator),
            manifest.signature,
            manifest.classes,
            score_map_of(manifest, self.shop.store),
        )

    @cached_property
    def _runner(self) -> Runner:
        shop, manifest = self.shop, self._source.manifest
        base = manifest.parts.get("base")
        n_base = 0 if base is None else len(shop.store.get(base))
        waiting = self._rows.unlabelled
        material = Material(
            self._desk.parent.task,
            self._rows.train,
            self._parent,
            unlabelled=None if waiting is None else waiting.features,
            scratch=shop.place.scratch(self.run.id),
            trust=shop.trust,
        )
        return Runner(
            self._parent,
            digest("".join((manifest.artifact, *sorted(manifest.parts.values()))).encode()),
            manifest.artifact_bytes + n_base,
            material=material,
            validation=self._rows.validation,
            book=SqlBook(shop.db, shop.store, shop.spec.name, shop.clock),
            seed=self.asked.seed,
        )

    def _last_winner(self) -> str | None:
        """Return the chain that was certified last, before this model was updated."""
        for each in last_runs(self.shop.db, self.shop.spec.name, kind=COMPRESS):
            if each.state == "done" and each.outcome and each.outcome.get("chain"):
                is_updated = each.spec.get("source") != self.asked.source
                return str(each.outcome["chain"]) if is_updated else None
        return None

    def _searched(
        self, name: str, chains: Sequence[str], *, spent: float = 0.0
    ) -> tuple[Found, Certificate | None]:
        """Search, and certify what was found; None where there is nothing to test."""
        inputs = {"chains": list(chains), "pinned": self._pinned}
        found = from_plain(
            Found, self.journal.step(self.run, name, inputs, partial(self._search, chains))
        )
        if not any(each.chain and each.artifact for each in found.trials):
            return found, None
        keys = {"trials": [each.key for each in found.trials], "spent": spent}
        is_first = name != "search"
        plain = self.journal.step(
            self.run,
            f"certify {name}",
            keys,
            # The journal keeps mappings: an empty one says that no test row was looked at.
            lambda: to_plain(self._certify(found, spent=spent, is_first=is_first)) or {},
        )
        return found, from_plain(Certificate, plain) if plain else None

    def _search(self, chains: Sequence[str]) -> Output:
        limit_s = math.inf if self.asked.budget_s is None else self.asked.budget_s

        def tell(trial: Trial, gain: float) -> None:
            self._tell("trial", sentence_of(trial, gain, self.asked.goal), chain=trial.chain)

        with hearing(lambda said: self.shop.hear("compress", said)):
            found = search(
                self._runner,
                [parse_chain(each) for each in dict.fromkeys(chains)],
                self.asked.goal,
                limit_s=limit_s,
                tell=tell,
            )
        plain: Output = to_plain(found)
        return plain

    def _certify(self, found: Found, *, spent: float, is_first: bool) -> Certificate | None:
        """Certify the front on the test rows; None where the last winner is out by estimate.

        That the last winner is tried alone first costs half of the level, spent whether or not
        it is certified; where its estimate alone rules it out, no test row is looked at.
        """
        entrants = entrants_of(self.shop, self._source, self._runner, found, self.asked.goal)
        if is_first and not entrants:
            return None
        return certificate_of(
            self.shop,
            self.run,
            Search(self._runner, found, self.asked.goal, self._source),
            entrants,
            self._rows.test,
            share=_HALF if is_first or spent else 1.0,
        )

    def _registered(self, trial: Trial, found: Found, certificate: Certificate) -> Version:
        """Make the chosen trial a version; one that is there already stays the one."""

        def work() -> Output:
            there = self._there(trial, certificate)
            version = there or self._made(trial, found, certificate)
            if version.manifest.snapshot is not None:
                # Also of one that is there: a run may have been cut off between the two.
                self.shop.feed.lease(version.manifest.snapshot, version.id)
            return {"version": version.id}

        done = self.journal.step(self.run, "register", {"trial": trial.key}, work)
        version = self.shop.registry.version(self.shop.spec.name, done["version"])
        status = certificate.certified.status
        self._tell(
            str(status),
            f"{version.name} is {status}: {certificate.certified.reason}",
            candidate=version.id,
        )
        return version

    def _made(self, trial: Trial, found: Found, certificate: Certificate) -> Version:
        spread = spread_of_trial(self._runner, found, self.asked.goal, trial)
        facts = {
            "certificate": to_plain(certificate),
            "seconds": trial.seconds,
            "note": trial.note,
            "spread": to_plain(spread),
            "run": self.run.id,
        }
        manifest = self._manifest(trial, certificate)
        return self.shop.registry.add_version(manifest, facts=facts, who=CIRCUIT)

    def _there(self, trial: Trial, certificate: Certificate) -> Version | None:
        """Return the version that an earlier run made of the same bytes for the same goal.

        One that lacked rows then is made anew, with what more rows have shown and a look of
        its own: a version's certificate, and its one look, stay what they were.
        """
        goal = self.asked.goal
        asked = {"chain": trial.chain, "tau": goal.tau, "metric": goal.metric}
        for each in self.shop.registry.versions(self.shop.spec.name):
            made = each.manifest
            is_child = made.strategy == COMPRESSED and made.parent == self._source.id
            is_same = all(made.options.get(name) == value for name, value in asked.items())
            if is_child and is_same and made.artifact == trial.artifact:
                kept = from_plain(Certificate, each.facts["certificate"])
                if is_certified(kept) or kept.rows == certificate.rows:
                    return each
        return None

    def _manifest(self, trial: Trial, certificate: Certificate) -> Manifest:
        source, form = self._source.manifest, self._runner.form(trial)
        seen = self._rows.seen(learned=trial.learned)
        if source.trained_keys is not None:
            seen = seen.union(KeySet.from_bytes(self.shop.store.get(source.trained_keys)))
        goal = self.asked.goal
        return replace(
            manifest_of(source, trial),
            strategy=COMPRESSED,
            options={
                "chain": trial.chain,
                "effort": trial.effort,
                "tau": goal.tau,
                "metric": goal.metric,
                "objective": goal.objective,
                "claim": claim_of(goal, certificate.certified.margin),
            },
            parent=self._source.id,
            trained_keys=self.shop.store.put(seen.to_bytes()),
            n_trained_rows=len(self._rows.train) if trial.learned else source.n_trained_rows,
            snapshot=self._desk.pinned.snapshot,
            seed=self.asked.seed,
            environment=form.runs.environment(),
        )

    def _offered(self, candidate: Version, certificate: Certificate) -> dict[str, Any]:
        """Let the gate judge a version, and roll it out where it may; return the verdict."""
        if candidate.id == self._desk.baseline.id:
            # It serves already: what was compressed anew came out the same.
            return {"verdict": None}
        verdict, verdict_id = self._judged(candidate, certificate)
        # What an earlier look has accepted may not hold the line on the rows of today.
        may = is_certified(certificate)
        waits = may and not self._rolled_out(candidate, verdict, verdict_id)
        return {"verdict": to_plain(verdict), "waits": waits}

    def _judged(self, candidate: Version, certificate: Certificate) -> tuple[Verdict, str]:
        """Take the gate's fixed look, on the rows that certified; a pair has one such look."""
        shop = asked_of(self.shop, candidate)
        earlier = looks_at(shop.db, shop.spec.name, candidate.id, self._desk.baseline.id)
        if earlier and earlier[-1].verdict is not None and not self._has_judged():
            verdict = shop.registry.verdict(earlier[-1].verdict)
            return verdict, earlier[-1].verdict

        def look() -> Output:
            found = first_verdict(shop, candidate, self._desk.baseline, self._rows.test)
            return {"look": to_plain(no_further(found, certificate))}

        inputs = {"candidate": candidate.id}
        judged = from_plain(Judged, self.journal.step(self.run, "compare", inputs, look)["look"])

        def record_it(connection: Connection) -> Output:
            return {"id": record(shop, connection, judged, who=CIRCUIT)}

        done = self.journal.commit_step(self.run, "verdict", inputs, record_it)
        verdict = judged.verdict
        sentence = f"{candidate.name} against {self._desk.baseline.name}: {verdict.reason}"
        self._tell(verdict.outcome, sentence, candidate=candidate.id)
        return verdict, done["id"]

    def _has_judged(self) -> bool:
        """Whether the look that is on record may be this run's own, cut off before it ended."""
        return any(each["name"] == "compare" for each in steps_of(self.shop.db, self.run.id))

    def _rolled_out(self, candidate: Version, verdict: Verdict, verdict_id: str) -> bool:
        """Roll a version out where it was asked and accepted; False where another is under way."""
        if not self.asked.roll_out or verdict.outcome != "accept":
            return True
        if self.shop.gate.approval == "person":
            self._tell("waits", f"{candidate.name} waits for a person to approve or decline it")
            return True

        def work(connection: Connection) -> Output:
            started = start_rollout(self.shop, connection, candidate, verdict_id=verdict_id)
            return {"rollout": started.id, "stage": started.stage}

        try:
            done = self.journal.commit_step(self.run, "roll out", {"candidate": candidate.id}, work)
        except Conflict as error:
            # Another rollout is under way, and it must not wait for this run.
            self._tell("waits", f"{candidate.name} is not rolled out yet: {error}")
            return False
        self.shop.registry.wake()
        self._tell("rollout", f"{candidate.name} goes into {done['stage']}", candidate=candidate.id)
        return True

    def _tell(self, kind: str, sentence: str, **facts: Any) -> None:
        self.shop.tell(Happening(self.run.started_at, kind, sentence, facts))


def _to_register(found: Found, certificate: Certificate | None) -> Trial | None:
    """Return the chosen trial, or the one that seems to hold the line and needs more rows."""
    if certificate is None or certificate.certified.status == "infeasible":
        return None
    key = certificate.certified.chosen or certificate.certified.best
    if not certificate.n_rows:
        return None
    return next((each for each in found.trials if each.key == key and each.artifact), None)
