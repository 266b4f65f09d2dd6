"""Trials in this process and as calls of an engine: the same losses either way."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from renewal.data.rows import Rows
from renewal.engine.inline import InlineEngine
from renewal.engine.options import EngineOptions
from renewal.engine.processes import ProcessEngine
from renewal.models.multilabel import Multilabel
from renewal.models.score_map import ScoreMap
from renewal.models.score_map_weights import Prior
from renewal.models.task import Regression
from renewal.store.local import LocalStore
from renewal.testing.updating import make_parent
from renewal.update.allowance import Allowance
from renewal.update.trials import by_engine, here, pack, unpack
from renewal.update.tuning import Bench, Try

BenchOf = Callable[..., Bench]
TRIES: list[Try] = [({}, 1.0), ({"C": 0.01}, 1 / 3), ({"C": "text"}, 1.0), ({"C": 0.01}, 1.0)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


@pytest.fixture
def bench(bench_of: BenchOf, timed: Rows) -> Bench:
    parent = make_parent(LogisticRegression(), "binary", timed.take(np.arange(400)))
    return bench_of(
        timed,
        parent.estimator,
        adapter=parent.adapter,
        weights=np.linspace(0.5, 1.5, 800),
        correction=ScoreMap((Prior((0.5, 0.5), (0.4, 0.6)),)),
    )


def _manifest(rows: Rows, estimator: Any, task: str) -> Any:
    return make_parent(estimator, task, rows.take(np.arange(400))).version.manifest


def _same(one: Bench, other: Bench) -> bool:
    return (
        one.features.equals(other.features)
        and one.watched_features.equals(other.watched_features)
        and one.labels.tolist() == other.labels.tolist()
        and one.watched_labels.tolist() == other.watched_labels.tolist()
        and list(map(type, one.labels.tolist())) == list(map(type, other.labels.tolist()))
        and (one.weights is None) == (other.weights is None)
        and (one.weights is None or np.array_equal(one.weights, np.array(other.weights)))
        and one.correction == other.correction
        and one.seed == other.seed
    )


def test_a_bench_comes_back_whole(bench: Bench, timed: Rows, store: LocalStore) -> None:
    """Breaks when a label changes its type, or weights and correction stay behind."""
    manifest = _manifest(timed, LogisticRegression(), "binary")
    numbered = replace(
        bench,
        labels=np.array([label == "yes" for label in bench.labels], dtype=object),
        watched_labels=np.array([label == "yes" for label in bench.watched_labels], dtype=object),
    )
    for each in (bench, numbered, replace(bench, weights=None, correction=None)):
        packed = pack(each, store, manifest)
        assert len(pickle.dumps(packed)) < 4000
        assert _same(unpack(store, packed), each)


def test_values_and_sets_of_labels_come_back(
    bench_of: BenchOf, values: Rows, timed: Rows, store: LocalStore
) -> None:
    """Breaks when a set of labels becomes a plain text on its way."""
    parent = make_parent(Ridge(), "regression", values.take(np.arange(400)))
    bench = bench_of(values, parent.estimator, adapter=parent.adapter, task=Regression())
    bench = replace(bench, labels=bench.labels.astype(float))
    assert _same(unpack(store, pack(bench, store, parent.version.manifest)), bench)
    several = Multilabel().labels(["news|sport", "news"] * 400, who="t")
    own = make_parent(LogisticRegression(), "binary", timed.take(np.arange(400)))
    sets = bench_of(timed, own.estimator, adapter=own.adapter, labels=several)
    sets = replace(sets, watched_labels=several[: len(sets.watched_labels)])
    back = unpack(store, pack(sets, store, own.version.manifest))
    assert _same(back, sets)


def test_in_a_call_as_in_this_process(bench: Bench, timed: Rows, store: LocalStore) -> None:
    """Breaks when an engine's trial fits other rows, or a failed one ends the rest."""
    manifest = _manifest(timed, LogisticRegression(), "binary")
    alone = here(bench, Allowance(None))(TRIES)
    packed = pack(bench, store, manifest)
    engine = InlineEngine()
    called = by_engine(packed, Allowance(None), engine, store)(TRIES)
    assert called == alone
    assert isinstance(alone[2], str)
    assert "Invalid" in alone[2]
    assert alone[1] != alone[3]


def test_in_other_processes_too(bench: Bench, timed: Rows, store: LocalStore) -> None:
    """Breaks when something that a trial needs does not travel by the store."""
    manifest = _manifest(timed, LogisticRegression(), "binary")
    alone = here(bench, Allowance(None))(TRIES)
    engine = ProcessEngine(EngineOptions(kind="processes", workers=2))
    try:
        allowance = Allowance(3600.0)
        found = by_engine(pack(bench, store, manifest), allowance, engine, store)(TRIES)
    finally:
        engine.close()
    assert [each for each in found if not isinstance(each, str)] == [alone[0], alone[1], alone[3]]
    assert isinstance(found[2], str)


class Listening(Allowance):
    """Keeps the shares that it is told of."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[float] = []

    def note(self, share: float, seconds: float) -> None:
        assert seconds > 0
        self.told.append(share)


def test_what_fits_took_is_noted(bench: Bench, timed: Rows, store: LocalStore) -> None:
    """Breaks when a budget is kept by trials whose cost nobody has told it."""
    packed = pack(bench, store, _manifest(timed, LogisticRegression(), "binary"))
    alone, called = Listening(), Listening()
    here(bench, alone)(TRIES)
    by_engine(packed, called, InlineEngine(), store)(TRIES)
    assert sorted(alone.told) == sorted(called.told) == [1 / 3, 1.0, 1.0]
