"""Models that misbehave, swaps in a storm: every request is answered, by a version of its time."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.plugin import load_plugin
from renewal.core.version import Manifest, Version
from renewal.data.frame import signature_of
from renewal.testing import unruly


def unruly_version(home: Any, model: str = "unruly", slope: float = 2.0) -> Version:
    """Register a version that does what the first row says."""
    rows = pa.table({"x": np.arange(1.0, 9.0)})
    adapter = load_plugin("adapters", "python")()
    fitted = adapter.fit(unruly.Unruly(), rows, np.arange(2.0, 18.0, 2.0))
    fitted.thing.slope = slope
    data = adapter.dump(fitted)
    manifest = Manifest(
        model=model,
        task="regression",
        adapter="python",
        artifact=home.store.put(data),
        artifact_bytes=len(data),
        signature=signature_of(rows),
        classes=(),
        strategy="train",
        environment=adapter.environment(),
    )
    found: Version = home.registry.add_version(manifest)
    return found


def ask(client: Any, x: float, model: str = "unruly") -> Any:
    """Send one row."""
    column = {"name": "x", "shape": [1], "datatype": "FP64", "data": [x]}
    return client.send("POST", f"/v2/models/{model}/infer", {"inputs": [column]})


def start(home: Any, **options: Any) -> Any:
    home.declare("unruly", "regression")
    version = unruly_version(home)
    home.champion(version)
    return version, home.start(native="thread", trust=unruly.TRUST, **options)


def test_a_model_that_exits_fails_its_request_and_nothing_else(
    home: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when `sys.exit` in a model ends the event loop, and with it the worker."""
    _, server = start(home)
    client = home.client(server)
    with caplog.at_level(logging.CRITICAL, logger="renewal.serve"):
        answers = [ask(client, x) for x in (unruly.LEAVE, 3.0, unruly.LEAVE, 4.0)]
    assert [each.status for each in answers] == [500, 200, 500, 200]
    assert "sys.exit" in answers[0].body["error"]
    assert answers[3].body["outputs"][0]["data"] == [8.0]


def test_a_shadow_that_exits_watches_on(home: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Breaks when the thread of the shadow ends with a model, and its rows wait for ever."""
    home.declare("unruly", "regression")
    steady = home.version("unruly", table=pa.table({"x": np.linspace(0.0, 1.0, 80)}))
    home.champion(steady)
    server = home.start(native="thread", trust=unruly.TRUST)
    server.wait_for("unruly", home.shadowed(steady, unruly_version(home)))
    client = home.client(server)
    with caplog.at_level(logging.CRITICAL, logger="renewal.serve"):
        assert [ask(client, x).status for x in (unruly.LEAVE, 2.0)] == [200, 200]
        server.flush(10.0)
    stats = server.stats()["shadow"]
    assert (stats["n_failed"], stats["n_rows_scored"]) == (1, 1)


def test_an_answer_that_cannot_be_written_is_500_at_once(
    home: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when what goes wrong behind the batch leaves the client to wait for ever."""
    _, server = start(home)
    client = home.client(server)
    assert ask(client, 1.0).status == 200
    loaded = server._works.follower.slots["unruly"].generation.first
    sound, loaded.task = loaded.task, Wrong()
    with caplog.at_level(logging.CRITICAL, logger="renewal.serve"):
        assert ask(client, 1.0).status == 500
    loaded.task = sound
    assert ask(client, 1.0).status == 200
    assert server.stats()["n_open"] == 0


def test_rows_that_are_refused_do_not_keep_the_next_version_out(
    home: Any, infer_request: Any
) -> None:
    """Breaks when a client's bad row is what the next version is warmed up with."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread")
    client = home.client(server)
    gaps = infer_request()
    gaps["inputs"][0]["data"] = [None]
    path = "/v2/models/flights/infer"
    answers = [client.send("POST", path, each).status for each in (infer_request(), gaps, gaps)]
    assert answers == [200, 400, 400]
    server.wait_for("flights", home.steady(home.version(seed=2)), 10.0)
    assert client.infer("flights").version == "v2"
    assert server._works.follower.slots["flights"].generation.first.batcher.can_batch


class Wrong:
    """A task of somebody else's whose outputs are wrong."""

    def outputs(self, scores: Any, classes: Any) -> dict[str, Any]:
        """Fail as a plug-in may."""
        raise KeyError((scores, classes))


def test_a_storm_of_plans_answers_by_a_version_of_its_time_and_logs_each_row_once(
    home: Any, new_client: Any
) -> None:
    """Breaks when a swap loses, doubles or misroutes a request under way."""
    home.declare()
    versions = [home.version(seed=seed) for seed in range(3)]
    home.champion(versions[0])
    server = home.start(native="thread", keep_warm_s=0.2)
    stop = threading.Event()
    answers: list[tuple[float, float, str, str, int]] = []
    refused: list[int] = []

    def ask(seed: int) -> None:
        client = new_client(server.url)
        while not stop.is_set():
            n_rows = 1 + seed * 7 % 5
            sent_s = time.monotonic()
            answer = client.infer("flights", n_rows, sticky=f"user-{len(answers)}")
            if answer.status != 200:
                refused.append(answer.status)
                return
            said = answer.body["parameters"]
            got_s = time.monotonic()
            answers.append((sent_s, got_s, said["version"], said["prediction_id"], n_rows))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    plans = [(0.0, 0.0, {"v1"})]
    for at in range(40):
        one, two = versions[at % 3], versions[(at + 1) % 3]
        share = (0.0, 0.5, 1.0)[at % 3]
        begun_s = time.monotonic()
        server.wait_for("flights", home.canary(one, two, share, shadow=at % 4 == 0))
        names = {each.name for each, left in ((one, 1 - share), (two, share)) if left > 0}
        plans.append((begun_s, time.monotonic(), names))
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not refused
    ends = [*(each[1] for each in plans[1:]), float("inf")]
    for sent_s, got_s, version, _, _ in answers:
        live = [
            names
            for (begun_s, _, names), end_s in zip(plans, ends, strict=True)
            if begun_s <= got_s and end_s >= sent_s
        ]
        assert version in set().union(*live)
    server.flush(30.0)
    logged = [each for each in home.logged()[1] if not each["shadow"]]
    ids = Counter(each["prediction_id"].rpartition("-")[0] for each in logged)
    assert ids == {prediction_id: n_rows for *_, prediction_id, n_rows in answers}


def test_an_unknown_model_is_not_answered_with_all_that_are_known(home: Any) -> None:
    """Breaks when each wrong name costs, and tells, a list of a thousand."""
    for at in range(30):
        home.declare(f"model-{at:02}")
    answer = home.client(home.start()).infer("nobody")
    assert answer.status == 404
    assert "model-19 and 10 more" in answer.body["error"]
    assert "model-25" not in answer.body["error"]
