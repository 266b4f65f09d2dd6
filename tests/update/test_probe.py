"""The probe of bases: ranked by what their heads are handed, and no base stops the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest, Version
from renewal.data.columns import hash_keys
from renewal.data.rows import NEVER_US, Rows
from renewal.models.adapters import stored
from renewal.models.layers import Tuning
from renewal.models.task import Multiclass, Regression
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import TransformersModel
from renewal.store.local import LocalStore
from renewal.update.contract import Parent
from renewal.update.probe import N_ROWS, Probed, choose_base

ADAPTER = TransformersAdapter()
FIELDS = Signature((Field("text", "string"),))
RECIPE = TransformersModel(
    {
        "model_type": "bert",
        "vocab_size": 300,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 16,
    },
    max_length=16,
    how=Tuning(epochs=10, batch=16, lr=1e-2, patience=None),
)
FILLER = ("please", "hello", "help", "where", "is", "my", "the", "now")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # With so small a network it is what dropout draws, another thing on a GPU, that it sees by.
    monkeypatch.setenv("RENEWAL_DEVICE", "cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _rows(n_rows: int = 80, *, seed: int = 0, labelled: bool = True) -> Rows:
    rng = np.random.default_rng(seed)
    labels = np.array(rng.choice(["card", "fee", "refund"], n_rows).tolist(), dtype=object)
    texts = [" ".join([*rng.choice(FILLER, 3), str(label)]) for label in labels]
    keys = np.array([f"{seed} {at}" for at in range(n_rows)], dtype=object)
    hashes = hash_keys(keys.tolist())
    instants = np.zeros(n_rows, np.int64)
    return Rows(
        features=pa.table({"text": texts}),
        key=keys,
        key_hash=hashes,
        group_hash=hashes,
        sticky=None,
        event_us=instants,
        arrived_us=instants,
        label=labels,
        label_arrived_us=instants if labelled else np.full(n_rows, NEVER_US),
        block=instants,
    )


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


def _version(store: LocalStore, number: int, epochs: int, **change: Any) -> Version:
    """Fit a version on rows of its own and register it by hand."""
    rows = _rows(seed=100 + number)
    recipe = replace(
        RECIPE, how=replace(RECIPE.how, epochs=epochs, lr=1e-2 if epochs > 1 else 1e-9)
    )
    model = ADAPTER.fit(recipe, rows.features, rows.label, seed=number)  # type: ignore[arg-type]  # labelled
    kept = stored(ADAPTER, model, store)
    manifest = Manifest(
        model="intents",
        task="multiclass",
        adapter="transformers",
        artifact=kept.artifact,
        artifact_bytes=kept.artifact_bytes,
        signature=FIELDS,
        classes=ADAPTER.classes(model),
        strategy="train",
        environment=ADAPTER.environment(),
    )
    manifest = replace(manifest, **change)
    return Version(f"{number}" * 64, number, manifest, {}, datetime(2026, 1, 1, tzinfo=UTC), "test")


def _parent(version: Version, estimator: Any = None) -> Parent:
    """Return a parent; without an estimator one that is none of the bases."""
    own = version if estimator is not None else replace(version, id="f" * 64)
    return Parent(own, estimator, ADAPTER, Multiclass(), None)


def _names(found: tuple[Probed, ...]) -> list[str]:
    return [each.version.name for each in found]


def test_the_base_that_sees_more_comes_first_whatever_its_place(store: LocalStore) -> None:
    """Breaks when the ranking follows the order of the catalogue, or a head's own classes."""
    blind, seeing = _version(store, 1, epochs=1), _version(store, 2, epochs=10)
    rows, kept = _rows(), store.get(blind.manifest.artifact)
    found = choose_base(_parent(blind), rows, (blind, seeing), store=store, seed=0)
    again = choose_base(_parent(blind), rows, (seeing, blind), store=store, seed=0)
    assert _names(found) == _names(again) == ["v2", "v1"]
    assert [each.loss for each in found] == [each.loss for each in again]
    losses = [each.loss or 0.0 for each in found]
    assert losses[0] < losses[1] - 0.1
    assert losses[0] < np.log(3) / 2
    assert all(each.seconds > 0 and each.reason is None for each in found)
    assert store.get(blind.manifest.artifact) == kept


def test_a_base_that_cannot_be_probed_is_named_and_the_others_go_on(store: LocalStore) -> None:
    good = _version(store, 1, epochs=2)
    other_inputs = _version(store, 2, epochs=1, signature=Signature((Field("body", "string"),)))
    gone = _version(store, 3, epochs=1, artifact="0" * 64)
    newer = _version(store, 4, epochs=1, environment={"transformers": "99.0"})
    flat = _version(store, 5, epochs=1, adapter="sklearn")
    bases = (other_inputs, gone, newer, flat, good)
    found = choose_base(_parent(good), _rows(), bases, store=store, seed=0)
    assert _names(found) == ["v1", "v2", "v3", "v4", "v5"]
    assert [each.loss is None for each in found] == [False, True, True, True, True]
    reasons = [each.reason or "" for each in found[1:]]
    for said, part in zip(reasons, ("its inputs are body", "NotFound", "99.0", ""), strict=True):
        assert part in said
    assert len(reasons[3].split()) > 3


def test_the_parent_is_probed_as_it_is_loaded(store: LocalStore) -> None:
    """Its bytes need not be there: it serves at this moment."""
    rows = _rows(seed=7)
    version = _version(store, 1, epochs=1)
    model = ADAPTER.fit(RECIPE, rows.features, rows.label, seed=0)  # type: ignore[arg-type]  # labelled
    bare = replace(version, manifest=replace(version.manifest, artifact="0" * 64))
    (found,) = choose_base(_parent(bare, model), _rows(), (bare,), store=store, seed=0)
    assert found.loss is not None


def test_few_rows_are_enough_of_many(store: LocalStore) -> None:
    """Breaks when a probe embeds the whole snapshot, which costs what it is to save."""
    version = _version(store, 1, epochs=1)
    rows = _rows(N_ROWS + 300)
    poisoned = rows.features.to_pydict()["text"]
    sample = np.sort(np.random.default_rng(3).permutation(len(rows))[:N_ROWS])
    left_out = np.setdiff1d(np.arange(len(rows)), sample)
    for at in left_out:
        poisoned[at] = "nothing to see"
    blinded = replace(rows, features=pa.table({"text": poisoned}))
    one, other = (
        choose_base(_parent(version), each, (version,), store=store, seed=3)
        for each in (rows, blinded)
    )
    assert one[0].loss == other[0].loss


def test_rows_that_do_not_do(store: LocalStore) -> None:
    version = _version(store, 1, epochs=1)
    one_group = replace(_rows(), group_hash=np.zeros(80, np.uint64))
    for rows, says in (
        (_rows(labelled=False), "0 labelled rows"),
        (one_group, "80 rows of one"),
    ):
        with pytest.raises(Invalid, match=says):
            choose_base(_parent(version), rows, (version,), store=store, seed=0)


def test_numbers_are_probed_by_a_linear_regression(store: LocalStore) -> None:
    seeing, rows = _version(store, 1, epochs=10), _rows()
    value = {"card": 0.0, "fee": 1.0, "refund": 5.0}
    assert rows.label is not None
    numbers = replace(rows, label=np.array([value[each] for each in rows.label]))
    parent = replace(_parent(seeing), task=Regression())
    (found,) = choose_base(parent, numbers, (seeing,), store=store, seed=0)
    assert found.loss is not None
    assert found.loss < 0.5


def test_no_bases_no_ranking(store: LocalStore) -> None:
    version = _version(store, 1, epochs=1)
    assert choose_base(_parent(version), _rows(), (), store=store, seed=0) == ()
