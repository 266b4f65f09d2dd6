"""Tensors as bytes: read by the library that owns the format, and never half."""

from __future__ import annotations

import json
import math
import resource
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_elsewhere

from renewal.core.errors import Invalid, Unavailable
from renewal.models.torch_tensors import tensors_from_bytes, tensors_to_bytes, write_tensors

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.empty(0, 4),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}


def test_what_is_written_is_safetensors() -> None:
    """Breaks when a file could only be read by this package."""
    data = tensors_to_bytes(TENSORS, {"a": 1}, who="test")
    for found in (load_elsewhere(data), tensors_from_bytes(data, who="test")[0]):
        assert set(found) == set(TENSORS)
        for name, each in TENSORS.items():
            assert found[name].dtype == each.dtype
            assert torch.equal(found[name], each)


def test_equal_tensors_give_equal_bytes() -> None:
    turned = dict(reversed(list(TENSORS.items())))
    one = tensors_to_bytes(TENSORS, {"b": 1, "a": 2}, who="test")
    assert one == tensors_to_bytes(turned, {"a": 2, "b": 1}, who="test")


def test_what_is_read_owns_its_memory() -> None:
    """Breaks when a tensor looks into bytes that others hold, too."""
    data = tensors_to_bytes(TENSORS, {}, who="test")
    tensors_from_bytes(data, who="test")[0]["weight"].zero_()
    assert torch.equal(tensors_from_bytes(data, who="test")[0]["weight"], TENSORS["weight"])


def _file(head: Any, body: bytes) -> bytes:
    text = json.dumps({"__metadata__": {"renewal": "{}"}, **head}).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x05K*.",
        _file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"),
        _file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
        _file({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"12345"),
        _file({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}, b""),
        _file({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}, b""),
        _file({"a": {"dtype": "F32", "shape": [math.inf], "data_offsets": [0, 0]}}, b""),
        _file({"a": {"dtype": "F99", "shape": [], "data_offsets": [0, 4]}}, b"1234"),
        struct.pack("<Q", 2**60) + b"{}",
    ],
)
def test_other_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises(Invalid, match="safetensors"):
        tensors_from_bytes(data, who="test")


def test_a_type_that_the_format_does_not_know() -> None:
    with pytest.raises(Invalid, match="complex64"):
        tensors_to_bytes({"a": torch.zeros(1, dtype=torch.complex64)}, {}, who="test")


def test_a_full_disk_leaves_the_file_before_it_whole(tmp_path: Path) -> None:
    """Breaks when a checkpoint is written over the last good one."""
    path = tmp_path / "state"
    write_tensors(path, {"a": torch.zeros(8)}, {"step": 1}, who="test")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a full disk does: the kernel refuses to let any file grow beyond this.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(Unavailable, match="room for a checkpoint"):
            write_tensors(path, {"a": torch.zeros(8192)}, {"step": 2}, who="test")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
