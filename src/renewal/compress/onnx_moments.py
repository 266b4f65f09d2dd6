"""Means and second moments of what goes through a graph, for some rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from renewal.compress.onnx_matrices import Array, Matrices


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments of a tensor over rows, and over all places of a row.

    Parameters
    ----------
    n : int
        Vectors that were seen.
    mean : ndarray of float64, shape (width,)
        Of each unit.
    second : ndarray of float64, shape (width, width)
        Mean product of each pair of units.
    """

    n: int
    mean: Array
    second: Array

    @property
    def covariance(self) -> Array:
        """Second moments about the mean, shape (width, width)."""
        about: Array = self.second - np.outer(self.mean, self.mean)
        return about


def moments(graph: Matrices, axes: Mapping[str, int], features: pa.Table) -> dict[str, Moments]:
    """Return the moments of tensors by name.

    Parameters
    ----------
    graph : Matrices
        Not changed.
    axes : mapping of str to int
        For each tensor, the axis of its units: -1 of a dense layer, 1 of a convolution.
    features : pyarrow.Table
        One row or more.
    """
    n: dict[str, int] = dict.fromkeys(axes, 0)
    first: dict[str, Array] = {}
    second: dict[str, Array] = {}
    for seen in graph.watch(axes, features):
        for name, axis in axes.items():
            units = np.moveaxis(np.asarray(seen[name], dtype=np.float64), axis, -1)
            flat = units.reshape(-1, units.shape[-1])
            n[name] += len(flat)
            first[name] = first.get(name, 0.0) + flat.sum(axis=0)
            second[name] = second.get(name, 0.0) + flat.T @ flat
    return {name: Moments(n[name], first[name] / n[name], second[name] / n[name]) for name in axes}
