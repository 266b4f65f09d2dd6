"""Low-rank factorization of a graph: one large matrix becomes two thin ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx
import pyarrow as pa

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_matrices import Array, Matrices, rows_for
from renewal.compress.onnx_ranks import Part, chosen_ranks, parts_of, weight_of
from renewal.compress.onnx_sensitivity import divergence
from renewal.compress.onnx_shared import rebuilt
from renewal.compress.onnx_units import shifted
from renewal.core.errors import Invalid
from renewal.models.task import Scores

_WHO = "factorize.graph"
_KEEPS = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
_TINY = 1e-12
_BROKEN = 1e9
# Rows that are scored in all to tell layers apart: fewer for each where there are many.
_FORWARDS = 3072
_FEWEST_ROWS = 16


@dataclass(frozen=True, slots=True)
class GraphFactorOptions:
    """How thin the factors become.

    Parameters
    ----------
    keep : float in (0, 1), default 0.5
        Share of the weights of all layers that can be factorized, which is left in all.
    rows : int >= 1, default 256
        Training rows on which inputs of layers are looked at, and, as far as there are not
        too many layers for it, the scores.
    """

    keep: float = 0.5
    rows: int = 256


class FactorizeGraph:
    r"""Puts a truncated singular value decomposition in the place of weights.

    A matrix :math:`W` of shape (m, n) becomes :math:`A B` of rank *r*, which pays only where
    :math:`r < mn / (m + n)`; a convolution becomes one with *r* outputs and a 1x1 one behind
    it. What is minimal is the error of what comes *out*, for inputs as training rows make
    them: with :math:`C = L L^T` their covariance, the decomposition is that of
    :math:`L^T W`, and the bias takes over what is lost of their mean. For convolutions, *C*
    is the mean square of each input channel.

    The rank of each layer follows from one budget: of all layers and ranks, the step that
    costs the least for each weight saved is taken, until `keep` of the weights are left. The
    cost of a rank is its lost energy times the sensitivity of the layer there: how far the
    scores of the rows move (Kullback-Leibler divergence; squared difference for numbers)
    when that layer alone is factorized, per lost energy, seen at three ranks.

    Notes
    -----
    A decomposition and three scorings of the rows for each layer. Without a row plain energies
    decide. Tied weights, grouped convolutions, weights of whole numbers, and matrices
    so small that no rank pays stay as they are; a layer that is all zero goes first.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "factorize"
    takes: ClassVar[tuple[str, ...]] = ("onnx",)
    Options: ClassVar[type[Any]] = GraphFactorOptions
    knob: ClassVar[str | None] = "keep"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # part of the contract
        """Say so where no layer gets smaller by any rank."""
        try:
            parts = parts_of(Matrices(form.estimator, who=_WHO))
        except Invalid as error:
            return f"the graph cannot be read: {error}"
        if parts:
            return None
        return (
            "the graph has no MatMul, Gemm or Conv with finite weights of floats of its own that "
            "two thin factors could replace"
        )

    def levels(self, form: Form, material: Material) -> tuple[GraphFactorOptions, ...]:  # noqa: ARG002  # part of the contract
        """Return shares of the weights, from most to a twentieth."""
        return tuple(GraphFactorOptions(keep) for keep in _KEEPS)

    def apply(
        self,
        form: Form,
        options: GraphFactorOptions,
        material: Material,
        *,
        seed: int,  # noqa: ARG002  # nothing is drawn
    ) -> Form:
        """Return the form with thin factors in the place of large matrices.

        Raises
        ------
        Invalid
            On options out of their range, where `why_not` says so, or when the graph says
            nothing finite any more.
        """
        if not 0.0 < options.keep < 1.0 or options.rows < 1:
            raise Invalid(
                _WHO,
                needs="keep above 0 and below 1, and one row or more",
                came=f"keep={options.keep}, rows={options.rows}",
                todo="Leave some of the weights.",
            )
        reason = self.why_not(form, material)
        if reason is not None:
            raise Invalid(
                _WHO,
                needs="layers that two thin factors can replace",
                came=f"one of which {reason}",
                todo="Leave this step out.",
            )
        features = rows_for(form, material, options.rows)
        graph = Matrices(form.estimator, who=_WHO)
        parts = parts_of(graph, features)
        n_scored = int(_FORWARDS * material.effort) // sum(len(each.probes) for each in parts)
        scored = rows_for(form, material, min(options.rows, max(_FEWEST_ROWS, n_scored)))
        said = form.predict(scored)
        losses = [_losses(form, graph, each, scored, said) for each in parts]
        ranks = chosen_ranks(parts, losses, options.keep)
        made: dict[str, list[Any]] = {}
        for each, rank in zip(parts, ranks, strict=True):
            if rank is not None:
                made[each.use.node.name] = _factors(graph, each, rank)
        graph.replace_nodes(made)
        return rebuilt(form, graph.written(), material, who=_WHO)


def _losses(form: Form, graph: Matrices, part: Part, features: pa.Table, said: Scores) -> Array:
    """Return what each rank of a layer costs: lost energy, at the price that scores show."""
    lost = np.array([part.lost(int(rank)) for rank in part.ranks])
    if not features.num_rows or part.energy <= 0.0:
        return lost / max(part.energy, _TINY)
    prices = []
    for rank in part.probes:
        moved = _moved(_altered(form, graph, part, rank), features, said)
        prices.append(max(moved, _TINY) / max(part.lost(rank), _TINY * part.energy))
    # Scores move by little at first, and then by more than the energy says.
    costs = lost * np.interp(part.ranks, part.probes, prices)
    thinnest: Array = np.maximum.accumulate(costs[::-1])[::-1]
    return thinnest


def _altered(form: Form, graph: Matrices, part: Part, rank: int) -> Form:
    """Return the form with one layer of a low rank, as thick as before."""
    twin = Matrices(form.estimator, who=_WHO)
    use = next(each for each in twin.found() if each.node.name == part.use.node.name)
    low = part.low(rank)
    twin.put(use.weight, part.shaped(low))
    twin.replace_nodes(_mean_kept(twin, replace(part, use=use), weight_of(graph, part) - low))
    made = twin.written().SerializeToString(deterministic=True)
    return replace(form, estimator=replace(form.estimator, graph=made))


def _mean_kept(graph: Matrices, part: Part, error: Array) -> dict[str, list[Any]]:
    """Let the bias say what the factors lose of the mean."""
    return {} if part.mean is None else shifted(graph, part.use, part.mean @ error)


def _moved(altered: Form, features: pa.Table, said: Scores) -> float:
    try:
        scores = altered.predict(features)
    except Invalid:
        # It answers no scores any more: nothing is more sensitive.
        return _BROKEN
    return divergence(said, scores, is_classes=bool(altered.classes))


def _factors(graph: Matrices, part: Part, rank: int) -> list[Any]:
    """Return the nodes of two thin layers, in the place of one."""
    like = part.use.weight
    left, right = part.factors(rank)
    inserted = _mean_kept(graph, part, weight_of(graph, part) - left @ right)
    node, *behind = inserted.get(part.use.node.name, [part.use.node])
    second = onnx.NodeProto()
    second.CopyFrom(node)
    second.name = f"{node.name}_wide"
    second.input[0] = between = graph.fresh(f"{node.output[0]}_thin")
    if node.op_type == "Conv":
        return [_thin_conv(graph, part, left, between), _pointwise(graph, part, right, second)]
    thin = graph.add(f"{like}_in", left, like)
    second.input[1] = graph.add(f"{like}_out", right, like)
    _drop(second, "transB")
    first = onnx.helper.make_node(
        "MatMul", [node.input[0], thin], [between], name=f"{node.name}_thin"
    )
    return [first, second, *behind]


def _thin_conv(graph: Matrices, part: Part, left: Array, between: str) -> Any:
    node, like = part.use.node, part.use.weight
    kernel = left.T.reshape(-1, *part.shape[1:])
    first = onnx.NodeProto()
    first.CopyFrom(node)
    first.name, first.output[0] = f"{node.name}_thin", between
    del first.input[2:]
    first.input[1] = graph.add(f"{like}_in", kernel, like)
    return first


def _pointwise(graph: Matrices, part: Part, right: Array, second: Any) -> Any:
    like, n_axes = part.use.weight, len(part.shape) - 2
    second.input[1] = graph.add(f"{like}_out", right.T.reshape(*right.T.shape, *[1] * n_axes), like)
    for name in ("kernel_shape", "pads", "strides", "dilations", "auto_pad"):
        _drop(second, name)
    return second


def _drop(node: Any, name: str) -> None:
    kept = [each for each in node.attribute if each.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
