"""Rows that can tell two versions apart, before anybody knows their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.models.task import Classes, Scores, Task

Floats = NDArray[np.float64]

# Of a row whose scores differ where the loss does not, as among probabilities below the clip.
_LEAST_SIZE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What one version says of rows.

    Parameters
    ----------
    scores : float64 array, shape (n_rows, n_scores)
        Finite.
    classes : tuple
        What the columns mean; empty for a regression.
    """

    scores: Scores
    classes: Classes


@dataclass(frozen=True, slots=True, eq=False)
class Decisive:
    """How much each row can matter.

    Parameters
    ----------
    size : float64 array, shape (n_rows,)
        The difference to expect, root mean square over its labels; 0 where none makes any.
    expected : float or None
        The baseline's metric that the versions' own probabilities promise; None where scores
        are no probabilities.
    """

    size: Floats
    expected: float | None


def decisive(task: Task, metric: str, baseline: Said, candidate: Said) -> Decisive:
    """Return how much the label of each row could tell two versions apart.

    Accuracy: 1 where they predict different labels, else 0. Loss of one class a row: the root
    of the mean squared difference of the two losses, if labels fell as the mean of the two
    versions' probabilities says; chances proportional to it give the smallest error there
    is. Other losses: the distance of the scores, which bounds the difference of two absolute
    errors.

    Parameters
    ----------
    task : Task
        Its loss, or its predicted labels, decide.
    metric : {"accuracy", "loss"}
        What the versions are compared by.
    baseline, candidate : Said
        Of the same rows.

    Returns
    -------
    Decisive
        Sizes that are wrong cost labels, never truth: every estimate weights a label by one
        over its chance, and a row has size 0 only where nothing can differ.

    Notes
    -----
    O(n_rows * n_classes). On the census data of ``bench.gate.labels`` the error of 300 labels
    is 0.63 times that of random ones; chances by the largest difference that any label could
    make give 0.84.

    Examples
    --------
    >>> from renewal.models.task import Binary
    >>> old = Said(np.array([[0.9, 0.1], [0.6, 0.4]]), (0, 1))
    >>> new = Said(np.array([[0.9, 0.1], [0.4, 0.6]]), (0, 1))
    >>> decisive(Binary(), "accuracy", old, new).size.tolist()
    [0.0, 1.0]
    >>> decisive(Binary(), "loss", old, new).size.round(3).tolist()
    [0.0, 0.405]
    """
    if metric == "accuracy":
        before, after = (
            np.asarray(task.outputs(each.scores, each.classes)["label"], dtype=object)
            for each in (baseline, candidate)
        )
        differs = np.asarray(before != after, np.float64)
        return Decisive(differs, 1.0)
    if task.name in {"binary", "multiclass"}:
        return _of_classes(task, baseline, candidate)
    if baseline.classes != candidate.classes:
        # Columns mean different things: every row may differ, by how much nobody knows.
        return Decisive(np.ones(len(baseline.scores)), None)
    return Decisive(np.abs(baseline.scores - candidate.scores).sum(axis=1), None)


def _of_classes(task: Task, baseline: Said, candidate: Said) -> Decisive:
    known = list(dict.fromkeys((*baseline.classes, *candidate.classes)))
    n_rows = len(baseline.scores)
    square, apart, expected = np.zeros(n_rows), np.zeros(n_rows), 0.0
    for label in known:
        labels = np.full(n_rows, label, dtype=object)
        old, new = (task.loss(each.scores, labels, each.classes) for each in (baseline, candidate))
        p_old, p_new = _probability(baseline, label), _probability(candidate, label)
        chance = 0.5 * (p_old + p_new)
        square += chance * (old - new) ** 2
        apart = np.maximum(apart, np.abs(p_old - p_new))
        expected += float((chance * old).mean())
    return Decisive(np.maximum(np.sqrt(square), _LEAST_SIZE * apart), expected)


def _probability(said: Said, label: object) -> Floats:
    if label not in said.classes:
        return np.zeros(len(said.scores))
    found: Floats = said.scores[:, said.classes.index(label)]
    return found
