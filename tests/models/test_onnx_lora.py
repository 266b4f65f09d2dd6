"""One base, many additions: one session, each version its own answer, wrong ones refused."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, load_model_from_string, numpy_helper

import renewal
from renewal.core.errors import Corrupt, Invalid, NotFound
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models import onnx_session
from renewal.models.adapters import adapter_for, stored
from renewal.models.load import load_estimator, load_runtime
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_lora import Addition
from renewal.models.onnx_lora_model import lora_model
from renewal.models.onnx_lora_model import melted as melted_model
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_served import GraphRuntime
from renewal.models.score_map import Mapped, ScoreMap
from renewal.models.score_map_curves import Temperature
from renewal.store.local import LocalStore

ADAPTER = OnnxAdapter()
NAMES = ("a", "b", "c")
CLASSES = ("no", "yes")
RANK = 2
Array = NDArray[np.float32]


def base_of(width: int = 40, classes: tuple[Any, ...] = CLASSES) -> OnnxModel:
    """Return a network whose second layer has a place for an addition, and its head too."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        found: Array = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        return found

    places = {
        "lora_A": np.zeros((width, RANK), np.float32),
        "lora_B": np.zeros((RANK, width), np.float32),
        "head": drawn(width, 2),
    }
    fixed = {"first": drawn(3, width), "second": drawn(width, width)}
    nodes = [
        helper.make_node("MatMul", ["rows", "first"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["h"]),
        helper.make_node("MatMul", ["h", "second"], ["straight"]),
        helper.make_node("MatMul", ["h", "lora_A"], ["low"]),
        helper.make_node("MatMul", ["low", "lora_B"], ["added"]),
        helper.make_node("Add", ["straight", "added"], ["k"]),
        helper.make_node("MatMul", ["k", "head"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 3])]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, each.shape)
        for name, each in places.items()
    ]
    made = helper.make_graph(
        nodes,
        "graph",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(each, name) for name, each in (places | fixed).items()],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return OnnxModel.read(proto, classes=classes, is_logits=True)


def matrices(seed: int, width: int = 40) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "lora_A": rng.normal(size=(width, RANK)).astype(np.float32),
        "lora_B": rng.normal(size=(RANK, width)).astype(np.float32),
    }


def rows_of(n_rows: int) -> NDArray[np.float64]:
    return np.random.default_rng(9).normal(size=(n_rows, 3))


def table_of(rows: NDArray[np.float64]) -> pa.Table:
    return pa.table({name: rows[:, at] for at, name in enumerate(NAMES)})


class Counting(LocalStore):
    """A store that counts which objects are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read: list[str] = []

    def get(self, digest: str) -> bytes:
        self.read.append(digest)
        return super().get(digest)

    def open_object(self, digest: str) -> BinaryIO:
        self.read.append(digest)
        return super().open_object(digest)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Counting]:
    gc.collect()
    yield Counting(tmp_path / "store")
    gc.collect()


def manifest_of(estimator: Any, store: LocalStore) -> Manifest:
    adapter = adapter_for(estimator, who="test")
    put = stored(adapter, estimator, store)
    return Manifest(
        model="m",
        task="binary",
        adapter=adapter.name,
        artifact=put.artifact,
        artifact_bytes=put.artifact_bytes,
        parts=put.parts,
        signature=Signature(tuple(Field(name, "float") for name in NAMES)),
        classes=adapter.classes(estimator),
        strategy="register",
        environment=adapter.environment(),
    )


def melted(weights: dict[str, Array], width: int = 40) -> Any:
    """Return what the graph says with other weights, by numpy."""
    held = {
        each.name: numpy_helper.to_array(each).astype(np.float64)
        for each in _proto(base_of(width)).graph.initializer
    } | weights

    def predict(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        h = np.maximum(rows.astype(np.float32) @ held["first"], 0.0)
        logits = (h @ held["second"] + h @ held["lora_A"] @ held["lora_B"]) @ held["head"]
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return found

    return predict


def _proto(model: OnnxModel) -> Any:
    return load_model_from_string(model.graph)


def test_each_addition_gives_its_own_answer_and_the_base_stays(store: Counting) -> None:
    base, rows = base_of(), rows_of(20)
    before = ADAPTER.predict(base, table_of(rows))
    assert np.allclose(before, melted({})(rows), atol=1e-5)
    for seed in (1, 2):
        tuned = lora_model(base, matrices(seed))
        expected = melted(matrices(seed))(rows)
        assert np.abs(expected - before).max() > 0.05, "no difference to show"
        assert np.allclose(ADAPTER.predict(tuned, table_of(rows)), expected, atol=1e-5)
        runtime: Any = load_runtime(manifest_of(tuned, store), store)
        assert np.array_equal(
            runtime.predict(table_of(rows)), ADAPTER.predict(tuned, table_of(rows))
        )
        assert np.array_equal(runtime.predict_matrix(rows), runtime.predict(table_of(rows)))
        copied = pickle.loads(pickle.dumps(tuned))  # noqa: S301  # just written here
        assert np.array_equal(
            ADAPTER.predict(copied, table_of(rows)), ADAPTER.predict(tuned, table_of(rows))
        )
    assert np.array_equal(ADAPTER.predict(base, table_of(rows)), before)


def test_a_base_is_stored_read_and_opened_once(store: Counting) -> None:
    """Broken when a swap to another addition reads, or opens, the base anew."""
    base = base_of()
    manifests = [manifest_of(base, store)]
    manifests += [manifest_of(lora_model(base, matrices(seed)), store) for seed in range(5)]
    (digest,) = {each.parts["base"] for each in manifests[1:]}
    assert digest == manifests[0].artifact
    assert all(each.artifact_bytes < len(base.graph) / 5 for each in manifests[1:])
    store.read.clear()
    runtimes: list[Any] = [load_runtime(each, store) for each in manifests[1:]]
    assert store.read.count(digest) == 1
    assert len(store.read) == 1 + 5
    sessions = {id(each._opened().session) for each in runtimes}  # what is shared
    assert len(sessions) == 1
    # The parent, and a recalibrated addition, are on the same session.
    parent: Any = load_runtime(manifests[0], store)
    assert id(parent._opened().session) in sessions  # what is shared
    for each in runtimes[:-1]:
        each.close()
    rows = rows_of(3)
    assert np.allclose(runtimes[-1].predict_matrix(rows), melted(matrices(4))(rows), atol=1e-5)
    for each in (runtimes[-1], parent):
        each.close()
    gc.collect()
    load_runtime(manifests[1], store).close()
    assert store.read.count(digest) == 2, "the base was kept though nobody used it"


def test_predictions_of_different_additions_at_once_keep_apart(store: Counting) -> None:
    """Broken when an addition is active for a session, and not for a run."""
    base, rows, n_versions = base_of(200), rows_of(16), 6
    tuned = [lora_model(base, matrices(seed, 200)) for seed in range(n_versions)]
    runtimes: list[Any] = [load_runtime(manifest_of(each, store), store) for each in tuned]
    runtimes.append(load_runtime(manifest_of(base, store), store))
    expected = [each.predict_matrix(rows) for each in runtimes]
    start = Barrier(2 * len(runtimes))

    def ask(at: int) -> bool:
        start.wait(60)
        at %= len(runtimes)
        return all(
            np.array_equal(runtimes[at].predict_matrix(rows), expected[at]) for _ in range(200)
        )

    with ThreadPoolExecutor(2 * len(runtimes)) as pool:
        assert all(pool.map(ask, range(2 * len(runtimes))))
    apart = {each.tobytes() for each in expected}
    assert len(apart) == len(runtimes)


def test_threads_that_load_additions_open_one_base(store: Counting) -> None:
    base = base_of()
    manifests = [manifest_of(lora_model(base, matrices(seed)), store) for seed in range(8)]
    store.read.clear()
    with ThreadPoolExecutor(8) as pool:
        runtimes = list(pool.map(lambda each: load_runtime(each, store), manifests))
    assert store.read.count(manifests[0].parts["base"]) == 1
    for each in runtimes:
        each.close()


def test_a_head_in_the_addition_may_have_classes_of_its_own(store: Counting) -> None:
    """Broken when the columns keep the base's order though the classes sort otherwise."""
    head = np.random.default_rng(4).normal(size=(40, 2)).astype(np.float32)
    tuned = lora_model(base_of(), {"head": head}, classes=("z", "b"))
    rows = rows_of(5)
    manifest = manifest_of(tuned, store)
    assert manifest.classes == ("b", "z")
    runtime = load_runtime(manifest, store)
    expected = melted({"head": head})(rows)[:, ::-1]
    assert np.allclose(runtime.predict(table_of(rows)), expected, atol=1e-5)
    loaded = load_estimator(manifest, store)
    assert np.array_equal(ADAPTER.predict(loaded, table_of(rows)), runtime.predict(table_of(rows)))
    assert manifest_of(loaded, store) == manifest
    with pytest.raises(Invalid, match="2 classes"):
        lora_model(base_of(), {"head": head}, classes=("a", "b", "c"))


def test_a_melted_addition_needs_no_base(store: Counting) -> None:
    base, rows = base_of(), rows_of(6)
    tuned = lora_model(base, matrices(1))
    alone = melted_model(tuned)
    assert "base" not in manifest_of(alone, store).parts
    assert np.allclose(
        ADAPTER.predict(alone, table_of(rows)), ADAPTER.predict(tuned, table_of(rows)), atol=1e-6
    )
    assert melted_model(base) is base


def test_a_map_of_scores_lies_over_an_addition(store: Counting) -> None:
    tuned = Mapped(lora_model(base_of(), matrices(1)), ScoreMap((Temperature(4.0),)))
    manifest = manifest_of(tuned, store)
    assert set(manifest.parts) == {"base", "score_map"}
    runtime: Any = load_runtime(manifest, store)
    rows = rows_of(4)
    found = runtime.predict_matrix(rows)
    assert np.array_equal(found, runtime.predict(table_of(rows)))
    assert not np.allclose(found, melted(matrices(1))(rows), atol=1e-3)


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"lora_C": np.zeros((40, RANK), np.float32)},
        {"second": np.zeros((40, 40), np.float32)},
        {"rows": np.zeros((1, 3), np.float32)},
        {"lora_A": np.zeros((RANK, 40), np.float32)},
        {"lora_A": np.zeros((40, RANK), np.float64)},
    ],
    ids=["none", "unknown", "fixed", "an input", "shape", "type"],
)
def test_wrong_matrices_are_refused_where_they_are_made_and_loaded(
    store: Counting, weights: dict[str, Any]
) -> None:
    """Broken when the first request finds out."""
    with pytest.raises(Invalid, match="initializers of the base"):
        lora_model(base_of(), weights)
    right = manifest_of(lora_model(base_of(), matrices(1)), store)
    wrong = Addition.of(right.parts["base"], CLASSES, weights).to_bytes()
    changed = replace(right, artifact=store.put(wrong))
    for load in (load_runtime, load_estimator):
        with pytest.raises(Invalid, match="initializers of the base"):
            load(changed, store)


def test_another_base_and_damage_are_told_when_it_is_loaded(store: Counting) -> None:
    right = manifest_of(lora_model(base_of(), matrices(1)), store)
    other = manifest_of(base_of(80), store)
    for load in (load_runtime, load_estimator):
        with pytest.raises(Corrupt, match="for which the addition was made"):
            load(replace(right, parts={"base": other.artifact}), store)
        with pytest.raises(NotFound):
            load(replace(right, parts={"base": "af" * 32}, artifact="af" * 32), store)
        with pytest.raises(Invalid):
            load(replace(right, parts={}), store)
    data = store.get(right.artifact)
    line = data.split(b"\n")[1]
    middle = bytearray(data)
    middle[data.index(line) + len(line) + 1 : data.index(line) + len(line) + 9] = b"\xff" * 8
    for bad in (b"", data[:5], data[:-1], data + b"x", line, bytes(middle),
                data.replace(line, b"{}"), data.replace(line, b"[]")):  # fmt: skip
        changed = replace(right, artifact=store.put(bad))
        for load in (load_runtime, load_estimator):
            with pytest.raises(Invalid):
                load(changed, store)


def test_a_large_base_is_mapped_and_takes_additions(
    store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken when places for additions are not found in a graph that was written apart."""
    monkeypatch.setattr(onnx_session, "_SMALL_BYTES", 1000)
    monkeypatch.setattr(onnx_session, "_MAPPED_BYTES", 1000)
    base, rows = base_of(300), rows_of(4)
    runtime: Any = load_runtime(manifest_of(lora_model(base, matrices(3, 300)), store), store)
    assert isinstance(runtime, GraphRuntime)
    assert np.allclose(runtime.predict_matrix(rows), melted(matrices(3, 300), 300)(rows), atol=1e-4)


def test_additions_are_registered_like_any_version(tmp_path: Path) -> None:
    """The whole way: a base, a better addition, one base in the store, and nothing to train."""
    rng = np.random.default_rng(0)
    sent = {name: rng.normal(size=60) for name in NAMES}
    labels = np.where(sent["a"] > 0, "yes", "no")
    base = base_of()
    with renewal.open(tmp_path) as home:
        model = home.model("m", task="binary", target="y")
        model.feed.append(pa.table(sent | {"y": labels}))
        first = model.register(base)
        second = model.register(lora_model(base, matrices(7)))
        assert second.manifest.parts["base"] == first.manifest.artifact
        assert second.manifest.artifact_bytes < first.manifest.artifact_bytes / 5
        runtime: Any = load_runtime(second.manifest, home.store)
        rows = rows_of(3)
        assert np.allclose(runtime.predict_matrix(rows), melted(matrices(7))(rows), atol=1e-5)
