"""Incremental: the champion goes on learning from the rows that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from renewal.core.errors import Invalid, Refused
from renewal.core.option_text import plain_options
from renewal.core.progress import tell_progress
from renewal.data.rows import Rows
from renewal.models.contract import Capabilities
from renewal.models.labels import Labels
from renewal.update.contract import ALONE, Made, Means, Parent
from renewal.update.eligible import (
    apart_from,
    demand_columns,
    demand_finite,
    keys_with_ancestors,
    labelled_rows,
    labels_of,
    new_classes,
    new_classes_sentence,
    not_yet_fitted,
    until_us_with_ancestors,
)
from renewal.update.seeds import divided_seed

_FIRST_CALL = "An incremental learner must know every class at its first call"
_GROWTH = 2
_LEAST_CAP = 200

Way = Literal["rows", "boost", "leaves"]


@dataclass(frozen=True, slots=True)
class IncrementalOptions:
    """How the champion goes on.

    Parameters
    ----------
    passes : int >= 1, default 1
        How often the new rows are gone through, in the order of their event time.
    min_rows : int >= 1, rows, default 1
        Fewer new labelled rows are refused.
    way : {"auto", "rows", "boost", "leaves"}, default "auto"
        ``rows`` takes them in (`Adapter.partial_fit`), ``leaves`` gives the old trees new leaf
        values and ``boost`` adds trees on top (`Adapter.continue_fit`); ``auto``: the first of
        these that the champion can.
    rounds : int >= 1, default 10
        Rounds that ``boost`` adds.
    decay : float in [0, 1], default 0.9
        What ``leaves`` keeps of the old values.
    replay : float >= 0, default 0
        Old rows that are mixed in for each new one, drawn by the seed, against forgetting.
    max_size : int or None, default None
        The size, in what `Capabilities.size` counts, above which it is refused; None: twice
        that of the fit from scratch with which the champion's line began, or 200 if that is
        more.
    """

    passes: int = 1
    min_rows: int = 1
    way: Literal["auto", "rows", "boost", "leaves"] = "auto"
    rounds: int = 10
    decay: float = 0.9
    replay: float = 0.0
    max_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of their ranges."""
        cap = 1 if self.max_size is None else self.max_size
        least = min(self.passes, self.min_rows, self.rounds, cap)
        if least < 1 or not 0.0 <= self.decay <= 1.0 or not 0.0 <= self.replay < np.inf:
            raise Invalid(
                "IncrementalOptions",
                needs="passes, min_rows, rounds and max_size of at least 1, a decay in [0, 1] "
                "and a replay of at least 0",
                came=f"passes={self.passes}, min_rows={self.min_rows}, rounds={self.rounds}, "
                f"max_size={self.max_size}, decay={self.decay}, replay={self.replay}",
                todo="Correct the recipe.",
            )


class Incremental:
    """Let a copy of the champion learn the rows that it has not seen.

    Everything that the champion and its ancestors trained on counts as trained on by the
    candidate. Of a pipeline only the last step goes on learning.

    Notes
    -----
    Costs one pass over the new rows. It is not ``warm_start``: that continues a fit on the
    *same* rows, and reads new ones through old bins (gradient boosting) or leaves the old
    trees as they are (forests). Some learners drift away or grow with every update: the
    growth is capped, and the drift is measured by racing it against ``retrain``.
    """

    name: ClassVar[str] = "incremental"
    Options: ClassVar[type[IncrementalOptions]] = IncrementalOptions
    keeps_parent: ClassVar[bool] = True
    can_thin: ClassVar[bool] = False

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:
        """Return why the champion cannot go on learning, from these rows where they are given."""
        able = parent.adapter.capabilities(parent.estimator)
        if not able.can_partial_fit and not able.can_continue_on_new_data:
            unable = f"{type(parent.estimator).__name__} cannot go on learning"
            return able.why_not.get("partial_fit") or able.why_not.get("continue") or unable
        if rows is None or rows.label is None:
            return None
        labelled = rows.labelled()
        fresh = _fresh(parent, labelled)
        if len(labelled) > 0 and len(fresh) == 0:
            return (
                f"It was fitted on all {len(labelled):,} labelled rows that may be fitted, or they "
                "were there before it: there is nothing new to learn"
            )
        unknown = {} if able.accepts_new_classes else new_classes(parent, fresh)
        if not unknown:
            return None
        reason = able.why_not.get("new_classes", _FIRST_CALL)
        return new_classes_sentence(unknown, f"{reason}: retrain instead")

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: IncrementalOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        """Learn the new labelled rows in the order of their event time.

        Parameters
        ----------
        parent : Parent
            The champion.
        rows : Rows
            That may be fitted; those that are validation rows are left out.
        options : IncrementalOptions
            Way, passes, replay, cap and least number of rows.
        seed : int
            Of what is random in going on, where the champion leaves it open, and of which old
            rows are replayed.
        means : Means
            Its validation rows are kept apart; nothing else of it is used.

        Raises
        ------
        Invalid
            On no labelled rows, fewer new ones than ``min_rows``, a missing column, or scores
            that are not finite any more.
        Refused
            When the champion cannot go on learning from these rows, or in this way, or has
            grown too large.
        """
        demand_columns(parent, rows, who=self.name)
        labelled = labelled_rows(apart_from(rows, means.validation), who=self.name)
        why_not = self.why_not(parent, labelled)
        if why_not is not None:
            raise _refused(why_not)
        able = parent.adapter.capabilities(parent.estimator)
        way = _way(able, options)
        if way != "leaves":
            _demand_room(parent, able.size, options)
        fresh = _fresh(parent, labelled)
        labels_of(fresh, parent.task, who=self.name, min_rows=options.min_rows)
        used = _with_replay(labelled, fresh, options.replay, seed)
        labels = parent.task.labels(used.label, who=self.name)
        fitted = _gone_on(parent, used, labels, way, options, seed=seed)
        size = parent.adapter.capabilities(fitted).size
        _demand_room(parent, size, options, is_made=True)
        demand_finite(parent, fitted, used, who=self.name)
        return Made(
            estimator=fitted,
            classes=parent.adapter.classes(fitted),
            keyset=keys_with_ancestors(parent, used),
            n_rows=len(used),
            trained_until_us=until_us_with_ancestors(parent, used),
            parent_is_ancestor=True,
            strategy=self.name,
            options=plain_options(options),
            facts=_facts(parent, way, able.size, size, len(used) - len(fresh)),
        )


def _way(able: Capabilities, options: IncrementalOptions) -> Way:
    """Return in which way it goes on: the one asked for, or the best that is possible."""
    ways: list[Way] = ["rows"] if able.can_partial_fit else []
    if able.can_continue_on_new_data:
        ways += able.ways
    if options.way == "auto":
        return ways[0]
    if options.way not in ways:
        reason = able.why_not.get("partial_fit" if options.way == "rows" else "continue")
        raise _refused(reason or f"it goes on by {' or '.join(ways)}, not by {options.way}")
    return options.way


def _gone_on(
    parent: Parent,
    used: Rows,
    labels: Labels,
    way: Way,
    options: IncrementalOptions,
    *,
    seed: int,
) -> Any:
    fitted = parent.estimator
    for at in range(options.passes):
        tell_progress(f"pass {at + 1} of {options.passes}", at / options.passes)
        step_seed = divided_seed(seed, f"pass {at}")
        if way == "rows":
            fitted = parent.adapter.partial_fit(fitted, used.features, labels, seed=step_seed)
            continue
        fitted = parent.adapter.continue_fit(
            fitted,
            used.features,
            labels,
            way=way,
            rounds=options.rounds,
            decay=options.decay,
            seed=step_seed,
        )
    return fitted


def _with_replay(labelled: Rows, fresh: Rows, replay: float, seed: int) -> Rows:
    """Return the new rows in their order, with old ones of known classes among them."""
    n_old = round(replay * len(fresh))
    if n_old == 0:
        return fresh
    old = np.flatnonzero(~np.isin(labelled.key_hash, fresh.key_hash))
    rng = np.random.default_rng(divided_seed(seed, "replay"))
    drawn = rng.choice(old, size=min(n_old, len(old)), replace=False)
    new = np.flatnonzero(np.isin(labelled.key_hash, fresh.key_hash))
    new = new[np.argsort(labelled.event_us[new], kind="stable")]
    place = np.concatenate([np.arange(len(new)) / len(new), rng.random(len(drawn))])
    return labelled.take(np.concatenate([new, drawn])[np.argsort(place, kind="stable")])


def _fresh(parent: Parent, labelled: Rows) -> Rows:
    """Return the rows that the parent has not been fitted on, oldest first."""
    at = np.flatnonzero(not_yet_fitted(parent, labelled))
    return labelled.take(at[np.argsort(labelled.event_us[at], kind="stable")])


def _first_size(parent: Parent) -> int | None:
    """Return the size with which the champion's line began, as its facts tell, or its own."""
    told = parent.version.facts.get("size")
    if isinstance(told, Mapping) and isinstance(told.get("first"), int):
        return int(told["first"])
    return parent.adapter.capabilities(parent.estimator).size


def _demand_room(
    parent: Parent, size: int | None, options: IncrementalOptions, *, is_made: bool = False
) -> None:
    """Refuse a champion that is as large as it may be, and a candidate that is larger."""
    first = _first_size(parent)
    cap = options.max_size or (None if first is None else max(_LEAST_CAP, _GROWTH * first))
    able = parent.adapter.capabilities(parent.estimator)
    if not able.grows or size is None or cap is None:
        return
    if size > cap or (not is_made and size == cap):
        grown = "it would grow to" if is_made else "it has grown to"
        raise _refused(
            f"{grown} {size:,} and may be {cap:,}: each update makes it larger and slower",
            todo="Take retrain, which begins anew, or raise max_size.",
        )


def _facts(
    parent: Parent, way: Way, before: int | None, after: int | None, n_replayed: int
) -> dict[str, Any]:
    facts: dict[str, Any] = {"way": way, "n_replayed": n_replayed}
    if before is not None and after is not None:
        facts["size"] = {"first": _first_size(parent), "before": before, "after": after}
    return facts


def _refused(reason: str, todo: str = "Take another strategy.") -> Refused:
    return Refused(
        Incremental.name,
        needs="a champion that can go on learning from these rows",
        came=f"one that cannot: {reason}",
        todo=todo,
    )
