"""Tasks: what a label is, what scores say, and what one wrong row costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.spec import Label
from renewal.models.labels import Labels, class_labels, sorted_classes, value_labels

Scores = NDArray[np.float64]
Classes = tuple[Label, ...]

SMALLEST_PROBABILITY = 1e-3
LARGEST_LOSS = -math.log(SMALLEST_PROBABILITY)


class Task(Protocol):
    """What a model is for. Stateless; scores are float64 of shape (n_rows, n_scores).

    Classification scores a probability for each class, in the order of the version's
    classes; regression scores one value.

    Attributes
    ----------
    name : str
        As registered under ``renewal.tasks``.
    loss_name : str
        Name of the loss by which updates are decided.
    loss_bound : float or None
        The largest loss of a row; None where there is none.
    metrics : tuple of str
        Names of what a report shows beside the loss.
    """

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def loss_name(self) -> str:
        """The name of the deciding loss."""
        ...

    @property
    def loss_bound(self) -> float | None:
        """The largest loss of a row, or None."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """What a report shows beside the loss."""
        ...

    def labels(self, values: Any, *, who: str) -> Labels:
        """Return labels in the task's form; raise `Invalid` on gaps and wrong types."""
        ...

    def classes(self, labels: Labels) -> Classes:
        """Return the sorted distinct classes; empty for a regression."""
        ...

    def loss(self, scores: Scores, labels: Labels, classes: Classes) -> Scores:
        """Return the loss of every row, float64 of shape (n_rows,)."""
        ...

    def outputs(self, scores: Scores, classes: Classes) -> Mapping[str, NDArray[Any]]:
        """Return what a caller reads: named arrays with one entry a row."""
        ...


class _Classification:
    """What two classes and many share."""

    loss_name: str = "log_loss"
    loss_bound: float | None = LARGEST_LOSS

    def labels(self, values: Any, *, who: str) -> Labels:
        """Return labels as an object array of plain bool, int or str.

        Parameters
        ----------
        values : array-like of shape (n_rows,)
            One label a row.
        who : str
            The verb that asks, for the message.

        Raises
        ------
        Invalid
            On a missing label, a fraction, or labels of two kinds.
        """
        return class_labels(values, who=who)

    def loss(self, scores: Scores, labels: Labels, classes: Classes) -> Scores:
        r"""Return the clipped log-loss of every row.

        :math:`-\ln \max(p, 0.001)`, where p is the score of the true class, so that no row
        costs more than 6.9 and one confident mistake cannot decide for a thousand rows.

        Parameters
        ----------
        scores : ndarray of shape (n_rows, n_classes)
            Probabilities; a NaN gives a NaN.
        labels : ndarray of object, shape (n_rows,)
            As `labels` returns them. A class that the model does not know costs the most.
        classes : tuple
            What the columns of `scores` mean.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            In nats, from 0 to 6.907...

        Examples
        --------
        >>> scores = np.array([[0.5, 0.5], [0.0, 1.0]])
        >>> Binary().loss(scores, np.array(["a", "a"], dtype=object), ("a", "b")).round(3)
        array([0.693, 6.908])
        """
        one_each(self.loss_name, scores, labels, n_scores=len(classes))
        place = {label: column for column, label in enumerate(classes)}
        columns = np.fromiter(
            (place.get(label, -1) for label in labels.tolist()), np.intp, count=len(labels)
        )
        known = columns >= 0
        chosen = scores[np.arange(len(labels)), np.where(known, columns, 0)]
        clipped = np.clip(chosen, SMALLEST_PROBABILITY, 1.0)
        return np.where(known, -np.log(clipped), LARGEST_LOSS)

    def outputs(self, scores: Scores, classes: Classes) -> dict[str, NDArray[Any]]:
        """Return the most probable label of each row and the probability of every class.

        The first class wins a tie, as in scikit-learn.

        Examples
        --------
        >>> Binary().outputs(np.array([[0.2, 0.8]]), ("in time", "late"))["label"]
        array(['late'], dtype='<U7')
        """
        return {"label": np.asarray(classes)[scores.argmax(axis=1)], "probability": scores}


class Binary(_Classification):
    """Two classes; the positive one sorts last: True, 1, or the later word.

    Examples
    --------
    >>> Binary().classes(Binary().labels([1, 0, 1], who="demo"))
    (0, 1)
    """

    name: str = "binary"
    metrics: tuple[str, ...] = (
        "auc",
        "accuracy",
        "precision",
        "recall",
        "f1",
        "log_loss",
        "brier",
    )

    def classes(self, labels: Labels) -> Classes:
        """Return the two classes, sorted.

        Raises
        ------
        Invalid
            When the labels hold one class, or more than two.
        """
        found = sorted_classes(labels)
        if len(found) != 2:
            shown = ", ".join(map(repr, found[:5])) + (", ..." if len(found) > 5 else "")
            raise Invalid(
                "the task 'binary'",
                needs="labels of exactly two classes",
                came=f"{len(found)}: {shown}" if found else "no label",
                todo="Use the task multiclass for more, or rows of both classes.",
            )
        return found


class Multiclass(_Classification):
    """Two or more classes, each row of exactly one of them.

    Examples
    --------
    >>> Multiclass().classes(Multiclass().labels(["b", "c", "a"], who="demo"))
    ('a', 'b', 'c')
    """

    name: str = "multiclass"
    metrics: tuple[str, ...] = (
        "accuracy",
        "macro_f1",
        "macro_precision",
        "macro_recall",
        "ovr_auc",
        "log_loss",
    )

    def classes(self, labels: Labels) -> Classes:
        """Return the classes, sorted.

        Raises
        ------
        Invalid
            When the labels hold fewer than two classes.
        """
        found = sorted_classes(labels)
        if len(found) < 2:
            raise Invalid(
                "the task 'multiclass'",
                needs="labels of at least two classes",
                came=f"only {found[0]!r}" if found else "no label",
                todo="Hand in rows of every class that the model is to tell apart.",
            )
        return found


class Regression:
    """One number a row, judged by its absolute error.

    Examples
    --------
    >>> Regression().loss(np.array([[3.0]]), np.array([1.0]), ())
    array([2.])
    """

    name: str = "regression"
    loss_name: str = "absolute_error"
    loss_bound: float | None = None
    metrics: tuple[str, ...] = ("mae", "rmse", "r2")

    def labels(self, values: Any, *, who: str) -> Labels:
        """Return labels as finite float64; raise `Invalid` on anything else."""
        return value_labels(values, who=who)

    def classes(self, labels: Labels) -> Classes:  # noqa: ARG002  # part of the contract
        """Return the empty tuple: numbers have no classes."""
        return ()

    def loss(
        self,
        scores: Scores,
        labels: Labels,
        classes: Classes,  # noqa: ARG002  # part of the contract
    ) -> Scores:
        """Return the absolute error of every row, in the unit of the target."""
        one_each(self.loss_name, scores, labels, n_scores=1)
        return np.abs(scores[:, 0] - labels.astype(np.float64))

    def outputs(
        self,
        scores: Scores,
        classes: Classes,  # noqa: ARG002  # part of the contract
    ) -> dict[str, NDArray[Any]]:
        """Return the value of each row."""
        return {"value": scores[:, 0]}


def one_each(name: str, scores: Scores, labels: Labels, *, n_scores: int) -> None:
    """Raise `Invalid` unless there are `n_scores` scores for each label.

    Broadcasting would make a loss over the wrong rows look like a loss.

    Parameters
    ----------
    name : str
        Of the loss, for the message.
    scores : ndarray
        To be of shape (n_rows, n_scores).
    labels : ndarray of shape (n_rows,)
        Of the same rows.
    n_scores : int
        Columns that are due.
    """
    if scores.shape != (len(labels), n_scores):
        raise Invalid(
            f"the loss {name!r}",
            needs=f"scores of shape ({len(labels)}, {n_scores}), a row for each label",
            came=f"shape {scores.shape}",
            todo="Score the rows whose labels are handed in, and give that version's classes.",
        )
