"""The task `multilabel`: rows that carry any number of labels, each with its own probability.

A label column holds texts: the names of a row's labels, sorted and joined by ``|``; the empty
text where it has none. In a program such a text is a `LabelSet`, a string of its own type, so
that an adapter and a metric can tell it from the name of a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.labels import Labels, class_labels
from renewal.models.task import (
    LARGEST_LOSS,
    SMALLEST_PROBABILITY,
    Classes,
    Scores,
    one_each,
)

SEPARATOR = "|"
THRESHOLD = 0.5


class LabelSet(str):
    """The labels of one row as one text, such as ``"news|sport"``; ``""`` where it has none.

    It equals the plain text, so that it can be stored, counted and compared as one. Made by
    `label_set`; the constructor checks nothing.

    Examples
    --------
    >>> LabelSet("news|sport").names, LabelSet("").names
    (('news', 'sport'), ())
    """

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it, sorted; empty where the row has no label."""
        return tuple(self.split(SEPARATOR)) if self else ()


def label_set(names: Iterable[str], *, who: str = "label_set") -> LabelSet:
    """Return names of labels as one text: trimmed, each once, sorted, joined by ``|``.

    Parameters
    ----------
    names : iterable of str
        In any order; none for a row without a label.
    who : str, default "label_set"
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        On a name that is empty, holds the separator, or is no text.

    Examples
    --------
    >>> label_set(["sport", "news", "sport"])
    'news|sport'
    """
    if isinstance(names, str):
        names = (names,)
    plain: tuple[Any, ...] = tuple(names)
    for name in plain:
        if not isinstance(name, str) or not name.strip() or SEPARATOR in name:
            raise Invalid(
                who,
                needs=f"names of labels: texts that are not empty and hold no {SEPARATOR!r}",
                came=repr(name),
                todo=f"Write the labels of a row as name{SEPARATOR}name, and '' for no label.",
            )
    return LabelSet(SEPARATOR.join(sorted({name.strip() for name in plain})))


def is_label_sets(labels: Labels) -> bool:
    """Say whether labels are those of this task: an object array of `LabelSet`."""
    return labels.dtype == object and len(labels) > 0 and isinstance(labels[0], LabelSet)


def names_in(labels: Labels) -> tuple[str, ...]:
    """Return the distinct names in an array of `LabelSet`, sorted."""
    return tuple(sorted({name for each in set(labels.tolist()) for name in each.names}))


def indicator(labels: Labels, names: Sequence[Any]) -> NDArray[np.bool_]:
    """Return which row carries which label.

    Parameters
    ----------
    labels : ndarray of `LabelSet`, shape (n_rows,)
        As `Multilabel.labels` returns them.
    names : sequence of str
        What the columns are to mean; other labels are left out.

    Returns
    -------
    bool array of shape (n_rows, n_names)

    Notes
    -----
    O(n_rows + n_sets * n_names): each distinct set is read once.

    Examples
    --------
    >>> sets = Multilabel().labels(["a|c", "", "b"], who="demo")
    >>> indicator(sets, ("a", "b")).astype(int).tolist()
    [[1, 0], [0, 0], [0, 1]]
    """
    place: dict[LabelSet, int] = {}
    codes = np.fromiter(
        (place.setdefault(each, len(place)) for each in labels.tolist()),
        np.intp,
        count=len(labels),
    )
    table = np.zeros((len(place), len(names)), np.bool_)
    for each, row in place.items():
        held = set(each.names)
        table[row] = [name in held for name in names]
    return table[codes]


def sets_of(is_on: NDArray[Any], names: Sequence[str]) -> NDArray[np.str_]:
    """Return the label column that an indicator matrix stands for: `indicator` backwards.

    Parameters
    ----------
    is_on : array of bool or of 0 and 1, shape (n_rows, n_names)
        Such as a MultiLabelBinarizer makes.
    names : sequence of str
        What the columns mean, in any order.

    Returns
    -------
    array of str, shape (n_rows,)

    Examples
    --------
    >>> sets_of(np.array([[1, 1], [0, 0]]), ("sport", "news")).tolist()
    ['news|sport', '']
    """
    order = sorted(range(len(names)), key=lambda at: names[at])
    ordered = [names[at] for at in order]
    rows = np.asarray(is_on)[:, order].tolist()
    texts = [SEPARATOR.join(compress(ordered, row)) for row in rows]
    return np.array(texts, dtype=np.str_)


class Multilabel:
    """Any number of labels a row; a score is the probability of one label, apart from others.

    A label is given to a row where its probability exceeds 0.5.

    Examples
    --------
    >>> task = Multilabel()
    >>> labels = task.labels(["sport|news", "", "news"], who="demo")
    >>> labels.tolist(), task.classes(labels)
    (['news|sport', '', 'news'], ('news', 'sport'))
    """

    name: str = "multilabel"
    loss_name: str = "log_loss"
    loss_bound: float | None = LARGEST_LOSS
    metrics: tuple[str, ...] = (
        "subset_accuracy",
        "hamming_loss",
        "micro_precision",
        "micro_recall",
        "micro_f1",
        "macro_precision",
        "macro_recall",
        "macro_f1",
        "macro_auc",
        "macro_average_precision",
        "log_loss",
    )

    def labels(self, values: Any, *, who: str) -> Labels:
        """Return label texts as an object array of `LabelSet`.

        Parameters
        ----------
        values : array-like of str, shape (n_rows,)
            Names joined by ``|`` in any order; ``""`` for a row without a label.
        who : str
            The verb that asks, for the message.

        Raises
        ------
        Invalid
            On a missing label, one that is no text, or an empty name as in ``"a||b"``.
        """
        plain = class_labels(values, who=who)
        if len(plain) and not isinstance(plain[0], str):
            raise Invalid(
                who,
                needs=f"the labels of a row as one text, such as 'news{SEPARATOR}sport'",
                came=f"{type(plain[0]).__name__} {plain[0]!r}",
                todo="Join the names, as renewal.models.multilabel.label_set does.",
            )
        read = {
            text: label_set(text.split(SEPARATOR) if text.strip() else (), who=who)
            for text in set(plain.tolist())
        }
        labels = np.empty(len(plain), dtype=object)
        labels[:] = [read[text] for text in plain.tolist()]
        return labels

    def classes(self, labels: Labels) -> Classes:
        """Return the names of all labels, sorted.

        Raises
        ------
        Invalid
            When there are fewer than two.
        """
        found = names_in(labels)
        if len(found) < 2:
            raise Invalid(
                "the task 'multilabel'",
                needs="at least two labels that a row can carry",
                came=f"only {found[0]!r}" if found else "none",
                todo="Use the task binary for one label: does a row carry it or not.",
            )
        return found

    def loss(self, scores: Scores, labels: Labels, classes: Classes) -> Scores:
        r"""Return the log-loss of every row, the mean of its labels' clipped binary ones.

        .. math:: \frac1L \sum_{l} -\ln \max(q_l, 0.001)

        with :math:`q_l` the score of label l where the row carries it, and one minus that
        score where it does not. No row costs more than 6.9.

        Parameters
        ----------
        scores : ndarray of shape (n_rows, n_labels)
            Probability of each label; a NaN gives a NaN.
        labels : ndarray of `LabelSet`, shape (n_rows,)
            As `labels` returns them. A label that the model does not know counts as one to
            which it gives probability 0: it costs the most where a row carries it, nothing
            elsewhere, and belongs to the L labels of all rows that are handed in.
        classes : tuple of str
            What the columns of `scores` mean.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            In nats, from 0 to 6.907...

        Examples
        --------
        >>> task = Multilabel()
        >>> labels = task.labels(["a|b", ""], who="demo")
        >>> task.loss(np.array([[0.5, 0.5], [0.0, 1.0]]), labels, ("a", "b")).round(3)
        array([0.693, 3.454])
        """
        one_each(self.loss_name, scores, labels, n_scores=len(classes))
        carried = indicator(labels, classes)
        chosen = np.where(carried, scores, 1.0 - scores)
        total = -np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0)).sum(axis=1)
        unknown = [name for name in names_in(labels) if name not in classes]
        if unknown:
            total += LARGEST_LOSS * indicator(labels, unknown).sum(axis=1)
        return np.asarray(total / max(len(classes) + len(unknown), 1))

    def outputs(self, scores: Scores, classes: Classes) -> dict[str, NDArray[Any]]:
        """Return the label text of each row and the probability of every label.

        A probability of exactly 0.5 gives no label, as in scikit-learn.

        Examples
        --------
        >>> scores = np.array([[0.7, 0.9], [0.5, 0.1]])
        >>> Multilabel().outputs(scores, ("news", "sport"))["label"].tolist()
        ['news|sport', '']
        """
        names = [str(name) for name in classes]
        return {"label": sets_of(scores > THRESHOLD, names), "probability": scores}
