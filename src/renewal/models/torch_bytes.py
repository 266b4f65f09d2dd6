"""Networks as bytes that hold no code: safetensors, with the recipe in the header."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from renewal.core.errors import Corrupt, Invalid
from renewal.core.plugin import load_plugin
from renewal.models.layers import Tuning
from renewal.models.torch_build import built, demand_trust, tried
from renewal.models.torch_checkpoint import seeded
from renewal.models.torch_device import device_here
from renewal.models.torch_exported import TYPE
from renewal.models.torch_inputs import inputs_of_json
from renewal.models.torch_layers import fit_head, head_of
from renewal.models.torch_learning import with_addition
from renewal.models.torch_model import Fitted, TorchModel, demand_fitted
from renewal.models.torch_tensors import tensors_from_bytes, tensors_to_bytes
from renewal.store.digest import digest

_DUMP, _LOAD, _ONTO = "TorchAdapter.dump", "TorchAdapter.load", "TorchAdapter.load_onto"
_KIND = "renewal.torch/1"
_PROGRAM = "renewal.exported_program"


def to_bytes(model: TorchModel) -> bytes:
    """Return a fitted network; of one with an addition, the addition alone.

    Raises
    ------
    Invalid
        When it is not fitted, or its state holds what is no tensor.

    Notes
    -----
    Equal networks give equal bytes.
    """
    fitted = demand_fitted(model, who=_DUMP)
    said = {
        "kind": _KIND,
        "module": model.module if isinstance(model.module, str) else None,
        "options": model.options,
        "how": asdict(model.how),
        "loss": model.loss,
        "named_head": model.head,
        "inputs": fitted.inputs.to_json(),
        "classes": list(fitted.classes),
        "head": fitted.head,
        "target": list(fitted.target),
        "lora": None if fitted.lora is None else list(fitted.lora),
        "base": base_digest_of(model),
    }
    if fitted.lora is not None:
        return tensors_to_bytes(
            load_plugin("additions", "lora")().state(fitted.module), said, who=_DUMP
        )
    state = fitted.module.state_dict()
    strange = [name for name, each in state.items() if not isinstance(each, Tensor)]
    if strange:
        raise Invalid(
            _DUMP,
            needs="a network whose state is tensors alone",
            came=f"{', '.join(strange)} of other types",
            todo="Keep it in buffers, or in the options of the class.",
        )
    if isinstance(model.module, bytes):
        program = torch.frombuffer(bytearray(model.module), dtype=torch.uint8)
        state = {**state, _PROGRAM: program}
    return tensors_to_bytes(state, said, who=_DUMP)


def from_bytes(data: bytes, trust: tuple[str, ...]) -> TorchModel:
    """Return the network in `data`, if the code that builds it is trusted.

    Raises
    ------
    Invalid
        On bytes of another format, damaged, an addition without its base, or weights that
        do not fit what the code builds now.
    Refused
        On code that is not in `trust`; it has not been imported then.
    Missing
        When trusted code is not here.
    """
    tensors, model, said = _read(data, _LOAD)
    if said["lora"] is not None:
        raise Invalid(
            _LOAD,
            needs="a whole network",
            came=f"an addition to the base {said['base']}",
            todo="Load it onto its base: TorchAdapter.load_onto.",
        )
    demand_trust(_paths(model, said), trust, who=_LOAD)
    device = device_here()
    with seeded(0, device):
        module = built(model, who=_LOAD)
        fitted = _fitted(said, module)
        if fitted.head is not None:
            fit_head(module, head_of(module, fitted.head, who=_LOAD), len(fitted.classes) or 1)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise Invalid(
            _LOAD,
            needs=f"{model.label} to build the layers that were stored",
            came=" ".join(str(error).split()),
            todo="Bring back the code of that version, or retrain with the new one.",
        ) from error
    with tried(_LOAD, f"the device {device}"):
        module.to(device).eval()
    return replace(model, fitted=replace(fitted, digest=digest(data)))


def onto_base(base: TorchModel, data: bytes, trust: tuple[str, ...]) -> TorchModel:
    """Return `base` with the addition in `data`; the base stays as it is.

    Raises
    ------
    Corrupt
        When the addition was made for another base, or does not fit it.
    Invalid
        On bytes that are no addition.
    Refused
        As `from_bytes`.
    """
    tensors, model, said = _read(data, _ONTO)
    if said["lora"] is None:
        raise Invalid(
            _ONTO,
            needs="an addition to a base",
            came="a whole network",
            todo="Load it by itself: TorchAdapter.load.",
        )
    demand_trust(_paths(model, said), trust, who=_ONTO)
    found = digest_of_model(base)
    if found != said["base"]:
        raise Corrupt(
            _ONTO,
            needs=f"the base {said['base']}, for which the addition was made",
            came=found,
            todo="Restore that base; on another one the addition means nothing.",
        )
    rank, targets = _rank_and_targets(said["lora"])
    fitted = _fitted(said, demand_fitted(base, who=_ONTO).module)
    module = with_addition(base, tensors, fitted.classes, (rank, targets))
    module.eval()
    return replace(
        model, fitted=replace(fitted, module=module, lora=(rank, targets), base=base, digest=None)
    )


def _rank_and_targets(said: Any) -> tuple[int, str]:
    """Return the rank and the targets of an addition, as its header has them."""
    is_pair = isinstance(said, list) and list(map(type, said)) == [int, str]
    if not is_pair or said[0] < 1:
        raise Invalid(
            _ONTO,
            needs="an addition that says its rank and its targets",
            came=repr(said)[:80],
            todo="Restore the version from a backup: its header is damaged.",
        )
    return said[0], said[1]


def base_digest_of(model: TorchModel) -> str | None:
    """Return the digest of the base's bytes; None for a network without an addition."""
    fitted = model.fitted
    return None if fitted is None or fitted.base is None else digest_of_model(fitted.base)


def digest_of_model(model: TorchModel) -> str:
    """Return the digest of a model's bytes, which is known where it was loaded from them."""
    known = demand_fitted(model, who=_DUMP).digest
    return digest(to_bytes(model)) if known is None else known


def _read(data: bytes, who: str) -> tuple[dict[str, Tensor], TorchModel, dict[str, Any]]:
    tensors, said = tensors_from_bytes(data, who=who)
    names = [said.get("module"), said.get("head"), said.get("named_head")]
    if said.get("kind") != _KIND or not all(isinstance(each, str | None) for each in names):
        raise _foreign(who, f"the kind {said.get('kind')!r}")
    try:
        inputs = inputs_of_json(said["inputs"])
        program = tensors.pop(_PROGRAM, None)
        model = TorchModel(
            said["module"] if program is None else program.numpy().tobytes(),
            said["options"],
            Tuning(**said["how"]),
            inputs.reading,
            said["loss"],
            said["named_head"],
        )
        _fitted(said, None)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _foreign(who, f"{type(error).__name__}: {error}") from error
    return tensors, model, said


def _foreign(who: str, came: str) -> Invalid:
    return Invalid(
        who,
        needs=f"a network of the kind {_KIND}",
        came=came,
        todo="Write the file again, or take another version.",
    )


def _fitted(said: dict[str, Any], module: Any) -> Fitted:
    mean, spread = said["target"]
    return Fitted(
        module,
        inputs_of_json(said["inputs"]),
        tuple(said["classes"]),
        said["head"],
        (float(mean), float(spread)),
    )


def _paths(model: TorchModel, said: dict[str, Any]) -> tuple[str, ...]:
    prepare = json.loads(json.dumps(said["inputs"]["reading"]))["prepare"]
    built_by = model.module if isinstance(model.module, str) else TYPE
    return (built_by,) if prepare is None else (built_by, prepare)
