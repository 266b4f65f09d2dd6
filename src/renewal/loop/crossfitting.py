"""Two recipes on few rows: both fitted again and again on parts of them, judged on the rest.

With 30 rows in all, six are left to judge on, and nothing can be shown on six. How a version
was made can still be compared: fresh copies of both estimators learn from nine tenths of the
rows and are scored on the other tenth, in turn. That says which recipe suits such data; it
says nothing of the versions that are stored, so that no version is accepted by it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid, Refused, RenewalError
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.loop.comparing import Unscorable
from renewal.loop.workshop import Workshop
from renewal.models.adapters import adapter_of
from renewal.models.contract import Adapter
from renewal.models.labels import Labels, sorted_classes
from renewal.models.load import load_estimator
from renewal.models.multilabel import indicator, is_label_sets, names_in
from renewal.models.task import Scores, Task
from renewal.stats.crossfit import CorrectedMean, corrected_mean
from renewal.stats.folds import joined, stratified_folds

_log = logging.getLogger(__name__)

_WHO = "compare-recipes"
# More repeats feign a certainty that the rows do not give: see `renewal.stats.crossfit`.
_MOST_REPEATS = 10
_LEAST_IN_A_FOLD = 2

WEAKER = (
    "This is weaker evidence than a verdict: it compares recipes, fitted anew on parts of the "
    "same rows, not the stored versions, and it accepts nothing"
)
"""What is said with every comparison of recipes."""


@dataclass(frozen=True, slots=True)
class CrossFit:
    """How rows are cut up, and how often.

    Parameters
    ----------
    folds : int >= 2, default 10
        Parts, each of which is judged on once a repeat. Fewer are made where a class has
        not two rows for each.
    repeats : int from 1 to 10, default 5
        How often the rows are cut up anew.
    seed : int >= 0, default 0
        Of the cuts, and of estimators that leave their random state open.
    """

    folds: int = 10
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no cross-fit."""
        if self.folds < 2 or not 1 <= self.repeats <= _MOST_REPEATS or self.seed < 0:
            raise Invalid(
                _WHO,
                needs=f"at least 2 folds, 1 to {_MOST_REPEATS} repeats and a seed of at least 0",
                came=f"folds={self.folds}, repeats={self.repeats}, seed={self.seed}",
                todo="Leave them out: 10 folds five times suit most data.",
            )


@dataclass(frozen=True, slots=True)
class RecipeComparison:
    """Which of two recipes suits such data, as far as few rows can tell.

    Parameters
    ----------
    outcome : {"candidate is better", "baseline is better", "cannot tell"}
        Of the recipes, with a two-sided error of `alpha`.
    candidate, baseline : str
        Ids of the versions whose recipes were fitted.
    loss : str
        Name of the task's loss.
    gain : float, unit of the loss
        Mean loss of the baseline's recipe less that of the candidate's; NaN where nothing
        could be fitted.
    lower, upper : float
        Bounds of the gain, wrong with chance `alpha` / 2 each.
    alpha : float in (0, 0.5)
        That of the gate.
    n_rows : int
        Labeled rows, all of them.
    n_folds, n_repeats : int
        Parts that were made, and how often; 0 where nothing could be fitted.
    reason : str
        What was found, or why nothing was, in plain words.
    """

    outcome: Literal["candidate is better", "baseline is better", "cannot tell"]
    candidate: str
    baseline: str
    loss: str
    gain: float
    lower: float
    upper: float
    alpha: float
    n_rows: int
    n_folds: int
    n_repeats: int
    reason: str

    @property
    def sentence(self) -> str:
        """Outcome and reason, and that it is weaker evidence."""
        return f"{self.outcome}: {self.reason}. {WEAKER}."


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How one version was fitted."""

    version: Version
    adapter: Adapter
    estimator: Any


def compare_recipes(
    shop: Workshop, candidate: Version, baseline: Version, plan: CrossFit
) -> RecipeComparison:
    """Compare how two versions were fitted, by repeated stratified cross-fitting.

    Rows that share a group or a block stay in one fold. In each fold both recipes learn from
    the same rows with the same seed, so that equal recipes differ by nothing.

    Parameters
    ----------
    shop : Workshop
        The rooms; nothing in them changes.
    candidate, baseline : Version
        Their estimators are copied without what they learned, as by the strategy
        ``retrain``: a recalibrated one gives the estimator inside.
    plan : CrossFit
        Parts, repeats and seed.

    Returns
    -------
    RecipeComparison
        Where rows are too few, hold one class, or a recipe cannot be fitted or answers with
        NaN: "cannot tell", and why.

    Raises
    ------
    Refused
        When the model has event time: forward rows judge it, and random folds would let it
        learn from the future.
    Invalid
        When both are one version.

    Notes
    -----
    2 * folds * repeats fits: 100 by default. Every labeled row takes part, those of the role
    test too: a candidate that was chosen by this has been chosen by them.
    """
    if shop.spec.time is not None:
        raise Refused(
            _WHO,
            needs="a model without event time",
            came=f"rows with the time {shop.spec.time!r}, of which random folds mix past and "
            "future",
            todo="Let later rows judge the version: renewal gate.",
        )
    if candidate.id == baseline.id:
        raise Invalid(
            _WHO, needs="two versions", came=f"{candidate.name} twice", todo="Name another."
        )
    task: Task = load_plugin("tasks", shop.spec.task)()
    rows = shop.feed.rows(labelled=True)
    versions = (candidate, baseline)
    pair = (candidate.id, baseline.id)
    try:
        labels = _labels(task, rows)
        strata = _strata(labels)
        groups = joined(rows.group_hash, rows.block)
        n_folds = _n_folds(strata, groups, plan.folds)
        recipes = [_recipe(shop, each) for each in versions]
    except _TooFew as error:
        return _cannot_tell(task, pair, shop.gate.alpha, len(rows), str(error))
    except Unscorable as error:
        return _cannot_tell(task, pair, shop.gate.alpha, len(rows), f"{error.who}: {error.came}")
    gains = []
    for repeat in range(plan.repeats):
        rng = np.random.default_rng([plan.seed, repeat])
        fold = stratified_folds(strata, groups, n_folds=n_folds, rng=rng)
        for each in range(n_folds):
            try:
                losses = [
                    _losses(task, recipe, rows, labels, fold == each, seed=plan.seed + repeat)
                    for recipe in recipes
                ]
            except Unscorable as error:
                why = f"{error.who}: {error.came}"
                return _cannot_tell(task, pair, shop.gate.alpha, len(rows), why)
            gains.append(float(np.mean(losses[1] - losses[0])))
    found = corrected_mean(gains, n_test=1, n_train=n_folds - 1)
    return _compared(task, pair, found, shop.gate.alpha, (len(rows), n_folds, plan.repeats))


class _TooFew(Exception):  # never leaves this file
    """Rows that cannot be cut up; says why in words."""


def _labels(task: Task, rows: Rows) -> Labels:
    if not len(rows):
        raise _TooFew("there is no labeled row")
    try:
        labels = task.labels(rows.label, who=_WHO)
        task.classes(labels)
    except Invalid as error:
        raise _TooFew(f"{error.who} needs {error.needs}, got {error.came}") from error
    return labels


def _strata(labels: Labels) -> NDArray[np.bool_]:
    """Return what every fold needs its share of, shape (n_rows, n_strata)."""
    if is_label_sets(labels):
        is_on = indicator(labels, names_in(labels))
        found: NDArray[np.bool_] = np.concatenate([is_on, ~is_on], axis=1)
        return found[:, found.any(axis=0)]
    if labels.dtype != object:
        return np.empty((len(labels), 0), np.bool_)
    return np.stack([np.equal(labels, each).astype(np.bool_) for each in sorted_classes(labels)], 1)


def _n_folds(strata: NDArray[np.bool_], groups: NDArray[np.intp], wanted: int) -> int:
    """Return how many folds the rarest class allows, two groups of it in each."""
    held = [len(np.unique(groups[strata[:, at]])) for at in range(strata.shape[1])]
    fewest = min([int(groups.max()) + 1, *held])
    n_folds = min(wanted, fewest // _LEAST_IN_A_FOLD)
    if n_folds < 2:
        of_what = " of the rarest class" if held and fewest == min(held) else ""
        raise _TooFew(
            f"{fewest} independent row{'' if fewest == 1 else 's'}{of_what}, and two folds need "
            f"{2 * _LEAST_IN_A_FOLD}"
        )
    return n_folds


def _recipe(shop: Workshop, version: Version) -> _Recipe:
    try:
        return _Recipe(
            version,
            adapter_of(version.manifest),
            load_estimator(version.manifest, shop.store, shop.trust),
        )
    except RenewalError as error:
        raise Unscorable.of(version, str(error)) from error


def _losses(
    task: Task,
    recipe: _Recipe,
    rows: Rows,
    labels: Labels,
    is_test: NDArray[np.bool_],
    *,
    seed: int,
) -> Scores:
    """Return the loss of each test row of a copy that was fitted on the others."""
    version, adapter = recipe.version, recipe.adapter
    train, test = rows.take(~is_test), rows.take(is_test)
    try:
        fitted = adapter.fit(recipe.estimator, train.features, labels[~is_test], seed=seed)
        scores = adapter.predict(fitted, test.features)
        losses = task.loss(scores, labels[is_test], adapter.classes(fitted))
    except RenewalError as error:
        raise Unscorable.of(version, str(error)) from error
    except (Exception, SystemExit) as error:
        # A plug-in may raise anything; what it raised is the reason that people read.
        _log.exception("the recipe of %s cannot be fitted", version.id)
        raise Unscorable.of(version, f"{type(error).__name__}: {error}") from error
    if not np.isfinite(losses).all():
        raise Unscorable.of(version, "its recipe answers with NaN or infinite scores")
    return losses


def _compared(
    task: Task,
    pair: tuple[str, str],
    found: CorrectedMean,
    alpha: float,
    size: tuple[int, int, int],
) -> RecipeComparison:
    lower, upper = found.lower(alpha / 2), found.upper(alpha / 2)
    n_rows, n_folds, n_repeats = size
    outcome: Literal["candidate is better", "baseline is better", "cannot tell"] = "cannot tell"
    if lower > 0.0:
        outcome = "candidate is better"
    elif upper < 0.0:
        outcome = "baseline is better"
    if found.sd > 0.0:
        name = task.loss_name.replace("_", "-")
        reason = (
            f"the candidate's recipe changes {name} by {-found.mean:+.4g} ({-upper:+.4g} to "
            f"{-lower:+.4g} at {100 * (1 - alpha):.4g}%)"
        )
    elif found.mean == 0.0:
        reason = "both recipes cost the same in every fold"
    else:
        reason = f"the recipes differ by {-found.mean:+.4g} in every fold alike, without spread"
    return RecipeComparison(
        outcome=outcome,
        candidate=pair[0],
        baseline=pair[1],
        loss=task.loss_name,
        gain=found.mean,
        lower=lower,
        upper=upper,
        alpha=alpha,
        n_rows=n_rows,
        n_folds=n_folds,
        n_repeats=n_repeats,
        reason=f"{reason}; {n_rows:,} rows in {n_folds} folds, {n_repeats} times",
    )


def _cannot_tell(
    task: Task, pair: tuple[str, str], alpha: float, n_rows: int, why: str
) -> RecipeComparison:
    return RecipeComparison(
        outcome="cannot tell",
        candidate=pair[0],
        baseline=pair[1],
        loss=task.loss_name,
        gain=math.nan,
        lower=-math.inf,
        upper=math.inf,
        alpha=alpha,
        n_rows=n_rows,
        n_folds=0,
        n_repeats=0,
        reason=why,
    )
