"""What the guards of a policy look for in a report: slices, disturbed rows, and the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from renewal.evaluate.cost import Cost
from renewal.evaluate.report import Report
from renewal.evaluate.robustness import Robustness
from renewal.evaluate.slices import slice_gains, slices_of
from renewal.gate.harms_cost import latency_harms, size_harms
from renewal.gate.harms_labels import Both, calibration_harms, flip_harms, group_harms
from renewal.gate.options import GateOptions
from renewal.gate.vetoes import Harm, failure, untold
from renewal.gate.wording import digits, shown_metric
from renewal.stats.paired import paired_mean


@dataclass(frozen=True, slots=True, eq=False)
class Extras:
    """What guards need beside a report; empty where it was not measured.

    Parameters
    ----------
    robustness : Robustness or None
        Losses on perturbed rows, of (champion, candidate).
    costs : mapping of str to Cost
        Latency, bytes and memory by version id.
    """

    robustness: Robustness | None = None
    costs: Mapping[str, Cost] = field(default_factory=dict)


def harms_of(
    report: Report,
    candidate: str,
    baseline: str,
    options: GateOptions,
    *,
    extras: Extras | None = None,
) -> tuple[Harm, ...]:
    """Return every harm that the policy's guards look for, measured on a report.

    Parameters
    ----------
    report : Report
        Both versions on the same unseen rows.
    candidate, baseline : str
        Their ids.
    options : GateOptions
        Its guards, the least number of blocks, and the seed.
    extras : Extras or None
        What has to be measured beside the report. A guard without its measurement is left
        out: it was asked at another look.

    Notes
    -----
    One pass over the rows for each slice and guard, and 2,000 resamples of at most 1,000
    blocks for each question of fairness and calibration.
    """
    asked = extras or Extras()
    both = (report.of(baseline), report.of(candidate))
    guards = options.guards
    found = [
        *_slices(report, both, options),
        *group_harms(report, both, options),
        *flip_harms(report, both, options),
        *calibration_harms(report, both, options),
        *_robustness(report, asked.robustness, options),
        *latency_harms(asked.costs, both, guards),
        *size_harms(asked.costs, both, guards),
    ]
    return tuple(found)


def _slices(report: Report, both: Both, options: GateOptions) -> Iterator[Harm]:
    guards, blocks = options.guards, report.blocks
    if not guards.slices:
        return
    old, new = both
    gain = old.losses - new.losses
    for each in slices_of(report.rows.described, guards.slices):
        gains, n_rows = slice_gains(gain, blocks.at, len(blocks.ids), each.mask)
        before = float(old.losses[each.mask].mean()) if len(gains) else math.nan
        yield _mean_harm(
            f"slice {each.name}",
            f"{shown_metric(report.task.loss_name)} of {each.name} changes by",
            (gains, n_rows),
            bound=guards.slice_margin_share * abs(before),
            options=options,
            is_ordered=blocks.is_ordered,
            n_digits=digits(before),
        )


def _mean_harm(
    name: str,
    words: str,
    evidence: tuple[NDArray[np.float64], NDArray[np.int64]],
    *,
    bound: float,
    options: GateOptions,
    is_ordered: bool,
    n_digits: int,
) -> Harm:
    """Return a mean gain by block as a harm: what the candidate loses more."""
    gains, n_rows = evidence
    if len(gains) < options.least(is_ordered=is_ordered):
        value = float(np.average(-gains, weights=n_rows)) if len(gains) else math.nan
        return untold(name, words, value, bound, n_rows=int(n_rows.sum()), n_blocks=len(gains))
    found = paired_mean(-gains, weights=n_rows, ordered=is_ordered)
    alpha = options.guards.alpha
    return Harm(
        name=name,
        value=found.mean,
        lower=found.lower(alpha),
        upper=found.upper(alpha),
        bound=bound,
        p_value=found.p_value(bound),
        n_rows=int(n_rows.sum()),
        n_blocks=found.n,
        n_effective=found.n_effective,
        method="paired t on blocks",
        told=True,
        words=words,
        n_digits=n_digits,
    )


def _robustness(report: Report, found: Robustness | None, options: GateOptions) -> Iterator[Harm]:
    if found is None:
        return
    blocks, guards = report.blocks, options.guards
    at = blocks.at[found.rows]
    for name, (before, after) in found.disturbed.items():
        words = f"{shown_metric(report.task.loss_name)} under {name}, less the champion's, is"
        if after.failed is not None and before.failed is None:
            yield failure(
                f"robustness {name}", f"under {name} the candidate fails: {after.failed}", len(at)
            )
            continue
        gain = found.gain(name)
        if gain is None or before.losses is None:
            yield untold(f"robustness {name}", words, math.nan, 0.0, n_rows=0, n_blocks=0)
            continue
        level = float(before.losses.mean())
        every = np.ones(len(at), np.bool_)
        yield _mean_harm(
            f"robustness {name}",
            words,
            slice_gains(gain, at, len(blocks.ids), every),
            bound=guards.robustness_margin_share * abs(level),
            options=options,
            is_ordered=blocks.is_ordered,
            n_digits=digits(level),
        )
