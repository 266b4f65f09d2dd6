"""Evidence over time: what the running test of a claim said after each block."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from renewal.core.verdict import Clause
from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of

# Looks that are drawn; a series of single rows may have tens of thousands.
_MOST_POINTS = 60


@dataclass(frozen=True, slots=True)
class Point:
    """The evidence after some blocks.

    Parameters
    ----------
    n_blocks, n_rows : int
        So far.
    gain : float
        So far, positive where the candidate is better.
    lower, upper : float
        Confidence sequence, each side at `Trail.alpha`; NaN where nothing is excluded yet.
    log_e : float
        Natural logarithm of what the running test adds to the e-value of the claim; proved
        at `Trail.log_threshold`.
    """

    n_blocks: int
    n_rows: int
    gain: float
    lower: float
    upper: float
    log_e: float


@dataclass(frozen=True, slots=True)
class Trail:
    """One claim's evidence block by block.

    Parameters
    ----------
    claim : str
        As its clause names it.
    metric, unit : str
        What the gain is of, and what a block is.
    margin : float
        What `lower` has to exceed.
    alpha : float
        Error of each side of the confidence sequence over all blocks, for ever.
    log_threshold : float
        Logarithm of one over the level that the ledger granted.
    points : tuple of Point
        At most 60, the newest last.
    """

    claim: str
    metric: str
    unit: str
    margin: float
    alpha: float
    log_threshold: float
    points: tuple[Point, ...]


def trail(series: Series, clause: Clause, *, level: float, is_first: bool) -> Trail:
    """Follow the running test of a claim over its blocks.

    It runs beside the one fixed look, over the same blocks, with the rest of the granted
    level: what a look spent stands in the clause, so the rest is known.

    Parameters
    ----------
    series : Series
        Evidence of the claim.
    clause : Clause
        What the verdict says of it; its `bound` is the margin.
    level : float in (0, 1)
        Granted to the candidate: one over the verdict's threshold.
    is_first : bool
        Whether the verdict is the one fixed look.

    Notes
    -----
    A test for each of at most 60 stretches: 0.1 s for 90 blocks, about 1 s for ten thousand
    single rows.
    """
    alpha = level - clause.alpha if is_first else clause.alpha
    share = alpha / level
    points = [_point(series, n, clause.bound, alpha, share) for n in _stops(len(series.gains))]
    return Trail(
        claim=clause.name,
        metric=series.metric,
        unit=series.unit,
        margin=clause.bound,
        alpha=alpha,
        log_threshold=-math.log(level),
        points=tuple(points),
    )


def _stops(n_blocks: int) -> list[int]:
    if n_blocks <= _MOST_POINTS:
        return list(range(1, n_blocks + 1))
    return [int(n) for n in np.unique(np.linspace(1, n_blocks, _MOST_POINTS).round())]


def _point(series: Series, n: int, margin: float, alpha: float, share: float) -> Point:
    part = replace(
        series,
        blocks=series.blocks[:n],
        n_block_rows=series.n_block_rows[:n],
        gains=series.gains[:n],
    )
    found = estimate_of(part)
    lower, upper = found.running.lower(alpha), found.running.upper(alpha)
    return Point(
        n_blocks=n,
        n_rows=part.n_rows,
        gain=found.gain,
        lower=lower if math.isfinite(lower) else math.nan,
        upper=upper if math.isfinite(upper) else math.nan,
        log_e=found.running.log_e_value(margin) + math.log(share),
    )
