"""Structured pruning of a graph: hidden units go, and their matrices are really smaller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_matrices import Array, Matrices, rows_for
from renewal.compress.onnx_moments import Moments, moments
from renewal.compress.onnx_shared import rebuilt
from renewal.compress.onnx_units import Hidden, hidden_of, shifted
from renewal.core.errors import Invalid

_WHO = "prune.neurons"
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375, 0.96875)
_ROUND_TO = 8
# With fewer rows a spread says less than the weights.
_FEW_ROWS = 16
_RIDGE = 1e-3
# What is left of a variance behind it is rounding.
_EXPLAINED = 1e-9
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class NeuronOptions:
    """How many hidden units go.

    Parameters
    ----------
    share : float in [0, 1), default 0.5
        Of the units of every hidden layer; what stays is rounded up to a multiple of 8.
    rows : int >= 1, default 512
        Training rows on which the units are looked at.
    """

    share: float = 0.5
    rows: int = 512


class PruneNeurons:
    r"""Removes hidden units from dense layers; those that stay say what the others said.

    Units are kept one by one, each the one that says most to the layers behind it which the
    units before it do not say: the largest variance that they leave unexplained, times
    :math:`\lVert w_j^{out} \rVert^2` (the pivots of a Cholesky decomposition of the units'
    covariance). So a unit that is constant costs nothing, and neither does one of two twins.
    Then the next layer is corrected by a least squares fit, with a ridge, of the removed
    units on the kept ones; their mean goes into its bias. With fewer than 16 rows, which
    know no spread, those with the largest
    :math:`\lVert w_j^{in} \rVert \, \lVert w_j^{out} \rVert` stay, and only means move.

    Notes
    -----
    Only where a graph is certain: a Gemm or MatMul whose outputs reach the next Gemm or
    MatMul through functions of single units alone (ReLU and its kin, sigmoid, tanh, GELU,
    SiLU, biases, scales), and are used nowhere else. Residual sums, normalizations over
    units, gates of two layers and tied weights leave a layer as it is.
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("onnx",)
    Options: ClassVar[type[Any]] = NeuronOptions
    knob: ClassVar[str | None] = "share"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Say so where no hidden layer is certain, or no row is there to look at it with."""
        try:
            graph = Matrices(form.estimator, who=_WHO)
        except Invalid as error:
            return f"the graph cannot be read: {error}"
        if not _wide(graph):
            return (
                f"the graph has no hidden layer of more than {_ROUND_TO} units between two "
                "dense layers that nothing else reads"
            )
        if not rows_for(form, material, 1).num_rows:
            return "there is no row to look at the hidden units with"
        return None

    def levels(self, form: Form, material: Material) -> tuple[NeuronOptions, ...]:  # noqa: ARG002  # part of the contract
        """Return shares that leave different widths, from an eighth on."""
        widths = [each.width for each in _wide(Matrices(form.estimator, who=_WHO))]
        seen: set[tuple[int, ...]] = {tuple(widths)}
        found = []
        for share in _SHARES:
            left = tuple(_left(width, share) for width in widths)
            if left not in seen:
                seen.add(left)
                found.append(NeuronOptions(share))
        return tuple(found)

    def apply(
        self,
        form: Form,
        options: NeuronOptions,
        material: Material,
        *,
        seed: int,  # noqa: ARG002  # nothing is drawn
    ) -> Form:
        """Return the form with narrower hidden layers.

        Raises
        ------
        Invalid
            On options out of their range, where `why_not` says so, or when the graph says
            nothing finite any more.
        """
        if not 0.0 <= options.share < 1.0 or options.rows < 1:
            raise Invalid(
                _WHO,
                needs="a share of at least 0 and below 1, and one row or more",
                came=f"share={options.share}, rows={options.rows}",
                todo="Leave some of the units.",
            )
        reason = self.why_not(form, material)
        if reason is not None:
            raise Invalid(
                _WHO,
                needs="hidden layers that can be cut",
                came=f"one of which {reason}",
                todo="Leave this step out.",
            )
        features = rows_for(form, material, options.rows)
        graph = Matrices(form.estimator, who=_WHO)
        for name in [each.first.node.name for each in _wide(graph)]:
            # Each is looked at anew: the one before it has changed what reaches it.
            _narrow(graph, _named(graph, name), options.share, features)
            made = graph.written().SerializeToString(deterministic=True)
            graph = Matrices(replace(form.estimator, graph=made), who=_WHO)
        return rebuilt(form, graph.written(), material, who=_WHO)


def _wide(graph: Matrices) -> list[Hidden]:
    return [each for each in hidden_of(graph) if each.width > _ROUND_TO]


def _named(graph: Matrices, name: str) -> Hidden:
    return next(each for each in hidden_of(graph) if each.first.node.name == name)


def _left(width: int, share: float) -> int:
    kept = width - round(share * width)
    return min(width, max(_ROUND_TO, -(-kept // _ROUND_TO) * _ROUND_TO))


def _narrow(graph: Matrices, hidden: Hidden, share: float, features: pa.Table) -> None:
    """Cut one hidden layer, and let the next layers make up for it."""
    seen = moments(graph, {each.source: -1 for each in hidden.nexts}, features)
    n_left = _left(hidden.width, share)
    order = _order(graph, hidden, seen, n_left, few=features.num_rows < _FEW_ROWS)
    kept, gone = np.sort(order[:n_left]), np.sort(order[n_left:])
    first = graph.matrix(hidden.first)
    inserted: dict[str, list[Any]] = {}
    for each in hidden.nexts:
        weight = graph.matrix(each).astype(np.float64)
        found = seen[each.source]
        taken = _taken_over(found, kept, gone, few=features.num_rows < _FEW_ROWS)
        graph.put_matrix(each, weight[kept] + taken @ weight[gone])
        rest = (found.mean[gone] - found.mean[kept] @ taken) @ weight[gone]
        inserted |= shifted(graph, each, rest)
    graph.put_matrix(hidden.first, first[:, kept])
    for name in hidden.vectors:
        graph.put(name, graph.array(name)[..., kept])
    graph.replace_nodes(inserted)


def _order(
    graph: Matrices, hidden: Hidden, seen: Mapping[str, Moments], n_left: int, *, few: bool
) -> Array:
    """Return all units, those that must stay first, shape (width,)."""
    heard = {
        each.source: np.square(graph.matrix(each).astype(np.float64)).sum(axis=1)
        for each in hidden.nexts
    }
    if few:
        made = np.square(graph.matrix(hidden.first).astype(np.float64)).sum(axis=0)
        return np.argsort(-made * sum(heard.values()), kind="stable")
    width = hidden.width
    said = np.zeros((width, width))
    for name, loud in heard.items():
        said += seen[name].covariance * np.sqrt(np.outer(loud, loud))
    return _pivots(said, n_left)


def _pivots(said: Array, n_left: int) -> Array:
    """Return units in an order in which each says most that those before it do not.

    The pivots of a Cholesky decomposition: what is left on the diagonal is the variance of a
    unit that the chosen ones do not explain.
    """
    rest = np.diagonal(said).copy()
    order = np.argsort(-rest, kind="stable")
    floor = _EXPLAINED * max(float(rest.max()), _TINY)
    rows = np.zeros((n_left, len(rest)))
    chosen: list[int] = []
    for at in range(n_left):
        unit = int(rest.argmax())
        if rest[unit] <= floor:
            break
        rows[at] = (said[unit] - rows[:at, unit] @ rows[:at]) / np.sqrt(rest[unit])
        rest -= np.square(rows[at])
        chosen.append(unit)
        rest[chosen] = -np.inf
    others = order[~np.isin(order, chosen)]
    return np.concatenate([np.array(chosen, dtype=order.dtype), others])


def _taken_over(found: Moments, kept: Array, gone: Array, *, few: bool) -> Array:
    """Return how the units that stay stand for those that go, shape (n_kept, n_gone)."""
    if few or not len(gone):
        return np.zeros((len(kept), len(gone)))
    spread = found.covariance[np.ix_(kept, kept)]
    ridge = _RIDGE * max(float(np.trace(found.covariance)) / len(found.mean), _TINY)
    regular = spread + ridge * np.eye(len(kept))
    solved: Array = np.linalg.solve(regular, found.covariance[np.ix_(kept, gone)])
    return solved
