"""What the circuit of one model works with: the rooms below, opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from renewal.compress.options import CompressOptions
from renewal.core.clock import Clock
from renewal.core.spec import ModelSpec
from renewal.data.feed import Feed
from renewal.data.place import Place
from renewal.engine.contract import Engine
from renewal.gate.options import GateOptions
from renewal.loop.happening import HearRecipe, Tell, hear_no_recipe
from renewal.loop.options import UpdateOptions
from renewal.monitor.options import MonitorOptions
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.rollout.options import RolloutOptions
from renewal.serve.options import Compiled
from renewal.store.contract import Store


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the circuit of one model works with.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    db, registry, store, feed, engine : object
        The rooms where the world changes, and where work runs.
    segments : Path
        The folder into which servers write their log segments.
    clock : Clock
        The time.
    salt : bytes
        Of the home; decides the roles of timeless rows.
    trust : tuple of str
        Own classes that stored models may load.
    update, gate, rollout, monitor, compress : dataclass
        The policy.
    tell : callable
        Hears of everything that happens.
    place : Place
        Where all of it is kept, for workers in other processes.
    hear : callable
        Hears how far each recipe of a race has come.
    compiled : {"when_equal", "never"}
        Whether versions in service are checked for a compiled form.
    """

    spec: ModelSpec
    db: Database
    registry: Registry
    store: Store
    feed: Feed
    engine: Engine
    segments: Path
    clock: Clock
    salt: bytes
    trust: tuple[str, ...]
    update: UpdateOptions
    gate: GateOptions
    rollout: RolloutOptions
    monitor: MonitorOptions
    compress: CompressOptions
    tell: Tell
    place: Place
    hear: HearRecipe = hear_no_recipe
    compiled: Compiled = "when_equal"

    @property
    def watched(self) -> str:
        """The lease that whoever changes the model's traffic or versions holds."""
        return f"watch:{self.spec.name}"
