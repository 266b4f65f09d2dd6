"""Dynamic quantization: weights as bytes, inputs of each layer rounded as they come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_layers import Layer, Proto, is_product, layers_of, parsed
from renewal.compress.onnx_shared import (
    demand_share,
    kept_layers,
    quiet,
    rebuilt,
    shares,
    why_not_layers,
)
from renewal.compress.processor import saturates

_WHO = "quantize.dynamic"
# No Conv: ONNX Runtime's ConvInteger is about ten times slower than float32.
_OPS = ("MatMul", "Gemm", "Gather", "LSTM", "Attention")


@dataclass(frozen=True)
class DynamicOptions:
    """Options of `QuantizeDynamic`.

    Parameters
    ----------
    keep : float in [0, 1), default 0
        Share of the layers, the most sensitive ones, that stay float32.

    Raises
    ------
    Invalid
        On another share.
    """

    keep: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        demand_share(self.keep, who=_WHO)


class QuantizeDynamic:
    """Turn the weights of dense, recurrent and lookup layers into bytes, one scale a channel.

    What goes into a layer is rounded while it runs, by the range of each batch: no
    calibration, and rows of other ranges than those of the training are met well. That the
    range is one of the batch means that a row's scores depend, a little, on its neighbors.

    Notes
    -----
    Conv layers stay as they are: `QuantizeStatic` is for them. Weights are of 7 bits where
    the processor has no VNNI (`saturates`). Layers of fewer than 256 weights stay float32.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "quantize"
    takes: ClassVar[tuple[str, ...]] = ("onnx",)
    Options: ClassVar[type[DynamicOptions]] = DynamicOptions
    knob: ClassVar[str | None] = "keep"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # part of the contract
        """Return why no layer can be quantized; None when one can."""
        return why_not_layers(form, _layers, ops=_OPS, who=_WHO)

    def levels(self, form: Form, material: Material) -> tuple[DynamicOptions, ...]:
        """Return shares of layers that stay float32, from three quarters to none.

        As many levels as there are layers where these are fewer than 8, and one where there
        are no training rows to rank them with.
        """
        layers = _layers(parsed(form.estimator.graph, who=_WHO))
        found = shares(len(layers), ranked=len(material.train) > 0)
        return tuple(DynamicOptions(keep=each) for each in found)

    def apply(self, form: Form, options: DynamicOptions, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # nothing is drawn
        """Return the form with most of its layers in bytes.

        Raises
        ------
        Invalid
            When layers are to be kept and there are no rows to rank them with, or what came
            out answers no scores.
        """
        proto = parsed(form.estimator.graph, who=_WHO)
        layers = _layers(proto)
        kept = kept_layers(
            form, proto, layers, material, keep=options.keep, activations=True, who=_WHO
        )
        made = _quantized(proto, [each for each in layers if each not in kept])
        return rebuilt(form, made, material, who=_WHO)


def _layers(proto: Proto) -> tuple[Layer, ...]:
    """Return the layers that ONNX Runtime's quantizer takes."""
    nodes = {each.name: each for each in proto.graph.node}
    return tuple(
        layer
        for layer in layers_of(proto, _OPS)
        if all(is_product(nodes[name]) for name in layer.nodes)
    )


def _quantized(proto: Proto, layers: list[Layer]) -> Proto:
    wanted = {name for layer in layers for name in layer.nodes}
    others = [each.name for each in proto.graph.node if each.name not in wanted]
    others += [f"{name}_MatMul" for name in others]
    with TemporaryDirectory(prefix="renewal-") as folder, quiet():
        target = Path(folder) / "quantized.onnx"
        quantize_dynamic(
            proto,
            target,
            op_types_to_quantize=["MatMul", "Gather", "LSTM", "Attention"],
            per_channel=True,
            reduce_range=saturates(),
            weight_type=QuantType.QInt8,
            nodes_to_exclude=others,
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load_model(target)
