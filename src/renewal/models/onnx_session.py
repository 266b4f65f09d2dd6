"""Sessions of ONNX Runtime: how they are opened beside requests, and closed.

A graph of more than a few megabytes goes to ONNX Runtime as files, its weights apart
(`renewal.models.onnx_split`): from bytes it reads them for 370 ms a gigabyte in which nothing
else runs, and frees them for 80.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as Unsupported,
)

from renewal.core.errors import Invalid, Unavailable
from renewal.models.onnx_front import Front
from renewal.models.onnx_lora import Added
from renewal.models.onnx_split import (
    GRAPH,
    PATH_KEY,
    WEIGHTS,
    demand_whole_bytes,
    no_graph,
    split,
)
from renewal.models.task import Classes
from renewal.store.contract import Store
from renewal.store.reader import read_object

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHO = "OnnxModel"
_PROVIDERS = "RENEWAL_ONNX_PROVIDERS"
_CPU = "CPUExecutionProvider"
_UNREADABLE = (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    Unsupported,
    RuntimeException,
)
# Read from bytes: 1.5 ms at most in which nothing else runs.
_SMALL_BYTES = 4 << 20
# Beyond it weights stay where they are mapped. Otherwise ONNX Runtime rearranges a copy of
# each for its products, which takes a second a gigabyte, and 80 ms to be freed.
_MAPPED_BYTES = 64 << 20


class Graph(Protocol):
    """A graph with a session, and how its answer is read: an `OnnxModel`, or an `OpenGraph`."""

    @property
    def session(self) -> Any:
        """The open session."""
        ...

    @property
    def classes(self) -> Classes:
        """What the columns of its scores mean, in its own order."""
        ...

    @property
    def output(self) -> str | None:
        """The output that holds the scores; None: the only one that can be."""
        ...

    @property
    def is_logits(self) -> bool:
        """Whether that output holds logits."""
        ...

    @property
    def columns(self) -> Front | None:
        """How columns become its inputs; None: by their names and order."""
        ...

    @property
    def order(self) -> list[int] | None:
        """Where the sorted classes are among its scores; None: they are sorted."""
        ...

    def run(self, outputs: list[str], feed: Mapping[str, Any]) -> list[Any]:
        """Return the named outputs for what goes into its inputs."""
        ...


class Session:
    """An open session, and the file in which its weights are mapped.

    Whoever runs it holds it, so that it ends after the last prediction.

    Parameters
    ----------
    inside : onnxruntime.InferenceSession
        Owned by it.
    weights : int or None, default None
        Descriptor of the file of its weights, which has no name any more.

    Attributes
    ----------
    inside : onnxruntime.InferenceSession
        For its inputs and outputs.
    run : callable
        From names of outputs, a feed and run options (or None) to the outputs; beneath the
        checks of `InferenceSession.run`, which take 2 of 5 microseconds.
    is_even : bool or None
        Whether rows are to be sent two by two (`renewal.models.onnx_even`); None: nobody has
        tried yet.
    """

    __slots__ = ("__weakref__", "_weights", "inside", "is_even", "run")

    def __init__(self, inside: Any, weights: int | None = None) -> None:
        self.inside: Any = inside
        self.run: Callable[[list[str], Mapping[str, Any], Any], list[Any]]
        self.run = getattr(inside, "_sess", inside).run
        self._weights = weights
        self.is_even: bool | None = None

    def __del__(self) -> None:
        """End the session first, and then, beside everything else, let go of its file."""
        weights = getattr(self, "_weights", None)
        if weights is None:
            return
        # To unmap a file that somebody still holds open takes little; to drop what the system
        # keeps of it, 80 ms a gigabyte, which must be in nobody's way.
        del self.run, self.inside
        if sys.is_finalizing():
            # A thread would never begin, and whoever starts it waits for that.
            os.close(weights)
        else:
            Thread(target=os.close, args=(weights,), daemon=True).start()


class OpenGraph:
    """A graph with an open session, its bytes gone: what serves.

    Parameters
    ----------
    held : Session
        May be shared.
    classes, output, is_logits, front
        As of `OnnxModel`.
    """

    def __init__(
        self,
        held: Session,
        *,
        classes: Classes,
        output: str | None,
        is_logits: bool,
        columns: Front | None,
    ) -> None:
        self.held = held
        self.classes = classes
        self.output = output
        self.is_logits = is_logits
        self.columns = columns
        self.order = order_of(classes)
        self._base: OpenGraph | None = None
        self._added: Added | None = None
        self._options: Any = None

    @property
    def session(self) -> Any:
        """The open session; whoever keeps it keeps `held` as well, which must outlive it."""
        return self.held.inside

    def with_addition(self, added: Added, classes: Classes) -> OpenGraph:
        """Return it with an addition to its weights; the session is shared.

        Parameters
        ----------
        added : Added
            Of this session.
        classes : tuple
            What the columns of its scores mean then.
        """
        found = OpenGraph(
            self.held,
            classes=classes,
            output=self.output,
            is_logits=self.is_logits,
            columns=self.columns,
        )
        # Whoever looks for the base finds it open as long as an addition is in use.
        found._base = self  # of the same class
        found._added, found._options = added, added.options  # of the same class
        return found

    def run(self, outputs: list[str], feed: Mapping[str, Any]) -> list[Any]:
        """Return the named outputs for what goes into its inputs; raises what ONNX Runtime does."""
        return self.held.run(outputs, feed, self._options)


def order_of(classes: Classes) -> list[int] | None:
    """Return where the sorted classes are among some; None: they are sorted.

    Examples
    --------
    >>> order_of(("b", "a")), order_of(("a", "b"))
    ([1, 0], None)
    """
    order = sorted(range(len(classes)), key=classes.__getitem__)
    return None if order == list(range(len(order))) else order


def open_graph(
    read: Callable[[int], bytes], n_bytes: int, finish: Callable[[], None], *, threads: int = 1
) -> Session:
    """Return the session of a graph that comes in as a stream.

    Parameters
    ----------
    read : callable
        From a number of bytes to the next so many of the graph, fewer only at its end.
    n_bytes : int
        Of the graph.
    finish : callable
        Reads what is left and raises `Corrupt` where the bytes were the wrong ones; called
        before the session is opened, and before anything else is said of them.
    threads : int, default 1
        Of one prediction.

    Raises
    ------
    Invalid
        On what is no graph, weights in other files, or operators that ONNX Runtime lacks.
    Unavailable
        When there is no room for its files.

    Notes
    -----
    A graph above 4 MB is written into a folder of its own under the system's temporary one
    (``TMPDIR``), which only this user can read and which is gone when this returns; its
    weights take their room there until the session is closed.
    """
    if n_bytes <= _SMALL_BYTES:
        graph = _whole(read, n_bytes, finish)
        if PATH_KEY in graph:
            demand_whole_bytes(graph)
        return Session(session_of(graph, threads=threads))
    with _when_there_is_no_room(), TemporaryDirectory(prefix="renewal-graph-") as name:
        folder = Path(name)
        try:
            n_weights = split(read, n_bytes, folder)
        except Invalid:
            # That it is damaged says more than that it is no graph.
            finish()
            raise
        finish()
        is_mapped = n_weights > _MAPPED_BYTES
        inside = session_of(folder / GRAPH, threads=threads, is_mapped=is_mapped)
        return Session(inside, os.open(folder / WEIGHTS, os.O_RDONLY) if n_weights else None)


def session_in(graph: bytes) -> Session:
    """Return the session of a graph whose bytes are there; raises as `open_graph`."""
    return open_graph(BytesIO(graph).read, len(graph), lambda: None)


def session_stored(store: Store, digest: str) -> Session:
    """Return the session of a graph that a store keeps as it is.

    Raises
    ------
    Invalid, Unavailable
        As `open_graph`.
    NotFound, Corrupt
        As the store says.
    """
    with read_object(store, digest) as reader:
        return open_graph(reader.read, reader.n_bytes, reader.finish)


def session_of(graph: bytes | Path, *, threads: int = 1, is_mapped: bool = False) -> Any:
    """Return the `onnxruntime.InferenceSession` of a graph.

    Parameters
    ----------
    graph : bytes or Path
        Large ones as a path.
    threads : int, default 1
        Of one prediction. With one, sums are made in one order.
    is_mapped : bool, default False
        Whether weights stay in the file beside it.

    Raises
    ------
    Invalid
        When ONNX Runtime does not run it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if is_mapped:
        options.add_session_config_entry("session.disable_prepacking", "1")
    source = str(graph) if isinstance(graph, Path) else graph
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers())
    except _UNREADABLE as error:
        raise Invalid(
            _WHO,
            needs=f"a graph that ONNX Runtime {onnxruntime.__version__} runs",
            came=f"{type(error).__name__}: {error}",
            todo="Export it again with operators and an opset that it knows.",
        ) from error


def providers() -> list[str]:
    """Return what runs the operators, the first that can first: the CPU, unless told otherwise.

    The environment's ``RENEWAL_ONNX_PROVIDERS`` names others that go before it, such as
    ``CUDAExecutionProvider`` of the package onnxruntime-gpu, joined by commas.

    Raises
    ------
    Invalid
        When one of them is not in the installed package.
    """
    wanted = [each.strip() for each in os.environ.get(_PROVIDERS, "").split(",") if each.strip()]
    able = onnxruntime.get_available_providers()
    missing = [each for each in wanted if each not in able]
    if missing:
        raise Invalid(
            _PROVIDERS,
            needs=f"providers of the installed ONNX Runtime: {', '.join(able)}",
            came=", ".join(missing),
            todo="Install onnxruntime-gpu, or leave the variable out.",
        )
    return [*(each for each in wanted if each != _CPU), _CPU]


def _whole(read: Callable[[int], bytes], n_bytes: int, finish: Callable[[], None]) -> bytes:
    pieces, left = [], n_bytes
    try:
        while left and (piece := read(left)):
            pieces.append(piece)
            left -= len(piece)
    except Invalid:
        finish()
        raise
    finish()
    if left:
        raise no_graph(n_bytes - left)
    return b"".join(pieces)


@contextmanager
def _when_there_is_no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "open_graph",
            needs="room for the files of a graph under the system's temporary folder",
            came=str(error),
            todo="Free some, or set TMPDIR to a folder on a larger disk.",
        ) from error
