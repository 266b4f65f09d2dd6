"""Estimates of a gain: which test a series of blocks is given."""

from __future__ import annotations

import math

import numpy as np

from renewal.evaluate.series import Series
from renewal.gate.proving import Bounds, Estimate, Running
from renewal.gate.running import BetTest, BlockTest, LimitTest
from renewal.stats.discordant import Discordant
from renewal.stats.paired import PRIOR_BLOCKS_LOOKING, paired_mean


def estimate_of(series: Series, *, bounds: Bounds | None = None, method: str = "") -> Estimate:
    """Return the estimate of a gain with its one-look and its running test.

    ============================  ======================  =======================
    evidence                      one look                going on
    ============================  ======================  =======================
    blocks of rows                paired t on blocks      t e-process on blocks
    single rows, right or wrong   mid-p McNemar           betting
    single rows, bounded          paired t on rows        betting
    single rows, unbounded        paired t on rows        asymptotic sequence
    ============================  ======================  =======================

    Parameters
    ----------
    series : Series
        At least one block. Single rows are independent; blocks in order pay for neighbors
        that resemble each other.
    bounds : Bounds or None
        A test of one look made for its metric, such as DeLong's; None: by the table.
    method : str
        Its name, where it is given.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> gains = 0.02 + 0.01 * np.sin(np.arange(14.0) * 2)
    >>> found = estimate_of(Series("log_loss", "a", "b", 0.43, 0.41, "day", np.arange(14),
    ...     np.full(14, 900), gains, 0, 14 * day))
    >>> round(found.gain, 4), round(found.bounds.lower(0.025), 4), found.n_rows, found.method
    (0.0204, 0.0153, 12600, 'paired t on blocks')
    """
    weights = series.weights
    found = paired_mean(series.gains, weights=weights, ordered=series.is_ordered)
    is_single = not series.has_groups and not series.is_ordered and series.is_weighted
    running: Running = BlockTest(series.gains, weights, _looked_at(series))
    name = "paired t on blocks"
    once: Bounds = found
    if is_single:
        name = "paired t on rows"
        if math.isfinite(series.reach):
            running = BetTest(series.gains, series.reach)
        else:
            running = LimitTest(series.gains)
        if np.isin(series.gains, (-1.0, 0.0, 1.0)).all():
            name = "McNemar, mid-p"
            won, lost = int((series.gains > 0).sum()), int((series.gains < 0).sum())
            once = Discordant(won, lost, n_rows=len(series.gains))
    return Estimate(
        gain=found.mean,
        bounds=once if bounds is None else bounds,
        running=running,
        n_rows=series.n_rows,
        n_blocks=found.n,
        n_effective=found.n_effective,
        sd=found.sd * math.sqrt(found.n / found.n_effective),
        method=method or name,
    )


def _looked_at(series: Series) -> float:
    """Return the effective number of blocks by which the running test is charged.

    An e-process has slack of its own, so less resemblance is assumed of few blocks than for
    the one look.
    """
    found = paired_mean(
        series.gains,
        weights=series.weights,
        ordered=series.is_ordered,
        prior_blocks=PRIOR_BLOCKS_LOOKING,
    )
    return found.n_effective
