"""The card of a verdict: everything that led to it, measured again on its own rows.

A card decides nothing. It is a pure function of the verdict, the report on the rows that the
verdict used and the evidence that the ledger kept, so the same verdict gives the same card.
`renewal.gate.card.markdown` and `renewal.gate.card.html` write it down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from renewal.core.errors import Invalid
from renewal.core.verdict import Verdict
from renewal.evaluate.calibration import Calibration, calibration
from renewal.evaluate.flips import FlipsTable
from renewal.evaluate.report import Report
from renewal.evaluate.series import Series
from renewal.evaluate.slices import Slice, slices_of
from renewal.gate.card.curves import Curve, Said, curves_of, event_of, said_of
from renewal.gate.card.slices import (
    SliceError,
    SliceGain,
    errors_of,
    flips_of,
    slice_gains_of,
)
from renewal.gate.card.trail import Trail, trail
from renewal.gate.ranking import Ranking, rank
from renewal.gate.wording import shown_metric

READING_ALPHA = 0.05
"""Error of each bound that is drawn for reading; what decides has levels of its own."""

_OUTCOMES = {
    "accept": "{candidate} is accepted over {baseline}",
    "reject": "{candidate} is rejected; {baseline} stays",
    "undecided": "Cannot tell yet whether {candidate} may replace {baseline}",
}


@dataclass(frozen=True, slots=True, eq=False)
class Exhibit:
    """Something else that is known of the candidate, told by the room that made it.

    Parameters
    ----------
    title : str
        Such as ``Compression``.
    text : str
        Lines of at most 80 columns.
    chart : mapping or None, default None
        A Vega-Lite specification of what the text says.
    """

    title: str
    text: str
    chart: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """What a person, or a page, is told of a verdict.

    Parameters
    ----------
    model, verdict_id : str
        Where it belongs; empty where nobody said.
    verdict : Verdict
        Outcome, reason, what to do next, and every clause.
    names : mapping of version id to str
        Short names; see `name`.
    headline : str
        One sentence: what came of it.
    budget : str
        One sentence: the number of the claim and the level it was granted.
    n_rows, n_blocks : int
        Rows and blocks measured again; 0 where there was nothing to compare.
    unit : str
        What a block is.
    versions : tuple of str
        Ids, the baseline first.
    metrics : mapping of str to tuple of float
        For each metric the value of each version; NaN where undefined.
    ranking : Ranking or None
        Of three versions and more: who wins.
    curves : tuple of Curve
        ROC; empty for values and for rows of one class.
    said : tuple of Said
        What each version said beside what happened.
    calibration : Calibration or None
        Candidate beside baseline, with bounds; None for values.
    slices : tuple of SliceGain
        All rows first.
    flips : tuple of FlipsTable
        All rows first; empty for values.
    errors : tuple of SliceError
        Of values: predicted beside true, all rows first.
    trails : tuple of Trail
        Evidence over time, one for each claim.
    notes : tuple of str
        What a reader must know, such as what cannot be told here.
    exhibits : tuple of Exhibit, default ()
        What else is known of the candidate, such as how it was compressed.
    """

    model: str
    verdict_id: str
    verdict: Verdict
    names: Mapping[str, str]
    headline: str
    budget: str
    n_rows: int
    n_blocks: int
    unit: str
    versions: tuple[str, ...]
    metrics: Mapping[str, tuple[float, ...]]
    ranking: Ranking | None
    curves: tuple[Curve, ...]
    said: tuple[Said, ...]
    calibration: Calibration | None
    slices: tuple[SliceGain, ...]
    flips: tuple[FlipsTable, ...]
    errors: tuple[SliceError, ...]
    trails: tuple[Trail, ...]
    notes: tuple[str, ...]
    exhibits: tuple[Exhibit, ...] = ()

    def name(self, version_id: str) -> str:
        """Return the short name of a version, or the beginning of its id."""
        return self.names.get(version_id) or version_id[:12]


def card(
    report: Report | None,
    verdict: Verdict,
    series: Sequence[Series],
    names: Mapping[str, str],
    *,
    slices: Sequence[str] = (),
    model: str = "",
    verdict_id: str = "",
    notes: Sequence[str] = (),
) -> Card:
    """Gather the card of a verdict.

    Parameters
    ----------
    report : Report or None
        Candidate, baseline and any others on the rows that the verdict used; None where
        nothing could be compared.
    verdict : Verdict
        What the gate said.
    series : sequence of Series
        The evidence that the verdict was taken at, in the order of its ``must_prove``
        clauses, as the ledger keeps it.
    names : mapping of version id to str
        Short names, such as ``v3``.
    slices : sequence of str
        Declarations as `renewal.evaluate.slices.grouping` takes them.
    model, verdict_id : str
        Where it belongs.
    notes : sequence of str
        What else a reader must know.

    Returns
    -------
    Card
        Whatever cannot be told, for want of a class, of blocks or of rows, is a note and
        an empty part, never a number.

    Raises
    ------
    Invalid
        When a slice names no column, or the report lacks one of the two versions.

    Notes
    -----
    0.4 s for 100,000 rows of two classes and seven slices, 2.7 s for a million.
    """
    told = [*notes, *(report.notes if report is not None else ())]
    versions = _versions(report, verdict)
    parts: tuple[Slice, ...] = ()
    if report is None:
        told.append("cannot tell: no row on which both versions could be compared")
    else:
        parts = slices_of(report.rows.described, slices)
    pair = (verdict.candidate, verdict.baseline)
    shown: tuple[Said, ...] = ()
    changed: Calibration | None = None
    if report is not None:
        shown, changed = _calibrated(report, pair, told)
    curves = () if report is None else curves_of(report)
    if report is not None and report.versions[0].scored.classes and not curves:
        told.append("cannot tell: no ROC curve, since these rows are of one class")
    return Card(
        model=model,
        verdict_id=verdict_id,
        verdict=verdict,
        names=dict(names),
        headline=_headline(verdict, names),
        budget=_budget(verdict),
        n_rows=0 if report is None else report.n_rows,
        n_blocks=0 if report is None else len(report.blocks.ids),
        unit="block" if report is None else report.blocks.unit,
        versions=versions,
        metrics=_metrics(report, versions),
        ranking=None
        if report is None or len(versions) < 3
        else rank(report, verdict.baseline, alpha=READING_ALPHA),
        curves=curves,
        said=shown,
        calibration=changed,
        slices=() if report is None else slice_gains_of(report, *pair, parts, alpha=READING_ALPHA),
        flips=() if report is None else flips_of(report, *pair, parts),
        errors=() if report is None else errors_of(report, parts),
        trails=_trails(verdict, series),
        notes=tuple(dict.fromkeys(told)),
    )


def measures_of(report: Report, version_id: str) -> dict[str, float]:
    """Return everything that a report measured on one version, by its name for people.

    Parameters
    ----------
    report : Report
        Holds the version, and what it costs to run where that was measured.
    version_id : str
        Which.

    Returns
    -------
    dict of str to float
        The deciding loss first, then the metrics of the task, then latency in milliseconds,
        memory and artifact in bytes; NaN where undefined.
    """
    measured = report.of(version_id)
    # The loss by which updates are decided is clipped; a metric of its name is not.
    decides = f"{shown_metric(report.task.loss_name)}, decides"
    found = {decides: measured.mean_loss, **measured.metrics}
    cost = report.costs.get(version_id)
    if cost is None:
        return found
    return {
        **found,
        "ms, 1 row, p50": cost.latency_ms_p50_1,
        "ms, 1 row, p99": cost.latency_ms_p99_1,
        "ms, 64 rows, p50": cost.latency_ms_p50_64,
        "ms, 64 rows, p99": cost.latency_ms_p99_64,
        "memory, bytes": math.nan if cost.memory_bytes is None else cost.memory_bytes,
        "artifact, bytes": math.nan if cost.artifact_bytes is None else cost.artifact_bytes,
    }


def _versions(report: Report | None, verdict: Verdict) -> tuple[str, ...]:
    if report is None:
        return (verdict.baseline, verdict.candidate)
    pair = [report.of(each).version_id for each in (verdict.baseline, verdict.candidate)]
    return tuple(dict.fromkeys([*pair, *(each.version_id for each in report.versions)]))


def _metrics(report: Report | None, versions: Sequence[str]) -> dict[str, tuple[float, ...]]:
    if report is None:
        return {}
    measured = [report.of(each) for each in versions]
    found = [measures_of(report, each.version_id) for each in measured]
    return {name: tuple(each.get(name, math.nan) for each in found) for name in found[0]}


def _calibrated(
    report: Report, pair: tuple[str, str], told: list[str]
) -> tuple[tuple[Said, ...], Calibration | None]:
    """Return what was said beside what happened; where it cannot be told, a note says why."""
    try:
        shown = said_of(report)
        if not report.versions[0].scored.classes:
            return shown, None
        new, old = (event_of(report.of(each), report) for each in pair)
        if len(new[0]) != len(old[0]):
            told.append("cannot tell: calibration of versions that know different labels")
            return shown, None
        changed = calibration(
            old[:2], new[:2], block_at=new[2], n_blocks=len(report.blocks.ids), seed=0
        )
    except Invalid as error:
        told.append(f"cannot tell: calibration, {error.came}")
        return (), None
    if not np.isfinite(changed.ece_change.lower(READING_ALPHA)):
        told.append("cannot tell: too few blocks to bound the change of calibration")
    return shown, changed


def _trails(verdict: Verdict, series: Sequence[Series]) -> tuple[Trail, ...]:
    """Follow each claim; none where no claim was opened, since nothing was granted then."""
    claims = [each for each in verdict.clauses if each.kind == "must_prove"]
    if verdict.number == 0 or not verdict.threshold > 1.0:
        return ()
    return tuple(
        trail(each, clause, level=1.0 / verdict.threshold, is_first=verdict.look == "first")
        for clause, each in zip(claims, series, strict=False)
        if len(each.gains)
    )


def _headline(verdict: Verdict, names: Mapping[str, str]) -> str:
    candidate, baseline = (
        names.get(each) or each[:12] for each in (verdict.candidate, verdict.baseline)
    )
    head = _OUTCOMES[verdict.outcome].format(candidate=candidate, baseline=baseline)
    return f"{head}: {verdict.reason}"


def _budget(verdict: Verdict) -> str:
    if verdict.number == 0 or not verdict.threshold > 1.0:
        return "No claim was opened, and no error was spent."
    granted = 1.0 / verdict.threshold
    return (
        f"Claim number {verdict.number:,} of this model's life, granted an error of "
        f"{granted:.3g} over all looks; its e-value is {verdict.e_value:.3g}, and "
        f"{verdict.threshold:.3g} proves it."
    )
