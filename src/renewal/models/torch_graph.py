"""A module as an ONNX graph: two exporters, what they write made small, and equal scores."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.models.task import Scores

OPSET = 18
TOLERANCE = 1e-4
"""How far a score may be off: single precision sums in another order, and no more."""
SIZES = (1, 2, 7)
"""Rows of the batches that are compared; exporters like to take one size for all."""
OUTPUT = "scores"

# What the exporters tell on the way: it concerns their authors.
_LOGGERS = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "torch.__trace",
            "onnxscript", "onnx_ir")  # fmt: skip
# Numbers of a weight from which a copy of it is more than the node that spares it.
_WORTH_TURNING = 64
_OPERATOR = re.compile(r"(?:aten|prims|prim|torchvision)(?:::|\.)\w+")


@dataclass(frozen=True, slots=True)
class Example:
    """An input of a graph.

    Parameters
    ----------
    name : str
        Of the input.
    tensor : Tensor
        Rows that the module takes, on the CPU.
    free : mapping of int to str
        The dimensions that are not fixed, and what they are called; always 0, the rows.
    """

    name: str
    tensor: Tensor
    free: Mapping[int, str]


def graph_of(
    module: nn.Module,
    examples: Sequence[Example],
    *,
    demand: Callable[[bytes], None],
    who: str,
) -> bytes:
    """Return a module as the bytes of one ONNX graph with a single output, `OUTPUT`.

    The exporter of whole programs goes first; the older one, which follows one call, comes
    next. The first graph that passes `demand` is taken.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode, on the CPU. Hand in a copy: exporters leave traces.
    examples : sequence of Example
        Its arguments, in order.
    demand : callable
        Raises `Invalid` on a graph that does not score as the module does.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        When neither exporter writes a graph, naming the operator, or none is equal.

    Notes
    -----
    0.5 s for a small convolutional network, 2 s for a transformer of two layers, and about
    2 s more for the first of a process.
    """
    failures: list[Invalid] = []
    for export in (_whole_program, _one_call):
        try:
            graph = _small(_tried(export, module, examples, who))
            demand(graph)
        except Invalid as error:
            failures.append(error)
        else:
            return graph
    # An unequal graph says more than an operator that the other exporter does not know.
    unequal = [each for each in failures if "not equal" in str(each)]
    raise (unequal or failures)[0]


def demand_equal(expected: Scores, found: Scores, *, who: str) -> None:
    """Raise `Invalid` when scores differ by more than `TOLERANCE`.

    Parameters
    ----------
    expected, found : float64, shape (n_rows, n_scores)
        Of the network, and of its graph: probabilities, or values in spreads of the labels.
        Values above one may be off by as much more.
    who : str
        The verb that asks, for the message.

    Examples
    --------
    >>> one = np.array([[0.25, 0.75]])
    >>> demand_equal(one, one + 1e-5, who="demo")
    >>> demand_equal(one, one[:, ::-1], who="demo")
    Traceback (most recent call last):
    renewal.core.errors.Invalid: demo needs ... export is not equal: ... differ by up to 0.5...
    """
    far = np.abs(found - expected)
    if not (far <= TOLERANCE * np.maximum(1.0, np.abs(expected))).all():
        raise Invalid(
            who,
            needs=f"a graph whose scores differ from the network's by at most {TOLERANCE:g}",
            came=f"export is not equal: on {len(expected)} rows its scores differ by up to "
            f"{far.max(initial=0.0):.3g}",
            todo="Take branches that depend on values or on the number of rows out of its code, "
            "or keep the network in its own format.",
        )


def _whole_program(module: nn.Module, examples: Sequence[Example]) -> Any:
    names = {name for each in examples for name in each.free.values()}
    sizes = {name: torch.export.Dim(name) for name in sorted(names)}
    shapes = [{at: sizes[name] for at, name in each.free.items()} for each in examples]
    program = torch.onnx.export(
        module,
        tuple(each.tensor for each in examples),
        dynamo=True,
        dynamic_shapes=(tuple(shapes),),
        input_names=[each.name for each in examples],
        output_names=[OUTPUT],
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _one_call(module: nn.Module, examples: Sequence[Example]) -> Any:
    file = io.BytesIO()
    # It turns its log on, whatever it was told, and on failure writes the whole graph to the
    # terminal; the first thing that it does then is to call the module.
    hook = module.register_forward_pre_hook(lambda *_: _turn_log_off())
    try:
        torch.onnx.export(
            module,
            tuple(each.tensor for each in examples),
            file,
            dynamo=False,
            dynamic_axes={each.name: dict(each.free) for each in examples} | {OUTPUT: {0: "rows"}},
            input_names=[each.name for each in examples],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    finally:
        hook.remove()
    return onnx.load_model_from_string(file.getvalue())


def _turn_log_off() -> None:
    turn = getattr(torch._C, "_jit_set_onnx_log_enabled", None)  # noqa: SLF001  # it has no other switch
    if turn is not None:
        turn(False)


def _tried(
    export: Callable[[nn.Module, Sequence[Example]], Any],
    module: nn.Module,
    examples: Sequence[Example],
    who: str,
) -> Any:
    try:
        with torch.no_grad(), _quietly():
            return export(module, examples)
    except Exception as error:  # the exporters raise kinds of their own, another each release
        chain = "\n".join(str(each) for each in _causes(error))
        operator = _OPERATOR.search(chain)
        first = next((line.strip() for line in chain.splitlines() if line.strip()), "")
        raise Invalid(
            who,
            needs="a network whose operators can be written as ONNX",
            came=(f"the operator {operator.group()}: " if operator else "")
            + f"{type(error).__name__}: {first[:300]}",
            todo="Replace what the message names by plain operators, or keep the network in its "
            "own format.",
        ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what lay under an error, the deepest first: the exporter wraps it twice."""
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
    yield error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporters from writing: what counts is the graph, and it is compared."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        # On failure they print half a program.
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _small(model: Any) -> bytes:
    """Return a graph without what only its making needed, and each weight once.

    Exporters note for every node from which line of whose code it came: on a small network
    that is more than its weights, and it names files of the machine.
    """
    del model.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for each in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        each.doc_string = ""
        del each.metadata_props[:]
    for node in (*_nodes(model.graph), *(node for each in model.functions for node in each.node)):
        node.doc_string = ""
        del node.metadata_props[:]
    _merge_equal(model.graph)
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield from _and_inner(node)


def _and_inner(node: Any) -> Iterator[Any]:
    yield node
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            yield from _nodes(inner)


def _merge_equal(graph: Any) -> None:
    """Keep one of the initializers that are equal: tied weights are written once.

    An exporter turns a weight over beforehand where an operator wants it so; a tied one is then
    there both ways. Such a one is turned over by the graph, which costs nothing: the runtime
    does it once, when it opens its session.
    """
    first: dict[tuple[Any, ...], str] = {}
    renamed: dict[str, str] = {}
    kept, turned = [], []
    for each in graph.initializer:
        data = onnx.numpy_helper.to_array(each)
        key, other = _key(each, data), _key(each, data.T)
        if key in first:
            renamed[each.name] = first[key]
        elif data.ndim == 2 and data.size >= _WORTH_TURNING and other in first:
            inputs, name = [first[other]], f"turn_{each.name}"
            turned.append(
                onnx.helper.make_node("Transpose", inputs, [each.name], name, perm=[1, 0])
            )
            first[key] = each.name
        else:
            first[key] = each.name
            kept.append(each)
    if len(kept) == len(graph.initializer):
        return
    # Copies: what is taken out of a message is gone.
    nodes = [copy.deepcopy(each) for each in (*turned, *graph.node)]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in (each for top in nodes for each in _and_inner(top)):
        node.input[:] = [renamed.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(nodes)


def _key(tensor: Any, data: Any) -> tuple[Any, ...]:
    return tensor.data_type, data.shape, hashlib.sha256(data.tobytes()).digest()
