"""Sweeping: the bytes of candidates that lost their race go, their records stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from renewal.compress.book import forget_trials, named_by, trials_of
from renewal.core.version import Version
from renewal.evaluate.compiled_record import forget_forms, recorded_graphs
from renewal.loop.journal import last_runs, open_run, steps_of
from renewal.loop.lease import held
from renewal.loop.rolling import CIRCUIT
from renewal.loop.workshop import Workshop
from renewal.rollout.tables import rollouts

_ALL_RUNS = 1_000_000


@dataclass(frozen=True, slots=True)
class Swept:
    """What was swept of one model.

    Parameters
    ----------
    versions : tuple of str
        Short names of the versions whose bytes are gone.
    n_bytes : int
        Of the artifacts that went; a recalibrated version shares its parent's, which stays.
    """

    versions: tuple[str, ...]
    n_bytes: int


def sweep_losers(shop: Workshop, older: timedelta) -> Swept:
    """Delete the bytes of candidates that lost a race, and release their snapshots.

    What heats on a share of the rows, and trials of compressions, left behind goes, too. A
    version that was ever live, judged, rolled out or named by an alias stays whole, and so does
    every object that another version shares, such as the base of a LoRA addition.

    Parameters
    ----------
    shop : Workshop
        The rooms of one model.
    older : timedelta
        Only those that were registered so long ago.

    Returns
    -------
    Swept
        Also in the event log, kind ``swept``.

    Raises
    ------
    Unavailable
        When a watcher is at work on the model.
    """
    registry = shop.registry
    with held(shop.db, shop.watched):
        versions = registry.versions(shop.spec.name)
        named = _named(shop)
        before = shop.clock.now() - older
        losers = [
            each
            for each in versions
            if each.facts.get("raced") and each.created_at <= before and each.id not in named
        ]
        needed = _needed(shop, losers)
        _delete_heats(shop, before, needed + _of(losers))
        if open_run(shop.db, shop.spec.name) is None:
            # A run that was cut off goes on from its trials.
            _delete_trials(shop, before, needed + _of(losers))
        freed = [(each, _delete(shop, each, needed)) for each in losers]
        gone = [each for each, found in freed if found is not None]
        n_bytes = sum(found for _, found in freed if found is not None)
        swept = Swept(tuple(each.name for each in gone), n_bytes)
        if gone:
            why = f"{len(gone)} lost their race more than {older.days} days ago"
            details = {"versions": [each.id for each in gone], "n_bytes": swept.n_bytes}
            registry.note(shop.spec.name, "swept", who=CIRCUIT, why=why, details=details)
    return swept


def _named(shop: Workshop) -> set[str]:
    """Return the ids of versions that somebody may come back to."""
    registry, name = shop.registry, shop.spec.name
    named = set(registry.aliases(name).values())
    named |= {str(move.to_id) for move in registry.history(name, "champion")}
    for _, verdict in registry.verdicts(name):
        named |= {verdict.candidate, verdict.baseline}
    with shop.db.read() as connection:
        found = connection.execute(select(rollouts.c.candidate).where(rollouts.c.model == name))
        named |= {row.candidate for row in found}
    return named


def _needed(shop: Workshop, losers: list[Version]) -> Counter[str]:
    """Count which objects the versions of every model need that are no losers.

    The graph of a compiled form is needed while a record names it.
    """
    gone = {each.id for each in losers}
    every = [each for spec in shop.registry.models() for each in shop.registry.versions(spec.name)]
    graphs = Counter(recorded_graphs(shop.db))
    return _of([each for each in every if each.id not in gone]) + graphs


def _of(versions: Sequence[Version]) -> Counter[str]:
    return Counter(digest for each in versions for digest in each.manifest.digests)


def _delete_heats(shop: Workshop, before: datetime, needed: Counter[str]) -> None:
    """Delete what heats of closed runs stored and no version needs.

    Those are the losses of each selection row, and candidates that left after a share of the
    rows; the journal keeps their numbers.
    """
    for run in last_runs(shop.db, shop.spec.name, limit=_ALL_RUNS):
        if run.state == "open" or run.started_at > before:
            continue
        for step in steps_of(shop.db, run.id):
            done = (step["output"] or {}).get("done") or {}
            manifest = done.get("manifest") or {}
            digests = [done.get("losses"), manifest.get("artifact"), manifest.get("trained_keys")]
            digests += (manifest.get("parts") or {}).values()
            for each in digests:
                if each is not None and not needed[each]:
                    shop.store.delete(each)


def _delete_trials(shop: Workshop, before: datetime, needed: Counter[str]) -> None:
    """Forget old trials of compressions, and delete what no version and no younger one needs."""
    gone = forget_trials(shop.db, shop.spec.name, before)
    younger = named_by(trials_of(shop.db))
    for each in gone:
        if not needed[each] and each not in younger:
            shop.store.delete(each)


def _delete(shop: Workshop, version: Version, needed: Counter[str]) -> int | None:
    """Delete what only this version needs; return the bytes of its artifact if it was there.

    None: nothing of it was there, so it has been swept before.
    """
    manifest = version.manifest
    alone = [each for each in (manifest.artifact, *manifest.parts.values()) if not needed[each]]
    deleted = {each for each in alone if shop.store.delete(each)}
    shop.feed.release(version.id)
    for graph in forget_forms(shop.db, version.id):
        shop.store.delete(graph)
    if not deleted:
        return None
    return manifest.artifact_bytes if manifest.artifact in deleted else 0
