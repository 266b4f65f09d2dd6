"""An estimator as objects of the store, and back: with its score map, and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models.adapters import Stored, adapter_for, adapter_of, stored
from renewal.models.load import load_estimator, load_runtime
from renewal.models.score_map import Mapped, ScoreMap, unmapped
from renewal.models.score_map_curves import Sigmoid, Temperature
from renewal.models.score_map_weights import Costs, Prior
from renewal.models.sklearn import SklearnAdapter
from renewal.store.local import LocalStore

MAP = ScoreMap((Sigmoid((0.5,), (-1.0,)),))
COSTS = Costs(((0.0, 1.0), (4.0, 0.0)))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


def manifest_of(put: Stored, estimator: Any) -> Manifest:
    adapter = SklearnAdapter()
    return Manifest(
        model="flights",
        task="binary",
        adapter="sklearn",
        artifact=put.artifact,
        artifact_bytes=put.artifact_bytes,
        signature=Signature((Field("a", "float"), Field("b", "float"))),
        classes=adapter.classes(unmapped(estimator)),
        strategy="recalibrate",
        environment=adapter.environment(),
        parts=put.parts,
    )


def test_a_mapped_estimator_is_its_artifact_and_a_map(
    store: LocalStore, adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a map that is stored and not loaded, or served without."""
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    both = adapter_for(Mapped(fitted, MAP), who="test")
    put = stored(both, Mapped(fitted, MAP), store)
    assert put.artifact == stored(both, fitted, store).artifact
    assert ScoreMap.from_bytes(store.get(put.parts["score_map"])) == MAP
    manifest = manifest_of(put, fitted)
    assert put.parts["score_map"] in manifest.digests
    again = load_estimator(manifest, store)
    assert again.score_map == MAP
    wanted = MAP.apply(adapter.predict(fitted, numbers))
    assert np.array_equal(adapter_of(manifest).predict(again, numbers), wanted)
    assert load_runtime(manifest, store).predict(numbers) == pytest.approx(wanted, abs=1e-12)
    assert load_runtime(manifest, store).predict(numbers.slice(0, 0)).shape == (0, 2)


def test_an_artifact_that_is_kept_is_not_written_again(
    store: LocalStore, adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a second dump in other bytes: a whole copy of what is there."""
    put = stored(adapter, adapter.fit(RandomForestClassifier(5), numbers, late, seed=0), store)
    loaded = load_estimator(manifest_of(put, adapter.load(store.get(put.artifact))), store)
    again = stored(adapter, Mapped(loaded, MAP, put.artifact), store)
    assert (again.artifact, again.artifact_bytes) == (put.artifact, put.artifact_bytes)
    assert len(list(store.digests())) == 2


def test_an_artifact_that_is_gone_is_written_anew(
    store: LocalStore, adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a manifest that names bytes which nobody has."""
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    put = stored(adapter, Mapped(fitted, MAP, "0" * 64), store)
    assert store.get(put.artifact) == adapter.dump(fitted)


def test_a_map_for_other_scores_is_refused(
    store: LocalStore, adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by numpy: a map of three classes can be multiplied with the wrong scores."""
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    wrong = ScoreMap((Prior((1.0, 1.0, 1.0), (1.0, 2.0, 3.0)),))
    manifest = manifest_of(stored(adapter, Mapped(fitted, wrong), store), fitted)
    with pytest.raises(Invalid, match="a map of 2 scores"):
        load_estimator(manifest, store)


def test_a_dump_of_a_mapped_estimator_is_refused(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by bytes that lose the map: the version would serve uncorrected scores."""
    mapped = Mapped(adapter.fit(LogisticRegression(), numbers, late), MAP)
    with pytest.raises(Invalid, match=r"with a map \(sigmoid\)"):
        adapter_for(mapped, who="test").dump(mapped)


def test_what_goes_on_learning_keeps_its_decision_alone_and_a_fresh_fit_nothing(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a decision lost on the way, or a map that outlives the scores it was made for."""
    both_steps = ScoreMap((*MAP.steps, COSTS))
    fitted = adapter.fit(SGDClassifier(loss="log_loss"), numbers, late, seed=0)
    mapped = Mapped(fitted, both_steps, "d")
    both = adapter_for(mapped, who="test")
    before = adapter.dump(mapped.estimator)
    grown = both.partial_fit(mapped, numbers, late)
    assert grown.score_map == ScoreMap((COSTS,))
    assert grown.artifact is None
    assert not isinstance(both.partial_fit(Mapped(fitted, MAP), numbers, late), Mapped)
    assert adapter.dump(mapped.estimator) == before
    assert not isinstance(both.fit(mapped, numbers, late, seed=0), Mapped)
    assert both.accepts(mapped)
    assert both.capabilities(mapped).can_partial_fit
    assert both.classes(mapped) == (False, True)
    assert both.params(mapped) == both.params(mapped.estimator)


def test_an_unmapped_estimator_is_predicted_as_by_its_own_adapter(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    both = adapter_for(fitted, who="test")
    assert both.name == "sklearn"
    assert both.reads_forward == adapter.reads_forward
    assert np.array_equal(both.predict(fitted, numbers), adapter.predict(fitted, numbers))
    calm = Mapped(fitted, ScoreMap((Temperature(1e6),)))
    assert both.predict(calm, numbers) == pytest.approx(0.5, abs=1e-4)
