"""A weight as a product of two smaller ones: truncated singular value decomposition."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_forms import (
    Opened,
    apart,
    open_form,
    put,
    tied_layers,
    unfit,
    why_closed,
)
from renewal.core.errors import Invalid
from renewal.core.progress import tell_progress
from renewal.models.torch_inputs import Tensors

_WHO = "factorize.svd"
_ENERGIES = (0.99, 0.97, 0.94, 0.9, 0.8, 0.7, 0.5)
# Where the sensitivity of a layer is measured: each level costs a pass over the rows.
_MEASURED = (0.98, 0.93, 0.85, 0.7, 0.5)
# What a parent raises when it reads the weight of a layer that has none any more.
_READ = (AssertionError, AttributeError, Invalid, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class SvdOptions:
    """How much of the weights is kept.

    Parameters
    ----------
    energy : float in (0, 1), default 0.9
        Share of the squared singular values that each layer would keep if all layers kept
        the same; the parameters that this leaves are what all of them may have together.
    rows : int >= 0, default 32
        Training rows on which the sensitivity of each layer is measured; 0: each layer keeps
        its `energy`.
    """

    energy: float = 0.9
    rows: int = 32

    def __post_init__(self) -> None:
        """Refuse what says nothing."""
        if not 0.0 < self.energy < 1.0 or self.rows < 0:
            raise Invalid(
                _WHO,
                needs="0 < energy < 1 and rows >= 0",
                came=f"energy={self.energy}, rows={self.rows}",
                todo="Correct the options.",
            )


class FactorizeSvd:
    r"""Writes the weight of linear layers and convolutions as a product of rank r.

    A linear layer of m inputs and n outputs becomes two, of :math:`r (m + n)` parameters; a
    convolution becomes one to r channels and one of 1x1. Only ranks that save parameters are
    taken. Where training rows are there, ranks are chosen layer by layer: each step lowers
    the layer by a level that moves the outputs least (KL to the network before) for each
    parameter saved, until as few are left as `energy` would leave if it were the same in
    every layer. The path of these steps does not depend on `energy`, so levels are nested.

    The head stays as it is, and so do layers whose weight is tied to another's, divided into
    groups, or read past the layer, as `torch.nn.MultiheadAttention` reads its own.

    Examples
    --------
    >>> weight = torch.outer(torch.arange(1.0, 9.0), torch.ones(8))  # of rank 1
    >>> layer = nn.Linear(8, 8)
    >>> _ = layer.weight.data.copy_(weight)
    >>> found = _Layer(layer, *torch.linalg.svd(weight, full_matrices=False))
    >>> found.rank_at(0.9), found.size, found.cost(1)
    (1, 64, 16)

    Notes
    -----
    One decomposition a layer, and one forward pass of `rows` rows a layer and level.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "factorize"
    takes: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    Options: ClassVar[type[Any]] = SvdOptions
    knob: ClassVar[str | None] = "energy"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why nothing can be factorized; None when something can."""
        closed = why_closed(form)
        if closed is not None:
            return closed
        if not len(material.train):
            return "there is no training row by which a changed network could be tried"
        if self.levels(form, material):
            return None
        return "no linear layer or convolution of its own has fewer parameters in two"

    def levels(self, form: Form, material: Material) -> tuple[SvdOptions, ...]:
        """Return the energies from 99% to half at which fewer parameters are left each time."""
        layers = _candidates(open_form(form, who=_WHO), material)
        left, found = sum(each.size for each in layers.values()), []
        for energy in _ENERGIES:
            n_left = sum(each.cost(each.rank_at(energy)) for each in layers.values())
            if n_left < left:
                found.append(SvdOptions(energy))
                left = n_left
        return tuple(found)

    def apply(
        self,
        form: Form,
        options: SvdOptions,
        material: Material,
        *,
        seed: int,
    ) -> Form:
        """Return the form with layers in two.

        Raises
        ------
        Invalid
            When no layer can lose a parameter at this energy.
        """
        opened = open_form(form, who=_WHO)
        if not len(material.train):
            raise unfit(_WHO, "a training row by which a changed network can be tried", "none")
        tensors = _few(opened, material, max(1, options.rows), seed=seed)
        layers = _candidates(opened, material)
        even = {name: each.rank_at(options.energy) for name, each in layers.items()}
        ranks = even
        if options.rows and any(even.values()):
            budget = sum(each.cost(even[name]) for name, each in layers.items())
            ranks = _ranks(opened, layers, tensors, budget)
        if not any(ranks.values()):
            raise unfit(
                _WHO,
                "a layer that has fewer parameters in two",
                f"none of {len(layers)} at energy={options.energy}",
            )
        module = copy.deepcopy(opened.module)
        for name, rank in ranks.items():
            if rank:
                put(module, name, layers[name].parts(rank))
        return opened.closed(module, tuple(each[:2] for each in tensors))


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A layer with its decomposition: W, as a matrix (n, m), is `left` times `right`."""

    layer: nn.Linear | nn.Conv2d
    left: Tensor
    values: Tensor
    right: Tensor

    @property
    def size(self) -> int:
        """Parameters of the weight."""
        return int(self.layer.weight.numel())

    def cost(self, rank: int) -> int:
        """Parameters of the weight at a rank; 0: as it is."""
        return rank * (len(self.left) + self.right.shape[1]) if rank else self.size

    def rank_at(self, energy: float) -> int:
        """Return the least rank that keeps this energy; 0 when it saves no parameter."""
        squares = self.values.double().square()
        # Of a layer of zeros any rank keeps everything.
        kept = squares.cumsum(0) / squares.sum().clamp_min(1e-300)
        rank = min(len(squares), int((kept < energy - 1e-9).sum()) + 1) if squares.sum() else 1
        return rank if self.cost(rank) < self.size else 0

    def ladder(self) -> list[int]:
        """Return the ranks of the levels, from the whole layer, 0, to the smallest."""
        found = [0]
        for energy in _MEASURED:
            rank = self.rank_at(energy)
            if self.cost(rank) < self.cost(found[-1]):
                found.append(rank)
        return found

    def parts(self, rank: int) -> nn.Sequential:
        """Return the two layers."""
        root = self.values[:rank].clamp_min(0.0).sqrt()
        left, right = self.left[:, :rank] * root, root[:, None] * self.right[:rank]
        old = self.layer
        first: nn.Linear | nn.Conv2d
        second: nn.Linear | nn.Conv2d
        if isinstance(old, nn.Linear):
            first = nn.Linear(old.in_features, rank, bias=False)
            second = nn.Linear(rank, old.out_features, bias=old.bias is not None)
        else:
            first = nn.Conv2d(
                old.in_channels,
                rank,
                old.kernel_size,
                old.stride,
                old.padding,
                old.dilation,
                bias=False,
                padding_mode=old.padding_mode,
            )
            second = nn.Conv2d(rank, old.out_channels, 1, bias=old.bias is not None)
        with torch.no_grad():
            for new, weight in ((first, right), (second, left)):
                new.to(old.weight.device, old.weight.dtype)
                new.weight.copy_(weight.reshape(new.weight.shape))
            if old.bias is not None:
                second.bias.copy_(old.bias)
        return nn.Sequential(first, second).eval()


def _candidates(opened: Opened, material: Material) -> dict[str, _Layer]:
    """Return the layers that may be taken apart, by name, in the order of the module."""
    module, tied = opened.module, tied_layers(opened.module)
    row = _few(opened, material, 1, seed=0)
    found: dict[str, _Layer] = {}
    for name, each in list(module.named_modules()):
        # Children of these classes do more with their weight than their parents.
        is_plain = type(each) is nn.Linear or (type(each) is nn.Conv2d and each.groups == 1)
        if not is_plain or not name or name == opened.head or each in tied or _is_hooked(each):
            continue
        with torch.no_grad():
            weight = each.weight.detach().float().flatten(1)
            if not bool(torch.isfinite(weight).all()):
                continue
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
        layer = _Layer(each, left, values, right)
        if layer.cost(1) < layer.size and _goes_through(opened, name, layer, row):
            found[name] = layer
    return found


def _is_hooked(layer: nn.Module) -> bool:
    """Say whether something beside the layer itself would be lost with it."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "parametrizations")
    return any(getattr(layer, each, None) for each in hooks)


def _goes_through(opened: Opened, name: str, layer: _Layer, row: Tensors) -> bool:
    """Say whether a row goes through the layer itself, and nobody reads its weight."""
    parts = _Counted(layer.parts(1))
    put(opened.module, name, parts)
    try:
        opened.outputs(opened.module, row)
    except _READ:
        return False
    finally:
        put(opened.module, name, layer.layer)
    return parts.n_calls > 0


class _Counted(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Counts calls. A hook would do, but before one torch's attention takes another way."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.n_calls = inner, 0

    def forward(self, given: Tensor) -> Tensor:
        self.n_calls += 1
        found: Tensor = self.inner(given)
        return found


def _ranks(
    opened: Opened, layers: dict[str, _Layer], tensors: Tensors, budget: int
) -> dict[str, int]:
    """Return ranks by sensitivity: the cheapest steps first, until the budget is met."""
    before = opened.outputs(opened.module, tensors)
    ladders = {name: each.ladder() for name, each in layers.items()}
    moved: dict[tuple[str, int], float] = {}
    for at, (name, each) in enumerate(layers.items()):
        moved[name, 0] = 0.0
        for rank in ladders[name][1:]:
            moved[name, rank] = _moved(opened, name, each.parts(rank), tensors, before)
        tell_progress(f"sensitivity of {name}", (at + 1) / len(layers))
    chosen = dict.fromkeys(layers, 0)
    left = sum(each.size for each in layers.values())
    while left > budget:
        steps = []
        for order, (name, each) in enumerate(layers.items()):
            rank = chosen[name]
            for lower in ladders[name][ladders[name].index(rank) + 1 :]:
                saved = each.cost(rank) - each.cost(lower)
                rise = max(0.0, moved[name, lower] - moved[name, rank])
                steps.append((rise / saved, order, name, lower, saved))
        if not steps:
            break
        _, _, name, lower, saved = min(steps)
        chosen[name] = lower
        left -= saved
    return chosen


def _moved(opened: Opened, name: str, parts: nn.Module, tensors: Tensors, before: Tensor) -> float:
    """Return how far the outputs move when other parts stand in for a layer."""
    layer = opened.module.get_submodule(name)
    put(opened.module, name, parts)
    try:
        found = opened.outputs(opened.module, tensors)
    finally:
        put(opened.module, name, layer)
    gap = apart(found, before, is_regression=not opened.form.classes)
    # What gives no numbers any more is the last choice.
    return gap if gap == gap else float("inf")  # noqa: PLR0124  # NaN alone differs from itself


def _few(opened: Opened, material: Material, n_rows: int, *, seed: int) -> Tensors:
    return opened.tensors(material.train.features.take(material.few(n_rows, seed=seed)))
