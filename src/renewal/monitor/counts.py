"""Exact counts of a stretch of traffic: they add up over workers, days and restarts."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.monitor.bins import count_column
from renewal.monitor.reference import Reference


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows fell into each bin of each feature.

    Parameters
    ----------
    n_rows : int
        Rows counted.
    features : tuple of tuple of int
        For each feature of the reference, in its order, one number a bin.
    """

    n_rows: int
    features: tuple[tuple[int, ...], ...]


def count(features: pa.Table, reference: Reference) -> Counts:
    """Count rows over the bins of a reference.

    Parameters
    ----------
    features : pyarrow.Table, shape (n_rows, n_features)
        Any number of rows, none included; columns that the reference does not have are
        passed over.
    reference : Reference
        What the bins were frozen from.

    Returns
    -------
    Counts
        Of these rows alone.

    Raises
    ------
    Invalid
        When a feature of the reference is missing, or has become text where it was a number.

    Notes
    -----
    About 0.1 s for a million rows and 25 numeric features; memory does not grow with rows.
    """
    missing = [
        each.bins.name for each in reference.features if each.bins.name not in features.column_names
    ]
    if missing:
        raise Invalid(
            "monitor.count",
            needs=f"the features {', '.join(map(repr, missing))}",
            came=f"columns {', '.join(features.column_names) or 'none'}",
            todo="Pass the rows as the model's signature has them.",
        )
    found = []
    for each in reference.features:
        counted = count_column(features.column(each.bins.name), each.bins)
        found.append(tuple(counted.tolist()))
    return Counts(features.num_rows, tuple(found))


def nothing(reference: Reference) -> Counts:
    """Return the counts of no row: adding them changes nothing."""
    return Counts(0, tuple((0,) * len(each.bins) for each in reference.features))


def add(first: Counts, second: Counts) -> Counts:
    """Return the counts of both together, exactly; order and grouping do not matter.

    Raises
    ------
    Invalid
        When they were counted over different references.

    Examples
    --------
    >>> add(Counts(1, ((1, 0),)), Counts(2, ((0, 2),)))
    Counts(n_rows=3, features=((1, 2),))
    """
    if [len(bins) for bins in first.features] != [len(bins) for bins in second.features]:
        raise Invalid(
            "monitor.add",
            needs="counts over the bins of one reference",
            came=f"{len(first.features)} and {len(second.features)} features, or unequal bins",
            todo="Count both over the same reference.",
        )
    return Counts(
        first.n_rows + second.n_rows,
        tuple(
            tuple(a + b for a, b in zip(one, other, strict=True))
            for one, other in zip(first.features, second.features, strict=True)
        ),
    )
