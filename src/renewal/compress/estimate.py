"""What a metric says of scores, and of a compressed model beside its parent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renewal.compress.goal import LOSS, Goal
from renewal.core.errors import Invalid
from renewal.evaluate.metrics import metric
from renewal.evaluate.own_metric import own_metric
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores, Task
from renewal.stats.apart import Spread, gain_spread


def value_of(task: Task, goal: Goal, scores: Scores, classes: Classes, labels: Labels) -> float:
    """Return the metric of a goal; NaN where it is undefined on these rows.

    Parameters
    ----------
    task : Task
        Its loss is the metric ``loss``.
    goal : Goal
        Settled: it names a metric.
    scores : float64 array, shape (n_rows, n_scores)
        Of one model.
    classes : tuple
        What the columns mean.
    labels : array, shape (n_rows,)
        As `Task.labels` returns them.

    Raises
    ------
    Invalid
        When the metric does not suit the task, or needs a table of costs.
    """
    name = goal.metric or LOSS
    if name == LOSS:
        return float(np.mean(task.loss(scores, labels, classes))) if len(labels) else float("nan")
    if ":" in name:
        found = own_metric(
            name.removeprefix("-"),
            scores,
            labels=labels,
            classes=classes,
            higher_is_better=goal.higher_is_better,
        )
    elif name == "cost":
        raise Invalid(
            "compress",
            needs="a metric that needs no table of costs",
            came="cost",
            todo="Name another metric; guard the cost by a claim of the gate.",
        )
    else:
        found = metric(name, classes=classes)
    return float(found.value(scores, labels, classes))


def gain_over(
    task: Task,
    goal: Goal,
    ours: tuple[Scores, Classes],
    theirs: tuple[Scores, Classes],
    labels: Labels,
) -> float:
    """Return the metric of a model less that of its parent, positive where better.

    Parameters
    ----------
    task, goal, labels
        As for `value_of`.
    ours, theirs : tuple of (scores, classes)
        Of the compressed model and of the parent, on the same rows.
    """
    sign = 1.0 if goal.higher_is_better else -1.0
    both = [value_of(task, goal, scores, classes, labels) for scores, classes in (ours, theirs)]
    # A gain of -0.0 would be shown as a loss.
    return sign * (both[0] - both[1]) + 0.0


def spread_of(
    task: Task,
    goal: Goal,
    ours: tuple[Scores, Classes],
    theirs: tuple[Scores, Classes],
    labels: Labels,
) -> Spread | None:
    """Return how much the gain of one row varies; None where the metric is no mean over rows.

    Half a flip of each kind is added to what the rows show: none among few is not none at all.

    Parameters
    ----------
    task, goal, ours, theirs, labels
        As for `gain_over`.
    """
    both = [_per_row(task, goal, scores, classes, labels) for scores, classes in (ours, theirs)]
    if both[0] is None or both[1] is None or len(labels) < 2:
        return None
    return gain_spread(both[0] - both[1])


def _per_row(
    task: Task, goal: Goal, scores: Scores, classes: Classes, labels: Labels
) -> NDArray[np.float64] | None:
    name = goal.metric or LOSS
    if name == LOSS:
        return task.loss(scores, labels, classes)
    found = None if ":" in name else metric(name, classes=classes)
    if found is None or found.per_row is None:
        return None
    return np.asarray(found.per_row(scores, labels, classes), dtype=np.float64)
