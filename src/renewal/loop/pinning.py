"""What an update sees: the snapshot, the window and the champion, fixed when it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from renewal.core.version import Snapshot
from renewal.data.forward import ForwardWindow
from renewal.data.keyset import KeySet
from renewal.evaluate.cost_metric import COST
from renewal.loop.evidence import forward
from renewal.loop.sampled import without_requested
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain, to_plain
from renewal.update.desk import Desk, Pinned
from renewal.update.lineage import source_version
from renewal.update.stretches import selection_rows

_N_BASES = 8


def pin(shop: Workshop, at: datetime) -> dict[str, Any]:
    """Return what an update that starts now sees, as JSON values.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    at : datetime
        When it starts.

    Raises
    ------
    NotFound
        When the model has no champion.
    """
    return {
        "snapshot": to_plain(shop.feed.snapshot()),
        "window": to_plain(forward(shop, at)),
        "baseline": shop.registry.version(shop.spec.name, "champion").id,
        "bases": _bases(shop),
    }


def desk_of(shop: Workshop, pinned: Mapping[str, Any]) -> Desk:
    """Return the desk on which an update works.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    pinned : mapping
        As `pin` returned it.
    """
    window = pinned["window"]
    fixed = Pinned(
        place=shop.place,
        spec=shop.spec,
        snapshot=from_plain(Snapshot, pinned["snapshot"]),
        window=None if window is None else from_plain(ForwardWindow, window),
        baseline=pinned["baseline"],
        salt=shop.salt,
        trust=shop.trust,
        seed=shop.update.seed,
        selection=shop.update.selection,
        costs=json.dumps(shop.gate.costs) if _by_cost(shop) else None,
        bases=tuple((model, version) for model, version in pinned.get("bases", ())),
    )
    desk = Desk(fixed, feed=shop.feed, store=shop.store, registry=shop.registry)
    desk.pinned = replace(fixed, set_aside=_set_aside(shop, desk))
    return desk


def _bases(shop: Workshop) -> list[list[str]]:
    """Return model and id of the live versions of other models with the same kind of inputs."""
    registry = shop.registry
    champion = registry.version(shop.spec.name, "champion")
    mine = source_version(registry.lineage(champion.id)).manifest
    found = []
    for spec in registry.models():
        live = registry.aliases(spec.name).get("champion")
        if spec.name == shop.spec.name or live is None:
            continue
        version = registry.version(spec.name, live)
        other = version.manifest
        if (other.adapter, other.task, other.signature) == (
            mine.adapter,
            mine.task,
            mine.signature,
        ):
            found.append(version)
    found.sort(key=lambda each: each.created_at, reverse=True)
    return [[each.manifest.model, each.id] for each in found[:_N_BASES]]


def _by_cost(shop: Workshop) -> bool:
    """Whether the headline claim is on what decisions cost: then the race chooses by it."""
    return bool(shop.gate.proofs) and shop.gate.proofs[0].metric == COST


def _set_aside(shop: Workshop, desk: Desk) -> str | None:
    """Store the keys of selection rows whose label was asked for; None where there is none."""
    pinned = desk.pinned
    rows = selection_rows(desk.rows, pinned.window, salt=pinned.salt, length=pinned.selection)
    left = without_requested(shop, rows)
    if len(left) == len(rows):
        return None
    asked = rows.take(~np.isin(rows.key_hash, left.key_hash))
    return shop.store.put(KeySet.of(asked).to_bytes())
