"""From a report to the evidence for each claim, and evidence that is carried on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.evaluate.cost_metric import COST, cost_metric
from renewal.evaluate.gains import block_counts, loss_series, metric_series
from renewal.evaluate.metrics import metric
from renewal.evaluate.metrics_record import Metric
from renewal.evaluate.own_metric import own_metric
from renewal.evaluate.report import Report
from renewal.evaluate.series import Series
from renewal.gate.claims import LOSS, Proof
from renewal.gate.estimates import estimate_of
from renewal.gate.judge import Evidence
from renewal.gate.options import GateOptions
from renewal.gate.proving import Bounds
from renewal.stats.bootstrap import Bootstrapped, bootstrap_totals
from renewal.stats.delong import paired_delong


class Undefined(Invalid):
    """A claim is about a metric that these rows do not define, such as an AUC of one class."""


def gather(
    report: Report, candidate: str, baseline: str, options: GateOptions
) -> tuple[Evidence, ...]:
    """Return the evidence for every claim of a policy.

    Parameters
    ----------
    report : Report
        Both versions on the same unseen rows.
    candidate, baseline : str
        Their ids.
    options : GateOptions
        Names the claims and the seed.

    Raises
    ------
    Invalid
        When a claim names a metric that is unknown or does not suit the task.
    Undefined
        When it names one that is undefined on these rows.

    Notes
    -----
    A claim on the loss costs one pass; on an AUC a sort; on a set metric 2,000 resamples.
    """
    return tuple(_one(report, candidate, baseline, proof, options) for proof in options.proofs)


def carried(earlier: Sequence[Series], evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Return evidence that goes on where earlier series ended.

    Parameters
    ----------
    earlier : sequence of Series
        Of the newest look, one for each claim that the policy had then; those of a metric
        that it no longer names are let go.
    evidence : sequence of Evidence
        Of the rows since.

    Notes
    -----
    Only the running test may speak of the result: it runs over one stream of blocks, while
    the fixed look was one look at the first of them, with an error of its own.
    """
    # Two claims may be about metrics of one name: the place tells them apart.
    by_place = dict(enumerate(earlier))
    by_metric = {each.metric: each for each in earlier}
    found = []
    for place, each in enumerate(evidence):
        before = by_place.get(place)
        if before is None or before.metric != each.series.metric:
            before = by_metric.get(each.series.metric)
        if before is None or before.unit != each.series.unit:
            found.append(each)
            continue
        series = before.then(each.series)
        found.append(Evidence(each.proof, series, estimate_of(series)))
    return tuple(found)


def _one(
    report: Report, candidate: str, baseline: str, proof: Proof, options: GateOptions
) -> Evidence:
    if proof.metric == LOSS:
        series = loss_series(report, candidate, baseline)
        return Evidence(proof, series, estimate_of(series))
    found = _metric(report, baseline, proof, options)
    series = metric_series(report, found, candidate, baseline)
    if not len(series.gains):
        raise Undefined(
            f"the claim {proof}",
            needs=f"rows on which {proof.metric} is defined",
            came=f"{report.n_rows:,} rows on which it is not",
            todo="Wait for rows of every class, or claim something else.",
        )
    bounds, method = _made_for(report, found, series, seed=options.seed)
    estimate = estimate_of(series, bounds=bounds, method=method)
    return Evidence(proof, series, estimate)


def _metric(report: Report, baseline: str, proof: Proof, options: GateOptions) -> Metric:
    """Return the metric of a claim: by name, by import path, or the policy's table of costs."""
    scored = report.of(baseline).scored
    name = proof.metric.removeprefix("-")
    if ":" in name:
        return own_metric(
            name,
            scored.scores,
            labels=report.labels,
            classes=scored.classes,
            higher_is_better=name == proof.metric,
        )
    if name == COST:
        return cost_metric(options.costs, classes=scored.classes)
    return metric(name, classes=scored.classes)


def _made_for(
    report: Report, found: Metric, series: Series, *, seed: int
) -> tuple[Bounds | None, str]:
    """Return the test of one look that is made for a metric, and its name."""
    new, old = report.of(series.candidate), report.of(series.baseline)
    if found.kind == "rank" and found.ranked is not None and not report.blocks.is_ordered:
        truth, ours = found.ranked(new.scored.scores, report.labels, new.scored.classes)
        _truth, theirs = found.ranked(old.scored.scores, report.labels, old.scored.classes)
        blocks = report.blocks.at if series.has_groups else None
        delong = paired_delong(truth, theirs, candidate_scores=ours, blocks=blocks)
        return delong, "DeLong" if blocks is None else "DeLong on blocks"
    if found.kind == "set" and found.of_counts is not None and not report.blocks.is_ordered:
        both = np.column_stack([block_counts(report, found, each) for each in (new, old)])
        k = both.shape[1] // 2
        sign = 1.0 if found.higher_is_better else -1.0
        strata = None if series.has_groups else _label_of_block(report)
        totals = np.vstack([both.sum(axis=0), bootstrap_totals(both, seed=seed, strata=strata)])
        gains = sign * (found.of_counts(totals[:, :k]) - found.of_counts(totals[:, k:]))
        name = "bootstrap of blocks" if strata is None else "bootstrap of rows within labels"
        return Bootstrapped(float(gains[0]), gains[1:], float(len(both))), name
    if found.kind == "rank":
        return None, "DeLong components on blocks"
    if found.kind == "set":
        return None, "jackknife of blocks"
    return None, ""


def _label_of_block(report: Report) -> NDArray[np.intp] | None:
    """Return the label of each block of one row, as a number; None where labels are values."""
    if not report.of(report.versions[0].version_id).scored.classes:
        return None
    codes = np.unique(report.labels.astype(str), return_inverse=True)[1]
    found = np.empty(len(report.blocks.ids), np.intp)
    found[report.blocks.at] = codes
    return found
