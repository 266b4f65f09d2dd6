"""Networks that were trained elsewhere, brought in as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from torch import Tensor

from renewal.core.errors import Invalid
from renewal.core.spec import Label
from renewal.models.torch_build import built, called, on_device
from renewal.models.torch_checkpoint import seeded
from renewal.models.torch_device import device_here
from renewal.models.torch_inputs import learn_inputs
from renewal.models.torch_layers import head_of
from renewal.models.torch_learning import raw_tensors
from renewal.models.torch_model import Fitted, TorchModel

_WHO = "pretrained"


def pretrained(
    model: TorchModel,
    state: Mapping[str, Tensor] | None = None,
    *,
    rows: pa.Table,
    classes: Sequence[Label] = (),
) -> TorchModel:
    """Return a fitted network from weights that were trained elsewhere.

    Parameters
    ----------
    model : TorchModel
        Its recipe. With ``Reading(standardize=True)`` mean and spread are those of `rows`, so
        hand in rows of its training, or switch it off.
    state : mapping of str to Tensor or None
        As `torch.nn.Module.state_dict` returns it; None: the weights that the class, or the
        exported program, comes with.
    rows : pyarrow.Table
        A few rows that it takes: they show the columns, and that it takes them.
    classes : sequence of bool, int or str
        What its outputs mean, in their order; empty for a regression.

    Raises
    ------
    Invalid
        When the weights do not fit the class, or the outputs do not fit the classes.

    Notes
    -----
    Say what it was trained on when you register it; where nobody knows, only rows that come
    later can judge it.

    Examples
    --------
    >>> import torch
    >>> recipe = TorchModel(torch.nn.Linear, {"in_features": 1, "out_features": 2})
    >>> state = {"weight": torch.tensor([[1.0], [0.0]]), "bias": torch.zeros(2)}
    >>> net = pretrained(recipe, state, rows=pa.table({"a": [1.0, 2.0]}), classes=("no", "yes"))
    >>> net.fitted.classes
    ('no', 'yes')
    """
    device = device_here()
    with seeded(0, device):
        module = built(model, who=_WHO)
    if state is not None:
        try:
            module.load_state_dict(dict(state))
        except RuntimeError as error:
            raise Invalid(
                _WHO,
                needs=f"weights of {model.label}",
                came=" ".join(str(error).split()),
                todo="Give the options with which the network was built when it was trained.",
            ) from error
    inputs = learn_inputs(rows, model.reading, who=_WHO)
    fitted = Fitted(module.to(device).eval(), inputs, tuple(classes), _head(model, module))
    tensors = raw_tensors(fitted, rows.slice(0, 8), who=_WHO)
    called(fitted, module, on_device(module, tensors), who=_WHO)
    return replace(model, fitted=fitted)


def _head(model: TorchModel, module: Any) -> str | None:
    return None if isinstance(model.module, bytes) else head_of(module, model.head, who=_WHO)
