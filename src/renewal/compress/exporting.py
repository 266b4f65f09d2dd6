"""Networks leave their framework as ONNX graphs: the form that is quantized, and served."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.plugin import load_plugin, plugin_names

_N_ROWS = 64

GRAPH = "onnx"
"""The adapter of graphs."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """An export has no options."""


class ExportGraph:
    """Writes a network as an ONNX graph and changes nothing else: often faster, never smaller.

    Every other chain on a network ends with it without being told; by itself it shows what
    the runtime gains, before anything is compressed.
    """

    name: ClassVar[str] = "export.graph"
    family: ClassVar[Family] = "export"
    takes: ClassVar[tuple[str, ...]] = plugin_names("exports")
    Options: ClassVar[type[Any]] = ExportOptions
    knob: ClassVar[str | None] = None
    learns: ClassVar[bool] = False

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # part of the contract
        """Say nothing: whether a network can be exported shows when it is."""
        return None

    def levels(self, form: Form, material: Material) -> tuple[ExportOptions, ...]:  # noqa: ARG002  # part of the contract
        """Return the only level."""
        return (ExportOptions(),)

    def apply(
        self,
        form: Form,
        options: ExportOptions,  # noqa: ARG002  # there are none
        material: Material,
        *,
        seed: int,  # noqa: ARG002  # part of the contract
    ) -> Form:
        """Return the graph of a network.

        Raises
        ------
        Invalid
            When it cannot be exported, or what came out is not equal.
        """
        return exported(form, material)


def is_exported(adapter: str) -> bool:
    """Say whether forms of an adapter are stored and served as graphs."""
    return adapter in plugin_names("exports")


def exported(form: Form, material: Material) -> Form:
    """Return a network as a graph; any other form as it is.

    Parameters
    ----------
    form : Form
        Of any adapter.
    material : Material
        A few of its training rows are scored by both, to see whether they are equal.

    Raises
    ------
    Invalid
        When it cannot be exported, or what came out is not equal.
    """
    if not is_exported(form.adapter):
        return form
    rows = material.train.features.slice(0, _N_ROWS).select(list(form.signature.names))
    graph = load_plugin("exports", form.adapter)(
        form.estimator, form.signature, rows=rows if rows.num_rows else None
    )
    return replace(form, adapter=GRAPH, estimator=graph)
