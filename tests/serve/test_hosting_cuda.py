"""Versions on a GPU: hosted, swapped, killed, let go; run as `tests/models/test_torch_cuda.py`."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch

from renewal.core.errors import Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.version import Manifest
from renewal.data.frame import signature_of
from renewal.models.adapters import stored
from renewal.models.layers import Tuning
from renewal.models.load import load_runtime
from renewal.models.torch_exported import TYPE as PROGRAM
from renewal.models.torch_inputs import Reading
from renewal.models.torch_model import TorchModel
from renewal.models.torch_pretrained import pretrained
from renewal.serve.host_tender import HostLimits
from renewal.serve.hosting import HostedRuntime, hosted_runtime
from renewal.store.local import LocalStore
from renewal.testing.torch_nets import Dense, Places
from renewal.testing.transformers_forms import transformers_forms

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that torch can use"
)

_NETS = "renewal.testing.torch_nets."
TRUST = (f"{_NETS}Dense", f"{_NETS}Places", PROGRAM)
COLUMNS = ("distance", "hour", "carrier_delay")
_RNG = np.random.default_rng(0)
_VALUES = _RNG.normal(size=(300, len(COLUMNS)))
ROWS = pa.table(dict(zip(COLUMNS, _VALUES.T, strict=True)))
LATE = np.array((_VALUES[:, 0] > 0).astype(int).tolist(), dtype=object)
HOW = Tuning(epochs=1, patience=None)
_WAIT_S = 60.0
_LIMITS = HostLimits(patience_s=_WAIT_S)
# What a process with a GPU takes there before it has done anything, and what may come and go.
_CONTEXT_BYTES, _NOISE_BYTES = 100 * 2**20, 50 * 2**20

Fitted = tuple[str, Any, pa.Table]


def _dense(seed: int = 0) -> Fitted:
    recipe = TorchModel(Dense, {"n_inputs": len(COLUMNS)}, HOW)
    fitted = load_plugin("adapters", "torch")().fit(recipe, ROWS, LATE, seed=seed)
    return "torch", fitted, ROWS


def _program() -> Fitted:
    torch.manual_seed(0)
    shapes, example = ({0: torch.export.Dim("n")},), (torch.zeros(2, len(COLUMNS)),)
    program = torch.export.export(Dense(len(COLUMNS)).eval(), example, dynamic_shapes=shapes)
    recipe = TorchModel(program, reading=Reading(standardize=False))
    return "torch", pretrained(recipe, rows=ROWS, classes=(0, 1)), ROWS


def _texts() -> Fitted:
    case = transformers_forms()[0]
    return "transformers", case.form.estimator, case.features


def _manifest(store: LocalStore, fitted: Fitted) -> Manifest:
    adapter, model, rows = fitted
    runs = load_plugin("adapters", adapter)()
    kept = stored(runs, model, store)
    return Manifest(
        model="flights",
        task="binary",
        adapter=adapter,
        artifact=kept.artifact,
        artifact_bytes=kept.artifact_bytes,
        signature=signature_of(rows),
        classes=runs.classes(model),
        strategy="train",
        environment=runs.environment(),
        parts=kept.parts,
    )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[[Fitted], HostedRuntime]]:
    """Host a model; whatever is left is closed."""
    store = LocalStore(tmp_path / "objects")
    hosted: list[HostedRuntime] = []

    def make(fitted: Fitted) -> HostedRuntime:
        manifest = _manifest(store, fitted)
        hosted.append(hosted_runtime(manifest, store, TRUST, name="v3", limits=_LIMITS))
        return hosted[-1]

    yield make
    for each in hosted:
        each.close()
    assert all(each.wait_gone() for each in hosted)


def _free_bytes() -> int:
    free: int = torch.cuda.mem_get_info()[0]
    return free


def _await(happened: Callable[[], Any]) -> None:
    until_s = time.monotonic() + _WAIT_S
    while not happened():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def _is_served(server: Any, version_id: str) -> bool:
    found = server._works.follower.slots["flights"].generation.first.version.id
    return bool(found == version_id)


@pytest.mark.parametrize("fit", [_dense, _program, _texts], ids=["dense", "exported", "texts"])
def test_scores_are_those_of_the_cpu(
    tmp_path: Path,
    host: Callable[[Fitted], HostedRuntime],
    fit: Callable[[], Fitted],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken by a keeper that touches the GPU before it forks: nobody after it may use it."""
    fitted = fit()
    before = _free_bytes()
    there = host(fitted)
    found = there.predict(fitted[2])
    assert before - _free_bytes() > _CONTEXT_BYTES, "it does not compute on the GPU"
    monkeypatch.setenv("RENEWAL_DEVICE", "cpu")
    store = LocalStore(tmp_path / "objects")
    here = load_runtime(_manifest(store, fitted), store, TRUST)
    np.testing.assert_allclose(found, here.predict(fitted[2]), atol=1e-5)
    on_cpu = host(fitted)
    assert np.array_equal(on_cpu.predict(fitted[2]), here.predict(fitted[2]))


def test_its_memory_goes_with_it(host: Callable[[Fitted], HostedRuntime]) -> None:
    """Broken by a process that is let go and keeps its part of the GPU."""
    fitted = _dense()
    torch.cuda.empty_cache()
    before = _free_bytes()
    versions = [host(fitted) for _ in range(3)]
    for each in versions:
        each.predict(ROWS)
    assert before - _free_bytes() > 3 * _CONTEXT_BYTES
    for each in versions:
        each.close()
    assert all(each.wait_gone() for each in versions)
    _await(lambda: before - _free_bytes() < _NOISE_BYTES)


def test_one_that_is_killed_comes_back(host: Callable[[Fitted], HostedRuntime]) -> None:
    runtime = host(_dense())
    expected = runtime.predict(ROWS)
    before = _free_bytes()
    os.kill(runtime.stats()["pid"], signal.SIGKILL)
    _await(lambda: runtime.stats()["n_restarts"] == 1)
    assert np.array_equal(runtime.predict(ROWS), expected)
    _await(lambda: abs(before - _free_bytes()) < _NOISE_BYTES)


def test_a_row_that_breaks_the_gpu_breaks_no_other(
    host: Callable[[Fitted], HostedRuntime],
) -> None:
    """Broken by a process that lives on: what follows on its GPU is refused for ever."""
    rows = pa.table({"code": [0.0, 1.0, 2.0, 7.0]})
    labels = np.array([0, 1, 0, 1], dtype=object)
    recipe = TorchModel(Places, {}, HOW, Reading(standardize=False))
    adapter = load_plugin("adapters", "torch")()
    runtime = host(("torch", adapter.fit(recipe, rows, labels, seed=0), rows))
    expected = runtime.predict(rows)
    with pytest.raises(Unavailable, match="CUDA error") as caught:
        runtime.predict(pa.table({"code": [1e6]}))
    assert caught.value.fields["reason"] == "device"
    assert np.array_equal(runtime.predict(rows), expected)
    found = runtime.stats()
    assert found["n_restarts"] == 1
    assert "refused its work" in found["last_end"]


def test_a_swap_under_load_drops_nothing(home: Any) -> None:
    """Broken by a version that answers before its GPU does, or is let go under a request."""
    home.declare()
    versions = [home.registry.add_version(_manifest(home.store, _dense(seed))) for seed in range(2)]
    home.champion(versions[0])
    server = home.start(trust=TRUST, keep_warm_s=0.0)
    over = threading.Event()
    statuses: list[int] = []
    names: set[str] = set()

    def ask(seed: int) -> None:
        client = home.client(server)
        while not over.is_set():
            answered = client.infer("flights", 1, seed=seed)
            statuses.append(answered.status)
            names.add(answered.version)

    askers = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for each in askers:
        each.start()
    for at in range(4):
        wanted = versions[(at + 1) % 2]
        n_before = len(statuses)
        home.champion(wanted)
        _await(partial(_is_served, server, wanted.id))
        _await(lambda least=n_before + 20: len(statuses) > least)  # type: ignore[misc]  # a default in a lambda
    over.set()
    for each in askers:
        each.join(_WAIT_S)
    assert set(statuses) == {200}
    assert names == {each.name for each in versions}


def test_nothing_is_left_of_a_killed_server(tmp_path: Path) -> None:
    """Broken by versions that outlive their server and hold the GPU."""
    store = LocalStore(tmp_path / "objects")
    manifest = _manifest(store, _dense())
    script = tmp_path / "serve.py"
    script.write_text(
        "import pickle, sys, time\n"
        "from renewal.serve.hosting import hosted_runtime\n"
        "manifest, store, trust = pickle.load(open(sys.argv[1], 'rb'))\n"
        "runtime = hosted_runtime(manifest, store, trust, name='v1')\n"
        "print(runtime.stats()['pid'], flush=True)\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    asked = tmp_path / "asked"
    asked.write_bytes(pickle.dumps((manifest, store, TRUST)))
    before = _free_bytes()
    command = [sys.executable, str(script), str(asked)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert before - _free_bytes() > _CONTEXT_BYTES
        server.kill()
    _await(lambda: not psutil.pid_exists(pid))
    _await(lambda: before - _free_bytes() < _NOISE_BYTES)
