"""Swapping under load, and everything that may go wrong with a new version."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from renewal.core.errors import Unavailable
from renewal.core.plan import Arm, Plan


def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def steady(version: Any) -> Plan:
    return Plan(version.manifest.model, "steady", (Arm("champion", version.id, 1.0),))


class Traffic:
    """Clients without retries that send as fast as they are answered."""

    def __init__(self, server: Any, new_client: Any, n_threads: int) -> None:
        self.answers: list[tuple[float, float, int, str]] = []
        self.errors: list[BaseException] = []
        self._is_over = threading.Event()
        self._clients = [new_client(server.url) for _ in range(n_threads)]
        self._threads = [
            threading.Thread(target=self._send, args=(client,)) for client in self._clients
        ]

    def __enter__(self) -> Self:
        """Start to send."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop to send."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, client: Any) -> None:
        seed = 0
        try:
            while not self._is_over.is_set():
                seed += 1
                sent_s = time.monotonic()
                answer = client.infer("flights", 1 + seed % 3, seed=seed)
                version = answer.version if answer.status == 200 else ""
                self.answers.append((sent_s, time.monotonic(), answer.status, version))
        except BaseException as error:  # noqa: BLE001  # handed to the test
            self.errors.append(error)


def test_hot_swaps_under_load_drop_nothing_and_answer_by_a_champion_of_the_time(
    home: Any, new_client: Any
) -> None:
    """20 alias moves in about 3 s under 4 clients: no failure, no version out of its time."""
    home.declare()
    versions = [home.version(seed=seed) for seed in range(4)]
    home.champion(versions[0], steady(versions[0]))
    server = home.start()
    live = [(versions[0].name, 0.0)]
    ended: dict[int, float] = {}
    with Traffic(server, new_client, 4) as traffic:
        for move in range(1, 21):
            time.sleep(0.13)
            version = versions[move % 4]
            live.append((version.name, time.monotonic()))
            home.champion(version, steady(version))
            seq, _ = home.registry.plan("flights")
            server.wait_for("flights", seq)
            ended[move - 1] = time.monotonic()
    ended[20] = float("inf")
    assert not traffic.errors
    assert {status for _, _, status, _ in traffic.answers} == {200}
    assert len(traffic.answers) > 50
    for sent_s, done_s, _, name in traffic.answers:
        # Champion at some moment while the request was under way.
        times = [(since, ended[at]) for at, (who, since) in enumerate(live) if who == name]
        assert any(since <= done_s and sent_s <= until for since, until in times)
    # Breaks when a look sees a move without its plan, and puts the plan before in place again.
    assert server.stats()["n_swaps"] == 21
    assert server.stats()["n_failed"] == 0
    server.flush()
    assert len(home.logged()[0]) == sum(server.stats()["rows"]["flights"].values())


def test_a_swap_in_the_same_process_is_followed_without_waiting_for_a_poll(home: Any) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(poll_s=60.0)
    client = home.client(server)
    home.champion(v2, steady(v2))
    assert eventually(lambda: client.infer("flights").version == "v2")


def test_a_plan_from_another_process_is_followed_by_polling(home: Any) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(poll_s=0.05)
    other = type(home.registry)(home.db, home.clock)
    seq = other.publish(steady(v2))
    server.wait_for("flights", seq, timeout_s=5.0)
    assert home.client(server).infer("flights").version == "v2"


@pytest.mark.parametrize("kind", ["truncated", "newer", "unknown_type"])
def test_a_version_that_does_not_load_leaves_the_old_one_serving(
    home: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    home.declare()
    v1 = home.version()
    if kind == "truncated":
        broken = home.version(seed=1, break_bytes=True)
    elif kind == "newer":
        broken = home.version(seed=1, environment={"scikit-learn": "99.0"})
    else:
        broken = home.version(seed=1, artifact=home.store.put(b"not a model"))
    home.champion(v1, steady(v1))
    server = home.start()
    client = home.client(server)
    with caplog.at_level(logging.CRITICAL):
        seq = home.steady(broken)
        with pytest.raises(Unavailable, match="flights"):
            server.wait_for("flights", seq)
    assert client.infer("flights").version == "v1"
    ready = client.send("GET", "/v2/models/flights/ready")
    assert ready.status == 200
    assert ready.body["failure"] == server.stats()["models"]["flights"]["failure"] != ""
    assert client.send("GET", "/v2/health/ready").body["failures"]["flights"]
    assert server.stats()["n_failed_swaps"] >= 1
    v3 = home.version(seed=3)
    server.wait_for("flights", home.steady(v3))
    assert client.infer("flights").version == "v3"
    assert "failure" not in client.send("GET", "/v2/models/flights/ready").body


def test_a_first_version_that_does_not_load_makes_the_server_unready(home: Any) -> None:
    home.declare("fine")
    home.champion(home.version("fine"))
    home.declare()
    home.champion(home.version(seed=1, break_bytes=True))
    client = home.client(home.start())
    ready = client.send("GET", "/v2/health/ready")
    assert (ready.status, ready.body["ready"], ready.body["live"]) == (503, False, True)
    assert client.infer("fine").status == 200
    answer = client.infer("flights")
    assert answer.status == 503
    assert list(answer.body) == ["error"]


def test_a_version_that_loads_but_cannot_predict_is_not_put_in_place(home: Any) -> None:
    """The warm-up row is a real one, of the requests that the server has answered."""
    home.declare()
    v1 = home.version()
    home.champion(v1, steady(v1))
    server = home.start()
    client = home.client(server)
    client.infer("flights")
    # Its manifest promises three classes where the model scores two.
    broken = home.version(seed=1, classes=(0, 1, 2))
    with pytest.raises(Unavailable, match="predict"):
        server.wait_for("flights", home.steady(broken))
    assert client.infer("flights").version == "v1"


def test_what_failed_is_tried_again(home: Any) -> None:
    """An object that comes back, say from a backup, is served without a new plan."""
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(poll_s=0.05)
    digest = v2.manifest.artifact
    path = next((home.root / "objects").rglob(f"*{digest[2:]}"))
    away = path.rename(home.root / "away")
    seq = home.steady(v2)
    with pytest.raises(Unavailable):
        server.wait_for("flights", seq)
    away.rename(path)
    assert eventually(lambda: server.stats()["models"]["flights"]["plan_seq"] == seq)
    assert home.client(server).infer("flights").version == "v2"


def test_the_former_champion_is_test_loaded_at_start(home: Any) -> None:
    home.declare()
    v1, v2 = home.version(break_bytes=True), home.version(seed=1)
    home.champion(v1)
    home.champion(v2)
    server = home.start()
    assert eventually(lambda: server.stats()["models"]["flights"]["rollback_failure"] != "")
    assert home.client(server).infer("flights").version == "v2"
    assert server.stats()["is_ready"]


def test_loaded_versions_are_shared_by_the_plans_of_a_rollout(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shadow, canary, full: each version is loaded once, not once a step."""
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start()
    server.wait_for("flights", home.shadowed(v1, v2))
    reads: list[str] = []
    loader = server._works.follower._loader
    load = loader.load

    def noted(slot: Any, version_id: str) -> Any:
        reads.append(version_id)
        return load(slot, version_id)

    monkeypatch.setattr(loader, "load", noted)
    server.wait_for("flights", home.canary(v1, v2, 0.1, shadow=True))
    server.wait_for("flights", home.canary(v1, v2, 0.5, shadow=True))
    assert not reads
    assert server.stats()["models"]["flights"]["versions"] == ["v1", "v2"]


def test_a_registry_that_is_away_for_a_while_stops_nothing(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(poll_s=0.02)
    client = home.client(server)
    n_asked = threading.Semaphore(0)

    def away() -> Any:
        n_asked.release()
        raise OSError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(home.registry, "models", away)
        assert n_asked.acquire(timeout=5)
        assert n_asked.acquire(timeout=5)
        assert client.infer("flights").status == 200
    server.wait_for("flights", home.steady(v2), timeout_s=5)


def test_wait_for_gives_up_in_time(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    server = home.start()
    with pytest.raises(Unavailable, match="no answer"):
        server.wait_for("flights", 10_000, timeout_s=0.05)


def test_text_columns_need_a_real_row_to_be_judged_by(home: Any) -> None:
    """An encoder may rightly refuse the blank text of a made-up row: that decides nothing."""
    home.declare()
    table = pa.table({"carrier": ["UA", "AA"] * 40})
    picky = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression())
    home.champion(home.version(table=table, estimator=picky))
    client = home.client(home.start())

    def ask(carrier: str) -> int:
        tensor = {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": [carrier]}
        status: int = client.send("POST", "/v2/models/flights/infer", {"inputs": [tensor]}).status
        return status

    assert (ask("UA"), ask("ZZ")) == (200, 400)


class Gate:
    """Holds back the load of one version until it is opened."""

    def __init__(self, loader: Any, version_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = threading.Event()
        self.has_come = threading.Event()
        load = loader.load

        def gated(slot: Any, asked: str) -> Any:
            if asked == version_id:
                self.has_come.set()
                assert self.is_open.wait(10)
            return load(slot, asked)

        monkeypatch.setattr(loader, "load", gated)


def test_a_slow_load_delays_neither_other_models_nor_a_way_back(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback takes effect while the next version still loads; that load comes to nothing."""
    home.declare()
    home.declare("other")
    v1, v2, slow = (home.version(seed=seed) for seed in range(3))
    other1, other2 = home.version("other"), home.version("other", seed=1)
    home.champion(v1)
    home.canary(v1, v2, 0.5, shadow=False)
    home.champion(other1)
    server = home.start()
    gate = Gate(server._works.follower._loader, slow.id, monkeypatch)
    home.canary(v1, slow, 0.5, shadow=False)
    assert gate.has_come.wait(5)
    server.wait_for("other", home.steady(other2), timeout_s=5)
    back = home.steady(v1)
    server.wait_for("flights", back, timeout_s=5)
    gate.is_open.set()
    assert eventually(server._works.follower._placing._loading["flights"].done)
    time.sleep(0.1)
    stats = server.stats()["models"]["flights"]
    assert (stats["plan_seq"], stats["versions"]) == (back, ["v1"])
    # Two at start, the other model's and the way back: the slow plan was never in place.
    assert server.stats()["n_swaps"] == 4
