"""The recipe of a retraining: the champion's own, or one with parameters that lose less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.data.rows import Rows
from renewal.models.contract import Weights
from renewal.models.labels import Labels
from renewal.models.score_map import ScoreMap
from renewal.models.space import Space
from renewal.store.local import LocalStore
from renewal.update.allowance import Allowance
from renewal.update.contract import Means, Parent
from renewal.update.seeds import divided_seed
from renewal.update.space_text import parse_space
from renewal.update.trials import by_engine, here, pack
from renewal.update.tuning import Bench, Evaluate, Plan, Tuner, shares_of

TUNER = "optuna"


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Rows that are ready to be fitted.

    Parameters
    ----------
    rows : Rows
        n rows, all with a label.
    labels : ndarray of shape (n,)
        As `Task.labels` returns them.
    weights : float64 array of shape (n,) or None
        How much each counts; None: all the same.
    correction : ScoreMap or None
        What scores of a model that was fitted with these weights need.
    """

    rows: Rows
    labels: Labels
    weights: Weights | None
    correction: ScoreMap | None


def space_for(parent: Parent, text: str | None, *, who: str) -> Space:
    """Return what is tuned: what the user says, or else what the adapter says.

    Parameters
    ----------
    parent : Parent
        Whose recipe.
    text : str or None
        As `renewal.update.space_text.parse_space` reads it.
    who : str
        The strategy, for the message.

    Raises
    ------
    Invalid
        When neither knows anything.
    """
    if text is not None:
        return parse_space(text, who=who)
    found = parent.adapter.search_space(parent.estimator)
    if not found:
        raise Invalid(
            who,
            needs="a search space to tune in",
            came=f"none for {type(parent.estimator).__name__}",
            todo="Name one, such as space=alpha:1e-4..1e0:log, or leave trials out.",
        )
    return found


def chosen_params(
    parent: Parent,
    fit: Weighed,
    means: Means,
    allowance: Allowance,
    *,
    space: Space,
    trials: int,
    seed: int,
    who: str,
) -> dict[str, Any]:
    """Return what a study of the champion's recipe found, as facts of a version.

    ``best`` are the parameters that lose least on the validation rows, empty for the recipe
    as it is. What an earlier study of this update found is taken over where there are no
    validation rows any more, or where it was this very study; else the new one starts from it.

    Parameters
    ----------
    parent : Parent
        The champion.
    fit : Weighed
        Rows that trials learn from; none of them a validation row.
    means : Means
        Holds the validation rows, where trials run, and what was found before.
    allowance : Allowance
        Of time.
    space : mapping of str to Dimension
        What may be changed.
    trials : int
        How many parameters to try.
    seed : int
        Of the whole update.
    who : str
        The strategy, for the message.

    Raises
    ------
    Invalid
        Without validation rows that have labels, and when nothing at all could be fitted.
    """
    found = means.found.get("tuning")
    if found is not None and means.validation is None:
        return dict(found)
    bench = _bench(parent, fit, means, seed, who)
    shares = shares_of(len(fit.rows))
    current = parent.adapter.params(parent.estimator)
    name = _name(fit, bench, (sorted(space.items()), sorted(current.items()), shares, seed))
    if found is not None and found["study"] == name:
        return dict(found)
    last = found or parent.version.facts.get("tuning")
    plan = Plan(
        name=name,
        space=space,
        trials=trials,
        seed=divided_seed(seed, "study"),
        shares=shares,
        current=current,
        first=last.get("best") if isinstance(last, Mapping) else None,
        n_slots=1 if means.engine is None else means.engine.n_slots,
        journal=None if means.scratch is None else means.scratch / "study.log",
    )
    tuner: Tuner = load_plugin("tuners", TUNER)
    study = tuner(plan, _evaluate(bench, parent, means, allowance), allowance.allows)
    all_failed = study.n_failed == study.n_trials and study.why_failed is not None
    if all_failed and (study.n_trials or study.loss is None):
        raise Invalid(
            who,
            needs="parameters with which the recipe can be fitted",
            came=f"{study.n_failed} trials that all raised, the first {study.why_failed}",
            todo="Correct the search space, the recipe or the rows.",
        )
    return {
        "study": name,
        "best": dict(study.best),
        "loss": study.loss,
        "loss_as_it_is": study.loss_as_it_is,
        "trials": study.n_trials,
        "pruned": study.n_pruned,
        "failed": study.n_failed,
        "why_failed": study.why_failed,
        "is_cut_short": study.is_cut_short,
    }


def _bench(parent: Parent, fit: Weighed, means: Means, seed: int, who: str) -> Bench:
    watched = means.validation
    if watched is not None:
        watched = watched.labelled() if watched.label is not None else None
    if watched is None or len(watched) == 0:
        raise Invalid(
            who,
            needs="labelled validation rows to tune on",
            came="none",
            todo="Leave trials out, wait for labels, or run it in a race, which sets some aside.",
        )
    return Bench(
        adapter=parent.adapter,
        recipe=parent.estimator,
        task=parent.task,
        features=fit.rows.features,
        labels=fit.labels,
        weights=fit.weights,
        watched_features=watched.features,
        watched_labels=parent.task.labels(watched.label, who=who),
        correction=fit.correction,
        seed=seed,
    )


def _evaluate(bench: Bench, parent: Parent, means: Means, allowance: Allowance) -> Evaluate:
    """Return where trials run: as calls of an engine that runs several at a time, else here.

    One at a time an engine would only have rows and recipe written and read again.
    """
    if means.engine is None or means.engine.n_slots == 1:
        return here(bench, allowance)
    store = means.store
    if store is None and means.scratch is not None:
        store = LocalStore(means.scratch / "objects")
    if store is None:
        return here(bench, allowance)
    packed = pack(bench, store, parent.version.manifest, means.trust)
    return by_engine(packed, allowance, means.engine, store)


def _name(fit: Weighed, bench: Bench, besides: object) -> str:
    """Return a name that a study of anything else does not have."""
    digest = blake2b(repr(besides).encode(), digest_size=16)
    digest.update(fit.rows.key_hash.tobytes())
    digest.update(repr(bench.watched_labels.tolist()).encode())
    digest.update(b"" if fit.weights is None else fit.weights.tobytes())
    return digest.hexdigest()
