"""MLflow's scoring protocol over the wire: its four forms, CSV, health, and its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

COLUMNS = ("distance", "hour", "carrier_delay")
ROWS = [[0.5, -1.0, 2.0], [0.25, 1.5, -0.5]]
SPLIT = {"dataframe_split": {"columns": list(COLUMNS), "index": [0, 1], "data": ROWS}}
CSV = "hour,carrier_delay,distance\n-1.0,2.0,0.5\n1.5,-0.5,0.25\n"
TAKES = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(shared_home: Any) -> Iterator[Any]:
    """Connect to a server with a classifier and a regression."""
    shared_home.declare()
    first, second = shared_home.version(seed=0), shared_home.version(seed=1)
    shared_home.champion(first)
    shared_home.canary(first, second, 0.5, shadow=False)
    shared_home.declare("delays", task="regression")
    delays = shared_home.version("delays", estimator=LinearRegression())
    shared_home.champion(delays)
    shared_home.steady(delays)
    server = shared_home.start()
    yield shared_home.client(server)
    assert server.stats()["n_failed"] == 0


def sent(
    client: Any, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, str, str]:
    """Send a request; return status, content type and text, which need not be JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client.connection.request(method, path, body, named)
    answer = client.connection.getresponse()
    return answer.status, answer.headers["content-type"], answer.read().decode()


def invoke(client: Any, body: dict[str, Any], path: str = "/invocations?model=delays") -> Any:
    return client.send("POST", path, body, **TAKES)


def test_every_form_is_answered_alike(client: Any) -> None:
    tensors = [
        {"name": name, "shape": [2], "datatype": "FP64", "data": [row[at] for row in ROWS]}
        for at, name in enumerate(COLUMNS)
    ]
    v2 = client.send("POST", "/v2/models/delays/infer", {"inputs": tensors})
    records = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
    columns = {name: [row[at] for row in ROWS] for at, name in enumerate(COLUMNS)}
    for body in (
        SPLIT,
        {"dataframe_records": records},
        {"instances": records},
        {"instances": ROWS},
        {"inputs": columns},
        {"inputs": ROWS},
    ):
        answer = invoke(client, body)
        assert answer.status == 200, answer.body
        told = {
            "prediction_id": answer.headers["x-renewal-prediction-id"],
            "version": answer.headers["x-renewal-version"],
            "arm": answer.headers["x-renewal-arm"],
        }
        assert answer.body == {"predictions": v2.output("value"), "parameters": told}
        assert (told["version"], told["arm"]) == ("v1", "champion")
    for kind in ("text/csv", "text/csv; charset=utf-8", "text/CSV;charset=UTF-8"):
        status, _, text = sent(
            client, "POST", "/invocations?model=delays", CSV.encode(), Content_Type=kind
        )
        assert status == 200, text
        np.testing.assert_allclose(json.loads(text)["predictions"], v2.output("value"))


def test_a_classifier_gives_labels_or_probabilities(client: Any) -> None:
    path = "/invocations?model=flights&version=1"
    labels = invoke(client, SPLIT, path).body["predictions"]
    params = {"predict_method": "predict_proba"}
    probabilities = invoke(client, {**SPLIT, "params": params}, path).body["predictions"]
    assert labels == np.argmax(probabilities, axis=1).tolist()
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1)


def test_the_model_is_named_in_the_url_a_header_or_the_params(client: Any) -> None:
    expected = invoke(client, SPLIT).body["predictions"]
    named = {**SPLIT, "params": {"model": "delays"}}
    assert invoke(client, named, "/invocations").body["predictions"] == expected
    header = {**TAKES, "x-renewal-model": "delays"}
    assert client.send("POST", "/invocations", SPLIT, **header).body["predictions"] == expected
    for body, path in (
        (SPLIT, "/invocations?version=1&model=delays"),
        (SPLIT, "/invocations?version=champion&model=delays"),
        ({**SPLIT, "params": {"version": 1}}, "/invocations?model=delays"),
    ):
        answer = invoke(client, body, path)
        assert answer.body["predictions"] == expected
        assert answer.body["parameters"]["arm"] == answer.headers["x-renewal-arm"] == "pinned"


def test_a_mixed_answer_says_which_version_answered_each_row(client: Any) -> None:
    data = {"dataframe_split": {"columns": list(COLUMNS), "data": ROWS * 20}}
    sticky = [str(at) for at in range(40)]
    answer = invoke(client, {**data, "params": {"sticky": sticky}}, "/invocations?model=flights")
    assert set(answer.body["versions"]) == {"v1", "v2"}
    assert len(answer.body["versions"]) == len(answer.body["predictions"]) == 40
    assert answer.headers["x-renewal-version"] == "mixed"


def test_health_and_version(client: Any) -> None:
    for path in ("/ping", "/health"):
        assert sent(client, "GET", path) == (200, "application/json", "\n")
        assert sent(client, "POST", path)[0] == 405
    status, _, text = sent(client, "GET", "/version")
    assert status == 200
    assert text.replace(".", "").isdigit()


def test_a_server_without_a_version_is_not_healthy(home: Any) -> None:
    home.declare()
    version = home.version(break_bytes=True)
    home.champion(version)
    home.steady(version)
    client = home.client(home.start())
    assert sent(client, "GET", "/ping") == (503, "application/json", "\n")
    answer = client.send("POST", "/invocations", SPLIT, **TAKES)
    assert answer.status == 503
    assert answer.body["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/octet-stream", "application/vnd.apache.parquet",
     "application/json; charset=latin-1", "application/json; format=pandas-split", ";",
     "text/csv;x"],
)  # fmt: skip
def test_another_content_type_is_refused_as_plain_text(client: Any, kind: str | None) -> None:
    headers = {} if kind is None else {"Content_Type": kind}
    body = json.dumps(SPLIT).encode()
    status, came, text = sent(client, "POST", "/invocations?model=delays", body, **headers)
    assert (status, came) == (415, "text/plain")
    assert "application/json or text/csv" in text


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("?model=delays", b"", 400, "BAD_REQUEST"),
        ("?model=delays", b"{", 400, "BAD_REQUEST"),
        ("?model=delays", b"[[1, 2, 3]]", 400, "BAD_REQUEST"),
        ("?model=delays", b'{"messages": []}', 400, "BAD_REQUEST"),
        ("?model=delays", b'{"inputs": [[1, 2]]}', 400, "BAD_REQUEST"),
        ("?model=delays", b'{"inputs": [[1, 2, Infinity]]}', 400, "BAD_REQUEST"),
        ("?model=delays", b'{"inputs": [[1, 2, NaN]]}', 400, "BAD_REQUEST"),  # no model for gaps
        ("?model=delays", b'{"inputs": [[1, 2, 3]], "instances": [[1, 2, 3]]}', 400, "BAD_REQUEST"),
        ("", b'{"inputs": [[1, 2, 3]]}', 400, "BAD_REQUEST"),  # which of two models?
        ("?model=nobody", b'{"inputs": [[1, 2, 3]]}', 404, "RESOURCE_DOES_NOT_EXIST"),
        ("?model=delays&version=9", b'{"inputs": [[1, 2, 3]]}', 404, "RESOURCE_DOES_NOT_EXIST"),
        (
            "?model=delays",
            b'{"inputs": [[1, 2, 3]], "params": {"predict_method": "predict_proba"}}',
            400,
            "BAD_REQUEST",
        ),
        (
            "?model=flights",
            b'{"inputs": [[1, 2, 3]], "params": {"predict_method": ["x"]}}',
            400,
            "BAD_REQUEST",
        ),
    ],
)
def test_what_is_wrong_has_mlflows_error_form(
    client: Any, path: str, body: bytes, status: int, code: str
) -> None:
    answer = client.send("POST", f"/invocations{path}", body, **TAKES)
    assert (answer.status, answer.body["error_code"]) == (status, code), answer.body
    assert set(answer.body) == {"error_code", "message"}


def test_a_body_that_is_too_large_has_mlflows_error_form(home: Any) -> None:
    """By either way into the server: the lane takes what is small, the application the rest."""
    home.declare()
    version = home.version()
    home.champion(version)
    client = home.client(home.start(max_body_bytes=2 * 1024 * 1024))
    body = b'{"inputs": [' + b"[1.0, 2.0, 3.0]," * 200_000
    answer = client.send("POST", "/invocations", body, **TAKES)
    assert (answer.status, answer.body["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
    assert "at most 2097152 bytes" in answer.body["message"]


def test_only_post_invokes(client: Any) -> None:
    assert sent(client, "GET", "/invocations")[0] == 405


VALID = [
    json.dumps({"instances": ROWS}).encode(),
    json.dumps({"inputs": {name: [1.5] for name in COLUMNS}, "params": {"key": ["k"]}}).encode(),
    json.dumps(SPLIT).encode(),
]


@settings(max_examples=60, deadline=None)
@given(
    body=st.sampled_from(VALID),
    at=st.integers(0, 200),
    cut=st.integers(0, 9),
    put=st.binary(max_size=4) | st.sampled_from([b"null", b"[", b"1e999", b"NaN", b"{}", b"\\u"]),
)
def test_damaged_bodies_are_answered_or_refused(
    client: Any, body: bytes, at: int, cut: int, put: bytes
) -> None:
    """Breaks when some bytes end the connection, or are the server's fault."""
    damaged = body[:at] + put + body[at + cut :]
    for path in ("/invocations?model=delays", "/v1/models/delays:predict"):
        assert client.send("POST", path, damaged, **TAKES).status in {200, 400}
