"""Tuning: which parameters of a recipe lose least on the validation rows.

A tuner (entry-point group ``renewal.tuners``) proposes parameters and drops the hopeless ones
early; a bench fits them on the rows and scores them. The tuner knows no model, the bench no
search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.models.contract import Adapter, Weights
from renewal.models.labels import Labels
from renewal.models.score_map import ScoreMap
from renewal.models.space import Space
from renewal.models.task import Task
from renewal.update.seeds import divided_seed

ABREAST = 4
"""How many parameters are proposed at once, on every machine.

What is proposed depends on what is known by then. Were it as many as an engine has slots, the
same seed would make another candidate where there are more cores. Four lose nothing by it: on
9,000 rows of Elec2, 60 trials of histogram boosting, three seeds, they found a mean validation
loss of .383 for 20.6 fits' worth of rows; one at a time .390 for 21.0.
"""

Params = Mapping[str, Any]
_FACTOR = 4
_LEAST_ROWS = 200
_MOST_SHARES = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tuner is to do.

    Parameters
    ----------
    name : str
        Of the study: another for other rows, another space or another seed.
    space : mapping of str to Dimension
        What may be changed; at least one.
    trials : int >= 1
        How many parameters to try, besides the recipe as it is.
    seed : int
        Of the proposals.
    shares : tuple of float
        Growing shares of the rows on which each is fitted, the last 1: after each but the
        last only the better go on.
    factor : int, default 4
        One in so many goes on.
    current : mapping, default empty
        The parameters of the recipe as it is.
    first : mapping or None, default None
        What is tried first: the best of the last study.
    abreast : int >= 1, default 4
        How many are proposed at once, before any of them is known. The proposals depend on it.
    n_slots : int >= 1, default 1
        How many are fitted at the same time. Nothing but the time depends on it.
    journal : Path or None, default None
        A file that keeps the study: a tuner that was killed goes on with it.
    """

    name: str
    space: Space
    trials: int
    seed: int
    shares: tuple[float, ...]
    factor: int = _FACTOR
    current: Params = field(default_factory=dict)
    first: Params | None = None
    abreast: int = ABREAST
    n_slots: int = 1
    journal: Path | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """What came out of a tuning.

    Parameters
    ----------
    best : mapping
        The parameters of the smallest loss; empty where nothing beat the recipe as it is.
    loss : float or None
        Theirs on the validation rows; None where nothing could be fitted.
    loss_as_it_is : float or None
        Of the recipe with its own parameters.
    n_trials, n_pruned, n_failed : int
        All, those stopped on a share of the rows, and those that raised.
    why_failed : str or None
        What the first of those raised.
    is_cut_short : bool
        Whether time was up before all were tried.
    """

    best: Params
    loss: float | None
    loss_as_it_is: float | None
    n_trials: int
    n_pruned: int
    n_failed: int
    why_failed: str | None
    is_cut_short: bool


Try = tuple[Params, float]
"""Parameters, and the share of the rows to fit them on."""

Evaluate = Callable[[Sequence[Try]], list[float | str]]
"""Fit and score several; the loss of each, or why it failed."""


class Tuner(Protocol):
    """Searches for parameters under a plan. A function, registered under ``renewal.tuners``."""

    def __call__(self, plan: Plan, evaluate: Evaluate, allows: Callable[[float], bool]) -> Study:
        """Try parameters and return the best.

        Parameters
        ----------
        plan : Plan
            What to try.
        evaluate : callable
            Fits and scores, as many at a time as the plan has slots.
        allows : callable
            Whether there is time for a fit of a share of the rows. Asked before each call.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A recipe, the rows that it learns from, and the rows on which it is scored.

    Parameters
    ----------
    adapter : Adapter
        Of the recipe.
    recipe : object
        Fitted or not; not changed.
    task : Task
        Whose loss decides.
    features, labels, weights
        n rows to learn from, as `Adapter.fit` takes them.
    watched_features, watched_labels
        Rows to score; never learned from.
    correction : ScoreMap or None
        Of the scores, before they are judged.
    seed : int
        Of every fit.
    """

    adapter: Adapter
    recipe: Any
    task: Task
    features: pa.Table
    labels: Labels
    weights: Weights | None
    watched_features: pa.Table
    watched_labels: Labels
    correction: ScoreMap | None
    seed: int

    def loss(self, params: Params, share: float) -> float:
        """Fit with other parameters on a share of the rows, and return the mean loss.

        A smaller share is a part of every larger one, drawn by the seed.

        Raises
        ------
        Invalid
            When the scores are not finite: the fit has diverged.
        """
        features, labels, weights = self._part(share)
        recipe = self.adapter.with_params(self.recipe, params) if params else self.recipe
        fitted = self.adapter.fit(recipe, features, labels, seed=self.seed, weights=weights)
        scores = self.adapter.predict(fitted, self.watched_features)
        if self.correction is not None:
            scores = self.correction.apply(scores)
        loss = self.task.loss(scores, self.watched_labels, self.adapter.classes(fitted))
        mean = float(loss.mean())
        if not math.isfinite(mean):
            raise Invalid(
                "a trial",
                needs="finite scores of the validation rows",
                came=f"a mean loss of {mean}",
                todo="Narrow the search space: the fit diverges.",
            )
        return mean

    def _part(self, share: float) -> tuple[pa.Table, Labels, Weights | None]:
        n_rows = len(self.labels)
        n_part = math.ceil(share * n_rows)
        if n_part >= n_rows:
            return self.features, self.labels, self.weights
        rng = np.random.default_rng(divided_seed(self.seed, "shares"))
        at = np.sort(rng.permutation(n_rows)[:n_part])
        weights = None if self.weights is None else self.weights[at]
        return self.features.take(pa.array(at)), self.labels[at], weights


def shares_of(n_rows: int) -> tuple[float, ...]:
    """Return the shares of the rows on which trials are fitted, each four times the last.

    A share of fewer than 200 rows tells too little to drop anything.

    Notes
    -----
    On 9,000 rows of Elec2, 60 trials of boosted trees, three seeds: the fits of 30 instead of
    61 on all rows, for a loss of .616 on the validation rows instead of .614 (1.39 as it was).
    With a factor of three it was 53, since three times as many went on.

    Examples
    --------
    >>> [round(share, 2) for share in shares_of(100_000)], shares_of(500)
    ([0.06, 0.25, 1.0], (1.0,))
    """
    found = [1.0]
    while len(found) < _MOST_SHARES and n_rows * found[0] / _FACTOR >= _LEAST_ROWS:
        found.insert(0, found[0] / _FACTOR)
    return tuple(found)
