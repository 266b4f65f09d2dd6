"""LoRA by PEFT: a small addition to a module that stays as it is.

What goes wrong in the field when such an addition is taken up again, and is refused here: a
load that leaves nothing to train (peft#184), a second wrapping that throws the loaded addition
away (lerobot#3459), a base that trains along unnoticed (mlx-vlm#2178).

References
----------
.. [1] Hu et al. (2022). LoRA: low-rank adaptation of large language models. ICLR.
   https://arxiv.org/abs/2106.09685
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from renewal.core.errors import Corrupt, Invalid

_KEPT = "_lora_keep"
_ADDED = re.compile(r"\.(lora_[AB])\.default\.")
_BEFORE = "_lora_before"
_FAST: tuple[tuple[type[nn.Module], str, object], ...] = (
    (nn.TransformerEncoderLayer, "activation_relu_or_gelu", 0),
    (nn.TransformerEncoder, "use_nested_tensor", False),
)
_HALF = (torch.bfloat16, torch.float16)


class Lora:
    """Adds trainable matrices of low rank to the linear and convolution layers of a module.

    A layer with the weight W answers as if it had :math:`W + B A`, where A has `rank` rows
    and B as many columns. B begins at zero, so that a fresh addition changes nothing. No
    factor stands before the product: the stored tensors alone say what is added.

    The addition is every tensor of the module's state but the weights that stay frozen: the
    matrices, the layers under `keep` (the head), and buffers such as the running means of a
    batch normalization, which move while it trains.

    Examples
    --------
    >>> base = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> grown = Lora().attach(base, rank=2, keep=("2",), seed=0)
    >>> Lora().trainable(grown), Lora().trainable(base)
    (50, 90)
    >>> sorted(Lora().state(grown))
    ['0.lora_A.weight', '0.lora_B.weight', '2.bias', '2.weight']
    """

    def attach(
        self,
        module: nn.Module,
        *,
        rank: int,
        targets: str = "all",
        keep: tuple[str, ...] = (),
        seed: int,
    ) -> nn.Module:
        """Return a copy of a module with a fresh addition, which alone can be trained.

        Parameters
        ----------
        module : torch.nn.Module
            Not changed. The copy shares the memory of its frozen weights, so that a base
            serves many additions and training holds it once: never unfreeze them.
        rank : int >= 1
            Of the added matrices.
        targets : str, default "all"
            Names of layers joined by ``|``, whole or their last parts (``query`` means every
            ``...query``); ``all``: every linear and ungrouped convolution layer outside
            `keep`.
        keep : tuple of str, default ()
            Names of modules that are trained whole, such as the head.
        seed : int
            Of the matrices A.

        Raises
        ------
        Invalid
            When a target is no layer that can be added to, when nothing is left to add to,
            or when `module` has an addition already: a second wrapping would throw it away.
        """
        who = "Lora.attach"
        if self.is_attached(module):
            raise Invalid(
                who,
                needs="a module without an addition",
                came="one that was wrapped before",
                todo="Train the addition that is there on, or start from its base.",
            )
        names = _targets(module, targets, keep, who=who)
        if rank < 1 or not names:
            raise Invalid(
                who,
                needs="a rank of at least 1 and a linear or convolution layer outside the head",
                came=f"rank {rank} and {len(names)} such layers for the targets {targets!r}",
                todo="Name layers of the module, or fine-tune without lora_rank.",
            )
        grown = _sharing(module, keep)
        config = LoraConfig(
            r=rank,
            lora_alpha=rank,
            lora_dropout=0.0,
            target_modules="|".join(map(re.escape, names)),
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            grown = inject_adapter_in_model(config, grown)
        setattr(grown, _KEPT, tuple(keep))
        _mark(grown, keep)
        _leave_fast_path(grown)
        return cast("nn.Module", grown)

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the addition alone, detached, by names that do not depend on PEFT.

        Parameters
        ----------
        module : torch.nn.Module
            As `attach` or `load` returned it, trained or not.

        Returns
        -------
        dict of str to Tensor
            On the module's device, sharing its memory: write it down or clone it.

        Raises
        ------
        Invalid
            When the module has no addition.
        """
        if not self.is_attached(module):
            raise Invalid(
                "Lora.state",
                needs="a module with an addition",
                came="one without",
                todo="Attach one first.",
            )
        return dict(_addition(module))

    def load(
        self,
        module: nn.Module,
        state: Mapping[str, Tensor],
        *,
        rank: int,
        targets: str = "all",
        keep: tuple[str, ...] = (),
    ) -> nn.Module:
        """Return a copy of a base with an addition that `state` gave, ready to train on.

        Parameters
        ----------
        module : torch.nn.Module
            The base, of the same form as the one that the addition was made for; not changed,
            and its frozen weights are shared as by `attach`.
        state : mapping of str to Tensor
            As `state` returned it.
        rank, targets, keep
            As they were given to `attach`.

        Raises
        ------
        Corrupt
            When a tensor is missing, left over, or of another shape or type, or the rank is
            none that its tensors have.
        """
        largest = max((size for each in state.values() for size in each.shape), default=0)
        if rank > largest:
            raise Corrupt(
                "Lora.load",
                needs=f"a rank of at most {largest}, as its tensors have",
                came=str(rank),
                todo="Load it with the rank of its making.",
            )
        grown = self.attach(module, rank=rank, targets=targets, keep=keep, seed=0)
        own = dict(_addition(grown))
        wrong = sorted(set(own) ^ set(state))
        wrong += [
            name for name in sorted(set(own) & set(state)) if _form(own, name) != _form(state, name)
        ]
        if wrong:
            raise Corrupt(
                "Lora.load",
                needs=f"the {len(own)} tensors of an addition to this base, each of its form",
                came=f"{len(wrong)} that are missing, left over or of another form: "
                f"{', '.join(wrong[:5])}",
                todo="Load it onto the base, with the rank and the targets, of its making.",
                names=wrong,
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])
        return grown

    def melted(self, module: nn.Module) -> nn.Module:
        """Return a copy of a module with its addition added to the weights, sharing nothing.

        Notes
        -----
        Exact up to the rounding of the weights' type, which in half precision may be as large
        as the addition itself.
        """
        copied = copy.deepcopy(module)
        for name, each in list(copied.named_modules()):
            if isinstance(each, BaseTunerLayer):
                each.merge()
                parent, _, last = name.rpartition(".")
                setattr(copied.get_submodule(parent), last, each.get_base_layer())
        _take_fast_path(copied)
        vars(copied).pop(_KEPT, None)
        vars(copied).pop("peft_config", None)
        return copied.requires_grad_(requires_grad=True)

    def is_attached(self, module: nn.Module) -> bool:
        """Say whether a module has an addition."""
        return any(isinstance(each, BaseTunerLayer) for each in module.modules())

    def trainable(self, module: nn.Module) -> int:
        """Return how many numbers of a module are trained."""
        return sum(each.numel() for each in module.parameters() if each.requires_grad)


def _form(state: Mapping[str, Tensor], name: str) -> tuple[torch.Size, torch.dtype]:
    return state[name].shape, state[name].dtype


def _is_under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in prefixes)


def _layers(module: nn.Module, keep: tuple[str, ...]) -> list[str]:
    """Return the names of the layers that can be added to.

    Not those inside a MultiheadAttention: it reads their weights and never calls them, so
    that an addition would be trained by nobody and change nothing.
    """
    deaf = tuple(
        name for name, each in module.named_modules() if isinstance(each, nn.MultiheadAttention)
    )
    return [
        name
        for name, each in module.named_modules()
        if name
        and not _is_under(name, (*keep, *deaf))
        and (isinstance(each, nn.Linear) or (isinstance(each, nn.Conv2d) and each.groups == 1))
    ]


def _targets(module: nn.Module, targets: str, keep: tuple[str, ...], *, who: str) -> list[str]:
    """Return the whole names of the layers that `targets` names."""
    possible = _layers(module, keep)
    modules = dict(module.named_modules())
    asked = [] if targets == "all" else targets.split("|")
    found = {
        each: [name for name in possible if name == each or name.endswith("." + each)]
        for each in asked
    }
    unknown = [f"the target {each!r}" for each, names in found.items() if not names]
    unknown += [f"the head {each!r}" for each in keep if each not in modules]
    if unknown:
        raise Invalid(
            who,
            needs=f"names among its linear and convolution layers: {', '.join(possible[:8])}",
            came=", ".join(unknown),
            todo="Correct lora_targets. Grouped convolutions, and layers inside a "
            "torch.nn.MultiheadAttention or the head, cannot be added to.",
        )
    if targets == "all":
        return possible
    chosen = {name for names in found.values() for name in names}
    return [name for name in possible if name in chosen]


def _sharing(module: nn.Module, keep: tuple[str, ...]) -> nn.Module:
    """Return a deep copy that shares the memory of every weight outside `keep`."""
    memo: dict[int, object] = {
        id(each): nn.Parameter(each.detach(), requires_grad=False)
        for name, each in module.named_parameters()
        if not _is_under(name, keep)
    }
    return copy.deepcopy(module, memo)


def _mark(module: nn.Module, keep: tuple[str, ...]) -> None:
    """Let the addition alone be trained, in full precision: half of it loses small steps."""
    for name, each in module.named_parameters():
        is_added = _ADDED.search(name) is not None
        each.requires_grad_(is_added or _is_under(name, keep))
        if is_added and each.dtype in _HALF:
            each.data = each.data.float()


def _leave_fast_path(module: nn.Module) -> None:
    """Keep torch's encoder from its fused kernel, which reads weights and calls no layer.

    It is taken in evaluation alone: the addition would train well and serve nothing.
    """
    for each in module.modules():
        for kind, name, off in _FAST:
            if isinstance(each, kind):
                setattr(each, _BEFORE, getattr(each, name))
                setattr(each, name, off)


def _take_fast_path(module: nn.Module) -> None:
    """Undo `_leave_fast_path`."""
    for each in module.modules():
        for kind, name, _ in _FAST:
            if isinstance(each, kind) and _BEFORE in vars(each):
                setattr(each, name, vars(each).pop(_BEFORE))


def _addition(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    keep = cast("tuple[str, ...]", getattr(module, _KEPT))
    weights = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, each in module.state_dict().items():
        if name not in weights or _ADDED.search(name) or _is_under(name, keep):
            yield _ADDED.sub(r".\1.", name).replace(".base_layer.", "."), each
