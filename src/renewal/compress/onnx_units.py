"""Which hidden units of a graph are read by dense layers alone, and how a bias is shifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from renewal.compress.onnx_layers import attribute
from renewal.compress.onnx_matrices import Array, Matrices, Matrix

# Each output is a function of the same unit of the inputs, and of numbers.
_UNITWISE = frozenset(
    ("Abs", "Add", "BiasGelu", "Cast", "Celu", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp",
     "FastGelu", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Max", "Min",
     "Mish", "Mul", "Neg", "PRelu", "Pow", "QuickGelu", "Relu", "Selu", "Sigmoid", "Softplus",
     "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu")
)  # fmt: skip
_DENSE = ("MatMul", "Gemm")


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """Hidden units: the layer that makes them, and all that read them.

    Parameters
    ----------
    first : Matrix
        Makes them.
    vectors : tuple of str
        Initializers with a number for each unit: biases, scales, slopes.
    nexts : tuple of Matrix
        Dense layers that read them, or functions of them; one or more.
    width : int
        How many there are.
    """

    first: Matrix
    vectors: tuple[str, ...]
    nexts: tuple[Matrix, ...]
    width: int


def hidden_of(graph: Matrices) -> list[Hidden]:
    """Return the hidden layers of which it is certain who reads them, in order."""
    uses = graph.found(_DENSE)
    readers = {each.node.name: each for each in uses}
    found = [_followed(graph, each, readers) for each in uses if not each.is_tied]
    return [each for each in found if each is not None]


def shifted(graph: Matrices, each: Matrix, by: Array) -> dict[str, list[Any]]:
    """Add numbers to what a dense layer says; return nodes to put in its place, if any.

    They go into its own bias, into that of an Add behind it, or into a new Add.
    """
    if not np.any(by):
        return {}
    node = each.node
    if node.op_type == "Gemm":
        scale = attribute(node, "beta", 1.0)
        named = node.input[2] if len(node.input) > 2 else ""
        if scale and (not named or named in graph.tensors):
            by = by * attribute(node, "alpha", 1.0) / scale
            moved = by + graph.array(named) if named else by
            made = graph.add(f"{node.name}_bias", moved, each.weight)
            if len(node.input) > 2:
                node.input[2] = made
            else:
                node.input.append(made)
            return {}
        by = by * attribute(node, "alpha", 1.0)
    readers = graph.users.get(each.out, [])
    if len(readers) == 1 and readers[0] is not None and readers[0].op_type == "Add":
        for at, name in enumerate(readers[0].input):
            if name in graph.tensors and _is_bias(graph, name, by.size):
                moved = graph.array(name) + by
                readers[0].input[at] = graph.add(f"{node.name}_bias", moved, name)
                return {}
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.output[0] = graph.fresh(f"{each.out}_without")
    bias = graph.add(f"{node.name}_bias", by, each.weight)
    add = onnx.helper.make_node("Add", [copy.output[0], bias], [each.out], name=f"{node.name}_add")
    return {node.name: [copy, add]}


def _is_bias(graph: Matrices, name: str, width: int) -> bool:
    dims = list(graph.tensors[name].dims)
    n_numbers = int(np.prod(dims))
    return n_numbers == 1 or (n_numbers == width and dims[-1] == width)


def _followed(graph: Matrices, first: Matrix, readers: dict[str, Matrix]) -> Hidden | None:
    """Follow units to their readers; None as soon as anything is not certain."""
    width = graph.matrix(first).shape[1]
    vectors, nexts = [], []
    if len(first.node.input) > 2 and first.node.input[2]:
        bias = _vectors(graph, [first.node.input[2]], width)
        if bias is None:
            return None
        vectors += bias
    inside = {first.out}
    for node in graph.proto.graph.node:
        if inside.isdisjoint(node.input):
            continue
        reader = readers.get(node.name)
        if reader is not None and inside.isdisjoint(node.input[1:]):
            if reader.is_tied:
                return None
            nexts.append(reader)
            continue
        other = [name for name in node.input if name and name not in inside]
        numbers = _vectors(graph, other, width) if node.op_type in _UNITWISE else None
        if numbers is None or any(graph.users.get(name) for name in node.output[1:]):
            return None
        vectors += numbers
        inside.add(node.output[0])
    if not nexts or any(None in graph.users.get(name, ()) for name in inside):
        return None
    return Hidden(first, tuple(vectors), tuple(nexts), width)


def _vectors(graph: Matrices, names: list[str], width: int) -> list[str] | None:
    """Return the initializers with a number a unit; None where one is something else.

    A single number, which is the same for all units, is left alone.
    """
    found = []
    for name in names:
        dims = list(graph.tensors[name].dims) if name in graph.tensors else None
        if dims is None:
            return None
        if int(np.prod(dims)) == 1:
            continue
        if dims[-1] != width or int(np.prod(dims)) != width or len(graph.users[name]) != 1:
            return None
        found.append(name)
    return found
