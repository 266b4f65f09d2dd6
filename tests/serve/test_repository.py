"""The repository extension: what is listed, loaded and let go of, by one worker and by several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from renewal.serve.run_folder import RunFolder
from renewal.serve.server import Server

INDEX = "/v2/repository/index"


@pytest.fixture
def steady(home: Any) -> Any:
    """Return a home with one model of one version."""
    home.declare()
    version = home.version()
    home.champion(version)
    home.steady(version)
    return home


def verb(name: str, model: str = "flights") -> str:
    return f"/v2/repository/models/{model}/{name}"


def states(client: Any) -> list[tuple[str, str, str]]:
    found = client.send("POST", INDEX, {}).body
    assert all(set(each) == {"name", "version", "state", "reason"} for each in found)
    return [(each["name"], each["version"], each["state"]) for each in found]


def test_what_is_not_loaded_is_listed_with_its_reason(steady: Any) -> None:
    steady.declare("empty")
    steady.declare("broken")
    broken = steady.version("broken", seed=7, break_bytes=True)
    steady.champion(broken)
    client = steady.client(steady.start())
    assert states(client) == [
        ("broken", "", "UNAVAILABLE"),
        ("empty", "", "UNAVAILABLE"),
        ("flights", "1", "READY"),
    ]
    reasons = {each["name"]: each["reason"] for each in client.send("POST", INDEX).body}
    assert reasons["flights"] == ""
    assert "digest" in reasons["broken"]
    assert reasons["empty"] == "no version is to be served"
    only = client.send("POST", INDEX, {"ready": True}).body
    assert [each["name"] for each in only] == ["flights"]


def test_an_unloaded_model_stays_away_until_it_is_loaded(steady: Any) -> None:
    """Breaks when a poll or a new plan brings back what somebody has unloaded."""
    server = steady.start(poll_s=0.02)
    client = steady.client(server)
    assert client.send("POST", verb("unload")).body == {"name": "flights", "unload": True}
    assert states(client) == [("flights", "", "UNAVAILABLE")]
    polls = server._works.follower.n_polls
    steady.steady(steady.version(seed=1))
    while server._works.follower.n_polls < polls + 3:
        assert client.infer("flights").status == 503
    assert client.send("GET", "/v2/models/flights/ready").body["ready"] is False
    assert client.send("GET", "/v2/models/flights").status == 503
    assert client.send("GET", "/v2/models/flights/stats").status == 503
    assert client.send("GET", "/v2/health/ready").status == 200
    assert client.send("POST", verb("unload")).status == 200  # twice does no harm
    assert client.send("POST", verb("load")).body == {"name": "flights", "load": True}
    assert states(client) == [("flights", "2", "READY")]  # what the registry says by now
    assert client.infer("flights").version == "v2"


def test_a_model_that_was_just_made_can_be_loaded(steady: Any) -> None:
    """Breaks when a client has to wait for the next poll."""
    client = steady.client(steady.start(poll_s=30.0))
    steady.declare("delays", task="regression")
    steady.champion(steady.version("delays"))
    assert client.send("POST", verb("load", "delays")).status == 200
    assert client.infer("delays").status == 200


def test_a_plan_that_failed_is_tried_again_at_once(steady: Any) -> None:
    server = steady.start(poll_s=0.05)
    client = steady.client(server)
    steady.steady(steady.version(seed=1, break_bytes=True))
    wait_until(lambda: server._works.follower.n_failed > 0)
    n_failed = server._works.follower.n_failed
    refused = client.send("POST", verb("load"))
    assert refused.status == 503
    assert "failed to load 'flights'" in refused.body["error"]
    assert server._works.follower.n_failed > n_failed
    assert client.infer("flights").version == "v1"  # what it served goes on
    steady.steady(steady.version(seed=2))
    assert client.send("POST", verb("load")).status == 200
    assert client.infer("flights").version == "v3"


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (verb("load", "none"), {}, 404, "failed to load 'none'"),
        (verb("unload", "none"), {}, 404, "failed to unload 'none'"),
        (verb("load"), {"parameters": {"file:1/model.py": "eA=="}}, 400, "files"),
        (verb("load"), {"parameters": {"file:../../x": "eA=="}}, 400, "files"),
        (verb("load"), {"parameters": 1}, 400, "JSON"),
        (verb("load"), b"{", 400, "JSON"),
        (INDEX, {"ready": "yes"}, 400, "JSON"),
        (verb("load", "empty"), {}, 404, "a version"),
    ],
)
def test_what_cannot_be_done_is_said(
    steady: Any, path: str, body: Any, status: int, says: str
) -> None:
    steady.declare("empty")
    client = steady.client(steady.start())
    refused = client.send("POST", path, body)
    assert refused.status == status
    assert set(refused.body) == {"error"}
    assert says in refused.body["error"]
    known = {"parameters": {"config": "{}", "unload_dependents": True, "unknown": [1]}}
    assert client.send("POST", verb("load"), known).status == 200


def test_several_workers_let_go_together(steady: Any, new_client: Callable[[str], Any]) -> None:
    """Breaks when a client that is answered by another worker still gets predictions."""
    run = RunFolder(steady.root / "run")
    first = worker(steady, run)
    assert run.path is not None
    second = worker(steady, RunFolder.joined(run.path, 1, listens_late=False))
    try:
        mine, other = new_client(first.url), new_client(second.url)
        assert other.infer("flights").status == 200
        assert mine.send("POST", verb("unload")).status == 200
        assert other.infer("flights").status == 503
        assert other.send("POST", verb("load")).status == 200
        assert mine.infer("flights").status == 200
        stats = mine.send("GET", "/v2/models/flights/stats").body["model_stats"]
        assert [each["inference_count"] for each in stats] == [2]
    finally:
        second.stop()
        first.stop()


def worker(home: Any, run: RunFolder) -> Server:
    """Start a server in a run folder."""
    from_home = home.start.__globals__["ServeOptions"]
    server = Server(
        home.registry,
        home.store,
        home.feed,
        home.log_folder,
        home.clock,
        from_home(flush_s=30.0, poll_s=0.05, drain_s=0.02),
        run=run,
    )
    server.start()
    return server


def wait_until(is_so: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(1000):
        if is_so():
            return
        tick.wait(0.02)
    raise AssertionError("it did not come to be in 20 s")
