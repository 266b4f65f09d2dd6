"""A verdict told again: its report on exactly the rows that it used, and its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from renewal.compress.report import to_text
from renewal.core.errors import NotFound, Refused
from renewal.core.plugin import load_plugin
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.evaluate.report import Report
from renewal.evaluate.series import Series
from renewal.gate.card.record import Card, Exhibit, card
from renewal.gate.ledger import Look, looks, looks_at
from renewal.loop.certificate import Certificate
from renewal.loop.comparing import Unscorable, evaluate_versions
from renewal.loop.journal import steps_of
from renewal.loop.three_way import COMPARED
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain
from renewal.update.lineage import COMPRESS


def card_of(
    shop: Workshop,
    *,
    candidate: Version | None = None,
    verdict_id: str | None = None,
    beside: Sequence[Version] = (),
) -> Card:
    """Return the card of a verdict, measured again on the rows that the verdict used.

    The ledger names the rows of every look by the digest of their key set. A look of the
    running test rests on the rows of the fixed look, too, so these are read with it.

    Parameters
    ----------
    shop : Workshop
        The rooms of one model.
    candidate : Version or None
        Whose newest verdict; None: of any candidate.
    verdict_id : str or None
        This verdict and no other.
    beside : sequence of Version
        Shown side by side with the two, after the version that was retrained to be compared
        with a fine-tuned candidate. Rows that one of them trained on are set aside.

    Raises
    ------
    NotFound
        When there is no such verdict.

    Notes
    -----
    Scores are read from the cache where the same rows were scored before.
    """
    found_id, verdict = _verdict(shop, candidate, verdict_id)
    every = shop.registry.versions(shop.spec.name)
    notes: list[str] = []
    look = _look_of(shop, found_id)
    rows = None if look is None else _rows_of(shop, verdict, look, notes)
    report = None
    if rows is not None and len(rows):
        pair = [each for each in every if each.id in {verdict.baseline, verdict.candidate}]
        # After a fine-tuning a version was retrained to be shown beside it.
        ids = _three_ways(shop, next(each for each in pair if each.id == verdict.candidate))
        partners = [each for each in every if each.id in ids]
        others = [*beside, *(each for each in partners if each not in beside)]
        # One that was swept is no longer there to be measured; the two are shown without it.
        others = [
            each
            for each in others
            if each not in pair and (each in beside or shop.store.renew(each.manifest.artifact))
        ]
        report = _report(shop, [*pair, *others], rows, notes)
    series = () if look is None else look.series or ()
    guards = shop.gate.guards
    told = card(
        report,
        verdict,
        [Series.from_bytes(shop.store.get(each)) for each in series],
        {each.id: each.name for each in every},
        slices=tuple(dict.fromkeys((*guards.slices, *guards.groups))),
        model=shop.spec.name,
        verdict_id=found_id,
        notes=notes,
    )
    judged = next(each for each in every if each.id == verdict.candidate)
    return replace(told, exhibits=_exhibits(judged))


def _exhibits(candidate: Version) -> tuple[Exhibit, ...]:
    """Return what the compression of a version has come to, where it was made by one."""
    kept = candidate.facts.get("certificate")
    if candidate.manifest.strategy != COMPRESS or kept is None:
        return ()
    report = from_plain(Certificate, kept).report
    # Only a page draws it, and the extra that pages need draws this, too.
    can_draw = find_spec("altair") is not None
    chart = load_plugin("charts", "compression")(report) if can_draw else None
    return (Exhibit("Compression", to_text(report), chart),)


def _three_ways(shop: Workshop, candidate: Version) -> frozenset[str]:
    """Return the versions that were compared three ways with a fine-tuned candidate."""
    run = candidate.facts.get("run")
    steps = () if run is None else steps_of(shop.db, run)
    found = [each["output"] for each in steps if each["name"] == COMPARED and each["output"]]
    ids = frozenset(found[0].get("versions", {}).values()) if found else frozenset()
    return ids if candidate.id in ids else frozenset()


def _verdict(
    shop: Workshop, candidate: Version | None, verdict_id: str | None
) -> tuple[str, Verdict]:
    name = shop.spec.name
    found = [
        (each_id, verdict)
        for each_id, verdict in shop.registry.verdicts(name)
        if verdict_id in {None, each_id}
        and (candidate is None or verdict.candidate == candidate.id)
    ]
    if not found:
        of = "" if candidate is None else f" on {candidate.name}"
        raise NotFound(
            "the report",
            needs="a verdict of the gate",
            came=f"none{of}" if verdict_id is None else f"{verdict_id!r}, not a verdict{of}",
            todo=f"Run renewal gate {name} VERSION first, or see renewal log {name}.",
        )
    return found[-1]


def _look_of(shop: Workshop, verdict_id: str) -> Look | None:
    every = looks(shop.db, shop.spec.name)
    return next((each for each in every if each.verdict == verdict_id and each.rows), None)


def _rows_of(shop: Workshop, verdict: Verdict, look: Look, notes: list[str]) -> Rows:
    """Read the rows of a look with those of the looks before it: the test is one."""
    every = looks_at(shop.db, shop.spec.name, look.candidate, look.baseline)
    digests = [each.rows for each in every[: every.index(look) + 1]]
    keys = [KeySet.from_bytes(shop.store.get(each)).keys for each in digests if each is not None]
    wanted = np.unique(np.concatenate(keys))
    # A label that was taken back since, or a row that was pruned, is missed below.
    rows = shop.feed.rows(
        since_us=verdict.judged_from_us, until_us=verdict.judged_until_us + 1, labelled=True
    )
    found = rows.take(np.isin(rows.key_hash, wanted))
    if len(found) < len(wanted):
        notes.append(
            f"{len(wanted) - len(found):,} of the {len(wanted):,} rows that the verdict used are "
            "no longer in the feed as they were"
        )
    return found


def _report(
    shop: Workshop, versions: Sequence[Version], rows: Rows, notes: list[str]
) -> Report | None:
    """Measure again; where that fails, the card says why and shows what the verdict kept."""
    try:
        report = evaluate_versions(shop, versions, rows)
    except (Refused, Unscorable) as error:
        notes.append(f"cannot be measured again: {error.came}")
        return None
    if report.n_rows < len(rows):
        notes.append(
            f"measured on {report.n_rows:,} of {len(rows):,} rows: the others were trained on by "
            "a version that is shown beside"
        )
    return report
