"""Small graphs that techniques are asked to make smaller."""

from __future__ import annotations

from functools import cache

from renewal.testing.forms import FormCase
from renewal.testing.onnx_forms import cnn_form, material_of, mlp_form


@cache
def onnx_graphs() -> tuple[FormCase, ...]:
    """Return dense layers, and convolutions with a residual sum, of three classes each."""
    found = []
    for label, form in (("dense layers", mlp_form(width=96)), ("convolutions", cnn_form())):
        features = material_of(form, 40, seed=2).train.features
        found.append(FormCase(label, form, material_of(form, 120), features))
    return tuple(found)
