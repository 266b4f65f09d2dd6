"""A metric of the user's own: a function named by its import path."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.evaluate.metrics_record import Bounds, Metric
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores

_OWN = "own_metric"


def own_metric(
    path: str,
    scores: Scores,
    *,
    labels: Labels,
    classes: Classes,
    higher_is_better: bool,
    bounds: Bounds = (None, None),
) -> Metric:
    """Return a function of the user's as a metric, after calling it once on rows at hand.

    It is called as ``f(labels, scores, classes)``. One number makes a metric of kind
    ``set``; an array of one number a row makes one of kind ``row``, which needs far fewer
    rows to tell two versions apart.

    Parameters
    ----------
    path : str
        ``module:function``; the module is imported, and so runs.
    scores : float64 array, shape (n_rows, n_scores)
        Of a version; at least one row.
    labels : array, shape (n_rows,)
        As `Task.labels` returns them.
    classes : tuple
        What the columns of `scores` mean.
    higher_is_better : bool
        No function says that by itself.
    bounds : tuple of (float or None, float or None), default (None, None)
        Smallest and largest value, of a row where it is one number a row. Each later call
        is held to them: evidence that relies on bounds must not meet a value outside.

    Returns
    -------
    Metric
        Its functions raise `Invalid` on what the user's function must not return.

    Raises
    ------
    Invalid
        When there is no such function, it fails, or returns neither a number nor one number
        a row.

    Notes
    -----
    NaN from a function of all rows says undefined; from a row it is refused. With exactly
    one row at hand an array of one number is read as one number a row.

    Examples
    --------
    The module ``shop`` stands for a file of the user's:

    >>> import sys, types
    >>> sys.modules["shop"] = shop = types.ModuleType("shop")
    >>> shop.sureness = lambda labels, scores, classes: scores.max(axis=1)
    >>> rows = {"labels": np.array([0, 1], dtype=object), "classes": (0, 1)}
    >>> scores = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> found = own_metric("shop:sureness", scores, higher_is_better=True, **rows)
    >>> found.kind, found.per_row(scores, **rows)
    ('row', array([0.9, 0.8]))
    >>> del sys.modules["shop"]
    """
    function = _imported(path)
    own = _Own(path, function, bounds)
    if len(labels) == 0:
        raise Invalid(_OWN, needs="rows to try it on", came="none", todo="Hand in some rows.")
    first = own.result(scores, labels, classes)
    is_row = first.ndim == 1
    return Metric(
        name=path,
        higher_is_better=higher_is_better,
        bounds=bounds,
        kind="row" if is_row else "set",
        tasks=(),
        value=partial(_value_of, own),
        per_row=own.rows if is_row else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """A user's function, called at its border: whatever it does wrong becomes `Invalid`."""

    path: str
    function: Callable[[Labels, Scores, Classes], Any]
    bounds: Bounds

    def result(self, scores: Scores, labels: Labels, classes: Classes) -> NDArray[np.float64]:
        """Return a float64 array of no dimension, or of one number a row."""
        try:
            found = np.asarray(self.function(labels, scores, classes), dtype=np.float64)
        except Exception as error:  # the plug-in border: a user's code may raise anything
            raise self._wrong(f"{type(error).__name__}: {error}") from error
        if found.shape not in ((), (len(labels),)):
            raise self._wrong(f"an array of shape {found.shape} for {len(labels)} rows")
        if found.ndim and not np.isfinite(found).all():
            raise self._wrong(f"{int((~np.isfinite(found)).sum())} rows that are not finite")
        low, high = self.bounds
        if (low is not None and (found < low).any()) or (high is not None and (found > high).any()):
            span = f"{float(found.min())} to {float(found.max())}"
            raise self._wrong(f"{span}, outside the declared bounds {self.bounds}")
        return found

    def rows(self, scores: Scores, labels: Labels, classes: Classes) -> NDArray[np.float64]:
        found = self.result(scores, labels, classes)
        if found.ndim != 1:
            raise self._wrong("one number where it gave one a row before")
        return found

    def _wrong(self, came: str) -> Invalid:
        return Invalid(
            f"the metric {self.path!r}",
            needs="f(labels, scores, classes) that gives a number, or a finite number a row",
            came=came,
            todo="Correct the function, or its bounds.",
        )


def _value_of(own: _Own, scores: Scores, labels: Labels, classes: Classes) -> float:
    if len(labels) == 0:
        return math.nan
    return float(np.mean(own.result(scores, labels, classes)))


def _imported(path: str) -> Callable[[Labels, Scores, Classes], Any]:
    module, _, name = path.partition(":")
    if not module or not name:
        raise _no_function(repr(path))
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # the plug-in border: a user's module may raise anything
        raise _no_function(f"{path!r}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise _no_function(f"{path!r}: {module} has no function {name!r}")
    checked: Callable[[Labels, Scores, Classes], Any] = found
    return checked


def _no_function(came: str) -> Invalid:
    return Invalid(
        _OWN,
        needs="the import path of a function, module:function",
        came=came,
        todo="Check the name, and that the module can be imported from here.",
    )
