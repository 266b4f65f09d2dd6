"""The matrices of a graph that can be pruned or factorized, and who uses which tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_layers import STANDARD, Proto, attribute, parsed
from renewal.compress.onnx_shared import few_features
from renewal.models.onnx_feed import feed_of
from renewal.models.onnx_model import OnnxModel

Array = NDArray[Any]

_FLOATS = frozenset((TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16))
# Activations of all layers of many rows could fill the memory.
_BATCH_ROWS = 64
_PRODUCTS = ("MatMul", "Gemm")


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """One use of a weight by a product or a convolution.

    Parameters
    ----------
    node : onnx.NodeProto
        MatMul, Gemm or Conv, its weight the second input.
    weight : str
        The initializer.
    is_turned : bool
        Whether it lies as (outputs, inputs).
    is_tied : bool
        Whether anything else uses it too.
    """

    node: Any
    weight: str
    is_turned: bool
    is_tied: bool

    @property
    def source(self) -> str:
        """Name of the tensor that is multiplied."""
        return str(self.node.input[0])

    @property
    def out(self) -> str:
        """Name of the tensor that comes out."""
        return str(self.node.output[0])


class Matrices:
    """A graph taken apart, to be changed; the model that it came from stays as it is.

    Parameters
    ----------
    model : OnnxModel
        Of which a copy is changed.
    who : str
        Who asks, for the message of an error.
    """

    def __init__(self, model: OnnxModel, *, who: str) -> None:
        self.model = model
        self.proto: Proto = parsed(model.graph, who=who)
        self.tensors = {each.name: each for each in self.proto.graph.initializer}
        self.users: dict[str, list[Any]] = {}
        for node in self.proto.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
            for name in _inner_names(node):
                # A branch or a loop may do anything with it.
                self.users.setdefault(name, []).append(None)
        for each in self.proto.graph.output:
            self.users.setdefault(each.name, []).append(None)
        given = {each.name for each in self.proto.graph.input}
        self._taken = {*self.tensors, *self.users, *given}
        self.made_by = {name: node for node in self.proto.graph.node for name in node.output}
        self._taken.update(self.made_by)

    def found(self, kinds: Iterable[str] = ("MatMul", "Gemm", "Conv")) -> list[Matrix]:
        """Return the uses of float weights, in the order of the graph.

        Whole numbers, such as the weights of a quantized graph, are none, and neither is a
        product of two tensors that depend on the row.
        """
        wanted = set(kinds)
        uses = [
            self._matrix(node)
            for node in self.proto.graph.node
            if node.op_type in wanted and node.domain in STANDARD and len(node.input) > 1
        ]
        return [each for each in uses if each is not None]

    def array(self, name: str) -> Array:
        """Return the numbers of an initializer, as float32 or float64."""
        found: Array = numpy_helper.to_array(self.tensors[name])
        return found.astype(np.float32) if found.dtype == np.float16 else found.copy()

    def matrix(self, each: Matrix) -> Array:
        """Return the weight of a product as (inputs, outputs)."""
        found = self.array(each.weight)
        return found.T if each.is_turned else found

    def put(self, name: str, values: Array) -> None:
        """Set the numbers of an initializer; their type on disk stays."""
        kind = onnx.helper.tensor_dtype_to_np_dtype(self.tensors[name].data_type)
        made = numpy_helper.from_array(np.ascontiguousarray(values, dtype=kind), name)
        self.tensors[name].CopyFrom(made)

    def put_matrix(self, each: Matrix, values: Array) -> None:
        """Set the weight of a product, given as (inputs, outputs)."""
        self.put(each.weight, values.T if each.is_turned else values)

    def add(self, name: str, values: Array, like: str) -> str:
        """Add an initializer of the type of another; return its name, which is new."""
        name = self.fresh(name)
        tensor = self.proto.graph.initializer.add()
        tensor.name, tensor.data_type = name, self.tensors[like].data_type
        self.tensors[name] = tensor
        self.put(name, values)
        return name

    def fresh(self, name: str) -> str:
        """Return a name that no tensor bears yet, which is no other's from then on."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def replace_nodes(self, made: Mapping[str, Sequence[Any]]) -> None:
        """Put nodes in the place of others, named; drop what nobody uses any more."""
        nodes = []
        for node in self.proto.graph.node:
            for each in made.get(node.name, (node,)):
                copy = onnx.NodeProto()
                copy.CopyFrom(each)
                nodes.append(copy)
        needed = {each.name for each in self.proto.graph.output}
        kept = []
        for node in reversed(nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
                needed.update(_inner_names(node))
        tensors = [each for each in self.proto.graph.initializer if each.name in needed]
        graph = onnx.GraphProto()
        graph.CopyFrom(self.proto.graph)
        del graph.node[:]
        del graph.initializer[:]
        graph.node.extend(kept[::-1])
        graph.initializer.extend(tensors)
        self.proto.graph.CopyFrom(graph)
        self.tensors = {each.name: each for each in self.proto.graph.initializer}

    def written(self) -> Proto:
        """Return the changed graph, without the shapes that an export had noted."""
        del self.proto.graph.value_info[:]
        return self.proto

    def watch(self, names: Iterable[str], features: pa.Table) -> Iterator[dict[str, Array]]:
        """Yield what tensors are for some rows, by name, a few rows at a time.

        Parameters
        ----------
        names : iterable of str
            Tensors that depend on the rows.
        features : pyarrow.Table
            One row or more, with the columns of the form.
        """
        probe = onnx.ModelProto()
        probe.CopyFrom(self.proto)
        del probe.graph.value_info[:]
        there = {each.name for each in probe.graph.output}
        given = {each.name for each in probe.graph.input}
        wanted = [name for name in dict.fromkeys(names) if name not in given]
        probe.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in wanted if name not in there
        )
        model = replace(self.model, graph=probe.SerializeToString(deterministic=True))
        for start in range(0, features.num_rows, _BATCH_ROWS):
            feed = feed_of(model, features.slice(start, _BATCH_ROWS))
            answers = model.session.run(wanted, feed) if wanted else []
            yield {**feed, **dict(zip(wanted, answers, strict=True))}

    def _matrix(self, node: Any) -> Matrix | None:
        name, is_turned = node.input[1], bool(attribute(node, "transB", 0))
        maker, n_uses = self.made_by.get(name), len(self.users.get(name, ()))
        if maker is not None and maker.op_type == "Transpose":
            # An export may leave the turning of a weight to the runtime.
            order = list(attribute(maker, "perm", (1, 0)))
            name, is_turned = maker.input[0], not is_turned
            n_uses = max(n_uses, len(self.users.get(name, ())))
            if order != [1, 0]:
                return None
        tensor = self.tensors.get(name)
        n_dims = None if tensor is None else len(tensor.dims)
        if tensor is None or tensor.data_type not in _FLOATS or attribute(node, "transA", 0):
            return None
        if n_dims != 2 and (node.op_type in _PRODUCTS or (n_dims or 0) < 3):
            return None
        return Matrix(node, name, is_turned, n_uses > 1)


def rows_for(form: Form, material: Material, n_rows: int) -> pa.Table:
    """Return some rows of the material to look at activations with; maybe none.

    Training rows, or where there are none rows without a label.
    """
    if len(material.train) or material.unlabelled is None:
        return few_features(form, material, n_rows)
    return material.unlabelled.slice(0, n_rows).select(list(form.signature.names))


def _inner_names(node: Any) -> list[str]:
    """Return the names that the branches and loops of a node use, from anywhere."""
    found = []
    for each in node.attribute:
        for graph in (each.g, *each.graphs):
            for inner in graph.node:
                found += [*inner.input, *_inner_names(inner)]
            # A branch may hand a tensor from outside on as it is.
            found += [value.name for value in graph.output]
    return found
