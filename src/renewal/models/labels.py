"""Labels in one form: whole, of one kind, as plain Python values or as float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.spec import Label

Labels = NDArray[Any]
_PLAIN = {bool, int, str}
_WORDS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "string"}


def class_labels(values: Any, *, who: str) -> Labels:
    """Return class labels as an object array of plain ``bool``, ``int`` or ``str``.

    Whole floats become ints, because a column of 0 and 1 with one gap is stored as floats
    by pandas, and 1.0 and 1 must be one class.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        A list, an array, a pandas or Arrow column.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    ndarray of object, shape (n_rows,)
        All of one kind.

    Raises
    ------
    Invalid
        On a missing label, a fraction, another type, or two kinds in one column.

    Examples
    --------
    >>> class_labels(np.array([0.0, 1.0]), who="demo")
    array([0, 1], dtype=object)
    """
    plain = _plain(values, who)
    kinds = set(map(type, plain))
    if float in kinds:
        plain = [_whole(label, who) if type(label) is float else label for label in plain]
        kinds = set(map(type, plain))
    strange = kinds - _PLAIN
    if strange or len(kinds) > 1:
        raise Invalid(
            who,
            needs="class labels of one kind: bool, int or string",
            came=" and ".join(sorted(_WORDS.get(kind, kind.__name__) for kind in kinds)),
            todo="Convert the label column to one kind.",
        )
    labels = np.empty(len(plain), dtype=object)
    labels[:] = plain
    return labels


def value_labels(values: Any, *, who: str) -> Labels:
    """Return the labels of a regression as finite float64.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Numbers; booleans and texts are refused, since they are classes.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        On a missing or infinite label, or one that is no number.

    Examples
    --------
    >>> value_labels([1, 2.5], who="demo")
    array([1. , 2.5])
    """
    plain = _plain(values, who)
    strange = {type(label) for label in plain} - {int, float}
    if strange:
        raise Invalid(
            who,
            needs="numbers as labels",
            came=", ".join(sorted(_WORDS.get(kind, kind.__name__) for kind in strange)),
            todo="Choose the task binary or multiclass, or a numeric target.",
        )
    labels = np.array(plain, dtype=np.float64)
    if not np.isfinite(labels).all():
        raise Invalid(
            who,
            needs="finite labels",
            came=f"{int((~np.isfinite(labels)).sum())} infinite of {len(labels)}",
            todo="Remove or correct these rows.",
        )
    return labels


def dense(labels: Labels) -> Labels:
    """Return labels in the narrow type that numerical libraries expect.

    Examples
    --------
    >>> dense(np.array(["b", "a"], dtype=object))
    array(['b', 'a'], dtype='<U1')
    """
    return np.array(labels.tolist()) if labels.dtype == object else labels


def sorted_classes(labels: Labels) -> tuple[Label, ...]:
    """Return the distinct labels in the order in which scikit-learn sorts them.

    Examples
    --------
    >>> sorted_classes(np.array([True, False, True], dtype=object))
    (False, True)
    """
    return tuple(sorted(set(labels.tolist())))


def _plain(values: Any, who: str) -> list[Any]:
    """Return the values as plain Python objects; refuse gaps and anything but one column."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise Invalid(
            who,
            needs="one label a row",
            came=f"an array of shape {array.shape}",
            todo="Hand in a single column of labels.",
        )
    plain: list[Any] = array.tolist()
    if set(map(type, plain)) <= _PLAIN:  # as they come from the feed, at every look at them
        return plain
    if array.dtype == object:
        plain = [each.item() if isinstance(each, np.generic) else each for each in plain]
    n_missing = sum(1 for label in plain if _is_missing(label))
    if n_missing:
        raise Invalid(
            who,
            needs="a label in every row",
            came=f"{n_missing} missing (null or NaN) of {len(plain)}",
            todo="Leave out the rows whose label has not come yet.",
            n_missing=n_missing,
        )
    return plain


def _is_missing(label: Any) -> bool:
    # pandas.NA equals nothing, not even itself, and says neither yes nor no to it.
    return (
        label is None
        or (isinstance(label, float) and math.isnan(label))
        or type(label).__name__ in {"NAType", "NaTType"}
    )


def _whole(label: float, who: str) -> int:
    if not label.is_integer():
        raise Invalid(
            who,
            needs="class labels of kind bool, int or string",
            came=f"the number {label!r}",
            todo="Choose the task regression, or a target that names classes.",
        )
    return int(label)
