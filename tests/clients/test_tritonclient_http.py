"""Triton's own HTTP clients, unmodified, against our server."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tritonclient.utils import InferenceServerException

ROWS = np.array([[0.5, -1.0, 2.0], [0.25, 1.5, -0.5], [1.0, 0.0, 0.0]])
COLUMNS = ("distance", "hour", "carrier_delay")


def _home_kind() -> Any:
    """Return the home of the server's tests."""
    path = Path(__file__).parents[1] / "serve" / "conftest.py"
    spec = spec_from_file_location("triton_home", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module.Home


def _mixed(home: Any) -> None:
    """Make a model of a text, a whole number and a float, whose labels are texts."""
    rng = np.random.default_rng(3)
    table = pa.table(
        {
            "carrier": rng.choice(["UA", "DL", "é"], size=80),
            "stops": rng.integers(0, 3, size=80),
            "delay": rng.normal(size=80),
        }
    )
    hot = ColumnTransformer(
        [("hot", OneHotEncoder(handle_unknown="ignore"), ["carrier"])], remainder="passthrough"
    )
    home.declare("mixed")
    mixed = home.version(
        "mixed",
        estimator=make_pipeline(hot, LogisticRegression()),
        labels=lambda score: np.where(score > 0, "late", "in time"),
        table=table,
    )
    home.champion(mixed)
    home.steady(mixed)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two versions of a model of floats, and one of columns of several kinds."""
    found = _home_kind()(tmp_path_factory.mktemp("home"))
    found.declare()
    first, second = found.version(seed=0), found.version(seed=1)
    found.champion(first)
    found.shadowed(first, second)
    _mixed(found)
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(home: Any) -> Any:
    return home.start()


@pytest.fixture
def client(server: Any) -> Iterator[triton.InferenceServerClient]:
    found = triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=8)
    yield found
    found.close()


@pytest.fixture(scope="module")
def expected(server: Any) -> Any:
    """Return what the champion says of the rows, asked without a protocol between."""
    generation = server._works.follower.slots["flights"].generation
    table = pa.table(dict(zip(COLUMNS, ROWS.T, strict=True)))
    return generation.first.runtime.predict(table)


def matrix(
    rows: Any = ROWS, datatype: str = "FP64", *, is_binary: bool = True
) -> list[triton.InferInput]:
    tensor = triton.InferInput("rows", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=is_binary)
    return [tensor]


def columns(rows: Any = ROWS, *, is_binary: bool = True) -> list[triton.InferInput]:
    found = []
    for name, column in zip(COLUMNS, rows.T, strict=True):
        tensor = triton.InferInput(name, [len(column), 1], "FP64")
        tensor.set_data_from_numpy(column.reshape(-1, 1), binary_data=is_binary)
        found.append(tensor)
    return found


def outputs(*, is_binary: bool) -> list[triton.InferRequestedOutput]:
    names = ("probability", "label")
    return [triton.InferRequestedOutput(name, binary_data=is_binary) for name in names]


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    said = client.get_server_metadata(query_params={"unknown": [1, 2]})
    assert said["name"] == "renewal"
    assert {"binary_tensor_data", "model_repository", "statistics"} < set(said["extensions"])
    metadata = client.get_model_metadata("flights")
    assert metadata["versions"] == ["1", "2"]
    assert metadata["outputs"] == [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probability", "datatype": "FP64", "shape": [-1, 2]},
    ]
    config = client.get_model_config("mixed", model_version="1")
    assert [each["data_type"] for each in config["input"]] == [
        "TYPE_STRING",
        "TYPE_INT64",
        "TYPE_FP64",
    ]
    assert config["output"][0]["data_type"] == "TYPE_STRING"
    assert config["max_batch_size"] > 1


@pytest.mark.parametrize("version", ["", "1", "2", "v2", "champion"])
def test_versions_and_aliases_are_honoured_in_every_url(
    client: triton.InferenceServerClient, version: str
) -> None:
    """Breaks when a URL's version is read and ignored: the champion is 1."""
    answers = {"": "1", "champion": "1", "v2": "2"}.get(version, version)
    assert client.is_model_ready("flights", version)
    assert client.get_model_metadata("flights", version)["name"] == "flights"
    config = client.get_model_config("flights", version)
    assert config["parameters"]["version"]["string_value"] == f"v{answers}"
    found = client.infer("flights", matrix(), model_version=version).get_response()
    assert found["model_version"] == answers
    stats = client.get_inference_statistics("flights", version)["model_stats"]
    assert [each["version"] for each in stats] == ([answers] if version else ["1", "2"])


def test_an_unknown_version_or_model_is_not_found(client: triton.InferenceServerClient) -> None:
    asked: list[Callable[[], Any]] = [
        lambda: client.infer("flights", matrix(), model_version="9"),
        lambda: client.get_model_metadata("flights", "9"),
        lambda: client.get_model_config("flights", "nobody"),
        lambda: client.get_inference_statistics("flights", "9"),
        lambda: client.infer("wrong", matrix()),
        lambda: client.get_model_metadata("wrong"),
        lambda: client.get_inference_statistics("wrong"),
        lambda: client.unload_model("wrong"),
    ]
    for each in asked:
        with pytest.raises(InferenceServerException, match=r"9|nobody|wrong") as caught:
            each()
        assert caught.value.status() == "404"
    assert not client.is_model_ready("flights", "9")
    assert not client.is_model_ready("wrong")


@pytest.mark.parametrize("comes_binary", [True, False])
@pytest.mark.parametrize("goes_binary", [True, False])
@pytest.mark.parametrize("form", [matrix, columns])
def test_every_form_in_and_out_says_the_same(
    client: triton.InferenceServerClient,
    expected: Any,
    form: Any,
    comes_binary: bool,  # noqa: FBT001  # pytest's parameters
    goes_binary: bool,  # noqa: FBT001  # pytest's parameters
) -> None:
    wanted = outputs(is_binary=comes_binary)
    found = client.infer("flights", form(is_binary=goes_binary), outputs=wanted)
    assert np.array_equal(found.as_numpy("probability"), expected)
    assert np.array_equal(found.as_numpy("label"), expected.argmax(axis=1))
    told = found.get_response()["outputs"]
    assert [each["name"] for each in told] == ["probability", "label"]
    assert all(("data" in each) != comes_binary for each in told)


def test_outputs_that_nobody_names_come_binary(
    client: triton.InferenceServerClient, expected: Any
) -> None:
    found = client.infer("flights", matrix())
    assert np.array_equal(found.as_numpy("probability"), expected)
    assert found.get_output("label")["parameters"] == {"binary_data_size": 24}
    assert found.as_numpy("nothing") is None


@pytest.mark.parametrize("going", [None, "gzip", "deflate"])
@pytest.mark.parametrize("coming", [None, "gzip", "deflate"])
@pytest.mark.parametrize("is_binary", [True, False])
def test_compression_both_ways(
    client: triton.InferenceServerClient,
    going: str | None,
    coming: str | None,
    is_binary: bool,  # noqa: FBT001  # pytest's parameter
) -> None:
    rows = np.repeat(ROWS, 100, axis=0)
    found = client.infer(
        "flights",
        matrix(rows, is_binary=is_binary),
        outputs=outputs(is_binary=is_binary),
        request_compression_algorithm=going,
        response_compression_algorithm=coming,
    )
    plain = client.infer("flights", matrix(rows)).as_numpy("probability")
    assert np.array_equal(found.as_numpy("probability"), plain)


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32"])
def test_short_floats(client: triton.InferenceServerClient, expected: Any, datatype: str) -> None:
    """The rows are exact in all of them."""
    kinds = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16, "FP32": np.float32}
    rows = ROWS.astype(kinds[datatype])
    found = client.infer("flights", matrix(rows, datatype)).as_numpy("probability")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("is_binary", [True, False])
def test_text_goes_in_and_comes_out(
    client: triton.InferenceServerClient,
    is_binary: bool,  # noqa: FBT001  # pytest's parameter
) -> None:
    carrier = triton.InferInput("carrier", [3], "BYTES")
    texts = np.array(["UA", "é", "unseen"], dtype=np.object_)
    carrier.set_data_from_numpy(texts, binary_data=is_binary)
    stops = triton.InferInput("stops", [3], "INT32")
    stops.set_data_from_numpy(np.array([0, 1, 2], np.int32), binary_data=is_binary)
    delay = triton.InferInput("delay", [3], "FP32")
    delay.set_data_from_numpy(np.array([0, 0.5, 9], np.float32), binary_data=is_binary)
    wanted = [triton.InferRequestedOutput("label", binary_data=is_binary)]
    found = client.infer("mixed", [delay, carrier, stops], outputs=wanted).as_numpy("label")
    labels = {each.decode() if isinstance(each, bytes) else each for each in found.tolist()}
    assert found.shape == (3,)
    assert labels <= {"late", "in time"}


def test_classes_come_in_order_with_their_names(
    client: triton.InferenceServerClient, expected: Any
) -> None:
    for is_binary in (True, False):
        wanted = [triton.InferRequestedOutput("probability", binary_data=is_binary, class_count=1)]
        found = client.infer("flights", matrix(), outputs=wanted).as_numpy("probability")
        texts = [each.decode() if isinstance(each, bytes) else each for each in found.ravel()]
        best = expected.argmax(axis=1)
        assert texts == [f"{row[at]:f}:{at}:{at}" for row, at in zip(expected, best, strict=True)]


@pytest.mark.parametrize(
    ("rows", "datatype", "says"),
    [
        (ROWS[:, :2], "FP64", r"shape \[n, 3\]"),
        (ROWS.reshape(3, 3, 1), "FP64", r"shape \[n\] or \[n, 1\]"),
        (ROWS[:0], "FP64", "at least one row"),
        (ROWS > 0, "BOOL", "a datatype of numbers"),
    ],
)
@pytest.mark.parametrize("is_binary", [True, False])
def test_wrong_shapes_and_types_are_said_in_our_words(
    client: triton.InferenceServerClient,
    rows: Any,
    datatype: str,
    says: str,
    is_binary: bool,  # noqa: FBT001  # pytest's parameter
) -> None:
    with pytest.raises(InferenceServerException, match=says) as caught:
        client.infer("flights", matrix(rows, datatype, is_binary=is_binary))
    assert caught.value.status() == "400"


def test_wrong_names_and_outputs_are_said_in_our_words(
    client: triton.InferenceServerClient,
) -> None:
    tensor = triton.InferInput("distanz", [3], "FP64")
    tensor.set_data_from_numpy(ROWS[:, 0])
    with pytest.raises(InferenceServerException, match="'distance'"):
        client.infer("flights", [tensor, *columns()[1:]])
    with pytest.raises(InferenceServerException, match="label, probability"):
        client.infer("flights", matrix(), outputs=[triton.InferRequestedOutput("logits")])
    shared = triton.InferInput("rows", [3, 3], "FP64")
    shared.set_shared_memory("region", 72)
    with pytest.raises(InferenceServerException, match="binary data"):
        client.infer("flights", [shared])


def test_ids_parameters_and_deadlines(client: triton.InferenceServerClient) -> None:
    found = client.infer(
        "flights",
        matrix(ROWS[:1]),
        request_id="mine",
        priority=3,
        timeout=30_000_000,
        parameters={"key": "flight-1", "sticky": "user", "event_time": 5, "unknown": True},
    ).get_response()
    assert found["id"] == "mine"
    assert found["parameters"]["version"] == "v1"
    with pytest.raises(InferenceServerException, match="'event_time'"):
        client.infer("flights", matrix(), parameters={"event_time": "soon"})
    with pytest.raises(InferenceServerException, match="deadline") as caught:
        client.infer("flights", matrix(), timeout=1)
    assert caught.value.status() == "504"


def test_requests_that_overlap_get_their_own_answers(
    client: triton.InferenceServerClient, expected: Any
) -> None:
    """A hundred have to do, for the client sleeps 10 ms for each of them."""
    waiting = [
        client.async_infer("flights", matrix(ROWS[at % 3 : at % 3 + 1]), request_id=str(at + 1))
        for at in range(100)
    ]
    for at, each in enumerate(waiting):
        found = each.get_result()
        assert found.get_response()["id"] == str(at + 1)
        np.testing.assert_array_equal(found.as_numpy("probability")[0], expected[at % 3])


def test_a_thousand_requests_at_once_by_asyncio(server: Any, expected: Any) -> None:
    async def ask() -> list[Any]:
        async with triton_aio.InferenceServerClient(
            server.url.removeprefix("http://"), conn_limit=50
        ) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("flights", "2")
            assert (await client.get_model_metadata("flights"))["name"] == "flights"
            assert (await client.get_model_config("flights"))["name"] == "flights"
            assert len(await client.get_model_repository_index()) == 3
            await client.load_model("flights")
            with pytest.raises(InferenceServerException, match="unknown model 'wrong'"):
                await client.infer("wrong", matrix())
            found = await asyncio.gather(
                *(
                    client.infer(
                        "flights", matrix(ROWS[at % 3 : at % 3 + 1]), request_id=str(at + 1)
                    )
                    for at in range(1000)
                )
            )
            packed = await client.infer(
                "flights",
                matrix(np.repeat(ROWS, 100, axis=0)),
                request_compression_algorithm="gzip",
                response_compression_algorithm="gzip",
            )
            assert packed.as_numpy("label").shape == (300,)
            # aiohttp asks for gzip by itself.
            large = await client.infer("flights", matrix(np.repeat(ROWS, 100, axis=0)))
            assert np.array_equal(large.as_numpy("label"), packed.as_numpy("label"))
            assert await client.get_inference_statistics("flights")
            return found

    for at, each in enumerate(asyncio.run(ask())):
        assert each.get_response()["id"] == str(at + 1)
        np.testing.assert_array_equal(each.as_numpy("probability")[0], expected[at % 3])


def test_the_index_lists_every_loaded_version(client: triton.InferenceServerClient) -> None:
    found = [
        (each["name"], each["version"], each["state"])
        for each in client.get_model_repository_index()
    ]
    assert found == [
        ("flights", "1", "READY"),
        ("flights", "2", "READY"),
        ("mixed", "1", "READY"),
    ]


def test_unloading_and_loading_under_load(
    server: Any, client: triton.InferenceServerClient
) -> None:
    """Breaks when a request under way is dropped, or another model is touched."""
    statuses: set[str] = set()
    is_over = threading.Event()

    async def ask() -> None:
        address = server.url.removeprefix("http://")
        async with triton_aio.InferenceServerClient(address) as busy:
            while not is_over.is_set():
                for model, tensors in (("flights", matrix()), ("mixed", None)):
                    try:
                        if tensors is None:
                            assert await busy.is_model_ready(model)
                        else:
                            await busy.infer(model, tensors)
                    except InferenceServerException as error:
                        statuses.add(str(error.status()))

    thread = threading.Thread(target=asyncio.run, args=(ask(),))
    thread.start()
    try:
        for _ in range(3):
            client.unload_model("flights", unload_dependents=True)
            assert not client.is_model_ready("flights")
            assert client.is_server_ready()
            states = {
                (each["name"], each["state"], each["reason"])
                for each in client.get_model_repository_index()
            }
            assert ("flights", "UNAVAILABLE", "unloaded") in states
            with pytest.raises(InferenceServerException, match="unloaded") as caught:
                client.infer("flights", matrix())
            assert caught.value.status() == "503"
            client.load_model("flights")
            assert client.is_model_ready("flights")
            assert client.infer("flights", matrix()).get_response()["model_version"] == "1"
    finally:
        is_over.set()
        thread.join(timeout=60)
    assert not thread.is_alive()
    assert statuses <= {"503"}


def test_what_is_loaded_comes_from_the_registry(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="failed to load 'wrong'") as caught:
        client.load_model("wrong")
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match=r"failed to load 'flights'.*registry"):
        client.load_model(
            "flights", config='{"backend": "python"}', files={"file:../../etc/passwd": b"x"}
        )
    client.load_model("flights", config='{"max_batch_size": 3}')
    assert client.is_model_ready("flights")


def test_statistics_count_rows_requests_and_batches(client: triton.InferenceServerClient) -> None:
    def of_second() -> dict[str, Any]:
        found: dict[str, Any] = client.get_inference_statistics("flights", "2")["model_stats"][0]
        return found

    before = of_second()
    for _ in range(4):
        client.infer("flights", matrix(), model_version="2")
    after = of_second()
    assert after["inference_count"] - before["inference_count"] == 12
    assert after["execution_count"] - before["execution_count"] == 4
    success = after["inference_stats"]["success"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == 4
    assert success["ns"] > before["inference_stats"]["success"]["ns"]
    assert after["last_inference"] > 0
    assert {"name", "version", "batch_stats"} <= set(after)
    everything = client.get_inference_statistics()["model_stats"]
    assert {each["name"] for each in everything} == {"flights", "mixed"}


def test_as_triton_it_says_what_its_examples_look_for(home: Any) -> None:
    """As `simple_http_health_metadata.py` and `simple_http_model_control.py` do."""
    url = home.start(compat="triton").url.removeprefix("http://")
    with triton.InferenceServerClient(url) as client:
        assert client.get_server_metadata()["name"] == "triton"
        with pytest.raises(InferenceServerException, match="Request for unknown model"):
            client.get_model_metadata("wrong_model_name")
        with pytest.raises(InferenceServerException, match="failed to load"):
            client.load_model("wrong_model_name")
        assert client.get_model_metadata("flights", query_params={"test_1": 1, "test_2": 2})


def test_a_body_may_be_made_and_read_by_the_client_alone(expected: Any) -> None:
    body, n_json = triton.InferenceServerClient.generate_request_body(matrix())
    assert n_json is not None
    assert len(body) == n_json + ROWS.nbytes
    assert expected.shape == (3, 2)
