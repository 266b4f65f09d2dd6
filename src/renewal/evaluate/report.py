"""A report: any number of versions on the same rows, row by row and block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.evaluate.blocks import Blocks, blocks_of
from renewal.evaluate.cost import Cost
from renewal.evaluate.cost_metric import COST, cost_metric
from renewal.evaluate.metrics import metric, metrics
from renewal.evaluate.own_metric import own_metric
from renewal.evaluate.series import Series
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores, Task

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What one version says of the rows of a report.

    Parameters
    ----------
    version_id : str
        Which.
    scores : float64 array, shape (n_rows, n_scores)
        In the order of the rows.
    classes : tuple
        What the columns mean; empty for a regression.
    name : str, default ""
        Its short name, such as ``v3``, for people.
    form : str, default "native"
        In which it ran: ``native`` or ``onnx``.
    """

    version_id: str
    scores: Scores
    classes: Classes
    name: str = ""
    form: str = "native"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured on one version.

    Parameters
    ----------
    scored : Scored
        The version and its scores.
    losses : float64 array, shape (n_rows,)
        The task's loss of each row.
    metrics : mapping of str to float
        By name, NaN where undefined.
    """

    scored: Scored
    losses: Scores
    metrics: Mapping[str, float]

    @property
    def version_id(self) -> str:
        """Which version was measured, by its id in the registry."""
        return self.scored.version_id

    @property
    def mean_loss(self) -> float:
        """Mean over all rows, in the unit of the loss."""
        return float(np.mean(self.losses))


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Versions on the same rows.

    Parameters
    ----------
    task : Task
        Its loss decides, its metrics are shown.
    rows : Rows
        Labelled and unseen by every version, at least one.
    labels : array, shape (n_rows,)
        As `Task.labels` returns them.
    versions : tuple of Measured
        In the order in which they were asked for.
    blocks : Blocks
        The units of evidence.
    n_seen : int, default 0
        Rows set aside: a version had trained on them, or an earlier verdict has used them.
    notes : tuple of str
        What a reader must know, such as a class that one version does not know.
    costs : mapping of str to Cost
        Latency, bytes and memory by version id; empty where nobody asked for them.
    """

    task: Task
    rows: Rows
    labels: Labels
    versions: tuple[Measured, ...]
    blocks: Blocks
    n_seen: int = 0
    notes: tuple[str, ...] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows on which every version was scored."""
        return len(self.rows)

    def since(self, event_us: int) -> Report | None:
        """Return the report on the rows from an instant on; None where there is none.

        Parameters
        ----------
        event_us : int
            Event time, microseconds since 1970; that instant included.
        """
        kept = self.rows.event_us >= event_us
        if kept.all():
            return self
        if not kept.any():
            return None
        rows, at = self.rows.take(kept), self.blocks.at[kept]
        ids, place, counts = np.unique(at, return_inverse=True, return_counts=True)
        labels = self.labels[kept]
        scored = [replace(each.scored, scores=each.scored.scores[kept]) for each in self.versions]
        measured = [
            Measured(
                each,
                old.losses[kept],
                metrics(self.task, each.scores, labels, each.classes),
            )
            for each, old in zip(scored, self.versions, strict=True)
        ]
        blocks = replace(
            self.blocks, ids=self.blocks.ids[ids], at=place, n_rows=counts.astype(np.int64)
        )
        return replace(self, rows=rows, labels=labels, versions=tuple(measured), blocks=blocks)

    def of(self, version_id: str) -> Measured:
        """Return what was measured on one version.

        Raises
        ------
        Invalid
            When it is not in the report.
        """
        for each in self.versions:
            if each.version_id == version_id:
                return each
        raise Invalid(
            "Report.of",
            needs=f"one of its {len(self.versions)} versions",
            came=repr(version_id),
            todo="Evaluate this version on the same rows.",
        )

    def series(
        self,
        metric: str,
        versions: tuple[str, str],
        gains: Scores,
        *,
        values: tuple[float, float],
        is_weighted: bool = True,
        reach: float = math.inf,
        higher_is_better: bool = False,
    ) -> Series:
        """Return gains by block as a series; blocks whose gain is NaN are left out.

        Parameters
        ----------
        metric : str
            Its name.
        versions : tuple of (candidate id, baseline id)
            The pair.
        gains : float64 array, shape (n_blocks,)
            Positive where the candidate is better.
        values : tuple of (candidate, baseline)
            The metric over all rows.
        is_weighted, reach, higher_is_better
            As in `Series`.
        """
        defined = ~np.isnan(gains)
        blocks = self.blocks
        return Series(
            metric=metric,
            baseline=versions[1],
            candidate=versions[0],
            baseline_value=values[1],
            candidate_value=values[0],
            unit=blocks.unit,
            blocks=blocks.ids[defined],
            n_block_rows=blocks.n_rows[defined],
            gains=gains[defined],
            from_us=int(self.rows.event_us.min()),
            until_us=int(self.rows.event_us.max()),
            n_seen=self.n_seen,
            has_groups=bool((blocks.n_rows > 1).any()),
            is_ordered=blocks.is_ordered,
            is_weighted=is_weighted,
            reach=reach,
            higher_is_better=higher_is_better,
        )


def evaluate(
    task: Task,
    rows: Rows,
    scored: Sequence[Scored],
    *,
    n_seen: int = 0,
    block_us: int | None = None,
    is_timed: bool = False,
    more: Sequence[str] = (),
    costs: Mapping[Any, Mapping[Any, float]] | None = None,
) -> Report:
    """Measure versions on the same rows.

    Each version's scores are read by its own classes: they may come in another order, or
    miss a class, which then costs the most a row can cost and is noted.

    Parameters
    ----------
    task : Task
        Its loss decides, its metrics are shown.
    rows : Rows
        Labelled, at least one, unseen by every version (`renewal.evaluate.unseen`).
    scored : sequence of Scored
        At least one version, none twice.
    n_seen : int, default 0
        Rows that were set aside before.
    block_us : int or None, microseconds, default None
        Length of a block of event time; None: the blocks that the rows carry.
    is_timed : bool, default False
        Whether event times are real, so that blocks are in order whatever they are.
    more : sequence of str
        Metrics beside those of the task: by name, such as ``average_precision`` or
        ``pinball_0.9``, a function of one's own as ``module:function``, or ``cost``.
    costs : mapping of mappings or None
        What a decision costs, ``costs[true][predicted]``; needed by ``cost``.

    Returns
    -------
    Report
        Pure values; nothing was stored.

    Raises
    ------
    Invalid
        When a row has no label, there is no row, a version comes twice, or scores or their
        losses are not finite or of another shape; `fields["version_id"]` names the version.
    """
    labels = _labels(task, rows)
    _check_versions(scored, len(rows))
    measured = tuple(
        Measured(
            each,
            _losses(task, each, labels),
            {
                **metrics(task, each.scores, labels, each.classes),
                **_more(more, each, labels, costs),
            },
        )
        for each in scored
    )
    return Report(
        task=task,
        rows=rows,
        labels=labels,
        versions=measured,
        blocks=blocks_of(rows, block_us, is_timed=is_timed),
        n_seen=n_seen,
        notes=tuple(_class_notes(scored, labels)),
    )


def _more(
    names: Sequence[str],
    scored: Scored,
    labels: Labels,
    costs: Mapping[Any, Mapping[Any, float]] | None,
) -> dict[str, float]:
    """Return further metrics of a version, by name or import path."""
    found = {}
    for name in names:
        if ":" in name:
            own = own_metric(
                name, scored.scores, labels=labels, classes=scored.classes, higher_is_better=True
            )
        elif name == COST:
            own = cost_metric(costs or {}, classes=scored.classes)
        else:
            own = metric(name, classes=scored.classes)
        found[name] = own.value(scored.scores, labels, scored.classes)
    return found


def _labels(task: Task, rows: Rows) -> Labels:
    if len(rows) == 0 or rows.label is None:
        raise Invalid(
            "evaluate",
            needs="at least one labelled row",
            came="no row" if len(rows) == 0 else "rows that were read without labels",
            todo="Read rows with labelled=True and keep those that are unseen.",
        )
    return task.labels(rows.label, who="evaluate")


def _check_versions(scored: Sequence[Scored], n_rows: int) -> None:
    ids = [each.version_id for each in scored]
    if not ids or len(set(ids)) < len(ids):
        raise Invalid(
            "evaluate",
            needs="at least one version, none of them twice",
            came=", ".join(ids) or "none",
            todo="Name each version once.",
        )
    for each in scored:
        _check_scores(each.version_id, each.scores, n_rows)


def _losses(task: Task, scored: Scored, labels: Labels) -> Scores:
    """Return the loss of each row; whatever a task says against scores names their version."""
    try:
        losses = task.loss(scored.scores, labels, scored.classes)
    except Invalid as error:
        fields = {**error.fields, "version_id": scored.version_id}
        raise Invalid(
            error.who, needs=error.needs, came=error.came, todo=error.todo, **fields
        ) from error
    n_bad = int(np.count_nonzero(~np.isfinite(losses)))
    if n_bad:
        # A block without a loss would be left out of the comparison, in its favor.
        raise Invalid(
            "evaluate",
            needs=f"a finite {task.loss_name} of each row from version {scored.version_id}",
            came=f"{n_bad:,} of {len(losses):,} rows whose loss is NaN or infinite",
            todo="See what this version answers on these rows, and how the task scores it.",
            version_id=scored.version_id,
        )
    return losses


def _check_scores(version_id: str, scores: Scores, n_rows: int) -> None:
    n_bad = 0
    if scores.ndim == 2 and len(scores) == n_rows:
        n_bad = n_rows - int(np.isfinite(scores).all(axis=1).sum())
        if n_bad == 0:
            return
    came = (
        f"{n_bad:,} of {n_rows:,} rows with NaN or infinite scores"
        if n_bad
        else f"scores of shape {scores.shape} for {n_rows:,} rows"
    )
    raise Invalid(
        "evaluate",
        needs=f"one row of finite scores for each row from version {version_id}",
        came=came,
        todo="See what this version answers on these rows; it must not go live like this.",
        version_id=version_id,
    )


def _class_notes(scored: Sequence[Scored], labels: Labels) -> list[str]:
    """Say which versions do not know a class of these rows, or know other classes."""
    if not scored[0].classes:
        return []
    found = set(labels.tolist())
    notes = []
    for each in scored:
        unknown = sorted(found - set(each.classes), key=str)
        if unknown:
            shown = ", ".join(map(repr, unknown[:5]))
            notes.append(f"{each.name or each.version_id[:12]} does not know the class {shown}")
    if len({frozenset(each.classes) for each in scored}) > 1:
        notes.append("the versions tell different sets of classes apart")
    return notes
