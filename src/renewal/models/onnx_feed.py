"""Arrow tables as the inputs of a graph that came from elsewhere, and its outputs as scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.onnx_session import Graph
from renewal.models.task import Scores

_WHO = "OnnxAdapter.predict"
_TEXT = "tensor(string)"
_WIDTHS: dict[str, Any] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
# How far probabilities may be from a sum of one: single precision over many classes.
_SLACK = 1e-2


def feed_of(model: Graph, features: pa.Table) -> dict[str, NDArray[Any]]:
    """Return what goes into each input of a graph.

    An input that bears the name of a column gets that column, of shape (n_rows, 1), or
    (n_rows,) where the input has one dimension. A single input of another name gets all
    columns side by side, in the order of the signature; a column of tensors gets through as
    it is, of shape (n_rows, ...). Where the model has a front, that alone decides.

    Raises
    ------
    Invalid
        On inputs for which no column is there, or columns of another type.
    """
    if model.columns is not None:
        return model.columns.feed(features)
    inputs = model.session.get_inputs()
    names = [each.name for each in inputs]
    if all(name in features.column_names for name in names):
        return {each.name: _one(features.column(each.name), each) for each in inputs}
    if len(inputs) != 1:
        missing = [name for name in names if name not in features.column_names]
        raise Invalid(
            _WHO,
            needs=f"a column for each input: {', '.join(names)}",
            came=f"none called {', '.join(map(repr, missing))}",
            todo="Name the columns as the inputs, or export a graph with one input.",
            columns=missing,
        )
    (only,) = inputs
    if features.num_columns == 1 and _is_tensor(features.column(0).type):
        return {only.name: _one(features.column(0), only)}
    width = only.shape[1] if len(only.shape) == 2 else None
    if len(only.shape) != 2 or (isinstance(width, int) and width != features.num_columns):
        raise Invalid(
            _WHO,
            needs=f"rows of shape {only.shape} for the input {only.name!r}",
            came=f"{features.num_columns} columns: {', '.join(features.column_names)}",
            todo="Send the columns of the fit, in the order of the signature.",
        )
    columns = [_flat(column, name, only.type) for name, column in _columns(features)]
    return {only.name: np.column_stack(columns)}


def scores_of(model: Graph, found: Any, n_rows: int) -> Scores:
    """Return the answer of a graph as float64 of shape (n_rows, n_scores), in its own order.

    Raises
    ------
    Invalid
        On another shape, what is not finite, or shares that do not sum to one: they are
        logits, or no probabilities at all.
    """
    if isinstance(found, list):
        found = [[row[label] for label in model.classes] for row in found]
    scores = np.ascontiguousarray(found, dtype=np.float64).reshape(n_rows, -1)
    n_scores = len(model.classes) or 1
    if model.is_logits and model.classes:
        scores = np.ones_like(scores) if n_scores == 1 else _shares(scores)
    if n_scores == 2 and scores.shape[1] == 1:
        scores = np.column_stack([1.0 - scores, scores])
    if scores.shape != (n_rows, n_scores):
        raise _no_scores(scores, n_rows, n_scores)
    if not model.classes:
        if not np.isfinite(scores).all():
            raise _no_scores(scores, n_rows, n_scores)
        return scores
    return _as_shares(scores)


def _as_shares(scores: Scores) -> Scores:
    """Return probabilities that sum to one where they nearly do; in few steps, for one row."""
    lowest = scores.min()
    # False of NaN as well.
    if not lowest >= -_SLACK:
        raise _no_shares(scores)
    sums = np.add.reduce(scores, axis=1, keepdims=True)
    # What is infinite, its sum is too: one look at the sums does for both.
    off = abs(sums.item() - 1.0) if len(scores) == 1 else np.abs(sums - 1.0).max()
    if off > _SLACK:
        raise _no_shares(scores)
    if lowest < 0.0:
        scores = np.maximum(scores, 0.0)
        sums = np.add.reduce(scores, axis=1, keepdims=True)
    found: Scores = scores / sums
    return found


def _no_shares(scores: Scores) -> Invalid:
    if not np.isfinite(scores).all():
        return _no_scores(scores, *scores.shape)
    sums = scores.sum(axis=1)
    return Invalid(
        _WHO,
        needs="probabilities, which are not below zero and sum to one",
        came=f"scores from {scores.min():.3g}, sums from {sums.min():.3g} to {sums.max():.3g}",
        todo="If they are logits, say so: OnnxModel.read(path, is_logits=True).",
    )


def _no_scores(scores: Scores, n_rows: int, n_scores: int) -> Invalid:
    return Invalid(
        _WHO,
        needs=f"{n_scores} finite scores for each of {n_rows} rows",
        came=f"shape {scores.shape}, {int((~np.isfinite(scores)).sum())} not finite",
        todo="Name the output and the classes: OnnxModel.read(path, output=..., classes=(...)).",
    )


def output_of(model: Graph) -> str:
    """Return the name of the output that holds the scores.

    Raises
    ------
    Invalid
        When it is not there, or several can be and none was named.
    """
    outputs = model.session.get_outputs()
    if model.output is not None:
        if model.output in {each.name for each in outputs}:
            return model.output
        able = []
    else:
        able = [each for each in outputs if each.type.startswith("seq(map(")] or [
            each for each in outputs if each.type in {"tensor(float)", "tensor(double)"}
        ]
    if len(able) == 1:
        return str(able[0].name)
    raise Invalid(
        _WHO,
        needs="one output that holds the scores",
        came=", ".join(f"{each.name}: {each.type}" for each in outputs),
        todo="Name it: OnnxModel.read(path, output=...).",
    )


def _shares(logits: Scores) -> Scores:
    """Return the probabilities of logits; of one column, that of the second class."""
    if logits.shape[1] == 1:
        # Half a tanh, so that no exponential can overflow.
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _columns(features: pa.Table) -> list[tuple[str, Any]]:
    return list(zip(features.column_names, features.columns, strict=True))


def _is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType)


def _one(column: Any, node: Any) -> NDArray[Any]:
    """Return a column as the tensor of one input."""
    if _is_tensor(column.type):
        whole = column.combine_chunks()
        found: NDArray[Any] = whole.to_numpy_ndarray().astype(_width(node.type))
        return found
    flat = _flat(column, node.name, node.type)
    return flat if len(node.shape) == 1 else flat.reshape(-1, 1)


def _width(kind: str) -> Any:
    if kind not in _WIDTHS:
        raise Invalid(
            _WHO,
            needs=f"inputs of {', '.join(_WIDTHS)} or {_TEXT}",
            came=kind,
            todo="Export the graph with inputs of one of these.",
        )
    return _WIDTHS[kind]


def _flat(column: Any, name: str, kind: str) -> NDArray[Any]:
    """Return a column of numbers or of texts, of shape (n_rows,)."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    is_null = pa.types.is_null(column.type)
    has_gap = column.null_count > 0
    is_whole = kind != _TEXT and not np.issubdtype(_width(kind), np.floating)
    if _is_tensor(column.type) or (is_text != (kind == _TEXT) and not is_null):
        came = f"the type {column.type}"
    elif has_gap and (is_whole or kind == _TEXT):
        came = f"{column.null_count} gaps"
    elif kind == _TEXT:
        texts: NDArray[Any] = column.to_numpy().astype(object)
        return texts
    else:
        numbers: NDArray[Any] = pc.cast(column, pa.float64(), safe=False).to_numpy()
        with np.errstate(over="ignore"):
            return numbers.astype(_width(kind))
    raise Invalid(
        _WHO,
        needs=f"{'texts' if kind == _TEXT else 'numbers'} in the column {name!r} for {kind}",
        came=came,
        todo="Send the column in the type of the input, without gaps where it takes none.",
        column=name,
    )
