"""The messages of the gRPC services, in a descriptor pool of their own.

tritonclient and kserve both register a package ``inference`` in the pool of the process, and
the second one to be imported fails. Messages of a pool of their own meet neither: a program may
load a server and any of these clients.
"""

from __future__ import annotations

import zlib
from base64 import b64decode
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from renewal.serve.grpc_descriptor import DESCRIPTORS

INFERENCE, HEALTH = "inference.GRPCInferenceService", "grpc.health.v1.Health"


def files() -> list[Any]:
    """Return the descriptors of the ``.proto`` files, as messages."""
    return list(FileDescriptorSet.FromString(zlib.decompress(b64decode(DESCRIPTORS))).file)


def _pool() -> Any:
    pool = DescriptorPool()
    for each in files():
        pool.AddSerializedFile(each.SerializeToString())
    return pool


_POOL = _pool()


def message_class(name: str, package: str = "inference") -> Any:
    r"""Return the class of a message.

    Examples
    --------
    >>> message_class("ServerLiveResponse")(live=True).SerializeToString()
    b'\x08\x01'
    """
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))


def verb_messages(service: str) -> dict[str, tuple[Any, Any]]:
    """Return the classes of the request and the answer of each verb of a service."""
    found = _POOL.FindServiceByName(service)
    return {
        verb.name: (GetMessageClass(verb.input_type), GetMessageClass(verb.output_type))
        for verb in found.methods
    }


def data_type(name: str) -> int:
    """Return the number in a model's configuration of a datatype of the protocol.

    Examples
    --------
    >>> data_type("FP64"), data_type("BYTES")
    (12, 13)
    """
    names = _POOL.FindEnumTypeByName("inference.DataType").values_by_name
    number: int = names["TYPE_STRING" if name == "BYTES" else f"TYPE_{name}"].number
    return number
