"""Rows and labels as boosted trees take them: one matrix of numbers, classes as 0, 1, 2.

The codes of texts and of classes are kept with the model and never worked out anew: a second
batch in which a text or a class does not occur would move every code after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.spec import Label
from renewal.models.contract import Weights
from renewal.models.labels import Labels, class_labels, sorted_classes, value_labels
from renewal.models.task import Classes

Matrix = NDArray[np.float64]
Texts = tuple[tuple[str, ...] | None, ...]
"""For each column the texts that the fit has seen, sorted; None: a column of numbers."""


def texts_of(features: pa.Table) -> Texts:
    """Return the distinct texts of each column of texts, sorted.

    Examples
    --------
    >>> texts_of(pa.table({"n": [1.0, 2.0, 3.0], "s": ["b", None, "a"]}))
    (None, ('a', 'b'))
    """
    return tuple(
        tuple(sorted(pc.unique(_plain(each).drop_null()).to_pylist()))
        if _is_text(each.type)
        else None
        for each in features.columns
    )


def matrix_of(
    features: pa.Table, columns: tuple[str, ...] | None, texts: Texts, *, who: str
) -> Matrix:
    """Return rows as numbers; a null, and a text that the fit has not seen, is NaN.

    Parameters
    ----------
    features : pyarrow.Table
        Numbers, booleans and texts, in any order of columns where `columns` names them.
    columns : tuple of str or None
        The columns of the fit, in its order; None: as they lie.
    texts : tuple
        As `texts_of` returned them at the fit: a text becomes its place there.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    ndarray of float64, shape (n_rows, n_columns)
        Writable, of its own memory.

    Raises
    ------
    Invalid
        On a missing column, or texts where the fit had numbers, and the other way round.

    Examples
    --------
    >>> rows = pa.table({"s": ["b", "never seen", "a"], "n": [1, None, 3]})
    >>> matrix_of(rows, ("n", "s"), (None, ("a", "b")), who="demo")
    array([[ 1.,  1.],
           [nan, nan],
           [ 3.,  0.]])
    """
    chosen = _chosen(features, columns, len(texts), who)
    found = np.empty((features.num_rows, len(chosen)), dtype=np.float64)
    for place, (name, seen) in enumerate(zip(chosen, texts, strict=True)):
        column = features.column(name)
        if pa.types.is_null(column.type):
            found[:, place] = np.nan
            continue
        if (seen is None) == _is_text(column.type):
            raise Invalid(
                who,
                needs=f"column {name!r} of the kind of the fit: "
                f"{'a number' if seen is None else 'a text'}",
                came=f"type {column.type}",
                todo="Hand in the column as it was at the fit.",
                column=name,
            )
        found[:, place] = _numbers(column, name, who) if seen is None else _codes(column, seen)
    return found


def target_of(
    labels: Labels, classes: Classes | None, n_rows: int, *, is_classifier: bool, who: str
) -> tuple[NDArray[np.float64], Classes]:
    """Return labels as numbers, and the classes whose places they are; none for values.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        As `Task.labels` returns them.
    classes : tuple or None
        Those of the fit that goes on; None: the labels say which there are.
    n_rows : int
        Of the features.
    is_classifier : bool
        Whether labels are classes.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        Without rows, with fewer than two classes, or on a class that is not in `classes`.
    """
    if len(labels) != n_rows or not n_rows:
        raise Invalid(
            who,
            needs="at least one row, and a label for each",
            came=f"{n_rows} rows and {len(labels)} labels",
            todo="Hand in rows with their labels.",
        )
    if not is_classifier:
        return value_labels(labels, who=who), ()
    plain = class_labels(labels, who=who)
    known = sorted_classes(plain) if classes is None else classes
    if classes is None and len(known) < 2:
        raise Invalid(
            who,
            needs="rows of at least two classes",
            came=f"only {known[0]!r}",
            todo="Hand in rows of every class that the model is to tell apart.",
        )
    place: Mapping[Label, int] = {label: at for at, label in enumerate(known)}
    unknown = tuple(label for label in sorted_classes(plain) if label not in place)
    if unknown:
        raise Invalid(
            who,
            needs=f"labels of the classes that the model knows: {', '.join(map(repr, known))}",
            came=f"also {', '.join(map(repr, unknown))}",
            todo="Use the strategy retrain, which learns new classes.",
            classes=unknown,
        )
    return np.array([place[label] for label in plain.tolist()], dtype=np.float64), known


def checked_weights(weights: Weights | None, n_rows: int, *, who: str) -> Weights | None:
    """Return weights as float64; raise `Invalid` unless each row has one above zero."""
    if weights is None:
        return None
    found = np.asarray(weights, dtype=np.float64)
    if found.shape != (n_rows,) or not (np.isfinite(found).all() and (found > 0).all()):
        raise Invalid(
            who,
            needs=f"a finite weight above zero for each of {n_rows} rows",
            came=f"shape {found.shape}, from {found.min(initial=np.inf)} "
            f"to {found.max(initial=-np.inf)}",
            todo="Leave out rows that are not to count.",
        )
    return found


def _chosen(
    features: pa.Table, columns: tuple[str, ...] | None, n_columns: int, who: str
) -> list[str]:
    """Return the names of the columns to take, in the order of the fit."""
    names: list[str] = features.column_names
    if columns is None and len(names) == n_columns:
        return names
    if columns is not None and names != list(columns):
        # LightGBM writes a blank in a name as "_".
        spelled = {name.replace(" ", "_"): name for name in names} | {each: each for each in names}
        names = [spelled[name] for name in columns if name in spelled]
    wanted = columns or tuple(f"#{at}" for at in range(n_columns))
    if len(names) != len(wanted) or columns is None:
        raise Invalid(
            who,
            needs=f"the columns {', '.join(wanted)}",
            came=f"only {', '.join(features.column_names) or 'none'}",
            todo="Hand in every column of the signature.",
        )
    return names


def _plain(column: Any) -> Any:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _codes(column: Any, seen: tuple[str, ...]) -> Any:
    column = _plain(column)
    if not seen:
        return np.nan
    places = pc.index_in(column, value_set=pa.array(seen, column.type))
    return pc.cast(places, pa.float64()).to_numpy()


def _numbers(column: Any, name: str, who: str) -> Any:
    column = _plain(column)
    kind = column.type
    if pa.types.is_boolean(kind):
        column = pc.cast(column, pa.int8())
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise Invalid(
            who,
            needs="columns of numbers, booleans or texts",
            came=f"column {name!r} of type {kind}",
            todo="Turn it into a number or a text before the rows come here.",
            column=name,
        )
    return column.to_numpy()
