"""Unstructured pruning: the smallest weights of a graph become zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_matrices import Matrices, Matrix
from renewal.compress.onnx_shared import rebuilt
from renewal.core.errors import Invalid

_WHO = "prune.magnitude"
_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


@dataclass(frozen=True, slots=True)
class MagnitudeOptions:
    """What becomes zero.

    Parameters
    ----------
    share : float in [0, 1), default 0.5
        Of the weights of all layers together.
    last : bool, default True
        Whether the last layer is pruned like the others. Its weights are few, and most of
        them large: one threshold for all layers spares it by itself.
    """

    share: float = 0.5
    last: bool = True


class PruneMagnitude:
    """Sets the smallest weights of all layers together to zero: it saves storage, only storage.

    One threshold for the weights of all MatMul, Gemm and Conv nodes, so that a layer with
    small weights loses more than one with large ones. The graph keeps its shape: it is as
    slow as before, needs the same memory, and counts the same multiplications; its bytes on
    disk fall because zeros pack well (`renewal.models.onnx_adapter`), and so do the
    objectives ``parameters`` and ``l1``. To gain time, prune neurons or channels.

    Notes
    -----
    A tied weight counts once and loses the same numbers for all who use it. Weights of whole
    numbers, biases, tables of embeddings and recurrent layers stay as they are. A layer that
    is all zero already stays so, and its zeros are the first of the share.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("onnx",)
    Options: ClassVar[type[Any]] = MagnitudeOptions
    knob: ClassVar[str | None] = "share"
    learns: ClassVar[bool] = False
    note: ClassVar[str] = "storage only: zeros save bytes on disk, and no time"

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # part of the contract
        """Say so where no layer has weights of floats."""
        try:
            found = Matrices(form.estimator, who=_WHO).found()
        except Invalid as error:
            return f"the graph cannot be read: {error}"
        return None if found else "the graph has no MatMul, Gemm or Conv with weights of floats"

    def levels(self, form: Form, material: Material) -> tuple[MagnitudeOptions, ...]:  # noqa: ARG002  # part of the contract
        """Return shares from three tenths to almost all."""
        return tuple(MagnitudeOptions(share) for share in _SHARES)

    def apply(
        self,
        form: Form,
        options: MagnitudeOptions,
        material: Material,
        *,
        seed: int,  # noqa: ARG002  # nothing is drawn
    ) -> Form:
        """Return the form with the smallest weights at zero.

        Raises
        ------
        Invalid
            On a share out of its range, no weights of floats, weights that are not finite,
            or a graph that says nothing finite any more.
        """
        if not 0.0 <= options.share < 1.0:
            raise Invalid(
                _WHO,
                needs="a share of at least 0 and below 1",
                came=f"share={options.share}",
                todo="Leave some of the weights.",
            )
        graph = Matrices(form.estimator, who=_WHO)
        found = graph.found()
        names = list(dict.fromkeys(each.weight for each in _pruned(found, last=options.last)))
        if not names:
            raise Invalid(
                _WHO,
                needs="a MatMul, Gemm or Conv with weights of floats",
                came="none" if not found else "only a last layer, which is left out",
                todo="Leave this step out.",
            )
        _cut(graph, names, options.share)
        return rebuilt(form, graph.written(), material, who=_WHO)


def _pruned(found: list[Matrix], *, last: bool) -> list[Matrix]:
    if last or not found:
        return found
    spared = found[-1].weight
    return [each for each in found if each.weight != spared]


def _cut(graph: Matrices, names: list[str], share: float) -> None:
    weights = [graph.array(name) for name in names]
    flat = np.concatenate([each.reshape(-1) for each in weights])
    if not np.isfinite(flat).all():
        raise Invalid(
            _WHO,
            needs="finite weights",
            came=f"{int((~np.isfinite(flat)).sum())} that are not",
            todo="Train the model again.",
        )
    n_cut = round(share * flat.size)
    # Stable: of equal weights those that come first go, on every machine.
    flat[np.argsort(np.abs(flat), kind="stable")[:n_cut]] = 0.0
    start = 0
    for name, each in zip(names, weights, strict=True):
        graph.put(name, flat[start : start + each.size].reshape(each.shape))
        start += each.size
