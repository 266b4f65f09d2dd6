"""A graph that came from elsewhere, as what answers requests: fewer steps a row than its adapter.

The adapter looks at columns and types at every call, since anybody may call it with anything.
A runtime belongs to one version: what its graph reads is settled once, when it is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Invalid, Unavailable
from renewal.core.spec import Signature
from renewal.models.onnx_even import is_unsteady
from renewal.models.onnx_feed import feed_of, output_of
from renewal.models.onnx_parts import Feed
from renewal.models.onnx_scored import scored, sorted_scores
from renewal.models.onnx_session import Graph, Session
from renewal.models.task import Scores

_WHO = "GraphRuntime.predict"
# Of rows of numbers; whole numbers could hold no gap.
_WIDTHS: dict[str, Any] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
_WIDTH_OF_A_MATRIX = 2


class GraphRuntime:
    """Predicts with the `Graph` of a version; `predict` may be called by many threads.

    Parameters
    ----------
    model : Graph
        Owned by the runtime from now on; its session is opened.
    signature : Signature
        The columns that it takes.

    Attributes
    ----------
    takes_matrix : bool
        Whether the graph reads all columns as one matrix of numbers.

    Raises
    ------
    Invalid
        When ONNX Runtime does not run the graph, or no output is the scores.
    Missing
        When its front needs Pillow or tokenizers, and they are not installed.
    """

    def __init__(self, model: Graph, signature: Signature) -> None:
        self._model: Graph | None = model
        self._names = list(signature.names)
        self._outputs = [output_of(model)]
        self._n_scores = len(model.classes) or 1
        if model.columns is not None:
            model.columns.ready()
        read = _matrix_of(model, signature)
        self.takes_matrix = read is not None
        self._input: str
        self._width: Any
        self._input, self._width = read or ("", np.float64)
        self._is_even = False
        if self.takes_matrix:
            self._is_even = _is_even(self, model, len(signature.names))

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
            On a missing column, or rows that the graph does not take.
        Unavailable
            When the runtime was closed.
        """
        model = self._opened()
        if features.column_names != self._names:
            features = self._ordered(features)
        if features.num_rows == 0:
            return np.empty((0, self._n_scores))
        if model.columns is None:
            return self._scored(model, feed_of(model, features), features.num_rows)
        scores = np.empty((features.num_rows, self._n_scores))
        for at, feed in model.columns.batches(features):
            scores[at] = scored(model, self._outputs, feed, len(at))
        return sorted_scores(model, scores)

    def predict_matrix(self, values: NDArray[np.float64]) -> Scores:
        """Return the scores of rows that are a matrix already, bit for bit as `predict` does.

        Parameters
        ----------
        values : float64 array, shape (n_rows, n_columns)
            The columns of the signature, in order; a gap is NaN.

        Raises
        ------
        Invalid
            On rows that the graph does not take, or where it reads no matrix.
        Unavailable
            When the runtime was closed.
        """
        model = self._opened()
        if not self.takes_matrix:
            raise Invalid(
                "GraphRuntime.predict_matrix",
                needs="a graph that reads all columns as one matrix of numbers",
                came="one with other inputs",
                todo="Hand in a table: predict.",
            )
        n_rows = len(values)
        if n_rows == 0:
            return np.empty((0, self._n_scores))
        if self._width is not np.float64:
            with np.errstate(over="ignore"):
                values = values.astype(self._width)
        return self._scored(model, {self._input: values}, n_rows)

    def close(self) -> None:
        """Let go of the graph; a prediction that is under way ends as it began."""
        self._model = None

    def _scored(self, model: Graph, feed: Feed, n_rows: int) -> Scores:
        found = scored(model, self._outputs, feed, n_rows, is_even=self._is_even)
        return sorted_scores(model, found)

    def _opened(self) -> Graph:
        model = self._model
        if model is None:
            raise Unavailable(
                _WHO,
                needs="an open runtime",
                came="a closed one",
                todo="Load the version again.",
            )
        return model

    def _ordered(self, features: pa.Table) -> pa.Table:
        missing = [name for name in self._names if name not in features.column_names]
        if missing:
            raise Invalid(
                _WHO,
                needs=f"the columns {', '.join(self._names)}",
                came=f"none called {', '.join(map(repr, missing))}",
                todo="Send every column of the signature.",
                columns=missing,
            )
        return features.select(self._names)


def _is_even(runtime: GraphRuntime, model: Graph, n_columns: int) -> bool:
    """Return whether rows are sent two by two; tried once a session, whatever is added to it."""
    held: Session | None = getattr(model, "held", None)
    known = None if held is None else held.is_even
    if known is None:
        known = is_unsteady(runtime.predict_matrix, n_columns)
        if held is not None:
            held.is_even = known
    return known


def _matrix_of(model: Graph, signature: Signature) -> tuple[str, Any] | None:
    """Return the one input of a graph that reads numbers side by side, and their width."""
    inputs = model.session.get_inputs()
    if model.columns is not None or len(inputs) != 1:
        return None
    (only,) = inputs
    are_numbers = all(each.kind in {"float", "int", "bool"} for each in signature.fields)
    # An input that bears the name of a column gets that column alone: see `feed_of`.
    if only.name in signature.names or only.type not in _WIDTHS or not are_numbers:
        return None
    if len(only.shape) != _WIDTH_OF_A_MATRIX:
        return None
    width = only.shape[1]
    if isinstance(width, int) and width != len(signature.names):
        return None
    return only.name, _WIDTHS[only.type]
