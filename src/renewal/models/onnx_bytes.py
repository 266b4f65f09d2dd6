"""The bytes of an `OnnxModel` in a store: how its answer is read, and then the graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.models.onnx_front import front_of
from renewal.models.onnx_lora import MAGIC as ADDITION
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_session import OpenGraph, open_graph
from renewal.models.task import Classes
from renewal.store.digest import digest as digest_of
from renewal.store.reader import Reader

MAGIC = b"renewal.onnx.1\n"
# On random weights a higher level takes ten times as long and gains a hundredth.
_LEVEL = 9
_WORTH_PACKING = 0.9
# What protobuf writes at most: no graph is larger, so nothing larger is ever unpacked.
_MOST_BYTES = 2**31 - 1
# Of a header: classes of a large vocabulary are in it.
_LONGEST_LINE = 64 << 20
_WRONG = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before the graph."""

    classes: Classes
    output: str | None
    is_logits: bool
    threads: int
    n_bytes: int
    packed: str | None
    front: tuple[int, int] | None

    @staticmethod
    def of(line: bytes) -> _Head:
        """Read a header; raises what a damaged one makes of it."""
        said = json.loads(line)
        front, n_bytes = said.pop("front", None), said.pop("n_bytes")
        if not isinstance(n_bytes, int) or not 0 < n_bytes <= _MOST_BYTES:
            raise damaged(f"a graph of {n_bytes!r} bytes")
        found = _Head(
            tuple(said.pop("classes")),
            said.pop("output"),
            said.pop("is_logits"),
            said.pop("threads"),
            n_bytes,
            said.pop("packed", None),
            None if front is None else (int(front[0]), int(front[1])),
        )
        if said:
            raise damaged(f"a header with {sorted(said)}")
        if found.packed not in {None, "zstd"}:
            raise damaged(f"bytes packed by {found.packed!r}")
        return found


def dump_model(model: OnnxModel) -> bytes:
    """Return a graph with a line before it that says how to read its answer.

    Parameters
    ----------
    model : OnnxModel
        Its addition, where it has one, is left out.
    """
    packed = pa.Codec("zstd", compression_level=_LEVEL).compress(model.graph, asbytes=True)
    is_worth_it = len(packed) <= _WORTH_PACKING * len(model.graph)
    header: dict[str, Any] = {
        "classes": list(model.classes),
        "output": model.output,
        "is_logits": model.is_logits,
        "threads": model.threads,
        "n_bytes": len(model.graph),
    }
    if is_worth_it:
        header["packed"] = "zstd"
    graph = packed if is_worth_it else model.graph
    front = b""
    if model.front is not None:
        text = model.front.encode()
        front = pa.Codec("zstd", compression_level=_LEVEL).compress(text, asbytes=True)
        header["front"] = [len(front), len(text)]
    return MAGIC + json.dumps(header).encode() + b"\n" + front + graph


def load_model(data: bytes) -> OnnxModel:
    """Return the model in `data`; a graph holds operators and numbers, and no code.

    Raises
    ------
    Invalid
        On bytes of another format, damaged ones, or weights in other files.
    """
    if not data.startswith(MAGIC):
        is_addition = data.startswith(ADDITION)
        raise damaged(
            "an addition alone" if is_addition else f"{len(data):,} bytes of another format"
        )
    line, _, graph = data[len(MAGIC) :].partition(b"\n")
    try:
        head = _Head.of(line)
        front = None
        if head.front is not None:
            front = _unpacked(graph[: head.front[0]], head.front[1]).decode()
            graph = graph[head.front[0] :]
        if head.packed is not None:
            graph = _unpacked(graph, head.n_bytes)
        if head.n_bytes != len(graph):
            raise damaged(f"{len(graph):,} of {head.n_bytes:,} bytes")
        found = OnnxModel(graph, head.classes, head.output, head.is_logits, head.threads, front)
    except _WRONG as error:
        raise damaged(f"{type(error).__name__}: {error}") from error
    # As it was read: another release packs the same graph otherwise.
    found.__dict__["_digest"] = digest_of(data)
    return found


def open_model(reader: Reader) -> OpenGraph:
    """Return the model that a reader hands out, its session open; its bytes are gone then.

    Raises
    ------
    Invalid
        As `load_model`, and when ONNX Runtime does not run the graph.
    Corrupt
        When the bytes were the wrong ones, which is said before anything else.
    """
    stream = _Stream(reader)
    try:
        head, front = _begun(stream)
        columns = None if front is None else front_of(front)
    except (*_WRONG, Invalid) as error:
        reader.finish()
        raise damaged(f"{type(error).__name__}: {error}") from error
    read = stream.read if head.packed is None else _unpacking(stream)

    def finish() -> None:
        try:
            is_over = not read(1)
        except Invalid:
            is_over = False
        reader.finish()
        if not is_over:
            raise damaged(f"more than {head.n_bytes:,} bytes, or fewer")

    return OpenGraph(
        open_graph(read, head.n_bytes, finish, threads=head.threads),
        classes=head.classes,
        output=head.output,
        is_logits=head.is_logits,
        columns=columns,
    )


def damaged(came: str) -> Invalid:
    """Return what is said of bytes that are no model."""
    return Invalid(
        "OnnxAdapter.load",
        needs="a whole graph that Renewal wrote",
        came=came,
        todo="Register it again: OnnxModel.read(path).",
    )


class _Stream:
    """A reader of which some was read ahead; a file for Arrow."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ahead = b""
        self.closed = False

    def read(self, n_bytes: int = 1 << 20) -> bytes:
        """Return the next bytes, fewer at the end."""
        if not self._ahead:
            return self._reader.read(n_bytes)
        found, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
        return found

    def line(self) -> bytes:
        """Return what comes before the next line break."""
        pieces = self._ahead
        while b"\n" not in pieces:
            piece = self._reader.read(1 << 16)
            pieces += piece
            if not piece or len(pieces) > _LONGEST_LINE:
                raise damaged("no header")
        found, _, self._ahead = pieces.partition(b"\n")
        return found

    def exactly(self, n_bytes: int) -> bytes:
        """Return so many bytes; fewer where there are no more."""
        pieces, left = [], n_bytes
        while left > 0 and (piece := self.read(min(left, 1 << 20))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Leave the reader to whoever opened it."""
        self.closed = True


def _begun(stream: _Stream) -> tuple[_Head, str | None]:
    """Read what stands before the graph: the header, and the front."""
    if stream.line() + b"\n" != MAGIC:
        raise damaged("bytes of another format")
    head = _Head.of(stream.line())
    if head.front is None:
        return head, None
    return head, _unpacked(stream.exactly(head.front[0]), head.front[1]).decode()


def _unpacking(stream: _Stream) -> Callable[[int], bytes]:
    """Return a function that reads what a stream holds packed."""
    unpacked = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")

    def read(n_bytes: int) -> bytes:
        try:
            found: bytes = unpacked.read(n_bytes)
        except OSError as error:
            raise damaged(f"{type(error).__name__}: {error}") from error
        return found

    return read


def _unpacked(packed: bytes, n_bytes: int) -> bytes:
    """Return packed bytes; never more bytes than their header promises are written."""
    if not 0 < n_bytes <= _MOST_BYTES:
        raise damaged(f"{n_bytes:,} bytes")
    try:
        found: bytes = pa.decompress(packed, decompressed_size=n_bytes, codec="zstd", asbytes=True)
    except (OSError, MemoryError) as error:
        raise damaged(f"{type(error).__name__}: {error}") from error
    return found
