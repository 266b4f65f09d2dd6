"""V2 over a socket: headers, encodings, methods, and bodies that nobody meant."""

from __future__ import annotations

import gzip
import http.client
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewal.serve.server import Server

PATH = "/v2/models/flights/infer"
ROW = [0.5, -1.0, 2.0]
Ask = Callable[..., tuple[int, bytes, dict[str, str]]]


@pytest.fixture(scope="module")
def server(shared_home: Any) -> Server:
    shared_home.declare()
    champion = shared_home.version()
    shared_home.champion(champion)
    shared_home.steady(champion)
    found: Server = shared_home.start(max_body_bytes=1_000_000)
    return found


@pytest.fixture(scope="module")
def ask(server: Server) -> Iterator[Ask]:
    """Send raw bytes on one connection, and read all of the answer."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)

    def send(method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, answer.read(), found

    yield send
    connection.close()


def body(rows: Any = (ROW,), **more: Any) -> bytes:
    found = np.asarray(rows, np.float64)
    tensor = {
        "name": "rows",
        "shape": list(found.shape),
        "datatype": "FP64",
        "data": found.ravel().tolist(),
    }
    return json.dumps({"inputs": [tensor], **more}).encode()


def binary(rows: Any = (ROW,), **more: Any) -> tuple[bytes, str]:
    raw = np.asarray(rows, "<f8").tobytes()
    tensor = {
        "name": "rows",
        "shape": [len(rows), 3],
        "datatype": "FP64",
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + raw, str(len(head))


def probability(answer: bytes, headers: dict[str, str]) -> list[float]:
    end = int(headers.get("inference-header-content-length", len(answer)))
    offset = end
    for each in json.loads(answer[:end])["outputs"]:
        size = each.get("parameters", {}).get("binary_data_size", 0)
        if each["name"] == "probability":
            found: list[float] = each.get("data") or list(
                struct.unpack(f"<{size // 8}d", answer[offset : offset + size])
            )
            return found
        offset += size
    raise AssertionError(answer)


def test_json_and_bytes_say_the_same(ask: Ask) -> None:
    status, answer, headers = ask("POST", PATH, body())
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["x-renewal-version"] == "v1"
    assert headers["x-renewal-arm"] == "champion"
    assert headers["x-renewal-prediction-id"] == json.loads(answer)["parameters"]["prediction_id"]
    expected = probability(answer, headers)
    raw, n_json = binary()
    status, answer, headers = ask("POST", PATH, raw, Inference_Header_Content_Length=n_json)
    assert status == 200
    assert "inference-header-content-length" not in headers
    assert probability(answer, headers) == expected
    raw, n_json = binary(parameters={"binary_data_output": True})
    status, answer, headers = ask("POST", PATH, raw, Inference_Header_Content_Length=n_json)
    assert headers["content-type"] == "application/octet-stream"
    assert probability(answer, headers) == expected
    status, answer, headers = ask(
        "POST", PATH, struct.pack("<3d", *ROW), Inference_Header_Content_Length="0"
    )
    assert status == 200
    assert probability(answer, headers) == expected


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda raw: zlib.compress(raw)[2:-4]),
        ("identity", bytes),
        ("gzip, deflate", lambda raw: zlib.compress(gzip.compress(raw))),
    ],
)
def test_encoded_bodies_are_read(ask: Ask, encoding: str, encode: Callable[[bytes], bytes]) -> None:
    status, answer, headers = ask("POST", PATH, body())
    expected = probability(answer, headers)
    status, answer, headers = ask("POST", PATH, encode(body()), Content_Encoding=encoding)
    assert status == 200
    assert probability(answer, headers) == expected
    # The header counts the bytes of the JSON before it was encoded.
    raw, n_json = binary()
    status, answer, headers = ask(
        "POST", PATH, encode(raw), Content_Encoding=encoding, Inference_Header_Content_Length=n_json
    )
    assert status == 200
    assert probability(answer, headers) == expected


def test_answers_are_encoded_as_the_client_takes_them(ask: Ask) -> None:
    many = body([ROW] * 100)
    _, plain, headers = ask("POST", PATH, many)
    assert "content-encoding" not in headers
    for accepts, undo in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        status, answer, headers = ask("POST", PATH, many, Accept_Encoding=accepts)
        assert status == 200
        assert headers["content-encoding"] == accepts
        assert len(answer) < len(plain)
        assert probability(undo(answer), {}) == probability(plain, {})
    raw, n_json = binary([ROW] * 100, parameters={"binary_data_output": True})
    status, answer, headers = ask(
        "POST", PATH, raw, Accept_Encoding="gzip", Inference_Header_Content_Length=n_json
    )
    assert headers["content-encoding"] == "gzip"
    assert probability(gzip.decompress(answer), headers) == probability(plain, {})


RAW, N_JSON = binary()


@pytest.mark.parametrize(
    ("raw", "headers", "says"),
    [
        (RAW, {"Inference_Header_Content_Length": "x"}, "'x'"),
        (RAW, {"Inference_Header_Content_Length": "-1"}, "'-1'"),
        (RAW, {"Inference_Header_Content_Length": str(len(RAW) + 1)}, str(len(RAW))),
        (RAW, {"Inference_Header_Content_Length": "9" * 40}, "999"),
        (RAW, {"Inference_Header_Content_Length": str(int(N_JSON) - 1)}, "JSON"),
        (RAW[:-1], {"Inference_Header_Content_Length": N_JSON}, "cut off"),
        (RAW + b"1", {"Inference_Header_Content_Length": N_JSON}, "24 bytes"),
        (RAW[: int(N_JSON)], {}, "Inference-Header-Content-Length"),
        (RAW, {}, "JSON"),
        (b"1234567", {"Inference_Header_Content_Length": "0"}, "multiple of 24 bytes"),
        (b"", {"Inference_Header_Content_Length": "0"}, "multiple of 24 bytes"),
        (b"", {}, "empty body"),
        (body(), {"Content_Encoding": "gzip"}, "gzip"),
        (gzip.compress(body())[:-9], {"Content_Encoding": "gzip"}, "gzip"),
        (body(outputs=[{"name": "nothing"}]), {}, "'nothing'"),
        (body(outputs=[{"name": "label", "parameters": {"binary_data": 1}}]), {}, "binary_data"),
        (body(parameters={"binary_data_output": "yes"}), {}, "binary_data_output"),
        (body(parameters={"timeout": -1}), {}, "microseconds"),
        (body(parameters={"timeout": True}), {}, "microseconds"),
        (body(parameters=[1]), {}, "JSON"),
        (body(id=7), {}, "JSON"),
    ],
)
def test_what_is_wrong_is_refused_in_the_form_of_the_protocol(
    ask: Ask, raw: bytes, headers: dict[str, str], says: str
) -> None:
    status, answer, _ = ask("POST", PATH, raw, **headers)
    assert status == 400
    told = json.loads(answer)
    assert set(told) == {"error"}
    assert says in told["error"]


def test_other_encodings_and_bombs_are_refused(ask: Ask) -> None:
    assert ask("POST", PATH, body(), Content_Encoding="br")[0] == 415
    assert ask("POST", PATH, gzip.compress(b" " * 2_000_000), Content_Encoding="gzip")[0] == 413
    assert ask("POST", PATH, body())[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/v2", 200),
        ("HEAD", "/v2/health/live", 200),
        ("GET", "/v2/", 200),
        ("GET", "/v2/health/ready/", 200),
        ("GET", "/v2/health/ready?unknown=1&unknown=2", 200),
        ("GET", "/v2/models/fl%69ghts", 200),
        ("GET", "/v2/models/flights/versions/1/", 200),
        ("GET", "/v2/models/flights/versions/champion/config", 200),
        ("GET", "/v2/models/stats", 200),
        ("GET", "/v2/models/flights/versions/v1/stats", 200),
        ("POST", "/v2/models/fl%69ghts/versions/1/infer/?x=1", 200),
        ("POST", "/v2/repository/index", 200),
        ("GET", "/v2/models/flights/versions/2/ready", 404),
        ("GET", "/v2/models/flights/versions/%2e%2e/config", 404),
        ("GET", "/v2/models/none/stats", 404),
        ("GET", "/v2/models/flights/nothing", 404),
        ("GET", "/v2/trace/setting", 404),
        ("GET", "/v2/logging", 404),
        ("POST", "/v2/repository/models/none/unload", 404),
        ("POST", "/v2/models/none/infer", 404),
        ("DELETE", "/v2", 405),
        ("POST", "/v2/models/flights", 405),
        ("POST", "/v2/models/stats", 405),
        ("GET", "/v2/repository/index", 405),
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
    ],
)
def test_paths_and_methods(ask: Ask, method: str, path: str, status: int) -> None:
    sent = body() if "infer" in path else b"{}"
    found, answer, headers = ask(method, path, sent if method in {"POST", "PUT"} else None)
    assert found == status, answer
    if method == "HEAD":
        assert answer == b""
    elif status != 200:
        assert set(json.loads(answer)) == {"error"}
    assert ("allow" in headers) == (status == 405)


def test_health_bodies_are_those_of_triton_and_of_kserve(ask: Ask) -> None:
    assert json.loads(ask("GET", "/v2/health/live")[1]) == {"live": True}
    assert json.loads(ask("GET", "/v2/health/ready")[1]) == {"ready": True, "live": True}
    found = json.loads(ask("GET", "/v2/models/flights/ready")[1])
    assert found == {"name": "flights", "ready": True}
    assert json.loads(ask("GET", "/v2/models")[1]) == {"models": ["flights"]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "inputs", "parameters", "id"]),
            each,
            max_size=5,
        )
    ),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["distance", "hour", "carrier_delay", "rows"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "datatype": st.sampled_from(["FP64", "FP32", "BF16", "INT8", "BYTES", "BOOL"]) | JSON,
        "data": st.lists(st.floats(-9, 9), max_size=6) | JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40) | JSON})
        | JSON,
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=4) | JSON},
    optional={
        "id": st.text(max_size=4) | JSON,
        "parameters": st.dictionaries(
            st.sampled_from(["timeout", "binary_data_output", "key", "sticky", "event_time"]), JSON
        )
        | JSON,
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["label", "probability", "x"])},
                optional={
                    "parameters": st.dictionaries(
                        st.sampled_from(["binary_data", "classification"]), JSON
                    )
                },
            ),
            max_size=2,
        )
        | JSON,
    },
)
FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _is_answered(ask: Ask, raw: bytes, **headers: str) -> None:
    status, answer, _ = ask("POST", PATH, raw, **headers)
    assert status in {200, 400, 504}, answer
    if status != 200:
        assert set(json.loads(answer)) == {"error"}


@FUZZ
@given(REQUEST)
def test_any_json_is_answered_or_refused(ask: Ask, request_: Any) -> None:
    """Breaks when some JSON is an internal error, or ends the connection."""
    _is_answered(ask, json.dumps(request_).encode())


@FUZZ
@given(REQUEST, st.binary(max_size=60), st.integers(-3, 3))
def test_any_json_with_any_bytes_behind_it(ask: Ask, request_: Any, rest: bytes, off: int) -> None:
    head = json.dumps(request_).encode()
    n_json = max(0, len(head) + off if off else len(head))
    _is_answered(ask, head + rest, Inference_Header_Content_Length=str(n_json))


@FUZZ
@given(st.binary(max_size=200), st.integers(0, 250), st.sampled_from(["", "gzip", "deflate"]))
def test_any_bytes(ask: Ask, raw: bytes, n_json: int, encoding: str) -> None:
    headers = {"Content_Encoding": encoding} if encoding else {}
    _is_answered(ask, raw, Inference_Header_Content_Length=str(n_json), **headers)
    _is_answered(ask, raw, **headers)


@FUZZ
@given(st.data())
def test_a_good_request_that_was_damaged(ask: Ask, data: st.DataObject) -> None:
    raw, n_json = binary([ROW, ROW])
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    _is_answered(ask, bytes(damaged), Inference_Header_Content_Length=n_json)
    _is_answered(ask, bytes(damaged[:cut]), Inference_Header_Content_Length=n_json)


def test_the_worker_lives_on(ask: Ask, server: Server) -> None:
    assert ask("POST", PATH, body())[0] == 200
    assert server.stats()["by_status"].get(500, 0) == 0
