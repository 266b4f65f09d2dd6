"""The compiled runtime: a version as an ONNX graph, run by ONNX Runtime in this process."""

from __future__ import annotations

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
from renewal.models.score_map_adapter import MappedRuntime
from renewal.models.task import Scores
from renewal.store.contract import Store

_WHO = "OnnxRuntime.predict"
_TEXT = "tensor(string)"
_FLOAT64 = pa.float64()
_WIDTHS: dict[str, Any] = {"tensor(double)": np.float64, "tensor(float)": np.float32}
# How skl2onnx writes the category of a gap; where a fit had none it is an unseen one.
_GAP = "nan"
_MOST_KEPT = 8

_kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
_lock = Lock()


class OnnxRuntime:
    """Predicts with ONNX Runtime on one thread; `predict` may be called by many.

    Parameters
    ----------
    model : bytes
        A graph of `renewal.models.onnx_convert.convert`.
    n_scores : int
        Number of classes, or 1 for a regression.

    Notes
    -----
    A session computes rows on one thread, so that sums are made in one order and a row gets
    the same score in every batch. A gap is NaN in a column of numbers and, in one of texts,
    a category of its own.
    """

    def __init__(self, model: bytes, n_scores: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = {each.name: each.type for each in session.get_inputs()}
        self._output = session.get_outputs()[0].name
        self._n_scores = n_scores
        self._session: Any = session

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
            On a missing column, a text where a number belongs, or rows that the graph does
            not take.
        Unavailable
            When the runtime was closed.
        """
        session = self._session
        if session is None:
            raise Unavailable(
                _WHO,
                needs="an open runtime",
                came="a closed one",
                todo="Load the version again.",
            )
        self._demand_columns(features)
        if features.num_rows == 0:
            return np.empty((0, self._n_scores))
        feed = {name: _column(features, name, kind) for name, kind in self._inputs.items()}
        try:
            (found,) = session.run([self._output], feed)
        except (Fail, InvalidArgument, RuntimeException) as error:
            raise Invalid(
                _WHO,
                needs="rows that the compiled graph takes",
                came=f"{type(error).__name__}: {error}",
                todo="Compare the rows with those of the fit, or use the native form.",
            ) from error
        return self._scores(found, features.num_rows)

    def close(self) -> None:
        """Let go of the session; a prediction that is under way ends as it began."""
        self._session = None

    def _demand_columns(self, features: pa.Table) -> None:
        there = set(features.column_names)
        missing = [name for name in self._inputs if name not in there]
        if missing:
            raise Invalid(
                _WHO,
                needs=f"the columns {', '.join(self._inputs)}",
                came=f"none called {', '.join(map(repr, missing))}",
                todo="Send every column of the signature.",
                columns=missing,
            )

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
        return scores


def compiled_runtime(
    manifest: Manifest,
    store: Store,
    trust: tuple[str, ...] = (),
    *,
    timeout_s: float = 120.0,
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
    bytes, columns and trust, so that evaluating one twice converts it once. They are not put
    into the store, where bytes live that somebody's manifest names. A graph holds no score
    map: that is applied to what the graph says, so that a recalibrated version shares the
    graph of its parent.
    """
    check_environment(manifest)
    score_map = score_map_of(manifest, store)
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
    runtime = OnnxRuntime(model, len(manifest.classes) or 1)
    return runtime if score_map is None else MappedRuntime(runtime, score_map)


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
    # What is too large for float32 is infinite there, on the same side of every threshold.
    with np.errstate(over="ignore"):
        numbers: NDArray[Any] = column.to_numpy().astype(_WIDTHS[kind]).reshape(-1, 1)
    return numbers
