"""How far a compiled form of a version is from the native one, on given rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.contract import Runtime
from renewal.models.task import Scores

_TIE = 1e-5
# What rounding alone moves a probability by is under a tenth of it, in float32 as well.
MOVED = 1e-4


@dataclass(frozen=True, slots=True)
class Parity:
    """Two forms of one version, compared row by row.

    Parameters
    ----------
    n_rows : int
        Rows that both scored.
    n_labels_differ : int
        Rows whose largest score stands in another column, which is another label where a
        row has one; always 0 for a regression.
    n_ties_differ : int
        Of these, rows whose two best classes the native form holds less than 1e-5 apart: the
        last bit decides there, as where half of a forest votes for each of two classes.
    largest_difference : float
        Of any score: a probability from 0 to 1, or the unit of the target. Infinite where
        one form gives a NaN and the other does not; 0 without rows.
    n_moved : int, default 0
        Rows of which a score differs by more than `moved_by`: rounding does not do that, a
        branch that was taken in one form only does.
    """

    n_rows: int
    n_labels_differ: int
    n_ties_differ: int
    largest_difference: float
    n_moved: int = 0


def parity(
    native: Runtime, compiled: Runtime, features: pa.Table, *, moved_by: float = MOVED
) -> Parity:
    """Score the same rows with both forms and count where they disagree.

    Parameters
    ----------
    native, compiled : Runtime
        Two forms of one version, so that the columns of their scores mean the same.
    features : pyarrow.Table
        The columns of the signature; the more of a model's life they hold (gaps, unseen
        categories, extreme values), the more the answer is worth.
    moved_by : float > 0, default 1e-4
        From where on a score counts as another one; for a regression in its unit.

    Returns
    -------
    Parity
        Plain counts; what is close enough is for the caller to say.

    Raises
    ------
    Invalid
        When the forms give scores of different shapes, or one does not take the rows.

    Notes
    -----
    One scoring by each form. Trees jump at their thresholds, which a compiled form holds in
    float32: a small `largest_difference` on some rows promises nothing for rows that lie on
    a threshold, and a large one may come from a single such row.

    Examples
    --------
    >>> class Fixed:
    ...     def __init__(self, scores): self.scores = np.array(scores)
    ...     def predict(self, features): return self.scores
    ...     def close(self): pass
    >>> rows = pa.table({"a": [1.0, 2.0]})
    >>> one, other = Fixed([[0.2, 0.8], [0.6, 0.4]]), Fixed([[0.2, 0.8], [0.5, 0.5]])
    >>> parity(one, other, rows)
    Parity(n_rows=2, n_labels_differ=0, n_ties_differ=0,
           largest_difference=0.09999999999999998, n_moved=1)
    """
    return compared(native.predict(features), compiled.predict(features), moved_by=moved_by)


def compared(
    ours: Scores, theirs: Scores, *, moved_by: float | NDArray[np.float64] = MOVED
) -> Parity:
    """Count where the scores of two forms on the same rows disagree; see `parity`.

    Parameters
    ----------
    ours, theirs : float64 arrays, shape (n_rows, n_scores)
        Of the native and of the compiled form.
    moved_by : float > 0, or array of shape (n_rows,), default 1e-4
        As for `parity`; an array has a number for each row.

    Raises
    ------
    Invalid
        When the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise Invalid(
            "parity",
            needs="two forms of one version, with scores of one shape",
            came=f"{ours.shape} and {theirs.shape}",
            todo="Compare the forms of the same version.",
        )
    if not len(ours):
        return Parity(0, 0, 0, 0.0)
    gaps = np.abs(ours - theirs)
    gaps[np.isnan(ours) & np.isnan(theirs)] = 0.0
    # Equal infinities differ by nothing; a NaN beside a number by all there is.
    gaps[ours == theirs] = 0.0
    gaps[np.isnan(gaps)] = np.inf
    differs = ours.argmax(axis=1) != theirs.argmax(axis=1)
    n_ties = int(_is_tie(ours[differs]).sum())
    n_moved = int((gaps.max(axis=1) > moved_by).sum())
    return Parity(len(ours), int(differs.sum()), n_ties, float(gaps.max()), n_moved)


def _is_tie(scores: Scores) -> NDArray[np.bool_]:
    """Say of each row whether its two best scores are as good as equal."""
    if scores.shape[1] < 2:
        return np.zeros(len(scores), dtype=bool)
    best = np.sort(scores, axis=1)[:, -2:]
    tie: NDArray[np.bool_] = best[:, 1] - best[:, 0] < _TIE
    return tie
