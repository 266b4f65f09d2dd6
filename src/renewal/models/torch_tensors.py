"""Named tensors and one text as bytes: the safetensors format, which can hold no code.

The format is a header of JSON and the bytes. It is written here so that equal tensors give equal
files, a checkpoint is streamed instead of being built in memory first, and a disk that is full
is told from a file that is wrong. Tests read it with the library that owns the format.

References
----------
.. [1] https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from renewal.core.errors import Invalid, Unavailable

_TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_LENGTH = struct.Struct("<Q")
_SAID = "renewal"
_BROKEN = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


def tensors_to_bytes(tensors: Mapping[str, Tensor], said: Mapping[str, Any], *, who: str) -> bytes:
    """Return tensors and JSON values as one safetensors file.

    Equal tensors and values give equal bytes: names are sorted, and nothing else is written.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        On any device.
    said : mapping
        JSON values, kept as one text in the header.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        On a type that the format does not know, such as complex numbers.

    Examples
    --------
    >>> data = tensors_to_bytes({"weight": torch.ones(2, 3)}, {"epochs": 3}, who="demo")
    >>> tensors, said = tensors_from_bytes(data, who="demo")
    >>> tensors["weight"].shape, said
    (torch.Size([2, 3]), {'epochs': 3})
    """
    return b"".join(_parts(tensors, said, who))


def tensors_from_bytes(data: bytes, *, who: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `tensors_to_bytes` wrote; the tensors own their memory.

    Raises
    ------
    Invalid
        On bytes of another format, or cut off, or whose header does not fit the rest.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        head = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        said = dict(json.loads(head.pop("__metadata__")[_SAID]))
        body = memoryview(data)[_LENGTH.size + length :]
        found = dict(_tensors(head, body))
    except (*_BROKEN, struct.error) as error:
        raise _foreign(data, str(error), who) from error
    n_read = sum(each.numel() * each.element_size() for each in found.values())
    if len(found) < len(head) or n_read < len(body):
        raise _foreign(data, f"tensors that do not lie where the header says: {len(found)}", who)
    return found, said


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], said: Mapping[str, Any], *, who: str
) -> None:
    """Write tensors and JSON values into a file, whole or not at all.

    Parameters
    ----------
    path : Path
        Replaced when everything has reached the disk; until then it stays as it was.
    tensors, said, who
        As for `tensors_to_bytes`.

    Raises
    ------
    Unavailable
        When the disk is full or cannot be written.
    """
    half = path.with_name(path.name + ".part")
    try:
        with half.open("wb") as file:
            for part in _parts(tensors, said, who):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise Unavailable(
            who,
            needs=f"room for a checkpoint in {path.parent}",
            came=f"{type(error).__name__}: {error}",
            todo="Free the disk, or point the scratch folder to another one; the checkpoint "
            "before it is whole and is gone on with.",
        ) from error


def _parts(tensors: Mapping[str, Tensor], said: Mapping[str, Any], who: str) -> Iterator[Any]:
    """Yield the file piece by piece, so that no second copy of the tensors is needed."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    head: dict[str, Any] = {"__metadata__": {_SAID: text}}
    at = 0
    for name in sorted(tensors):
        each = tensors[name]
        if each.dtype not in _NAMES:
            raise Invalid(
                who,
                needs=f"tensors of {', '.join(sorted(_NAMES.values()))}",
                came=f"{name} of {each.dtype}",
                todo="Convert it to one of these types.",
            )
        end = at + each.numel() * each.element_size()
        head[name] = {
            "dtype": _NAMES[each.dtype],
            "shape": list(each.shape),
            "data_offsets": [at, end],
        }
        at = end
    header = json.dumps(head, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    yield _LENGTH.pack(len(header))
    yield header
    for name in sorted(tensors):
        flat = tensors[name].detach().to("cpu").contiguous().reshape(-1)
        yield memoryview(flat.view(torch.uint8).numpy())


def _tensors(head: Mapping[str, Any], body: memoryview) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a header as long as every byte belongs to exactly one of them."""
    at = 0
    for name, form in sorted(head.items(), key=lambda each: each[1]["data_offsets"]):
        kind, shape = _TYPES[form["dtype"]], [int(size) for size in form["shape"]]
        start, end = form["data_offsets"]
        n_bytes = math.prod(shape) * kind.itemsize
        if min(shape, default=0) < 0 or start != at or end - start != n_bytes or end > len(body):
            return
        found = torch.empty(shape, dtype=kind)
        if n_bytes:
            flat = found.reshape(-1).view(torch.uint8)
            flat.copy_(torch.frombuffer(bytearray(body[start:end]), dtype=torch.uint8))
        yield name, found
        at = end


def _foreign(data: bytes, came: str, who: str) -> Invalid:
    return Invalid(
        who,
        needs="a whole file in the safetensors format that Renewal wrote",
        came="a pickle" if data[:1] == b"\x80" else f"{len(data):,} other bytes ({came})",
        todo="Write the file again, or take another version; a pickle is never read.",
    )
