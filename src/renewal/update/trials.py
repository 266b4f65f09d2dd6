"""Where the trials of a tuning run: in this process, or as calls of an engine.

An engine's worker is handed digests: rows and recipe are put into the store once, and a
worker that runs several trials of one study reads them once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.version import Manifest
from renewal.data.columns import PREFIX
from renewal.engine.contract import Call, Ended, Engine
from renewal.models.adapters import adapter_of, stored
from renewal.models.contract import Weights
from renewal.models.labels import Labels
from renewal.models.load import load_estimator
from renewal.models.score_map import ScoreMap
from renewal.store.contract import Store
from renewal.update.allowance import Allowance
from renewal.update.tuning import Bench, Evaluate, Params, Try

_LABEL = f"{PREFIX}label"
_WEIGHT = f"{PREFIX}weight"


def here(bench: Bench, allowance: Allowance) -> Evaluate:
    """Return what runs trials in this process, one after the other.

    Parameters
    ----------
    bench : Bench
        Recipe and rows.
    allowance : Allowance
        Is told what each fit took.
    """

    def evaluate(tries: Sequence[Try]) -> list[float | str]:
        return [_timed(bench, params, share, allowance) for params, share in tries]

    return evaluate


def by_engine(packed: Packed, allowance: Allowance, engine: Engine, store: Store) -> Evaluate:
    """Return what runs trials as calls of an engine, as many at a time as it has slots.

    Parameters
    ----------
    packed : Packed
        Recipe and rows, as `pack` put them into the store.
    allowance : Allowance
        Is told what each fit took.
    engine : Engine
        Runs the calls.
    store : Store
        Where its workers find recipe and rows; it pickles.
    """

    def evaluate(tries: Sequence[Try]) -> list[float | str]:
        calls = [
            Call(run_trial, (store, packed, params, share), f"trial {dict(params)}")
            for params, share in tries
        ]
        found: list[float | str] = ["never run"] * len(calls)
        for ended in engine.run_all(calls):
            found[ended.at] = _outcome(ended)
            if ended.ran is not None:
                allowance.note(tries[ended.at][1], ended.ran.seconds)
        return found

    return evaluate


@dataclass(frozen=True, slots=True)
class Packed:
    """A `Bench` as digests and a few small values: what travels to a worker.

    Parameters
    ----------
    manifest : Manifest
        Of the recipe's version, naming the stored recipe.
    rows, watched : str
        Digests of the rows to learn from and to score, with their labels and weights.
    labels : tuple
        The distinct labels, which the rows number; empty for numbers.
    correction : ScoreMap or None
        As in `Bench`.
    seed : int
        As in `Bench`.
    trust : tuple of str
        Own classes that the recipe may load.
    """

    manifest: Manifest
    rows: str
    watched: str
    labels: tuple[Any, ...]
    correction: ScoreMap | None
    seed: int
    trust: tuple[str, ...] = ()


def pack(bench: Bench, store: Store, manifest: Manifest, trust: tuple[str, ...] = ()) -> Packed:
    """Put a bench into a store; `unpack` gives it back.

    Parameters
    ----------
    bench : Bench
        Recipe and rows.
    store : Store
        Takes them. They are nobody's once the study is over: a sweep takes them away.
    manifest : Manifest
        Of the version whose recipe it is: names its adapter and task.
    trust : tuple of str
        Own classes that the recipe may load.
    """
    recipe = stored(bench.adapter, bench.recipe, store)
    every = [*bench.labels.tolist(), *bench.watched_labels.tolist()]
    known = tuple(dict.fromkeys(every)) if bench.labels.dtype == object else ()
    return Packed(
        replace(
            manifest,
            artifact=recipe.artifact,
            artifact_bytes=recipe.artifact_bytes,
            parts=recipe.parts,
        ),
        store.put(_to_bytes(bench.features, bench.labels, bench.weights, known)),
        store.put(_to_bytes(bench.watched_features, bench.watched_labels, None, known)),
        known,
        bench.correction,
        bench.seed,
        trust,
    )


def unpack(store: Store, packed: Packed) -> Bench:
    """Return the bench that was packed.

    Raises
    ------
    NotFound, Corrupt, Invalid, Refused
        As `renewal.models.load.load_estimator`.
    """
    features, labels, weights = _from_bytes(store.get(packed.rows), packed.labels)
    watched_features, watched_labels, _ = _from_bytes(store.get(packed.watched), packed.labels)
    return Bench(
        adapter=adapter_of(packed.manifest),
        recipe=load_estimator(packed.manifest, store, packed.trust),
        task=load_plugin("tasks", packed.manifest.task)(),
        features=features,
        labels=labels,
        weights=weights,
        watched_features=watched_features,
        watched_labels=watched_labels,
        correction=packed.correction,
        seed=packed.seed,
    )


def run_trial(store: Store, packed: Packed, params: Params, share: float) -> float:
    """Return the loss of one trial: what a worker runs."""
    return _bench(
        _Key(packed.rows + packed.watched + packed.manifest.artifact, store, packed)
    ).loss(params, share)


@dataclass(frozen=True, eq=False)
class _Key:
    """What a worker remembers a bench by: its digests."""

    name: str
    store: Store
    packed: Packed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and (self.name, self.packed.seed, self.packed.labels) == (
            other.name,
            other.packed.seed,
            other.packed.labels,
        )

    def __hash__(self) -> int:
        return hash(self.name)


@lru_cache(maxsize=1)
def _bench(key: _Key) -> Bench:
    return unpack(key.store, key.packed)


def _timed(bench: Bench, params: Params, share: float, allowance: Allowance) -> float | str:
    started_s = time.perf_counter()
    try:
        loss = bench.loss(params, share)
    except Exception as error:  # noqa: BLE001  # the plug-in border: an estimator may raise anything, and the study counts it
        return _reason(error)
    allowance.note(share, time.perf_counter() - started_s)
    return loss


def _outcome(ended: Ended) -> float | str:
    if ended.ran is not None:
        return float(ended.ran.value)
    error = ended.error
    if isinstance(error, Unavailable) and error.fields.get("reason") == "cancelled":
        raise error
    return _reason(error)


def _reason(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}"


def _to_bytes(
    features: pa.Table, labels: Labels, weights: Weights | None, known: tuple[Any, ...]
) -> bytes:
    """Return rows as an Arrow file; labels by their place among the known ones."""
    if known:
        place = {label: at for at, label in enumerate(known)}
        codes = np.fromiter(map(place.__getitem__, labels.tolist()), np.int32, count=len(labels))
        table = features.append_column(_LABEL, pa.array(codes))
    else:
        table = features.append_column(_LABEL, pa.array(labels.astype(np.float64)))
    if weights is not None:
        table = table.append_column(_WEIGHT, pa.array(weights))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _from_bytes(data: bytes, known: tuple[Any, ...]) -> tuple[pa.Table, Labels, Weights | None]:
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    labels = table.column(_LABEL).to_numpy()
    if known:
        values = np.empty(len(known), object)
        values[:] = known
        labels = values[labels]
    weights = table.column(_WEIGHT).to_numpy() if _WEIGHT in table.column_names else None
    inputs = [name for name in table.column_names if name not in {_LABEL, _WEIGHT}]
    return table.select(inputs), labels, weights
