"""TensorFlow Serving's and KServe's V1 over the wire: predictions, status, metadata, errors."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

COLUMNS = ("distance", "hour", "carrier_delay")
ROWS = [[0.5, -1.0, 2.0], [0.25, 1.5, -0.5]]
OBJECTS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
BY_COLUMN = {name: [row[at] for row in ROWS] for at, name in enumerate(COLUMNS)}


@pytest.fixture
def client(home: Any) -> Any:
    home.declare()
    version = home.version()
    home.champion(version)
    home.steady(version)
    return home.client(home.start())


def probabilities(client: Any) -> list[list[float]]:
    """Return what V2 says of the same rows."""
    tensors = [
        {"name": name, "shape": [2], "datatype": "FP64", "data": values}
        for name, values in BY_COLUMN.items()
    ]
    answer = client.send("POST", "/v2/models/flights/infer", {"inputs": tensors})
    found: list[list[float]] = np.reshape(answer.output("probability"), (2, 2)).tolist()
    return found


def told(answer: Any, arm: str = "champion") -> dict[str, str]:
    """Return what a body must say of who answered: the same as its headers."""
    prediction_id = answer.headers["x-renewal-prediction-id"]
    assert (answer.headers["x-renewal-version"], answer.headers["x-renewal-arm"]) == ("v1", arm)
    return {"prediction_id": prediction_id, "version": "v1", "arm": arm}


def test_every_form_is_answered_in_its_shape_and_as_v2(client: Any) -> None:
    expected = probabilities(client)
    body: dict[str, Any]
    for body in ({"instances": OBJECTS}, {"instances": ROWS, "signature_name": "serving_default"}):
        answer = client.send("POST", "/v1/models/flights:predict", body)
        assert answer.status == 200
        assert answer.body == {
            "predictions": [{"label": int(row[1] > 0.5), "probability": row} for row in expected],
            "parameters": told(answer),
        }
    for body in ({"inputs": BY_COLUMN}, {"inputs": ROWS}):
        answer = client.send("POST", "/v1/models/flights:predict", body)
        labels = [int(row[1] > 0.5) for row in expected]
        outputs = {"label": labels, "probability": expected}
        assert answer.body == {"outputs": outputs, "parameters": told(answer)}


def test_what_v1_was_asked_is_logged_like_any_other(home: Any) -> None:
    home.declare()
    version = home.version()
    home.champion(version)
    home.steady(version)
    server = home.start()
    client = home.client(server)
    body = {"instances": OBJECTS, "parameters": {"key": ["a", "b"]}}
    prediction_id = client.send("POST", "/v1/models/flights:predict", body).headers[
        "x-renewal-prediction-id"
    ]
    server.stop()
    rows, predictions = home.logged()
    assert [row["distance"] for row in rows] == [0.5, 0.25]
    assert [row["prediction_id"] for row in predictions] == [
        f"{prediction_id}-0", f"{prediction_id}-1"
    ]  # fmt: skip


def test_one_output_has_no_name_and_gaps_may_be_nan(home: Any) -> None:
    home.declare("delays", task="regression")
    table = pa.table({"origin": ["JFK", "EWR"] * 40})
    estimator = make_pipeline(OneHotEncoder(), LinearRegression())
    version = home.version("delays", table=table, estimator=estimator)
    home.champion(version)
    home.steady(version)
    client = home.client(home.start())
    rows = client.send("POST", "/v1/models/delays:predict", {"instances": ["JFK", "EWR"]})
    assert rows.status == 200, rows.body
    assert len(rows.body["predictions"]) == 2
    assert all(isinstance(each, float) for each in rows.body["predictions"])
    columns = client.send("POST", "/v1/models/delays:predict", {"inputs": {"origin": ["JFK"]}})
    expected = rows.body["predictions"][:1]
    assert columns.body == {"outputs": expected, "parameters": told(columns)}
    encoded = {"instances": [{"b64": "SkZL"}]}  # JFK
    answer = client.send("POST", "/v1/models/delays:predict", encoded)
    assert answer.body == {"predictions": expected, "parameters": told(answer)}


def test_versions_are_numbers_and_labels_are_aliases(client: Any) -> None:
    for path in ("versions/1", "labels/champion"):
        answer = client.send("POST", f"/v1/models/flights/{path}:predict", {"instances": OBJECTS})
        assert answer.status == 200, answer.body
        assert answer.headers["x-renewal-arm"] == "pinned"
        assert client.send("GET", f"/v1/models/flights/{path}").status == 200
        assert client.send("GET", f"/v1/models/flights/{path}/metadata").status == 200
    for path, status in (
        ("versions/7", 404), ("labels/none", 404), ("versions/champion", 400), ("labels/1", 400)
    ):  # fmt: skip
        for method, tail in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
            body = {"instances": OBJECTS} if method == "POST" else None
            answer = client.send(method, f"/v1/models/flights/{path}{tail}", body)
            assert (answer.status, list(answer.body)) == (status, ["error"])


def test_where_several_versions_answered_each_row_says_which(home: Any) -> None:
    home.declare()
    champion, candidate = home.version(seed=0), home.version(seed=1)
    home.champion(champion)
    home.canary(champion, candidate, 0.5, shadow=False)
    client = home.client(home.start())
    body = {"instances": ROWS * 20, "parameters": {"sticky": [str(at) for at in range(40)]}}
    answer = client.send("POST", "/v1/models/flights:predict", body)
    assert answer.headers["x-renewal-version"] == "mixed"
    assert set(answer.body["versions"]) == {"v1", "v2"}
    assert len(answer.body["versions"]) == len(answer.body["predictions"]) == 40
    assert set(answer.body["predictions"][0]) == {"label", "probability"}
    outputs = client.send(
        "POST", "/v1/models/flights:predict", {**body, "instances": None, "inputs": ROWS * 20}
    )
    assert outputs.status == 400  # an explicit null is one of the two as well


def test_status_serves_both_protocols(client: Any) -> None:
    assert client.send("GET", "/").body == {"status": "alive"}
    assert client.send("GET", "/v1/models").body == {"models": ["flights"]}
    answer = client.send("GET", "/v1/models/flights")
    assert answer.status == 200
    assert answer.body == {
        "name": "flights",
        "ready": True,
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ],
    }


def test_a_model_without_a_version_is_not_ready(home: Any) -> None:
    home.declare()
    version = home.version(break_bytes=True)
    home.champion(version)
    home.steady(version)
    client = home.client(home.start())
    answer = client.send("GET", "/v1/models/flights")
    assert (answer.status, answer.body["ready"]) == (503, False)
    assert answer.body["model_version_status"] == []
    refused = client.send("POST", "/v1/models/flights:predict", {"instances": OBJECTS})
    assert (refused.status, list(refused.body)) == (503, ["error"])
    assert "retry-after" in refused.headers


def test_metadata_is_a_signature_of_tensorflow(client: Any) -> None:
    body = client.send("GET", "/v1/models/flights/metadata").body
    assert body["model_spec"] == {"name": "flights", "signature_name": "", "version": "1"}
    signature = body["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert list(signature["inputs"]) == list(COLUMNS)
    assert signature["inputs"]["hour"] == {
        "dtype": "DT_DOUBLE",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "hour:0",
    }
    sizes = signature["outputs"]["probability"]["tensor_shape"]["dim"]
    assert [each["size"] for each in sizes] == ["-1", "2"]


WRONG: list[tuple[str, str, Any, int]] = [
    ("POST", "flights:predict", {}, 400),
    ("POST", "flights:predict", {"instances": ROWS, "inputs": ROWS}, 400),
    ("POST", "flights:predict", {"instances": ROWS, "signature_name": "other"}, 400),
    ("POST", "flights:predict", {"instances": []}, 400),
    ("POST", "flights:predict", {"instances": [[1, 2]]}, 400),
    ("POST", "flights:predict", {"instances": [{"distance": 1}]}, 400),
    ("POST", "flights:predict", {"inputs": {"distance": [1], "hour": [1, 2]}}, 400),
    ("POST", "flights:predict", {"instances": ROWS, "parameters": {"key": ["a"]}}, 400),
    ("POST", "flights:predict", b"", 400),
    ("POST", "flights:predict", b"{", 400),
    ("POST", "flights:predict", b'{"instances": [[Infinity, 1, 2]]}', 400),
    ("POST", "flights:predict", b'{"instances": ' + b"[" * 100_000, 400),
    ("POST", "flights:predict", b"\xff\xfe", 400),
    ("POST", "nobody:predict", {"instances": ROWS}, 404),
    ("POST", "flights:classify", {"examples": []}, 501),
    ("POST", "flights:regress", {"examples": []}, 501),
    ("POST", "flights:explain", {"instances": ROWS}, 501),
    ("POST", "nobody:explain", {"instances": ROWS}, 404),
    ("POST", "flights:fly", {"instances": ROWS}, 400),
    ("GET", "flights:predict", None, 405),
    ("GET", "flights:explain", None, 405),
    ("POST", "flights", {}, 405),
    ("POST", "flights/metadata", {}, 405),
    ("GET", "nobody", None, 404),
    ("GET", "flights/versions", None, 404),
    ("GET", "flights/nothing/at/all", None, 404),
]


def test_what_is_wrong_has_the_error_form_and_the_worker_lives(client: Any) -> None:
    for method, path, body, status in WRONG:
        answer = client.send(method, f"/v1/models/{path}", body)
        assert (answer.status, list(answer.body)) == (status, ["error"]), (method, path, body)
        assert isinstance(answer.body["error"], str)
    assert client.send("POST", "/v1/models/flights:predict", {"instances": ROWS}).status == 200


def test_a_body_may_be_compressed(client: Any) -> None:
    body = gzip.compress(json.dumps({"instances": ROWS}).encode())
    headers = {"Content-Encoding": "gzip"}
    answer = client.send("POST", "/v1/models/flights:predict", body, **headers)
    assert answer.status == 200, answer.body
    answer = client.send("POST", "/v1/models/flights:predict", body)
    assert answer.status == 400
