"""An ONNX graph with what the graph does not say: classes, which output, and how to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from renewal.core.errors import Invalid
from renewal.models.onnx_front import Front, front_of
from renewal.models.onnx_lora import Added, Addition
from renewal.models.onnx_session import order_of, session_of
from renewal.models.onnx_whole import demand_whole, parsed
from renewal.models.task import Classes

_WHO = "OnnxModel"
_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
# More threads than any machine has cores would only take its memory.
_MOST_THREADS = 1024
CLASSES_KEY = "renewal.classes"
LOGITS_KEY = "renewal.logits"


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A graph that came from elsewhere, as a model; `read` makes one.

    Parameters
    ----------
    graph : bytes
        The whole ONNX file; weights in files beside it are refused.
    classes : tuple, default ()
        What the columns of its probabilities mean, in their order; empty for a regression.
    output : str or None, default None
        The output that holds the scores; None: the only one that can be.
    is_logits : bool, default False
        Whether that output holds logits, which softmax (one column: the logistic function)
        turns into probabilities.
    threads : int >= 1, default 1
        Threads of one prediction. With one, sums are made in one order.
    front : str or None, default None
        How columns become its inputs, as `renewal.models.onnx_front.Front.to_json` writes it;
        None: by the names and the order of its inputs (`renewal.models.onnx_feed.feed_of`).
    addition : bytes or None, default None
        What is added to its weights at each run: `renewal.models.onnx_lora_model.lora_model`.

    Raises
    ------
    Invalid
        On bytes that are no graph, weights outside of it, no possible number of threads, or a
        front of another format.

    Notes
    -----
    The session of ONNX Runtime is opened at the first prediction; copies and pickles carry
    the bytes alone.
    """

    graph: bytes = field(repr=False)
    classes: Classes = ()
    output: str | None = None
    is_logits: bool = False
    threads: int = 1
    front: str | None = field(default=None, repr=False)
    addition: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not be served, or would read files of the server."""
        demand_whole(parsed(self.graph))
        if not 1 <= self.threads <= _MOST_THREADS or len(set(self.classes)) != len(self.classes):
            raise Invalid(
                _WHO,
                needs=f"1 to {_MOST_THREADS:,} threads, and each class once",
                came=f"threads={self.threads}, classes={self.classes}",
                todo="Correct them.",
            )
        # Read once and at once, so that damage shows before the first request.
        self._settle()

    @classmethod
    def read(
        cls,
        source: Path | str | bytes | Any,
        *,
        classes: Classes | None = None,
        output: str | None = None,
        is_logits: bool | None = None,
        threads: int = 1,
        front: str | None = None,
    ) -> OnnxModel:
        """Return the model of a file, of bytes, or of an `onnx.ModelProto`.

        Parameters
        ----------
        source : path, bytes or onnx.ModelProto
            A graph, its weights inside.
        classes : tuple or None, default None
            What the columns of the scores mean. None: what the graph says, in its metadata
            (``renewal.classes``, a JSON list) or in its last classifier; empty where it says
            nothing.
        output : str or None, default None
            The output that holds the scores; None: the only one that can be.
        is_logits : bool or None, default None
            None: what its metadata says (``renewal.logits``), else False.
        threads : int >= 1, default 1
            Threads of one prediction.
        front : str or None, default None
            How columns become its inputs.

        Raises
        ------
        Invalid
            On what is no graph, or a graph without its weights.
        """
        if isinstance(source, onnx.ModelProto):
            graph = source.SerializeToString(deterministic=True)
        else:
            graph = source if isinstance(source, bytes) else Path(source).read_bytes()
        model = parsed(graph)
        said = {each.key: each.value for each in model.metadata_props}
        if classes is None:
            classes = _said_classes(said) or _graph_classes(model)
        if is_logits is None:
            is_logits = said.get(LOGITS_KEY, "").lower() == "true"
        return cls(graph, tuple(classes), output, is_logits, threads, front)

    @property
    def columns(self) -> Front | None:
        """Its front, read; None: it has none."""
        found: Front | None = self.__dict__["_columns"]
        return found

    @property
    def session(self) -> Any:
        """The open session; opened once, and used by any number of threads."""
        base = self.__dict__.get("_base")
        found = self.__dict__.get("_session") if base is None else base.session
        if found is None:
            found = self.__dict__["_session"] = session_of(self.graph, threads=self.threads)
        return found

    def run(self, outputs: list[str], feed: Mapping[str, Any]) -> list[Any]:
        """Return the named outputs for what goes into its inputs; raises what ONNX Runtime does.

        Beneath the checks of `InferenceSession.run`, which are of what cannot be wrong here
        and take 2 of 5 microseconds.
        """
        session = self.session
        options = None
        if self.addition is not None:
            added = self.__dict__.get("_added")
            if added is None:
                added = Added(session, Addition.from_bytes(self.addition))
                self.__dict__["_added"] = added
            options = added.options
        found: list[Any] = getattr(session, "_sess", session).run(outputs, feed, options)
        return found

    @property
    def order(self) -> list[int] | None:
        """Where the sorted classes are among its scores; None: they are sorted."""
        found: list[int] | None = self.__dict__["_order"]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session out: it belongs to this process."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the fields as they were; pickles of before had fewer."""
        self.__dict__.update({"front": None, "addition": None} | state)
        self._settle()

    def _settle(self) -> None:
        self.__dict__["_columns"] = None if self.front is None else front_of(self.front)
        self.__dict__["_order"] = order_of(self.classes)


def _said_classes(said: dict[str, str]) -> Classes:
    if CLASSES_KEY not in said:
        return ()
    try:
        found = json.loads(said[CLASSES_KEY])
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise Invalid(
            _WHO,
            needs=f"a JSON list in the metadata {CLASSES_KEY!r}",
            came=said[CLASSES_KEY],
            todo="Hand the classes in: OnnxModel.read(path, classes=(...)).",
        )
    return tuple(found)


def _graph_classes(model: Any) -> Classes:
    """Return the labels of the last node that names some."""
    for node in reversed(model.graph.node):
        for attribute in node.attribute:
            if attribute.name in _LABELS and (attribute.strings or attribute.ints):
                return tuple(each.decode() for each in attribute.strings) or tuple(attribute.ints)
    return ()
