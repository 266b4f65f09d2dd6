"""A version in a process of its own: equal scores, and nobody else is hurt."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from lightgbm import LGBMClassifier
from river.linear_model import LogisticRegression as OnlineRegression
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

from renewal.core.errors import (
    Corrupt,
    Failed,
    Invalid,
    NotFound,
    Refused,
    RenewalError,
    Unavailable,
)
from renewal.core.plan import Arm, Plan
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest, Version
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
from renewal.serve.slots import Generation, Loaded
from renewal.store.local import LocalStore
from renewal.testing import unruly
from renewal.testing.torch_nets import TRUST as NETS
from renewal.testing.torch_nets import Dense
from renewal.testing.transformers_forms import transformers_forms

TRUST = (*unruly.TRUST, *NETS, PROGRAM)
_RNG = np.random.default_rng(0)
_VALUES = _RNG.normal(size=(300, 4))
ROWS = pa.table({f"x{at}": each for at, each in enumerate(_VALUES.T)})
LATE = np.array(["yes" if each > 0 else "no" for each in _VALUES[:, 0]], dtype=object)
_WAIT_S = 30.0


def _store(root: Path) -> LocalStore:
    return LocalStore(root / "objects")


def _manifest(store: LocalStore, adapter: str, fitted: Any, rows: pa.Table) -> Manifest:
    runs = load_plugin("adapters", adapter)()
    kept = stored(runs, fitted, store)
    classes = runs.classes(fitted)
    return Manifest(
        model="flights",
        task="binary" if classes else "regression",
        adapter=adapter,
        artifact=kept.artifact,
        artifact_bytes=kept.artifact_bytes,
        signature=signature_of(rows),
        classes=classes,
        strategy="train",
        environment=runs.environment(),
        parts=kept.parts,
    )


def _fitted(adapter: str, recipe: Any, rows: pa.Table = ROWS, labels: Any = LATE) -> Any:
    return load_plugin("adapters", adapter)().fit(recipe, rows, labels, seed=0)


def _program() -> TorchModel:
    torch.manual_seed(0)
    shapes = ({0: torch.export.Dim("n")},)
    program = torch.export.export(Dense(4).eval(), (torch.zeros(2, 4),), dynamic_shapes=shapes)
    recipe = TorchModel(program, reading=Reading(standardize=False))
    return pretrained(recipe, rows=ROWS, classes=("no", "yes"))


def _unruly(store: LocalStore) -> Manifest:
    rows = pa.table({"x": np.arange(1.0, 9.0)})
    fitted = _fitted("python", unruly.Unruly(), rows, np.arange(2.0, 18.0, 2.0))
    return _manifest(store, "python", fitted, rows)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[..., HostedRuntime]]:
    """Host the unruly model; whatever is left is closed."""
    store = _store(tmp_path)
    manifest = _unruly(store)
    hosted: list[HostedRuntime] = []

    def make(**limits: Any) -> HostedRuntime:
        runtime = hosted_runtime(manifest, store, TRUST, name="v3", limits=HostLimits(**limits))
        hosted.append(runtime)
        return runtime

    yield make
    for each in hosted:
        each.close()
    assert all(each.wait_gone() for each in hosted)


def _doubled(runtime: HostedRuntime, *values: float, timeout_s: float | None = None) -> list[float]:
    found = runtime.predict_matrix(np.array(values)[:, np.newaxis], timeout_s)
    scores: list[float] = found[:, 0].tolist()
    return scores


def _pid(runtime: HostedRuntime) -> int:
    found = runtime.stats()["pid"]
    assert isinstance(found, int)
    return found


def _await(happened: Callable[[], Any]) -> None:
    until_s = time.monotonic() + _WAIT_S
    while not happened():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def _is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("adapter", "fit"),
    [
        ("sklearn", lambda: _fitted("sklearn", LogisticRegression())),
        ("sklearn", lambda: _fitted("sklearn", RandomForestClassifier(10, n_jobs=1))),
        ("lightgbm", lambda: _fitted("lightgbm", LGBMClassifier(n_estimators=10, n_jobs=1))),
        ("xgboost", lambda: _fitted("xgboost", XGBClassifier(n_estimators=10, n_jobs=1))),
        ("river", lambda: _fitted("river", OnlineRegression())),
        (
            "torch",
            lambda: _fitted("torch", TorchModel(Dense, {"n_inputs": 4}, how=Tuning(epochs=1))),
        ),
        ("torch", _program),
    ],
    ids=["logistic", "forest", "lightgbm", "xgboost", "river", "torch", "exported"],
)
def test_scores_are_those_of_this_process(
    tmp_path: Path, adapter: str, fit: Callable[[], Any]
) -> None:
    """Broken by rows that arrive otherwise: another order, another width, no gaps."""
    store = _store(tmp_path)
    manifest = _manifest(store, adapter, fit(), ROWS)
    here = load_runtime(manifest, store, TRUST)
    there = hosted_runtime(manifest, store, TRUST, name="v1")
    assert there.takes_matrix
    expected = here.predict(ROWS)
    assert np.array_equal(there.predict(ROWS), expected)
    assert np.array_equal(there.predict_matrix(_VALUES), expected)
    turned = ROWS.select(["x3", "x1", "x0", "x2"]).append_column("more", ROWS["x0"])
    assert np.array_equal(there.predict(turned), expected)
    assert np.array_equal(there.predict_matrix(_VALUES[:1]), here.predict(ROWS.slice(0, 1)))
    assert there.predict_matrix(_VALUES[:0]).shape == here.predict(ROWS.slice(0, 0)).shape
    there.close()


def test_texts_and_gaps_travel(tmp_path: Path) -> None:
    """Broken by gaps that become numbers, or by columns that only a matrix can carry."""
    store = _store(tmp_path)
    case = transformers_forms()[0]
    manifest = _manifest(store, "transformers", case.form.estimator, case.features)
    there = hosted_runtime(manifest, store, name="v1")
    assert not there.takes_matrix
    expected = load_runtime(manifest, store).predict(case.features)
    assert np.array_equal(there.predict(case.features), expected)
    with pytest.raises(Invalid, match="all floats"):
        there.predict_matrix(np.zeros((1, 1)))
    there.close()

    with_gaps = _VALUES.copy()
    with_gaps[::3, 1] = np.nan
    fitted = _fitted("lightgbm", LGBMClassifier(n_estimators=10, n_jobs=1))
    manifest = _manifest(store, "lightgbm", fitted, ROWS)
    table = pa.table(
        {f"x{at}": pa.array(each, from_pandas=True) for at, each in enumerate(with_gaps.T)}
    )
    there = hosted_runtime(manifest, store, name="v2")
    assert np.array_equal(
        there.predict_matrix(with_gaps), load_runtime(manifest, store).predict(table)
    )
    there.close()


def test_what_is_wrong_with_a_version_is_said_as_here(tmp_path: Path) -> None:
    """Broken by an error that loses its kind or its fields on the way, or leaves a process."""
    store = _store(tmp_path)
    manifest = _unruly(store)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(Refused, match="unruly"):
        hosted_runtime(manifest, store, (), name="v3")
    path = next((tmp_path / "objects").rglob(f"*{manifest.artifact[2:]}"))
    path.chmod(0o644)
    path.write_bytes(b"cut off")
    with pytest.raises(Corrupt) as caught:
        hosted_runtime(manifest, store, TRUST, name="v3")
    assert caught.value.fields["digest"] == manifest.artifact
    path.unlink()
    with pytest.raises(NotFound):
        hosted_runtime(manifest, store, TRUST, name="v3")
    keepers = set(psutil.Process().children(recursive=True)) - before
    assert len(keepers) <= 1


def test_what_it_does_not_take_is_said_as_here(host: Callable[..., HostedRuntime]) -> None:
    runtime = host()
    with pytest.raises(Invalid, match="'x'"):
        runtime.predict(pa.table({"y": [1.0]}))
    with pytest.raises(Refused) as refused:
        _doubled(runtime, unruly.REFUSE)
    assert refused.value.fields == {"at": 3}
    with pytest.raises(Invalid, match="RuntimeError: as it was told to") as caught:
        _doubled(runtime, unruly.RAISE)
    assert "unruly.py" in caught.value.__notes__[0]
    with pytest.raises(Failed, match=r"v3 of model 'flights'.*SystemExit: as it was told to"):
        _doubled(runtime, unruly.LEAVE)
    with pytest.raises(Unavailable) as starved:
        _doubled(runtime, unruly.STARVE)
    assert starved.value.fields["reason"] == "memory"
    assert _doubled(runtime, 1.0, 2.0) == [2.0, 4.0]
    assert runtime.stats()["n_restarts"] == 0


def test_one_that_crashes_is_started_again(host: Callable[..., HostedRuntime]) -> None:
    runtime = host(patience_s=_WAIT_S)
    first = _pid(runtime)
    with pytest.raises(Unavailable, match="SIGSEGV") as caught:
        _doubled(runtime, unruly.DIE)
    assert caught.value.fields["retry_after_s"] > 0
    assert _doubled(runtime, 3.0) == [6.0]
    found = runtime.stats()
    assert (found["state"], found["n_restarts"]) == ("up", 1)
    assert found["pid"] != first
    assert "SIGSEGV" in found["last_end"]


def test_one_whose_gpu_is_lost_is_started_again(host: Callable[..., HostedRuntime]) -> None:
    """Broken by a process that lives on: every kernel after a refused one is refused, too."""
    runtime = host(patience_s=_WAIT_S)
    first = _pid(runtime)
    with pytest.raises(Unavailable, match="a lost GPU"):
        _doubled(runtime, unruly.SPOIL)
    assert _doubled(runtime, 3.0) == [6.0]
    found = runtime.stats()
    assert (found["n_restarts"], found["pid"] != first) == (1, True)
    assert "refused its work: a lost GPU" in found["last_end"]


def test_a_kill_under_many_callers_fails_one_of_them(host: Callable[..., HostedRuntime]) -> None:
    """Broken by a caller that waits for ever, or gets the answer of another."""
    runtime = host(patience_s=_WAIT_S)
    wrong: list[Any] = []
    errors: list[RenewalError] = []
    after = threading.Event()

    def call(number: int) -> None:
        for at in range(2000):
            value = 1.0 + number * 10_000 + at
            try:
                if _doubled(runtime, value) != [2 * value]:
                    wrong.append(value)
            except RenewalError as error:
                errors.append(error)
            if after.is_set():
                return

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for each in callers:
        each.start()
    os.kill(_pid(runtime), signal.SIGKILL)
    _await(lambda: runtime.stats()["n_restarts"] == 1)
    after.set()
    for each in callers:
        each.join(_WAIT_S)
    assert not any(each.is_alive() for each in callers)
    assert not wrong
    assert all(isinstance(each, Unavailable) for each in errors)
    assert len(errors) <= len(callers)
    assert _doubled(runtime, 5.0) == [10.0]


def test_one_that_hangs_is_killed(host: Callable[..., HostedRuntime]) -> None:
    runtime = host(patience_s=_WAIT_S)
    first = _pid(runtime)
    with pytest.raises(Unavailable, match=r"within 0\.2 s") as caught:
        _doubled(runtime, unruly.HANG, timeout_s=0.2)
    assert caught.value.fields["reason"] == "late"
    assert _doubled(runtime, 1.0) == [2.0]
    assert _is_gone(first)
    assert "killed" in runtime.stats()["last_end"]


def test_one_that_dies_again_and_again_is_given_up_for_a_while(
    host: Callable[..., HostedRuntime],
) -> None:
    """Broken by starting it for ever, and by giving it up for ever."""
    runtime = host(restarts=1, window_s=2.0, patience_s=_WAIT_S)
    for _ in range(2):
        with pytest.raises(Unavailable):
            _doubled(runtime, unruly.DIE)
    _await(lambda: runtime.stats()["state"] == "given up")
    with pytest.raises(Failed, match=r"v3 of model 'flights'.*SIGSEGV"):
        _doubled(runtime, 1.0)
    assert runtime.stats()["pid"] is None
    _await(lambda: runtime.stats()["state"] == "up")
    assert _doubled(runtime, 1.0) == [2.0]


def test_its_memory_goes_with_it(host: Callable[..., HostedRuntime]) -> None:
    """Broken by anything of the model that the server's process holds."""
    runtime = host()
    pid, here = _pid(runtime), psutil.Process()
    before = here.memory_info().rss
    held_before = runtime.stats()["rss_bytes"]
    for _ in range(2):
        _doubled(runtime, unruly.HOLD)
    assert runtime.stats()["rss_bytes"] > held_before + 350e6
    assert here.memory_info().rss < before + 50e6
    runtime.close()
    assert runtime.wait_gone()
    assert _is_gone(pid)
    assert runtime.stats()["state"] == "closed"


def test_twenty_versions_leave_nothing(host: Callable[..., HostedRuntime]) -> None:
    first = host()
    first.close()
    assert first.wait_gone()  # the keeper stays
    here = psutil.Process()
    before = (here.num_fds(), len(here.children(recursive=True)), threading.active_count())
    opened = [host() for _ in range(20)]
    keeper = {psutil.Process(_pid(each)).ppid() for each in opened}
    assert len(keeper) == 1
    assert len(here.children(recursive=True)) == before[1] + 20
    for each in opened:
        each.close()
        each.close()
    assert all(each.wait_gone() for each in opened)
    _await(lambda: threading.active_count() == before[2])
    assert before == (here.num_fds(), len(here.children(recursive=True)), threading.active_count())


def test_closing_lets_a_prediction_finish(host: Callable[..., HostedRuntime]) -> None:
    runtime = host()
    found: list[Any] = []
    running = threading.Thread(target=lambda: found.append(_doubled(runtime, 0.4)))
    running.start()
    _await(runtime._tender.talking.locked)
    runtime.close()
    running.join(_WAIT_S)
    assert found == [[0.8]]
    with pytest.raises(Unavailable, match="a closed one"):
        _doubled(runtime, 1.0)


def test_closing_ends_a_prediction_that_hangs(host: Callable[..., HostedRuntime]) -> None:
    runtime = host(close_s=0.1, end_s=0.1)
    pid = _pid(runtime)
    found: list[Any] = []

    def hang() -> None:
        try:
            _doubled(runtime, unruly.HANG)
        except Unavailable as error:
            found.append(error.came)

    running = threading.Thread(target=hang)
    running.start()
    _await(runtime._tender.talking.locked)
    runtime.close()
    running.join(_WAIT_S)
    assert found == ["a closed one"]
    assert runtime.wait_gone()
    assert _is_gone(pid)


def test_nobody_waits_for_the_end(host: Callable[..., HostedRuntime]) -> None:
    """Broken by a close that holds up the event loop, or a swap, while a process hangs."""
    runtime = host(close_s=_WAIT_S)
    pid = _pid(runtime)
    with runtime._tender.talking:
        runtime.close()
        assert psutil.pid_exists(pid)
        assert not runtime.wait_gone(0.01)
    assert runtime.wait_gone()
    assert _is_gone(pid)


def test_a_generation_is_gone_when_its_processes_are(host: Callable[..., HostedRuntime]) -> None:
    """Broken by a swap that unloads first, and loads while the memory is not free yet."""
    runtimes = [host(close_s=_WAIT_S) for _ in range(2)]
    loaded = [_loaded(runtime, number) for number, runtime in enumerate(runtimes)]
    arms = tuple(Arm(each.version.id, each.version.id, 0.5) for each in loaded)
    held = {each.version.id: each for each in loaded}
    generation = Generation(1, Plan("flights", "canary", arms), held)
    assert loaded[1].share()  # the next generation has it, too
    with runtimes[0]._tender.talking:
        generation.leave()
        assert not generation.is_gone
    _await(lambda: generation.is_gone)
    assert [each.is_gone for each in runtimes] == [True, False]
    loaded[1].release()


def _loaded(runtime: HostedRuntime, number: int) -> Loaded:
    signature = Signature((Field("x", "float"),))
    manifest = Manifest("flights", "regression", "python", "0" * 64, 1, signature, (), "train")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    version = Version(f"id-{number}", number, manifest, {}, at, "test")
    return Loaded(version, load_plugin("tasks", "regression")(), runtime)


def test_the_process_list_names_the_version(host: Callable[..., HostedRuntime]) -> None:
    shown = psutil.Process(_pid(host()))
    assert shown.cmdline()[0] == "renewal: v3 of model flights (python)"
    assert shown.name() == "renewal v3"
    keeper = shown.parent()
    assert keeper is not None
    assert f"native versions of process {os.getpid()}" in " ".join(keeper.cmdline())


def test_it_computes_with_one_thread(host: Callable[..., HostedRuntime]) -> None:
    """Broken by versions that each take all cores, from each other and from the server."""
    assert _doubled(host(), unruly.THREADS) == [1.0]


def test_where_networks_compute_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a process that reads the environment of the first version that was hosted."""
    store = _store(tmp_path)
    fitted = _fitted("torch", TorchModel(Dense, {"n_inputs": 4}, how=Tuning(epochs=1)))
    manifest = _manifest(store, "torch", fitted, ROWS)
    monkeypatch.setenv("RENEWAL_DEVICE", "nowhere")
    with pytest.raises(Invalid, match=r"RENEWAL_DEVICE.*'nowhere'"):
        hosted_runtime(manifest, store, TRUST, name="v1")


def test_a_keeper_that_is_killed_is_replaced(host: Callable[..., HostedRuntime]) -> None:
    runtime = host(patience_s=_WAIT_S)
    first = psutil.Process(_pid(runtime))
    keeper = first.parent()
    assert keeper is not None
    keeper.kill()
    _await(lambda: not first.is_running())
    _await(lambda: runtime.stats()["n_restarts"] == 1)
    assert _doubled(runtime, 1.0) == [2.0]


def test_a_server_says_when_its_versions_end(host: Callable[..., HostedRuntime]) -> None:
    """Broken by a service manager that signals every process: the server still drains then."""
    runtime = host()
    shown = psutil.Process(_pid(runtime))
    keeper = shown.parent()
    assert keeper is not None
    for each in (keeper, shown):
        each.terminate()
    assert _doubled(runtime, 1.0) == [2.0]
    assert _doubled(host(), 1.0) == [2.0]  # the keeper, too, went on
    assert (_pid(runtime), runtime.stats()["n_restarts"]) == (shown.pid, 0)


def test_a_store_that_does_not_travel_is_refused(tmp_path: Path) -> None:
    store = _store(tmp_path)
    manifest = _unruly(store)
    store.lock = threading.Lock()  # type: ignore[attr-defined]  # what does not pickle
    with pytest.raises(Invalid, match="pickles"):
        hosted_runtime(manifest, store, TRUST)


@pytest.mark.parametrize("end", ["signal.SIGKILL", "0"])
def test_nobody_outlives_a_server(tmp_path: Path, end: str) -> None:
    """Broken by a process that waits for a server that was killed; the script is run once."""
    manifest = _unruly(_store(tmp_path))
    (tmp_path / "manifest").write_bytes(pickle.dumps(manifest))
    script = tmp_path / "script.py"
    script.write_text(
        dedent(f"""
        import os, pickle, signal
        from pathlib import Path
        from renewal.serve.hosting import hosted_runtime
        from renewal.store.local import LocalStore
        root = Path({str(tmp_path)!r})
        manifest = pickle.loads((root / "manifest").read_bytes())
        runtime = hosted_runtime(manifest, LocalStore(root / "objects"), {TRUST!r})
        pid = runtime.stats()["pid"]
        parent = Path(f"/proc/{{pid}}/stat").read_text().rpartition(")")[2].split()[1]
        print(pid, parent, flush=True)
        if {end}:
            os.kill(os.getpid(), {end})
        """)
    )
    ran = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    (line,) = ran.stdout.splitlines()
    version, keeper = map(int, line.split())
    assert ran.returncode == (-signal.SIGKILL if end != "0" else 0)
    _await(lambda: _is_gone(version) and _is_gone(keeper))


def test_a_server_hosts_native_versions(home: Any) -> None:
    """Broken by a loader that loads them in the server's process, or graphs in another."""
    home.declare()
    version = home.version(estimator=LogisticRegression())
    home.champion(version)
    runtimes = {}
    for native in ("process", "thread"):
        server = home.start(native=native)
        client = home.client(server)
        processes = server.stats()["models"]["flights"]["processes"]
        assert [each["state"] for each in processes.values()] == ["up"] * (native == "process")
        runtimes[native] = (
            server._works.follower.slots["flights"].generation.first.runtime,
            client.infer("flights", 3, seed=5).body["outputs"][1]["data"],
        )
        server.stop()
    assert isinstance(runtimes["process"][0], HostedRuntime)
    assert not isinstance(runtimes["thread"][0], HostedRuntime)
    assert runtimes["process"][1] == runtimes["thread"][1]
    assert runtimes["process"][0].stats()["state"] == "closed"


def test_one_that_hangs_does_not_hold_up_another(home: Any) -> None:
    """Broken by versions that share the thread in which they are waited for."""
    for name in ("hangs", "answers"):
        home.declare(name, task="regression")
        found = dataclasses.replace(_unruly(home.store), model=name)
        home.champion(home.registry.add_version(found))
    server = home.start(trust=TRUST, timeout_s=1.5)
    asked = {
        value: {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [value]}]}
        for value in (unruly.HANG, 4.0)
    }
    statuses: list[int] = []

    def hang() -> None:
        client = home.client(server)
        statuses.append(client.send("POST", "/v2/models/hangs/infer", asked[unruly.HANG]).status)

    hanging = threading.Thread(target=hang)
    hanging.start()
    runtime = server._works.follower.slots["hangs"].generation.first.runtime
    _await(runtime._tender.talking.locked)
    answered = home.client(server).send("POST", "/v2/models/answers/infer", asked[4.0])
    assert not statuses
    assert answered.body["outputs"][0]["data"] == [8.0]
    hanging.join(_WAIT_S)
    assert statuses == [504]
