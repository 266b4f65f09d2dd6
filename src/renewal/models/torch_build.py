"""From an import path to a module: only what the operator trusts is ever imported."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid, Missing, Refused, RenewalError, Unavailable
from renewal.models.torch_exported import program_of
from renewal.models.torch_inputs import Tensors, finished
from renewal.models.torch_model import Fitted, TorchModel
from renewal.store.digest import digest

# What the CPU says, and what a GPU says that has no room even for a process to begin with.
_NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory")
# A kind of its own since torch 2.8; before, the text alone tells.
_LOST: Any = getattr(torch, "AcceleratorError", ())
_SOON_S = 1.0
# What a network of others raises when it is handed what it does not take.
_RAISED = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
)


def imported(path: str, *, who: str) -> Any:
    """Return what an import path such as ``shop.nets:SmallCnn`` names.

    Call it with paths that the user handed in in this process, or that `demand_trust` passed.

    Raises
    ------
    Missing
        When the module cannot be imported, or holds no such name.
    Invalid
        When it is no path.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise Invalid(
            who,
            needs="an import path such as 'shop.nets:SmallCnn'",
            came=repr(path),
            todo="Write the module, a colon and the name.",
        )
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise Missing(
            who,
            needs=f"{path!r}, which builds a part of the model",
            came=f"{type(error).__name__}: {error}",
            todo="Install its package here, or add its folder to PYTHONPATH; where it was "
            "renamed, keep the old name beside the new one.",
        ) from error
    return found


def demand_trust(paths: tuple[str, ...], trust: tuple[str, ...], *, who: str) -> None:
    """Refuse import paths that come from bytes and that the operator does not trust.

    Raises
    ------
    Refused
        Naming all of them in ``fields["types"]``, as dotted names.
    """
    allowed = {each.replace(":", ".") for each in trust}
    names = tuple(path.replace(":", ".") for path in paths)
    strange = tuple(name for name in names if name not in allowed)
    if strange:
        listed = ", ".join(f'"{name}"' for name in strange)
        raise Refused(
            who,
            needs="a network that is built by trusted code only",
            came=f"one that would import {', '.join(strange)}",
            todo=f"Read their code; if you trust it, write trust = [{listed}] into renewal.toml.",
            types=strange,
        )


def built(model: TorchModel, *, who: str) -> nn.Module:
    """Return a fresh module of a recipe.

    Raises
    ------
    Missing
        When its code is not here.
    Invalid
        When it raises, or returns no module.
    """
    if isinstance(model.module, bytes):
        return program_of(model.module)
    assert isinstance(model.module, str)
    make = imported(model.module, who=who)
    with tried(who, f"the options {dict(model.options)}"):
        made = make(**copy.deepcopy(dict(model.options)))
    if not isinstance(made, nn.Module):
        raise Invalid(
            who,
            needs=f"{model.module} to return a torch.nn.Module",
            came=f"a {type(made).__name__}",
            todo="Name a class of modules, or a function that returns one.",
        )
    return made


def copied(model: TorchModel, fitted: Fitted) -> nn.Module:
    """Return a copy of a fitted module that shares nothing with it."""
    if not isinstance(model.module, bytes):
        return copy.deepcopy(fitted.module)
    # A graph holds what Python cannot copy without warnings: it is read once more.
    program = program_of(model.module)
    program.load_state_dict(fitted.module.state_dict())
    return program


def code_digest(model: TorchModel) -> str:
    """Return a digest of the text of the file that builds the module, where there is one."""
    if isinstance(model.module, bytes):
        return digest(model.module)
    assert isinstance(model.module, str)
    try:
        source = inspect.getsource(inspect.getmodule(imported(model.module, who="a fit")))  # type: ignore[arg-type]  # None raises TypeError, below
    except (OSError, TypeError):
        source = ""
    return digest(f"{model.module} {sorted(model.options.items())} {source}".encode())


def called(fitted: Fitted, module: nn.Module, tensors: Tensors, *, who: str) -> Tensor:
    """Run a module on raw tensors of rows; return its outputs, (n, n_outputs).

    Raises
    ------
    Invalid
        When it does not take the rows, or gives other outputs than one for each class.
    Unavailable
        When memory is too small.
    """
    n_outputs = len(fitted.classes) or 1
    with tried(who, "rows of these columns"):
        outputs = module(*finished(fitted.inputs, tensors))
    outputs = getattr(outputs, "logits", outputs)
    if isinstance(outputs, Tensor) and outputs.ndim == 1 and n_outputs == 1:
        outputs = outputs[:, None]
    if not isinstance(outputs, Tensor) or outputs.shape != (len(tensors[0]), n_outputs):
        came = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise Invalid(
            who,
            needs=f"{n_outputs} outputs for each of {len(tensors[0])} rows from the network",
            came=f"{came}",
            todo="Let its last linear layer be the last one that it names, or give its name: "
            "TorchModel(head=...).",
        )
    return outputs


@contextmanager
def tried(who: str, what: str) -> Iterator[None]:
    """Turn what a user's network raises into a typed error.

    Whatever comes once a GPU has refused a kernel comes from every call after it, too: with
    ``reason="device"`` the process is spent, and who runs it starts another.
    """
    try:
        yield
    except RenewalError:
        raise
    except _RAISED as error:
        text = str(error)
        # A GPU has an error of its own for this; the CPU has one sentence.
        if isinstance(error, torch.OutOfMemoryError) or any(each in text for each in _NO_MEMORY):
            raise Unavailable(
                who,
                needs="more memory on the device",
                came=text.splitlines()[0],
                todo="Lower the option batch and raise accumulate, or take precision=bfloat16.",
                reason="memory",
                retry_after_s=_SOON_S,
            ) from error
        if isinstance(error, _LOST) or "CUDA error" in text:
            raise Unavailable(
                who,
                needs="a GPU that takes the work of this process",
                came=text.splitlines()[0],
                todo="Look in the rows for values that the network takes as places, such as codes "
                "beyond an embedding: with RENEWAL_DEVICE=cpu torch names them.",
                reason="device",
                retry_after_s=_SOON_S,
            ) from error
        raise Invalid(
            who,
            needs=f"a network that takes {what}",
            came=f"{type(error).__name__}: {error}",
            todo="Compare its code with the columns and the options that it is given.",
        ) from error


def on_device(module: nn.Module, tensors: Tensors) -> Tensors:
    """Return tensors where the parameters of a module lie."""
    first = next(module.parameters(), None)
    device = torch.device("cpu") if first is None else cast("Tensor", first).device
    return tuple(each.to(device) for each in tensors)
