"""What a card tells of parts of the rows: gains, flips, and errors of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from renewal.evaluate.flips import FlipsTable, flips_tables
from renewal.evaluate.report import Report
from renewal.evaluate.slices import Slice, slice_gains
from renewal.models.labels import Labels
from renewal.stats.paired import paired_mean

ALL = "all rows"
"""Name of the first line, which every slice is read beside."""


@dataclass(frozen=True, slots=True)
class SliceGain:
    """The gain on a part of the rows.

    Parameters
    ----------
    name : str
        Of the slice, or ``all rows``.
    n_rows, n_blocks : int
        Evidence behind it.
    gain, lower, upper : float
        Mean loss of the baseline less that of the candidate with one-sided bounds; NaN where
        one block, or blocks too alike, bound nothing: cannot tell.
    """

    name: str
    n_rows: int
    n_blocks: int
    gain: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class SliceError:
    """How far the values of one version lie from the truth on a part of the rows.

    Parameters
    ----------
    name : str
        Of the slice, or ``all rows``.
    version_id : str
        Which.
    n_rows : int
        In the slice.
    predicted, true : float
        Means, in the unit of the target.
    absolute : float
        Mean absolute error, in the same unit.
    """

    name: str
    version_id: str
    n_rows: int
    predicted: float
    true: float
    absolute: float

    @property
    def bias(self) -> float:
        """Mean predicted less mean true: above 0 it says too much."""
        return self.predicted - self.true


def slice_gains_of(
    report: Report, candidate: str, baseline: str, slices: Sequence[Slice], *, alpha: float
) -> tuple[SliceGain, ...]:
    """Return the gain on all rows, then on each slice, with bounds for reading.

    Parameters
    ----------
    report : Report
        Both versions.
    candidate, baseline : str
        Their ids.
    slices : sequence of Slice
        Of the rows of the report.
    alpha : float in (0, 1)
        Error of each bound by itself; nothing is adjusted for the number of slices, which is
        the business of the clauses.
    """
    gain = report.of(baseline).losses - report.of(candidate).losses
    blocks = report.blocks
    everything = Slice(ALL, "", np.ones(len(gain), np.bool_))
    found = []
    for part in (everything, *slices):
        means, n_rows = slice_gains(gain, blocks.at, len(blocks.ids), part.mask)
        mean = paired_mean(means, n_rows, ordered=blocks.is_ordered)
        has_bounds = mean.n > 1 and mean.se > 0.0
        found.append(
            SliceGain(
                name=part.name,
                n_rows=int(n_rows.sum()),
                n_blocks=mean.n,
                gain=mean.mean,
                lower=mean.lower(alpha) if has_bounds else math.nan,
                upper=mean.upper(alpha) if has_bounds else math.nan,
            )
        )
    return tuple(found)


def flips_of(
    report: Report, candidate: str, baseline: str, slices: Sequence[Slice]
) -> tuple[FlipsTable, ...]:
    """Return the flips of all rows, then of each slice; none for values, which do not flip."""
    if not report.of(baseline).scored.classes:
        return ()
    return flips_tables(
        report.labels,
        _predicted(report, baseline),
        _predicted(report, candidate),
        block_at=report.blocks.at,
        n_blocks=len(report.blocks.ids),
        slices=slices,
    )


def errors_of(report: Report, slices: Sequence[Slice]) -> tuple[SliceError, ...]:
    """Return predicted beside true on all rows and each slice; none for classes.

    Parameters
    ----------
    report : Report
        Of a regression.
    slices : sequence of Slice
        Of its rows.
    """
    if report.versions[0].scored.classes:
        return ()
    truth = report.labels.astype(np.float64)
    everything = Slice(ALL, "", np.ones(len(truth), np.bool_))
    return tuple(
        SliceError(
            name=part.name,
            version_id=each.version_id,
            n_rows=int(part.mask.sum()),
            predicted=float(each.scored.scores[part.mask, 0].mean()),
            true=float(truth[part.mask].mean()),
            absolute=float(np.abs(each.scored.scores[part.mask, 0] - truth[part.mask]).mean()),
        )
        for part in (everything, *slices)
        for each in report.versions
    )


def _predicted(report: Report, version_id: str) -> Labels:
    scored = report.of(version_id).scored
    found = report.task.outputs(scored.scores, scored.classes)["label"]
    labels = np.empty(len(found), dtype=object)
    labels[:] = found.tolist()
    return labels
