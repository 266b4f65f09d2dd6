"""How much evidence is missing, when it will be there, and whether waiting still pays."""

from __future__ import annotations

import math
from dataclasses import dataclass

from renewal.gate.proving import Estimate, Levels, Lines
from renewal.stats.power import blocks_needed

_POWER = 0.8
# A test that may be looked at after every block takes more of them to the same power.
# Simulated at effects of 0.2 to 0.8 deviations, four of five runs end within 1.8 to 1.9 times
# the fixed number; half of them within 1.1 to 1.3 times.
PRICE_OF_LOOKING = 1.8
"""Blocks that the running test takes, in units of those of a fixed test of the same power."""
# Futility is judged by the best that the evidence still allows, so that bad luck of the first
# blocks does not end what is good: a tenth of the good candidates look worse than this.
_HOPE_ALPHA = 0.1
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Missing:
    """Evidence that an acceptance would still take.

    Parameters
    ----------
    n_blocks : int
        Further blocks; at least 1.
    n_rows : int
        Labelled rows in them, at the present number in a block.
    at_us : int or None
        When they will be there at the present rate, microseconds since 1970; None where no
        rate is known.
    """

    n_blocks: int
    n_rows: int
    at_us: int | None


def missing(
    estimate: Estimate,
    lines: Lines,
    levels: Levels,
    *,
    least: int,
    span_us: tuple[int, int],
) -> Missing | None:
    """Return what an acceptance would still take; None where no number suffices.

    Planned for the larger of the observed gain and the smallest worth shipping, at a power
    of 80%.

    Parameters
    ----------
    estimate : Estimate
        Of the evidence so far.
    lines : Lines
        What it is held against.
    levels : Levels
        Of the running test.
    least : int
        Blocks below which nothing is decided.
    span_us : tuple of int
        Event time of the first and last row so far; gives the rate of arrival.
    """
    n_blocks = least - estimate.n_blocks
    if n_blocks <= 0:
        hoped = max(estimate.gain, lines.smallest_gain) - lines.margin
        if hoped <= 0.0 or not math.isfinite(estimate.sd):
            return None
        fixed = blocks_needed(hoped, estimate.sd, levels.accept, _POWER)
        needed = max(least, math.ceil(PRICE_OF_LOOKING * fixed))
        n_blocks = max(1, needed - estimate.n_blocks)
    n_rows = math.ceil(n_blocks * estimate.n_rows / max(estimate.n_blocks, 1))
    return Missing(n_blocks, n_rows, _when(n_blocks, estimate.n_blocks, span_us))


def is_futile(
    estimate: Estimate,
    lines: Lines,
    levels: Levels,
    *,
    futility: float,
    least: int,
    most: int,
) -> bool:
    """Say whether a proof within the longest wait is too unlikely to wait for.

    The chance is that of a fixed test at the end of the wait, for the largest gain that the
    evidence still allows at 10%; below `futility` waiting ends.

    Parameters
    ----------
    estimate, lines, levels, least
        As for `missing`.
    futility : float in [0, 1)
        The chance below which waiting ends; 0: it never does.
    most : int
        Blocks at which the wait ends anyway.
    """
    if futility == 0.0 or estimate.n_blocks < least:
        return False
    hoped = estimate.bounds.upper(_HOPE_ALPHA) - lines.margin
    if not math.isfinite(hoped) or not math.isfinite(estimate.sd):
        return False
    if hoped <= 0.0:
        return True
    return blocks_needed(hoped, estimate.sd, levels.accept, futility) > most


def _when(n_blocks: int, have: int, span_us: tuple[int, int]) -> int | None:
    first_us, last_us = span_us
    if have == 0 or last_us <= first_us:
        return None
    # Blocks of a day span one day each, so the span of n of them is about n days less one row.
    per_block = max((last_us - first_us) / have, 1.0)
    return -(-(last_us + math.ceil(n_blocks * per_block)) // _HOUR_US) * _HOUR_US
