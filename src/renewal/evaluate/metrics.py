"""Metrics of a version on labelled rows, by name: for people, and for gates that decide.

They equal scikit-learn's bit for bit where it has the metric, without its import of more than
a second: whoever asks for the status of a home loads this file too. Where a metric is
undefined it is NaN; it never raises, never warns and never pretends to be 0.

For two classes: auc, average_precision, precision, recall, f1, of the class that sorts last.
For classes and sets of labels: accuracy (of sets: every label right), macro_precision,
macro_recall, macro_f1 (mean over classes or labels for which they are defined),
micro_precision, micro_recall, micro_f1, macro_average_precision, log_loss, brier and
calibration_error; ovr_auc for classes; subset_accuracy, hamming_loss and macro_auc for sets.
For numbers: mae, mse, rmse, r2, median_absolute_error, pinball_0.9 (any quantile; pinball is
that of 0.5).

The calibration error gathers probabilities in 15 bins of equal width and adds up the gaps
between what was said and what came, each by its share of rows. Said is the probability of the
positive class; of more classes that of the most probable one, and what came is whether it was
right; of sets every label's. It is never quite 0: chance alone makes gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from renewal.core.errors import Invalid
from renewal.evaluate import metrics_classes, metrics_ranks, metrics_values
from renewal.evaluate.metrics_coded import Form, coded, task_of
from renewal.evaluate.metrics_record import Metric
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores, Task

_FORMS = {**metrics_classes.FORMS, **metrics_ranks.FORMS, **metrics_values.FORMS}
_PINBALL = "pinball"


def metric_names() -> tuple[str, ...]:
    """Return the names of all metrics, sorted; ``pinball`` stands for every quantile.

    Examples
    --------
    >>> [name for name in metric_names() if "auc" in name]
    ['auc', 'macro_auc', 'ovr_auc']
    """
    return tuple(sorted({*_FORMS, _PINBALL}))


def metric(name: str, *, classes: Classes = ()) -> Metric:
    """Return a metric by its name, with everything that comparing two versions needs.

    Parameters
    ----------
    name : str
        One of `metric_names`, or ``pinball_`` and a quantile.
    classes : tuple, default ()
        Of the versions, where they are known: they narrow the bounds of ``brier``, which
        for two classes, or sets of labels, lies between 0 and 1 and otherwise between 0
        and 2.

    Raises
    ------
    Invalid
        When no metric is called so; its functions raise it on rows of a task that it does
        not suit, such as ``auc`` on three classes.

    Examples
    --------
    >>> import numpy as np
    >>> f1 = metric("f1")
    >>> labels = np.array([0, 0, 1, 1], dtype=object)
    >>> positive = np.array([0.1, 0.6, 0.35, 0.8])
    >>> scores = np.column_stack([1 - positive, positive])
    >>> f1.kind, f1.value(scores, labels, (0, 1))
    ('set', 0.5)
    >>> counts = f1.counts(scores, labels, (0, 1))  # hit, falsely given, missed
    >>> counts.sum(axis=0).tolist(), f1.of_counts(counts.sum(axis=0))
    ([1, 1, 1], array(0.5))
    """
    form = _form(name)
    bounds = (0.0, 1.0) if name == "brier" and len(classes) == 2 else form.bounds
    return Metric(
        name=name,
        higher_is_better=form.higher_is_better,
        bounds=bounds,
        kind=form.kind,
        tasks=form.tasks,
        value=partial(_value, _Applied(name, form.tasks, form.value)),
        per_row=form.per_row and _Applied(name, form.tasks, form.per_row),
        counts=form.counts and _Applied(name, form.tasks, form.counts),
        of_counts=form.of_counts,
        ranked=form.ranked and _Applied(name, form.tasks, form.ranked),
    )


def metrics(task: Task, scores: Scores, labels: Labels, classes: Classes) -> dict[str, float]:
    """Return every metric that a task names, by name.

    Parameters
    ----------
    task : Task
        Its `metrics` are names that `metric` takes.
    scores : float64 array, shape (n_rows, n_scores)
        Of one version; finite.
    labels : array, shape (n_rows,)
        As `Task.labels` returns them. A label that the version does not know counts as a
        class to which it gave probability 0.
    classes : tuple
        What the columns mean, in any order; empty for a regression.

    Returns
    -------
    dict of str to float
        NaN where undefined: AUC of rows of one class, precision without a predicted
        positive, R2 of equal values, anything of no row.

    Raises
    ------
    Invalid
        When the task names a metric that is not known here, or does not suit its labels.

    Notes
    -----
    O(n_rows log n_rows) for areas under curves, one pass for the others.

    Examples
    --------
    >>> import numpy as np
    >>> from renewal.models.task import Binary
    >>> labels = np.array([0, 0, 1, 1], dtype=object)
    >>> positive = np.array([0.1, 0.4, 0.35, 0.8])
    >>> found = metrics(Binary(), np.column_stack([1 - positive, positive]), labels, (0, 1))
    >>> found["auc"], found["precision"], round(found["brier"], 4)
    (0.75, 1.0, 0.1581)
    """
    unknown = [name for name in task.metrics if not _is_known(name)]
    if unknown:
        raise Invalid(
            "metrics",
            needs=f"metrics among {', '.join(metric_names())}",
            came=f"{', '.join(unknown)} from the task {task.name!r}",
            todo="Correct the task's list of metrics.",
        )
    if len(labels) == 0:
        return dict.fromkeys(task.metrics, math.nan)
    forms = {name: _form(name) for name in task.metrics}
    for name, form in forms.items():
        _demand_suits(name, form.tasks, labels, classes)
    rows = coded(scores, labels, classes)
    return {name: form.value(rows) for name, form in forms.items()}


def _form(name: str) -> Form:
    if name in _FORMS:
        return _FORMS[name]
    quantile = _quantile(name)
    if quantile is not None:
        return metrics_values.pinball(quantile)
    near = get_close_matches(name, metric_names(), n=1)
    raise Invalid(
        "metric",
        needs=f"one of {', '.join(metric_names())}",
        came=repr(name),
        todo=f"Did you mean {near[0]!r}?" if near else "Check the name.",
    )


def _quantile(name: str) -> float | None:
    """Return the quantile in the name of a pinball loss; None for another name."""
    if name == _PINBALL:
        return 0.5
    head, _, tail = name.partition("_")
    try:
        return float(tail) if head == _PINBALL else None
    except ValueError:
        return None


def _is_known(name: str) -> bool:
    return name in _FORMS or _quantile(name) is not None


def _value(applied: _Applied, scores: Scores, labels: Labels, classes: Classes) -> float:
    return float(applied(scores, labels, classes)) if len(labels) else math.nan


@dataclass(frozen=True, slots=True)
class _Applied:
    """A function of coded rows as one of scores, labels and classes; can be pickled."""

    name: str
    tasks: tuple[str, ...]
    function: Callable[[Any], Any]

    def __call__(self, scores: Scores, labels: Labels, classes: Classes) -> Any:
        _demand_suits(self.name, self.tasks, labels, classes)
        return self.function(coded(scores, labels, classes))


def _demand_suits(name: str, tasks: tuple[str, ...], labels: Labels, classes: Classes) -> None:
    found = task_of(labels, classes)
    if found not in tasks and len(labels):
        raise Invalid(
            f"the metric {name!r}",
            needs=f"rows of the task {' or '.join(tasks)}",
            came=f"rows that look like {found}, of {len(classes)} classes",
            todo="Choose a metric that suits them.",
        )
