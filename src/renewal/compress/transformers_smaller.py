"""Smaller transformers: a configuration with fewer and narrower layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from renewal.compress.form import Form
from renewal.core.errors import Invalid
from renewal.models.torch_device import device_here
from renewal.models.transformers_model import TransformersModel
from renewal.models.transformers_nets import plain_config, random_net

Begun = Callable[[nn.Module, nn.Module], nn.Module]

# What the library's configurations call width and depth; a name that none of them bears is
# left alone, since there are many whole numbers that are no sizes.
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "dim", "hidden_dim",
          "n_layers", "n_embd", "n_inner", "n_layer", "d_model", "encoder_layers",
          "encoder_ffn_dim")  # fmt: skip
# What the library works out from the sizes, and would hold against other ones.
_FOLLOWING = ("head_dim", "layer_types")


def of_width_and_depth(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some options that say how wide or deep a transformer is.

    Examples
    --------
    >>> of_width_and_depth({"hidden_size": 64, "layer_norm_dims": 2})
    {'hidden_size': 64}
    """
    return {name: value for name, value in sizes.items() if name in _SIZES}


def shrunk(form: Form, sizes: Mapping[str, Any], *, seed: int, begun: Begun) -> Form:
    """Return the form with a smaller network, which keeps its tokenizer.

    Parameters
    ----------
    form : Form
        Of the adapter transformers, fitted.
    sizes : mapping
        What changes in its configuration.
    seed : int
        Of the weights that are drawn.
    begun : callable
        Gives the new network what it can keep of the old one.

    Raises
    ------
    Invalid
        When the sizes do not fit each other.
    """
    model: TransformersModel = form.estimator
    fitted = model.fitted
    if fitted is None:
        raise Invalid(
            "distil.smaller",
            needs="a fitted text classifier",
            came="a recipe",
            todo="Fit it first.",
        )
    config = {name: value for name, value in fitted.config.items() if name not in _FOLLOWING}
    config |= sizes
    module = random_net(config, n_classes=len(form.classes), seed=seed)
    module = begun(module, fitted.module).to(device_here()).eval()
    fresh = replace(
        fitted,
        module=module,
        config=plain_config(config, n_classes=len(form.classes)),
        is_pretrained=False,
        lora=None,
        base=None,
        origin=None,
        digest=None,
    )
    tokenizer = model.tokenizer or fitted.tokenizer.to_str()
    made = replace(model, config=config, tokenizer=tokenizer, start=None, fitted=fresh)
    return replace(form, estimator=made)
