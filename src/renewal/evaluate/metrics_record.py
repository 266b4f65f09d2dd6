"""What a metric is to whoever decides by it: a value, and how its evidence is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores

Kind = Literal["row", "set", "rank"]
Bounds = tuple[float | None, float | None]
Value = Callable[[Scores, Labels, Classes], float]
Array = Callable[[Scores, Labels, Classes], NDArray[Any]]
Ranked = Callable[[Scores, Labels, Classes], tuple[NDArray[Any], Scores]]
OfCounts = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric by name, with the form in which two versions are compared by it.

    Every function takes ``(scores, labels, classes)``: float64 scores of shape
    (n_rows, n_scores), labels as `Task.labels` returns them, and what the columns mean.

    Parameters
    ----------
    name : str
        As `renewal.evaluate.metrics.metric` takes it.
    higher_is_better : bool
        Whether more of it is better; losses say False.
    bounds : tuple of (float or None, float or None)
        Smallest and largest value, and those of a row where `kind` is row; None: there is
        none.
    kind : {"row", "set", "rank"}
        ``row``: the mean of a number that each row has by itself, compared by paired means
        of blocks. ``set``: only rows together have it, compared by resampling blocks.
        ``rank``: an area under a ROC curve, compared by DeLong's method.
    tasks : tuple of str
        Built-in tasks that it is defined for; empty: nobody knows.
    value : function
        Of all rows, as float; NaN where undefined.
    per_row : function or None
        Kind ``row`` only: float64 of shape (n_rows,), whose mean is the value.
    counts : function or None
        Numbers of each row, shape (n_rows, k), whose sums over rows say all: sum them in
        64 bits, within each block first.
    of_counts : function or None
        The value from such sums, shape (..., k) to (...): a bootstrap over blocks is a
        product of matrices.
    ranked : function or None
        Kind ``rank`` only: which rows are positive, shape (n_rows,), and their scores.
    """

    name: str
    higher_is_better: bool
    bounds: Bounds
    kind: Kind
    tasks: tuple[str, ...]
    value: Value
    per_row: Array | None = None
    counts: Array | None = None
    of_counts: OfCounts | None = None
    ranked: Ranked | None = None
