"""Putting in place: aliases beside the plan, memory, warm ways back, drains that hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from renewal.core.plan import Arm, Plan
from renewal.registry.records import Move


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def steady(version: Any) -> Plan:
    return Plan(version.manifest.model, "steady", (Arm("champion", version.id, 1.0),))


class Loads:
    """What a server's loader was asked for, in order; some versions can be made to fail."""

    def __init__(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.failing: set[str] = set()
        self.before: Callable[[], object] = lambda: None
        loader = server._works.follower._loader
        load = loader.load

        def noted(slot: Any, version_id: str) -> Any:
            self.asked.append(version_id)
            self.before()
            if version_id in self.failing:
                raise OSError("no such bytes")
            return load(slot, version_id)

        monkeypatch.setattr(loader, "load", noted)


def point(home: Any, alias: str, version: Any) -> None:
    present = home.registry.aliases("flights").get(alias)
    home.registry.move("flights", Move(alias, present, version.id), who="test", why="test")


def infer(client: Any, infer_request: Any, version: str) -> Any:
    return client.send("POST", f"/v2/models/flights/versions/{version}/infer", infer_request())


def test_an_alias_of_the_users_own_is_loaded_and_answers_by_its_name(
    home: Any, infer_request: Any
) -> None:
    """Breaks when only the plan's versions are loaded, or a moved alias is not followed."""
    home.declare()
    v1, v2, v3 = (home.version(seed=seed) for seed in range(3))
    home.champion(v1)
    point(home, "eu", v2)
    server = home.start(native="thread")
    client = home.client(server)
    assert infer(client, infer_request, "eu").version == "v2"
    assert infer(client, infer_request, "2").version == "v2"
    assert infer(client, infer_request, "champion").version == "v1"
    assert client.infer("flights").version == "v1"
    assert infer(client, infer_request, "asia").status == 404
    point(home, "eu", v3)
    assert eventually(lambda: infer(client, infer_request, "eu").version == "v3")


def test_aliases_outside_the_patterns_are_not_loaded(home: Any, infer_request: Any) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1)
    point(home, "eu", v2)
    client = home.client(home.start(native="thread", aliases=("us*",)))
    answer = infer(client, infer_request, "eu")
    assert answer.status == 404
    assert "eu" not in answer.body["error"].split("got")[0]


def test_an_alias_whose_version_does_not_load_keeps_nobody_from_the_plan(
    home: Any, infer_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    broken = home.version(seed=2, break_bytes=True)
    home.champion(v1, steady(v1))
    point(home, "eu", broken)
    server = home.start(native="thread")
    client = home.client(server)
    assert client.infer("flights").version == "v1"
    assert infer(client, infer_request, "eu").status == 404
    loads = Loads(server, monkeypatch)
    server.wait_for("flights", home.steady(v2))
    assert client.infer("flights").version == "v2"
    assert loads.asked.count(v2.id) == 1


def test_the_way_back_takes_no_loading_while_it_is_warm(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a rollback loads what was in memory a moment ago."""
    home.declare()
    v1, v2, v3 = (home.version(seed=seed) for seed in range(3))
    home.champion(v1, steady(v1))
    server = home.start(native="thread")
    loads = Loads(server, monkeypatch)
    server.wait_for("flights", home.steady(v2))
    server.wait_for("flights", home.steady(v1))
    server.wait_for("flights", home.steady(v2))
    assert loads.asked == [v2.id]
    assert home.client(server).infer("flights").version == "v2"
    # A third version: what is warm goes first, so that two are in memory and never three.
    slot = server._works.follower.slots["flights"]
    warm = server._works.follower._placing._of(slot)
    loads.before = lambda: loads.asked.append(f"warm={v1.id in warm}")
    server.wait_for("flights", home.steady(v3))
    assert loads.asked == [v2.id, v3.id, "warm=False"]
    server.wait_for("flights", home.steady(v2))
    assert loads.asked == [v2.id, v3.id, "warm=False"]


def test_nothing_is_kept_warm_for_longer_than_allowed(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(native="thread", keep_warm_s=0.2)
    slot = server._works.follower.slots["flights"]
    first = slot.generation.first
    server.wait_for("flights", home.steady(v2))
    assert eventually(lambda: first.is_closed)
    loads = Loads(server, monkeypatch)
    server.wait_for("flights", home.steady(v1))
    assert loads.asked == [v1.id]


def test_unload_first_never_holds_two_versions_and_says_when_to_come_back(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(native="thread", memory="unload_first")
    client = home.client(server)
    first = server._works.follower.slots["flights"].generation.first
    loads = Loads(server, monkeypatch)
    seen: list[Any] = []

    def look() -> None:
        seen.append(first.is_closed)
        seen.append(client.infer("flights"))

    loads.before = look
    server.wait_for("flights", home.steady(v2))
    is_closed, answer = seen
    assert is_closed
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "swapped" in answer.body["error"]
    assert client.infer("flights").version == "v2"


def test_unload_first_takes_the_old_version_back_when_the_new_one_fails(
    home: Any, infer_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(native="thread", memory="unload_first")
    loads = Loads(server, monkeypatch)
    loads.failing.add(v2.id)
    home.steady(v2)
    assert eventually(lambda: loads.asked == [v2.id, v1.id])
    client = home.client(server)
    assert eventually(lambda: client.infer("flights").status == 200)
    assert client.infer("flights").version == "v1"
    # By its alias, too: what it was called is not forgotten.
    assert infer(client, infer_request, "champion").version == "v1"
    # Not tried again by itself, since each try costs a gap; but when somebody asks for it.
    loads.failing.clear()
    time.sleep(1.5)
    assert loads.asked == [v2.id, v1.id]
    server._works.follower.wake("flights")
    assert eventually(lambda: server.stats()["models"]["flights"]["versions"] == ["v2"])


def test_a_request_that_hangs_is_answered_when_the_drain_is_over(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a version that was swapped out holds its callers for ever."""
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1, steady(v1))
    server = home.start(native="thread", swap_drain_s=0.2, poll_s=0.05, threads=2)
    slot = server._works.follower.slots["flights"]
    loaded = slot.generation.first
    has_come, may_go = threading.Event(), threading.Event()

    def hang(features: Any) -> Any:
        has_come.set()
        assert may_go.wait(30)
        raise OSError(f"woken for {features.n_rows} rows")

    monkeypatch.setattr(loaded.batcher, "_predict", hang, raising=False)
    client, answers = home.client(server), []
    caller = threading.Thread(target=lambda: answers.append(client.infer("flights")))
    caller.start()
    assert has_come.wait(10)
    server.wait_for("flights", home.steady(v2))
    caller.join(20)
    may_go.set()
    assert [each.status for each in answers] == [503]
    assert "swap" in answers[0].body["error"]
    assert home.client(server).infer("flights").version == "v2"
