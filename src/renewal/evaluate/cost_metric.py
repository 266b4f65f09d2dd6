"""A metric in money: what each decision costs, by what was true and what was served."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.evaluate.metrics_record import Metric
from renewal.models.labels import Labels
from renewal.models.multilabel import is_label_sets
from renewal.models.task import Classes, Scores

_COSTS = "cost_metric"

COST = "cost"
"""The name under which claims and reports ask for it: the policy holds the table."""


def cost_metric(
    costs: Mapping[Any, Mapping[Any, float]] | Sequence[Sequence[float]] | NDArray[Any],
    *,
    classes: Classes,
    name: str = "cost",
) -> Metric:
    """Return the mean cost of a row, in the unit of a table of costs, as a metric.

    The decision is the label that is served: the most probable class, the first one of a
    tie. What a cheaper decision rule would cost is another model, to be served as one.

    Parameters
    ----------
    costs : mapping of mappings, or array of shape (n_classes, n_classes)
        ``costs[true][predicted]`` of every pair of classes, finite; gains are negative. An
        array has rows and columns in the order of `classes`; keys of a mapping are classes,
        or their texts as a configuration file has them.
    classes : tuple
        Every class that a label or a version can name; two or more.
    name : str, default "cost"
        Such as ``cost_eur``.

    Returns
    -------
    Metric
        Of kind ``row``, lower is better, bounded by the smallest and the largest cost. On a
        label that is not in the table its functions raise `Invalid`: nobody said what a
        mistake on it costs.

    Raises
    ------
    Invalid
        When a pair is missing, nobody knows a class in the table, or a cost is not finite.

    Examples
    --------
    A missed fraud costs 100, a blocked customer 5:

    >>> fraud = cost_metric({"ok": {"ok": 0, "fraud": 5}, "fraud": {"ok": 100, "fraud": 0}},
    ...     classes=("fraud", "ok"), name="cost_eur")
    >>> scores = np.array([[0.1, 0.9], [0.7, 0.3], [0.6, 0.4]])
    >>> labels = np.array(["fraud", "fraud", "ok"], dtype=object)
    >>> fraud.per_row(scores, labels, ("fraud", "ok")), fraud.bounds
    (array([100.,   0.,   5.]), (0.0, 100.0))
    """
    if len(classes) < 2:
        raise Invalid(
            _COSTS, needs="two classes or more", came=repr(classes), todo="Name them all."
        )
    table = _table(costs, classes)
    rows = _Costs(name, table, {label: at for at, label in enumerate(classes)})
    return Metric(
        name=name,
        higher_is_better=False,
        bounds=(float(table.min()), float(table.max())),
        kind="row",
        tasks=("binary", "multiclass"),
        value=partial(_mean_of, rows),
        per_row=rows,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Costs:
    """The cost of each row by a table."""

    name: str
    table: NDArray[np.float64]
    place: Mapping[Any, int]

    def __call__(self, scores: Scores, labels: Labels, classes: Classes) -> NDArray[np.float64]:
        order = sorted(range(len(classes)), key=lambda at: classes[at])
        served = np.array([self._at(classes[at]) for at in order], np.intp)
        if is_label_sets(labels):
            raise self._wrong("sets of labels", "Costs of single labels are what it takes.")
        distinct = {label: self._at(label) for label in set(labels.tolist())}
        true = np.fromiter((distinct[each] for each in labels.tolist()), np.intp, len(labels))
        return np.asarray(self.table[true, served[scores[:, order].argmax(axis=1)]])

    def _at(self, label: Any) -> int:
        if label not in self.place:
            raise self._wrong(repr(label), "Add its costs to the table.")
        return self.place[label]

    def _wrong(self, came: str, todo: str) -> Invalid:
        known = ", ".join(map(repr, self.place))
        return Invalid(
            f"the metric {self.name!r}",
            needs=f"classes whose costs are known: {known}",
            came=came,
            todo=todo,
        )


def _mean_of(costs: _Costs, scores: Scores, labels: Labels, classes: Classes) -> float:
    return float(np.mean(costs(scores, labels, classes))) if len(labels) else math.nan


def _table(costs: Any, classes: Classes) -> NDArray[np.float64]:
    """Return the costs as a finite matrix in the order of the classes."""
    if isinstance(costs, Mapping):
        rows = _in_order(costs, classes, "the table")
        costs = [
            _in_order(row, classes, f"the costs of true {label!r}")
            for row, label in zip(rows, classes, strict=True)
        ]
    try:
        table = np.array(costs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _bad_table(classes, str(error)) from error
    if table.shape != (len(classes), len(classes)):
        raise _bad_table(classes, f"shape {table.shape}")
    if not np.isfinite(table).all():
        raise _bad_table(classes, "a cost that is not finite")
    return table


def _in_order(costs: Any, classes: Classes, what: str) -> list[Any]:
    if not isinstance(costs, Mapping):
        raise _bad_table(classes, f"{costs!r} for {what}")
    # Texts stand for classes, since keys of a configuration file are texts.
    of: dict[Any, Any] = {str(label): label for label in classes}
    of.update({label: label for label in classes})
    strange = [key for key in costs if key not in of]
    found = {of[key]: cost for key, cost in costs.items() if key in of}
    missing = [label for label in classes if label not in found]
    if strange or missing:
        words = [f"without {label!r}" for label in missing] + [f"with {key!r}" for key in strange]
        raise _bad_table(classes, f"{what} {', '.join(words)}")
    return [found[label] for label in classes]


def _bad_table(classes: Classes, came: str) -> Invalid:
    return Invalid(
        _COSTS,
        needs=f"a finite cost for each true and predicted class of {', '.join(map(repr, classes))}",
        came=came,
        todo="Write costs[true][predicted] for every pair.",
    )
