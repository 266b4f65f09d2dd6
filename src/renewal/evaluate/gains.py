"""Gains by any metric, block by block: rows one by one, ranks, and sets of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from renewal.evaluate.blocks import Blocks
from renewal.evaluate.metrics_record import Metric
from renewal.evaluate.report import Measured, Report
from renewal.evaluate.series import Series
from renewal.evaluate.slices import coarse
from renewal.models.task import Scores
from renewal.stats.delong import auc_block_values

# A set metric without counts is computed once for each block that is left out; so many times
# at most, over blocks merged with their neighbors where there are more.
_MOST_LEFT_OUT = 200


def loss_series(report: Report, candidate: str, baseline: str) -> Series:
    """Return the gain by the task's own loss, block by block.

    Both losses of a row are taken before anything is averaged, so what makes a row hard for
    everybody cancels out.

    Parameters
    ----------
    report : Report
        Holds both versions.
    candidate, baseline : str
        Their ids.

    Raises
    ------
    Invalid
        When one of them is not in the report.
    """
    new, old = report.of(candidate), report.of(baseline)
    bound = report.task.loss_bound
    return report.series(
        report.task.loss_name,
        (candidate, baseline),
        report.blocks.means(old.losses - new.losses),
        values=(new.mean_loss, old.mean_loss),
        reach=np.inf if bound is None else bound,
    )


def metric_series(report: Report, metric: Metric, candidate: str, baseline: str) -> Series:
    r"""Return the gain by a metric, block by block, positive where the candidate is better.

    Parameters
    ----------
    report : Report
        Holds both versions.
    metric : Metric
        ``row``: mean differences of each block. ``rank``: what each block says about the
        difference of the two areas (`renewal.stats.delong`). ``set``: the jackknife,
        :math:`D + (B - 1)(\bar D - D_{-b})` with :math:`D_{-b}` the difference without block
        *b* and :math:`\bar D` the mean of these; their mean is the difference *D*. The usual
        pseudo-values would correct its bias too, which of a metric that jumps, such as the
        precision of the surest tenth, makes a number that can have the wrong sign.
    candidate, baseline : str
        Version ids.

    Returns
    -------
    Series
        Of ``rank`` and ``set`` metrics unweighted; empty where the metric is undefined, be it
        only without one of the blocks.

    Notes
    -----
    O(n_rows log n_rows). A set metric without counts, such as a user's own, is computed once
    for each of at most 200 blocks.
    """
    new, old = report.of(candidate), report.of(baseline)
    sign = 1.0 if metric.higher_is_better else -1.0
    values = (_value(metric, report, new), _value(metric, report, old))
    if metric.kind == "row":
        gains = report.blocks.means(
            sign * (_per_row(metric, report, new) - _per_row(metric, report, old))
        )
        low, high = metric.bounds
        reach = np.inf if low is None or high is None else high - low
        return report.series(
            metric.name,
            (candidate, baseline),
            gains,
            values=values,
            reach=reach,
            higher_is_better=metric.higher_is_better,
        )
    if metric.kind == "set" and metric.counts is None:
        report = _merged(report)
    gains = (_rank_gains if metric.kind == "rank" else _set_gains)(report, metric, new, old)
    return report.series(
        metric.name,
        (candidate, baseline),
        sign * gains,
        values=values,
        is_weighted=False,
        higher_is_better=metric.higher_is_better,
    )


def block_counts(report: Report, metric: Metric, version: Measured) -> Scores:
    """Return the additive counts of a set metric in each block.

    Parameters
    ----------
    report : Report
        The rows and their blocks.
    metric : Metric
        Kind ``set``, with counts.
    version : Measured
        Of the report.

    Returns
    -------
    float64 array, shape (n_blocks, k)
        Sums in 64 bits.
    """
    assert metric.counts is not None
    counts = metric.counts(version.scored.scores, report.labels, version.scored.classes)
    n_blocks = len(report.blocks.ids)
    columns = [
        np.bincount(report.blocks.at, weights=counts[:, at], minlength=n_blocks)
        for at in range(counts.shape[1])
    ]
    return np.column_stack(columns)


def _value(metric: Metric, report: Report, version: Measured) -> float:
    return metric.value(version.scored.scores, report.labels, version.scored.classes)


def _per_row(metric: Metric, report: Report, version: Measured) -> Scores:
    assert metric.per_row is not None
    scored = version.scored
    return np.asarray(metric.per_row(scored.scores, report.labels, scored.classes), np.float64)


def _rank_gains(report: Report, metric: Metric, new: Measured, old: Measured) -> Scores:
    assert metric.ranked is not None
    truth, ours = metric.ranked(new.scored.scores, report.labels, new.scored.classes)
    _truth, theirs = metric.ranked(old.scored.scores, report.labels, old.scored.classes)
    return auc_block_values(truth, theirs, candidate_scores=ours, blocks=report.blocks.at)


def _set_gains(report: Report, metric: Metric, new: Measured, old: Measured) -> Scores:
    if metric.counts is None or metric.of_counts is None:
        return _left_out(report, metric, new, old)
    ours, theirs = block_counts(report, metric, new), block_counts(report, metric, old)
    of_counts = metric.of_counts

    def difference(mine: Scores, other: Scores) -> Scores:
        return np.asarray(of_counts(mine) - of_counts(other), np.float64)

    ours_all, theirs_all = ours.sum(axis=0), theirs.sum(axis=0)
    whole = difference(ours_all, theirs_all)
    without = difference(ours_all - ours, theirs_all - theirs)
    return _jackknifed(whole, without)


def _left_out(report: Report, metric: Metric, new: Measured, old: Measured) -> Scores:
    """Jackknife a metric that has no counts."""
    at, n_blocks = report.blocks.at, len(report.blocks.ids)

    def difference(kept: NDArray[np.bool_]) -> float:
        labels = report.labels[kept]
        mine, other = (
            metric.value(each.scored.scores[kept], labels, each.scored.classes)
            for each in (new, old)
        )
        return mine - other

    whole = difference(np.ones(len(at), np.bool_))
    without = np.array([difference(at != block) for block in range(n_blocks)])
    return _jackknifed(whole, without)


def _jackknifed(whole: Scores | float, without: Scores) -> Scores:
    return np.asarray(whole + (len(without) - 1) * (np.mean(without) - without))


def _merged(report: Report) -> Report:
    """Return the report with so few blocks that each can be left out once."""
    blocks = report.blocks
    at, n_blocks = coarse(blocks.at, len(blocks.ids), most=_MOST_LEFT_OUT)
    if n_blocks == len(blocks.ids):
        return report
    first = np.unique(at[np.argsort(blocks.at, kind="stable")], return_index=True)[1]
    ids = blocks.ids[np.sort(blocks.at, kind="stable")[first]]
    n_rows = np.bincount(at, minlength=n_blocks)
    return replace(
        report,
        blocks=Blocks(ids, at, n_rows, f"{blocks.unit} group", blocks.is_ordered),
    )
