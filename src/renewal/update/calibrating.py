"""Which form of calibration is worth its numbers, chosen on rows that the fit did not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.models.labels import Labels
from renewal.models.multilabel import is_label_sets
from renewal.models.score_map import ScoreMap
from renewal.models.score_map_fit import CURVES, fit_score_map
from renewal.models.task import Classes, Scores, Task

_FOLDS = 5
_ROWS_FOR_STEPS = 1000
_WITHOUT_FOLDS = "sigmoid"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A fitted map and why it has its form.

    Parameters
    ----------
    score_map : ScoreMap
        Fitted on all rows.
    losses : dict of str to float
        Mean loss of each form on rows that its fit did not see; empty where the form was
        given, or the rows lie in too few blocks to choose by.
    """

    score_map: ScoreMap
    losses: dict[str, float]


def calibrated(
    scores: Scores,
    labels: Labels,
    task: Task,
    classes: Classes,
    *,
    blocks: NDArray[np.int64],
    method: str = "auto",
) -> Calibrated:
    """Return the map of a form, or of the simplest form that is as good as the best.

    Parameters
    ----------
    scores : float64 array, shape (n_rows, n_scores)
        Of rows on which the model was not fitted.
    labels : ndarray of shape (n_rows,)
        As `Task.labels` returns them.
    task : Task
        Its loss decides.
    classes : tuple
        What the columns mean.
    blocks : int64 array, shape (n_rows,)
        As `Rows.block`: rows of one block are never on both sides of a fold.
    method : str, default "auto"
        A form of `renewal.models.score_map_fit.CURVES`, or the choice among them.

    Notes
    -----
    Five folds of whole neighboring blocks. Of temperature, sigmoid and, from 1,000 rows on,
    isotonic, the first is taken whose loss is within one standard error (of the difference,
    between folds) of the smallest: more numbers must be worth it. Nothing in it is random.

    Examples
    --------
    A model that is too sure, and of classes that have become rarer: a temperature is not
    enough, and steps would not be better than a line.

    >>> from renewal.models.task import Binary
    >>> rng = np.random.default_rng(0)
    >>> odds = rng.normal(size=2000)
    >>> late = rng.random(2000) < 1 / (1 + np.exp(2 - odds))
    >>> sure = 1 / (1 + np.exp(-2 * odds))
    >>> found = calibrated(np.column_stack([1 - sure, sure]), late.astype(object), Binary(),
    ...     (False, True), blocks=np.arange(2000) // 20)
    >>> found.score_map.kinds, sorted(found.losses)
    (('sigmoid',), ['isotonic', 'sigmoid', 'temperature'])
    """
    if method != "auto":
        return Calibrated(fit_score_map(method, scores, labels, classes), {})
    folds = _folds(blocks)
    if folds.max(initial=0) == 0:
        return Calibrated(fit_score_map(_WITHOUT_FOLDS, scores, labels, classes), {})
    losses = {
        form: _losses(form, scores, labels, task=task, classes=classes, folds=folds)
        for form in _forms(len(scores), several=is_label_sets(labels))
    }
    means = {form: float(each.mean()) for form, each in losses.items()}
    best = min(means, key=means.__getitem__)
    chosen = next(form for form, each in losses.items() if _is_close(each, losses[best], folds))
    return Calibrated(fit_score_map(chosen, scores, labels, classes), means)


def _forms(n_rows: int, *, several: bool) -> list[str]:
    forms = [form for form in CURVES if form != "isotonic" or n_rows >= _ROWS_FOR_STEPS]
    return [form for form in forms if not (several and form == "temperature")]


def _folds(blocks: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the fold of each row, 0 to 4: neighboring blocks, about as many rows in each."""
    _, place, counts = np.unique(blocks, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2.0
    folds = (_FOLDS * middle / max(len(blocks), 1)).astype(np.intp)
    return np.unique(folds[place], return_inverse=True)[1].astype(np.intp)


def _losses(
    form: str,
    scores: Scores,
    labels: Labels,
    *,
    task: Task,
    classes: Classes,
    folds: NDArray[np.intp],
) -> Scores:
    """Return the loss of every row under a map that was fitted without its fold."""
    found = np.empty(len(scores))
    for fold in range(folds.max() + 1):
        out = folds == fold
        score_map = fit_score_map(form, scores[~out], labels[~out], classes)
        found[out] = task.loss(score_map.apply(scores[out]), labels[out], classes)
    return found


def _is_close(losses: Scores, best: Scores, folds: NDArray[np.intp]) -> bool:
    """Say whether losses exceed the best by no more than one standard error."""
    gaps = np.bincount(folds, losses - best) / np.bincount(folds)
    return bool(gaps.mean() <= gaps.std(ddof=1) / np.sqrt(len(gaps)))
