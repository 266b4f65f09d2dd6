"""From manifest and store to a runtime, with every way in which that can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from renewal.core.errors import Corrupt, Invalid, NotFound
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models.load import check_environment, load_estimator, load_runtime
from renewal.models.sklearn import SklearnAdapter
from renewal.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


@pytest.fixture
def fitted(adapter: SklearnAdapter, numbers: pa.Table, late: Any) -> Any:
    return adapter.fit(LogisticRegression(), numbers, late)


@pytest.fixture
def manifest(adapter: SklearnAdapter, store: LocalStore, fitted: Any) -> Manifest:
    data = adapter.dump(fitted)
    return Manifest(
        model="flights",
        task="binary",
        adapter="sklearn",
        artifact=store.put(data),
        artifact_bytes=len(data),
        signature=Signature((Field("a", "float"), Field("b", "float"))),
        classes=adapter.classes(fitted),
        strategy="train",
        environment=adapter.environment(),
    )


def test_runtime_predicts_what_was_fitted(
    adapter: SklearnAdapter, store: LocalStore, manifest: Manifest, fitted: Any, numbers: pa.Table
) -> None:
    """Broken by anything lost between the fit and the server."""
    runtime = load_runtime(manifest, store)
    gap = np.abs(runtime.predict(numbers) - adapter.predict(fitted, numbers)).max()
    assert gap < 1e-12
    assert runtime.predict(numbers.slice(0, 0)).shape == (0, 2)


def test_loading_twice_gives_two(store: LocalStore, manifest: Manifest, numbers: pa.Table) -> None:
    """Broken by a cache: one runtime's close, or an update in place, would reach the other."""
    assert load_estimator(manifest, store) is not load_estimator(manifest, store)
    one, two = load_runtime(manifest, store), load_runtime(manifest, store)
    one.close()
    assert two.predict(numbers).shape == (200, 2)


def test_making_a_runtime_leaves_the_estimator_of_others_alone(
    store: LocalStore, manifest: Manifest
) -> None:
    """Broken by `ready` on a shared object: update would lose the column names."""
    estimator = load_estimator(manifest, store)
    load_runtime(manifest, store)
    assert estimator.feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize("library", ["scikit-learn", "skops"])
def test_a_file_of_a_newer_library_is_refused(
    store: LocalStore, manifest: Manifest, library: str
) -> None:
    """Broken by loading first: what a newer library wrote may load and predict wrongly."""
    newer = replace(manifest, environment={**manifest.environment, library: "99.4.0"})
    with pytest.raises(Invalid, match=r"99\.4\.0") as caught:
        load_estimator(newer, store)
    assert caught.value.fields["installed"] == manifest.environment[library]
    assert f"pip install '{library}>=99.4.0'" in caught.value.todo


@pytest.mark.parametrize(
    "environment",
    [{}, {"python": "99.0"}, {"scikit-learn": "0.24.2", "skops": "0.1"}],
)
def test_older_and_unnamed_libraries_pass(manifest: Manifest, environment: dict[str, str]) -> None:
    """Broken by refusing what libraries promise to read, or a newer Python."""
    check_environment(replace(manifest, environment=environment))


def test_a_truncated_object_is_corrupt(
    store: LocalStore, manifest: Manifest, tmp_path: Path
) -> None:
    """Broken by a load that reads past the store's own check."""
    (path,) = (
        each for each in (tmp_path / "objects").rglob("*") if manifest.artifact[4:] in each.name
    )
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Corrupt):
        load_estimator(manifest, store)


def test_unknown_names_are_not_found(store: LocalStore, manifest: Manifest) -> None:
    """Broken by a KeyError where a name is wrong."""
    with pytest.raises(NotFound, match="sklearn"):
        load_estimator(replace(manifest, adapter="sklearm"), store)
    with pytest.raises(NotFound):
        load_estimator(replace(manifest, artifact="0" * 64), store)
