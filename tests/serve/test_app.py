"""Bad input at the door: every one of them has its status and the protocol's error form."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INFER = "/v2/models/flights/infer"
LIMIT_BYTES = 20_000


@pytest.fixture(scope="module")
def client(shared_home: Any) -> Iterator[Any]:
    """Connect to one server that all tests of this file try to break."""
    shared_home.declare()
    shared_home.champion(shared_home.version())
    shared_home.declare("mixed_types")
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "hour": pa.array(np.arange(80)),
            "is_late": pa.array(rng.random(80) > 0.5),
            "wind": rng.normal(size=80),
        }
    )
    shared_home.champion(shared_home.version("mixed_types", table=table))
    server = shared_home.start(max_body_bytes=LIMIT_BYTES)
    yield shared_home.client(server)
    assert server.stats()["n_failed"] == 0


def tensor(name: str, data: list[Any], datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data, **more}


def columns(**changed: Any) -> list[Any]:
    found: dict[str, Any] = {
        name: tensor(name, [1.0]) for name in ("distance", "hour", "carrier_delay")
    }
    found.update(changed)
    return [each for each in found.values() if each is not None]


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (columns(hour=None), "'hour'"),
        (columns(houur=tensor("houur", [1.0]), hour=None), "Is it 'houur'"),
        (columns(extra=tensor("extra", [1.0])), "'extra'"),
        (columns(hour=tensor("hour", ["late"], "BYTES")), "float values in the column 'hour'"),
        (columns(hour=tensor("hour", [True], "BOOL")), "'hour'"),
        (columns(hour=tensor("hour", [1.0, 2.0])), "rows like"),
        (columns(hour=tensor("hour", [2**60 + 1], "INT64")), "2**53"),
        (columns(hour=tensor("hour", [1.0], shape=[7])), "7 values"),
        (columns(hour={"name": "hour"}), "JSON body"),
        ([tensor("x", [1.0, 2.0], shape=[1, 2])], r"shape [n, 3], all columns"),
        ([tensor("x", [1.0, 2.0, 3.0], "FP65", shape=[1, 3])], "'FP65'"),
        ([tensor("hour", [1.0, 2.0], shape=[1, 2])], r"shape [n] or [n, 1]"),
        ([], "at least one input"),
    ],
)
def test_wrong_inputs_are_400(client: Any, inputs: list[Any], says: str) -> None:
    answer = client.send("POST", INFER, {"inputs": inputs})
    assert answer.status == 400
    assert list(answer.body) == ["error"]
    assert says in answer.body["error"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"parameters": {"key": ["a", "b"]}}, "'key'"),
        ({"parameters": {"event_time": "soon"}}, "'event_time'"),
        ({"parameters": []}, "parameters"),
        ({"outputs": [{"name": "logits"}]}, "'logits'"),
        ({"id": 7}, "$.id"),
    ],
)
def test_wrong_parameters_are_400(client: Any, changed: dict[str, Any], says: str) -> None:
    answer = client.send("POST", INFER, {"inputs": columns(), **changed})
    assert answer.status == 400
    assert says in answer.body["error"]


def test_what_the_estimator_does_not_take_is_400_and_logged_as_failed(
    client: Any,
) -> None:
    """A linear model takes no gaps: its own message reaches the caller."""
    server_rows = columns(hour=tensor("hour", [None]))
    answer = client.send("POST", INFER, {"inputs": server_rows})
    assert answer.status == 400
    assert "v1 of model 'flights' needs" in answer.body["error"]


def test_int_and_bool_columns_take_their_types_and_no_fractions(client: Any) -> None:
    path = "/v2/models/mixed_types/infer"
    fine = [
        tensor("hour", [1, 2], "INT32"),
        tensor("is_late", [True, False], "BOOL"),
        tensor("wind", [1, 2], "UINT8"),
    ]
    assert client.send("POST", path, {"inputs": fine}).status == 200
    whole = [tensor("hour", [1.0, 2.0]), *fine[1:]]
    assert client.send("POST", path, {"inputs": whole}).status == 200
    fraction = [tensor("hour", [1.5, 2.0]), *fine[1:]]
    assert client.send("POST", path, {"inputs": fraction}).status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/nobody/infer", 404),
        ("POST", "/v2/models/flights/versions/9/infer", 404),
        ("POST", "/v2/models/flights/versions/latest/infer", 404),
        ("POST", "/v2/models/nobody/feedback", 404),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("GET", "/v2/models/flights/versions/9", 404),
        ("GET", "/v2/models/flights/nothing", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/v3", 404),
        ("GET", "/v2/models/%66lights/stats/%00", 404),
        ("GET", INFER, 405),
        ("DELETE", "/v2/models/flights", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/feedback", 405),
    ],
)
def test_wrong_paths_and_methods(client: Any, method: str, path: str, status: int) -> None:
    body = {"inputs": columns(), "key": "a", "label": 1}
    answer = client.send(method, path, body if method == "POST" else None)
    assert answer.status == status
    assert list(answer.body) == ["error"]


def test_a_percent_encoded_name_is_the_name(client: Any) -> None:
    assert client.send("GET", "/v2/models/%66lights/ready?a=b").status == 200


def test_head_has_no_body(client: Any) -> None:
    answer = client.send("HEAD", "/v2/health/ready")
    assert (answer.status, answer.body) == (200, None)


def test_a_body_over_the_limit_is_413_by_length_and_by_chunks(client: Any) -> None:
    answer = client.send("POST", INFER, b" " * (LIMIT_BYTES + 1))
    assert answer.status == 413
    assert str(LIMIT_BYTES) in answer.body["error"]
    client.connection.request("POST", INFER, iter([b" " * 15_000] * 3), encode_chunked=True)
    answer = client.connection.getresponse()
    assert (answer.status, list(json.loads(answer.read()))) == (413, ["error"])
    assert client.send("POST", INFER, {"inputs": columns()}).status == 200


def test_a_chunked_body_is_read_whole(client: Any) -> None:
    body = json.dumps({"inputs": columns()}).encode()
    client.connection.request("POST", INFER, iter([body[:10], body[10:]]), encode_chunked=True)
    answer = client.connection.getresponse()
    assert answer.status == 200
    answer.read()


def test_a_client_that_leaves_in_the_midst_harms_nobody(client: Any) -> None:
    host, port = client.connection.host, client.connection.port
    with socket.create_connection((host, port)) as half:
        half.sendall(b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")
    assert client.send("GET", "/v2/health/ready").status == 200


def test_a_bad_request_is_no_line_in_the_error_log(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers' mistakes must not fill the log of the operator."""
    with caplog.at_level(logging.WARNING):
        client.send("POST", INFER, b"{")
    assert not caplog.records


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prediction_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV-0", "label": 1}, 404),
        ({"labels": [{"key": "a", "label": 1}, {"prediction_id": "nobody", "label": 1}]}, 404),
        ({"key": "a", "label": None}, 400),
        ({"key": "a"}, 400),
        ({"key": "a", "label": "late"}, 400),
        ({"key": "a", "label": True}, 400),
        ({"key": "a", "label": 0.5}, 400),
        ({"labels": [{"key": "a", "label": 1}, {"key": "b", "label": "x"}]}, 400),
        ({"key": "a", "label": [1]}, 400),
        ({"key": "", "label": None}, 400),
        ({"label": 1}, 400),
        ({"key": "a", "prediction_id": "b", "label": 1}, 400),
        ({"key": "a", "label": 1, "arrived_at": "yesterday"}, 400),
        ({"labels": []}, 400),
        (b'{"key": "a", "label": NaN}', 400),
        (b'{"key": "a", "label": 99999999999999999999999}', 400),
        (b"", 400),
    ],
)
def test_wrong_labels_are_refused_and_nothing_is_written(
    client: Any, shared_home: Any, body: Any, status: int
) -> None:
    answer = client.send("POST", "/v2/models/flights/feedback", body)
    assert (answer.status, list(answer.body)) == (status, ["error"])
    assert shared_home.feed("flights").n_labels() == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "inputs", "parameters", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
VALID = {"inputs": columns(), "id": "i", "parameters": {"key": "k"}, "outputs": []}
QUIET = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUIET
@given(st.binary(max_size=80))
def test_no_bytes_bring_a_5xx(client: Any, body: bytes) -> None:
    assert client.send("POST", INFER, body).status == 400


@QUIET
@given(st.data())
def test_no_change_to_a_valid_request_brings_a_5xx(client: Any, data: st.DataObject) -> None:
    """One place of a valid request becomes any JSON; the answer is 200 or 400."""
    body = json.loads(json.dumps(VALID))
    place: Any = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = inner
    assert client.send("POST", INFER, body).status in {200, 400}


@QUIET
@given(JSON)
def test_no_label_brings_a_5xx(client: Any, label: Any) -> None:
    body = {"prediction_id": "nobody", "label": label}
    assert client.send("POST", "/v2/models/flights/feedback", body).status in {400, 404}
