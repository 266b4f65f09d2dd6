"""Proving one claim: once on the rows that are there, or on and on over new blocks.

Accepting and rejecting are two errors with two levels. To accept costs the level that the
life of the model grants (`renewal.stats.lifetime`); to reject, which only costs a candidate
worth shipping, costs `alpha`. Both are split between the one fixed look and the running test,
so the running test may count the blocks of the fixed look too: it is a test of its own, with
an error of its own, over one stream of blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from renewal.core.verdict import Clause, State
from renewal.evaluate.series import Series
from renewal.gate.claims import Proof
from renewal.gate.options import GateOptions
from renewal.stats.lifetime import all_or_nothing

_LARGEST_E = 1e300


class Bounds(Protocol):
    """What a test of one look offers: one-sided bounds and a p-value."""

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound of the gain at level `alpha`."""
        ...

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper bound of the gain at level `alpha`."""
        ...

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "the gain is at most `margin`"."""
        ...


class Running(Bounds, Protocol):
    """A test that may be asked after every block: its bounds hold at all times together."""

    def log_e_value(self, margin: float = 0.0) -> float:
        """Return the logarithm of the e-value of "the gain is at most `margin`"."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A gain with what bounds it.

    Parameters
    ----------
    gain : float
        Positive where the candidate is better, in the unit of the metric.
    bounds : Bounds
        The test of one look.
    running : Running
        The test that goes on, over the same blocks and those of before.
    n_rows, n_blocks : int
        Evidence.
    n_effective : float
        Blocks after their dependence is paid for.
    sd : float
        Standard deviation of an independent block; NaN where the test knows none.
    method : str
        Name of the test of one look.
    """

    gain: float
    bounds: Bounds
    running: Running
    n_rows: int
    n_blocks: int
    n_effective: float
    sd: float
    method: str


@dataclass(frozen=True, slots=True)
class Lines:
    """The two lines that a gain is held against, in the unit of the metric.

    Parameters
    ----------
    margin : float
        What the lower bound must exceed to prove the claim.
    smallest_gain : float
        What the upper bound must reach, or the claim is refuted.
    """

    margin: float
    smallest_gain: float


@dataclass(frozen=True, slots=True)
class Levels:
    """What one look may spend.

    Parameters
    ----------
    accept : float
        Chance that a claim which is false is called proved.
    reject : float
        Chance that a claim worth proving is called refuted.
    share : float
        Part of the granted level that the running test, or the fixed look, has.
    """

    accept: float
    reject: float
    share: float


def lines_of(proof: Proof, baseline_value: float, options: GateOptions) -> Lines:
    """Return the lines of a claim.

    ``no_worse`` is proved above ``-margin`` and refuted below it; ``superior`` and
    ``better_by`` are proved above their margin and refuted by what is surely less than the
    smallest gain worth shipping.

    Parameters
    ----------
    proof : Proof
        The claim.
    baseline_value : float
        The baseline's metric, of which shares are taken.
    options : GateOptions
        `smallest_gain_share`.
    """
    margin = proof.margin_of(baseline_value)
    if proof.kind == "no_worse":
        return Lines(-margin, -margin)
    return Lines(margin, max(margin, options.smallest_gain_share * abs(baseline_value)))


def levels_of(options: GateOptions, level: float, *, is_first: bool) -> Levels:
    """Return what a look may spend of a granted level.

    Parameters
    ----------
    options : GateOptions
        `alpha` and `first_look_share`.
    level : float
        Granted for all looks at this candidate together.
    is_first : bool
        The fixed look, or one of the running test.
    """
    share = options.first_look_share if is_first else 1.0 - options.first_look_share
    return Levels(level * share, options.alpha * share, share)


def prove(
    proof: Proof,
    series: Series,
    estimate: Estimate,
    options: GateOptions,
    *,
    level: float,
    is_first: bool,
) -> Clause:
    """Hold the evidence for one claim against its lines.

    Parameters
    ----------
    proof : Proof
        The claim.
    series : Series
        Its evidence by block.
    estimate : Estimate
        Of that series.
    options : GateOptions
        Levels, the least number of blocks, the smallest gain worth shipping.
    level : float
        Granted for all looks at this candidate together.
    is_first : bool
        The fixed look; else the running test alone speaks.

    Returns
    -------
    Clause
        Its e-value is ``share * e_first + (1 - share) * e_running``, where the fixed look's
        p-value is made an e-value by the level that was granted before it: 1/level where it
        is small enough, else 0. It has reached 1/level exactly where the clause holds.
    """
    lines = lines_of(proof, series.baseline_value, options)
    later = levels_of(options, level, is_first=False)
    spent = levels_of(options, level, is_first=is_first)
    test: Bounds = estimate.bounds if is_first else estimate.running
    p_value = test.p_value(lines.margin)
    e_value = later.share * _exp(estimate.running.log_e_value(lines.margin))
    if is_first:
        e_value += spent.share * all_or_nothing(p_value, spent.accept)
    lower, upper = test.lower(spent.accept), test.upper(spent.reject)
    if is_first:
        # Where the running test says more on the same blocks, it has its own share to say it.
        running = estimate.running.lower(later.accept)
        lower = running if math.isnan(lower) else max(lower, running)
    state: State = "cannot_tell"
    if estimate.n_blocks >= options.least(is_ordered=series.is_ordered):
        if lower > lines.margin:
            state = "holds"
        elif upper < lines.smallest_gain:
            state = "fails"
    return Clause(
        name=str(proof),
        kind="must_prove",
        state=state,
        value=estimate.gain,
        lower=lower if math.isfinite(lower) else math.nan,
        upper=upper if math.isfinite(upper) else math.nan,
        bound=lines.margin,
        n_rows=estimate.n_rows,
        n_blocks=estimate.n_blocks,
        n_effective=estimate.n_effective,
        alpha=spent.accept,
        p_value=p_value,
        e_value=min(e_value, _LARGEST_E),
        method=estimate.method if is_first else "e-process on blocks",
        sentence="",
    )


def _exp(log_e: float) -> float:
    return math.exp(min(log_e, math.log(_LARGEST_E)))
