"""Forms and material for suites of techniques, made of rows of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.plugin import load_plugin
from renewal.data.columns import hash_keys
from renewal.data.frame import signature_of
from renewal.data.rows import Rows
from renewal.models.labels import Labels
from renewal.models.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class FormCase:
    """A form that a technique may be asked to make smaller, with what it may learn from.

    Parameters
    ----------
    label : str
        For messages.
    form : Form
        The parent.
    material : Material
        Its training rows.
    features : pyarrow.Table
        Further rows, which are scored.
    trust : tuple of str, default ()
        Own classes that loading such a form needs leave for.
    """

    label: str
    form: Form
    material: Material
    features: pa.Table
    trust: tuple[str, ...] = ()

    def without_rows(self) -> Material:
        """Return the material with no training row left."""
        empty = self.material.train.take(np.array([], dtype=np.intp))
        return Material(self.material.task, empty, self.form, trust=self.trust)


Forms = Callable[[], tuple[FormCase, ...]]
"""Makes the forms that a technique is asked to make smaller."""


def rows_of(features: pa.Table, labels: Labels) -> Rows:
    """Return labelled rows without a time, each its own group."""
    keys = np.array([f"row {at}" for at in range(features.num_rows)], dtype=object)
    hashes = hash_keys(keys.tolist())
    at_once = np.zeros(len(keys), dtype=np.int64)
    return Rows(
        features=features,
        key=keys,
        key_hash=hashes,
        group_hash=hashes,
        sticky=None,
        event_us=at_once,
        arrived_us=at_once,
        label=labels,
        label_arrived_us=at_once,
        block=hashes.view(np.int64),
    )


def fitted_case(
    label: str,
    adapter: str,
    recipe: Any,
    features: pa.Table,
    labels: Labels,
    *,
    task: str = "binary",
    names: bool = True,
    trust: tuple[str, ...] = (),
) -> FormCase:
    """Return the case of a recipe that is fitted on the first two thirds of the rows.

    Parameters
    ----------
    label, adapter : str
        For messages, and the registered name of what runs it.
    recipe : object
        Unfitted.
    features : pyarrow.Table
        All rows.
    labels : ndarray of shape (n_rows,)
        As `Task.labels` returns them.
    task : str, default "binary"
        A registered task.
    names : bool, default True
        Whether it is fitted on named columns.
    trust : tuple of str, default ()
        Own classes that loading it needs leave for.
    """
    runs = load_plugin("adapters", adapter)()
    n_seen = features.num_rows * 2 // 3
    seen = features.slice(0, n_seen)
    fitted = runs.fit(recipe, seen, labels[:n_seen], names=names, seed=0)
    form = Form(adapter, fitted, signature_of(features), runs.classes(fitted))
    rules: Task = load_plugin("tasks", task)()
    material = Material(rules, rows_of(seen, labels[:n_seen]), form, trust=trust)
    return FormCase(label, form, material, features.slice(n_seen), trust)


def numbers(
    n_rows: int = 600, n_columns: int = 6, *, task: str = "binary", seed: int = 0
) -> tuple[pa.Table, Labels]:
    """Return rows of normal numbers whose label hangs on the first three columns, with noise.

    Parameters
    ----------
    n_rows, n_columns : int
        Of the table; its columns are called ``x0``, ``x1`` and so on.
    task : {"binary", "multiclass", "regression"}, default "binary"
        Labels ``no`` and ``yes``, ``a``, ``b`` and ``c``, or numbers.
    seed : int, default 0
        Of numbers and noise.

    Examples
    --------
    >>> features, labels = numbers(3)
    >>> features.shape, labels.tolist()
    ((3, 6), ['yes', 'no', 'yes'])
    """
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n_rows, n_columns))
    value = inputs[:, 0] - inputs[:, 1] + inputs[:, 2] * inputs[:, 0]
    value += 0.5 * rng.normal(size=n_rows)
    features = pa.table({f"x{at}": inputs[:, at] for at in range(n_columns)})
    if task == "regression":
        return features, value
    names = ["no", "yes"] if task == "binary" else ["a", "b", "c"]
    edges = [0.0] if task == "binary" else [-0.7, 0.7]
    labels: Labels = np.array([names[at] for at in np.searchsorted(edges, value)], dtype=object)
    return features, labels
