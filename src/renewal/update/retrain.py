"""Retrain: the champion's recipe fitted afresh, on all rows or on the last weeks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from renewal.core.duration import format_duration
from renewal.core.errors import Invalid, Refused
from renewal.core.option_text import plain_options
from renewal.core.progress import tell_progress
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.labels import Labels
from renewal.models.score_map import Mapped, ScoreMap, decision_of
from renewal.models.score_map_fit import fit_score_map
from renewal.models.score_map_weights import Costs
from renewal.models.task import Classes
from renewal.update.allowance import ONE_FIT, Allowance, demand_time
from renewal.update.choosing import Weighed, chosen_params, space_for
from renewal.update.contract import ALONE, Made, Means, Parent
from renewal.update.crossfit import N_FOLDS, out_of_fold
from renewal.update.eligible import (
    apart_from,
    demand_columns,
    demand_finite,
    labelled_rows,
    labels_of,
)
from renewal.update.seeds import divided_seed
from renewal.update.space_text import parse_space
from renewal.update.weighting import balanced, decayed

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RetrainOptions:
    """What a fresh fit uses, and what is chosen before it.

    Parameters
    ----------
    window : timedelta or None, default None
        Only rows of the last stretch before the newest labelled one; None: all.
    min_rows : int >= 1, rows, default 30
        Fewer labelled rows are refused.
    trials : int >= 0, default 0
        Parameters to try on the validation rows, by the tuner `optuna` (extra `tune`). The
        champion's own are tried besides, and kept where none are better.
    space : str or None, default None
        What is tuned, such as ``C:1e-3..1e1:log|penalty:l1;l2``; None: what the adapter
        thinks worth it.
    half_life : timedelta or None, default None
        A row of that age counts half as much as the newest; None: all count the same.
    balance : bool, default False
        Whether every class counts as much in the fit. The probabilities are given the true
        shares of the classes back, since the deciding loss reads them.
    calibrate : {"none", "sigmoid", "isotonic", "temperature"}, default "none"
        A map of the scores, fitted by cross-fitting: five more fits.
    """

    window: timedelta | None = None
    min_rows: int = 30
    trials: int = 0
    space: str | None = None
    half_life: timedelta | None = None
    balance: bool = False
    calibrate: Literal["none", "sigmoid", "isotonic", "temperature"] = "none"

    def __post_init__(self) -> None:
        """Refuse stretches without length, numbers that are too small, and a wrong space."""
        for name in ("window", "half_life"):
            length = getattr(self, name)
            if length is not None and length <= timedelta(0):
                raise Invalid(
                    "RetrainOptions",
                    needs=f"a {name} longer than 0",
                    came=format_duration(length),
                    todo="Write a duration such as 8w, or none for all rows alike.",
                )
        if self.min_rows < 1 or self.trials < 0:
            raise Invalid(
                "RetrainOptions",
                needs="min_rows of at least 1, and trials of at least 0",
                came=f"min_rows={self.min_rows}, trials={self.trials}",
                todo="Correct the recipe.",
            )
        if self.space is not None:
            parse_space(self.space, who="RetrainOptions")


class Retrain:
    """Fit an unfitted copy of the champion's estimator from scratch.

    The copy has the champion's hyperparameters, or better ones where trials are asked for,
    and nothing that it learned; where the champion is a recalibrated estimator, the one
    inside is copied. Rows that the champion trained on may be fitted again: what counts is
    that nobody is judged on them.

    Notes
    -----
    Costs a full fit. A short window follows drift and is cheap, and forgets; race it
    against all rows: on 45,312 rows of the Elec2 stream, five blocks of 1,000 scored .773
    and all rows .767 at seven times the cost.

    Trials are judged without the calibration, which is fitted once, around the best.
    """

    name: ClassVar[str] = "retrain"
    Options: ClassVar[type[RetrainOptions]] = RetrainOptions
    keeps_parent: ClassVar[bool] = False
    can_thin: ClassVar[bool] = True

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:  # noqa: ARG002  # the contract's
        """Return why the champion's recipe cannot be fitted; None for most."""
        able = parent.adapter.capabilities(parent.estimator)
        return None if able.can_refit else able.why_not.get("refit", "It came without a recipe")

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        """Fit a copy of the champion's estimator on the labelled rows of the window.

        Parameters
        ----------
        parent : Parent
            The champion.
        rows : Rows
            That may be fitted; those that are validation rows are left out.
        options : RetrainOptions
            Window, weights, trials and calibration.
        seed : int
            Of every random step of the estimator; that of trials and folds is derived.
        means : Means
            Validation rows and an engine for trials, a folder in which a study survives, or
            what an earlier study of this update has found, which is taken as it is.

        Raises
        ------
        Invalid
            On no labelled rows, fewer than ``min_rows``, labels of one class, a missing
            column, weights for an estimator that takes none, or a fit that diverged.
        Refused
            When the champion has no recipe, or the budget has no room for one fit.
        """
        self._demand_possible(parent, options)
        n_fits = 1 if options.calibrate == "none" else 1 + N_FOLDS
        allowance = Allowance(means.budget_s, n_fits)
        fit = _weighed(parent, rows, options, means)
        demand_time(parent.version, len(fit.rows), means.budget_s)
        recipe, facts = _chosen(parent, fit, options, seed=seed, means=means, allowance=allowance)
        tell_progress(f"fitting {len(fit.rows):,} rows")
        began_s = time.perf_counter()
        fitted = parent.adapter.fit(
            recipe, fit.rows.features, fit.labels, seed=seed, weights=fit.weights
        )
        if options.trials or options.calibrate != "none":
            facts[ONE_FIT] = time.perf_counter() - began_s
        classes = parent.adapter.classes(fitted)
        score_map = fit.correction
        if options.calibrate != "none":
            score_map, facts["calibration"] = _calibrated(
                parent, recipe, fit, options, classes=classes, seed=seed
            )
        steps = (() if score_map is None else score_map.steps) + _decision(parent, classes)
        estimator = Mapped(fitted, ScoreMap(steps)) if steps else fitted
        demand_finite(parent, fitted, fit.rows, who=self.name)
        return Made(
            estimator=estimator,
            classes=classes,
            keyset=KeySet.of(fit.rows),
            n_rows=len(fit.rows),
            trained_until_us=int(fit.rows.event_us.max()),
            parent_is_ancestor=False,
            strategy=self.name,
            options=plain_options(options),
            facts=facts,
        )

    def _demand_possible(self, parent: Parent, options: RetrainOptions) -> None:
        if options.calibrate != "none" and not parent.version.manifest.classes:
            raise Invalid(
                self.name,
                needs="classes to calibrate",
                came="a regression",
                todo="Leave calibrate out.",
            )
        reason = self.why_not(parent)
        if reason is not None:
            raise Refused(
                self.name,
                needs="a champion with a recipe that can be fitted",
                came=f"one that cannot: {reason}",
                todo="Take another strategy.",
            )


def _weighed(parent: Parent, rows: Rows, options: RetrainOptions, means: Means) -> Weighed:
    """Return the rows of the window that may be fitted, with their labels and weights."""
    who = Retrain.name
    demand_columns(parent, rows, who=who)
    used = labelled_rows(apart_from(rows, means.validation), who=who)
    used = _windowed(used, options.window)
    labels = labels_of(used, parent.task, who=who, min_rows=options.min_rows)
    weights, correction = _weights(used, labels, options)
    return Weighed(used, labels, weights, correction)


def _weights(
    rows: Rows, labels: Labels, options: RetrainOptions
) -> tuple[npt.NDArray[np.float64] | None, ScoreMap | None]:
    weights = None if options.half_life is None else decayed(rows, options.half_life)
    if not options.balance:
        return weights, None
    weights, prior = balanced(labels, weights, who=Retrain.name)
    return weights, ScoreMap((prior,))


def _chosen(
    parent: Parent,
    fit: Weighed,
    options: RetrainOptions,
    *,
    seed: int,
    means: Means,
    allowance: Allowance,
) -> tuple[Any, dict[str, Any]]:
    """Return the recipe that is fitted, and what is worth knowing about its choice."""
    if options.trials == 0:
        return parent.estimator, {}
    facts = chosen_params(
        parent,
        fit,
        means,
        allowance,
        space=space_for(parent, options.space, who=Retrain.name),
        trials=options.trials,
        seed=seed,
        who=Retrain.name,
    )
    best = facts["best"]
    recipe = parent.adapter.with_params(parent.estimator, best) if best else parent.estimator
    return recipe, {"tuning": facts}


def _calibrated(
    parent: Parent,
    recipe: Any,
    fit: Weighed,
    options: RetrainOptions,
    *,
    classes: Classes,
    seed: int,
) -> tuple[ScoreMap, Mapping[str, Any]]:
    """Return the map of the scores by cross-fitting, with what it was fitted on."""

    def weigh(
        which: npt.NDArray[np.bool_],
    ) -> tuple[npt.NDArray[np.float64] | None, ScoreMap | None]:
        return _weights(fit.rows.take(which), fit.labels[which], options)

    scores, labels = out_of_fold(
        parent,
        recipe,
        fit.rows,
        fit.labels,
        weigh=weigh,
        classes=classes,
        seed=divided_seed(seed, "folds"),
    )
    curve = fit_score_map(options.calibrate, scores, labels, classes)
    steps = () if fit.correction is None else fit.correction.steps
    # Of the scores before the map: after it, the same rows would only flatter it.
    loss = float(parent.task.loss(scores, labels, classes).mean())
    facts = {"n_rows": len(labels), "loss_out_of_fold": loss}
    return ScoreMap((*steps, *curve.steps)), facts


def _decision(parent: Parent, classes: Classes) -> tuple[Costs, ...]:
    """Return the champion's decision by costs: a fresh fit changes nothing about them."""
    return decision_of(parent.estimator) if classes == parent.version.manifest.classes else ()


def _windowed(rows: Rows, window: timedelta | None) -> Rows:
    if window is None:
        return rows
    since_us = int(rows.event_us.max()) - window // _MICROSECOND
    return rows.take(np.asarray(rows.event_us > since_us, np.bool_))
