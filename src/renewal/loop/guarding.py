"""The guards of the policy, asked about a candidate: what they need is measured here."""

from __future__ import annotations

from collections.abc import Mapping

from renewal.core.plugin import load_plugin
from renewal.core.verdict import Clause
from renewal.core.version import Version
from renewal.evaluate.report import Report
from renewal.evaluate.robustness import Robustness, robustness
from renewal.gate.harms import Extras, harms_of
from renewal.gate.options import GateOptions
from renewal.gate.vetoes import vetoes
from renewal.loop.comparing import costs_of, runtime_of
from renewal.loop.workshop import Workshop
from renewal.models.contract import Runtime


def vetoes_of(
    shop: Workshop, report: Report, candidate: Version, champion: Version, *, is_first: bool
) -> tuple[Clause, ...]:
    """Ask every guard of the policy about a candidate.

    Parameters
    ----------
    shop : Workshop
        The rooms; its policy names the guards.
    report : Report
        Both versions on the rows of this look.
    candidate, champion : Version
        The two.
    is_first : bool
        Robustness, latency, memory and size do not change with new rows: they are measured
        at the fixed look and not again.

    Returns
    -------
    tuple of Clause
        Empty where the policy has no guard.

    Notes
    -----
    Loads both versions where robustness or latency is guarded; about 20 s at most. Memory
    is measured in a fresh process, about 2 s.
    """
    extras = _measured(shop, report, candidate, champion) if is_first else Extras()
    found = harms_of(report, candidate.id, champion.id, shop.gate, extras=extras)
    return vetoes(found, shop.gate.guards.alpha)


def _measured(shop: Workshop, report: Report, candidate: Version, champion: Version) -> Extras:
    guards = shop.gate.guards
    versions = (champion, candidate)
    costs = costs_of(
        shop,
        versions,
        report.rows,
        has_latency=guards.needs_cost,
        has_memory=guards.max_memory_bytes is not None,
    )
    if not guards.robustness:
        return Extras(costs=costs)
    runtimes: dict[str, Runtime] = {}
    try:
        runtimes.update({each.id: runtime_of(shop, each) for each in versions})
        return Extras(disturbed(shop.gate, report, candidate, champion, runtimes), costs)
    finally:
        for runtime in runtimes.values():
            runtime.close()


def disturbed(
    options: GateOptions,
    report: Report,
    candidate: Version,
    champion: Version,
    runtimes: Mapping[str, Runtime],
) -> Robustness | None:
    """Score both versions on disturbed rows of a report; None where the policy asks for none.

    Parameters
    ----------
    options : GateOptions
        Names the disturbances and the seed.
    report : Report
        Whose rows are disturbed.
    candidate, champion : Version
        The two.
    runtimes : mapping of str to Runtime
        Both, loaded, by version id.
    """
    names = options.guards.robustness
    if not names:
        return None
    versions = (champion, candidate)
    return robustness(
        [runtimes[each.id].predict for each in versions],
        report.rows.features,
        report.labels,
        task=report.task,
        classes=[each.manifest.classes for each in versions],
        signature=champion.manifest.signature,
        perturbations=[load_plugin("perturbations", name)() for name in names],
        seed=options.seed,
    )
