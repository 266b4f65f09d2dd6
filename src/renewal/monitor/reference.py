r"""The reference: what the features looked like in the rows that a version was trained on.

Rows of one day share its weather, so 900 of them are not 900 witnesses. How much one row is
worth is measured in the reference itself: Pearson's statistic of the table (block x bin),
divided by its degrees of freedom, is the factor :math:`\phi` by which days differ more than
chance would have it, and a row is worth :math:`1/\phi` (Rao and Scott's first-order
correction). Where rows are independent :math:`\phi` is about 1 and nothing changes.

References
----------
.. [1] Rao and Scott (1981). The analysis of categorical data from complex sample surveys.
   Journal of the American Statistical Association 76.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.monitor.bins import Bins, Ints, bins_of, codes, count_column, texts
from renewal.monitor.options import MonitorOptions

# With fewer rows a block than this, blocks say nothing about rows of one block.
_FEW_ROWS_PER_BLOCK = 2.0


@dataclass(frozen=True, slots=True)
class FeatureReference:
    """One feature in the reference.

    Parameters
    ----------
    bins : Bins
        Frozen; every later count is over them.
    counts : tuple of int, length len(bins)
        Reference rows in each bin; of a feature with many categories, those of every other
        block. ``unseen`` holds the categories that came once: so many
        new ones are to be expected among as many rows (Good and Turing).
    row_worth : float in (0, 1]
        Independent rows that one row stands for.
    """

    bins: Bins
    counts: tuple[int, ...]
    row_worth: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The features of a version's training rows.

    Parameters
    ----------
    features : tuple of FeatureReference
        In the order of the signature.
    n_rows, n_blocks : int
        What it was built from.
    """

    features: tuple[FeatureReference, ...]
    n_rows: int
    n_blocks: int


def reference_of(rows: Rows, options: MonitorOptions) -> Reference:
    """Build the reference from training-time rows.

    Parameters
    ----------
    rows : Rows
        At least one; `features` and `block` are used.
    options : MonitorOptions
        `n_bins`.

    Raises
    ------
    Invalid
        When there is no row, or a column is of a kind that no signature has.

    Notes
    -----
    One sort a numeric feature: about 0.2 s a million rows and feature, once a version.
    """
    if not len(rows):
        raise Invalid(
            "reference_of",
            needs="at least one row",
            came="none",
            todo="Pass the rows that the version was trained on.",
        )
    blocks, block_at = np.unique(rows.block, return_inverse=True)
    features = tuple(
        _feature(name, column, block_at, int(blocks.size), options.n_bins)
        for name, column in zip(rows.features.column_names, rows.features.columns, strict=True)
    )
    return Reference(features, len(rows), int(blocks.size))


def _feature(
    name: str, column: pa.ChunkedArray, block_at: Ints, n_blocks: int, n_bins: int
) -> FeatureReference:
    bins = bins_of(name, column, n_bins)
    counted = column
    is_known = bins.is_opaque or (bins.knows_all and len(bins.categories) <= n_bins)
    if bins.kind == "category" and not is_known:
        # Categories that are picked for being frequent are less frequent in other rows, so
        # one half of the blocks picks them and the other half says how frequent they are.
        picks = (block_at if n_blocks > 1 else np.arange(block_at.size)) % 2 == 0
        bins = bins_of(name, column, n_bins, chosen_by=column.filter(pa.array(picks)))
        counted = column.filter(pa.array(~picks))
    counts = count_column(counted, bins)
    if bins.kind == "category" and bins.knows_all:
        _expect_unseen(counts, texts(column), len(counted) / len(column))
    worth = _row_worth(codes(column, bins), block_at, len(bins), n_blocks)
    return FeatureReference(bins, tuple(counts.tolist()), worth)


def _expect_unseen(counts: Ints, column: pa.ChunkedArray, share: float) -> None:
    """Move as many rows from ``other`` to ``unseen`` as came from categories seen once.

    Leave one such row out and its category would be new: the share of new ones that is to
    be expected is the share of these.
    """
    n_rows = pc.value_counts(column.drop_null()).field("counts").to_numpy()
    n_once = min(round(int(np.count_nonzero(n_rows == 1)) * share), int(counts[-3]))
    counts[-3] -= n_once
    counts[-2] += n_once


def _row_worth(at: Ints, block_at: Ints, n_bins: int, n_blocks: int) -> float:
    if n_blocks < 2 or at.size < _FEW_ROWS_PER_BLOCK * n_blocks:
        return 1.0
    table = np.bincount(block_at * n_bins + at, minlength=n_blocks * n_bins)
    table = table.reshape(n_blocks, n_bins).astype(np.float64)
    table = table[:, table.any(axis=0)]
    dof = (n_blocks - 1) * (table.shape[1] - 1)
    if dof == 0:
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / at.size
    factor = float(np.sum((table - expected) ** 2 / expected)) / dof
    return min(1.0, 1.0 / factor) if factor > 0.0 else 1.0
