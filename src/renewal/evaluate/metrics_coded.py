"""Scores and labels in the one form on which every metric is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.evaluate.metrics_record import Bounds, Kind, OfCounts
from renewal.models.labels import Labels
from renewal.models.multilabel import THRESHOLD, indicator, is_label_sets, names_in
from renewal.models.task import Classes, Scores

CLASSES = ("binary", "multiclass", "multilabel")
VALUES = ("regression",)


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Rows of one version, a column for each class or label, sorted by name.

    Parameters
    ----------
    scores : float64 array, shape (n_rows, n_columns)
        0 for a class that the version does not know.
    is_true, is_predicted : bool array, shape (n_rows, n_columns)
        What the labels say, and what was served: the most probable class, the first one of a
        tie; of sets each label above 0.5.
    n_known : int
        Classes that the version knows.
    is_sets : bool
        Whether a row can be true of several columns.
    """

    scores: Scores
    is_true: NDArray[np.bool_]
    is_predicted: NDArray[np.bool_]
    n_known: int
    is_sets: bool


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Rows of a regression, both as columns, shape (n_rows, 1).

    Parameters
    ----------
    scores : float64 array
        What the version said.
    truth : float64 array
        What it was.
    """

    scores: Scores
    truth: Scores


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How a metric is computed on coded rows; the fields are those of `Metric`."""

    higher_is_better: bool
    bounds: Bounds
    kind: Kind
    tasks: tuple[str, ...]
    value: Callable[[Any], float]
    per_row: Callable[[Any], Scores] | None = None
    counts: Callable[[Any], NDArray[Any]] | None = None
    of_counts: OfCounts | None = None
    ranked: Callable[[Any], tuple[NDArray[Any], Scores]] | None = None


def task_of(labels: Labels, classes: Classes) -> str:
    """Return which of the built-in tasks labels and classes look like.

    Examples
    --------
    >>> task_of(np.array([1.5]), ()), task_of(np.array([0, 1], dtype=object), (0, 1))
    ('regression', 'binary')
    """
    if not classes:
        return "regression"
    if is_label_sets(labels):
        return "multilabel"
    return "binary" if len(classes) == 2 else "multiclass"


def coded(scores: Scores, labels: Labels, classes: Classes) -> Coded | Values:
    """Return scores and labels in the form on which metrics are computed.

    Parameters
    ----------
    scores : float64 array, shape (n_rows, n_scores)
        Of one version; finite.
    labels : array, shape (n_rows,)
        As `Task.labels` returns them. Of a class that the version does not know a column of
        zeros is made.
    classes : tuple
        What the columns mean, in any order; empty for a regression.

    Returns
    -------
    Coded or Values

    Notes
    -----
    One pass over the labels and one sort of nothing but the names: 0.2 s for a million rows
    of two classes. Whoever wants several metrics should code once.
    """
    if not classes:
        truth = np.asarray(labels, dtype=np.float64)[:, None]
        return Values(np.asarray(scores[:, :1], dtype=np.float64), truth)
    order = sorted(range(len(classes)), key=lambda column: classes[column])
    names: list[Any] = [classes[column] for column in order]
    ordered = np.asarray(scores[:, order], dtype=np.float64)
    if is_label_sets(labels):
        known = set(names)
        names += [name for name in names_in(labels) if name not in known]
        ordered = _padded(ordered, len(names))
        is_true = indicator(labels, names)
        return Coded(ordered, is_true, ordered > THRESHOLD, len(classes), is_sets=True)
    place, n_columns = _columns(labels, names)
    ordered = _padded(ordered, n_columns)
    return Coded(
        ordered,
        _one_hot(place, n_columns),
        _one_hot(ordered.argmax(axis=1), n_columns),
        len(classes),
        is_sets=False,
    )


def _columns(labels: Labels, names: Sequence[Any]) -> tuple[NDArray[np.intp], int]:
    """Return the column of each label; labels that nobody knows get columns behind."""
    place = {name: column for column, name in enumerate(names)}
    found = labels.tolist()
    for label in sorted(set(found) - place.keys()):
        place[label] = len(place)
    columns = np.fromiter((place[label] for label in found), np.intp, count=len(found))
    return columns, len(place)


def _padded(scores: Scores, n_columns: int) -> Scores:
    extra = n_columns - scores.shape[1]
    return np.hstack([scores, np.zeros((len(scores), extra))]) if extra else scores


def _one_hot(columns: NDArray[np.intp], n_columns: int) -> NDArray[np.bool_]:
    return np.asarray(columns[:, None] == np.arange(n_columns))
