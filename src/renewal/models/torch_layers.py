"""The layers of a network: which are trained, how fast, and the head with its outputs."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import get_ident

import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.models.layers import Tuning

_NORMS = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001  # the one common parent of all of them
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_MOVING = nn.modules.batchnorm._NormBase  # noqa: SLF001  # the same
# What an addition puts below the layer that it is added to.
_ADDED = re.compile(r"\.(base_layer|lora_[AB]\..*)$")


def layers_of(module: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each layer, from the input to the output.

    A layer is a module with parameters of its own; each block of a `torch.nn.ModuleList`
    counts as one; and a normalization belongs to the layer before it. Their order is the one
    in which the network's class names them.

    Examples
    --------
    >>> layers_of(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 2)))
    [['0.weight', '0.bias', '1.weight', '1.bias'], ['2.weight', '2.bias']]
    """
    blocks = [
        f"{name}.{at}" if name else str(at)
        for name, each in module.named_modules()
        if isinstance(each, nn.ModuleList)
        for at in range(len(each))
    ]
    found: dict[str, list[str]] = {}
    last: str | None = None
    modules = dict(module.named_modules())
    for name, _ in module.named_parameters():
        owner = _ADDED.sub("", name.rpartition(".")[0])
        layer = next((block for block in blocks if name.startswith(f"{block}.")), owner)
        if layer == owner and isinstance(modules.get(owner), _NORMS) and last is not None:
            layer = last
        found.setdefault(layer, []).append(name)
        last = layer
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Trained:
    """Which parameters are trained from which epoch on, and how fast.

    Parameters
    ----------
    layers : tuple of tuple of str
        Names of the parameters of each layer that is ever trained, from the last one back.
    begins : tuple of int
        The epoch, from 0, in which each of them begins to be trained.
    rates : tuple of float
        Learning rate of each.
    """

    layers: tuple[tuple[str, ...], ...]
    begins: tuple[int, ...]
    rates: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter that is ever trained."""
        return tuple(name for layer in self.layers for name in layer)

    def at(self, epoch: int) -> set[str]:
        """Return the names of the parameters that are trained in an epoch."""
        return {
            name
            for layer, begin in zip(self.layers, self.begins, strict=True)
            if begin <= epoch
            for name in layer
        }


def trained_of(module: nn.Module, how: Tuning, *, who: str) -> Trained:
    """Return what `how.train` means for a module; see `renewal.models.layers.Tuning`.

    Only parameters that can be trained now count: under an addition the base stays frozen.

    Raises
    ------
    Invalid
        When it names nothing, or cannot be read.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> trained_of(net, Tuning(train="last:1"), who="demo").names
    ('2.weight', '2.bias')
    >>> gradual = trained_of(net, Tuning(train="last:1", unfreeze_every=2), who="demo")
    >>> gradual.begins
    (0, 2)
    """
    may = {name for name, each in module.named_parameters() if each.requires_grad}
    layers = [[name for name in layer if name in may] for layer in layers_of(module)]
    layers = [layer for layer in reversed(layers) if layer]
    wanted = _wanted(how.train, layers, who)
    chosen: list[tuple[str, ...]] = []
    begins: list[int] = []
    rates: list[float] = []
    n_later = 0
    deepest = max(at for at, layer in enumerate(layers) if wanted & set(layer))
    for at, layer in enumerate(layers):
        names, begin = tuple(name for name in layer if name in wanted), 0
        if not names and how.unfreeze_every is not None and at > deepest:
            n_later += 1
            names, begin = tuple(layer), n_later * how.unfreeze_every
        if names and begin < how.epochs:
            chosen.append(names)
            begins.append(begin)
            rates.append(how.lr * how.lr_decay**at)
    return Trained(tuple(chosen), tuple(begins), tuple(rates))


def freeze(module: nn.Module, trained: set[str]) -> None:
    """Let only some parameters be trained, and put the module into training mode.

    A batch normalization none of whose parameters is trained stays in evaluation mode: its
    running means belong to the frozen part and would move with every batch.
    """
    module.train()
    for name, each in module.named_parameters():
        each.requires_grad_(name in trained)
    for name, each in module.named_modules():
        if isinstance(each, _MOVING):
            own = {f"{name}.{which}".lstrip(".") for which, _ in each.named_parameters()}
            # One without parameters goes with the network as a whole.
            is_frozen = not own & trained if own else len(trained) < _n_parameters(module)
            each.train(not is_frozen)


def head_of(module: nn.Module, named: str | None, *, who: str) -> str | None:
    """Return the name of the last linear layer, or of the one that the user named.

    Raises
    ------
    Invalid
        When the named one is no linear layer of the module.
    """
    linear = [name for name, each in module.named_modules() if isinstance(each, nn.Linear)]
    if named is None:
        return linear[-1] if linear else None
    if named not in linear:
        raise Invalid(
            who,
            needs=f"a head among the linear layers {', '.join(linear) or '(there are none)'}",
            came=repr(named),
            todo="Name the layer whose outputs are the scores.",
        )
    return named


def resize_head(module: nn.Module, head: str, kept: Sequence[int | None]) -> None:
    """Give the head, in place, an output for each entry of `kept`.

    Parameters
    ----------
    module : torch.nn.Module
        Changed.
    head : str
        Name of its head.
    kept : sequence of int or None
        For each output the old one whose weights it keeps; None: fresh weights, drawn from
        torch's random state as every new linear layer is.
    """
    old = module.get_submodule(head)
    assert isinstance(old, nn.Linear)
    if list(kept) == list(range(old.out_features)):
        return
    fresh = nn.Linear(old.in_features, len(kept), bias=old.bias is not None)
    fresh = fresh.to(old.weight.device, old.weight.dtype)
    with torch.no_grad():
        for at, before in enumerate(kept):
            if before is not None:
                fresh.weight[at] = old.weight[before]
                if old.bias is not None:
                    fresh.bias[at] = old.bias[before]
    parent, _, name = head.rpartition(".")
    setattr(module.get_submodule(parent), name, fresh)


def fit_head(module: nn.Module, head: str | None, n_outputs: int) -> None:
    """Give the head, in place, as many outputs as are wanted; one of that size stays as it is."""
    if head is not None and module.get_submodule(head).out_features != n_outputs:
        resize_head(module, head, [None] * n_outputs)


def handed_to(module: nn.Module, head: str, call: Callable[[], Tensor]) -> Tensor:
    """Return what the head is handed while `call` runs the module.

    Raises
    ------
    Invalid
        When the module never calls its head.
    """
    caught: list[Tensor] = []
    own = get_ident()

    def catch(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        # Other threads may be predicting with the same module.
        if get_ident() == own:
            caught.append(given[0].detach())

    hook = module.get_submodule(head).register_forward_pre_hook(catch)
    try:
        call()
    finally:
        hook.remove()
    if not caught:
        raise Invalid(
            "TorchAdapter.embed",
            needs=f"a network that calls its head {head!r}",
            came="one that never does",
            todo="Name the layer whose outputs are the scores: TorchModel(head=...).",
        )
    return caught[-1]


def _wanted(train: str, layers: list[list[str]], who: str) -> set[str]:
    names = [name for layer in layers for name in layer]
    if train == "all":
        found = set(names)
    elif train.startswith("last:") and train[5:].isdecimal():
        found = {name for layer in layers[: int(train[5:])] for name in layer}
    else:
        found = {
            name for name in names for each in train.split("|") if fnmatch.fnmatchcase(name, each)
        }
    if not found:
        raise Invalid(
            who,
            needs="parameters to train: all, last:K, or patterns of their names joined by '|'",
            came=f"train={train!r}, which names none of {len(names)} such as "
            f"{', '.join(names[:3]) or '(there are none)'}",
            todo="Correct the option train.",
        )
    return found


def _n_parameters(module: nn.Module) -> int:
    return sum(1 for _ in module.named_parameters())
