"""Static quantization: weights and what flows between layers as bytes, ranges from rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

import onnx
import onnxruntime
import pyarrow as pa
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_layers import Layer, Proto, layers_of, parsed, untie
from renewal.compress.onnx_sensitivity import feeds_of
from renewal.compress.onnx_shared import (
    demand_share,
    few_features,
    kept_layers,
    quiet,
    rebuilt,
    shares,
    why_not_layers,
)
from renewal.compress.processor import on_x86, saturates
from renewal.core.errors import Invalid
from renewal.models.onnx_model import OnnxModel

_WHO = "quantize.static"
_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather")
# These vanish into the range of what they clip.
_CLIPS = ("Clip", "Relu")
# Between convolutions bytes flow on through these: turning to float32 and back costs more.
_BETWEEN = (
    "Add",
    "AveragePool",
    "Concat",
    "Flatten",
    "GlobalAveragePool",
    "MaxPool",
    "Reshape",
    "Squeeze",
)
_AROUND = {*_CLIPS, *_BETWEEN}
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


@dataclass(frozen=True)
class StaticOptions:
    """Options of `QuantizeStatic`.

    Parameters
    ----------
    keep : float in [0, 1), default 0
        Share of the layers, the most sensitive ones, that stay float32.
    rows : int >= 1, default 256
        Training rows that the ranges are taken from.
    method : {"minmax", "percentile", "entropy"}, default "minmax"
        How a range is read of the values seen: the whole, all but the outermost, or the one
        that changes the histogram least.
    symmetric : bool, default False
        Whether the ranges of activations lie evenly around zero. On ARM they always do.

    Raises
    ------
    Invalid
        On another share, or no row.
    """

    keep: float = 0.0
    rows: int = 256
    method: Literal["minmax", "percentile", "entropy"] = "minmax"
    symmetric: bool = False

    def __post_init__(self) -> None:
        """Refuse a share that is none, and ranges from nothing."""
        demand_share(self.keep, who=_WHO)
        if self.rows < 1:
            raise Invalid(
                _WHO,
                needs="one training row or more to take ranges from",
                came=f"rows={self.rows}",
                todo="Choose a few hundred.",
            )


class QuantizeStatic:
    """Turn weights and activations into bytes: QuantizeLinear and DequantizeLinear, by channel.

    Batch normalization is folded first, as ONNX Runtime recommends; then training rows run
    through the graph, and the range of each tensor that they show is written into it. A row
    beyond these ranges is clipped. One row is enough to get a graph; how bad it is, the
    search sees on the validation rows.

    Notes
    -----
    Weights are int8, and of 7 bits where the processor has no VNNI (`saturates`): the graph
    depends on the machine that made it. Activations are uint8, on ARM int8. Layers of fewer
    than 256 weights, and what lies behind a kept layer, stay float32.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "quantize"
    takes: ClassVar[tuple[str, ...]] = ("onnx",)
    Options: ClassVar[type[StaticOptions]] = StaticOptions
    knob: ClassVar[str | None] = "keep"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why there is no layer, or no row to calibrate on; None when there is."""
        if len(material.train) == 0:
            return "there is no training row to take the ranges of activations from"
        return why_not_layers(form, _folded_layers, ops=_OPS, who=_WHO)

    def levels(self, form: Form, material: Material) -> tuple[StaticOptions, ...]:
        """Return shares of layers that stay float32, from three quarters to none.

        As many levels as there are layers where these are fewer than 8.
        """
        layers = _folded_layers(parsed(form.estimator.graph, who=_WHO))
        found = shares(len(layers), ranked=len(material.train) > 0)
        return tuple(StaticOptions(keep=each) for each in found)

    def apply(self, form: Form, options: StaticOptions, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # nothing is drawn
        """Return the form with most of its layers in bytes.

        Raises
        ------
        Invalid
            When there is no training row, or what came out answers no scores.
        """
        features = few_features(form, material, options.rows)
        if features.num_rows == 0:
            raise Invalid(
                _WHO,
                needs="one training row or more to take ranges from",
                came="none",
                todo="Take quantize.dynamic, which needs none.",
            )
        proto = _folded(parsed(form.estimator.graph, who=_WHO))
        layers = layers_of(proto, _OPS)
        kept = kept_layers(
            form, proto, layers, material, keep=options.keep, activations=True, who=_WHO
        )
        folded = replace(form.estimator, graph=proto.SerializeToString(deterministic=True))
        feeds = _Feeds(folded, features)
        made = _quantized(proto, [each for each in layers if each not in kept], feeds, options)
        return rebuilt(form, made, material, who=_WHO)


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Training rows, as predictions are fed."""

    def __init__(self, model: OnnxModel, features: pa.Table) -> None:
        self._feeds: Iterator[Any] = feeds_of(model, features)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next few rows; None behind the last."""
        feed, _n_rows = next(self._feeds, (None, 0))
        found: dict[str, Any] | None = feed
        return found


def _folded(plain: Proto) -> Proto:
    """Return the graph with batch normalization and constants folded, and its shapes known."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with TemporaryDirectory(prefix="renewal-") as folder:
        target = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(target)
        onnxruntime.InferenceSession(
            plain.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        folded = parsed(target.read_bytes(), who=_WHO)
    # Two ways to read one matrix are two matrices from here on: of bytes with scales along
    # one axis, ONNX Runtime 1.32 computes a product along the other one wrongly.
    untie(folded, _OPS)
    _flatten_biases(folded)
    return folded


def _flatten_biases(proto: Proto) -> None:
    """Give biases of Gemm of shape (1, n) the shape (n,): the quantizer reads no other."""
    uses = Counter(name for node in proto.graph.node for name in node.input)
    biases = {
        node.input[2]
        for node in proto.graph.node
        if node.op_type == "Gemm" and len(node.input) > 2 and uses[node.input[2]] == 1
    }
    for tensor in proto.graph.initializer:
        if tensor.name in biases and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]


def _folded_layers(plain: Proto) -> tuple[Layer, ...]:
    return layers_of(_folded(plain), _OPS)


def _quantized(proto: Proto, layers: list[Layer], feeds: _Feeds, options: StaticOptions) -> Proto:
    nodes = {each.name: each for each in proto.graph.node}
    chosen = {name for layer in layers for name in layer.nodes}
    has_conv = any(nodes[name].op_type.startswith("Conv") for name in chosen)
    ops = [*_OPS, *_CLIPS, *(_BETWEEN if has_conv else ())]
    is_arm = not on_x86()
    # Histograms are printed about; there is one standard output for all threads, so it is
    # taken away only where it must be.
    silence = nullcontext() if options.method == "minmax" else redirect_stdout(StringIO())
    with TemporaryDirectory(prefix="renewal-") as folder, quiet(), silence:
        target = Path(folder) / "quantized.onnx"
        quantize_static(
            proto,
            target,
            feeds,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=ops,
            per_channel=True,
            reduce_range=saturates(),
            activation_type=QuantType.QInt8 if is_arm else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_excluded(proto, chosen),
            calibrate_method=_METHODS[options.method],
            extra_options={
                "MatMulConstBOnly": True,
                "ActivationSymmetric": options.symmetric or is_arm,
                "CalibTensorRangeSymmetric": options.symmetric or is_arm,
            },
        )
        return onnx.load_model(target)


def _excluded(proto: Proto, chosen: set[str]) -> list[str]:
    """Return nodes that stay float32: layers that were not chosen, and what they flow into."""
    floats: set[str] = set()
    found = []
    for node in proto.graph.node:
        is_layer = node.op_type in _OPS
        is_float = is_layer and node.name not in chosen
        is_float = is_float or (node.op_type in _AROUND and not floats.isdisjoint(node.input))
        if is_float:
            found.append(node.name)
            floats.update(node.output)
    return found
