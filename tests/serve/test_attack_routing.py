"""Who is routed where: shares, what moves, what a restart keeps, and which key counts."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.core.plan import Arm, Plan

KEYS = [f"user-{at}" for at in range(20_000)]
_ASK = """
import json, sys
from renewal.core.plan import Arm, Plan
weights, keys = json.load(sys.stdin)
plan = Plan("m", "canary", tuple(Arm(name, name, weight) for name, weight in weights))
print(json.dumps([plan.assign(key).name for key in keys]))
"""


def plan(**weights: float) -> Plan:
    return Plan("m", "canary", tuple(Arm(name, name, each) for name, each in weights.items()))


def assigned(**weights: float) -> dict[str, str]:
    routes = plan(**weights)
    return {key: routes.assign(key).name for key in KEYS}


@pytest.mark.parametrize("weights", [(0.2, 0.3, 0.5), (0.01, 0.04, 0.95), (1 / 3, 1 / 3, 1 / 3)])
def test_three_arms_get_their_shares(weights: tuple[float, float, float]) -> None:
    """Breaks when the largest product of weight and hash wins; 5 sd fail once in 1.7 M."""
    found = list(assigned(**dict(zip("abc", weights, strict=True))).values())
    for name, weight in zip("abc", weights, strict=True):
        sd = math.sqrt(weight * (1 - weight) / len(KEYS))
        assert abs(found.count(name) / len(KEYS) - weight) < 5 * sd


def test_a_weight_that_grows_takes_keys_and_gives_none() -> None:
    """Breaks when a step of a rollout moves users who need not move."""
    before, after = assigned(a=0.9, b=0.1), assigned(a=0.8, b=0.2)
    moved = {(before[key], after[key]) for key in KEYS if before[key] != after[key]}
    assert moved == {("a", "b")}
    before, after = assigned(a=0.6, b=0.2, c=0.2), assigned(a=0.6, b=0.4, c=0.0)
    moved = {(before[key], after[key]) for key in KEYS if before[key] != after[key]}
    assert ("b", "a") not in moved
    assert {one for one, _ in moved} <= {"a", "c"}
    # The order in which a plan names its arms says nothing.
    assert assigned(b=0.1, a=0.9) == assigned(a=0.9, b=0.1)


def test_another_process_deals_the_same(tmp_path: Any) -> None:
    """Breaks when the hash has a seed of its own in each process, as Python's has."""
    weights = [("a", 0.5), ("b", 0.3), ("c", 0.2)]
    asked = json.dumps([weights, KEYS[:500]])
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", _ASK],
            input=asked,
            env={"PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert json.loads(ran.stdout) == [
            plan(**dict(weights)).assign(key).name for key in KEYS[:500]
        ]


@pytest.mark.parametrize(
    "weights",
    [(math.nan, 1.0), (math.nan, math.nan), (math.inf, 0.0), (-0.1, 1.1), (0.5, 0.4), (2.0, -1.0)],
)
def test_a_weight_that_is_no_share_makes_no_plan(weights: tuple[float, float]) -> None:
    """Breaks when a plan with a weight that is no number is published, and answers nobody."""
    with pytest.raises(Invalid, match="sum to 1"):
        plan(a=weights[0], b=weights[1])


def test_two_arms_of_one_name_make_no_plan() -> None:
    """Breaks when the larger of two arms of one name silently gets the keys of both."""
    with pytest.raises(Invalid, match="a name of their own"):
        Plan("m", "canary", (Arm("a", "1", 0.5), Arm("a", "2", 0.5)))


@pytest.fixture(scope="module")
def split(shared_home: Any) -> tuple[Any, Plan]:
    """Start a server whose plan gives each of two versions half of the keys."""
    shared_home.declare()
    one, two = shared_home.version(), shared_home.version(seed=1)
    shared_home.champion(one)
    arms = (Arm("champion", one.id, 0.5), Arm("candidate", two.id, 0.5))
    routes = Plan("flights", "canary", arms)
    server = shared_home.start(native="thread")
    server.wait_for("flights", shared_home.registry.publish(routes))
    return server, routes


def expected(routes: Plan, keys: list[str]) -> list[str]:
    return ["v1" if routes.assign(key).name == "champion" else "v2" for key in keys]


def test_the_header_beats_the_parameter_and_that_beats_the_key(
    split: Any, new_client: Any, infer_request: Any
) -> None:
    """Breaks when a proxy that sets the header cannot pin a user to an arm."""
    server, routes = split
    client = new_client(server.url)
    path = "/v2/models/flights/infer"
    for at in range(12):
        key, sticky, header = f"k{at}", f"s{at}", f"h{at}"
        said = infer_request(key=key)
        assert client.send("POST", path, said).version == expected(routes, [key])[0]
        said = infer_request(key=key, sticky=sticky)
        assert client.send("POST", path, said).version == expected(routes, [sticky])[0]
        answer = client.send("POST", path, said, **{"X-Renewal-Sticky": header})
        assert answer.version == expected(routes, [header])[0]
        assert answer.headers["x-renewal-version"] == answer.version


def test_a_split_batch_says_who_answered_each_row(
    split: Any, new_client: Any, infer_request: Any
) -> None:
    """Breaks when a row bears another's version, in whichever form it is asked for."""
    server, routes = split
    client = new_client(server.url)
    keys = [f"row{at}" for at in range(40)]
    wanted = expected(routes, keys)
    assert set(wanted) == {"v1", "v2"}
    path = "/v2/models/flights/infer"
    said = infer_request(40, sticky=keys)
    mixed = client.send("POST", path, said)
    assert mixed.output("version") == wanted
    alone = {
        name: client.send("POST", f"/v2/models/flights/versions/{name[1:]}/infer", said)
        for name in ("v1", "v2")
    }
    scores = {
        name: np.array(each.output("probability")).reshape(40, -1) for name, each in alone.items()
    }
    found = np.array(mixed.output("probability")).reshape(40, -1)
    assert all(np.array_equal(found[at], scores[name][at]) for at, name in enumerate(wanted))
    # By rows, as version 1 has it: who answered stands beside them.
    columns = {each["name"]: each["data"] for each in said["inputs"]}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    body = {"instances": rows, "parameters": {"sticky": keys}}
    answer = client.send("POST", "/v1/models/flights:predict", body)
    assert answer.body["versions"] == wanted


def test_a_restart_deals_the_same(split: Any, shared_home: Any, new_client: Any) -> None:
    """Breaks when users change their version because a server was started again."""
    _, routes = split
    again = shared_home.start(native="thread")
    client = new_client(again.url)
    for at in range(20):
        answer = client.infer("flights", key=f"k{at}")
        assert answer.version == expected(routes, [f"k{at}"])[0]
