"""What the gate asks of a candidate, and which rows it may not look at again."""

from __future__ import annotations

from dataclasses import replace

from renewal.core.version import Version
from renewal.gate.judge import Evidence
from renewal.gate.ledger import looks, rows_used
from renewal.gate.options import GateOptions
from renewal.loop.workshop import Workshop
from renewal.stats.apart import Apart, Spread
from renewal.update.lineage import COMPRESS

# A claim of compression is nearly always decided by its one look.
_FIRST_LOOK = 0.9
_METHOD = "t, with the spread of validation rows"


def gate_for(options: GateOptions, claim: str) -> GateOptions:
    """Return the gate of a compressed version: no worse, shown at one look."""
    return replace(options, must_prove=(claim,), first_look_share=_FIRST_LOOK)


def asked_of(shop: Workshop, candidate: Version) -> Workshop:
    """Return the workshop with the gate that a candidate has to pass.

    A compressed version claims to be no worse by more than its line, whatever the policy asks
    of updates; its guards are those of the policy.
    """
    claim = candidate.manifest.options.get("claim")
    if candidate.manifest.strategy != COMPRESS or claim is None:
        return shop
    return replace(shop, gate=gate_for(shop.gate, str(claim)))


def with_spread(evidence: Evidence, spread: Spread | None) -> Evidence:
    """Return evidence on single rows under the bound whose spread other rows tell.

    Few flips among the test rows make a bound of their own too narrow just where there are too
    few; those of the validation rows do not (`renewal.stats.apart`).

    Parameters
    ----------
    evidence : Evidence
        For a claim on a metric that is a mean over rows.
    spread : Spread or None
        Of the gain of a row; None, or rows in groups or in order: as it is.
    """
    series, estimate = evidence.series, evidence.estimate
    is_single = not series.has_groups and not series.is_ordered and series.is_weighted
    if spread is None or not is_single:
        return evidence
    bounds = Apart(estimate.gain, estimate.n_rows, spread)
    return replace(evidence, estimate=replace(estimate, bounds=bounds, method=_METHOD))


def told_spread(candidate: Version, baseline: Version) -> Spread | None:
    """Return the spread with which a compressed version was certified beside its parent."""
    told = candidate.facts.get("spread")
    if told is None or candidate.manifest.parent != baseline.id:
        return None
    return Spread(float(told["variance"]), int(told["n"]))


def used_before(
    shop: Workshop, candidate: Version, besides: tuple[str, str] | None = None
) -> tuple[str, ...]:
    """Return the digests of the rows that a look at a candidate must leave out.

    Rows that informed a verdict on one candidate do not count for another. What is compressed
    has its first look at the rows that certified it: verdicts on its ancestors have chosen the
    parent, which can only make that look better beside its child than it is; and what earlier
    certifications have told is paid for by the level (`renewal.loop.certificate.level_of`).
    Later looks leave out what any compressed version was looked at.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate : Version
        Who is judged.
    besides : tuple of (candidate id, baseline id) or None
        For a first look: a pair whose own rows are left in.
    """
    name = shop.spec.name
    if candidate.manifest.strategy != COMPRESS:
        return rows_used(shop.db, name, besides=besides)
    if besides is not None:
        return ()
    made = {each.id: each.manifest.strategy for each in shop.registry.versions(name)}
    found = [
        each.rows
        for each in looks(shop.db, name)
        if each.rows is not None and made.get(each.candidate) == COMPRESS
    ]
    return tuple(dict.fromkeys(found))
