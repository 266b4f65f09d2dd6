"""Weights stored in half precision: half the bytes, the same arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_layers import Proto, Weights, parsed, replace_initializers
from renewal.compress.onnx_shared import rebuilt
from renewal.core.errors import Invalid
from renewal.models.onnx_feed import output_of

_WHO = "quantize.half"
# Smaller tensors weigh less than the node that widens them.
_MIN_NUMBERS = 64
_LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class HalfOptions:
    """Options of `QuantizeHalf`.

    Parameters
    ----------
    format : {"float16", "bfloat16"}, default "float16"
        float16 has 11 bits and reaches to 65,504; bfloat16 has 8 bits and reaches as far as
        float32.
    """

    format: Literal["float16", "bfloat16"] = "float16"


class QuantizeHalf:
    """Store float32 weights in 16 bits, and widen them when the graph is loaded.

    Each weight tensor is stored in half precision with a Cast to float32 behind it. ONNX
    Runtime carries the Cast out once, while it opens the session: predictions run at the
    speed of float32, inputs and outputs are untouched, and the file is half as large.

    Notes
    -----
    Storage only: neither memory nor latency of a running model falls. A tensor that float16
    cannot hold (beyond 65,504) stays float32. Put it last in a chain: what is stored in
    halves is no weight to the other steps.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "quantize"
    takes: ClassVar[tuple[str, ...]] = ("onnx",)
    Options: ClassVar[type[HalfOptions]] = HalfOptions
    knob: ClassVar[str | None] = None
    learns: ClassVar[bool] = False

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # part of the contract
        """Return why nothing can be stored in halves; None when something can."""
        try:
            output_of(form.estimator)
            proto = parsed(form.estimator.graph, who=_WHO)
        except Invalid as error:
            return f"the graph cannot be read or run: {error}"
        if _names(proto, "bfloat16"):
            return None
        return f"the graph has no tensor of {_MIN_NUMBERS} or more float32 weights"

    def levels(self, form: Form, material: Material) -> tuple[HalfOptions, ...]:  # noqa: ARG002  # part of the contract
        """Return the default alone: there is no knob."""
        return (HalfOptions(),)

    def apply(self, form: Form, options: HalfOptions, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # nothing is drawn
        """Return the form with its weights in halves.

        Raises
        ------
        Invalid
            When no tensor fits, or what came out answers no scores.
        """
        proto = parsed(form.estimator.graph, who=_WHO)
        names = _names(proto, options.format)
        if not names:
            raise Invalid(
                _WHO,
                needs=f"float32 weights that {options.format} can hold",
                came="none",
                todo="Take format=bfloat16, or leave this step out.",
            )
        kind = TensorProto.FLOAT16 if options.format == "float16" else TensorProto.BFLOAT16

        def halved(name: str, weights: Weights) -> tuple[list[Any], list[Any]]:
            inner = f"{name}_half"
            cast = helper.make_node(
                "Cast", [inner], [name], name=f"widen_{name}", to=TensorProto.FLOAT
            )
            return [_stored(weights, kind, inner)], [cast]

        replace_initializers(proto, names, halved)
        return rebuilt(form, proto, material, who=_WHO)


def _names(proto: Proto, kind: str) -> list[str]:
    """Return the initializers that fit, large enough to be worth it."""
    found = []
    for each in proto.graph.initializer:
        if each.data_type != TensorProto.FLOAT or int(np.prod(each.dims)) < _MIN_NUMBERS:
            continue
        weights = numpy_helper.to_array(each)
        finite = weights[np.isfinite(weights)]
        if kind == "bfloat16" or not finite.size or np.abs(finite).max() <= _LARGEST_HALF:
            found.append(each.name)
    return found


def _stored(weights: Weights, kind: int, name: str) -> Any:
    if kind == TensorProto.FLOAT16:
        return numpy_helper.from_array(weights.astype(np.float16), name)
    # The upper half of the bits, rounded to the nearest even number; NaN stays NaN.
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    # A largest float32 would round to infinity: it is cut instead.
    cut = np.where(np.isfinite(weights) & ((rounded & 0x7F80) == 0x7F80), bits >> 16, rounded)
    whole = np.where(np.isnan(weights), np.uint16(0x7FC0), cut).astype("<u2")
    return onnx.helper.make_tensor(name, kind, weights.shape, whole.tobytes(), raw=True)
