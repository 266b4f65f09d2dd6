"""A graph with an addition, as a model to register."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from onnx import numpy_helper

from renewal.core.errors import Corrupt, Invalid
from renewal.models.onnx_bytes import dump_model
from renewal.models.onnx_lora import Added, Addition, demand_fitting
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_whole import parsed
from renewal.models.task import Classes
from renewal.store.digest import digest as digest_of

_WHO = "lora_model"


def lora_model(
    base: OnnxModel, weights: Mapping[str, NDArray[Any]], *, classes: Classes | None = None
) -> OnnxModel:
    """Return a graph with an addition: a version that costs the bytes of its matrices.

    Versions on one base share its bytes in the store and, served, its session.

    Parameters
    ----------
    base : OnnxModel
        A graph with initializers that are inputs as well.
    weights : mapping of str to ndarray
        Of the initializers by name, each of its shape and type; the others stay as they are.
    classes : tuple or None, default None
        What the columns of the scores mean, where the addition holds the head; None: what they
        mean in the base.

    Raises
    ------
    Invalid
        On matrices that the graph has no place for, or another number of classes.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> from onnx import TensorProto, helper, numpy_helper
    >>> from renewal.models.onnx_adapter import OnnxAdapter
    >>> rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 2])
    >>> b = helper.make_tensor_value_info("b", TensorProto.FLOAT, [2, 1])
    >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    >>> zero = numpy_helper.from_array(np.zeros((2, 1), np.float32), "b")
    >>> product = helper.make_node("MatMul", ["rows", "b"], ["y"])
    >>> graph = helper.make_graph([product], "g", [rows, b], [y], [zero])
    >>> opsets = [helper.make_opsetid("", 17)]
    >>> base = OnnxModel.read(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    >>> tuned = lora_model(base, {"b": np.array([[1.0], [2.0]], np.float32)})
    >>> sent = pa.table({"x": [1.0], "z": [3.0]})
    >>> [float(OnnxAdapter().predict(each, sent)[0, 0]) for each in (base, tuned)]
    [0.0, 7.0]
    """
    plain = base_of(base)
    classes = plain.classes if classes is None else tuple(classes)
    if len(classes) != len(plain.classes):
        raise Invalid(
            _WHO,
            needs=f"{len(plain.classes)} classes, as the base has",
            came=f"{len(classes)}",
            todo="Name each column of its scores.",
        )
    demand_fitting(plain.session, weights)
    return with_addition(plain, Addition.of(digest_of_base(plain), classes, weights))


def with_addition(base: OnnxModel, addition: Addition) -> OnnxModel:
    """Return a base with an addition, which shares its session; `base` stays as it is.

    Raises
    ------
    Corrupt
        When the addition was made for another base.
    Invalid
        When the graph has no place for it.
    """
    plain = base_of(base)
    demand_base(addition, digest_of_base(plain))
    Added(plain.session, addition)
    found = replace(plain, classes=addition.classes, addition=addition.to_bytes())
    found.__dict__["_base"] = plain
    return found


def melted(model: OnnxModel) -> OnnxModel:
    """Return a model whose addition is in its weights: a graph of its own, to be compressed.

    Examples
    --------
    >>> from onnx import TensorProto, helper
    >>> rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 2])
    >>> graph = helper.make_graph([helper.make_node("Relu", ["rows"], ["y"])], "g", [rows], [])
    >>> plain = OnnxModel(helper.make_model(graph).SerializeToString())
    >>> melted(plain) is plain
    True
    """
    if model.addition is None:
        return model
    weights = Addition.from_bytes(model.addition).weights()
    proto = parsed(model.graph)
    for each in proto.graph.initializer:
        if each.name in weights:
            each.CopyFrom(numpy_helper.from_array(weights[each.name], each.name))
    inputs = [each for each in proto.graph.input if each.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    return replace(model, graph=proto.SerializeToString(deterministic=True), addition=None)


def base_of(model: OnnxModel) -> OnnxModel:
    """Return a model without its addition; one that has none, as it is."""
    if model.addition is None:
        return model
    known: OnnxModel | None = model.__dict__.get("_base")
    return replace(model, addition=None) if known is None else known


def digest_of_base(model: OnnxModel) -> str:
    """Return the digest of a model's bytes, its addition left out; worked out once."""
    if model.addition is not None:
        return Addition.from_bytes(model.addition).base
    found: str | None = model.__dict__.get("_digest")
    if found is None:
        found = model.__dict__["_digest"] = digest_of(dump_model(model))
    return found


def demand_base(addition: Addition, base: str) -> None:
    """Raise `Corrupt` when an addition was made for another base than the one of a digest."""
    if addition.base != base:
        raise Corrupt(
            "OnnxAdapter.load_onto",
            needs=f"the base {addition.base}, for which the addition was made",
            came=f"the base {base}",
            todo="Load it onto the base of its version.",
        )
