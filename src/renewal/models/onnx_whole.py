"""Bytes as a graph, and the demand that its weights are in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from renewal.core.errors import Invalid
from renewal.models.onnx_split import WEIGHTS, Place, no_graph

_WHO = "OnnxModel"


def parsed(graph: bytes) -> Any:
    """Return the `onnx.ModelProto` in some bytes; raise `Invalid` where there is none.

    Notes
    -----
    110 ms for 256 MB, in which nothing else runs: not for a process that answers requests.
    """
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise no_graph(len(graph)) from error
    if not model.graph.node:
        raise no_graph(len(graph))
    return model


def demand_whole(model: Any, places: Collection[Place] = ()) -> None:
    """Refuse weights in other files: their paths come from the graph, and are read as told.

    Parameters
    ----------
    model : onnx.ModelProto
        Of anybody.
    places : collection of (int, int), default ()
        Offset and length in `WEIGHTS` of those that Renewal wrote beside it itself.
    """
    outside = sorted(
        {
            tensor.name
            for tensor in _tensors(model)
            if tensor.data_location == onnx.TensorProto.EXTERNAL and not _is_own(tensor, places)
        }
    )
    if outside:
        raise Invalid(
            _WHO,
            needs="a graph that holds its weights",
            came=f"weights in other files: {', '.join(outside[:5])}",
            todo="Save it in one file: onnx.save(onnx.load(path), 'whole.onnx').",
        )


def _is_own(tensor: Any, places: Collection[Place]) -> bool:
    said = [(each.key, each.value) for each in tensor.external_data]
    return said in (
        [("location", WEIGHTS), ("offset", str(at)), ("length", str(length))]
        for at, length in places
    )


def _tensors(model: Any) -> Iterator[Any]:
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs.extend([each for each in (attribute.g, *attribute.graphs) if each.node])
