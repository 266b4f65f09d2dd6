"""Text classifiers as bytes: tensors and JSON in one file that can hold no code.

A whole model holds its weights, the configuration and the tokenizer. An addition holds its own
tensors, the classes and the digest of its base, from which it takes all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

from torch import Tensor, nn

from renewal.core.errors import Corrupt, Invalid
from renewal.core.plugin import load_plugin
from renewal.models.layers import Tuning
from renewal.models.task import Classes
from renewal.models.tokenizers_front import loaded_tokenizer
from renewal.models.torch_build import tried
from renewal.models.torch_device import device_here
from renewal.models.torch_tensors import tensors_from_bytes, tensors_to_bytes
from renewal.models.transformers_model import Fitted, TransformersModel, demand_fitted
from renewal.models.transformers_nets import built, head_of, weights_of, widened
from renewal.store.digest import digest

_FORMAT = 1


def to_bytes(model: TransformersModel) -> bytes:
    """Return a fitted model as bytes; of a model with an addition, the addition alone.

    Raises
    ------
    Invalid
        When it is not fitted.
    """
    who = "TransformersAdapter.dump"
    fitted = demand_fitted(model, who=who)
    said: dict[str, Any] = {
        "format": _FORMAT,
        "classes": list(fitted.classes),
        "how": asdict(model.how),
    }
    if fitted.lora is not None and fitted.base is not None:
        said |= {"lora": list(fitted.lora), "base": digest_of(fitted.base)}
        lora = load_plugin("additions", "lora")()
        return tensors_to_bytes(lora.state(fitted.module), said, who=who)
    said |= {
        "recipe": model.config,
        "asked": list(model.columns),
        "max_length": model.max_length,
        "has_tokenizer": model.tokenizer is not None,
        "tokenizer": fitted.tokenizer.to_str(),
        "config": dict(fitted.config),
        "columns": list(fitted.columns),
        "is_pretrained": fitted.is_pretrained,
    }
    return tensors_to_bytes(weights_of(fitted.module), said, who=who)


def from_bytes(data: bytes) -> TransformersModel:
    """Return the model in some bytes.

    Raises
    ------
    Invalid
        On bytes of another format, or an addition without its base.
    Corrupt
        When the tensors are not those of the network that the bytes describe.
    """
    who = "TransformersAdapter.load"
    tensors, said = tensors_from_bytes(data, who=who)
    if "base" in said:
        raise Invalid(
            who,
            needs="the bytes of a whole model",
            came=f"an addition to the base {said['base']}",
            todo="Load the base, and then the addition onto it.",
            base=said["base"],
        )
    try:
        classes, columns = tuple(said["classes"]), tuple(said["columns"])
        config, length = dict(said["config"]), int(said["max_length"])
        tokenizer = loaded_tokenizer(said["tokenizer"], length, who=who)
        model = TransformersModel(
            said["recipe"],
            tuple(said["asked"]),
            length,
            Tuning(**said["how"]),
            said["tokenizer"] if said["has_tokenizer"] else None,
        )
        is_pretrained = bool(said["is_pretrained"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise _foreign(who, error) from error
    module, device = built(config, tensors, n_classes=len(classes)), device_here()
    with tried(who, f"the device {device}"):
        module.to(device)
    fitted = Fitted(module, config, tokenizer, columns, classes, is_pretrained, digest=digest(data))
    return replace(model, fitted=fitted)


def onto(base: TransformersModel, data: bytes) -> TransformersModel:
    """Return a base with the addition in some bytes; the base's memory is shared, not changed.

    Raises
    ------
    Invalid
        When the bytes hold no addition.
    Corrupt
        When they were made for another base, or do not fit this one.
    """
    who = "TransformersAdapter.load_onto"
    fitted = demand_fitted(base, who=who)
    tensors, said = tensors_from_bytes(data, who=who)
    own = digest_of(base)
    if said.get("base") != own:
        raise Corrupt(
            who,
            needs=f"an addition to the base {own}",
            came=f"one to {said.get('base', 'none: a whole model')}",
            todo="Load it onto the base that its manifest names.",
        )
    try:
        classes, how = tuple(said["classes"]), Tuning(**said["how"])
        rank, targets = said["lora"]
        rank, targets = int(rank), str(targets)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise _foreign(who, error) from error
    module = with_classes(fitted, classes, seed=0)
    module = load_plugin("additions", "lora")().load(
        module, tensors, rank=rank, targets=targets, keep=head_of(module)[0]
    )
    added = replace(
        fitted,
        module=cast("nn.Module", module).eval(),
        classes=classes,
        lora=(rank, targets),
        base=base,
        origin=None,
        digest=digest(data),
    )
    return replace(base, how=how, fitted=added)


def digest_of(model: TransformersModel) -> str:
    """Return the digest of a model's bytes, which is known where it was loaded from them."""
    fitted = demand_fitted(model, who="TransformersAdapter.base_digest")
    return fitted.digest or digest(to_bytes(model))


def with_classes(fitted: Fitted, classes: Classes, *, seed: int) -> nn.Module:
    """Return the network of a model with an output for each class, sharing its other weights."""
    if classes == fitted.classes:
        return fitted.module
    state: Mapping[str, Tensor] = widened(
        weights_of(fitted.module),
        head_of(fitted.module)[1],
        old=fitted.classes,
        new=classes,
        seed=seed,
    )
    return built(fitted.config, state, n_classes=len(classes))


def _foreign(who: str, error: Exception) -> Invalid:
    return Invalid(
        who,
        needs="bytes that Renewal wrote of a text classifier",
        came=f"others ({type(error).__name__}: {error})",
        todo="Restore the bytes, or take another version.",
    )
