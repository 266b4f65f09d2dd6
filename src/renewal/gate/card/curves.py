"""What a card draws of single versions: ROC curves and what was said beside what happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.evaluate.calibration import Reliability, calibration_counts
from renewal.evaluate.metrics_coded import Coded, coded
from renewal.evaluate.report import Measured, Report
from renewal.models.task import Scores

Bools = NDArray[np.bool_]

# Points of a drawn curve; more are not seen, and each is some bytes of every card.
_MOST_POINTS = 101
_N_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The ROC curve of one version.

    Parameters
    ----------
    version_id : str
        Which.
    of : str
        What is told apart: ``class late`` for two classes, ``macro of 4 classes``, one against the
        rest each, for more.
    false_rate, true_rate : float64 arrays, shape (n_points,)
        From (0, 0) to (1, 1); at most 101 points.
    area : float
        Under the whole curve, before points were left out.
    """

    version_id: str
    of: str
    false_rate: Scores
    true_rate: Scores
    area: float


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What one version said, in bins, beside what happened.

    Parameters
    ----------
    version_id : str
        Which.
    reliability : Reliability
        Of probabilities: ten bins of equal width. Of values: ten bins of about equal size
        by what was predicted, whose means stand beside each other.
    """

    version_id: str
    reliability: Reliability


def roc(is_positive: Bools, scores: Scores) -> tuple[Scores, Scores]:
    """Return the false and true positive rates at every distinct score, from the largest down.

    Parameters
    ----------
    is_positive : bool array, shape (n,)
        At least one of each kind.
    scores : float64 array, shape (n,)
        Higher is more likely positive; equal scores are one threshold.

    Returns
    -------
    tuple of float64 arrays, shape (n_thresholds + 1,)
        Beginning with 0 and ending with 1.

    Examples
    --------
    >>> false, true = roc(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> false.tolist(), true.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.cumsum(is_positive[order], dtype=np.float64)[ends]
    false = ends + 1.0 - true
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def curves_of(report: Report) -> tuple[Curve, ...]:
    """Return a ROC curve for every version; none where rows are values or of one class.

    Of more than two classes, or of sets of labels, the curves of each class against the rest
    are averaged at equal false positive rates; a class without both kinds of rows has none
    and is left out, which the name of the curve tells.

    Parameters
    ----------
    report : Report
        Any task.

    Notes
    -----
    O(n_classes n_rows log n_rows) a version.
    """
    found = (_curve(each, report) for each in report.versions if each.scored.classes)
    return tuple(each for each in found if each is not None)


def said_of(report: Report) -> tuple[Said, ...]:
    """Return for every version what it said in bins beside what happened.

    Parameters
    ----------
    report : Report
        Any task; of more than two classes the probability is that of the most probable one
        and the event that it was right, of sets of labels every label's.

    Raises
    ------
    Invalid
        When what should be probabilities are none.
    """
    return tuple(Said(each.version_id, _reliability(each, report)) for each in report.versions)


def event_of(version: Measured, report: Report) -> tuple[Scores, Bools, NDArray[np.intp]]:
    """Return probabilities, whether each event happened, and the block of each.

    Parameters
    ----------
    version : Measured
        Of a classification.
    report : Report
        Its rows.

    Returns
    -------
    tuple of arrays, each of shape (n,)
        One for each row; of sets of labels one for each row and label.
    """
    rows = _coded(version, report)
    at = report.blocks.at
    if rows.is_sets:
        n_columns = rows.scores.shape[1]
        return rows.scores.ravel(), rows.is_true.ravel(), np.repeat(at, n_columns)
    if rows.scores.shape[1] == 2:
        return rows.scores[:, 1], rows.is_true[:, 1], at
    top = rows.scores.argmax(axis=1)
    lines = np.arange(len(top))
    return rows.scores[lines, top], rows.is_true[lines, top], at


def _coded(version: Measured, report: Report) -> Coded:
    rows = coded(version.scored.scores, report.labels, version.scored.classes)
    assert isinstance(rows, Coded)
    return rows


def _curve(version: Measured, report: Report) -> Curve | None:
    rows = _coded(version, report)
    n_columns = rows.scores.shape[1]
    columns = [1] if n_columns == 2 and not rows.is_sets else list(range(n_columns))
    drawn = [
        roc(rows.is_true[:, at], rows.scores[:, at])
        for at in columns
        if 0 < int(rows.is_true[:, at].sum()) < len(rows.is_true)
    ]
    if not drawn:
        return None
    areas = [float(np.trapezoid(true, false)) for false, true in drawn]
    grid, mean = _mean_curve(drawn)
    if columns == [1]:
        of = f"class {max(version.scored.classes)}"
    else:
        what = "labels" if rows.is_sets else "classes"
        of = f"macro of {len(drawn)} {what}"
        of += f" ({n_columns - len(drawn)} without rows of both kinds)" * (len(drawn) < n_columns)
    return Curve(version.version_id, of, grid, mean, float(np.mean(areas)))


def _mean_curve(drawn: list[tuple[Scores, Scores]]) -> tuple[Scores, Scores]:
    """Return the mean curve; one curve that is short enough stays as it is."""
    if len(drawn) == 1 and len(drawn[0][0]) <= _MOST_POINTS:
        return drawn[0]
    grid = np.linspace(0.0, 1.0, _MOST_POINTS - 1)
    heights = np.mean([_at(grid, false, true) for false, true in drawn], axis=0)
    # The step at a false positive rate of 0 is part of the curve.
    return np.append(0.0, grid), np.append(0.0, heights)


def _at(grid: Scores, false: Scores, true: Scores) -> Scores:
    """Return the curve's height at each rate, the upper end where it steps."""
    last = len(false) - 1 - np.unique(false[::-1], return_index=True)[1]
    return np.asarray(np.interp(grid, false[last], true[last]), np.float64)


def _reliability(version: Measured, report: Report) -> Reliability:
    if version.scored.classes:
        said, happened, _at_block = event_of(version, report)
        nowhere = np.zeros(len(said), np.intp)
        n, predicted, observed = calibration_counts(
            said, happened, block_at=nowhere, n_blocks=1, n_bins=_N_BINS
        )[0]
    else:
        said, truth = version.scored.scores[:, 0], report.labels.astype(np.float64)
        edges = np.unique(np.quantile(said, np.arange(1, _N_BINS) / _N_BINS))
        place = np.searchsorted(edges, said, side="right")
        n = np.bincount(place, minlength=len(edges) + 1).astype(np.float64)
        predicted = np.bincount(place, weights=said, minlength=len(n))
        observed = np.bincount(place, weights=truth, minlength=len(n))
    nothing = np.full(len(n), np.nan)
    return Reliability(
        n=n.astype(np.int64),
        predicted=np.divide(predicted, n, out=nothing.copy(), where=n > 0),
        observed=np.divide(observed, n, out=nothing.copy(), where=n > 0),
    )
