"""Distillation into a smaller network of the same kind: less wide, less deep.

References
----------
.. [1] Hinton, Vinyals, Dean (2015). Distilling the knowledge in a neural network.
       arXiv 1503.02531.
.. [2] Romero et al. (2015). FitNets: hints for thin deep nets. arXiv 1412.6550.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, cast

import torch
from torch import nn

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_forms import why_closed
from renewal.compress.torch_recover import RecoverDistil, RecoverOptions
from renewal.core.errors import Invalid, RenewalError
from renewal.models.torch_build import built, called, imported, on_device
from renewal.models.torch_checkpoint import seeded
from renewal.models.torch_device import device_here
from renewal.models.torch_layers import fit_head, head_of
from renewal.models.torch_learning import raw_tensors
from renewal.models.torch_model import TorchModel

Sizes = Mapping[str, int | list[int]]
"""Options of a network that say how large it is, with their values."""

_WHO = "distil.smaller"
_AUTO = "auto"
_OF_SIZE = re.compile(
    r"width|hidden|channel|dim|depth|layer|block|unit|filter|intermediate|n_embd|n_inner|d_model"
)
# What the rows or the classes settle, and what is no size.
_SETTLED = re.compile(
    r"(^|_)(in|input|inputs|out|output|outputs|class|classes|head|heads|kernel)(_|$)"
)
_HEADS = re.compile(r"(^|_)heads?$")
_SCALES = (0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.12)
# Rows that show whether a network of other sizes takes the same inputs.
_N_SHOWN = 4
_DEPTH = re.compile(r"depth|layer|block")
# Widths from these on stay multiples of a power of two, as kernels like them.
_WIDE, _WIDER, _EVEN = 16, 64, 8
# A smaller network is trained for more epochs, up to so many times the recipe's.
_MOST_LONGER = 4.0


@dataclass(frozen=True, slots=True)
class SmallerOptions:
    """Which sizes shrink, how far, and how the smaller network learns.

    Parameters
    ----------
    scale : float in (0, 1), default 0.5
        Factor of each width, and its root that of each depth, which hurts more.
    sizes : str, default "auto"
        Names of options of the network's class, or of the configuration of a transformer,
        joined by ``|``, such as ``width|depth``. ``auto``: all whole numbers (and lists of
        them) whose name says width, hidden, channels, dim, depth, layers or blocks and with
        which the network still takes the rows.
    epochs : int or None, default None
        Of its training; None: as many as the recipe of the parent has, divided by `scale`, at
        most four times as many. They cost no more than the parent's: an epoch is faster.
    lr : float or None, default None
        Highest learning rate; None: that of the recipe.
    distil : float in [0, 1], default 0.7
        Weight of the parent's scores in what is learned, beside the labels.
    features : float >= 0, default 0
        Weight of the gap to what the parent's head is handed.
    """

    scale: float = 0.5
    sizes: str = _AUTO
    epochs: int | None = None
    lr: float | None = None
    distil: float = 0.7
    features: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        if not 0.0 < self.scale < 1.0:
            raise Invalid(
                _WHO, needs="0 < scale < 1", came=f"scale={self.scale}", todo="Correct the option."
            )
        self.learning(1, 1e-3, 64)

    def learning(self, epochs: int, lr: float, batch: int) -> RecoverOptions:
        """Return how it learns, with the numbers of a recipe where the options are silent."""
        longer = min(_MOST_LONGER, 1.0 / self.scale)
        return RecoverOptions(
            self.epochs or math.ceil(epochs * longer),
            self.lr or lr,
            batch,
            self.distil,
            self.features,
        )


class DistilSmaller:
    """Builds the network anew with smaller sizes, and trains it on what the parent says.

    The class of a network is called with smaller options; of a transformer, the configuration
    is smaller, its tokenizer the same. Weights whose name and shape have not changed begin as
    those of the parent, the others at random; then it is trained as `recover.distil` trains,
    on training rows and on those without a label.

    Notes
    -----
    Each level costs about what a training of the parent cost: an epoch is faster, and there
    are more of them.

    Examples
    --------
    Half as wide, with layers as they are::

        distil.smaller:scale=0.5,sizes=width
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "distil"
    takes: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    Options: ClassVar[type[Any]] = SmallerOptions
    knob: ClassVar[str | None] = "scale"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why no smaller network can be built, or learn."""
        reason = why_closed(form) or RecoverDistil().why_not(form, material)
        if reason is not None:
            return reason
        if not len(material.train):
            return "there is no training row to learn from"
        if not _found(form, SmallerOptions(), material):
            return "no option of the network says how wide or deep it is"
        return None

    def levels(self, form: Form, material: Material) -> tuple[SmallerOptions, ...]:
        """Return the scales that give different networks, from 0.85 down to 0.12."""
        before = _found(form, SmallerOptions(), material)
        seen = [before]
        levels = []
        for scale in _SCALES:
            made = scaled(before, scale, granular=_granules(form))
            if made not in seen:
                seen.append(made)
                levels.append(SmallerOptions(scale=scale))
        return tuple(levels)

    def apply(self, form: Form, options: SmallerOptions, material: Material, *, seed: int) -> Form:
        """Return the smaller network, trained.

        Raises
        ------
        Invalid
            When no size can be scaled, the sizes do not fit each other, or the training does
            not stay finite.
        Missing
            When the code of the network is not here.
        """
        sizes = _found(form, options, material)
        reason = why_closed(form) or RecoverDistil().why_not(form, material)
        if reason is None and not (sizes and len(material.train)):
            reason = f"{len(sizes)} sizes to scale and {len(material.train)} training rows"
        if reason is not None:
            raise Invalid(
                _WHO,
                needs="a network with sizes in its options, and rows",
                came=reason,
                todo="Name its sizes, such as sizes=width|depth, or leave this step out.",
            )
        small = _shrunk(form, scaled(sizes, options.scale, granular=_granules(form)), seed)
        how = form.estimator.how
        learning = options.learning(how.epochs, how.lr, how.batch)
        return RecoverDistil().apply(small, learning, material, seed=seed)


def scaled(sizes: Sizes, scale: float, *, granular: int = 1) -> dict[str, int | list[int]]:
    """Return smaller sizes: wide ones stay multiples of 4 or 8, or of `granular`.

    A number of layers shrinks with the root of the scale.

    Parameters
    ----------
    sizes : mapping of str to int or list of int
        What is scaled.
    scale : float in (0, 1)
        By what.
    granular : int >= 1
        What a size that it divides must stay a multiple of: the heads of an attention.

    Examples
    --------
    >>> scaled({"width": 64, "depth": 3, "channels": [16, 100]}, 0.4)
    {'width': 24, 'depth': 2, 'channels': [4, 40]}
    >>> scaled({"hidden_size": 60}, 0.5, granular=12)
    {'hidden_size': 24}
    """

    def one(size: int, name: str) -> int:
        if _DEPTH.search(name):
            return min(size, max(1, math.ceil(size * math.sqrt(scale) - 1e-9)))
        wide = _EVEN if size >= _WIDER else _EVEN // 2
        even = math.gcd(size, wide) if size >= _WIDE else 1
        if granular > 1 and size % granular == 0:
            even = math.lcm(even, granular)
            even = even if even < size else granular
        return min(size, max(even, math.floor(size * scale / even) * even, 1))

    return {
        name: [one(each, name) for each in size] if isinstance(size, list) else one(size, name)
        for name, size in sizes.items()
    }


def is_size(name: str, value: Any) -> bool:
    """Say whether an option names a size that can shrink.

    Examples
    --------
    >>> is_size("width", 64), is_size("in_channels", 3), is_size("width", 0.5)
    (True, False, False)
    """
    whole = value if isinstance(value, list) and value else [value]
    return (
        all(type(each) is int and each >= 1 for each in whole)
        and any(each >= 2 for each in whole)
        and bool(_OF_SIZE.search(name))
        and not _SETTLED.search(name)
    )


def begun(module: nn.Module, parent: nn.Module) -> nn.Module:
    """Give a module, in place, the parent's weights wherever name and shape are the same."""
    before = parent.state_dict()
    state = module.state_dict()
    same = {
        name: before[name].detach().clone()
        for name, each in state.items()
        if name in before and before[name].shape == each.shape and before[name].dtype == each.dtype
    }
    module.load_state_dict(state | same)
    return module


def _found(form: Form, options: SmallerOptions, material: Material) -> Sizes:
    """Return the sizes that are to be scaled, with their values.

    Raises
    ------
    Invalid
        On a name that the network does not have, or that holds no size.
    """
    if why_closed(form) is not None:
        return {}
    every = _every(form)
    if options.sizes != _AUTO:
        names = [each.strip() for each in options.sizes.split("|")]
        strange = [each for each in names if not _is_whole(every.get(each))]
        if strange:
            known = [each for each, value in every.items() if is_size(each, value)]
            raise Invalid(
                _WHO,
                needs=f"names of sizes among {', '.join(known) or '(there are none)'}",
                came=", ".join(map(repr, strange)),
                todo="Correct the option sizes.",
            )
        return {each: every[each] for each in names}
    sizes = {name: value for name, value in every.items() if is_size(name, value)}
    if form.adapter == "transformers":
        return cast("Sizes", _of_transformers().of_width_and_depth(sizes))
    few = material.train.features.slice(0, _N_SHOWN)
    return {name: value for name, value in sizes.items() if _still_takes(form, name, value, few)}


def _is_whole(value: Any) -> bool:
    whole = value if isinstance(value, list) and value else [value]
    return all(type(each) is int and each >= 1 for each in whole)


def _every(form: Form) -> dict[str, Any]:
    """Return every option with its value, those that the recipe leaves out too."""
    model = form.estimator
    if form.adapter == "transformers":
        return dict(model.fitted.config)
    assert isinstance(model.module, str), "an exported program has no options"
    made_by = imported(model.module, who=_WHO)
    try:
        known = inspect.signature(made_by).parameters.values()
    except (TypeError, ValueError):
        return dict(model.options)
    silent = {each.name: each.default for each in known if each.default is not each.empty}
    return silent | dict(model.options)


def _still_takes(form: Form, name: str, value: Any, few: Any) -> bool:
    """Say whether the network takes rows when this size is smaller: else it is theirs."""
    made = scaled({name: value}, 0.25, granular=_granules(form))
    if made[name] == value:
        return False
    try:
        small = _shrunk(form, made, 0)
        fitted = small.estimator.fitted
        tensors = raw_tensors(fitted, few.select(list(form.signature.names)), who=_WHO)
        with torch.no_grad():
            called(fitted, fitted.module, on_device(fitted.module, tensors), who=_WHO)
    except RenewalError:
        return False
    return True


def _granules(form: Form) -> int:
    """Return what widths must stay multiples of: the number of heads of an attention."""
    heads = [
        value
        for name, value in _every(form).items()
        if _HEADS.search(name) and type(value) is int and value >= 1
    ]
    # Rotary positions turn pairs of a head's numbers.
    return 2 * math.lcm(*heads) if heads and form.adapter == "transformers" else math.lcm(*heads, 1)


def _shrunk(form: Form, sizes: Sizes, seed: int) -> Form:
    """Return the form with a smaller network that has learned nothing but what it could keep."""
    if form.adapter == "transformers":
        return cast("Form", _of_transformers().shrunk(form, sizes, seed=seed, begun=begun))
    model: TorchModel = form.estimator
    assert model.fitted is not None
    fresh = replace(model, options={**model.options, **sizes}, fitted=None)
    with seeded(seed, device_here()):
        module = built(fresh, who=_WHO)
        head = head_of(module, model.head, who=_WHO)
        fit_head(module, head, len(form.classes) or 1)
    module = begun(module, model.fitted.module).to(device_here()).eval()
    fitted = replace(model.fitted, module=module, head=head, lora=None, base=None, digest=None)
    return replace(form, estimator=replace(fresh, fitted=fitted))


def _of_transformers() -> Any:
    """Return the part that needs the library transformers, which a form of it has imported."""
    return import_module("renewal.compress.transformers_smaller")
