"""Counting what a model has learned: numbers, those that are not zero, and their norm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Count:
    """What is counted of a model, or of a part of it; counts of parts add up.

    Parameters
    ----------
    parameters, nonzero : int, default 0
        Numbers that were learned, and those of them that are not zero.
    l1 : float, default 0
        Sum of their absolute values; of trees, of what their leaves say.
    macs : int or None, default 0
        Multiplications with an addition, or comparisons of trees, for one row; None where
        nobody can tell.

    Examples
    --------
    >>> Count(2, 1, 0.5, 2) + Count(1, 1, 1.0, 3)
    Count(parameters=3, nonzero=2, l1=1.5, macs=5)
    >>> (Count(2, 1, 0.5, 2) + Count(macs=None)).macs is None
    True
    """

    parameters: int = 0
    nonzero: int = 0
    l1: float = 0.0
    macs: int | None = 0

    def __add__(self, other: Count) -> Count:
        """Return the count of both parts."""
        known = self.macs is not None and other.macs is not None
        return Count(
            self.parameters + other.parameters,
            self.nonzero + other.nonzero,
            self.l1 + other.l1,
            (self.macs or 0) + (other.macs or 0) if known else None,
        )


def total(counts: Iterable[Count]) -> Count:
    """Return the count of all parts; of none, zeros."""
    return sum(counts, Count())


def count_array(values: NDArray[Any], *, macs: int | None = 0) -> Count:
    """Return the count of an array of numbers; what is not finite adds nothing to the norm.

    Examples
    --------
    >>> count_array(np.array([0.0, -2.0, 0.5]), macs=3)
    Count(parameters=3, nonzero=2, l1=2.5, macs=3)
    """
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    norm = float(sizes.sum(where=np.isfinite(sizes)))
    return Count(int(sizes.size), int(np.count_nonzero(sizes)), norm, macs)


def count_tree(thresholds: NDArray[Any], leaves: NDArray[Any], depth: int) -> Count:
    """Return the count of a tree: every threshold and leaf is a number that was learned.

    Parameters
    ----------
    thresholds : ndarray of shape (n_splits,)
        Of its splits; a split by categories counts as one.
    leaves : ndarray
        What its leaves say; their norm is that of the tree.
    depth : int
        Comparisons of a row that goes the longest way.

    Examples
    --------
    >>> count_tree(np.array([3.5]), np.array([-1.0, 1.0]), 1)
    Count(parameters=3, nonzero=3, l1=2.0, macs=1)
    """
    said = count_array(leaves)
    n_splits = int(np.size(thresholds))
    return Count(said.parameters + n_splits, said.nonzero + n_splits, said.l1, depth)


def depth_of(left: NDArray[Any], right: NDArray[Any]) -> int:
    """Return the depth of a tree whose nodes name their children; below zero there is none.

    Parameters
    ----------
    left, right : int arrays of shape (n_nodes,)
        Of node 0, the root, and all others.

    Examples
    --------
    >>> depth_of(np.array([1, -1, 3, -1, -1]), np.array([2, -1, 4, -1, -1]))
    2
    """
    depth, row = -1, np.zeros(1, dtype=np.intp)
    # A tree is no deeper than it has nodes: a circle in damaged bytes ends too.
    while len(row) and depth < len(left):
        depth += 1
        below = np.concatenate([left[row], right[row]]).astype(np.intp)
        row = below[(below >= 0) & (below < len(left))]
    return max(depth, 0)
