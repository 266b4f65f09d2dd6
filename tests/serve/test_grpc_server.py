"""The gRPC server on a real port, by calls that are made by hand."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from renewal.core.errors import Missing, Unavailable
from renewal.serve.grpc_codec import ModelInferRequest
from renewal.serve.grpc_messages import HEALTH, INFERENCE, verb_messages
from renewal.serve.grpc_optional import grpc_listener
from renewal.serve.server import Server
from tests.serve.conftest import COLUMNS, Home

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


class Caller:
    """Calls by hand: bytes out, bytes in, no retries, no client of anybody's."""

    def __init__(self, port: int) -> None:
        # No retries, so that a refusal is seen; a connection of its own.
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)

    def verb(self, name: str, service: str = INFERENCE) -> Any:
        return self.channel.unary_unary(f"/{service}/{name}")

    def ask(self, verb: str, service: str = INFERENCE, /, **said: Any) -> Any:
        request, answer = verb_messages(service)[verb]
        message = request(**said).SerializeToString()
        return answer.FromString(self.verb(verb, service)(message, timeout=20))

    def infer(self, message: Any = None, **more: Any) -> tuple[Any, dict[str, str]]:
        """Return the answer and the trailing metadata."""
        sent = (message or rows()).SerializeToString()
        more = {"timeout": 20, **more}
        answer, call = self.verb("ModelInfer").with_call(sent, **more)
        found = verb_messages(INFERENCE)["ModelInfer"][1].FromString(answer)
        return found, dict(call.trailing_metadata())

    def close(self) -> None:
        self.channel.close()


def rows(n_rows: int = 1, model: str = "flights", **said: Any) -> Any:
    """Return a message with made-up rows, typed."""
    message = ModelInferRequest(model_name=model, **said)
    tensor = message.inputs.add(name="rows", datatype="FP64", shape=[n_rows, len(COLUMNS)])
    tensor.contents.fp64_contents.extend(np.linspace(-1, 1, n_rows * len(COLUMNS)))
    return message


@contextmanager
def refused(code: grpc.StatusCode, said: str = "") -> Iterator[list[grpc.Call]]:
    """Expect a status, with words in its message."""
    found: list[grpc.Call] = []
    with pytest.raises(grpc.RpcError) as caught:
        yield found
    error: Any = caught.value
    assert (error.code(), said in error.details()) == (code, True), error.details()
    found.append(error)


@pytest.fixture(scope="module")
def server(shared_home: Home) -> Server:
    shared_home.declare()
    shared_home.champion(shared_home.version())
    return shared_home.start(grpc_port=0, max_body_bytes=1_000_000)


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    with closing(Caller(server.grpc_port)) as found:
        yield found


@pytest.fixture
def new_caller() -> Iterator[Callable[[Server], Caller]]:
    made: list[Caller] = []

    def make(server: Server) -> Caller:
        made.append(Caller(server.grpc_port))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_an_answer_says_who_gave_it(caller: Caller) -> None:
    """Breaks when version, arm or prediction id are missing where a client looks for them."""
    answer, trailers = caller.infer(rows(2, id="mine"))
    assert (answer.model_name, answer.model_version, answer.id) == ("flights", "1", "mine")
    said = {name: each.string_param for name, each in answer.parameters.items()}
    assert said["version"] == trailers["x-renewal-version"] == "v1"
    assert said["arm"] == trailers["x-renewal-arm"] == "champion"
    assert said["prediction_id"] == trailers["x-renewal-prediction-id"]
    assert len(said["prediction_id"]) == 26
    outputs = {each.name: each for each in answer.outputs}
    assert list(outputs["probability"].shape) == [2, 2]
    assert len(outputs["label"].contents.int64_contents) == 2


def test_typed_and_raw_get_the_same_answer_in_their_own_form(caller: Caller) -> None:
    typed, _ = caller.infer()
    message = rows()
    values = np.array(message.inputs[0].contents.fp64_contents)
    message.inputs[0].ClearField("contents")
    message.raw_input_contents.append(values.tobytes())
    raw, _ = caller.infer(message)
    probability = typed.outputs[1].contents.fp64_contents
    assert np.frombuffer(raw.raw_output_contents[1]).tolist() == list(probability)
    asked = rows()
    asked.parameters["binary_data_output"].bool_param = True
    assert caller.infer(asked)[0].raw_output_contents[1] == raw.raw_output_contents[1]


def test_versions_and_aliases_are_honoured(caller: Caller, shared_home: Home) -> None:
    for named in ("1", "v1"):
        assert caller.infer(rows(model_version=named))[1]["x-renewal-arm"] == "pinned"
    with refused(grpc.StatusCode.NOT_FOUND, "9"):
        caller.infer(rows(model_version="9"))
    assert caller.infer(rows(model_version="champion"))[0].model_version == "1"
    assert shared_home.registry.aliases("flights")["champion"]


def test_what_is_wrong_has_its_status(caller: Caller) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, "nope"):
        caller.infer(rows(model="nope"))
    with refused(grpc.StatusCode.NOT_FOUND):
        caller.infer(rows(model=""))
    message = rows()
    message.inputs[0].name = "x"
    message.inputs[0].shape[:] = [3]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "column"):
        caller.infer(message)
    message = rows()
    message.outputs.add(name="score")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "outputs among"):
        caller.infer(message)
    for verb in ("ModelInfer", "ModelMetadata", "RepositoryModelLoad"):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "bytes that are none"):
            caller.verb(verb)(b"\xff\xff\xff", timeout=20)
    with refused(grpc.StatusCode.UNIMPLEMENTED):
        caller.verb("TraceSetting")(b"", timeout=20)
    with refused(grpc.StatusCode.NOT_FOUND):
        caller.ask("ModelMetadata", name="nope")
    with refused(grpc.StatusCode.NOT_FOUND):
        caller.ask("ModelReady", name="nope")
    assert caller.infer()[0].model_version == "1"  # the worker lives


def test_a_name_of_a_megabyte_comes_back_cut(caller: Caller) -> None:
    """Breaks when an error quotes its input whole: no client takes such a header."""
    with refused(grpc.StatusCode.NOT_FOUND, "..."):
        caller.infer(rows(model="ä" * 300_000))


def test_a_message_that_is_too_large_is_refused(caller: Caller) -> None:
    """Breaks when the limit of HTTP bodies does not hold here, or the connection breaks."""
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"):
        caller.infer(rows(60_000))
    packed = caller.verb("ModelInfer")
    zeros = rows()
    zeros.raw_input_contents.append(bytes(100_000_000))
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        packed(zeros.SerializeToString(), timeout=20, compression=grpc.Compression.Gzip)
    assert len(gzip.compress(bytes(100_000_000))) < 1_000_000
    assert caller.infer()[0].model_version == "1"


def test_compressed_messages_are_read(caller: Caller) -> None:
    answer, _ = caller.infer(rows(1000), compression=grpc.Compression.Gzip)
    assert list(answer.outputs[0].shape) == [1000]


def test_calls_are_counted_with_those_of_http(caller: Caller, server: Server) -> None:
    """Breaks when an alarm on refused or failed requests does not see gRPC."""
    before = server.stats()["by_status"]
    caller.infer()
    with refused(grpc.StatusCode.NOT_FOUND):
        caller.infer(rows(model="nope"))
    after = server.stats()
    assert after["by_status"][200] == before.get(200, 0) + 1
    assert after["by_status"][404] == before.get(404, 0) + 1
    wait_until(lambda: server.stats()["n_open"] == 0)  # it is, a moment after its answer


def test_health_is_what_readiness_is(caller: Caller) -> None:
    for service in ("", INFERENCE, HEALTH):
        assert caller.ask("Check", HEALTH, service=service).status == SERVING
    with refused(grpc.StatusCode.NOT_FOUND):
        caller.ask("Check", HEALTH, service="else")
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        caller.verb("Check", HEALTH)(b"\xff", timeout=20)
    watch = caller.channel.unary_stream(f"/{HEALTH}/Watch")
    request, answer = verb_messages(HEALTH)["Watch"]
    unknown = watch(request(service="else").SerializeToString(), timeout=20)
    assert answer.FromString(next(unknown)).status == SERVICE_UNKNOWN
    unknown.cancel()


def test_a_watch_hears_of_the_drain_first(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when a load balancer hears of a stop only by calls that fail, or keeps it waiting."""
    home.declare()
    home.champion(home.version())
    server = home.start(grpc_port=0, notice_s=0.5, drain_s=10.0)
    caller = new_caller(server)
    request, answer = verb_messages(HEALTH)["Watch"]
    watch = caller.channel.unary_stream(f"/{HEALTH}/Watch")(request().SerializeToString())
    assert answer.FromString(next(watch)).status == SERVING
    stopping = threading.Thread(target=server.stop)
    started_s = time.monotonic()
    stopping.start()
    assert answer.FromString(next(watch)).status == NOT_SERVING
    assert caller.infer()[0].model_version == "1"  # still answered
    assert not caller.ask("ServerReady").ready
    assert list(watch) == []
    stopping.join(20)
    assert not stopping.is_alive()
    assert time.monotonic() - started_s < 10.0  # the open watch did not hold it


def test_a_call_under_way_is_answered_before_the_server_stops(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when a stop cuts calls off."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", grpc_port=0, drain_s=10.0)
    caller = new_caller(server)
    gate = threading.Event()
    server._works.pool.submit(gate.wait, 30)  # its only thread: nothing is predicted
    calls = [caller.verb("ModelInfer").future(rows().SerializeToString()) for _ in range(8)]
    wait_until(lambda: server.stats()["n_open"] == 8)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    wait_until(lambda: server._works.is_draining)
    gate.set()
    assert all(each.result(20) for each in calls)
    stopping.join(20)
    assert not stopping.is_alive()


def wait_until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_a_deadline_and_a_cancelled_call_leave_the_queue(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when rows that nobody waits for are predicted, or a call outlives its deadline."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", grpc_port=0)
    caller = new_caller(server)
    gate = threading.Event()
    server._works.pool.submit(gate.wait, 30)  # its only thread: nothing is predicted
    try:
        busy = caller.verb("ModelInfer").future(rows().SerializeToString())
        wait_until(lambda: server.stats()["n_open"] == 1)
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
            caller.infer(timeout=0.2)
        wait_until(lambda: server.stats()["n_open"] == 1)
        waiting = caller.verb("ModelInfer").future(rows().SerializeToString())
        wait_until(lambda: server.stats()["n_open"] == 2)
        waiting.cancel()
        wait_until(lambda: server.stats()["n_open"] == 1)
        assert server.stats()["n_gone"] >= 1
        message = rows()
        message.parameters["timeout"].int64_param = 200_000  # microseconds, as Triton's clients
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "deadline"):
            caller.infer(message)
    finally:
        gate.set()
    assert busy.result(20)
    server.flush()
    assert len(home.logged()[0]) == 1


def test_a_full_queue_says_when_to_come_again(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when a call waits where an HTTP request would be told 429."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", grpc_port=0, max_queue_rows=2)
    caller = new_caller(server)
    gate = threading.Event()
    server._works.pool.submit(gate.wait, 30)  # its only thread: nothing is predicted
    try:
        # The first is handed to the thread that waits, two more fill the queue.
        calls = []
        for n_open in range(1, 4):
            calls.append(caller.verb("ModelInfer").future(rows().SerializeToString()))
            wait_until(lambda n_open=n_open: server.stats()["n_open"] == n_open)  # type: ignore[misc]  # a lambda with a default has no type
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "waiting") as full:
            caller.infer()
        assert dict(full[0].trailing_metadata()) == {"retry-after": "1"}
    finally:
        gate.set()
    assert all(each.result(20) for each in calls)


def test_one_sticky_value_sees_one_arm(home: Home, new_caller: Callable[[Server], Caller]) -> None:
    """Breaks when the sticky header of HTTP is not read from a call's metadata."""
    home.declare()
    one, two = home.version(), home.version(seed=1)
    home.champion(one)
    home.canary(one, two, 0.5, shadow=False)
    caller = new_caller(home.start(grpc_port=0))
    arms = set()
    for user in range(12):
        metadata = (("x-renewal-sticky", f"user {user}"),)
        seen = {caller.infer(rows(4), metadata=metadata)[1]["x-renewal-arm"] for _ in range(3)}
        assert len(seen) == 1
        arms |= seen
    assert arms == {"champion", "candidate"}


def test_a_stream_answers_each_request_in_its_order(caller: Caller) -> None:
    """Breaks when a wrong request ends the stream, or answers come in another order."""
    stream = caller.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
    answer = verb_messages(INFERENCE)["ModelStreamInfer"][1]
    final = rows(1, id="C")
    final.parameters["triton_enable_empty_final_response"].bool_param = True
    asked = [rows(1, id="A"), rows(1, model="nope"), rows(2, id="B"), final]
    sent = [*(each.SerializeToString() for each in asked), b"\xff"]
    answers = [answer.FromString(each) for each in stream(iter(sent), timeout=20)]
    ids = [each.infer_response.id for each in answers]
    assert ids == ["A", "", "B", "C", ""]
    assert "nope" in answers[1].error_message
    assert "bytes that are none" in answers[4].error_message
    assert answers[3].infer_response.parameters["triton_final_response"].bool_param
    assert not answers[0].error_message


def test_requests_of_a_stream_wait_together_and_leave_together(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when a stream waits for each answer, so that nothing can be predicted together."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", grpc_port=0)
    caller = new_caller(server)
    stream = caller.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
    kind = verb_messages(INFERENCE)["ModelStreamInfer"][1]
    gate = threading.Event()
    server._works.pool.submit(gate.wait, 30)  # its only thread: nothing is predicted
    try:
        sent = [rows(id=str(at)).SerializeToString() for at in range(100)]
        gone = stream(iter(sent))
        wait_until(lambda: server.stats()["n_open"] == 64)  # and no more than that
        gone.cancel()
        wait_until(lambda: server.stats()["n_open"] == 0)
        answers = stream(iter(sent), timeout=60)
        wait_until(lambda: server.stats()["n_open"] == 64)
    finally:
        gate.set()
    ids = [kind.FromString(each).infer_response.id for each in answers]
    assert ids == [str(at) for at in range(100)]


def test_kserves_form_of_the_repository_is_understood(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when KServe's client, whose model is field 1, unloads nothing and is told so."""
    home.declare()
    home.champion(home.version())
    caller = new_caller(home.start(grpc_port=0))
    # KServe's RepositoryModelUnloadRequest{model_name = 1}, and its answers {1: name, 2: true}.
    sent, done = b"\x0a\x07flights", b"\x0a\x07flights\x10\x01"
    assert caller.verb("RepositoryModelUnload")(sent, timeout=20) == done
    assert not caller.ask("ModelReady", name="flights").ready
    with refused(grpc.StatusCode.UNAVAILABLE) as away:
        caller.infer()
    trailers = dict(away[0].trailing_metadata())
    assert int(trailers["grpc-retry-pushback-ms"]) > 0
    assert caller.verb("RepositoryModelLoad")(sent, timeout=20) == done
    assert caller.infer()[0].model_version == "1"
    # Triton's form is answered with nothing.
    assert caller.verb("RepositoryModelLoad")(b"\x12\x07flights", timeout=20) == b""
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        caller.verb("RepositoryModelLoad")(b"", timeout=20)


def test_tokens_are_asked_for_in_metadata(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when the second port is a way around the first one's guard."""
    home.declare()
    home.champion(home.version())
    text = home.registry.add_token("app", ["predict"])
    caller = new_caller(home.start(grpc_port=0))
    with refused(grpc.StatusCode.UNAUTHENTICATED, "token"):
        caller.infer()
    with refused(grpc.StatusCode.UNAUTHENTICATED):
        caller.ask("ModelMetadata", name="flights")
    mine = (("authorization", f"Bearer {text}"),)
    assert caller.infer(metadata=mine)[0].model_version == "1"
    with refused(grpc.StatusCode.PERMISSION_DENIED, "operate"):
        caller.verb("RepositoryModelUnload")(b"\x0a\x07flights", timeout=20, metadata=mine)
    # Who asks these has no token.
    assert caller.ask("ServerLive").live
    assert caller.ask("ServerReady").ready
    assert caller.ask("Check", HEALTH).status == SERVING
    assert caller.ask("ModelReady", name="flights").ready


def test_an_address_that_is_taken_is_refused_at_the_start(server: Server, home: Home) -> None:
    with pytest.raises(Unavailable, match="for gRPC"):
        home.start(grpc_port=server.grpc_port)


def test_without_the_extra_the_option_names_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    """Breaks when a server without grpcio does not start, or says only that a module is missing."""

    def missing(module: str) -> Any:
        raise ModuleNotFoundError(f"no grpc for {module}", name="grpc")

    monkeypatch.setattr("renewal.serve.grpc_optional.import_module", missing)
    with pytest.raises(Missing, match=r"renewal\[grpc\]"):
        grpc_listener(server._works)
    with pytest.raises(Missing):
        home.start(grpc_port=0)
    assert home.start().url  # nobody asked for gRPC


def test_500_calls_at_once_are_all_answered(server: Server) -> None:
    """Breaks when calls block one another, or an answer goes to another's call."""

    async def call_all() -> list[tuple[int, list[int]]]:
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{server.grpc_port}"
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            verb = channel.unary_unary(f"/{INFERENCE}/ModelInfer")

            async def one(at: int) -> tuple[int, list[int]]:
                n_rows = 1 + at % 5
                data = await verb(rows(n_rows, id=str(at)).SerializeToString(), timeout=60)
                found = verb_messages(INFERENCE)["ModelInfer"][1].FromString(data)
                return int(found.id), list(found.outputs[1].shape)

            return await asyncio.gather(*(one(at) for at in range(500)))

    answers = asyncio.run(call_all())
    assert answers == [(at, [1 + at % 5, 2]) for at in range(500)]


def test_no_call_fails_while_versions_are_swapped(
    home: Home, new_caller: Callable[[Server], Caller]
) -> None:
    """Breaks when a swap drops what is under way, or answers with a version that is gone."""
    home.declare()
    versions = [home.version(seed=seed) for seed in range(3)]
    home.champion(versions[0])
    server = home.start(grpc_port=0)
    caller = new_caller(server)
    is_over = threading.Event()
    seen: list[str] = []
    failures: list[BaseException] = []

    def load() -> None:
        while not is_over.is_set():
            try:
                seen.append(caller.infer(rows(2))[0].model_version)
            except grpc.RpcError as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for each in threads:
        each.start()
    for at in range(1, 6):
        server.wait_for("flights", home.steady(versions[at % 3]))
        n_seen = len(seen)
        wait_until(lambda n_seen=n_seen: len(seen) > n_seen + 8)  # type: ignore[misc]  # a lambda with a default has no type
    is_over.set()
    for each in threads:
        each.join(20)
    assert not failures
    assert set(seen) == {"1", "2", "3"}
