"""Fine-tune: a network goes on learning from new rows, gently, with old ones among them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt

from renewal.core.errors import Invalid
from renewal.core.option_text import plain_options
from renewal.core.progress import tell_progress
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.adapters import adapter_of
from renewal.models.layers import LayeredAdapter, Lesson, Tuning
from renewal.models.learned import learned_facts
from renewal.models.load import load_estimator
from renewal.models.score_map import Mapped, ScoreMap, decision_of, unmapped
from renewal.models.task import Scores
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
from renewal.update.probe import choose_base
from renewal.update.seeds import divided_seed
from renewal.update.steps import Training, as_raced, cannot_tune

_NO_LAYERS = "has no layers that could be trained further"
_NO_ROOM = "The head of this network cannot be widened: retrain instead"


@dataclass(frozen=True, slots=True)
class FineTuneOptions(Tuning):
    """How a network goes on learning: every field of `Tuning`, and which rows it learns from.

    Parameters
    ----------
    replay : float >= 0, default 0.5
        Old rows mixed in, as a share of the new ones, against forgetting; drawn from those
        that the champion has trained on and that may be fitted.
    replay_weight : float > 0, default 1
        How much an old row counts beside a new one.
    min_rows : int >= 1, rows, default 30
        Fewer new labelled rows are refused.
    base : {"parent", "probe"}, default "parent"
        What it starts from: the champion, or the one of the catalogue (`Means.bases`, and the
        champion) that a cheap probe on the new rows ranks first.
    """

    replay: float = 0.5
    replay_weight: float = 1.0
    min_rows: int = 30
    base: Literal["parent", "probe"] = "parent"

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        # Without `super`: a dataclass with slots is another class than the one written here.
        Tuning.__post_init__(self)
        if not (self.replay >= 0.0 and self.replay_weight > 0.0 and self.min_rows >= 1):
            raise Invalid(
                "FineTuneOptions",
                needs="replay >= 0, replay_weight > 0 and min_rows >= 1",
                came=f"replay={self.replay}, replay_weight={self.replay_weight}, "
                f"min_rows={self.min_rows}",
                todo="Correct the recipe.",
            )

    @property
    def tuning(self) -> Tuning:
        """What the adapter is told."""
        return Tuning(**{each.name: getattr(self, each.name) for each in fields(Tuning)})


class FineTune:
    """Let a copy of the champion's network, or of a base, go on learning from the new rows.

    Everything that the champion, the base and their ancestors trained on counts as trained on
    by the candidate. Validation rows decide when it stops and are never learned from.

    Notes
    -----
    Costs `epochs` passes over the new rows and the replayed ones. Without replay a network
    forgets what the new rows do not show; with a small learning rate, a frozen trunk
    (``train=last:1``) or distillation (``distil=0.5``) it keeps more and learns less. A killed
    fine-tuning goes on from its last checkpoint where it is given a scratch folder. Network
    and rows lie in memory at once.
    """

    name: ClassVar[str] = "fine_tune"
    Options: ClassVar[type[FineTuneOptions]] = FineTuneOptions
    keeps_parent: ClassVar[bool] = True
    can_thin: ClassVar[bool] = True

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:
        """Return why the champion cannot be fine-tuned, on these rows where they are given."""
        able = parent.adapter.capabilities(parent.estimator)
        if not able.has_layers:
            name = type(unmapped(parent.estimator)).__name__
            return able.why_not.get("layers", f"{name} {_NO_LAYERS}")
        if rows is None or rows.label is None:
            return None
        labelled = rows.labelled()
        is_new = not_yet_fitted(parent, labelled)
        if len(labelled) > 0 and not is_new.any():
            return (
                f"It was fitted on all {len(labelled):,} labelled rows that may be fitted, or they "
                "were there before it: there is nothing new to learn"
            )
        unknown = {} if able.accepts_new_classes else new_classes(parent, labelled.take(is_new))
        if not unknown:
            return None
        return new_classes_sentence(unknown, able.why_not.get("new_classes", _NO_ROOM))

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: FineTuneOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        """Fine-tune on the new labelled rows, with old ones mixed in.

        Parameters
        ----------
        parent : Parent
            The champion; also the teacher where ``distil`` is above 0.
        rows : Rows
            That may be fitted; those that are validation rows by key or group are left out.
        options : FineTuneOptions
            How.
        seed : int
            Of the replayed rows, of their order, of new layers and of dropout.
        means : Means
            Validation rows for early stopping, a budget in seconds, a scratch folder for
            checkpoints, and bases to choose from. Without validation rows, as many epochs as
            the same recipe `found` best before, from the base that it found, and no more steps
            than it had time for; a base that was best untouched stays so.

        Raises
        ------
        Invalid
            On no labelled rows, fewer new ones than ``min_rows``, labels of one class, a
            missing column, or a training that diverges.
        Refused
            When the champion cannot be fine-tuned on these rows, or there is no time for one
            step.
        Unavailable
            When a checkpoint cannot be written, or memory is too small.
        """
        began = time.perf_counter()
        demand_columns(parent, rows, who=self.name)
        labelled = labelled_rows(apart_from(rows, means.validation), who=self.name)
        why_not = self.why_not(parent, labelled)
        if why_not is not None:
            raise cannot_tune(why_not, "Take another strategy.")
        used, is_new = _with_replay(parent, labelled, options, seed)
        labels = labels_of(used, parent.task, who=self.name, min_rows=1)
        base, ranks = _base(parent, used.take(is_new), options, seed=seed, means=means)
        lesson = Lesson(
            used.features,
            labels,
            None if options.replay_weight == 1.0 else np.where(is_new, 1.0, options.replay_weight),
            _teacher(parent, used) if options.distil else None,
        )
        watched = _watched(base, means.validation, lesson)
        if watched is None and _is_best_untouched(options, parent, base, means):
            fitted, learned = base.estimator, {"best_epoch": 0, "steps": 0}
        else:
            training = Training(base, lesson, watched, divided_seed(seed, "tuning"), means.scratch)
            asked = as_raced(options.tuning, means, is_watched=watched is not None)
            how = training.within(asked, means.budget_s, began)
            with learned_facts() as learned:
                fitted = training.run(how)
            learned |= training.cut(asked, how)
        demand_finite(base, fitted, used, who=self.name)
        return Made(
            estimator=fitted,
            classes=base.adapter.classes(fitted),
            keyset=_union(keys_with_ancestors(parent, used), base.keyset),
            n_rows=len(used),
            trained_until_us=max(
                until_us_with_ancestors(parent, used), until_us_with_ancestors(base, used)
            ),
            parent_is_ancestor=True,
            strategy=self.name,
            options=plain_options(options),
            facts={
                "n_new": int(is_new.sum()),
                "n_replayed": int((~is_new).sum()),
                "n_watched": 0 if watched is None else len(watched.labels),
                **learned,
                **ranks,
            },
        )


def _with_replay(
    parent: Parent, labelled: Rows, options: FineTuneOptions, seed: int
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Return the new rows with old ones among them, and which are new.

    In the order of their hashes: how a feed stores its rows must not change the candidate.
    """
    labelled = labelled.take(np.argsort(labelled.key_hash, kind="stable"))
    is_new = not_yet_fitted(parent, labelled)
    n_new = int(is_new.sum())
    if n_new < options.min_rows:
        raise Invalid(
            FineTune.name,
            needs=f"at least {options.min_rows:,} new labelled rows",
            came=f"{n_new:,}",
            todo="Wait for more labels, or lower min_rows in the recipe.",
            n_rows=n_new,
            min_rows=options.min_rows,
        )
    old = np.flatnonzero(~is_new)
    n_old = min(round(options.replay * n_new), len(old))
    rng = np.random.default_rng(divided_seed(seed, "replay"))
    drawn = rng.choice(old, size=n_old, replace=False)
    at = np.sort(np.concatenate([np.flatnonzero(is_new), drawn]))
    return labelled.take(at), is_new[at]


def _is_best_untouched(
    options: FineTuneOptions, parent: Parent, base: Parent, means: Means
) -> bool:
    """Whether the base won the race before any training, which then would only harm it.

    Where the champion itself did, there is no candidate.
    """
    if options.patience is None or means.found.get("best_epoch") != 0:
        return False
    if base.version.id == parent.version.id or base.version.id != means.found.get("base"):
        raise cannot_tune(
            "in the race no epoch made it better than it was before",
            "Lower lr, freeze more layers, or take another strategy.",
        )
    return True


def _teacher(parent: Parent, used: Rows) -> Scores:
    """Return what the champion's network says, without a map that its pupil will not have."""
    return parent.adapter.predict(unmapped(parent.estimator), used.features)


def _watched(base: Parent, validation: Rows | None, lesson: Lesson) -> Lesson | None:
    """Return the labelled validation rows of classes that the candidate will know."""
    if validation is None or validation.label is None:
        return None
    rows = validation.labelled()
    known = set(base.adapter.classes(base.estimator))
    if known:
        known |= set(lesson.labels.tolist())
        rows = rows.take(np.array([each in known for each in np.array(rows.label)], np.bool_))
    if len(rows) == 0:
        return None
    return Lesson(rows.features, base.task.labels(rows.label, who=FineTune.name))


def _base(
    parent: Parent, new: Rows, options: FineTuneOptions, *, seed: int, means: Means
) -> tuple[Parent, Mapping[str, Any]]:
    """Return what to start from: the champion, or, after a probe, the best of the catalogue.

    A base of which nobody knows what it was trained on is passed over: its rows could not be
    kept away from the judges.
    """
    if options.base == "parent":
        return parent, {}
    known = [each for each in means.bases if each.manifest.trained_keys is not None]
    if means.store is None or not known:
        return parent, {"base": parent.version.id, "why": "no base with known training rows"}
    found = {each.id: each for each in known}.get(str(means.found.get("base")))
    if found is not None:
        return _loaded(parent, found, seed, means), {"base": found.id}
    if means.found.get("base") == parent.version.id:
        return parent, {"base": parent.version.id}
    ranked = choose_base(
        parent,
        new,
        (parent.version, *known),
        store=means.store,
        trust=means.trust,
        seed=divided_seed(seed, "probe"),
    )
    facts = {
        "base": ranked[0].version.id,
        "probed": {each.version.id: each.loss for each in ranked},
    }
    if ranked[0].version.id == parent.version.id or ranked[0].loss is None:
        return parent, facts | {"base": parent.version.id}
    return _loaded(parent, ranked[0].version, seed, means), facts


def _loaded(parent: Parent, version: Version, seed: int, means: Means) -> Parent:
    """Return a base as if it were the champion: with its outputs for the champion's classes."""
    assert means.store is not None
    manifest = version.manifest
    tell_progress(f"starts from {manifest.model} {version.name}")
    adapter = cast("LayeredAdapter", adapter_of(manifest))
    estimator = unmapped(load_estimator(manifest, means.store, means.trust))
    classes = parent.adapter.classes(parent.estimator)
    if adapter.classes(estimator) != classes:
        estimator = adapter.with_classes(estimator, classes, seed=divided_seed(seed, "head"))
    decision = decision_of(parent.estimator)
    if decision:
        estimator = Mapped(estimator, ScoreMap(decision))
    assert manifest.trained_keys is not None
    keyset = KeySet.from_bytes(means.store.get(manifest.trained_keys))
    return replace(parent, version=version, estimator=estimator, adapter=adapter, keyset=keyset)


def _union(one: KeySet, other: KeySet | None) -> KeySet:
    return one if other is None else one.union(other)
