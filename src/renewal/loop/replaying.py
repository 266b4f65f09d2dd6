"""Replaying a verdict: the same versions, rows, options and seed must give the same numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from renewal.core.clock import to_us
from renewal.core.errors import NotFound
from renewal.core.verdict import Clause, Verdict
from renewal.data.keyset import KeySet
from renewal.evaluate.report import Report, Scored
from renewal.evaluate.score import score
from renewal.evaluate.series import Series
from renewal.gate.gathering import carried, gather
from renewal.gate.harms import Extras, harms_of
from renewal.gate.judge import Grant, judge
from renewal.gate.ledger import Look, looks, looks_at
from renewal.gate.options import GateOptions
from renewal.gate.vetoes import vetoes
from renewal.loop.comparing import report_of, runtime_of
from renewal.loop.guarding import disturbed
from renewal.loop.judging import RECIPES
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain

# What a clock measures does not come out the same twice.
_MEASURED = ("latency", "memory", "size")


@dataclass(frozen=True, slots=True)
class Replay:
    """A stored verdict beside the one that the same evidence gives now.

    Parameters
    ----------
    stored, again : Verdict
        Then and now.
    differs : tuple of str
        Names of the fields and clauses that are not equal; empty: it was reproduced.
    """

    stored: Verdict
    again: Verdict
    differs: tuple[str, ...]


def replay(shop: Workshop, verdict_id: str) -> Replay:
    """Judge again what a verdict judged, as of the time at which it did.

    Parameters
    ----------
    shop : Workshop
        The rooms; the options are those that the verdict carries, not the policy's of now.
    verdict_id : str
        Of a stored verdict that compared something.

    Returns
    -------
    Replay
        Rows are read by the keys that the ledger kept, with the labels that had arrived
        then; both versions are loaded and scored afresh, past the cache. Nothing is stored.

    Raises
    ------
    NotFound
        When there is no such verdict, it compared no rows, or rows of it have been deleted.
    """
    stored = shop.registry.verdict(verdict_id)
    look = next(
        (each for each in looks(shop.db, shop.spec.name) if each.verdict == verdict_id), None
    )
    if look is None or look.rows is None:
        raise NotFound(
            "the replay",
            needs="a verdict that compared rows",
            came=f"{verdict_id}, which compared none",
            todo="See renewal log for verdicts with rows.",
        )
    options = from_plain(GateOptions, dict(stored.asked))
    report = _report(shop, stored, look)
    pair = (stored.candidate, stored.baseline)
    evidence = gather(report, *pair, options)
    is_first = stored.look == "first"
    if not is_first:
        at_pair = looks_at(shop.db, shop.spec.name, *pair)
        place = at_pair.index(look)
        digests = at_pair[place - 1].series or () if place else ()
        evidence = carried([Series.from_bytes(shop.store.get(each)) for each in digests], evidence)
    again = judge(
        evidence,
        options,
        grant=Grant(1.0 / stored.threshold, stored.number),
        is_first=is_first,
        vetoes=_vetoes(shop, report, stored, options),
        notes=report.notes,
    )
    again = replace(again, asked=stored.asked)
    return Replay(stored, again, _differences(stored, again))


def _report(shop: Workshop, stored: Verdict, look: Look) -> Report:
    assert look.rows is not None
    keys = KeySet.from_bytes(shop.store.get(look.rows)).keys
    rows = shop.feed.rows(arrived_until_us=to_us(look.at), labelled=True)
    rows = rows.take(np.isin(rows.key_hash, keys))
    if len(rows) != len(keys):
        raise NotFound(
            "the replay",
            needs=f"the {len(keys):,} rows that the verdict judged",
            came=f"{len(rows):,}",
            todo="Rows that were deleted since cannot be judged again.",
        )
    versions = [
        shop.registry.version(shop.spec.name, each) for each in (stored.baseline, stored.candidate)
    ]
    scored = []
    for version in versions:
        runtime = runtime_of(shop, version)
        try:
            found = score(runtime, rows)
        finally:
            runtime.close()
        scored.append(Scored(version.id, found, version.manifest.classes, version.name))
    return report_of(shop, rows, scored, versions, n_seen=stored.n_seen)


def _vetoes(
    shop: Workshop, report: Report, stored: Verdict, options: GateOptions
) -> tuple[Clause, ...]:
    """Ask the guards again, where the stored verdict had asked them."""
    if not any(each.kind == "veto_if_shown" for each in stored.clauses):
        return ()
    versions = [
        shop.registry.version(shop.spec.name, each) for each in (stored.candidate, stored.baseline)
    ]
    extras = Extras()
    if stored.look == "first" and options.guards.robustness:
        runtimes = {each.id: runtime_of(shop, each) for each in versions}
        try:
            extras = Extras(disturbed(options, report, versions[0], versions[1], runtimes))
        finally:
            for runtime in runtimes.values():
                runtime.close()
    found = harms_of(report, stored.candidate, stored.baseline, options, extras=extras)
    return vetoes(found, options.guards.alpha)


def _differences(stored: Verdict, again: Verdict) -> tuple[str, ...]:
    # What a small model can ask besides hangs on the feed of the day, not on the evidence.
    stored = replace(stored, next_action=stored.next_action.removesuffix(RECIPES))
    differs = [
        each.name
        for each in fields(Verdict)
        if each.name not in {"clauses", "asked"}
        and not _same(getattr(stored, each.name), getattr(again, each.name))
    ]
    now = {each.name: each for each in again.clauses}
    for clause in stored.clauses:
        if clause.name.startswith(_MEASURED):
            continue
        if clause.name not in now:
            differs.append(f"clause {clause.name}")
            continue
        differs += [
            f"clause {clause.name}: {each.name}"
            for each in fields(Clause)
            if not _same(getattr(clause, each.name), getattr(now[clause.name], each.name))
        ]
    return tuple(differs)


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)  # noqa: PLR0124  # NaN is not itself
    return one == other
