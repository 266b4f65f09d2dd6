"""The compiled runtime: a version as an ONNX graph, run by ONNX Runtime in this process."""

from __future__ import annotations

import json
from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
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
from renewal.models.onnx_convert import convert
from renewal.models.parity_refusals import LARGEST, Refusals
from renewal.models.score_map_adapter import MappedRuntime
from renewal.models.task import Scores
from renewal.store.contract import Store

_WHO = "OnnxRuntime.predict"
_TEXT = "tensor(string)"
_FLOAT64 = pa.float64()
_COLUMNS = "renewal_columns"
_WIDTHS: dict[str, Any] = {"tensor(double)": np.float64, "tensor(float)": np.float32}
# How skl2onnx writes the category of a gap; where a fit had none it is an unseen one.
_GAP = "nan"
_MOST_KEPT = 8
# Numbers whose squares sum to no more than this are each within float32, and none is NaN: one
# product tells it in a third of the time that looking at each takes. Of more numbers than
# this a product is made by several threads.
_PLAIN_SQUARES = LARGEST**2
_MOST_MULTIPLIED = 8192

_kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
_lock = Lock()


_NONE = Refusals()
# Of a column that is not there.
_NOWHERE: list[int] = []


class OnnxRuntime:
    """Predicts with ONNX Runtime on one thread; `predict` may be called by many.

    Parameters
    ----------
    model : bytes
        A graph of `renewal.models.onnx_convert.convert`.
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
    A session computes rows on one thread, so that sums are made in one order and a row gets
    the same score in every batch. A gap is NaN in a column of numbers and, in one of texts,
    a category of its own.
    """

    def __init__(
        self,
        model: bytes,
        n_scores: int,
        refusals: Refusals = _NONE,
        *,
        columns: tuple[str, ...] = (),
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
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
        # Beneath the checks of what cannot be wrong here, which take 2 of 5 microseconds.
        self._run: Any = getattr(session, "_sess", session).run
        self._kind, self._input = next((kind, name) for name, kind in self._inputs.items())
        self._places = _places(self._matrix, columns)
        self.takes_matrix = self._matrix is not None and self._places is not _NOWHERE

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
        run = self._opened()
        schema = features.schema
        if self._schema is None or not schema.equals(self._schema):
            features = self._ordered(features)
        if features.num_rows == 0:
            return np.empty((0, self._n_scores))
        feed = self._feed(features)
        if self._refusals and not all(map(_is_plain, feed.values())):
            self._refusals.demand_taken(features)
        return self._scores(self._found(run, feed), features.num_rows)

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
        run = self._opened()
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
            tensor = values.astype(_WIDTHS[self._kind], copy=False)
        else:
            tensor = _in_width(values, self._kind)
            if self._refusals and not _is_plain(tensor):
                self._refusals.demand_taken(pa.table(list(values.T), names=self._names))
        return self._scores(self._found(run, {self._input: tensor}), len(values))

    def close(self) -> None:
        """Let go of the session; a prediction that is under way ends as it began."""
        self._run = None

    def _opened(self) -> Any:
        run = self._run
        if run is None:
            raise Unavailable(
                _WHO,
                needs="an open runtime",
                came="a closed one",
                todo="Load the version again.",
            )
        return run

    def _found(self, run: Any, feed: dict[str, NDArray[Any]]) -> Any:
        try:
            return run(self._outputs, feed, None)[0]
        except (Fail, InvalidArgument, RuntimeException) as error:
            raise Invalid(
                _WHO,
                needs="rows that the compiled graph takes",
                came=f"{type(error).__name__}: {error}",
                todo="Compare the rows with those of the fit, or use the native form.",
            ) from error

    def _feed(self, features: pa.Table) -> dict[str, NDArray[Any]]:
        if self._matrix is None:
            return {name: _column(features, name, kind) for name, kind in self._inputs.items()}
        ((name, kind),) = self._inputs.items()
        return {name: _side_by_side(features, kind)}

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
    graph: bytes | None = None,
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
    graph : bytes or None, default None
        A graph of this version that is there already.
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
    runtime = OnnxRuntime(graph, n_scores, refusals, columns=columns)
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


def are_plain(values: NDArray[np.float64]) -> bool:
    """Say, at little cost, that numbers hold no gap and none beyond float32.

    Returns
    -------
    bool
        True only where it is so; False also where it would take longer to tell.

    Examples
    --------
    >>> are_plain(np.array([[1.0, -2.0]])), are_plain(np.array([[1.0, np.nan]]))
    (True, False)
    """
    # Unlike `np.dot`, `np.vdot` says nothing of what overflows.
    return values.size <= _MOST_MULTIPLIED and bool(np.vdot(values, values) <= _PLAIN_SQUARES)


def _places(read: list[str] | None, given: tuple[str, ...]) -> list[int] | None:
    """Return where the columns that a graph reads are in a matrix; None: as they come."""
    if read is None or not given or list(given) == read:
        return None
    places = {name: at for at, name in enumerate(given)}
    return [places[name] for name in read] if places.keys() >= set(read) else _NOWHERE


def _is_plain(tensor: NDArray[Any]) -> bool:
    """Whether a tensor holds nothing that any model refuses."""
    return tensor.dtype != object and bool((np.abs(tensor) <= LARGEST).all())


def _side_by_side(features: pa.Table, kind: str) -> NDArray[Any]:
    """Return columns of numbers as the tensor of shape (n_rows, n_columns) of one input."""
    batches = features.to_batches()
    if len(batches) != 1:
        batches = features.combine_chunks().to_batches()
    try:
        numbers = batches[0].to_tensor(null_to_nan=True, row_major=True).to_numpy()
    except TypeError:
        # Of booleans, texts and the like Arrow makes no tensor.
        return np.concatenate(
            [_column(features, name, kind) for name in features.column_names], axis=1
        )
    return _in_width(numbers, kind)


def _column(features: pa.Table, name: str, kind: str) -> NDArray[Any]:
    """Return a column as the tensor of shape (n_rows, 1) that an input takes."""
    column = features.column(name)
    if column.type == _FLOAT64 and kind != _TEXT:
        return _numbers(column, kind)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text != (kind == _TEXT) and not pa.types.is_null(column.type):
        raise Invalid(
            _WHO,
            needs=f"{'texts' if kind == _TEXT else 'numbers'} in the column {name!r}",
            came=f"the type {column.type}",
            todo="Send the column in the type of the signature.",
            column=name,
        )
    if kind != _TEXT:
        return _numbers(column.cast(_FLOAT64, safe=False), kind)
    filled = pc.fill_null(column.cast(pa.string()), _GAP)
    texts: NDArray[Any] = filled.to_numpy().astype(object).reshape(-1, 1)
    return texts


def _numbers(column: Any, kind: str) -> NDArray[Any]:
    return _in_width(column.to_numpy(), kind).reshape(-1, 1)


def _in_width(numbers: NDArray[Any], kind: str) -> NDArray[Any]:
    if numbers.dtype == _WIDTHS[kind]:
        return numbers
    # What is too large for float32 is infinite there, on the same side of every threshold.
    with np.errstate(over="ignore"):
        return numbers.astype(_WIDTHS[kind], copy=False)
