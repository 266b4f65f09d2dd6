"""The layers of a graph that two thin ones can replace, and how thin each becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from renewal.compress.onnx_layers import attribute
from renewal.compress.onnx_matrices import Array, Matrices, Matrix
from renewal.compress.onnx_moments import Moments, moments

_N_RANKS = 32
# Two sides at least, and so many weights that a rank of one is not all that pays.
_MIN_SIDE = 4
# Beyond it the moments of all pairs of inputs take more memory than they are worth.
_MOST_PAIRS = 4096
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One layer, decomposed.

    Parameters
    ----------
    use : Matrix
        The node and its weight.
    shape : tuple of int
        Of the weight as it lies.
    size : tuple of int
        (m, n): inputs, times the places of a kernel, and outputs.
    thick : ndarray or None, shape (m, m)
        The root of the inputs' second moments, lower triangular; None: all inputs alike.
    mean : ndarray or None, shape (m,)
        Of the inputs, where a bias can take over what is lost of it.
    bases : tuple of ndarray
        Left vectors, singular values from the largest on, right vectors; empty before
        `parts_of` is given rows to decompose with.
    """

    use: Matrix
    shape: tuple[int, ...]
    size: tuple[int, int]
    thick: Array | None = None
    mean: Array | None = None
    bases: tuple[Array, ...] = ()

    @property
    def most(self) -> int:
        """The largest rank that saves a weight."""
        m, n = self.size
        return -(-m * n // (m + n)) - 1

    @property
    def probes(self) -> list[int]:
        """Ranks from the thinnest on, at which it is worth to see what the scores do."""
        return sorted({1, max(1, self.most // 16), max(1, self.most // 4)})

    @property
    def ranks(self) -> Array:
        """Ranks to choose from, from the thinnest on."""
        grid: Array = np.unique(np.linspace(1, self.most, _N_RANKS).round().astype(int))
        return grid

    @property
    def energy(self) -> float:
        """Sum of the squared singular values."""
        return float(np.square(self.bases[1]).sum())

    def lost(self, rank: int) -> float:
        """Return the energy behind a rank."""
        return float(np.square(self.bases[1][rank:]).sum())

    def factors(self, rank: int) -> tuple[Array, Array]:
        """Return two matrices, of shapes (m, rank) and (rank, n)."""
        left, values, right = self.bases
        # Both get half of the size: neither is hard to round to a byte.
        root = np.sqrt(values[:rank])
        first: Array = left[:, :rank] * root
        if self.thick is not None:
            first = np.linalg.solve(self.thick.T, first)
        return first, root[:, np.newaxis] * right[:rank]

    def low(self, rank: int) -> Array:
        """Return the product of the factors, shape (m, n)."""
        first, second = self.factors(rank)
        product: Array = first @ second
        return product

    def shaped(self, matrix: Array) -> Array:
        """Return a matrix of shape (m, n) as the weight lies."""
        if self.use.node.op_type == "Conv":
            return matrix.T.reshape(self.shape)
        return matrix.T if self.use.is_turned else matrix


def parts_of(graph: Matrices, features: pa.Table | None = None) -> list[Part]:
    """Return the layers for which a rank pays, decomposed when rows are handed in.

    Parameters
    ----------
    graph : Matrices
        Not changed.
    features : pyarrow.Table or None, default None
        Rows, maybe none, that show what goes into the layers; None: nothing is decomposed.
    """
    plain = [each for each in (_part(graph, use) for use in graph.found()) if each is not None]
    if features is None:
        return plain
    seen: dict[str, Moments] = {}
    if features.num_rows:
        axes = {
            each.use.source: 1 if each.use.node.op_type == "Conv" else -1
            for each in plain
            if each.size[0] <= _MOST_PAIRS or each.use.node.op_type == "Conv"
        }
        seen = moments(graph, axes, features)
    return [_decomposed(graph, each, seen.get(each.use.source)) for each in plain]


def chosen_ranks(parts: Sequence[Part], losses: Sequence[Array], keep: float) -> list[int | None]:
    """Return the rank of each layer; None where it stays as it is.

    Parameters
    ----------
    parts : sequence of Part
        What can be made thinner.
    losses : sequence of ndarray
        For each layer, what each of `Part.ranks` costs.
    keep : float in (0, 1)
        Share of all their weights that may be left. What no rank reaches ends at rank one.
    """
    ranks: list[int | None] = [None] * len(parts)
    spent = [0.0] * len(parts)
    left = sum(each.size[0] * each.size[1] for each in parts)
    missing = left - keep * left
    while missing > 0:
        steps = [
            (*step, at)
            for at, each in enumerate(parts)
            if (step := _next_step(each, losses[at], ranks[at], spent[at])) is not None
        ]
        if not steps:
            break
        _, place, at = min(steps)
        part, rank = parts[at], int(parts[at].ranks[place])
        if _weights(part, ranks[at]) - _weights(part, rank) > missing:
            # The last step goes no further than it must.
            rank = _mildest(part, ranks[at], missing)
        missing -= _weights(part, ranks[at]) - _weights(part, rank)
        ranks[at], spent[at] = rank, float(losses[at][place])
    return ranks


def _next_step(
    part: Part, losses: Array, rank: int | None, spent: float
) -> tuple[float, int] | None:
    """Return the thinner rank that costs the least for each weight saved, by its place."""
    n_thinner = len(part.ranks) if rank is None else int((part.ranks < rank).sum())
    if not n_thinner:
        return None
    saved = _weights(part, rank) - part.ranks[:n_thinner] * sum(part.size)
    slopes = (losses[:n_thinner] - spent) / saved
    at = int(slopes.argmin())
    return float(slopes[at]), at


def _weights(part: Part, rank: int | None) -> int:
    m, n = part.size
    return m * n if rank is None else rank * (m + n)


def _mildest(part: Part, rank: int | None, missing: float) -> int:
    """Return the largest rank that saves as many weights as are missing."""
    allowed = (_weights(part, rank) - missing) // sum(part.size)
    return max(1, min(int(allowed), part.most))


def weight_of(graph: Matrices, part: Part) -> Array:
    """Return the weight of a layer as float64 of shape (m, n)."""
    weight = graph.array(part.use.weight).astype(np.float64)
    if part.use.node.op_type == "Conv":
        return weight.reshape(part.shape[0], -1).T
    return weight.T if part.use.is_turned else weight


def _part(graph: Matrices, use: Matrix) -> Part | None:
    if use.is_tied or attribute(use.node, "group", 1) != 1:
        return None
    shape = tuple(graph.tensors[use.weight].dims)
    is_conv = use.node.op_type == "Conv"
    rows, columns = (int(np.prod(shape[1:])), shape[0]) if is_conv else shape
    m, n = (columns, rows) if use.is_turned and not is_conv else (rows, columns)
    part = Part(use, shape, (m, n))
    if min(m, n) < _MIN_SIDE or part.most < 1:
        return None
    return part if np.isfinite(graph.array(use.weight)).all() else None


def _decomposed(graph: Matrices, part: Part, seen: Moments | None) -> Part:
    weight = weight_of(graph, part)
    is_conv = part.use.node.op_type == "Conv"
    thick = None if seen is None else _thickness(part, seen)
    # At the border of an image a convolution sees zeros: there the mean is another.
    mean = None if seen is None or is_conv else seen.mean
    whitened = weight if thick is None else thick.T @ weight
    bases = np.linalg.svd(whitened, full_matrices=False)
    return Part(part.use, part.shape, part.size, thick, mean, tuple(bases))


def _thickness(part: Part, seen: Moments) -> Array | None:
    """Return the root of the second moments, drawn towards the diagonal as rows are few."""
    is_conv = part.use.node.op_type == "Conv"
    # The mean of what goes into a dense layer is its bias's business.
    moved = seen.second if is_conv else seen.covariance
    own = np.maximum(np.diagonal(moved), 0.0)
    scale = float(own.mean())
    if not np.isfinite(scale) or scale <= _TINY:
        # Nothing that goes in ever changes: the weights alone are left to go by.
        return None
    floor = 1e-3 * scale
    if is_conv:
        repeated = np.repeat(own + floor, int(np.prod(part.shape[2:])))
        return np.diag(np.sqrt(repeated))
    drawn = len(own) / (len(own) + seen.n)
    root: Array = np.linalg.cholesky((1.0 - drawn) * moved + np.diag(drawn * own + floor))
    return root
