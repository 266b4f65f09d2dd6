"""A model is compressed, served, updated and compressed again, as a user does it.

The whole house without a double. What would break it: a room that takes the compressed version
for another model (fewer columns, another adapter), an update that starts from what compression
left over, a circuit that compresses the same champion again and again.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock
from renewal.core.errors import Refused
from renewal.data.keyset import KeySet
from renewal.loop.happening import Happening
from renewal.loop.journal import COMPRESS, last_runs
from renewal.serve.server import Server

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = """
[rollout]
shadow_for = "1h"
canary = [0.5]
canary_for = "1h"
watch_for = "1h"
[serve]
compiled = "never"
"""
BY_ITSELF = """
[compress]
prefer = "smallest certified"
tau = -0.08
chains = ["prune.forest:trees=6"]
"""
COLUMNS = ("a", "b", "c", "d")


def rows(n_rows: int, seed: int) -> dict[str, Any]:
    """Return labelled rows; columns c and d say nothing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(COLUMNS), n_rows))
    target = values[0] + values[1] + 0.5 * rng.normal(size=n_rows) > 0
    keys = [f"{seed}-{at}" for at in range(n_rows)]
    return {"id": keys, **dict(zip(COLUMNS, values, strict=True)), "target": target}


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the start."""
    return ReplayClock(START)


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock, request: pytest.FixtureRequest) -> Iterator[Home]:
    """Open a home whose rollouts take hours, and whose policy goes on as a test says."""
    more = getattr(request, "param", "")
    (tmp_path / "renewal.toml").write_text(POLICY + more, encoding="utf-8")
    (tmp_path / "salt").write_bytes(b"which row is what"[:16])
    with open_home(tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def model(home: Home) -> Model:
    """Train a forest of 12 trees."""
    made = home.model("m", task="binary", target="target", key="id")
    made.train(RandomForestClassifier(12, max_depth=5, random_state=0), rows(2_500, 0))
    return made


class Client:
    """Sends rows to the server, by name, and counts what fails."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.failed: list[str] = []
        self.versions: set[str] = set()
        self.n_asked = 0

    def ask(self, columns: tuple[str, ...] = COLUMNS, n_rows: int = 20) -> Any:
        """Return the probabilities of new rows."""
        self.n_asked += 1
        sent = rows(n_rows, 1_000 + self.n_asked)
        body = {
            "inputs": [
                {"name": each, "shape": [n_rows], "datatype": "FP64", "data": sent[each].tolist()}
                for each in columns
            ],
            "parameters": {"key": sent["id"]},
        }
        connection = http.client.HTTPConnection(urlsplit(self.server.url).netloc, timeout=30)
        connection.request("POST", "/v2/models/m/infer", json.dumps(body))
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        if answer.status != http.client.OK:
            self.failed.append(str(found))
            return None
        self.versions.add(found["parameters"]["version"])
        (scores,) = (each for each in found["outputs"] if each["name"] == "probability")
        return np.array(scores["data"]).reshape(n_rows, -1), sent


def go_live(model: Model, clock: ReplayClock, client: Client) -> list[str]:
    """Let a rollout run its course under traffic; return the stages it was in."""
    stages: list[str] = []
    for _ in range(8):
        newest = model.home.registry.plan("m")
        assert newest is not None
        client.server.wait_for("m", newest[0])
        for _ in range(3):
            client.ask()
        client.server.flush()
        stages.append(model.rollouts()[-1].stage)
        if not model.rollouts()[-1].is_open:
            return stages
        clock.move_to(clock.now() + HOUR)
        model.tick()
    return stages


def test_a_smaller_model_with_fewer_columns_goes_live_and_nobody_notices(
    home: Home, model: Model, clock: ReplayClock
) -> None:
    """Breaks when a client that goes on sending all columns gets an error on the way."""
    done = model.compress(["prune.features:keep=0.5 > prune.forest:trees=6"], tau=-0.08)
    assert done.status == "certified", done.sentence
    small = done.candidate
    assert small is not None
    assert done.verdict is not None
    assert done.verdict.outcome == "accept"
    assert small.manifest.signature.names == ("a", "b")
    assert small.manifest.artifact_bytes < model.version("v1").manifest.artifact_bytes / 1.5
    server = home.serve(port=0)
    client = Client(server)
    try:
        model.rollout(small)
        stages = go_live(model, clock, client)
        assert stages == ["shadow", "canary", "full", "done"]
        assert client.failed == []
        assert {"v1", "v2"} <= client.versions
        assert model.version("champion").id == small.id
        client.versions.clear()
        scores, sent = client.ask()
        assert client.versions == {"v2"}
        own = model.estimator("v2")
        values = pd.DataFrame({"a": sent["a"], "b": sent["b"]})
        np.testing.assert_allclose(scores, own.predict_proba(values), atol=1e-6)
        # What it does not read may be left out from now on.
        assert client.ask(("a", "b")) is not None
        assert client.ask(("a",)) is None
    finally:
        server.stop()
    # All columns of those that sent them are in the feed, for the next update.
    known = model.feed.rows()
    assert set(COLUMNS) <= set(known.features.column_names)


def test_an_update_starts_from_the_source_and_the_last_winner_is_tried_first(
    model: Model, clock: ReplayClock
) -> None:
    first = model.compress(["prune.forest:*"], tau=-0.08)
    assert first.status == "certified", first.sentence
    assert first.candidate is not None
    won = first.candidate.manifest.options["chain"]
    assert len(first.trials) > 3
    small = model.promote(first.candidate, why="it is certified")
    clock.move_to(clock.now() + 24 * HOUR)
    model.feed.append(rows(2_500, 1))
    update = model.update(["retrain"], roll_out=False)
    entries = {each["recipe"]: each for each in update.entries}
    assert entries["retrain"]["outcome"] == "made", entries
    # keep is the compressed champion, and the retrained forest is whole again.
    assert update.candidate is not None
    grown = update.candidate
    assert grown.manifest.parent == model.version("v1").id
    assert len(model.estimator(grown.id).estimators_) == 12
    assert update.verdict is not None
    assert update.verdict.baseline == small.id
    model.promote(grown, force=True, who="a test", why="fresh rows")
    again = model.compress(["prune.forest:*"], tau=-0.08)
    assert again.status == "certified", again.sentence
    assert again.candidate is not None
    assert again.candidate.manifest.parent == grown.id
    assert again.candidate.manifest.options["chain"] == won
    assert [each["chain"] for each in again.trials] == ["nothing", won]
    keys = KeySet.from_bytes(model.home.store.get(str(again.candidate.manifest.trained_keys)))
    assert len(keys) > 0


@pytest.mark.parametrize("home", [BY_ITSELF], indirect=True, ids=["loose"])
def test_the_circuit_compresses_a_champion_once(
    home: Home, model: Model, clock: ReplayClock
) -> None:
    told: list[Happening] = []
    server = home.serve(port=0)
    client = Client(server)
    try:
        model.tick(tell=told.append)
        runs = last_runs(home.db, "m", kind=COMPRESS)
        assert [each.state for each in runs] == ["done"]
        assert "certified" in [each.kind for each in told]
        assert go_live(model, clock, client)[-1] == "done"
        for _ in range(3):
            clock.move_to(clock.now() + HOUR)
            model.tick(tell=told.append)
    finally:
        server.stop()
    assert client.failed == []
    assert model.version("champion").manifest.strategy == "compress"
    assert len(last_runs(home.db, "m", kind=COMPRESS)) == 1
    assert len(model.versions()) == 2
    # Taken back, the champion is the one that was compressed already.
    model.rollback(why="a test")
    model.tick()
    assert len(last_runs(home.db, "m", kind=COMPRESS)) == 1


@pytest.mark.parametrize(
    "home", [BY_ITSELF.replace("-0.08", "-0.0001")], indirect=True, ids=["tight"]
)
def test_what_is_not_certified_does_not_go_live(home: Home, model: Model) -> None:
    for _ in range(2):
        model.tick()
    (run,) = last_runs(home.db, "m", kind=COMPRESS)
    assert run.state == "done"
    assert model.rollouts() == ()
    assert model.version("champion").name == "v1"
    candidates = model.versions()[1:]
    for each in candidates:
        with pytest.raises(Refused):
            model.rollout(each)
