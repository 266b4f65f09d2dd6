"""A network as a recipe, and what a fit adds to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from renewal.core.errors import Invalid
from renewal.models.layers import Tuning
from renewal.models.task import Classes
from renewal.models.torch_exported import program_bytes
from renewal.models.torch_inputs import Inputs, Reading

FROM_SCRATCH = Tuning(epochs=20, patience=None)

Loss = Literal["auto", "cross_entropy", "l1", "mse"]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a network has learned.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; never changed once it is here.
    inputs : Inputs
        How rows become its tensors.
    classes : tuple
        What its outputs mean, sorted; empty for a regression.
    head : str or None
        Name of its last linear layer, which has an output for each class.
    target : tuple of (float, float)
        Mean and spread of the labels of a regression; the network predicts in these units.
    lora : tuple of (int, str) or None
        Rank and targets of its addition.
    base : TorchModel or None
        What the addition was made for.
    digest : str or None
        Of the bytes that it was loaded from.
    """

    module: nn.Module
    inputs: Inputs
    classes: Classes
    head: str | None
    target: tuple[float, float] = (0.0, 1.0)
    lora: tuple[int, str] | None = None
    base: TorchModel | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TorchModel:
    """A network of one's own, with how it is trained and what its inputs are.

    The network is built by a class or a function that can be imported, so that no code is
    ever stored. Its last linear layer is the head: it gets an output for each class (one
    for a regression) whatever the class was built with, and further ones when classes come.

    Parameters
    ----------
    module : str, class, function, torch.export.ExportedProgram or bytes
        ``"shop.nets:SmallCnn"``, or the class or function of that name itself; or an exported
        program, or the bytes that `torch.export.save` wrote of it, which needs no import.
    options : mapping, default empty
        Keyword arguments of the class; JSON values.
    how : Tuning
        How it is trained from scratch; by default 20 epochs.
    reading : Reading
        How columns become tensors.
    loss : {"auto", "cross_entropy", "l1", "mse"}, default "auto"
        Cross entropy for classes, the absolute error for numbers.
    head : str or None
        Name of the head where it is not the last linear layer of the module.
    fitted : Fitted or None
        Filled by a fit.

    Raises
    ------
    Invalid
        On a class that no other process could import, or options that are no JSON values.

    Examples
    --------
    >>> TorchModel("shop.nets:SmallCnn", {"width": 16}).module
    'shop.nets:SmallCnn'
    >>> TorchModel(torch.nn.Identity).module
    'torch.nn.modules.linear:Identity'
    """

    module: str | bytes | Callable[..., nn.Module] | torch.export.ExportedProgram
    options: Mapping[str, Any] = field(default_factory=dict)
    how: Tuning = FROM_SCRATCH
    reading: Reading = field(default_factory=Reading)
    loss: Loss = "auto"
    head: str | None = None
    fitted: Fitted | None = None

    def __post_init__(self) -> None:
        """Write a class down as its path; refuse what could not be stored."""
        if isinstance(self.module, torch.export.ExportedProgram):
            object.__setattr__(self, "module", program_bytes(self.module))
        elif not isinstance(self.module, str | bytes):
            object.__setattr__(self, "module", path_of(self.module))
        try:
            plain = json.loads(json.dumps(dict(self.options), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise Invalid(
                "TorchModel",
                needs="options that are JSON values",
                came=f"{dict(self.options)!r}: {error}",
                todo="Hand in numbers, texts and lists; build the rest inside the class.",
            ) from error
        object.__setattr__(self, "options", plain)

    @property
    def label(self) -> str:
        """What messages call it: the import path, or an exported program."""
        return self.module if isinstance(self.module, str) else "an exported program"


def path_of(made_by: Any) -> str:
    """Return the import path of a class or function, such as ``shop.nets:SmallCnn``.

    Raises
    ------
    Invalid
        When its module does not hold it under its name: a lambda, a local class, a class of
        ``__main__``.
    """
    module, name = getattr(made_by, "__module__", None), getattr(made_by, "__qualname__", None)
    if callable(made_by) and module and name and module != "__main__" and "<" not in name:
        return f"{module}:{name}"
    raise Invalid(
        "TorchModel",
        needs="a class or function that another process can import",
        came=f"{module}.{name}" if name else f"a {type(made_by).__name__}",
        todo="Define it by name in a module of its own and hand in 'package.module:Name'.",
    )


def demand_fitted(model: TorchModel, *, who: str) -> Fitted:
    """Return what a model has learned; raise `Invalid` when it is a recipe alone."""
    if model.fitted is None:
        raise Invalid(
            who,
            needs="a fitted network",
            came=f"the recipe {model.label}",
            todo="Fit it first.",
        )
    return model.fitted
