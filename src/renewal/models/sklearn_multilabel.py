"""Estimators of scikit-learn with one output a label: how they are fitted and read.

They learn from an indicator matrix, and forget what its columns mean: the names are kept on
the fitted estimator. What they answer comes in two forms, which become one here: a matrix
with a probability for each label (OneVsRestClassifier, MLPClassifier), or a list with the
two probabilities of each label (forests, neighbors, MultiOutputClassifier).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.labels import Labels, dense
from renewal.models.multilabel import indicator, is_label_sets, label_set, names_in
from renewal.models.sklearn_parts import steps_of

# Set on a fitted estimator of several outputs: the names of their labels, in their order.
LABELS_MARK = "renewal_label_names"


def label_names(estimator: Any) -> tuple[str, ...]:
    """Return the names of the labels that a fitted estimator gives; empty for any other."""
    return tuple(getattr(estimator, LABELS_MARK, ()))


def with_label_names(estimator: Any, names: Sequence[str]) -> Any:
    """Return a copy of an estimator that was fitted elsewhere, with the names of its labels.

    Parameters
    ----------
    estimator : object
        Fitted on an indicator matrix; not changed.
    names : sequence of str
        What the columns of that matrix meant, in their order: ``classes_`` of a
        MultiLabelBinarizer.

    Returns
    -------
    object
        A shallow copy, ready to be registered.

    Raises
    ------
    Invalid
        On a name that is empty or holds ``|``, fewer than two, or one that comes twice.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> fitted = DummyClassifier().fit([[0.0], [1.0]], [[0, 1], [1, 1]])
    >>> label_names(with_label_names(fitted, ["news", "sport"]))
    ('news', 'sport')
    """
    who = "with_label_names"
    plain = [str(name) for name in names]
    if len(label_set(plain, who=who).names) != len(plain) or len(plain) < 2:
        raise Invalid(
            who,
            needs="a name for each of two or more labels, no name twice",
            came=repr(plain),
            todo="Hand in classes_ of the MultiLabelBinarizer that made the indicator.",
        )
    named = copy.copy(estimator)
    setattr(named, LABELS_MARK, plain)
    return named


def target_of(labels: Labels, *, who: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return labels as scikit-learn's ``fit`` takes them, and the names of their columns.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        As a `Task.labels` returns them.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    target : ndarray
        An int64 indicator of shape (n_rows, n_labels) for sets of labels; otherwise the
        labels in their narrow type.
    names : tuple of str
        Empty for anything but sets of labels.

    Raises
    ------
    Invalid
        On sets in which fewer than two labels occur.
    """
    if not is_label_sets(labels):
        return dense(labels), ()
    names = names_in(labels)
    if len(names) < 2:
        raise Invalid(
            who,
            needs="rows in which at least two labels occur",
            came=f"only {names[0]!r}" if names else "none",
            todo="Wait for labels of another name, or take a longer window.",
        )
    return indicator(labels, names).astype(np.int64), names


def of_each_label(found: Any, estimator: Any) -> NDArray[Any]:
    """Return what ``predict_proba`` gave as one probability for each label.

    Parameters
    ----------
    found : ndarray of shape (n_rows, n_labels), or list of arrays (n_rows, n_values)
        A list has the probabilities of each output's values, 0 and 1, of which one may have
        been missing when it was fitted.
    estimator : object
        It says which values.

    Returns
    -------
    ndarray of shape (n_rows, n_labels)
    """
    if not isinstance(found, list):
        return np.asarray(found)
    columns = []
    for each, values in zip(found, estimator.classes_, strict=True):
        is_one = np.flatnonzero(np.asarray(values) == 1)
        columns.append(each[:, is_one[0]] if len(is_one) else np.zeros(len(each)))
    return np.column_stack(columns)


def demand_names(estimator: Any, *, who: str) -> None:
    """Raise `Invalid` on an estimator of several outputs that says nothing of their names."""
    _, learner = steps_of(estimator)
    kind = getattr(getattr(learner, "_label_binarizer", None), "y_type_", "")
    if (
        isinstance(getattr(learner, "classes_", None), list)
        or getattr(learner, "multilabel_", False) is True
        or kind.startswith("multilabel")
    ):
        raise Invalid(
            who,
            needs="the names of the labels of an estimator that was fitted on an indicator",
            came=f"{type(learner).__name__}, which keeps none",
            todo="Hand in with_label_names(estimator, names), of "
            "renewal.models.sklearn_multilabel.",
        )
