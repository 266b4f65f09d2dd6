"""The desk of an update: the rows and the parent that every one of its fits works with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from renewal.core.clock import SystemClock, to_us
from renewal.core.errors import Refused
from renewal.core.plugin import load_plugin
from renewal.core.spec import ModelSpec
from renewal.core.version import Snapshot, Version
from renewal.data.feed import Feed
from renewal.data.forward import ForwardWindow
from renewal.data.keyset import KeySet
from renewal.data.place import Place
from renewal.data.rows import Rows
from renewal.evaluate.unseen import unseen
from renewal.models.adapters import adapter_of
from renewal.models.load import load_estimator
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.store.contract import Store
from renewal.store.local import LocalStore
from renewal.update.contract import Parent
from renewal.update.lineage import (
    living_ancestors,
    source_version,
    unknown_until_us,
    unmapped_version,
)
from renewal.update.stretches import selection_rows, thinned, training_rows


@dataclass(frozen=True, slots=True)
class Pinned:
    """What one update works with, fixed when it starts: the same now and after a crash.

    Plain values that pickle: a worker of any engine opens its own desk from them.

    Parameters
    ----------
    place : Place
        Where rows and objects are kept.
    spec : ModelSpec
        The model.
    snapshot : Snapshot
        The feed as it was.
    window : ForwardWindow or None
        None where the model has no event time.
    baseline : str
        Id of the champion.
    salt : bytes
        Of the home; decides the roles of timeless rows.
    trust : tuple of str
        Own classes that stored models may load.
    seed : int
        Of every fit.
    selection : timedelta
        Length of the stretch on which the race chooses, for timed data.
    set_aside : str or None, default None
        Digest of the key set of rows on which nobody chooses: their labels were asked for.
    costs : str or None, default None
        JSON of ``costs[true][predicted]`` where the gate's headline claim is on cost: then
        the race chooses by what decisions cost, and not by the task's loss.
    bases : tuple of (str, str), default ()
        Model and id of live versions of other models with the same inputs, the newest first:
        the catalogue from which a fine-tuning may choose.
    """

    place: Place
    spec: ModelSpec
    snapshot: Snapshot
    window: ForwardWindow | None
    baseline: str
    salt: bytes
    trust: tuple[str, ...]
    seed: int
    selection: timedelta
    set_aside: str | None = None
    costs: str | None = None
    bases: tuple[tuple[str, str], ...] = ()


class Desk:
    """The rows, the parent and the store of one update, read once a process.

    Pickling one carries its `Pinned` alone; the other process opens rooms of its own, and
    keeps them for the next fit of the same update.

    Parameters
    ----------
    pinned : Pinned
        What is fixed.
    feed, store, registry : Feed, Store, Registry or None
        Rooms that are open already; None: opened when they are needed.
    """

    def __init__(
        self,
        pinned: Pinned,
        *,
        feed: Feed | None = None,
        store: Store | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.pinned = pinned
        self.store: Store = store or LocalStore(pinned.place.objects)
        self.registry = registry or Registry(Database(pinned.place.database), SystemClock())
        self._feed = feed or Feed(
            pinned.place.feed(pinned.spec.name), pinned.spec, self.registry.db, SystemClock()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what is pinned: rooms stay where they are."""
        return _opened, (self.pinned,)

    @cached_property
    def rows(self) -> Rows:
        """Every labelled row of the snapshot, by time and key.

        Workers log in any order; in this one the same rows and seed give the same bytes.
        """
        return _in_order(self._feed.rows(snapshot=self.pinned.snapshot, labelled=True))

    @cached_property
    def baseline(self) -> Version:
        """The champion."""
        return self.version(self.pinned.baseline)

    @cached_property
    def source(self) -> Version:
        """The champion, or, where that is compressed, what it was made of."""
        return source_version(self.registry.lineage(self.baseline.id))

    @cached_property
    def parent(self) -> Parent:
        """The source, loaded: what every strategy starts from."""
        manifest = self.source.manifest
        lineage = self.registry.lineage(self.source.id)
        keyset = self._keyset(self.source)
        inside = unmapped_version(lineage)
        only_mapped = None
        if keyset is not None and inside.id != self.source.id:
            learned = self._keyset(inside)
            only_mapped = keyset if learned is None else keyset.without(learned)
        return Parent(
            version=self.source,
            estimator=load_estimator(manifest, self.store, self.pinned.trust),
            adapter=adapter_of(manifest),
            task=load_plugin("tasks", manifest.task)(),
            keyset=keyset,
            unknown_until_us=unknown_until_us(living_ancestors(lineage)),
            only_mapped=only_mapped,
        )

    @cached_property
    def selection(self) -> Rows:
        """The rows on which the race chooses; those that the champion trained on are left out.

        Where it trained on all of them, the recipes that learn afresh still race on them.

        Raises
        ------
        Refused
            When there is none.
        """
        pinned = self.pinned
        rows = selection_rows(self.rows, pinned.window, salt=pinned.salt, length=pinned.selection)
        if pinned.set_aside is not None:
            asked = KeySet.from_bytes(self.store.get(pinned.set_aside))
            rows = rows.take(~np.isin(rows.key_hash, asked.keys))
        if not len(rows):
            raise Refused(
                "the race",
                needs="labelled rows to choose on",
                came="none before the cut",
                todo="Wait for labels, or shorten the holdout of the gate.",
            )
        try:
            return self.unseen(rows, self.baseline)
        except Refused:
            return rows

    def training(self, *, in_race: bool, share: float = 1.0, with_unlabelled: bool = False) -> Rows:
        """Return the rows that a candidate may be fitted on.

        Parameters
        ----------
        in_race : bool
            Whether the fit is compared on the selection rows; else it goes up to the cut.
        share : float in (0, 1], default 1
            Of them.
        with_unlabelled : bool, default False
            Whether those that wait for their label are among them.
        """
        pinned = self.pinned
        before = pinned.selection if in_race else None
        rows = self.rows
        if with_unlabelled:
            rows = _in_order(self._feed.rows(snapshot=pinned.snapshot))
        rows = training_rows(rows, pinned.window, salt=pinned.salt, before=before)
        return thinned(rows, share)

    def is_fair_to(self, version: Version) -> bool:
        """Say whether a version may be scored on the selection rows: it trained on none."""
        rows = self.selection
        try:
            return len(self.unseen(rows, version)) == len(rows)
        except Refused:
            return False

    def unseen(self, rows: Rows, version: Version) -> Rows:
        """Return the rows that neither a version nor a living ancestor of it trained on."""
        living = living_ancestors(self.registry.lineage(version.id))
        keysets = [self._keyset(each) for each in living]
        return unseen(rows, keysets, [to_us(each.created_at) for each in living])[0]

    def version(self, ref: str) -> Version:
        """Return a version of the model."""
        return self.registry.version(self.pinned.spec.name, ref)

    def _keyset(self, version: Version) -> KeySet | None:
        digest = version.manifest.trained_keys
        return None if digest is None else KeySet.from_bytes(self.store.get(digest))


def _in_order(rows: Rows) -> Rows:
    return rows.take(np.lexsort((rows.key_hash, rows.event_us)))


@lru_cache(maxsize=1)
def _opened(pinned: Pinned) -> Desk:
    return Desk(pinned)
