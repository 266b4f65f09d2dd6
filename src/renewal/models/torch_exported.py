"""Exported programs: a network as a graph of operators, which needs no class to be imported.

Reading one is not free of risk: torch parses expressions of sizes that stand in it as text, and
would unpickle what it holds besides tensors. So it is read only where the operator trusts
exported programs, and only when everything in it is tensors.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, fx, nn
from torch.export.passes import move_to_device_pass
from torch.utils._pytree import tree_leaves

from renewal.core.errors import Invalid, Refused

TYPE = "torch.export.ExportedProgram"
"""What the operator writes into `trust` to let exported programs be read."""

_WHO = "an exported program"
_TENSORS = ("weight_", "tensor_")
_PLACE = re.compile(r"(cpu|cuda)(:\d+)?")
_LINEAR = torch.ops.aten.linear.default


class Program(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """An exported program as a module whose parameters can be trained.

    It computes as it was exported: without dropout, and with fixed means in its batch
    normalizations, where it was exported in evaluation mode.

    Parameters
    ----------
    inner : torch.nn.Module
        As `ExportedProgram.module` returns it.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def train(self, mode: bool = True) -> Program:  # noqa: FBT001, FBT002  # torch's own signature
        """Note the mode alone: a graph has none."""
        self.training = mode
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the outputs of the program."""
        found: Tensor = self.inner(*inputs)
        return found

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Program:  # noqa: FBT001, FBT002  # torch's own signature
        """Take the graph along when the weights move: it names the device of its export."""
        super()._apply(fn, recurse)
        first = next(iter(self.state_dict().values()), None)
        if first is not None:
            _move_graphs(self.inner, first.device)
        return self

    def trunk(self) -> nn.Module:
        """Return the program up to what its last linear operator is handed; weights are shared.

        Raises
        ------
        Invalid
            When it has no linear operator.
        """
        inner: fx.GraphModule = self.inner
        linear = [node for node in inner.graph.nodes if node.target is _LINEAR]
        if not linear:
            raise Invalid(
                _WHO,
                needs="a linear layer that gives its scores",
                came="a graph without one",
                todo="Let a linear layer be the last one.",
            )
        graph = fx.Graph()
        copied: dict[fx.Node, fx.Node] = {}
        graph.graph_copy(inner.graph, copied)
        graph.output(copied[linear[-1].args[0]])
        trunk = fx.GraphModule(inner, graph)
        graph.eliminate_dead_code()
        trunk.recompile()
        return trunk


def program_bytes(program: torch.export.ExportedProgram) -> bytes:
    """Return a program as torch writes it; equal programs give equal bytes.

    One that was exported on a GPU is written as if on the CPU: torch reads it nowhere else than
    where such a GPU is. `program` stays as it is.
    """
    file = io.BytesIO()
    torch.export.save(program, file)
    if all(each.device.type == "cpu" for each in _tensors_of(program)):
        return file.getvalue()
    # What was just written is read once more: the move changes the program that it is given.
    copied = torch.export.load(io.BytesIO(file.getvalue()))
    file = io.BytesIO()
    torch.export.save(move_to_device_pass(copied, "cpu"), file)
    return file.getvalue()


def program_of(data: bytes) -> Program:
    """Return the program in `data`. Only bytes that were made here or are trusted come here.

    Raises
    ------
    Refused
        When it holds something besides tensors, which torch would unpickle.
    Invalid
        When torch cannot read it.
    """
    _demand_tensors_only(data)
    try:
        return Program(torch.export.load(io.BytesIO(data)).module())
    except (RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise Invalid(
            _WHO,
            needs="a program that this torch can read",
            came=f"{type(error).__name__}: {error}",
            todo="Export it again, on the CPU, with the torch that is installed here.",
        ) from error


def _tensors_of(program: torch.export.ExportedProgram) -> list[Tensor]:
    held = [*program.state_dict.values(), *program.constants.values()]
    given = [] if program.example_inputs is None else tree_leaves(program.example_inputs)
    return [each for each in (*held, *given) if isinstance(each, Tensor)]


def _move_graphs(module: nn.Module, device: torch.device) -> None:
    """Have graphs make their tensors on a device, and move the constants that they hold."""

    def moved(value: Any) -> Any:
        # Torch writes it as a text where it has moved the program before.
        is_place = isinstance(value, str) and _PLACE.fullmatch(value) is not None
        return device if is_place or isinstance(value, torch.device) else value

    for each in module.modules():
        for name, value in list(vars(each).items()):
            if isinstance(value, Tensor):
                setattr(each, name, value.to(device))
        if isinstance(each, fx.GraphModule):
            for node in each.graph.nodes:
                node.args = fx.node.map_aggregate(node.args, moved)
                node.kwargs = fx.node.map_aggregate(node.kwargs, moved)
            each.recompile()


def _demand_tensors_only(data: bytes) -> None:
    strange = []
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.endswith("_config.json"):
                    payloads = json.loads(archive.read(name))["config"]
                    strange += [
                        key
                        for key, each in payloads.items()
                        if each["use_pickle"] or not each["path_name"].startswith(_TENSORS)
                    ]
                elif "/sample_inputs/" in name:
                    torch.load(
                        io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True
                    )
                elif name.endswith(".pt"):
                    strange.append(name)
    except pickle.UnpicklingError:
        strange.append("sample inputs that are no tensors")
    except (BadZipFile, ValueError, KeyError, TypeError, RuntimeError, EOFError) as error:
        raise Invalid(
            _WHO,
            needs="an archive of torch.export.save",
            came=f"{len(data):,} bytes: {error}",
            todo="Export the program again.",
        ) from error
    if strange:
        raise Refused(
            _WHO,
            needs="a program of operators and tensors alone",
            came=f"also pickled objects: {', '.join(strange[:5])}",
            todo="Export it without objects of one's own.",
        )
