"""Blocks: the rows of a report as units of independent evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.data.rows import Rows
from renewal.models.task import Scores

Ints = NDArray[np.int64]

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_UNITS = {"hour": _HOUR_US, "day": _DAY_US, "week": 7 * _DAY_US}


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The rows of a report as units of independent evidence.

    Parameters
    ----------
    ids : int64 array, shape (n_blocks,)
        In the order of their first row's event time.
    at : int array, shape (n_rows,)
        Number of each row's block, from 0.
    n_rows : int64 array, shape (n_blocks,)
        Rows of each.
    unit : str
        What a block is: ``hour``, ``day``, ``week``, ``3-day block`` or ``block``.
    is_ordered : bool
        Whether blocks are stretches of time, so that neighbors may resemble each other.
    """

    ids: Ints
    at: NDArray[np.intp]
    n_rows: Ints
    unit: str
    is_ordered: bool

    def means(self, values: Scores) -> Scores:
        """Return the mean of row values in each block, shape (n_blocks,)."""
        return np.bincount(self.at, weights=values, minlength=len(self.ids)) / self.n_rows


def blocks_of(rows: Rows, block_us: int | None, *, is_timed: bool) -> Blocks:
    """Return the units of evidence of rows, numbered by when they began.

    Parameters
    ----------
    rows : Rows
        At least one.
    block_us : int or None, microseconds
        Length of a block of event time; None: the blocks that the rows carry.
    is_timed : bool
        Whether event times are real, so that blocks are in order whatever they are.
    """
    named = rows.block if block_us is None else rows.event_us // block_us
    ids, at, counts = np.unique(named, return_inverse=True, return_counts=True)
    began_us = np.full(len(ids), np.iinfo(np.int64).max)
    np.minimum.at(began_us, at, rows.event_us)
    order = np.argsort(began_us, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    unit = _unit(rows, block_us)
    is_ordered = is_timed or unit != "block"
    return Blocks(ids[order], place[at], counts[order].astype(np.int64), unit, is_ordered)


def _unit(rows: Rows, block_us: int | None) -> str:
    """Name the block where it is a stretch of time."""
    for name, length_us in _UNITS.items():
        if block_us == length_us:
            return name
        if block_us is None and np.array_equal(rows.block, rows.event_us // length_us):
            return name
    if block_us is None:
        return "block"
    if block_us % _DAY_US == 0:
        return f"{block_us // _DAY_US}-day block"
    return f"{block_us / _HOUR_US:g}-hour block"
