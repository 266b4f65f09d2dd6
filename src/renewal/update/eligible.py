"""Which of the rows that may be fitted a strategy can use, and whether they are enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from renewal.core.clock import to_us
from renewal.core.errors import Invalid
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.task import Task
from renewal.update.contract import Parent

_SHOWN_CLASSES = 5
_SCORED_ROWS = 256


def labelled_rows(rows: Rows, *, who: str) -> Rows:
    """Return the rows with a label.

    Raises
    ------
    Invalid
        When there is none; the text says how many rows wait for theirs.
    """
    found = rows.labelled() if rows.label is not None else rows.take(np.zeros(len(rows), np.bool_))
    if len(found) == 0:
        raise Invalid(
            who,
            needs="labelled rows that may be fitted",
            came=f"0 labelled rows among {len(rows):,}",
            todo="Wait for labels, or send them; for timed data only those before the cut count.",
            n_rows=len(rows),
        )
    return found


def labels_of(rows: Rows, task: Task, *, who: str, min_rows: int) -> npt.NDArray[Any]:
    """Return the checked labels of rows that are enough to be fitted.

    Parameters
    ----------
    rows : Rows
        All with a label.
    task : Task
        Checks the labels and says which classes they hold.
    who : str
        The strategy, for the message.
    min_rows : int, rows
        Fewer are too few.

    Raises
    ------
    Invalid
        On fewer than `min_rows`, or labels of one class only; the text names the numbers.
    """
    if len(rows) < min_rows:
        raise Invalid(
            who,
            needs=f"at least {min_rows:,} labelled rows",
            came=f"{len(rows):,}",
            todo="Wait for more labels, or lower min_rows in the recipe.",
            n_rows=len(rows),
            min_rows=min_rows,
        )
    if rows.label is not None and rows.label.dtype == object:
        only = set(rows.label.tolist())
        if len(only) == 1:
            raise Invalid(
                who,
                needs="labels of at least two classes",
                came=f"{len(rows):,} rows, all labelled {only.pop()!r}",
                todo="Wait for labels of another class, or take a longer window.",
                n_rows=len(rows),
            )
    return task.labels(rows.label, who=who)


def never_trained(parent: Parent, rows: Rows) -> npt.NDArray[np.bool_]:
    """Return which rows the parent has certainly not trained on, by key and by group.

    Where nobody knows what it trained on, these are the rows that came after it was
    registered.

    Parameters
    ----------
    parent : Parent
        The version to start from.
    rows : Rows
        Any rows.

    Returns
    -------
    bool array of shape (n_rows,)
    """
    came_later = _came_later(parent, rows)
    return came_later if parent.keyset is None else came_later & ~parent.keyset.seen(rows)


def not_yet_fitted(parent: Parent, rows: Rows) -> npt.NDArray[np.bool_]:
    """Return which rows are new to the parent, by their key alone.

    Another row of a known group may well be learned; it is only no evidence. So may a row on
    which only a map of the parent's scores was fitted.

    Parameters
    ----------
    parent : Parent
        The version to start from.
    rows : Rows
        Any rows.

    Returns
    -------
    bool array of shape (n_rows,)
    """
    came_later = _came_later(parent, rows)
    if parent.keyset is None:
        return came_later
    fitted = np.isin(rows.key_hash, parent.keyset.keys)
    if parent.only_mapped is not None:
        fitted &= ~np.isin(rows.key_hash, parent.only_mapped.keys)
    return came_later & ~fitted


def apart_from(rows: Rows, validation: Rows | None) -> Rows:
    """Return the rows that are no validation rows, by key.

    Whoever chooses on some rows never fits them, whatever rows it is handed. Groups are kept
    apart by whoever splits: in timed data they may come again.

    Parameters
    ----------
    rows : Rows
        That may be fitted.
    validation : Rows or None
        On which is chosen; None: nothing is.
    """
    if validation is None or len(validation) == 0:
        return rows
    chosen_on = np.isin(rows.key_hash, validation.key_hash)
    return rows.take(~chosen_on) if chosen_on.any() else rows


def demand_columns(parent: Parent, rows: Rows, *, who: str) -> None:
    """Raise `Invalid` where rows lack an input of the parent.

    A fit on the others would succeed, and serve a model that no request fits.
    """
    names = [each.name for each in parent.version.manifest.signature.fields]
    missing = [name for name in names if name not in rows.features.column_names]
    if missing:
        raise Invalid(
            who,
            needs=f"the {len(names)} input columns of the champion",
            came=f"rows without {', '.join(map(repr, missing))}",
            todo="Send the missing columns, or train a model of other inputs.",
            missing=missing,
        )


def demand_finite(parent: Parent, estimator: Any, rows: Rows, *, who: str) -> None:
    """Raise `Invalid` where a fit has diverged: its scores of its own rows are not finite.

    Parameters
    ----------
    parent : Parent
        Its adapter predicts.
    estimator : object
        The candidate.
    rows : Rows
        Of its fit; some of them are scored.
    """
    some = np.unique(np.linspace(0, len(rows) - 1, _SCORED_ROWS).astype(np.int64))
    scores = parent.adapter.predict(estimator, rows.features.take(pa.array(some)))
    n_wrong = int((~np.isfinite(scores)).any(axis=1).sum())
    if n_wrong:
        raise Invalid(
            who,
            needs="a candidate with finite scores",
            came=f"none for {n_wrong} of {len(some)} rows of its own fit: it has diverged",
            todo="Scale the inputs, lower the learning rate, or take another strategy.",
            n_rows=len(some),
        )


def keys_with_ancestors(parent: Parent, used: Rows) -> KeySet:
    """Return the known training rows of a candidate in which the parent lives on."""
    fitted = KeySet.of(used)
    return fitted if parent.keyset is None else fitted.union(parent.keyset)


def until_us_with_ancestors(parent: Parent, used: Rows) -> int:
    """Return the newest event time that the parent or this fit has seen, microseconds."""
    newest_us = int(used.event_us.max())
    until = parent.version.manifest.trained_until
    return newest_us if until is None else max(newest_us, to_us(until))


def new_classes(parent: Parent, rows: Rows) -> dict[Any, int]:
    """Return the classes among the labels that the parent does not know, with their rows.

    Empty for regression.
    """
    known = set(parent.version.manifest.classes)
    if not known or rows.label is None:
        return {}
    counts: dict[Any, int] = {}
    for label in rows.label.tolist():
        if label not in known and label is not None:
            counts[label] = counts.get(label, 0) + 1
    return counts


def new_classes_sentence(counts: dict[Any, int], because: str) -> str:
    """Return why rows of unknown classes stand in the way, with their numbers.

    Examples
    --------
    >>> new_classes_sentence({"bird": 3}, "Scores of others are mapped")
    "3 rows carry a class that the champion does not know: 'bird'. Scores of others are mapped"
    """
    shown = ", ".join(repr(name) for name in sorted(counts, key=str)[:_SHOWN_CLASSES])
    more = len(counts) - _SHOWN_CLASSES
    tail = f" and {more} more" if more > 0 else ""
    n_rows = sum(counts.values())
    noun = "row carries" if n_rows == 1 else "rows carry"
    return f"{n_rows:,} {noun} a class that the champion does not know: {shown}{tail}. {because}"


def _came_later(parent: Parent, rows: Rows) -> npt.NDArray[np.bool_]:
    """Return which rows came after the last unknown training of the parent or its ancestors."""
    until_us = parent.unknown_until_us
    if until_us is None:
        if parent.keyset is not None:
            return np.ones(len(rows), np.bool_)
        until_us = to_us(parent.version.created_at)
    return np.asarray(rows.arrived_us > until_us, np.bool_)
