"""One heat: a candidate made and scored, as a function that any engine can run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.clock import from_us
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.version import Manifest, Version
from renewal.data.rows import Rows
from renewal.engine.contract import Engine
from renewal.evaluate.cost_metric import cost_metric
from renewal.models.adapters import adapter_of, stored
from renewal.models.contract import Adapter
from renewal.models.load import load_estimator
from renewal.models.task import Classes
from renewal.update.contract import Made, Means, Parent
from renewal.update.desk import Desk
from renewal.update.entry import FORMER, KEEP
from renewal.update.lineage import living_ancestors, unknown_until_us
from renewal.update.recipe import Recipe, parse_recipe

_SEEN = "the champion trained on rows on which the race chooses"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of the rows on a desk; plain values.

    Parameters
    ----------
    label : str
        A recipe, ``keep``, or ``version:`` and an id.
    in_race : bool, default True
        Whether it is scored on the selection rows. Else it is fitted up to the cut.
    share : float in (0, 1], default 1
        Of the rows that may be fitted.
    budget_s : float or None, seconds, default None
        How long it may take.
    scratch : str or None, default None
        A folder for what a kill must not lose.
    found : mapping, default empty
        Facts of an earlier fit of the same recipe in this update, such as its best parameters.
    """

    label: str
    in_race: bool = True
    share: float = 1.0
    budget_s: float | None = None
    scratch: str | None = None
    found: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an order; plain values, for the journal.

    Parameters
    ----------
    why_not : str or None, default None
        Why nothing could be made.
    manifest : Manifest or None, default None
        Of the candidate; its bytes are in the store.
    loss : float or None, default None
        Mean on the selection rows.
    losses : str or None, default None
        Digest of the loss of each selection row, float64.
    n_rows : int, default 0
        Rows of the fit.
    facts : mapping, default empty
        What the strategy found worth knowing.
    """

    why_not: str | None = None
    manifest: Manifest | None = None
    loss: float | None = None
    losses: str | None = None
    n_rows: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


def carry_out(desk: Desk, order: Order, engine: Engine | None = None) -> Done:
    """Make what is ordered, score it where it races, and store its bytes.

    It depends on what is pinned and on the order alone, so it may be done again after a kill,
    in any process. Where it works, `desk` arrives as its `Pinned`, and the bytes go through
    the store.

    Parameters
    ----------
    desk : Desk
        Rows, parent and store.
    order : Order
        What to make.
    engine : Engine or None
        Where trials inside a strategy run; None: in this process.

    Returns
    -------
    Done
        With `why_not` where nothing can be made of these rows.

    Raises
    ------
    Invalid
        When the rows do not do, or the candidate's scores are not finite.
    """
    if order.label == KEEP or order.label.startswith(FORMER):
        return _as_it_is(desk, order)
    recipe = parse_recipe(order.label)
    strategy = load_plugin("strategies", recipe.strategy)()
    parent = desk.parent
    rows = desk.training(
        in_race=order.in_race,
        share=order.share,
        with_unlabelled=getattr(recipe.options, "reads_unlabelled", False),
    )
    why_not = strategy.why_not(parent, rows)
    if why_not is None and order.in_race and strategy.keeps_parent:
        why_not = None if desk.is_fair_to(desk.baseline) else _SEEN
    if why_not is not None:
        return Done(why_not=why_not)
    made: Made = strategy.make(
        parent, rows, recipe.options, desk.pinned.seed, _means(desk, order, engine)
    )
    loss, losses = None, None
    if order.in_race:
        loss, losses = _scored(desk, parent.adapter, made.estimator, made.classes, order.label)
    manifest = _manifest(desk, parent, recipe, made)
    return Done(None, manifest, loss, losses, made.n_rows, dict(made.facts))


def losses_of(desk: Desk, digest: str) -> NDArray[np.float64]:
    """Return the loss of each selection row that an order has stored."""
    return np.frombuffer(desk.store.get(digest), "<f8").astype(np.float64, copy=False)


def bases_for(desk: Desk, parent: Parent) -> tuple[Version, ...]:
    """Return versions with layers and the same inputs from which a fine-tuning may start.

    Of the catalogue that is pinned those are left out of which, or of an ancestor that lives on
    in them, nobody knows what it was trained on, and those that have trained on rows on which
    the race chooses: what started from one would look better there than it is.
    """
    if not parent.adapter.capabilities(parent.estimator).has_layers:
        return ()
    found = [desk.registry.version(model, each) for model, each in desk.pinned.bases]
    return tuple(each for each in found if _is_known(desk, each) and desk.is_fair_to(each))


def _is_known(desk: Desk, version: Version) -> bool:
    return unknown_until_us(living_ancestors(desk.registry.lineage(version.id))) is None


def _as_it_is(desk: Desk, order: Order) -> Done:
    """Score the champion, or a former version, on the selection rows."""
    is_keep = order.label == KEEP
    version = desk.baseline if is_keep else desk.version(order.label.removeprefix(FORMER))
    if not desk.is_fair_to(version):
        return Done(why_not=_SEEN if is_keep else "it trained on rows on which the race chooses")
    if is_keep and desk.source.id == desk.baseline.id:
        adapter, estimator = desk.parent.adapter, desk.parent.estimator
    else:
        adapter = adapter_of(version.manifest)
        estimator = load_estimator(version.manifest, desk.store, desk.pinned.trust)
    loss, losses = _scored(desk, adapter, estimator, version.manifest.classes, order.label)
    return Done(loss=loss, losses=losses, n_rows=version.manifest.n_trained_rows)


def _scored(
    desk: Desk, adapter: Adapter, estimator: Any, classes: Classes, label: str
) -> tuple[float, str]:
    rows, task = desk.selection, desk.parent.task
    scores = adapter.predict(estimator, rows.features)
    if not np.isfinite(scores).all():
        n_bad = int((~np.isfinite(scores).all(axis=1)).sum())
        raise Invalid(
            label,
            needs="finite scores of every row on which the race chooses",
            came=f"NaN or infinite ones for {n_bad:,} of {len(rows):,} rows",
            todo="Its training has diverged, or it cannot take these rows: look at its options.",
            n_rows=n_bad,
        )
    labels = task.labels(rows.label, who="the race")
    if desk.pinned.costs is None:
        losses = task.loss(scores, labels, classes)
    else:
        by_cost = cost_metric(json.loads(desk.pinned.costs), classes=classes).per_row
        losses = by_cost(scores, labels, classes) if by_cost is not None else np.empty(0)
    digest = desk.store.put(np.ascontiguousarray(losses, "<f8").tobytes())
    return float(np.mean(losses)), digest


def _means(desk: Desk, order: Order, engine: Engine | None) -> Means:
    return Means(
        validation=_validation(desk, order),
        budget_s=order.budget_s,
        scratch=None if order.scratch is None else Path(order.scratch),
        engine=engine,
        store=desk.store,
        bases=bases_for(desk, desk.parent),
        trust=desk.pinned.trust,
        found=order.found,
    )


def _validation(desk: Desk, order: Order) -> Rows | None:
    """Return the rows on which a strategy may choose; none where they are fitted themselves.

    Of timed data the fit up to the cut takes the selection rows in: what was chosen on them
    in the race is handed on in `found`.
    """
    is_held_out = order.in_race or desk.pinned.window is None
    return desk.selection if is_held_out else None


def _manifest(desk: Desk, parent: Parent, recipe: Recipe, made: Made) -> Manifest:
    mine = parent.version.manifest
    put = stored(parent.adapter, made.estimator, desk.store)
    return Manifest(
        model=mine.model,
        task=mine.task,
        adapter=mine.adapter,
        artifact=put.artifact,
        artifact_bytes=put.artifact_bytes,
        signature=mine.signature,
        classes=made.classes,
        strategy=recipe.strategy,
        options=made.options,
        parent=parent.version.id,
        trained_keys=desk.store.put(made.keyset.to_bytes()),
        n_trained_rows=made.n_rows,
        trained_until=None if made.trained_until_us is None else from_us(made.trained_until_us),
        snapshot=desk.pinned.snapshot,
        seed=desk.pinned.seed,
        environment=parent.adapter.environment(),
        parts=put.parts,
    )
