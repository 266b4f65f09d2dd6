"""A report: two versions on the same rows, the difference of their losses block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.evaluate.metrics import metrics
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores, Task

Ints = NDArray[np.int64]

_HOUR_US = 3_600_000_000
_UNITS = {"hour": _HOUR_US, "day": 24 * _HOUR_US, "week": 7 * 24 * _HOUR_US}


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on one version.

    Parameters
    ----------
    version_id : str
        Which.
    metrics : mapping of str to float
        By name, NaN where undefined.
    mean_loss : float
        Mean over all rows, in the unit of the loss.
    """

    version_id: str
    metrics: Mapping[str, float]
    mean_loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Two versions on the same rows.

    Parameters
    ----------
    baseline, candidate : Measured
        The two.
    loss : str
        Name of the loss that decides.
    blocks : int64 array, shape (n_blocks,)
        Ids of the units of independent evidence, by the time of their first row.
    n_block_rows : int64 array, shape (n_blocks,)
        Rows of each.
    gains : float64 array, shape (n_blocks,)
        Mean baseline loss minus candidate loss of each; positive: the candidate is better.
    n_rows, n_seen : int
        Rows compared, and rows set aside because one of the two had trained on them.
    judged_from_us, judged_until_us : int
        Event time of the first and last row, microseconds since 1970.
    unit : str, default "block"
        What a block is, in words: hour, day or week where blocks are these.
    """

    baseline: Measured
    candidate: Measured
    loss: str
    blocks: Ints
    n_block_rows: Ints
    gains: Scores
    n_rows: int
    n_seen: int
    judged_from_us: int
    judged_until_us: int
    unit: str = "block"


def compare(
    task: Task,
    rows: Rows,
    *,
    baseline: tuple[str, Scores, Classes],
    candidate: tuple[str, Scores, Classes],
    n_seen: int = 0,
) -> Report:
    """Measure two versions on the same rows and pair their losses.

    Both losses of a row are taken before anything is averaged, so what makes a row hard for
    everybody cancels out. Each version's scores are read by its own classes: they may come
    in another order, or miss a class, which then costs the most a row can cost.

    Parameters
    ----------
    task : Task
        Its loss decides, its metrics are shown.
    rows : Rows
        Labelled, at least one, unseen by both (`renewal.evaluate.unseen`).
    baseline, candidate : tuple of (version id, scores, classes)
        Scores as float64, shape (n_rows, n_scores), and what their columns mean.
    n_seen : int, default 0
        Rows that were set aside before.

    Returns
    -------
    Report
        Blocks in the order of their first row's event time.

    Raises
    ------
    Invalid
        When a row has no label, there is no row, or scores are not finite or of another
        length; the message names the version.
    """
    labels = _labels(task, rows)
    losses = []
    measured = []
    for version_id, scores, classes in (baseline, candidate):
        _check_scores(version_id, scores, len(rows))
        loss = task.loss(scores, labels, classes)
        losses.append(loss)
        found = metrics(task, scores, labels, classes)
        measured.append(Measured(version_id, found, float(np.mean(loss))))
    blocks, counts, gains = _by_block(rows, losses[0] - losses[1])
    return Report(
        baseline=measured[0],
        candidate=measured[1],
        loss=task.loss_name,
        blocks=blocks,
        n_block_rows=counts,
        gains=gains,
        n_rows=len(rows),
        n_seen=n_seen,
        judged_from_us=int(rows.event_us.min()),
        judged_until_us=int(rows.event_us.max()),
        unit=_unit(rows),
    )


def _labels(task: Task, rows: Rows) -> Labels:
    if len(rows) == 0 or rows.label is None:
        raise Invalid(
            "compare",
            needs="at least one labelled row",
            came="no row" if len(rows) == 0 else "rows that were read without labels",
            todo="Read rows with labelled=True and keep those that are unseen.",
        )
    return task.labels(rows.label, who="compare")


def _check_scores(version_id: str, scores: Scores, n_rows: int) -> None:
    n_bad = 0
    if scores.ndim == 2 and len(scores) == n_rows:
        n_bad = n_rows - int(np.isfinite(scores).all(axis=1).sum())
        if n_bad == 0:
            return
    came = (
        f"{n_bad:,} of {n_rows:,} rows with NaN or infinite scores"
        if n_bad
        else (f"scores of shape {scores.shape} for {n_rows:,} rows")
    )
    raise Invalid(
        "compare",
        needs=f"one row of finite scores for each row from version {version_id}",
        came=came,
        todo="See what this version answers on these rows; it must not go live like this.",
        version_id=version_id,
    )


def _by_block(rows: Rows, gain: Scores) -> tuple[Ints, Ints, Scores]:
    """Average the gain of each block; order blocks by when they began."""
    blocks, at, counts = np.unique(rows.block, return_inverse=True, return_counts=True)
    sums = np.bincount(at, weights=gain, minlength=len(blocks))
    began_us = np.full(len(blocks), np.iinfo(np.int64).max)
    np.minimum.at(began_us, at, rows.event_us)
    order = np.argsort(began_us, kind="stable")
    return blocks[order], counts[order].astype(np.int64), (sums / counts)[order]


def _unit(rows: Rows) -> str:
    """Name the block where it is a common stretch of time."""
    for name, length_us in _UNITS.items():
        if np.array_equal(rows.block, rows.event_us // length_us):
            return name
    return "block"
