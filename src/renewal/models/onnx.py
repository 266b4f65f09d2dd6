"""The compiled runtime: a version as an ONNX graph, run by ONNX Runtime in this process."""

from __future__ import annotations

import json
from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    RuntimeException,
)

from renewal.core.errors import Invalid, Unavailable
from renewal.core.version import Manifest
from renewal.models.contract import Runtime
from renewal.models.load import check_environment, score_map_of
from renewal.models.onnx_columns import (
    NOWHERE,
    WIDTHS,
    are_plain,
    column_of,
    in_width,
    is_plain,
    places_of,
    side_by_side,
)
from renewal.models.onnx_convert import convert
from renewal.models.onnx_even import evened, is_unsteady
from renewal.models.onnx_session import Session, session_in, session_stored
from renewal.models.parity_refusals import Refusals
from renewal.models.score_map_adapter import MappedRuntime
from renewal.models.task import Scores
from renewal.store.contract import Store

_WHO = "OnnxRuntime.predict"
_COLUMNS = "renewal_columns"
_MOST_KEPT = 8

_kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
_lock = Lock()


_NONE = Refusals()


class OnnxRuntime:
    """Predicts with ONNX Runtime on one thread; `predict` may be called by many.

    Parameters
    ----------
    model : bytes or Session
        A graph of `renewal.models.onnx_convert.convert`, or its open session.
    n_scores : int
        Number of classes, or 1 for a regression.
    refusals : Refusals, default none
        What the native form refuses; this one then refuses it as well.
    columns : tuple of str, default ()
        The columns of `predict_matrix`, in order; none: as the graph has them.

    Attributes
    ----------
    takes_matrix : bool
        Whether the graph reads all columns as one matrix, so that `predict_matrix` can be
        called.

    Notes
    -----
    A session computes rows on one thread, so that sums are made in one order and, sent two by
    two where that is needed (`renewal.models.onnx_even`), a row gets the same score in every
    batch. A gap is NaN in a column of numbers and, in one of texts,
    a category of its own.
    """

    def __init__(
        self,
        model: bytes | Session,
        n_scores: int,
        refusals: Refusals = _NONE,
        *,
        columns: tuple[str, ...] = (),
    ) -> None:
        held = model if isinstance(model, Session) else session_in(model)
        session = held.inside
        self._inputs = {each.name: each.type for each in session.get_inputs()}
        self._outputs = [session.get_outputs()[0].name]
        # Of a graph of one matrix: its columns, in order.
        named = session.get_modelmeta().custom_metadata_map.get(_COLUMNS)
        self._matrix = None if named is None else json.loads(named)
        self._names = list(self._matrix or self._inputs)
        self._n_scores = n_scores
        self._refusals = refusals
        # Of the last table that had the columns in their order: to compare it is 10 times as
        # fast as to read 30 names.
        self._schema: Any = None
        self._held: Session | None = held
        self._kind, self._input = next((kind, name) for name, kind in self._inputs.items())
        self._places = places_of(self._matrix, columns)
        self.takes_matrix = self._matrix is not None and self._places is not NOWHERE
        self._is_even = False
        if self.takes_matrix:
            if held.is_even is None:
                held.is_even = is_unsteady(self.predict_matrix, len(columns or self._names))
            self._is_even = held.is_even

    def predict(self, features: pa.Table) -> Scores:
        """Return scores for every row of `features`.

        Parameters
        ----------
        features : pyarrow.Table
            The columns of the signature in any order; further columns are ignored.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_scores)
            Probability of each class in the order of the version's classes, or one value.

        Raises
        ------
        Invalid
            On a missing column, a text where a number belongs, or rows that the graph or
            the native form does not take.
        Unavailable
            When the runtime was closed.
        """
        held = self._opened()
        schema = features.schema
        if self._schema is None or not schema.equals(self._schema):
            features = self._ordered(features)
        if features.num_rows == 0:
            return np.empty((0, self._n_scores))
        feed = self._feed(features)
        if self._refusals and not all(map(is_plain, feed.values())):
            self._refusals.demand_taken(features)
        return self._scores(self._found(held, feed), features.num_rows)

    def predict_matrix(self, values: NDArray[np.float64]) -> Scores:
        """Return the scores of rows that are a matrix already, bit for bit as `predict` does.

        Parameters
        ----------
        values : float64 array, shape (n_rows, n_columns)
            The columns in the order that the runtime was made with; a gap is NaN.

        Raises
        ------
        Invalid
            On rows that the graph or the native form does not take, or where the graph reads
            no matrix (`takes_matrix`).
        Unavailable
            When the runtime was closed.

        Notes
        -----
        One row of 30 takes 2 microseconds beside what ONNX Runtime takes itself.
        """
        held = self._opened()
        if not self.takes_matrix:
            raise Invalid(
                "OnnxRuntime.predict_matrix",
                needs="a graph that reads all columns as one matrix",
                came=f"the inputs {', '.join(self._inputs)}",
                todo="Hand in a table: predict.",
            )
        if len(values) == 0:
            return np.empty((0, self._n_scores))
        if self._places is not None:
            values = values[:, self._places]
        if are_plain(values):
            tensor = values.astype(WIDTHS[self._kind], copy=False)
        else:
            tensor = in_width(values, self._kind)
            if self._refusals and not is_plain(tensor):
                self._refusals.demand_taken(pa.table(list(values.T), names=self._names))
        return self._scores(self._found(held, {self._input: tensor}), len(values))

    def close(self) -> None:
        """Let go of the session; a prediction that is under way ends as it began."""
        self._held = None

    def _opened(self) -> Session:
        held = self._held
        if held is None:
            raise Unavailable(
                _WHO,
                needs="an open runtime",
                came="a closed one",
                todo="Load the version again.",
            )
        return held

    def _found(self, held: Session, feed: dict[str, NDArray[Any]]) -> Any:
        is_padded = self._is_even and len(next(iter(feed.values()))) % 2 == 1
        try:
            if is_padded:
                return held.run(self._outputs, evened(feed), None)[0][:-1]
            return held.run(self._outputs, feed, None)[0]
        except (Fail, InvalidArgument, RuntimeException) as error:
            raise Invalid(
                _WHO,
                needs="rows that the compiled graph takes",
                came=f"{type(error).__name__}: {error}",
                todo="Compare the rows with those of the fit, or use the native form.",
            ) from error

    def _feed(self, features: pa.Table) -> dict[str, NDArray[Any]]:
        if self._matrix is None:
            return {name: column_of(features, name, kind) for name, kind in self._inputs.items()}
        ((name, kind),) = self._inputs.items()
        return {name: side_by_side(features, kind)}

    def _ordered(self, features: pa.Table) -> pa.Table:
        if features.column_names == self._names:
            self._schema = features.schema
            return features
        there = set(features.column_names)
        missing = [name for name in self._names if name not in there]
        if missing:
            raise Invalid(
                _WHO,
                needs=f"the columns {', '.join(self._names)}",
                came=f"none called {', '.join(map(repr, missing))}",
                todo="Send every column of the signature.",
                columns=missing,
            )
        return features.select(self._names)

    def _scores(self, found: Any, n_rows: int) -> Scores:
        scores = np.asarray(found, dtype=np.float64)
        scores = scores[:, np.newaxis] if scores.ndim == 1 else scores
        if scores.shape != (n_rows, self._n_scores):
            raise Invalid(
                _WHO,
                needs=f"{self._n_scores} scores for each of {n_rows} rows",
                came=f"shape {scores.shape}",
                todo="Use the native form of this version.",
            )
        # Sums of float32 leave a chance of 1 at 1.0000001, and its counterpart below 0.
        is_rounded = self._n_scores > 1 and found.dtype == np.float32
        return np.minimum(np.maximum(scores, 0.0), 1.0) if is_rounded else scores


def compiled_runtime(
    manifest: Manifest,
    store: Store,
    trust: tuple[str, ...] = (),
    *,
    timeout_s: float = 120.0,
    graph: bytes | str | None = None,
    refusals: Refusals = _NONE,
) -> Runtime:
    """Return a runtime that predicts with the compiled form of a version; close it when done.

    The sibling of `renewal.models.load.load_runtime`, registered beside it as ``onnx`` under
    ``renewal.runtimes``. That it converts says nothing about its being equal:
    `renewal.models.parity.parity` does.

    Parameters
    ----------
    manifest, store, trust
        As for `load_runtime`.
    timeout_s : float, seconds, default 120
        Limit of the conversion.
    graph : bytes, str or None, default None
        A graph of this version that is there already, or its digest in the store: of a large
        one, the bytes would take the whole process a second to read and to drop.
    refusals : Refusals, default none
        What the native form of the version refuses.

    Raises
    ------
    Invalid
        When the version has no compiled form, with the converter's reason, or a newer
        library wrote it.
    Refused, NotFound, Corrupt
        As for `load_runtime`.
    Unavailable
        When the conversion took too long.
    Missing
        When a package of the extra ``compile`` is not installed.

    Notes
    -----
    About 3 s for a conversion. The last 8 graphs are kept in this process by the version's
    bytes, columns and trust, so that evaluating one twice converts it once. A graph holds no
    score map: that is applied to what the graph says, so that a recalibrated version shares
    the graph of its parent.
    """
    check_environment(manifest)
    score_map = score_map_of(manifest, store)
    if graph is None:
        graph = _converted(manifest, store, trust, timeout_s=timeout_s)
    n_scores, columns = len(manifest.classes) or 1, manifest.signature.names
    held = session_stored(store, graph) if isinstance(graph, str) else session_in(graph)
    runtime = OnnxRuntime(held, n_scores, refusals, columns=columns)
    return runtime if score_map is None else MappedRuntime(runtime, score_map)


def _converted(
    manifest: Manifest, store: Store, trust: tuple[str, ...], *, timeout_s: float
) -> bytes:
    """Return the graph of a version, converted once in this process."""
    key = (manifest.adapter, manifest.artifact, manifest.signature, trust)
    with _lock:
        model = _kept.get(key)
    if model is None:
        model = convert(manifest, store.get(manifest.artifact), trust=trust, timeout_s=timeout_s)
    with _lock:
        _kept[key] = model
        _kept.move_to_end(key)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return model
