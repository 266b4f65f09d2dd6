"""The messages: the .proto files, their descriptors and the clients' own say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

import renewal.serve
from renewal.serve.grpc_messages import HEALTH, INFERENCE, data_type, files, verb_messages

FOLDER = Path(renewal.serve.__path__[0])


def fields_of(message: object, name: str = "") -> dict[str, tuple[int, int]]:
    """Return the numbers and types of the fields of a descriptor and those within it."""
    found = {
        f"{name}.{each.name}": (each.number, each.type)
        for each in message.field  # type: ignore[attr-defined]  # a descriptor has no types
    }
    for each in message.nested_type:  # type: ignore[attr-defined]  # as above
        found |= fields_of(each, f"{name}.{each.name}")
    return found


def of_file(file: object) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for each in file.message_type:  # type: ignore[attr-defined]  # as above
        found |= fields_of(each, each.name)
    return found


@pytest.fixture
def triton() -> dict[str, tuple[int, int]]:
    from_client: dict[str, tuple[int, int]] = {}
    for module in (service_pb2, model_config_pb2):
        copy = type(files()[0])()
        module.DESCRIPTOR.CopyToProto(copy)
        from_client |= of_file(copy)
    return from_client


def test_every_field_has_tritons_number_and_type(triton: dict[str, tuple[int, int]]) -> None:
    """Breaks when a number is mistyped: clients would then read one field as another."""
    ours = of_file(files()[0])
    kserves = {
        "RepositoryModelLoadResponse.model_name": (1, 9),
        "RepositoryModelLoadResponse.isLoaded": (2, 8),
        "RepositoryModelUnloadResponse.model_name": (1, 9),
        "RepositoryModelUnloadResponse.isUnloaded": (2, 8),
    }
    assert len(ours) > 80
    assert {name: ours[name] for name in kserves} == kserves
    assert {name: ours[name] for name in ours if name not in kserves} == {
        name: triton.get(name) for name in ours if name not in kserves
    }


@pytest.mark.parametrize("name", ["grpc_inference", "grpc_health"])
def test_the_descriptors_are_those_of_the_proto_files(name: str) -> None:
    """Breaks when a .proto file was edited and `grpc_descriptor.py` was not made again."""
    text = re.sub(r"//.*", "", (FOLDER / f"{name}.proto").read_text())
    file = next(each for each in files() if each.name == f"{name}.proto")
    numbered = {
        (found.group(1), int(found.group(2))) for found in re.finditer(r"(\w+) = (\d+);", text)
    }
    values = {
        (value.name, value.number)
        for kind in (*file.enum_type, *(e for m in file.message_type for e in m.enum_type))
        for value in kind.value
    }
    entries = {("key", 1), ("value", 2)}  # of maps, which a .proto file does not spell out
    fields = {(key.rpartition(".")[2], number) for key, (number, _) in of_file(file).items()}
    assert numbered | entries == values | fields | entries
    verbs = {verb.name for service in file.service for verb in service.method}
    assert set(re.findall(r"rpc (\w+)\(", text)) == verbs


def test_services_are_known_by_their_verbs() -> None:
    assert "ModelInfer" in verb_messages(INFERENCE)
    assert set(verb_messages(HEALTH)) == {"Check", "Watch"}
    request, answer = verb_messages(INFERENCE)["ServerLive"]
    assert answer.FromString(answer(live=True).SerializeToString()).live
    assert request().SerializeToString() == b""
    assert [data_type(name) for name in ("BOOL", "FP16", "BYTES", "BF16")] == [1, 10, 13, 14]


def test_our_messages_are_no_clients_messages() -> None:
    """Breaks when they are registered in the pool of the process, where clients have theirs."""
    ours = verb_messages(INFERENCE)["ModelInfer"][0]
    theirs = service_pb2.ModelInferRequest
    assert ours.DESCRIPTOR.full_name == theirs.DESCRIPTOR.full_name
    assert ours.DESCRIPTOR.file.pool is not theirs.DESCRIPTOR.file.pool
    sent = theirs(model_name="flights", raw_input_contents=[b"1"]).SerializeToString()
    assert ours.FromString(sent).raw_input_contents == [b"1"]
