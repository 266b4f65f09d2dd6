"""Graphs opened as files: the same answers, nothing left behind, damage said first."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from renewal.core.errors import Corrupt, Invalid
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models import onnx_session
from renewal.models.load import load_estimator, load_runtime
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_session import providers
from renewal.store.local import LocalStore

ADAPTER = OnnxAdapter()
WIDTH = 256


def graph_of(weights: NDArray[np.float32]) -> Any:
    """Return a network of two layers on two columns."""
    first = np.ones((2, len(weights)), dtype=np.float32) / len(weights)
    made = helper.make_graph(
        [
            helper.make_node("MatMul", ["rows", "first"], ["a"]),
            helper.make_node("MatMul", ["a", "w"], ["b"]),
            helper.make_node("ReduceMean", ["b"], ["y"], axes=[1], keepdims=1),
        ],
        "graph",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture(params=["as it is", "packed"])
def model(request: pytest.FixtureRequest) -> OnnxModel:
    weights = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    if request.param == "packed":
        weights[weights < 1.0] = 0.0
    return OnnxModel.read(graph_of(weights))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Take graphs of a quarter of a megabyte for large ones; return the temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(onnx_session, "_SMALL_BYTES", 1000)
    monkeypatch.setattr(onnx_session, "_MAPPED_BYTES", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def manifest_of(model: OnnxModel, store: LocalStore) -> Manifest:
    data = ADAPTER.dump(model)
    return Manifest(
        model="m",
        task="regression",
        adapter="onnx",
        artifact=store.put(data),
        artifact_bytes=len(data),
        signature=Signature((Field("a", "float"), Field("b", "float"))),
        classes=model.classes,
        strategy="register",
        environment=ADAPTER.environment(),
    )


def _n_held() -> int:
    """Count the files without a name that this process holds open."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(each.readlink()))
        except FileNotFoundError:
            continue
    return sum("renewal-graph-" in each for each in links)


@pytest.mark.usefixtures("large")
def test_a_graph_in_files_answers_as_in_bytes(model: OnnxModel, store: LocalStore) -> None:
    """Broken when weights are cut in the wrong place or gone with their file."""
    manifest = manifest_of(model, store)
    rows = np.random.default_rng(1).normal(size=(40, 2))
    table = pa.table({"a": rows[:, 0], "b": rows[:, 1]})
    runtime: Any = load_runtime(manifest, store)
    gc.collect()
    expected = ADAPTER.predict(load_estimator(manifest, store), table)
    assert np.allclose(runtime.predict(table), expected, rtol=1e-5)
    assert np.array_equal(runtime.predict_matrix(rows), runtime.predict(table))
    runtime.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files by /proc")
@pytest.mark.usefixtures("large")
def test_closing_lets_go_of_the_file(model: OnnxModel, store: LocalStore) -> None:
    """Broken when a swapped-out model keeps its gigabyte on the disk."""
    manifest = manifest_of(model, store)
    before = _n_held()
    runtime = load_runtime(manifest, store)
    assert _n_held() > before
    runtime.close()
    until_s = time.monotonic() + 30
    while _n_held() > before and time.monotonic() < until_s:
        time.sleep(0.01)
    assert _n_held() == before


@pytest.mark.usefixtures("large")
def test_a_prediction_under_way_ends_as_it_began(model: OnnxModel, store: LocalStore) -> None:
    """Broken when closing unmaps weights that a run still reads."""
    opened: Any = load_runtime(manifest_of(model, store), store)
    graph = opened._opened()  # what a prediction under way holds
    rows = np.ones((3, 2), dtype=np.float32)
    expected = graph.run(["y"], {"rows": rows})[0]
    opened.close()
    gc.collect()
    assert np.array_equal(graph.run(["y"], {"rows": rows})[0], expected)


@pytest.mark.parametrize("is_large", [True, False])
@pytest.mark.parametrize("change", ["cut", "header", "weights", "graph", "more"])
def test_damage_is_said_before_anything_else(
    model: OnnxModel,
    store: LocalStore,
    change: str,
    is_large: bool,  # noqa: FBT001  # a parameter of the test
    request: pytest.FixtureRequest,
) -> None:
    """Broken when a damaged file is parsed, opened or blamed on whoever registered it."""
    if is_large:
        request.getfixturevalue("large")
    manifest = manifest_of(model, store)
    (path,) = [each for each in store.path.glob("??/*") if not each.name.startswith(".")]
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    at = {"header": 20, "weights": len(data) // 2, "graph": data.index(b"\n", 20) + 3}
    if change in at:
        data[at[change]] ^= 0xFF
    path.write_bytes({"cut": data[:-9], "more": data + b"more"}.get(change, data))
    with pytest.raises(Corrupt):
        load_runtime(manifest, store)


@pytest.mark.parametrize("is_large", [True, False])
def test_bytes_that_never_were_a_model_are_invalid(
    model: OnnxModel,
    store: LocalStore,
    is_large: bool,  # noqa: FBT001  # a parameter of the test
    request: pytest.FixtureRequest,
) -> None:
    if is_large:
        request.getfixturevalue("large")
    whole = ADAPTER.dump(model)
    line = whole[15 : whole.index(b"\n", 15)]
    cases = [b"", b"x" * 4000, whole[:15], whole[:40], whole[:-5], whole + b"more"]
    cases += [whole.replace(line, line.replace(b'"n_bytes": ', b'"n_bytes": 1'))]
    cases += [whole.replace(line, b'{"n_bytes": true}'), whole.replace(line, b"[]")]
    for data in cases:
        found = manifest_of(model, store)
        changed = store.put(data)
        with pytest.raises(Invalid):
            load_runtime(_with_artifact(found, changed), store)


def _with_artifact(manifest: Manifest, artifact: str) -> Manifest:
    return replace(manifest, artifact=artifact)


def test_a_process_ends_while_a_graph_is_open(model: OnnxModel, store: LocalStore) -> None:
    """Broken when the last thing that closes a file waits for a thread that never begins."""
    program = """
import sys
from pathlib import Path
from renewal.models import onnx_session
from renewal.store.local import LocalStore
onnx_session._SMALL_BYTES = 1000
held = onnx_session.session_stored(LocalStore(sys.argv[1]), sys.argv[2])
print(held.inside.get_inputs()[0].name)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(store.path), store.put(model.graph)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout == "rows\n"


def test_another_provider_is_asked_for_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert providers() == ["CPUExecutionProvider"]
    monkeypatch.setenv("RENEWAL_ONNX_PROVIDERS", "CPUExecutionProvider")
    assert providers() == ["CPUExecutionProvider"]
    monkeypatch.setenv("RENEWAL_ONNX_PROVIDERS", "TpuExecutionProvider")
    with pytest.raises(Invalid, match="TpuExecutionProvider"):
        providers()
