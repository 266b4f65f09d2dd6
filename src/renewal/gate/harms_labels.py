"""Harms that need labels of classes: groups treated unlike, right turned wrong, calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from renewal.evaluate.calibration import calibration, said_and_happened
from renewal.evaluate.fairness import fairness
from renewal.evaluate.flips import flips_table
from renewal.evaluate.gap import Gap
from renewal.evaluate.report import Measured, Report
from renewal.evaluate.slices import grouping
from renewal.gate.options import GateOptions, Guards
from renewal.gate.vetoes import Harm, untold
from renewal.models.labels import Labels

Both = tuple[Measured, Measured]
"""The baseline and the candidate."""


def _predicted(report: Report, version: Measured) -> Labels:
    outputs = report.task.outputs(version.scored.scores, version.scored.classes)
    return np.asarray(outputs["label"], dtype=object)


def _has_classes(report: Report) -> bool:
    """Whether each row is of one class, so that groups, flips and probabilities mean something."""
    return report.task.name in {"binary", "multiclass"}


def group_harms(report: Report, both: Both, options: GateOptions) -> Iterator[Harm]:
    """Yield the harms of every declared grouping of people: differences and ratios of rates."""
    guards = options.guards
    if not guards.groups or not _has_classes(report):
        return
    before, after = (_predicted(report, each) for each in both)
    known = both[0].scored.classes
    for column in guards.groups:
        found = fairness(
            report.labels,
            before,
            after,
            grouping(report.rows.described, column),
            block_at=report.blocks.at,
            n_blocks=len(report.blocks.ids),
            positive=max(known, key=lambda label: (str(type(label)), label)),
            min_blocks=options.least(is_ordered=report.blocks.is_ordered),
            ordered=report.blocks.is_ordered,
            seed=options.seed,
        )
        limits = {
            "difference_change": guards.fairness_margin,
            "difference": guards.fairness_bound,
            "ratio": guards.fairness_ratio,
            # What a group gets may fall for every group alike; its mistakes may not rise.
            "group_change": guards.group_margin,
        }
        for rate in guards.rates:
            for form, limit in limits.items():
                if limit is None or (form, rate) == ("group_change", "selection_rate"):
                    continue
                gap = found.gaps[f"{rate}_{form}"]
                falls = form == "group_change" and gap.harmful_below
                yield _gap_harm(column, gap, -limit if falls else limit, report, guards)


_FORMS = {
    "difference_change": "the difference of the {rate} between {groups} changes by",
    "difference": "the difference of the {rate} between {groups} is",
    "ratio": "the ratio of the {rate}, smallest by largest, of {groups} is",
    "group_change": "the {rate} of {groups} changes by",
}
_RATES = {
    "selection_rate": "selection rate",
    "tpr": "true-positive rate",
    "fpr": "false-positive rate",
}


def _gap_harm(column: str, gap: Gap, limit: float, report: Report, guards: Guards) -> Harm:
    groups = gap.shown(limit) or gap.groups
    name = f"fairness {column} {gap.name}"
    told = " and ".join(groups) if groups else f"groups of {column}"
    words = _FORMS[gap.form].format(rate=_RATES[gap.measure], groups=told)
    n_rows, n_blocks = report.n_rows, len(report.blocks.ids)
    if not gap.can_tell:
        return untold(name, words, gap.value, limit, n_rows=n_rows, n_blocks=n_blocks)
    bound = gap.bound(guards.alpha)
    sign = -1.0 if gap.harmful_below else 1.0
    return Harm(
        name=name,
        value=sign * gap.value,
        lower=sign * bound,
        upper=sign * gap.far_bound(guards.alpha),
        bound=sign * limit,
        p_value=gap.p_value(limit),
        n_rows=n_rows,
        n_blocks=n_blocks,
        n_effective=float(n_blocks),
        method="bootstrap of blocks, max-T over pairs",
        told=True,
        words=words,
        is_change=gap.form.endswith("change"),
        is_harmful_below=gap.harmful_below,
    )


def flip_harms(report: Report, both: Both, options: GateOptions) -> Iterator[Harm]:
    """Yield the harm of rows that only the champion has right."""
    guards, blocks = options.guards, report.blocks
    if guards.max_negative_flips is None or not _has_classes(report):
        return
    before, after = (_predicted(report, each) for each in both)
    found = flips_table(report.labels, before, after, block_at=blocks.at, n_blocks=len(blocks.ids))
    bound = guards.max_negative_flips + guards.churn_floor
    words = "the share of rows that only the champion has right is"
    if found.bounds is None or len(blocks.ids) < options.least(is_ordered=blocks.is_ordered):
        yield untold(
            "negative flips",
            words,
            found.negative_rate,
            bound,
            n_rows=report.n_rows,
            n_blocks=len(blocks.ids),
        )
        return
    yield Harm(
        is_change=False,
        name="negative flips",
        value=found.negative_rate,
        lower=found.bounds.lower(guards.alpha),
        upper=found.bounds.upper(guards.alpha),
        bound=bound,
        p_value=found.bounds.p_value(bound),
        n_rows=report.n_rows,
        n_blocks=len(blocks.ids),
        n_effective=float(len(blocks.ids)),
        method="Clopper-Pearson, or paired t on blocks",
        told=True,
        words=words,
    )


def calibration_harms(report: Report, both: Both, options: GateOptions) -> Iterator[Harm]:
    """Yield the harm of probabilities that became less true."""
    guards, blocks = options.guards, report.blocks
    if guards.calibration_margin is None or not _has_classes(report):
        return
    said = [
        said_and_happened(each.scored.scores, report.labels, each.scored.classes) for each in both
    ]
    found = calibration(
        said[0],
        said[1],
        block_at=blocks.at,
        n_blocks=len(blocks.ids),
        ordered=blocks.is_ordered,
        seed=options.seed,
    ).ece_change
    words = "the expected calibration error changes by"
    if not math.isfinite(found.se) or len(blocks.ids) < options.least(is_ordered=blocks.is_ordered):
        yield untold(
            "calibration",
            words,
            found.observed,
            guards.calibration_margin,
            n_rows=report.n_rows,
            n_blocks=len(blocks.ids),
        )
        return
    yield Harm(
        name="calibration",
        value=found.observed,
        lower=found.lower(guards.alpha),
        upper=found.upper(guards.alpha),
        bound=guards.calibration_margin,
        p_value=found.p_value(guards.calibration_margin),
        n_rows=report.n_rows,
        n_blocks=len(blocks.ids),
        n_effective=float(found.n_blocks),
        method="bootstrap of blocks",
        told=True,
        words=words,
    )
