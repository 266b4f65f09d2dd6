"""Work on Ray: the suite of all engines, and what is Ray's own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

from renewal.core.errors import Conflict, Invalid, Unavailable
from renewal.engine.contract import Call
from renewal.engine.options import EngineOptions
from renewal.testing import engine_calls as work
from renewal.testing.engines import ENGINE_CHECKS, run_check

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

import psutil
import ray
from ray.cluster_utils import Cluster

from renewal.engine.ray import MOST_BYTES, RayEngine, _connect, loopback


@pytest.fixture(scope="module")
def local_ray() -> Iterator[RayEngine]:
    """Hold one local Ray for all tests here: it takes seconds to start."""
    assert not ray.is_initialized(), "somebody left a Ray running"
    engine = RayEngine(EngineOptions(kind="ray", workers=2))
    assert not ray.is_initialized(), "constructing an engine starts nothing"
    engine.run(max, 2, 3, label="warm up")
    yield engine
    engine.close()
    assert not ray.is_initialized(), "the last engine stops what was started"


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("check", ENGINE_CHECKS)
def test_ray(check: str) -> None:
    """Broken by tasks that cannot be killed, that lose errors, or that hang."""
    run_check(check, RayEngine)


def test_large_things_go_through_the_store(local_ray: RayEngine) -> None:
    """Broken by rows or models that fill Ray's memory."""
    with pytest.raises(Invalid, match=r"at most 1,048,576 bytes.*into the store"):
        local_ray.run(len, b"x" * (MOST_BYTES + 1), label="large")
    with pytest.raises(Invalid, match="returns at most 1,048,576 bytes"):
        local_ray.run(bytes, MOST_BYTES + 1, label="returns much")
    assert local_ray.run(len, b"x" * (MOST_BYTES // 2), label="small").value == MOST_BYTES // 2


def test_the_folder_and_the_path_of_the_caller_count(
    local_ray: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by tasks that do not find the modules and files that their caller finds."""
    (tmp_path / "newcomer_on_ray.py").write_text("def answer():\n    return 42\n", "ascii")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = import_module("newcomer_on_ray").answer
    assert local_ray.run(answer, label="new").value == 42
    assert local_ray.run(os.getcwd, label="where").value == str(tmp_path)


@pytest.mark.usefixtures("local_ray")
def test_listens_on_this_machine_alone() -> None:
    """Broken by a Ray whose ports the network reaches: whoever reaches them runs code."""
    ours = {process.pid for process in psutil.Process().children(recursive=True)} | {os.getpid()}
    listening = [
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    ]
    assert listening, "Ray listens somewhere, or this test is blind"
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_engines_share_one_ray(local_ray: RayEngine) -> None:
    """Broken by an engine that stops the Ray of another, or joins a second cluster unasked."""
    second = RayEngine(EngineOptions(kind="ray", workers=1))
    assert second.run(max, 2, 3, label="second").value == 3
    second.close()
    assert ray.is_initialized()
    assert local_ray.run(max, 2, 3, label="first").value == 3
    elsewhere = RayEngine(EngineOptions(kind="ray", address="127.0.0.1:1"))
    with pytest.raises(Conflict, match=r"connected to 127\.0\.0\.1:1"):
        elsewhere.run(max, 2, 3, label="elsewhere")
    elsewhere.close()


def test_two_nodes(local_ray: RayEngine, tmp_path: Path) -> None:
    """Broken by an engine that sees one node only: three run at once on two cores and one."""
    assert local_ray.n_slots == 2
    cluster = Cluster()  # of the Ray that runs: starting another takes seconds
    cluster.head_node = head = ray._private.worker._global_node
    cluster.redis_address = head.redis_address
    cluster.redis_username = cluster.redis_password = None
    cluster.global_state = ray._private.state.state
    with loopback():
        node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    engine = RayEngine(EngineOptions(kind="ray"))
    assert engine.n_slots == 3
    sign = str(tmp_path / "sign")
    calls = [Call(work.await_sign, (sign,), f"waits {at}") for at in range(2)]
    ends = list(engine.run_all([*calls, Call(work.touch, (sign,), "signs")]))
    engine.close()
    cluster.remove_node(node)
    assert [ended.error for ended in ends] == [None, None, None]
    assert ends[0].at == 2


def test_no_cluster_there() -> None:
    """Broken by an address that nobody answers at: Ray tries for minutes and then aborts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unavailable, match=f"a Ray cluster at {address}"):
        _connect(EngineOptions(kind="ray", address=address))


_ON_A_CLUSTER = """
    import json, sys
    from dataclasses import replace
    from ray.cluster_utils import Cluster
    from renewal.engine.options import EngineOptions
    from renewal.engine.ray import RayEngine, loopback
    from renewal.testing.engines import ENGINE_CHECKS, run_check

    with loopback():
        node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        cluster.add_node(**node)
        engine = RayEngine(EngineOptions(kind="ray", address=cluster.address))
        n_slots = engine.n_slots
        for check in ENGINE_CHECKS:
            run_check(check, lambda asked: RayEngine(replace(asked, address=cluster.address)))
        engine.close()
        is_up = len(cluster.head_node.live_processes()) > 0
        cluster.shutdown()
    print(json.dumps([n_slots, is_up]))
"""


@pytest.mark.slow
def test_suite_on_a_cluster(tmp_path: Path) -> None:
    """Broken by what only a cluster of others shows: two nodes of one core, and it stays up.

    In a process of its own, since this one is connected to a Ray.
    """
    script = tmp_path / "cluster.py"
    script.write_text(dedent(_ON_A_CLUSTER), encoding="ascii")
    environment = {**os.environ, "RAY_process_group_cleanup_enabled": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [2, True]
