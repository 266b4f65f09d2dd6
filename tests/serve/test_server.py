"""A real server over real HTTP: predictions, plans, shadows, labels and the log."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier

from renewal.core.clock import to_us
from renewal.core.errors import Unavailable
from renewal.core.plan import Arm, Plan
from renewal.core.plugin import load_plugin


def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def expected_scores(home: Any, version: Any, request: dict[str, Any]) -> np.ndarray:
    """Ask the version directly."""
    adapter = load_plugin("adapters", "sklearn")()
    estimator = adapter.load(home.store.get(version.manifest.artifact))
    table = pa.table({each["name"]: pa.array(each["data"]) for each in request["inputs"]})
    return np.asarray(adapter.predict(estimator, table))


def test_one_row_is_answered_by_the_champion(home: Any, infer_request: Any) -> None:
    home.declare()
    v1 = home.version()
    home.champion(v1)
    server = home.start()
    body = {**infer_request(1), "id": "mine"}
    answer = home.client(server).send("POST", "/v2/models/flights/infer?verbose=1", body)
    assert answer.status == 200
    assert answer.body["model_name"] == "flights"
    assert answer.body["model_version"] == "1"
    assert answer.body["id"] == "mine"
    assert answer.body["parameters"]["arm"] == "champion"
    assert answer.headers["x-renewal-version"] == answer.version == "v1"
    assert answer.headers["x-renewal-prediction-id"] == answer.body["parameters"]["prediction_id"]
    scores = expected_scores(home, v1, body)
    assert answer.output("probability") == scores.ravel().tolist()
    assert answer.output("label") == [int(scores[0].argmax())]


def test_a_batch_says_the_same_as_its_rows_one_by_one(home: Any, infer_request: Any) -> None:
    """Batching must never change an answer."""
    home.declare()
    v1 = home.version()
    home.champion(v1)
    client = home.client(home.start())
    body = infer_request(40)
    batch = client.send("POST", "/v2/models/flights/infer", body)
    singles = []
    for row in range(40):
        inputs = [{**each, "shape": [1], "data": [each["data"][row]]} for each in body["inputs"]]
        singles += client.send("POST", "/v2/models/flights/infer", {"inputs": inputs}).output(
            "probability"
        )
    np.testing.assert_allclose(batch.output("probability"), singles, rtol=1e-12)
    assert batch.body["outputs"][1]["shape"] == [40, 2]


def test_a_matrix_and_columns_say_the_same(home: Any, infer_request: Any) -> None:
    home.declare()
    home.champion(home.version())
    client = home.client(home.start())
    body = infer_request(5)
    columns = client.send("POST", "/v2/models/flights/infer", body)
    matrix = np.array([each["data"] for each in body["inputs"]]).T
    tensor = {"name": "in", "shape": [5, 3], "datatype": "FP64", "data": matrix.tolist()}
    other = client.send("POST", "/v2/models/flights/infer", {"inputs": [tensor]})
    assert other.output("probability") == columns.output("probability")


def test_regression_answers_values(home: Any, infer_request: Any) -> None:
    home.declare("delay", task="regression")
    v1 = home.version("delay")
    home.champion(v1)
    body = infer_request(3)
    answer = home.client(home.start()).send("POST", "/v2/models/delay/infer", body)
    assert answer.output("value") == expected_scores(home, v1, body).ravel().tolist()


def test_only_wanted_outputs_come(home: Any, infer_request: Any) -> None:
    home.declare()
    home.champion(home.version())
    client = home.client(home.start())
    body = {**infer_request(2), "outputs": [{"name": "label"}]}
    answer = client.send("POST", "/v2/models/flights/infer", body)
    assert [each["name"] for each in answer.body["outputs"]] == ["label"]


def test_who_answered_each_row_may_always_be_asked_for(home: Any, infer_request: Any) -> None:
    """Breaks when a client that wants it is refused whenever its rows happen to meet one arm."""
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1)
    server = home.start()
    client = home.client(server)
    wanted = {"outputs": [{"name": "version"}, {"name": "label"}]}

    def versions() -> list[str]:
        answer = client.send("POST", "/v2/models/flights/infer", {**infer_request(20), **wanted})
        assert [each["name"] for each in answer.body["outputs"]] == ["version", "label"]
        return list(answer.output("version"))

    assert versions() == ["v1"] * 20
    server.wait_for("flights", home.canary(v1, v2, 0.5, shadow=False))
    assert set(versions()) == {"v1", "v2"}


def test_every_answered_row_is_in_the_log_with_what_the_caller_saw(home: Any) -> None:
    home.declare()
    v1 = home.version()
    home.champion(v1)
    server = home.start()
    event = "2025-12-31T12:00:00Z"
    answer = home.client(server).infer(
        "flights", 2, key=["UA1", "UA2"], group=["g1", "g2"], sticky="user", event_time=event
    )
    request_id = answer.body["parameters"]["prediction_id"]
    server.flush()
    rows, predictions = home.logged()
    assert [row["renewal_key"] for row in rows] == ["UA1", "UA2"]
    assert [row["renewal_sticky"] for row in rows] == ["user", "user"]
    assert [each["prediction_id"] for each in predictions] == [f"{request_id}-0", f"{request_id}-1"]
    scores = np.array([each["scores"] for each in predictions])
    assert scores.ravel().tolist() == answer.output("probability")
    for row, each in zip(rows, predictions, strict=True):
        assert each["key_hash"] == row["renewal_key_hash"]
        assert (each["version_id"], each["arm"], each["propensity"]) == (v1.id, "champion", 1.0)
        assert each["event_at"] == row["renewal_event_at"] == datetime(2025, 12, 31, 12, tzinfo=UTC)
        assert each["predicted_at"] == row["renewal_arrived_at"] == home.clock.now()
        assert not each["shadow"]
        assert not each["failed"]
        assert each["latency_ms"] > 0


def test_a_row_without_a_key_is_named_by_its_prediction(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    server = home.start()
    answer = home.client(server).infer("flights", 2)
    server.flush()
    rows, predictions = home.logged()
    names = [f"{answer.body['parameters']['prediction_id']}-{row}" for row in range(2)]
    assert [row["renewal_key"] for row in rows] == names
    assert [each["key"] for each in predictions] == names


def test_a_model_without_a_key_names_rows_by_what_they_say(home: Any) -> None:
    """Equal rows are one row, as they are when the feed is appended to."""
    home.declare(key=None)
    home.champion(home.version())
    server = home.start()
    client = home.client(server)
    for _ in range(2):
        client.infer("flights", 1, seed=3)
    server.flush()
    rows, _ = home.logged()
    assert len({row["renewal_key"] for row in rows}) == 1


def test_a_canary_gets_its_share_and_keeps_its_users_across_a_restart(home: Any) -> None:
    """20% of 600 keys: sd of the share is 0.0163; 5 sd fails equal code once in 1.7 M."""
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1)
    home.canary(v1, v2, 0.2, shadow=False)
    users = [f"user{i}" for i in range(600)]
    seen = []
    for _ in range(2):
        server = home.start()
        answer = home.client(server).infer("flights", 600, sticky=users)
        assert (answer.body["model_version"], answer.version) == ("mixed", "mixed")
        assert answer.headers["x-renewal-version"] == "mixed"
        seen.append(answer.output("version"))
        server.stop()
    assert seen[0] == seen[1]
    assert abs(seen[0].count("v2") / 600 - 0.2) < 0.0815
    rows, predictions = home.logged()
    assert len(rows) == 1200
    by_arm = {each["arm"]: each["propensity"] for each in predictions}
    assert by_arm == pytest.approx({"champion": 0.8, "candidate": 0.2})


def test_rows_of_a_mixed_answer_stay_in_order(home: Any, infer_request: Any) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1)
    home.canary(v1, v2, 0.5, shadow=False)
    body = infer_request(50, sticky=[f"u{i}" for i in range(50)])
    answer = home.client(home.start()).send("POST", "/v2/models/flights/infer", body)
    of_each = {v.name: expected_scores(home, v, body) for v in (v1, v2)}
    expected = [of_each[name][row] for row, name in enumerate(answer.output("version"))]
    assert set(answer.output("version")) == {"v1", "v2"}
    np.testing.assert_allclose(np.reshape(answer.output("probability"), (50, 2)), expected)


def test_versions_that_know_other_classes_answer_one_request(home: Any, infer_request: Any) -> None:
    home.declare(task="multiclass")
    two = home.version(labels=lambda score: np.where(score > 0, "b", "a"))
    three = home.version(seed=1, labels=lambda score: np.digitize(score, [-0.5, 0.5]).astype(str))
    home.champion(two)
    home.canary(two, three, 0.5, shadow=False)
    answer = home.client(home.start()).send(
        "POST", "/v2/models/flights/infer", infer_request(40, sticky=[str(i) for i in range(40)])
    )
    probability = np.reshape(answer.output("probability"), (40, 5))
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    labels = dict(zip(answer.output("label"), answer.output("version"), strict=True))
    assert {labels[label] for label in labels if label in "ab"} == {"v1"}


def test_only_loaded_versions_are_addressable(home: Any, infer_request: Any) -> None:
    home.declare()
    v1, v2, v3 = (home.version(seed=seed) for seed in range(3))
    home.champion(v1)
    home.shadowed(v1, v2)
    server = home.start()
    client = home.client(server)
    body = infer_request(1)
    for name in ("2", "v2"):
        answer = client.send("POST", f"/v2/models/flights/versions/{name}/infer", body)
        assert (answer.status, answer.version) == (200, "v2")
        assert answer.body["parameters"]["arm"] == "pinned"
    answer = client.send("POST", f"/v2/models/flights/versions/{v3.number}/infer", body)
    assert answer.status == 404
    assert client.send("GET", "/v2/models/flights/versions/2").body["versions"] == ["1", "2"]
    assert client.send("GET", "/v2/models/flights/versions/2/ready").status == 200
    assert client.send("GET", "/v2/models/flights/versions/3/ready").status == 404


def test_a_shadow_scores_every_row_and_answers_none(home: Any) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1)
    home.shadowed(v1, v2)
    server = home.start()
    client = home.client(server)
    answers = [client.infer("flights", 3, seed=seed) for seed in range(20)]
    assert {answer.version for answer in answers} == {"v1"}
    server.flush()
    rows, predictions = home.logged()
    assert len(rows) == 60
    shadows = [each for each in predictions if each["shadow"]]
    served = [each for each in predictions if not each["shadow"]]
    assert {each["version_id"] for each in shadows} == {v2.id}
    assert {each["version_id"] for each in served} == {v1.id}
    ids = sorted(each["prediction_id"] for each in served)
    assert sorted(each["prediction_id"] for each in shadows) == ids
    assert server.stats()["shadow"]["n_rows_scored"] == 60


def test_in_a_canary_both_versions_score_each_row_once(home: Any) -> None:
    """The pairs on which quality is decided: answered by one, shadowed by the other."""
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1)
    home.canary(v1, v2, 0.3, shadow=True)
    server = home.start()
    home.client(server).infer("flights", 100, sticky=[str(i) for i in range(100)])
    server.flush()
    _, predictions = home.logged()
    pairs = sorted((each["prediction_id"], each["version_id"]) for each in predictions)
    assert len(pairs) == len(set(pairs)) == 200
    answered = {each["prediction_id"] for each in predictions if not each["shadow"]}
    assert len(answered) == 100


def test_a_failing_shadow_harms_nobody(home: Any) -> None:
    """A shadow whose columns the requests do not have fails on every row."""
    home.declare()
    v1 = home.version()
    rng = np.random.default_rng(0)
    other = pa.table({"elsewhere": rng.normal(size=80)})
    v2 = home.version(seed=1, table=other, estimator=DummyClassifier())
    home.champion(v1)
    home.shadowed(v1, v2)
    server = home.start()
    client = home.client(server)
    assert {client.infer("flights", 2, seed=seed).status for seed in range(10)} == {200}
    server.flush()
    stats = server.stats()
    assert (stats["n_failed"], stats["shadow"]["n_failed"]) == (0, 10)
    _, predictions = home.logged()
    failed = [each for each in predictions if each["shadow"]]
    assert len(failed) == 20
    assert all(each["failed"] and each["scores"] is None for each in failed)


def test_labels_join_rows_that_are_still_in_memory(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    server = home.start()
    client = home.client(server)
    answer = client.infer("flights", 2, key=["UA1", "UA2"])
    first = answer.body["parameters"]["prediction_id"]
    labels = [{"prediction_id": f"{first}-1", "label": 1, "arrived_at": "2026-01-02T00:00:00Z"}]
    answer = client.send("POST", "/v2/models/flights/feedback", {"labels": labels})
    assert (answer.status, answer.body) == (200, {"n_labels": 1, "n_waiting": 0})
    answer = client.send("POST", "/feedback", {"prediction_id": first, "label": 0})
    assert (answer.status, answer.body) == (200, {"n_labels": 1, "n_waiting": 0})
    assert home.feed("flights").n_labels() == 2


def test_labels_by_key_may_come_before_their_row(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    client = home.client(home.start())
    body = {"labels": [{"key": "UA7", "label": 1}, {"key": 8, "label": 0}]}
    answer = client.send("POST", "/v2/models/flights/feedback", body)
    assert (answer.status, answer.body) == (200, {"n_labels": 2, "n_waiting": 2})


def test_feedback_without_a_model_finds_the_one_that_gave_the_id(home: Any) -> None:
    for name in ("a", "b"):
        home.declare(name)
        home.champion(home.version(name))
    client = home.client(home.start())
    answer = client.infer("b", 1)
    body = {"prediction_id": answer.body["parameters"]["prediction_id"], "label": 1}
    assert client.send("POST", "/feedback", body).status == 200
    assert (home.feed("a").n_labels(), home.feed("b").n_labels()) == (0, 1)
    assert client.send("POST", "/feedback", {"key": "x", "label": 1}).status == 400
    named = {"key": "x", "label": 1, "model": "a"}
    assert client.send("POST", "/feedback", named).status == 200


def test_health_and_metadata_have_the_protocols_form(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    client = home.client(home.start())
    assert client.send("GET", "/v2/health/live").body == {"live": True}
    ready = client.send("GET", "/v2/health/ready")
    assert (ready.status, ready.body) == (200, {"ready": True, "live": True})
    server = client.send("GET", "/v2").body
    assert set(server) == {"name", "version", "extensions"}
    assert client.send("GET", "/v2/models").body == {"models": ["flights"]}
    found = client.send("GET", "/v2/models/flights/ready")
    assert (found.status, found.body) == (200, {"name": "flights", "ready": True})
    metadata = client.send("GET", "/v2/models/flights").body
    assert metadata["versions"] == ["1"]
    assert [each["name"] for each in metadata["outputs"]] == ["label", "probability"]
    assert metadata["inputs"][0] == {"name": "distance", "datatype": "FP64", "shape": [-1]}
    assert metadata["parameters"] == {"classes": [0, 1]}


def test_a_model_without_a_champion_is_not_ready_and_says_so(home: Any, infer_request: Any) -> None:
    home.declare()
    client = home.client(home.start())
    assert client.send("GET", "/v2/models/flights/ready").status == 503
    answer = client.send("POST", "/v2/models/flights/infer", infer_request(1))
    assert answer.status == 503
    assert list(answer.body) == ["error"]
    assert answer.headers["retry-after"] == "1"


def test_a_model_made_while_the_server_runs_is_served(home: Any, infer_request: Any) -> None:
    server = home.start()
    client = home.client(server)
    assert client.send("POST", "/v2/models/flights/infer", infer_request(1)).status == 404
    home.declare()
    home.champion(home.version())
    assert eventually(lambda: client.send("GET", "/v2/models/flights/ready").status == 200)
    assert client.send("POST", "/v2/models/flights/infer", infer_request(1)).status == 200


def test_time_is_the_clocks_and_not_the_machines(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    server = home.start()
    later = home.clock.now() + timedelta(days=40)
    home.clock.move_to(later)
    home.client(server).infer("flights", 1)
    server.flush()
    rows, predictions = home.logged()
    assert predictions[0]["predicted_at"] == later
    assert to_us(rows[0]["renewal_event_at"]) == to_us(later)


def test_a_taken_port_is_said_at_once(home: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Unavailable, match="address"):
            home.start(port=taken.getsockname()[1])


def test_two_servers_of_one_home_log_side_by_side(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    servers = [home.start(), home.start()]
    for server in servers:
        home.client(server).infer("flights", 1)
        server.flush()
    assert len(home.logged()[0]) == 2


def test_stop_writes_the_log_and_is_idempotent(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    server = home.start()
    home.client(server).infer("flights", 3)
    server.stop()
    server.stop()
    assert len(home.logged()[0]) == 3
    with pytest.raises(OSError, match="refused"):
        home.client(server).send("GET", "/v2/health/live")


def test_a_plan_of_weight_zero_loads_nothing_for_it(home: Any, infer_request: Any) -> None:
    home.declare()
    v1, v2 = home.version(), home.version(seed=1)
    home.champion(v1)
    arms = (Arm("champion", v1.id, 1.0), Arm("candidate", v2.id, 0.0))
    home.registry.publish(Plan("flights", "canary", arms))
    client = home.client(home.start())
    assert client.send("GET", "/v2/models/flights").body["versions"] == ["1"]
    answer = client.send("POST", "/v2/models/flights/infer", infer_request(100))
    assert answer.version == "v1"
