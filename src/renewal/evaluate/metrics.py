"""Metrics of a version on labelled rows: what people read beside the loss.

They equal scikit-learn's bit for bit, without its import of more than a second: whoever asks
for the status of a home loads this file too. Where a metric is undefined it is NaN; it never
raises, never warns and never pretends to be 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores, Task

Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class _Coded:
    """Scores with columns in sorted order, labels and predictions as column numbers."""

    scores: Scores
    truth: Ints
    predicted: Ints

    def is_class(self, column: int) -> NDArray[np.bool_]:
        return np.asarray(self.truth == column)


def metrics(task: Task, scores: Scores, labels: Labels, classes: Classes) -> dict[str, float]:
    """Return every metric that a task names, by name.

    Parameters
    ----------
    task : Task
        ``binary``: auc, accuracy, precision, recall, f1 (of the class that sorts last),
        log_loss (not clipped beyond the float's resolution), brier. ``multiclass``: accuracy,
        macro_f1, macro_precision, macro_recall, ovr_auc, log_loss. ``regression``: mae, rmse,
        r2.
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
        When the task names a metric that is not known here.

    Notes
    -----
    O(n_rows log n_rows) for AUC, one pass for the others.

    Examples
    --------
    >>> from renewal.models.task import Binary
    >>> labels = np.array([0, 0, 1, 1], dtype=object)
    >>> positive = np.array([0.1, 0.4, 0.35, 0.8])
    >>> found = metrics(Binary(), np.column_stack([1 - positive, positive]), labels, (0, 1))
    >>> found["auc"], found["precision"], round(found["brier"], 4)
    (0.75, 1.0, 0.1581)
    """
    unknown = [name for name in task.metrics if name not in _KNOWN]
    if unknown:
        raise Invalid(
            "metrics",
            needs=f"metrics among {', '.join(sorted(_KNOWN))}",
            came=f"{', '.join(unknown)} from the task {task.name!r}",
            todo="Correct the task's list of metrics.",
        )
    if len(labels) == 0:
        return dict.fromkeys(task.metrics, math.nan)
    if not classes:
        values = labels.astype(np.float64)
        return {name: _OF_VALUES[name](scores[:, :1], values[:, None]) for name in task.metrics}
    coded = _coded(scores, labels, classes)
    return {name: float(_OF_CLASSES[name](coded)) for name in task.metrics}


def _coded(scores: Scores, labels: Labels, classes: Classes) -> _Coded:
    order = sorted(range(len(classes)), key=lambda column: classes[column])
    place = {classes[column]: at for at, column in enumerate(order)}
    found = labels.tolist()
    for label in sorted(set(found) - place.keys()):
        place[label] = len(place)
    ordered = scores[:, order]
    extra = len(place) - len(classes)
    if extra:
        ordered = np.hstack([ordered, np.zeros((len(scores), extra))])
    truth = np.fromiter((place[label] for label in found), np.intp, count=len(found))
    return _Coded(ordered, truth, ordered.argmax(axis=1))


def _auc(is_positive: NDArray[np.bool_], score: Scores) -> float:
    """Area under the ROC curve by the trapezoidal rule, ties as one threshold."""
    n_positive = int(is_positive.sum())
    if n_positive in (0, len(is_positive)):
        return math.nan
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(is_positive[order], dtype=np.float64)[ends]
    false = 1 + ends.astype(np.float64) - true
    if len(false) > 2:
        # Points on a straight line are dropped, as in scikit-learn, so that sums agree.
        corners = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.concatenate([[True], corners, [True]])
        false, true = false[kept], true[kept]
    true, false = np.append(0.0, true), np.append(0.0, false)
    return float(np.trapezoid(true / true[-1], false / false[-1]))


def _binary_auc(coded: _Coded) -> float:
    return _auc(coded.is_class(1), coded.scores[:, 1])


def _ovr_auc(coded: _Coded) -> float:
    columns = range(coded.scores.shape[1])
    return float(np.mean([_auc(coded.is_class(at), coded.scores[:, at]) for at in columns]))


def _accuracy(coded: _Coded) -> float:
    return float(np.mean(coded.truth == coded.predicted))


def _counts(coded: _Coded) -> tuple[Scores, Scores, Scores]:
    """Rows of each class that are hit, predicted, true; for classes that occur at all."""
    n_classes = coded.scores.shape[1]
    hit = np.bincount(coded.truth[coded.truth == coded.predicted], minlength=n_classes)
    predicted = np.bincount(coded.predicted, minlength=n_classes)
    true = np.bincount(coded.truth, minlength=n_classes)
    return hit.astype(np.float64), predicted.astype(np.float64), true.astype(np.float64)


def _ratio(over: Scores, under: Scores) -> Scores:
    undefined: Scores = np.full(len(over), math.nan)
    return np.asarray(np.divide(over, under, out=undefined, where=under != 0))


def _precisions(coded: _Coded) -> Scores:
    hit, predicted, _true = _counts(coded)
    return _ratio(hit, predicted)


def _recalls(coded: _Coded) -> Scores:
    hit, _predicted, true = _counts(coded)
    return _ratio(hit, true)


def _f1s(coded: _Coded) -> Scores:
    hit, predicted, true = _counts(coded)
    return _ratio(2.0 * hit, true + predicted)


def _macro(each: Callable[[_Coded], Scores]) -> Callable[[_Coded], float]:
    def mean(coded: _Coded) -> float:
        values = each(coded)
        defined = values[~np.isnan(values)]
        return float(np.mean(defined)) if len(defined) else math.nan

    return mean


def _of_positive(each: Callable[[_Coded], Scores]) -> Callable[[_Coded], float]:
    return lambda coded: float(each(coded)[1])


def _log_loss(coded: _Coded) -> float:
    eps = np.finfo(np.float64).eps
    chosen = coded.scores[np.arange(len(coded.truth)), coded.truth]
    return float(np.mean(-np.log(np.clip(chosen, eps, 1 - eps))))


def _brier(coded: _Coded) -> float:
    truth = np.eye(coded.scores.shape[1])[coded.truth]
    return float(np.mean(np.sum((truth - coded.scores) ** 2, axis=1))) * 0.5


def _mae(scores: Scores, values: Scores) -> float:
    return float(np.mean(np.abs(scores - values)))


def _rmse(scores: Scores, values: Scores) -> float:
    return math.sqrt(float(np.mean((values - scores) ** 2)))


def _r2(scores: Scores, values: Scores) -> float:
    total = float(np.sum((values - np.mean(values)) ** 2))
    return 1.0 - float(np.sum((values - scores) ** 2)) / total if total > 0.0 else math.nan


_OF_CLASSES: Mapping[str, Callable[[_Coded], float]] = {
    "auc": _binary_auc,
    "accuracy": _accuracy,
    "precision": _of_positive(_precisions),
    "recall": _of_positive(_recalls),
    "f1": _of_positive(_f1s),
    "macro_f1": _macro(_f1s),
    "macro_precision": _macro(_precisions),
    "macro_recall": _macro(_recalls),
    "ovr_auc": _ovr_auc,
    "log_loss": _log_loss,
    "brier": _brier,
}
_OF_VALUES: Mapping[str, Callable[[Scores, Scores], float]] = {
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
}
_KNOWN = frozenset(_OF_CLASSES) | frozenset(_OF_VALUES)
