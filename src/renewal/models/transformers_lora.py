"""A text classifier with an addition (LoRA) as an addition to a graph, which others share."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.spec import Signature
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_front import Front
from renewal.models.onnx_lora_model import lora_model
from renewal.models.onnx_model import OnnxModel
from renewal.models.torch_graph import OUTPUT, SIZES, Example, demand_equal, graph_of
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import Fitted, TransformersModel, demand_fitted
from renewal.models.transformers_onnx import FREE, checked_rows, demand_columns, tokens_of

_WHO = "transformers_lora.export_addition"
_IR_OF_OVERRIDES = 4


def export_addition(
    estimator: TransformersModel,
    signature: Signature,
    *,
    base: OnnxModel | None = None,
    rows: pa.Table | None = None,
) -> OnnxModel:
    """Return a text classifier with an addition as a graph with one, which gives the same scores.

    The graph is that of the base; the matrices of the addition and the head are initializers
    that a run may override. Served, versions on one base share its session.

    Parameters
    ----------
    estimator : TransformersModel
        Fine-tuned with ``lora_rank``.
    signature : Signature
        The columns that will be sent; its text columns among them.
    base : OnnxModel or None, default None
        What an earlier call returned for another addition of the same form to the same base
        (its addition does not matter); None: the network is exported.
    rows : pyarrow.Table or None
        A few rows on which network and graph are compared; None: texts that were made up.

    Returns
    -------
    OnnxModel
        `renewal.models.onnx_lora_model.base_of` gives the base alone, to be registered as
        its parent.

    Raises
    ------
    Invalid
        On a network without an addition, one that no exporter can write, an addition of
        another form than the base has places for, or when **the export is not equal**.

    Notes
    -----
    2 s for a small network; 20 ms where the base is there.
    """
    fitted = demand_fitted(estimator, who=_WHO)
    if fitted.lora is None or fitted.base is None:
        raise Invalid(
            _WHO,
            needs="a text classifier with an addition",
            came="one without",
            todo="Fine-tune it with lora_rank, or export it whole: transformers_onnx.export.",
        )
    demand_columns(fitted, signature)
    places = _places(fitted)
    weights = {plain: _numbers(fitted.module.state_dict()[raw]) for raw, plain in places.items()}
    checked = checked_rows(fitted, rows)

    def made(model: OnnxModel) -> OnnxModel:
        found = lora_model(model, weights, classes=fitted.classes)
        for size in SIZES:
            some = checked.take(np.arange(size) % checked.num_rows)
            expected = TransformersAdapter().predict(estimator, some)
            demand_equal(expected, OnnxAdapter().predict(found, some), who=_WHO)
        return found

    if base is not None:
        return made(base)
    fed = tokens_of(fitted).feed(checked)
    examples = [Example(name, torch.from_numpy(each), FREE) for name, each in fed.items()]
    examples += [Example(plain, torch.from_numpy(each), {}) for plain, each in weights.items()]
    passed: list[OnnxModel] = []

    def demand(graph: bytes) -> None:
        passed[:] = [made(_with_defaults(graph, fitted, weights))]

    module = _Substituted(fitted.module, tuple(places)).cpu().eval()
    graph_of(module, examples, demand=demand, who=_WHO)
    return passed[0]


class _Substituted(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """A text classifier whose addition and head are arguments, too."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self.names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_classes)."""
        ids, mask, *others = tensors
        own = dict(zip(self.names, others, strict=True))
        fed = {"input_ids": ids, "attention_mask": mask}
        found: Tensor = torch.func.functional_call(self.module, own, (), fed).logits.float()
        return found


def _places(fitted: Fitted) -> dict[str, str]:
    """Return the names of an addition's tensors in its module, and how they are called."""
    state = load_plugin("additions", "lora")().state(fitted.module)
    # The addition shares the memory of the module.
    plain = {(each.data_ptr(), each.shape): name for name, each in state.items()}
    own = fitted.module.state_dict()
    found = {
        name: plain[each.data_ptr(), each.shape]
        for name, each in own.items()
        if (each.data_ptr(), each.shape) in plain
    }
    assert sorted(found.values()) == sorted(state), "each tensor of the addition is in the module"
    return found


def _with_defaults(graph: bytes, fitted: Fitted, weights: dict[str, NDArray[Any]]) -> OnnxModel:
    """Return a graph in which inputs of an addition need not be fed: the base answers then."""
    assert fitted.base is not None, "asked before"
    base = demand_fitted(fitted.base, who=_WHO)
    held = base.module.state_dict()
    proto = onnx.load_model_from_string(graph)
    proto.ir_version = max(proto.ir_version, _IR_OF_OVERRIDES)
    for name, each in weights.items():
        known = held.get(name)
        is_there = known is not None and tuple(known.shape) == each.shape
        default = _numbers(known) if is_there else np.zeros_like(each)
        proto.graph.initializer.append(numpy_helper.from_array(default.astype(each.dtype), name))
    classes = base.classes if len(base.classes) == len(fitted.classes) else fitted.classes
    front = Front((tokens_of(fitted),)).to_json()
    data = proto.SerializeToString(deterministic=True)
    return OnnxModel(data, classes, OUTPUT, is_logits=True, front=front)


def _numbers(tensor: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return found
