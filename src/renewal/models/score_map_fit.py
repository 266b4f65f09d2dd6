"""Fits of score maps: from a model's scores of rows and what was true to a few numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.labels import Labels
from renewal.models.multilabel import indicator, is_label_sets
from renewal.models.score_map import ScoreMap, Step
from renewal.models.score_map_curves import Isotonic, Sigmoid, Temperature, log_odds, logs_of
from renewal.models.score_map_weights import Shift
from renewal.models.task import Classes, Scores

_WHO = "fit_score_map"
_Hits = NDArray[np.bool_]
# A slope at the floor says: this order tells nothing, or the opposite. It is not turned.
_LEAST_SLOPE = 1e-3
_COLDEST, _HOTTEST = 0.01, 100.0
_ROUNDS = 100


def fit_score_map(method: str, scores: Scores, labels: Labels, classes: Classes) -> ScoreMap:
    """Return the map of one form that fits best to what was true.

    Parameters
    ----------
    method : str
        One of `CURVES` (classes), or ``shift`` (values).
    scores : float64 array, shape (n_rows, n_scores)
        Of rows that the model was not fitted on.
    labels : ndarray of shape (n_rows,)
        As `Task.labels` returns them; rows of a class that is not among `classes` count for
        none of them.
    classes : tuple
        What the columns mean; empty for a regression.

    Raises
    ------
    Invalid
        On no row, scores that are not finite, or a form that does not go with the labels.

    Notes
    -----
    Needs no library but numpy. 100,000 rows of two classes: 0.1 s.

    Examples
    --------
    A model that is too sure of itself, by a factor of 3 on the scale of log-odds:

    >>> rng = np.random.default_rng(0)
    >>> odds = rng.normal(size=5000)
    >>> late = np.where(rng.random(5000) < 1 / (1 + np.exp(-odds)), "late", "on time")
    >>> sure = 1 / (1 + np.exp(-3 * odds))
    >>> found = fit_score_map("temperature", np.column_stack([sure, 1 - sure]),
    ...     late.astype(object), ("late", "on time"))
    >>> round(found.steps[0].temperature, 1)
    2.9
    """
    if not len(scores) or not np.isfinite(scores).all():
        raise Invalid(
            _WHO,
            needs="finite scores of one row or more",
            came="none" if not len(scores) else "scores with gaps",
            todo="Score labelled rows with the model, and hand in those.",
        )
    if method == "shift" and not classes:
        residuals = labels.astype(np.float64) - scores[:, 0]
        return ScoreMap((Shift(float(np.median(residuals))),))
    several = is_label_sets(labels)
    if method not in CURVES or not classes or (several and method == "temperature"):
        raise Invalid(
            _WHO,
            needs=f"a form that fits the labels: {', '.join(CURVES)} for classes (no temperature "
            "for several labels a row), shift for values",
            came=repr(method),
            todo="Choose one of them.",
        )
    hits = indicator(labels, classes) if several else _hits(labels, classes)
    return ScoreMap((CURVES[method](scores, hits, not several),))


def fit_temperature(scores: Scores, hits: _Hits) -> Temperature:
    """Return the temperature of the smallest log-loss, between 0.01 and 100.

    Parameters
    ----------
    scores : float64 array, shape (n_rows, n_classes)
        Probabilities.
    hits : bool array, shape (n_rows, n_classes)
        Which class was true; rows of no class are passed over.

    Notes
    -----
    The loss is convex in 1/T: Newton's method within a bracket that always shrinks.
    """
    known = hits.any(axis=1)
    logs, hits = logs_of(scores[known]), hits[known]
    true = logs[hits]
    low, high = 1.0 / _HOTTEST, 1.0 / _COLDEST
    factor = 1.0
    for _ in range(_ROUNDS):
        raised = np.exp(factor * (logs - logs.max(axis=1, keepdims=True)))
        weights = raised / raised.sum(axis=1, keepdims=True)
        mean = (weights * logs).sum(axis=1)
        slope = float((mean - true).mean()) if len(true) else 0.0
        bend = float(((weights * logs**2).sum(axis=1) - mean**2).mean()) if len(true) else 0.0
        low, high = (factor, high) if slope < 0 else (low, factor)
        step = factor - slope / bend if bend > 0 else factor
        following = step if low < step < high else (low * high) ** 0.5
        if slope == 0 or abs(following - factor) <= 1e-12 * factor:
            break
        factor = following
    return Temperature(1.0 / factor)


def fit_sigmoid(scores: Scores, hits: _Hits, exclusive: bool = True) -> Sigmoid:  # noqa: FBT001, FBT002  # as the record's field
    """Return Platt's lines: one on the second of two classes, or one a class.

    Parameters
    ----------
    scores, hits : arrays of shape (n_rows, n_classes)
        As for `fit_temperature`.
    exclusive : bool, default True
        Whether a row has one class.

    References
    ----------
    .. [1] Platt (1999). Probabilistic outputs for support vector machines, section 2.2:
       targets are smoothed, so that a class of few rows does not make the map certain.
    """
    lines = [
        _line(log_odds(scores[:, at]), hits[:, at])
        for at in _columns(scores.shape[1], exclusive=exclusive)
    ]
    return Sigmoid(
        tuple(slope for slope, _ in lines), tuple(offset for _, offset in lines), exclusive
    )


def fit_isotonic(scores: Scores, hits: _Hits, exclusive: bool = True) -> Isotonic:  # noqa: FBT001, FBT002  # as the record's field
    """Return the curves that do not fall and have the smallest squared error.

    Parameters
    ----------
    scores, hits : arrays of shape (n_rows, n_classes)
        As for `fit_temperature`.
    exclusive : bool, default True
        Whether a row has one class.

    Notes
    -----
    Pools adjacent violators in one pass over the sorted rows.
    """
    curves = [
        _steps(scores[:, at], hits[:, at]) for at in _columns(scores.shape[1], exclusive=exclusive)
    ]
    return Isotonic(
        tuple(points for points, _ in curves), tuple(values for _, values in curves), exclusive
    )


def _temperature(scores: Scores, hits: _Hits, exclusive: bool) -> Temperature:  # noqa: ARG001, FBT001  # one signature for all forms
    return fit_temperature(scores, hits)


CURVES: dict[str, Callable[[Scores, _Hits, bool], Step]] = {
    "temperature": _temperature,
    "sigmoid": fit_sigmoid,
    "isotonic": fit_isotonic,
}
"""Forms of a calibration of classes, the simplest first."""


def _hits(labels: Labels, classes: Classes) -> _Hits:
    return np.column_stack([labels == each for each in classes]).astype(np.bool_)


def _columns(n_scores: int, *, exclusive: bool) -> range:
    """Return which columns get a curve of their own: of two exclusive ones the second."""
    return range(1, 2) if exclusive and n_scores == 2 else range(n_scores)


def _line(odds: NDArray[np.float64], hits: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset of the smallest log-loss to Platt's smoothed targets."""
    n_hits = int(hits.sum())
    rest = len(hits) - n_hits
    target = np.where(hits, (n_hits + 1.0) / (n_hits + 2.0), 1.0 / (rest + 2.0))
    start = np.array([0.0, np.log((n_hits + 1.0) / (rest + 1.0))])
    slope, offset = _newton(odds, target, start, free=np.array([True, True]))
    if slope < _LEAST_SLOPE:
        start = np.array([_LEAST_SLOPE, start[1]])
        slope, offset = _newton(odds, target, start, free=np.array([False, True]))
    return float(slope), float(offset)


def _newton(
    odds: NDArray[np.float64],
    target: NDArray[np.float64],
    at: NDArray[np.float64],
    *,
    free: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Minimize the convex loss of a line by Newton's method, halving steps that overshoot."""
    inputs = np.column_stack([odds, np.ones_like(odds)])[:, free]
    fixed = np.zeros_like(odds) if free.all() else at[0] * odds
    found, loss = at[free], np.inf
    for _ in range(_ROUNDS):
        line = fixed + inputs @ found
        chance = 1.0 / (1.0 + np.exp(-np.clip(line, -700.0, 700.0)))
        slope = inputs.T @ (chance - target)
        bend = (inputs * (chance * (1.0 - chance))[:, np.newaxis]).T @ inputs
        step = np.linalg.lstsq(bend, slope, rcond=None)[0]
        loss, before = _loss(line, target), loss
        size = 1.0
        while size > 1e-10 and _loss(fixed + inputs @ (found - size * step), target) > loss:
            size /= 2.0
        found = found - size * step
        if before - loss <= 1e-13 * abs(loss):
            break
    at = at.copy()
    at[free] = found
    return at


def _loss(line: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0.0, line) - target * line).sum())


def _steps(
    scores: NDArray[np.float64], hits: NDArray[np.bool_]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the points between which the isotonic curve is drawn, and its values there."""
    points, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=hits, minlength=len(points))
    blocks: list[tuple[float, float, int]] = []  # hits, rows, distinct scores
    for hit, count in zip(sums.tolist(), counts.tolist(), strict=True):
        block = (hit, float(count), 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            above = blocks.pop()
            block = (above[0] + block[0], above[1] + block[1], above[2] + block[2])
        blocks.append(block)
    ends = np.cumsum([size for _, _, size in blocks]) - 1
    starts = ends - np.array([size for _, _, size in blocks]) + 1
    values = np.array([hit / count for hit, count, _ in blocks])
    # A level stretch needs its two ends; a single score is both.
    keep = np.unique(np.concatenate([starts, ends]))
    level = values[np.searchsorted(ends, keep)]
    return tuple(points[keep].tolist()), tuple(level.tolist())
