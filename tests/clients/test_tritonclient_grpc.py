"""Triton's gRPC clients, as they are installed, against a server of ours."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from renewal.serve.server import Server
from tests.serve.conftest import COLUMNS, Home

ROWS = np.array([[0.5, -1.0, 2.0], [0.25, 4.0, -3.0]])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    found = Home(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(home: Home) -> Server:
    home.declare()
    home.champion(home.version())
    home.declare("named", "multiclass")
    names = np.array(["early", "late"], dtype=object)
    mixed = pa.table(
        {
            "hour": pa.array(np.arange(80) % 24),
            "is_winter": pa.array(np.arange(80) % 2 == 0),
            "delay": np.linspace(-1, 1, 80),
        }
    )
    home.champion(home.version("named", table=mixed, labels=lambda score: names[(score > 0) * 1]))
    return home.start(grpc_port=0)


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    found = triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    yield found
    found.close()


def input_of(name: str, values: np.ndarray[Any, Any], datatype: str | None = None) -> Any:
    found = triton.InferInput(
        name, list(values.shape), datatype or np_to_triton_dtype(values.dtype)
    )
    found.set_data_from_numpy(values)
    return found


def test_every_verb_that_is_no_prediction(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert client.is_model_ready("flights", "1")
    assert client.get_server_metadata(as_json=True)["name"] == "renewal"
    metadata = client.get_model_metadata("flights", as_json=True)
    assert [each["name"] for each in metadata["inputs"]] == list(COLUMNS)
    assert metadata["inputs"][0]["shape"] == ["-1"]
    assert metadata["versions"] == ["1"]
    config = client.get_model_config("flights", "1", as_json=True)["config"]
    assert config["name"] == "flights"
    assert [each["data_type"] for each in config["input"]] == ["TYPE_FP64"] * 3
    assert config["output"][0]["dims"] == ["1"]
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {each["name"]: each["state"] for each in index} == {
        "flights": "READY",
        "named": "READY",
    }


def test_statistics_count_what_was_inferred(client: triton.InferenceServerClient) -> None:
    def count() -> int:
        stats = client.get_inference_statistics("flights", "1", as_json=True)["model_stats"]
        assert (stats[0]["name"], stats[0]["version"]) == ("flights", "1")
        return int(stats[0].get("inference_count", 0))

    before = count()
    client.infer("flights", [input_of("rows", ROWS)])
    assert count() == before + len(ROWS)
    every = client.get_inference_statistics(as_json=True)["model_stats"]
    assert {each["name"] for each in every} == {"flights", "named"}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_one_matrix_of_any_float(client: triton.InferenceServerClient, dtype: Any) -> None:
    answer = client.infer("flights", [input_of("rows", ROWS.astype(dtype))], request_id="mine")
    probability = answer.as_numpy("probability")
    assert probability.shape == (2, 2)
    assert np.allclose(probability.sum(axis=1), 1.0)
    assert answer.as_numpy("label").tolist() == probability.argmax(axis=1).tolist()
    found = answer.get_response(as_json=True)
    assert (found["id"], found["model_version"]) == ("mine", "1")
    assert found["parameters"]["version"]["string_param"] == "v1"


def test_one_tensor_for_each_column_says_the_same(client: triton.InferenceServerClient) -> None:
    whole = client.infer("flights", [input_of("rows", ROWS)]).as_numpy("probability")
    inputs = [input_of(name, ROWS[:, [at]]) for at, name in reversed(list(enumerate(COLUMNS)))]
    apart = client.infer("flights", inputs).as_numpy("probability")
    assert np.array_equal(whole, apart)


def test_bf16_is_read_as_the_upper_half_of_a_float(client: triton.InferenceServerClient) -> None:
    """All of these rows are exact in 16 bits, so the answers are equal."""
    tensor = input_of("rows", ROWS.astype(ml_dtypes.bfloat16), "BF16")
    exact = client.infer("flights", [input_of("rows", ROWS)]).as_numpy("probability")
    assert np.array_equal(client.infer("flights", [tensor]).as_numpy("probability"), exact)


@pytest.mark.parametrize("hour", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_integers_and_booleans_of_every_width(
    client: triton.InferenceServerClient, hour: str
) -> None:
    answer = client.infer(
        "named",
        [
            input_of("hour", np.array([7, 23], hour)),
            input_of("is_winter", np.array([True, False])),
            input_of("delay", np.array([[0.5], [-0.5]])),
        ],
        outputs=[triton.InferRequestedOutput("label")],
    )
    labels = answer.as_numpy("label")
    assert set(labels.tolist()) <= {b"early", b"late"}
    assert answer.as_numpy("probability") is None


def test_classification_names_the_classes(client: triton.InferenceServerClient) -> None:
    asked = [triton.InferRequestedOutput("probability", class_count=1)]
    best = client.infer("flights", [input_of("rows", ROWS)], outputs=asked).as_numpy("probability")
    plain = client.infer("flights", [input_of("rows", ROWS)]).as_numpy("probability")
    assert [text.split(b":")[1] for text in best.ravel().tolist()] == [
        str(at).encode() for at in plain.argmax(axis=1)
    ]


@pytest.mark.parametrize(
    ("model", "version", "inputs", "code"),
    [
        ("nope", "", [input_of("rows", ROWS)], "StatusCode.NOT_FOUND"),
        ("flights", "9", [input_of("rows", ROWS)], "StatusCode.NOT_FOUND"),
        ("flights", "", [input_of("rows", ROWS[:, :2])], "StatusCode.INVALID_ARGUMENT"),
        ("flights", "", [input_of("x", ROWS[:, 0])], "StatusCode.INVALID_ARGUMENT"),
    ],
)
def test_errors_have_their_status(
    client: triton.InferenceServerClient, model: str, version: str, inputs: list[Any], code: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs, version)
    assert caught.value.status() == code
    assert caught.value.message()


def test_a_call_may_be_waited_for_later(client: triton.InferenceServerClient) -> None:
    came: queue.Queue[Any] = queue.Queue()
    for _ in range(20):
        client.async_infer(
            "flights", [input_of("rows", ROWS)], lambda result, error: came.put((result, error))
        )
    for _ in range(20):
        result, error = came.get(timeout=20)
        assert error is None
        assert result.as_numpy("probability").shape == (2, 2)


def test_a_stream_answers_each_request(client: triton.InferenceServerClient) -> None:
    came: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: came.put((result, error)))
    for at in range(5):
        model = "nope" if at == 2 else "flights"
        client.async_stream_infer(model, [input_of("rows", ROWS)], request_id=str(at))
    answers = [came.get(timeout=20) for _ in range(5)]
    client.stop_stream()
    ids = [result.get_response().id if result else None for result, _ in answers]
    assert ids == ["0", "1", None, "3", "4"]
    assert "nope" in str(answers[2][1])


def test_a_model_is_unloaded_and_loaded_again(client: triton.InferenceServerClient) -> None:
    client.unload_model("named")
    assert not client.is_model_ready("named")
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {each["name"]: each["state"] for each in index}["named"] == "UNAVAILABLE"
    client.load_model("named")
    assert client.is_model_ready("named")
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("nope")
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    with pytest.raises(InferenceServerException, match="failed to load"):
        client.load_model("named", config="{}", files={"file:1/model.onnx": b"bytes"})


def test_the_aio_client_answers_hundreds_at_once(server: Server) -> None:
    async def call() -> None:
        address = f"127.0.0.1:{server.grpc_port}"
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("flights", as_json=True))["name"] == "flights"
            answers = await asyncio.gather(
                *(client.infer("flights", [input_of("rows", ROWS)]) for _ in range(300))
            )
            for each in answers:
                assert each.as_numpy("label").shape == (2,)

            async def asked() -> Any:
                for at in range(3):
                    yield {
                        "model_name": "flights",
                        "inputs": [input_of("rows", ROWS)],
                        "request_id": str(at),
                    }

            stream = client.stream_infer(asked())
            ids = [result.get_response().id async for result, error in stream if error is None]
            assert ids == ["0", "1", "2"]
            with pytest.raises(InferenceServerException) as caught:
                await client.infer("nope", [input_of("rows", ROWS)])
            assert caught.value.status() == "StatusCode.NOT_FOUND"

    asyncio.run(call())
