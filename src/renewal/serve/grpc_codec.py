"""Messages of gRPC to queries, and outcomes to messages.

Typed contents and raw ones become the same cells as the tensors of REST, and are read by the
same code from there on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from renewal.core.errors import Invalid
from renewal.serve.grpc_messages import message_class
from renewal.serve.oip import InferRequest
from renewal.serve.oip_binary import bytes_of, values_of
from renewal.serve.oip_input import WHO, Tensor, Values, Wanted, bad_tensor
from renewal.serve.oip_output import BINARY, as_wanted, check_wanted, datatype_of
from renewal.serve.outcome import Outcome

ModelInferRequest = message_class("ModelInferRequest")
ModelInferResponse = message_class("ModelInferResponse")

# In which field the values of a datatype lie. 16-bit floats have none: they come raw only.
_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_DTYPES: Mapping[str, str] = {
    "BOOL": "?",
    **{f"INT{8 * n}": f"i{n}" for n in (1, 2, 4, 8)},
    **{f"UINT{8 * n}": f"u{n}" for n in (1, 2, 4, 8)},
    "FP32": "f4",
    "FP64": "f8",
}
_MAX_RANK, _MAX_SIZE = 32, 2**31 - 1
_SHARED = "shared_memory_region"


def parse(data: bytes, kind: Any) -> Any:
    """Read a message.

    Raises
    ------
    Invalid
        On bytes that are no message of this kind.
    """
    try:
        return kind.FromString(data)
    # protobuf's own DecodeError, whose module differs between its implementations
    except Exception as error:
        raise Invalid(
            "the server",
            needs=f"a message {kind.DESCRIPTOR.full_name}",
            came=f"{len(data)} bytes that are none",
            todo="Use a client of the Open Inference Protocol.",
        ) from error


def infer_request(message: Any) -> tuple[InferRequest, list[Values]]:
    """Return what a message asks, and the cells of each of its inputs.

    Parameters
    ----------
    message : ModelInferRequest
        Its inputs either all with typed contents, or all in ``raw_input_contents``.

    Raises
    ------
    Invalid
        Where contents, datatypes and shapes do not go together, or something is asked for that
        is not offered.

    Examples
    --------
    >>> message = ModelInferRequest()
    >>> _ = message.inputs.add(name="x", datatype="FP32", shape=[2])
    >>> message.raw_input_contents.append(bytes(8))
    >>> infer_request(message)[1][0].tolist()
    [0.0, 0.0]
    """
    raw = message.raw_input_contents
    if not message.inputs:
        raise Invalid(
            WHO, needs="at least one input", came="none", todo="Send the feature columns."
        )
    tensors = [_tensor(each) for each in message.inputs]
    if raw and len(raw) != len(tensors):
        raise Invalid(
            WHO,
            needs="one element of raw_input_contents for each input",
            came=f"{len(raw)} for {len(tensors)} inputs",
            todo="Send all inputs raw, or all as typed contents.",
        )
    values = [
        _raw(tensor, each, raw[at]) if raw else _typed(tensor, each.contents)
        for at, (tensor, each) in enumerate(zip(tensors, message.inputs, strict=True))
    ]
    wanted = [Wanted(each.name, _parameters(each.parameters)) for each in message.outputs]
    check_wanted(wanted)
    request = InferRequest(
        tensors, message.id or None, _parameters(message.parameters), wanted or None
    )
    return request, values


def infer_response(
    outcome: Outcome, wanted: Sequence[Wanted] | None = None, *, is_raw: bool = False
) -> Any:
    """Write an outcome as a message.

    Parameters
    ----------
    outcome : Outcome
        The answer.
    wanted : sequence of Wanted or None, default None
        How the client wants each output, checked; None: all alike.
    is_raw : bool, default False
        Whether all go into ``raw_output_contents``; so they do where one of them is wanted
        binary, for the protocol knows no mixture.
    """
    asked = {each.name: each.parameters or {} for each in wanted or ()}
    is_raw = is_raw or any(each.get(BINARY) is True for each in asked.values())
    message = ModelInferResponse(
        model_name=outcome.model, model_version=outcome.number, id=outcome.request_id
    )
    for key, value in outcome.parameters.items():
        message.parameters[key].string_param = value
    for name, array in outcome.outputs.items():
        values = as_wanted(name, array, asked.get(name, {}), outcome.classes)
        datatype = datatype_of(values)
        tensor = message.outputs.add(name=name, datatype=datatype, shape=values.shape)
        if is_raw:
            message.raw_output_contents.append(bytes_of(values, datatype))
        else:
            found = values.ravel().tolist()
            if datatype == "BYTES":
                found = [each if isinstance(each, bytes) else str(each).encode() for each in found]
            getattr(tensor.contents, _FIELDS[datatype]).extend(found)
    return message


def _tensor(given: Any) -> Tensor:
    tensor = Tensor(
        given.name, list(given.shape), given.datatype, parameters=_parameters(given.parameters)
    )
    shape = tensor.shape
    if len(shape) > _MAX_RANK or any(not 0 <= size <= _MAX_SIZE for size in shape):
        needs = f"at most {_MAX_RANK} sizes from 0 to {_MAX_SIZE}"
        raise bad_tensor(tensor, needs, f"shape {shape[: _MAX_RANK + 1]}")
    if tensor.parameters and _SHARED in tensor.parameters:
        raise bad_tensor(tensor, "no shared memory, which is not offered", repr(_SHARED))
    return tensor


def _raw(tensor: Tensor, given: Any, data: bytes) -> Values:
    if given.HasField("contents"):
        raise bad_tensor(tensor, "either typed or raw contents", "both")
    return values_of(tensor, data)


def _typed(tensor: Tensor, contents: Any) -> Values:
    field = _FIELDS.get(tensor.datatype)
    if field is None:
        needs = f"typed contents of {', '.join(_FIELDS)}"
        came = f"{tensor.datatype[:64]!r} (FP16 and BF16 come in raw_input_contents)"
        raise bad_tensor(tensor, needs, came)
    found = getattr(contents, field)
    n_cells = prod(tensor.shape)
    if len(found) != n_cells:
        needs = f"{n_cells} values in {field} for {tensor.datatype} of shape {tensor.shape}"
        raise bad_tensor(tensor, needs, f"{len(found)}")
    if tensor.datatype == "BYTES":
        return list(found)
    dtype = np.dtype(_DTYPES[tensor.datatype])
    try:
        # Of Python's integers numpy takes none that its type does not hold.
        return np.fromiter(found, dtype, n_cells)
    except OverflowError as error:
        raise bad_tensor(tensor, f"values of {tensor.datatype}", f"another: {error}") from error


def _parameters(given: Mapping[str, Any]) -> dict[str, Any] | None:
    if not given:
        return None
    found = {}
    for key, value in given.items():
        chosen = value.WhichOneof("parameter_choice")
        if chosen is not None:
            found[key] = getattr(value, chosen)
    return found
