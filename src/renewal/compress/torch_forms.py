"""A network opened for changes, and put back as a form that predicts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from renewal.compress.form import Form
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.models.torch_build import called, on_device, tried
from renewal.models.torch_inputs import Tensors
from renewal.models.torch_learning import raw_tensors

_BATCH = 256
_PROGRAM = "an exported program is one graph: it has no layers that could be changed"


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A copy of a form's network, with what is needed to run and to change it.

    Parameters
    ----------
    form : Form
        Where it came from; it shares nothing with `module`.
    module : torch.nn.Module
        In evaluation mode, its own to change; an addition is melted into its weights.
    head : str or None
        Name of the linear layer that gives the outputs.
    read : callable
        Makes raw tensors of rows, n rows first.
    call : callable
        Runs a module on raw tensors; returns logits or values, shape (n, n_outputs).
    who : str
        The technique that asks, for messages.
    """

    form: Form
    module: nn.Module
    head: str | None
    read: Callable[[pa.Table], Tensors]
    call: Callable[[nn.Module, Tensors], Tensor]
    who: str

    def tensors(self, features: pa.Table) -> Tensors:
        """Return rows as raw tensors where the module lies."""
        return on_device(self.module, self.read(features.select(list(self.form.signature.names))))

    def outputs(self, module: nn.Module, tensors: Tensors) -> Tensor:
        """Return what a module says of rows, some hundred at once and without a gradient."""
        n_rows = len(tensors[0])
        with torch.no_grad():
            found = [
                self.call(module, tuple(each[at : at + _BATCH] for each in tensors))
                for at in range(0, n_rows, _BATCH)
            ]
        return torch.cat(found) if found else torch.empty((0, len(self.form.classes) or 1))

    def closed(self, module: nn.Module, tensors: Tensors) -> Form:
        """Return the form with a changed module, which has to answer some rows with numbers.

        Raises
        ------
        Invalid
            When it does not run any more, or gives other outputs or no numbers.
        """
        flags = {name: each.requires_grad for name, each in self._before.named_parameters()}
        for name, each in module.named_parameters():
            each.requires_grad_(flags.get(name, True))
            each.grad = None
        module.eval()
        if not bool(torch.isfinite(self.outputs(module, tensors)).all()):
            raise Invalid(
                self.who,
                needs="a network that gives numbers",
                came="outputs that are none",
                todo="Take a milder level, or look for extreme weights in the parent.",
            )
        model = self.form.estimator
        fitted = replace(model.fitted, **_alone(model.fitted), module=module)
        return replace(self.form, estimator=replace(model, fitted=fitted))

    @property
    def _before(self) -> nn.Module:
        return cast("nn.Module", self.form.estimator.fitted.module)


def why_closed(form: Form) -> str | None:
    """Return why a form cannot be opened; None when it can.

    Examples
    --------
    >>> from renewal.core.spec import Signature
    >>> why_closed(Form("sklearn", object(), Signature(()), ()))
    'sklearn holds no network of torch'
    """
    if form.adapter not in {"torch", "transformers"}:
        return f"{form.adapter} holds no network of torch"
    if isinstance(getattr(form.estimator, "module", None), bytes):
        return _PROGRAM
    if form.estimator.fitted is None:
        return "the network is a recipe that has not been fitted"
    return None


def open_form(form: Form, *, who: str) -> Opened:
    """Return a copy of a form's network, ready to be changed.

    Raises
    ------
    Invalid
        On a form without a network whose layers can be changed.
    """
    closed = why_closed(form)
    if closed is not None:
        raise unfit(who, "a fitted network", closed)
    fitted = form.estimator.fitted
    if fitted.lora is None:
        module = copy.deepcopy(fitted.module)
    else:
        module = load_plugin("additions", "lora")().melted(fitted.module)
    module.eval()
    if form.adapter == "transformers":
        head = _scoring(module, len(form.classes))
        return Opened(form, module, head, _tokens_of(fitted, who), _logits_of(who), who)
    plain = replace(fitted, lora=None, base=None)

    def read(features: pa.Table) -> Tensors:
        return raw_tensors(plain, features, who=who)

    def call(module: nn.Module, tensors: Tensors) -> Tensor:
        return called(plain, module, tensors, who=who)

    return Opened(form, module, fitted.head, read, call, who)


def tied_layers(module: nn.Module) -> set[nn.Module]:
    """Return the modules that share a parameter with another, or stand at two places.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    >>> net[2].weight = net[0].weight
    >>> [each in tied_layers(net) for each in net]
    [True, False, True]
    """
    places: dict[int, list[tuple[str, nn.Module]]] = {}
    for path, each in module.named_modules(remove_duplicate=False):
        for name, parameter in each.named_parameters(recurse=False, remove_duplicate=False):
            places.setdefault(id(parameter), []).append((f"{path}.{name}", each))
    return {each for found in places.values() if len(found) > 1 for _, each in found}


def apart(outputs: Tensor, parent: Tensor, *, is_regression: bool) -> float:
    """Return the mean divergence of the outputs from the parent's: KL, or the squared gap.

    Examples
    --------
    >>> apart(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]), is_regression=False) > 0.2
    True
    """
    if is_regression:
        return float((outputs - parent).square().mean())
    said, answers = parent.log_softmax(dim=1), outputs.log_softmax(dim=1)
    return float(functional.kl_div(answers, said, reduction="batchmean", log_target=True))


def put(module: nn.Module, name: str, part: nn.Module) -> None:
    """Put a part in the place of the one that bears this name, wherever in a network.

    Examples
    --------
    >>> net = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())
    >>> put(net, "0.0", nn.Identity())
    >>> net[0][0]
    Identity()
    """
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, part)


def unfit(who: str, needs: str, came: str) -> Invalid:
    """Return the error of a technique that can do nothing with a network."""
    return Invalid(who, needs=needs, came=came, todo="Leave this technique out of the chain.")


@contextmanager
def learning(module: nn.Module) -> Iterator[None]:
    """Let every weight of a module have a gradient inside the block; flags are put back."""
    flags = [(each, each.requires_grad) for each in module.parameters()]
    try:
        for each, _ in flags:
            each.requires_grad_(each.is_floating_point())
        with torch.enable_grad():
            yield
    finally:
        for each, flag in flags:
            each.requires_grad_(flag)
            each.grad = None


def _alone(fitted: Any) -> dict[str, None]:
    """Return what ties a fitted network to bytes or to a base that it no longer is."""
    return {name: None for name in ("lora", "base", "origin", "digest") if hasattr(fitted, name)}


def _scoring(module: nn.Module, n_classes: int) -> str | None:
    linear = [
        name
        for name, each in module.named_modules()
        if isinstance(each, nn.Linear) and each.out_features == n_classes
    ]
    return linear[-1] if linear else None


def _tokens_of(fitted: Any, who: str) -> Callable[[pa.Table], Tensors]:
    """Return how texts become tokens and a mask, as the adapter reads them.

    Written again here because the adapter's own file needs the package tokenizers, and this
    one is loaded where torch alone is installed.
    """
    pad = int(fitted.config.get("pad_token_id") or 0)

    def read(features: pa.Table) -> Tensors:
        with tried(who, f"the text columns {', '.join(fitted.columns)}"):
            columns = [features[name].to_pylist() for name in fitted.columns]
        rows = zip(*columns, strict=True)
        texts = ["\n".join("" if each is None else each for each in row) for row in rows]
        tokens = [each.ids for each in fitted.tokenizer.encode_batch_fast(texts)]
        longest = max([1, *map(len, tokens)])
        ids = torch.full((len(tokens), longest), pad, dtype=torch.long)
        mask = torch.zeros((len(tokens), longest), dtype=torch.long)
        for row, each in enumerate(tokens):
            ids[row, : len(each)] = torch.tensor(each, dtype=torch.long)
            # A row of nothing but padding would be divided by zero.
            mask[row, : max(1, len(each))] = 1
        return ids, mask

    return read


def _logits_of(who: str) -> Callable[[nn.Module, Tensors], Tensor]:
    def call(module: nn.Module, tensors: Tensors) -> Tensor:
        ids, mask = tensors
        longest = int(mask.sum(dim=1).max())
        with tried(who, "texts of these columns"):
            inner = module(input_ids=ids[:, :longest], attention_mask=mask[:, :longest])
        return cast("Tensor", inner.logits)

    return call
