"""Recalibration of every kind of model: one map, whatever framework is under it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from river import linear_model, preprocessing
from xgboost import XGBClassifier

from renewal.core.clock import from_us
from renewal.core.version import Manifest, Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.adapters import adapter_for, stored
from renewal.models.layers import Tuning
from renewal.models.load import load_estimator, load_runtime
from renewal.models.task import Binary
from renewal.models.torch_model import TorchModel
from renewal.store.local import LocalStore
from renewal.testing.torch_nets import TRUST, Dense
from renewal.testing.updating import SIGNATURE
from renewal.update.contract import Parent
from renewal.update.recalibrate import Recalibrate, RecalibrateOptions

FEW = RecalibrateOptions(method="sigmoid", min_rows=50)


class Means:
    """An object of one's own: the nearer mean of the columns wins, far too surely."""

    def fit(self, rows: Any, labels: Any) -> Any:
        values = np.asarray(rows)[:, 1:]
        self.classes_ = np.unique(labels)
        self.means = np.stack([values[labels == each].mean(axis=0) for each in self.classes_])
        return self

    def predict(self, rows: Any) -> Any:
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]

    def predict_proba(self, rows: Any) -> Any:
        far = ((np.asarray(rows)[:, np.newaxis, 1:] - self.means) ** 2).sum(axis=2)
        nearness = np.exp(-5 * (far - far.min(axis=1, keepdims=True)))
        return nearness / nearness.sum(axis=1, keepdims=True)


OWN = (f"{Means.__module__}.Means", *TRUST)

KINDS = {
    "lightgbm": LGBMClassifier(n_estimators=60, min_child_samples=2, verbose=-1, n_jobs=1),
    "xgboost": XGBClassifier(n_estimators=60, n_jobs=1),
    "river": preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "torch": TorchModel(Dense, {"n_inputs": 3}, Tuning(epochs=5, lr=1e-2, patience=None)),
    "python": Means(),
}


def _parent(recipe: Any, rows: Rows, store: LocalStore) -> Parent:
    """Fit a version on the first 400 rows, store it and load it, as an update finds it."""
    used = rows.take(np.arange(400)).labelled()
    adapter, task = adapter_for(recipe, who="test"), Binary()
    labels = task.labels(used.label, who="test")
    fitted = adapter.fit(recipe, used.features, labels, seed=0)
    put = stored(adapter, fitted, store)
    manifest = Manifest(
        model="suite",
        task="binary",
        adapter=adapter.name,
        artifact=put.artifact,
        artifact_bytes=put.artifact_bytes,
        signature=SIGNATURE,
        classes=adapter.classes(fitted),
        strategy="train",
        environment=adapter.environment(),
        parts=put.parts,
    )
    version = Version("1" * 64, 1, manifest, {}, from_us(int(used.event_us.max())), "test")
    loaded = load_estimator(manifest, store, OWN)
    return Parent(version, loaded, adapter, task, KeySet.of(used))


@pytest.mark.parametrize("kind", KINDS)
def test_it_costs_some_bytes_and_the_loss_does_not_rise(
    kind: str, timed: Rows, tmp_path: Path
) -> None:
    """Broken by a model that is stored again, a map that is not served, or one for scikit-learn.

    All but the linear one are far too sure after a fit on 370 rows; seeds are fixed.
    """
    store = LocalStore(tmp_path)
    parent = _parent(KINDS[kind], timed, store)
    before = set(store.digests())
    made = Recalibrate().make(parent, timed.take(np.arange(900)), FEW, seed=1)
    put = stored(parent.adapter, made.estimator, store)
    assert put.artifact == parent.version.manifest.artifact
    (new,) = set(store.digests()) - before
    assert len(store.get(new)) < 300
    manifest = replace(parent.version.manifest, parts=put.parts, strategy="recalibrate")
    judged = timed.take(np.arange(900, 1200)).labelled()
    labels = parent.task.labels(judged.label, who="test")
    runtime = load_runtime(manifest, store, OWN)
    scores = runtime.predict(judged.features)
    runtime.close()
    assert scores == pytest.approx(
        parent.adapter.predict(made.estimator, judged.features), abs=1e-6
    )
    losses = [
        float(parent.task.loss(each, labels, made.classes).mean())
        for each in (parent.adapter.predict(parent.estimator, judged.features), scores)
    ]
    assert losses[1] < losses[0] + 0.01
