"""What ``renewal evaluate`` shows of a report; loaded by that command alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from renewal.cli.junit import Case, Result
from renewal.evaluate.metrics import metrics
from renewal.evaluate.report import Report
from renewal.evaluate.slices import slices_of
from renewal.gate.card.record import measures_of
from renewal.gate.card.slices import slice_gains_of
from renewal.gate.ranking import Ranking, rank

_RESULTS: dict[str, Result] = {"better": "passed", "worse": "failed", "cannot_tell": "skipped"}


@dataclass(frozen=True, slots=True)
class Measures:
    """One version on some of the rows.

    Parameters
    ----------
    slice : str
        Name of the slice.
    version : str
        Short name.
    n_rows, n_blocks : int
        Rows of the slice, and blocks that hold one.
    mean_loss : float
        The task's loss.
    gain, lower, upper : float
        Over the baseline, with one-sided bounds; NaN for the baseline and what cannot be
        told.
    metrics : dict of str to float
        NaN where undefined.
    """

    slice: str
    version: str
    n_rows: int
    n_blocks: int
    mean_loss: float
    gain: float
    lower: float
    upper: float
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A report as ``renewal evaluate`` prints it.

    Parameters
    ----------
    report : Report
        Versions on the same rows.
    names : tuple of str
        Short names, in the order of the report.
    slices : tuple of Measures
        Slice by slice, version by version.
    ranking : Ranking or None
        Of two versions and more.
    """

    report: Report
    names: tuple[str, ...]
    slices: tuple[Measures, ...]
    ranking: Ranking | None

    def metric_rows(self) -> Iterator[tuple[object, ...]]:
        """Yield the name and each version's value of the loss, every metric and every cost."""
        found = [measures_of(self.report, each.version_id) for each in self.report.versions]
        for name in found[0]:
            yield (name, *(each[name] for each in found))

    def slice_rows(self) -> Iterator[tuple[object, ...]]:
        """Yield a row for each slice: rows, blocks, and the mean loss of each version."""
        names = dict.fromkeys(each.slice for each in self.slices)
        for name in names:
            found = [each for each in self.slices if each.slice == name]
            losses = (each.mean_loss for each in found)
            yield (name, f"{found[0].n_rows:,}", f"{found[0].n_blocks:,}", *losses)

    def as_json(self, model: str) -> dict[str, Any]:
        """Return the same for programs, every metric of every slice included."""
        report = self.report
        return {
            "model": model,
            "n_rows": report.n_rows,
            "n_blocks": len(report.blocks.ids),
            "unit": report.blocks.unit,
            "n_seen": report.n_seen,
            "form": report.versions[0].scored.form,
            "notes": report.notes,
            "versions": [
                {
                    "version": name,
                    "id": each.version_id,
                    "loss": {report.task.loss_name: each.mean_loss},
                    "metrics": dict(each.metrics),
                    "measures": measures_of(report, each.version_id),
                }
                for name, each in zip(self.names, report.versions, strict=True)
            ],
            "slices": [asdict(each) for each in self.slices],
            "ranking": None if self.ranking is None else asdict(self.ranking),
        }

    def cases(self) -> tuple[Case, ...]:
        """Return each version as a test: failed where it is shown to be worse than the baseline.

        What cannot be told is skipped; a version without a baseline passes when it could be
        scored.
        """
        ranking = self.ranking
        if ranking is None:
            only = self.report.versions[0]
            sentence = f"scored on {self.report.n_rows:,} unseen rows"
            return (Case(self.names[0], "passed", sentence, facts=only.metrics),)
        return tuple(
            Case(
                name=f"{each.name} beside {ranking.baseline_name}",
                result=_RESULTS[each.state],
                sentence=f"{each.state.replace('_', ' ')}: mean {ranking.loss} "
                f"{each.mean_loss:.4g} against {ranking.baseline_loss:.4g}, gain {each.gain:+.4g} "
                f"({each.lower:+.4g} to {each.upper:+.4g})",
                kind="worse",
                facts=self.report.of(each.version_id).metrics,
            )
            for each in ranking.contenders
        )


def evaluated(
    report: Report, *, champion: str, slices: Sequence[str], alpha: float, min_blocks: int
) -> Evaluated:
    """Return what is printed of a report.

    Parameters
    ----------
    report : Report
        At least one version.
    champion : str
        Its id: the baseline where it is in the report, else the first version is.
    slices : sequence of str
        Declarations, as in the policy's guards.
    alpha, min_blocks : float, int
        Of the policy's gate, for the ranking.
    """
    ids = [each.version_id for each in report.versions]
    baseline = champion if champion in ids else ids[0]
    return Evaluated(
        report=report,
        names=tuple(each.scored.name or each.version_id[:12] for each in report.versions),
        slices=tuple(_measured(report, baseline, slices, alpha)),
        ranking=rank(report, baseline, alpha=alpha, min_blocks=min_blocks)
        if len(ids) > 1
        else None,
    )


def _measured(
    report: Report, baseline: str, declared: Sequence[str], alpha: float
) -> Iterator[Measures]:
    parts = slices_of(report.rows.described, declared)
    gains = {
        each.version_id: slice_gains_of(report, each.version_id, baseline, parts, alpha=alpha)[1:]
        for each in report.versions
    }
    nothing = float("nan")
    for at, part in enumerate(parts):
        for version in report.versions:
            found, scored = gains[version.version_id][at], version.scored
            is_baseline = version.version_id == baseline
            yield Measures(
                slice=part.name,
                version=scored.name or version.version_id[:12],
                n_rows=found.n_rows,
                n_blocks=found.n_blocks,
                mean_loss=float(np.mean(version.losses[part.mask])),
                gain=nothing if is_baseline else found.gain,
                lower=nothing if is_baseline else found.lower,
                upper=nothing if is_baseline else found.upper,
                metrics=metrics(
                    report.task,
                    scored.scores[part.mask],
                    report.labels[part.mask],
                    scored.classes,
                ),
            )
