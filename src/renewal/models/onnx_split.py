"""A graph as two files: what it does, and its weights, which are then read where they lie.

ONNX Runtime maps weights of a file of their own into memory: opening and closing a model of a
gigabyte takes 5 milliseconds, and not 2 seconds and 80 milliseconds, in which nothing else
runs. So a large graph is written apart while its bytes come in, piece by piece, without ever
being in memory or parsed as a whole.

References
----------
.. [1] https://protobuf.dev/programming-guides/encoding/
.. [2] https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from renewal.core.errors import Invalid

GRAPH, WEIGHTS = "graph.onnx", "weights"
# No weights lie in other files unless this word is in the bytes: it is the key of their path.
PATH_KEY = b"location"
Place = tuple[int, int]
_PIECE = 1 << 20
# Smaller weights stay in the graph.
_LARGE = 1 << 16
_ALIGNED = 4096
# Fields of ModelProto, GraphProto and TensorProto.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_TENSOR = 7, 1, 5
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
_VARINT, _EIGHT, _SPAN, _FOUR = 0, 1, 2, 5
# A length that is not known yet is written in as many bytes as the largest takes.
_LENGTH_BYTES = 5
_LONGEST_VARINT = 10


def split(read: Callable[[int], bytes], n_bytes: int, folder: Path) -> int:
    """Write the graph of a stream into a folder, its large weights into a file beside it.

    Parameters
    ----------
    read : callable
        From a number of bytes to the next so many of the stream, fewer only at its end.
    n_bytes : int
        Of the whole graph.
    folder : Path
        Private and empty; gets ``graph.onnx`` and ``weights``.

    Returns
    -------
    int
        Bytes of the weights beside the graph.

    Raises
    ------
    Invalid
        On what is no graph, is cut off, or names weights in files of its own.
    """
    source = _Source(read, n_bytes)
    with (folder / GRAPH).open("w+b") as graph, (folder / WEIGHTS).open("wb") as weights:
        made = _Split(source, graph, weights)
        made.model(n_bytes)
        is_suspect = made.out.is_suspect
    if not made.has_nodes:
        raise no_graph(n_bytes)
    if is_suspect:
        # What is large is not in it any more.
        demand_whole_bytes((folder / GRAPH).read_bytes(), made.places)
    return made.n_weights


def no_graph(n_bytes: int) -> Invalid:
    """Return what is said of bytes that are no graph."""
    return Invalid(
        "OnnxModel",
        needs="the bytes of an ONNX graph",
        came=f"{n_bytes:,} bytes of another format, or half of one",
        todo="Hand in a whole .onnx file.",
    )


def demand_whole_bytes(graph: bytes, places: Collection[Place] = ()) -> None:
    """Refuse a graph in which weights in other files are named; see `onnx_whole.demand_whole`.

    The package onnx is imported for it: rarely, by a column called "location" say.
    """
    whole = import_module("renewal.models.onnx_whole")
    whole.demand_whole(whole.parsed(graph), places)


class _Source:
    """A stream, read by fields."""

    def __init__(self, read: Callable[[int], bytes], n_bytes: int) -> None:
        self._read = read
        self._left = n_bytes
        self._piece = b""
        self._at = 0
        self.position = 0

    def some(self, n_bytes: int) -> bytes:
        """Return the next bytes: at least one, at most so many."""
        if self._at == len(self._piece):
            self._piece, self._at = self._read(min(_PIECE, self._left)), 0
            self._left -= len(self._piece)
            if not self._piece:
                raise no_graph(self.position)
        found = self._piece[self._at : self._at + n_bytes]
        self._at += len(found)
        self.position += len(found)
        return found

    def varint(self) -> int:
        """Return the next number."""
        found = 0
        for at in range(_LONGEST_VARINT):
            byte = self.some(1)[0]
            found |= (byte & 0x7F) << 7 * at
            if byte < 0x80:  # the bit that says "more to come"
                return found
        raise no_graph(self.position)


class _Out:
    """The file of the graph; sees whether the word of a path comes by."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.is_suspect = False
        self._tail = b""

    def write(self, piece: bytes) -> None:
        self.file.write(piece)
        seen = self._tail + piece
        self.is_suspect = self.is_suspect or PATH_KEY in seen
        self._tail = seen[1 - len(PATH_KEY) :]

    def own(self, piece: bytes) -> None:
        """Write what this module says itself."""
        self.file.write(piece)
        self._tail = b""

    def begin(self) -> int:
        """Leave room for a length, and return where what is so long begins."""
        self.own(_number(0, _LENGTH_BYTES))
        return self.file.tell()

    def end(self, began: int) -> None:
        """Write the length of what began there."""
        now = self.file.tell()
        self.file.seek(began - _LENGTH_BYTES)
        self.file.write(_number(now - began, _LENGTH_BYTES))
        self.file.seek(now)


class _Split:
    """One pass over a stream."""

    def __init__(self, source: _Source, graph: BinaryIO, weights: BinaryIO) -> None:
        self._source = source
        self.out = _Out(graph)
        self._weights = weights
        self.has_nodes = False
        self.n_weights = 0
        self.places: set[Place] = set()

    def model(self, n_bytes: int) -> None:
        self._fields(n_bytes, self._model_field)

    def _fields(self, n_bytes: int, visit: Callable[[int, int], None]) -> None:
        """Go through the fields of a message; `visit` gets those with a length."""
        end = self._source.position + n_bytes
        while self._source.position < end:
            tag = self._source.varint()
            kind = tag & 7
            if kind == _SPAN:
                length = self._source.varint()
                if self._source.position + length > end:
                    raise no_graph(self._source.position)
                visit(tag >> 3, length)
            elif kind == _VARINT:
                self.out.write(_number(tag) + _number(self._source.varint()))
            elif kind in {_EIGHT, _FOUR}:
                self.out.write(_number(tag))
                self._copy(8 if kind == _EIGHT else 4)
            else:
                raise no_graph(self._source.position)
        if self._source.position != end:
            raise no_graph(self._source.position)

    def _model_field(self, field: int, length: int) -> None:
        if field == _MODEL_GRAPH:
            self._message(field, length, self._graph_field)
        else:
            self._as_it_is(field, length)

    def _graph_field(self, field: int, length: int) -> None:
        self.has_nodes = self.has_nodes or field == _GRAPH_NODE
        if field == _GRAPH_TENSOR and length >= _LARGE:
            self._message(field, length, self._tensor_field)
        else:
            self._as_it_is(field, length)

    def _tensor_field(self, field: int, length: int) -> None:
        if field != _RAW_DATA or length < _LARGE:
            self._as_it_is(field, length)
            return
        at = -(-self._weights.tell() // _ALIGNED) * _ALIGNED
        self._weights.seek(at)
        while length_left := length - (self._weights.tell() - at):
            self._weights.write(self._source.some(length_left))
        self.places.add((at, length))
        self.n_weights += length
        for key, text in (("location", WEIGHTS), ("offset", str(at)), ("length", str(length))):
            entry = _span(1, key.encode()) + _span(2, text.encode())
            self.out.own(_span(_EXTERNAL_DATA, entry))
        self.out.own(_number(_DATA_LOCATION << 3 | _VARINT) + _number(1))

    def _message(self, field: int, length: int, visit: Callable[[int, int], None]) -> None:
        self.out.own(_number(field << 3 | _SPAN))
        began = self.out.begin()
        self._fields(length, visit)
        self.out.end(began)

    def _as_it_is(self, field: int, length: int) -> None:
        self.out.write(_number(field << 3 | _SPAN) + _number(length))
        self._copy(length)

    def _copy(self, n_bytes: int) -> None:
        while n_bytes:
            piece = self._source.some(n_bytes)
            self.out.write(piece)
            n_bytes -= len(piece)


def _span(field: int, data: bytes) -> bytes:
    return _number(field << 3 | _SPAN) + _number(len(data)) + data


def _number(value: int, n_bytes: int = 0) -> bytes:
    """Return a varint, in so many bytes at least."""
    found = bytearray()
    while value >= 0x80 or len(found) < n_bytes - 1:  # 7 bits a byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
