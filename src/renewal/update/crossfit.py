"""Cross-fitting: every row scored by a model that was fitted without it.

A calibration that is fitted on a model's own training rows leaves it as sure as it is there.
Scores from models of the same recipe, each fitted without the rows that it scores, show how
sure it may be, and cost no row: the model itself is fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from renewal.core.errors import Invalid
from renewal.core.progress import tell_progress
from renewal.data.rows import Rows
from renewal.models.contract import Weights
from renewal.models.labels import Labels, sorted_classes
from renewal.models.multilabel import is_label_sets, names_in
from renewal.models.score_map import ScoreMap
from renewal.models.task import Classes, Scores
from renewal.stats.folds import stratified_folds
from renewal.update.contract import Parent

Fold = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
"""Which rows are fitted, and which are scored."""

N_FOLDS = 5


def folds_of(rows: Rows, labels: Labels, seed: int) -> list[Fold]:
    """Return folds in which no group is both fitted and scored.

    Where blocks follow time, the newer half of the rows is scored, stretch by stretch, each
    by a model of all the older rows: what is learned of the past is tried on its future.
    Otherwise groups are dealt into folds at random, with a share of every class.

    Parameters
    ----------
    rows : Rows
        To be fitted.
    labels : ndarray of shape (n_rows,)
        Of the rows.
    seed : int
        Of the order in which groups are dealt.

    Raises
    ------
    Invalid
        On rows of one group alone.
    """
    found = _forward(rows) if follows_time(rows) else _dealt(rows, labels, seed)
    kept = [(fit, scored) for fit, scored in found if fit.any() and scored.any()]
    if not kept:
        raise Invalid(
            "calibrate",
            needs="rows of at least two groups, or of several blocks of time",
            came=f"{len(rows):,} rows of one",
            todo="Wait for more rows, or leave calibrate out.",
        )
    return kept


def follows_time(rows: Rows) -> bool:
    """Say whether blocks are stretches of time: they never fall as event time rises."""
    order = np.argsort(rows.event_us, kind="stable")
    blocks = rows.block[order]
    return bool(len(blocks) and blocks[0] < blocks[-1] and (np.diff(blocks) >= 0).all())


def out_of_fold(
    parent: Parent,
    recipe: Any,
    rows: Rows,
    labels: Labels,
    *,
    weigh: Callable[[npt.NDArray[np.bool_]], tuple[Weights | None, ScoreMap | None]],
    classes: Classes,
    seed: int,
) -> tuple[Scores, Labels]:
    """Return scores of rows by models that were fitted without them, and their labels.

    Parameters
    ----------
    parent : Parent
        Its adapter fits.
    recipe : object
        What is fitted.
    rows, labels
        All that may be fitted.
    weigh : callable
        Given which rows a model is fitted on, their weights and the correction of its scores.
    classes : tuple
        Of the model that is to be calibrated.
    seed : int
        Of folds and fits.

    Raises
    ------
    Invalid
        When no fold holds every class.
    """
    found: list[Scores] = []
    truth: list[Labels] = []
    folds = folds_of(rows, labels, seed)
    for number, (fit, scored) in enumerate(folds, start=1):
        tell_progress(f"calibrating: fold {number} of {len(folds)}")
        if _classes_in(labels[fit]) != tuple(classes):
            continue  # a model that never saw a class says nothing of its scores
        weights, correction = weigh(fit)
        features = rows.take(fit).features
        model = parent.adapter.fit(recipe, features, labels[fit], seed=seed, weights=weights)
        scores = parent.adapter.predict(model, rows.take(scored).features)
        found.append(scores if correction is None else correction.apply(scores))
        truth.append(labels[scored])
    if not found:
        raise Invalid(
            "calibrate",
            needs="older rows, or other groups, that hold every class",
            came=f"none among {len(folds)} folds of {len(rows):,} rows",
            todo="Wait for more labels of the rare classes, or leave calibrate out.",
        )
    return np.concatenate(found), np.concatenate(truth)


def _classes_in(labels: Labels) -> tuple[Any, ...]:
    """Return the classes that occur, where `Task.classes` would refuse to go on with one."""
    return tuple(names_in(labels)) if is_label_sets(labels) else sorted_classes(labels)


def _forward(rows: Rows) -> Iterator[Fold]:
    """Yield the stretches of the newer half, each with all that is older and no group of it."""
    order = np.argsort(rows.event_us, kind="stable")
    n_rows = len(rows)
    edges = [round(n_rows * (0.5 + 0.5 * at / N_FOLDS)) for at in range(N_FOLDS + 1)]
    starts = np.unique(rows.block[order[edges[:-1]]])
    for at, start in enumerate(starts):
        scored = rows.block >= start
        if at + 1 < len(starts):
            scored &= rows.block < starts[at + 1]
        fit = rows.block < start
        fit &= ~np.isin(rows.group_hash, rows.group_hash[scored])
        yield np.asarray(fit), np.asarray(scored)


def _dealt(rows: Rows, labels: Labels, seed: int) -> Iterator[Fold]:
    _, groups = np.unique(rows.group_hash, return_inverse=True)
    n_folds = min(N_FOLDS, int(groups.max()) + 1)
    if n_folds < 2:
        return
    strata = np.column_stack([labels == each for each in dict.fromkeys(labels.tolist())])
    rng = np.random.default_rng(seed)
    fold = stratified_folds(strata.astype(np.bool_), groups, n_folds=n_folds, rng=rng)
    for at in range(n_folds):
        yield fold != at, fold == at
