"""Channels and neurons cut out of a network: really smaller dense layers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_forms import (
    Opened,
    learning,
    open_form,
    tied_layers,
    unfit,
    why_closed,
)
from renewal.core.errors import Invalid
from renewal.models.torch_inputs import Tensors

_WHO = "prune.channels"
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
# What its layers' own code and the tracer raise when a network cannot be followed.
_UNTRACED = (
    AssertionError,
    AttributeError,
    IndexError,
    Invalid,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
_TRACED_ROWS = 2
_CONVOLUTION = nn.modules.conv._ConvNd  # noqa: SLF001  # the one common parent of all of them


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """How much is cut, and by what.

    Parameters
    ----------
    share : float in (0, 1), default 0.25
        Share of the channels and neurons that is removed.
    over : {"layer", "network"}, default "layer"
        Whether each group of layers loses this share, or the least important channels of the
        whole network go.
    by : {"size", "gradient"}, default "size"
        Importance of a channel: the norm of all weights that go with it, or by how much the
        loss of some training rows would rise to first order (Taylor).
    round_to : int >= 1, default 8
        Widths become multiples of it where they are at least eight times as large; of 4, 2
        and 1 where they are smaller.
    rows : int >= 1, default 256
        Training rows for ``by="gradient"``.
    """

    share: float = 0.25
    over: Literal["layer", "network"] = "layer"
    by: Literal["size", "gradient"] = "size"
    round_to: int = 8
    rows: int = 256

    def __post_init__(self) -> None:
        """Refuse what nothing can be cut by."""
        if not 0.0 < self.share < 1.0 or self.round_to < 1 or self.rows < 1:
            raise Invalid(
                _WHO,
                needs="0 < share < 1, round_to >= 1 and rows >= 1",
                came=f"share={self.share}, round_to={self.round_to}, rows={self.rows}",
                todo="Correct the options.",
            )
        if self.over not in {"layer", "network"} or self.by not in {"size", "gradient"}:
            raise Invalid(
                _WHO,
                needs="over=layer or network, and by=size or gradient",
                came=f"over={self.over}, by={self.by}",
                todo="Correct the options.",
            )


class PruneChannels:
    """Removes whole channels of convolutions and neurons of linear layers.

    Layers that are bound to each other, as by a residual addition, lose the same channels:
    the dependency graph of [1]_ finds them. The head keeps its outputs; layers whose weights
    are tied, and groups that the network does not run without, keep their width.

    Examples
    --------
    >>> PruneChannels().levels(None, None)[0]
    ChannelOptions(share=0.125, over='layer', by='size', round_to=8, rows=256)

    Notes
    -----
    Costs about one forward pass; with ``by="gradient"`` one pass over `rows` rows, too. Batch
    normalizations keep the statistics of the wider network: let ``recover.distil`` follow.

    References
    ----------
    .. [1] Fang et al. (2023). DepGraph: towards any structural pruning. CVPR.
       https://arxiv.org/abs/2301.12900
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("torch",)
    Options: ClassVar[type[Any]] = ChannelOptions
    knob: ClassVar[str | None] = "share"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why nothing can be cut; None when something can."""
        closed = why_closed(form)
        if closed is not None:
            return closed
        if not len(material.train):
            return "there is no training row by which the network could be followed"
        try:
            opened = open_form(form, who=_WHO)
            groups = _Graph(opened, opened.module, _traced(opened, material)).groups()
        except _UNTRACED as error:
            return f"the network cannot be followed: {_short(error)}"
        return None if groups else "no layer has a channel that could go"

    def levels(self, form: Form, material: Material) -> tuple[ChannelOptions, ...]:  # noqa: ARG002  # shares are the same for all
        """Return shares from an eighth to three quarters."""
        return tuple(ChannelOptions(share) for share in _SHARES)

    def apply(
        self,
        form: Form,
        options: ChannelOptions,
        material: Material,
        *,
        seed: int,
    ) -> Form:
        """Return the form with narrower layers.

        Raises
        ------
        Invalid
            When the network cannot be followed, or nothing of it can be cut.
        """
        opened = open_form(form, who=_WHO)
        if not len(material.train):
            raise unfit(_WHO, "a training row by which the network can be followed", "none")
        traced = _traced(opened, material)
        grads = _gradients(opened, options, material, seed) if options.by == "gradient" else {}
        try:
            module = _cut(opened, options, traced, grads=grads)
        except _UNTRACED:
            kept = _stubborn(opened, options, traced)
            try:
                module = _cut(opened, options, traced, grads=grads, kept=kept)
            except _UNTRACED as error:
                needs = "a network that can be followed, and runs with narrower layers"
                raise unfit(_WHO, needs, _short(error)) from error
        if _n_parameters(module) >= _n_parameters(opened.module):
            raise unfit(
                _WHO,
                "layers from which channels can go",
                f"none for share={options.share} and round_to={options.round_to}",
            )
        return opened.closed(module, traced)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Channels that go together: the layer and the verb that begin it, and how many there are."""

    name: str
    layer: nn.Module
    cut: Any
    n_channels: int
    folds: int
    importance: Tensor


class _Graph:
    """The dependency graph of one copy of a network."""

    def __init__(self, opened: Opened, module: nn.Module, traced: Tensors) -> None:
        self.opened, self.module = opened, module
        self.names = {each: name for name, each in module.named_modules()}
        self.tied = tied_layers(module)
        with learning(module), _quietly():
            self.graph = torch_pruning.DependencyGraph().build_dependency(
                module, traced, forward_fn=opened.call, verbose=False
            )

    def groups(self, kept: frozenset[str] = frozenset(), by: Any = None) -> list[_Group]:
        """Return the groups that may lose channels, those named in `kept` left out."""
        head = () if self.opened.head is None else (self.opened.head,)
        ignored = [self.module.get_submodule(name) for name in head]
        measure = torch_pruning.importance.GroupMagnitudeImportance() if by is None else by
        found = []
        for group in self.graph.get_all_groups(
            ignored_layers=ignored, root_module_types=[_CONVOLUTION, nn.Linear]
        ):
            layer, cut = group[0].dep.target.module, group[0].dep.handler
            layers = [item.dep.target.module for item in group]
            if self.names.get(layer, "") in kept or self._is_bound(layers):
                continue
            n_channels = int(self.graph.get_out_channels(layer))
            with torch.no_grad():
                importance = measure(group)
            if n_channels > 1 and importance is not None:
                folds = max([1, *map(self._folds, layers)])
                # Of weights that are all zero the mean is no number: they go first.
                clean = torch.nan_to_num(importance.float().cpu(), nan=0.0)
                found.append(_Group(self.names[layer], layer, cut, n_channels, folds, clean))
        return found

    def _is_bound(self, layers: list[nn.Module]) -> bool:
        """Say whether cutting would undo a tie, or reach past the last layer to the outputs."""
        ends = self.opened.head is None and layers[0] is self._last()
        return ends or any(isinstance(each, nn.Module) and each in self.tied for each in layers)

    def _last(self) -> nn.Module | None:
        found = [
            each for each in self.module.modules() if isinstance(each, _CONVOLUTION | nn.Linear)
        ]
        return found[-1] if found else None

    def _folds(self, layer: nn.Module) -> int:
        """Return into how many equal parts the channels of a layer are divided."""
        if isinstance(layer, _CONVOLUTION):
            return 1 if layer.groups == layer.out_channels else int(layer.groups)
        return int(getattr(layer, "num_groups", getattr(layer, "num_heads", 1)))

    def cut(self, group: _Group, which: list[int]) -> None:
        """Remove channels, in place, from every layer of a group."""
        found = self.graph.get_pruning_group(group.layer, group.cut, which)
        if self.graph.check_pruning_group(found):
            found.prune()


def _cut(
    opened: Opened,
    options: ChannelOptions,
    traced: Tensors,
    *,
    grads: dict[str, Tensor] | None = None,
    kept: frozenset[str] = frozenset(),
) -> nn.Module:
    """Return a narrower copy, which runs; what does not run raises one of `_UNTRACED`."""
    module = copy.deepcopy(opened.module)
    graph = _Graph(opened, module, traced)
    by = None
    if grads:
        for name, each in module.named_parameters():
            each.grad = grads.get(name)
        by = torch_pruning.importance.GroupTaylorImportance()
    groups = graph.groups(kept, by)
    with _quietly():
        for group, which in _weakest(groups, options):
            graph.cut(group, which)
    opened.outputs(module, traced)
    return module


def _stubborn(opened: Opened, options: ChannelOptions, traced: Tensors) -> frozenset[str]:
    """Return the names of the groups without whose channels the network does not run."""
    names: frozenset[str] = frozenset()
    found: set[str] = set()
    with suppress(*_UNTRACED):
        names = frozenset(each.name for each in _Graph(opened, opened.module, traced).groups())
    for name in names:
        try:
            _cut(opened, options, traced, kept=names - {name})
        except _UNTRACED:
            found.add(name)
    return frozenset(found)


def _weakest(groups: list[_Group], options: ChannelOptions) -> Iterator[tuple[_Group, list[int]]]:
    """Yield for each group the places of the channels that go."""
    parts = [each.importance.view(each.folds, -1).mean(dim=0) for each in groups]
    if not parts:
        return
    line = float("-inf")
    if options.over == "network":
        whole = torch.cat(parts).sort().values
        line = float(whole[min(len(whole) - 1, round(len(whole) * options.share))])
    for group, part in zip(groups, parts, strict=True):
        wanted = (
            len(part) * (1.0 - options.share)
            if options.over == "layer"
            else float((part >= line).sum())
        )
        n_kept = _rounded(wanted, len(part), group.folds, options.round_to)
        gone = part.argsort(stable=True)[: len(part) - n_kept]
        if len(gone):
            places = torch.cat([gone + fold * len(part) for fold in range(group.folds)])
            yield group, sorted(places.tolist())


def _rounded(wanted: float, width: int, folds: int, round_to: int) -> int:
    """Return how many channels of a fold stay: a multiple that its width allows, at least one.

    Examples
    --------
    >>> [_rounded(0.6 * width, width, 1, 8) for width in (64, 32, 16, 5)]
    [40, 20, 10, 3]
    """
    step = round_to
    while step > 1 and step * 8 > width * folds:
        step //= 2
    return min(width, max(step, round(wanted / step) * step))


def _gradients(
    opened: Opened, options: ChannelOptions, material: Material, seed: int
) -> dict[str, Tensor]:
    """Return the gradient of the loss of some training rows at each parameter."""
    places = material.few(options.rows, seed=seed)
    tensors = opened.tensors(material.train.features.take(places))
    labels = [material.labels[at] for at in places]
    module, classes = opened.module, opened.form.classes
    with learning(module):
        outputs = opened.call(module, tensors)
        if classes:
            index = {label: at for at, label in enumerate(classes)}
            known = [at for at, label in enumerate(labels) if label in index]
            targets = torch.tensor([index[labels[at]] for at in known], device=outputs.device)
            loss = functional.cross_entropy(outputs[known], targets)
        else:
            mean, spread = opened.form.estimator.fitted.target
            wanted = torch.tensor(labels, dtype=outputs.dtype, device=outputs.device)
            loss = functional.mse_loss(outputs[:, 0], (wanted - mean) / spread)
        loss.backward()
        return {
            name: each.grad.clone()
            for name, each in module.named_parameters()
            if each.grad is not None
        }


def _traced(opened: Opened, material: Material) -> Tensors:
    return opened.tensors(material.train.features.slice(0, _TRACED_ROWS))


def _n_parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        # Of operations that it does not know, the tracer says each time what it guesses.
        warnings.filterwarnings("ignore", module=r"torch_pruning\..*")
        yield


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
