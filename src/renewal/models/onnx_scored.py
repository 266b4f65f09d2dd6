"""One run of a graph that came from elsewhere, and its scores in the order of the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as Unsupported,
)

from renewal.core.errors import Invalid
from renewal.models.onnx_even import evened
from renewal.models.onnx_feed import scores_of
from renewal.models.onnx_parts import Feed
from renewal.models.onnx_session import Graph
from renewal.models.task import Scores


def scored(
    model: Graph, outputs: list[str], feed: Feed, n_rows: int, *, is_even: bool = False
) -> Scores:
    """Return the scores of some rows, in the graph's own order of classes.

    Parameters
    ----------
    model : Graph
        Says how its answer is read.
    outputs : list of one str
        The output that holds the scores.
    feed : mapping of str to ndarray
        What goes into each input.
    n_rows : int
        Of the feed.
    is_even : bool, default False
        Whether rows are sent two by two; see `renewal.models.onnx_even`.

    Raises
    ------
    Invalid
        When the graph does not take the rows, or what it answers are no probabilities.
    """
    is_padded = is_even and n_rows % 2 == 1
    try:
        found: Any = model.run(outputs, evened(feed) if is_padded else feed)
    except (Fail, InvalidArgument, Unsupported, RuntimeException) as error:
        raise Invalid(
            "OnnxAdapter.predict",
            needs="rows that the graph takes",
            came=f"{type(error).__name__}: {error}",
            todo="Compare them with its inputs; its number of rows must be free.",
        ) from error
    answer = found[0][:-1] if is_padded else found[0]
    return scores_of(model, answer, n_rows)


def sorted_scores(model: Graph, scores: Scores) -> Scores:
    """Return scores with their columns in the order of the sorted classes."""
    order = model.order
    return scores if order is None else np.ascontiguousarray(scores[:, order])
