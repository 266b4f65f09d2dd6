"""Tokens on a real server: every way in asks for the right scope, and hears of a revocation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from renewal.registry.registry import Registry

Client = Any
Home = Any


@pytest.fixture(scope="module")
def door(shared_home: Home) -> Home:
    """Serve two models to whoever has a token of the right scope."""
    for name in ("flights", "trains"):
        shared_home.declare(name)
        shared_home.champion(shared_home.version(name))
    shared_home.tokens = {
        scope: shared_home.registry.add_token(scope, [scope])
        for scope in ("predict", "feedback", "operate")
    }
    shared_home.tokens["flights"] = shared_home.registry.add_token(
        "flights", ["predict", "feedback"], models=["flights"]
    )
    shared_home.server = shared_home.start(poll_s=0.05)
    return shared_home


@pytest.fixture
def ask(
    door: Home, new_client: Callable[[str], Client], infer_request: Callable[..., dict[str, Any]]
) -> Callable[..., int]:
    """Return what asks, with the token of a name, and returns the status."""
    client = new_client(door.server.url)

    def status(method: str, path: str, who: str | None) -> int:
        headers = {"content-type": "application/json"}
        if who is not None:
            headers["authorization"] = f"Bearer {door.tokens[who]}"
        body = json.dumps(infer_request()) if method == "POST" else None
        client.connection.request(method, path, body, headers)
        answer = client.connection.getresponse()
        answer.read()
        found: int = answer.status
        return found

    return status


WAYS = [
    ("GET", "/v2/health/live", None),
    ("GET", "/v2/health/ready", None),
    ("GET", "/v2/models/flights/ready", None),
    ("GET", "/v2", "any"),
    ("GET", "/v2/models/flights", "any"),
    ("GET", "/nothing", "any"),
    ("POST", "/v2/models/flights/infer", "predict"),
    ("POST", "/v2/models/flights/versions/1/infer", "predict"),
    ("POST", "/v1/models/flights:predict", "predict"),
    ("POST", "/invocations", "predict"),
    ("POST", "/v2/models/flights/feedback", "feedback"),
    ("POST", "/feedback", "feedback"),
    ("GET", "/v2/models/flights/config", "operate"),
    ("GET", "/v2/models/stats", "operate"),
    ("GET", "/metrics", "operate"),
    ("POST", "/v2/repository/models/nobody/load", "operate"),
    ("POST", "/nothing", "operate"),
]


@pytest.mark.parametrize(("method", "path", "need"), WAYS)
def test_each_way_in(ask: Callable[..., int], method: str, path: str, need: str | None) -> None:
    """Breaks when a way in forgets to ask: an open door is a 2xx, 400 or 404 without a token."""
    stranger = ask(method, path, None)
    assert (stranger == 401) == (need is not None), stranger
    for scope in ("predict", "feedback", "operate"):
        is_welcome = need in {None, "any", scope}
        assert (ask(method, path, scope) not in {401, 403}) == is_welcome


def test_a_token_of_one_model(ask: Callable[..., int]) -> None:
    assert ask("POST", "/v2/models/flights/infer", "flights") == 200
    assert ask("POST", "/v2/models/trains/infer", "flights") == 403
    assert ask("POST", "/v1/models/trains:predict", "flights") == 403
    assert ask("GET", "/v2/models/trains", "flights") == 403
    assert ask("GET", "/v2/models/flights", "flights") == 200
    assert ask("POST", "/feedback", "flights") == 403
    assert ask("POST", "/v2/models/trains/feedback", "flights") == 403
    # A model that is not there looks the same as one that is not theirs.
    assert ask("POST", "/v2/models/nobody/infer", "flights") == 403


def test_a_model_that_only_the_body_names(
    door: Home, new_client: Callable[[str], Client], infer_request: Callable[..., dict[str, Any]]
) -> None:
    """Breaks when a token of one model is refused, or passes, before it is known for which."""
    rows = {each["name"]: each["data"][0] for each in infer_request()["inputs"]}
    body = json.dumps({"dataframe_records": [rows]})
    client = new_client(door.server.url).connection
    for model, who, status in (
        ("flights", "flights", 200),
        ("trains", "flights", 403),
        ("trains", "predict", 200),
        ("flights", "operate", 403),
    ):
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {door.tokens[who]}",
            "x-renewal-model": model,
        }
        client.request("POST", "/invocations", body, headers)
        answer = client.getresponse()
        said = answer.read()
        assert answer.status == status, said


def test_a_refusal_tells_the_client_how(
    door: Home, new_client: Callable[[str], Client], infer_request: Callable[..., dict[str, Any]]
) -> None:
    client = new_client(door.server.url)
    found = client.send("POST", "/v2/models/flights/infer", infer_request())
    assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in found.body["error"]
    # The lane takes no body of this size; uvicorn's way reads none of a stranger.
    large = client.send("POST", "/v2/models/flights/infer", b"x" * 3_000_000)
    assert large.status == 401, "a stranger's large body is not read first"


def test_a_revocation_holds_within_a_second(door: Home, ask: Callable[..., int]) -> None:
    registry: Registry = door.registry
    door.tokens["brief"] = registry.add_token("brief", ["predict"])
    way = ("POST", "/v2/models/flights/infer", "brief")
    until_s = time.monotonic() + 20  # of a loaded machine; it takes a poll
    while ask(*way) != 200:
        assert time.monotonic() < until_s
    registry.revoke_token("brief")
    while ask(*way) != 401:
        assert time.monotonic() < until_s
    assert ask("POST", "/v2/models/flights/infer", "predict") == 200
