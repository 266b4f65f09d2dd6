"""Thousands of candidates before the gate at once: what `renewal.gate.judge` finds, in arrays.

A candidate is a path of block gains in units of a block's standard deviation. The formulas are
those of `renewal.stats.paired` and `renewal.stats.anytime`, written for many paths; on some of
them `judge_one` asks the gate itself, look by look, and `bench.gate.nulls` prints how many
agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.judge import Evidence, Grant, judge
from renewal.gate.options import GateOptions
from renewal.stats.anytime import DEFAULT_SCALE
from renewal.stats.lifetime import granted_level
from renewal.stats.paired import PRIOR_BLOCKS, PRIOR_BLOCKS_LOOKING
from renewal.stats.power import power_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIRST_BLOCKS = 14
SMALLEST_GAIN = 0.1
"""Standard deviations of a block: the smallest gain worth shipping."""

_HOPE_ALPHA = 0.1
_PRIOR_CORRELATION = 0.5
_CHUNK = 16_384
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Seen:
    """What every look at every candidate shows, before any level is known.

    Parameters
    ----------
    p_value : float64 array, shape (n,)
        Of the fixed look.
    log_e : float64 array, shape (n, n_looks)
        Of the running test, dependence charged; the first column is the fixed look's blocks.
    fails : bool array, shape (n, n_looks)
        Whether a gain worth shipping is refuted at `GateOptions.alpha`.
    hoped : float64 array, shape (n, n_looks)
        The largest gain that the evidence still allows, in deviations of an independent block.
    z : float64 array, shape (n, n_looks)
        What the naive rule reads: mean over its standard error, blocks independent and their
        deviation known.
    """

    p_value: Floats
    log_e: Floats
    fails: Bools
    hoped: Floats
    z: Floats

    def part(self, which: slice | NDArray[np.intp]) -> Seen:
        """Return some of the candidates."""
        return Seen(**{each.name: getattr(self, each.name)[which] for each in fields(self)})


def see(gains: Floats, options: GateOptions) -> Seen:
    """Look at candidates after the fixed number of blocks, and after every block since.

    Parameters
    ----------
    gains : float64 array, shape (n, n_blocks)
        In standard deviations of a block; equal rows in each block.
    options : GateOptions
        Levels of the rejections.
    """
    parts = [_see(gains[at : at + _CHUNK], options) for at in range(0, len(gains), _CHUNK)]
    return Seen(
        **{
            each.name: np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(Seen)
        }
    )


def decided(seen: Seen, level: Floats | float, options: GateOptions) -> NDArray[np.int64]:
    """Return 1 for who is accepted at any of the looks, -1 rejected, 0 undecided to the last.

    Parameters
    ----------
    seen : Seen
        The looks.
    level : float or array of shape (n,)
        Granted to each, for all looks at it.
    options : GateOptions
        How a level is split, and when waiting becomes futile.
    """
    holds = promoted(seen, level, options)
    least = np.broadcast_to(_least_hope(level, options), seen.p_value.shape)
    over = seen.fails | (seen.hoped < least[:, None])
    never = holds.shape[1]
    first_hold = np.where(holds.any(axis=1), holds.argmax(axis=1), never)
    first_over = np.where(over.any(axis=1), over.argmax(axis=1), never)
    is_accepted = (first_hold < never) & (first_hold <= first_over)
    return np.where(is_accepted, 1, np.where(over.any(axis=1), -1, 0))


def accepted(seen: Seen, level: Floats | float, options: GateOptions) -> Bools:
    """Return who is accepted at any of the looks, shape (n,), rejections heeded."""
    return np.asarray(decided(seen, level, options) == 1)


def promoted(seen: Seen, level: Floats | float, options: GateOptions) -> Bools:
    """Return who is proved at each look, shape (n, n_looks), as if no rejection came before."""
    levels = np.broadcast_to(np.asarray(level, np.float64), seen.p_value.shape)
    share = options.first_look_share
    holds = seen.log_e > -np.log(levels * (1.0 - share))[:, None]
    holds[:, 0] |= seen.p_value < levels * share
    return np.asarray(holds)


def level_at(options: GateOptions, n_before: int, n_accepted: int) -> float:
    """Return the level that the ledger grants (`renewal.gate.ledger.grant`)."""
    return min(options.alpha, granted_level(options.budget, n_before, n_accepted))


def judge_one(gains: Floats, level: float, options: GateOptions) -> int:
    """Ask the gate itself about one candidate, look by look, until it decides.

    Parameters
    ----------
    gains : float64 array, shape (n_blocks,)
        As a row of those of `see`.
    level : float
        Granted.
    options : GateOptions
        Of the policy.

    Returns
    -------
    int
        As `decided`.
    """
    proof = options.proofs[0]
    for n in range(FIRST_BLOCKS, len(gains) + 1):
        at = np.arange(n)
        series = Series(
            metric="log_loss",
            baseline="champion",
            candidate="candidate",
            baseline_value=SMALLEST_GAIN / options.smallest_gain_share,
            candidate_value=0.0,
            unit="day",
            blocks=at,
            n_block_rows=np.full(n, 100),
            gains=gains[:n],
            from_us=0,
            until_us=n * _DAY_US,
        )
        evidence = [Evidence(proof, series, estimate_of(series))]
        is_first = n == FIRST_BLOCKS
        outcome = judge(evidence, options, grant=Grant(level, 1), is_first=is_first).outcome
        if outcome != "undecided":
            return 1 if outcome == "accept" else -1
    return 0


def log_t_e(r: Floats, n: Floats | int) -> Floats:
    """Return the logarithm of the t e-value of standardized sums (`renewal.stats.anytime`)."""
    variance = DEFAULT_SCALE**2
    k = r * DEFAULT_SCALE / np.sqrt(1.0 + n * variance)
    rest = 1.0 - k**2
    tail = np.maximum(special.stdtr(n, np.sqrt(n) * k / np.sqrt(rest)), 1e-300)
    return np.asarray(
        np.log(2.0 * tail) - 0.5 * np.log1p(n * variance) - 0.5 * n * np.log(rest),
        np.float64,
    )


def effective(values: Floats, prior_blocks: float = PRIOR_BLOCKS_LOOKING) -> Floats:
    """Return the effective number of blocks of each path (`renewal.stats.paired.effective_n`)."""
    n = values.shape[1]
    centered = values - values.mean(axis=1, keepdims=True)
    total = np.einsum("ij,ij->i", centered, centered)
    rho = np.einsum("ij,ij->i", centered[:, :-1], centered[:, 1:]) / total
    rho += (1.0 + 3.0 * np.maximum(rho, 0.0)) / n
    rho = (n * rho + prior_blocks * _PRIOR_CORRELATION) / (n + prior_blocks)
    rho = np.clip(rho, 0.0, 0.95)
    inflation = (1.0 + rho) / (1.0 - rho)
    n_slow = max(4, round(0.4 * n ** (2.0 / 3.0)))
    if n >= 3 * n_slow:
        waves = centered @ _cosines(n, n_slow)
        slow = np.einsum("ij,ij->i", waves, waves) / n_slow * (n - 1) / total
        inflation = np.maximum(inflation, slow)
    return np.asarray(np.maximum(1.0, n / np.maximum(1.0, inflation)))


def _see(gains: Floats, options: GateOptions) -> Seen:
    looks = list(_looks(gains, options))
    _p, log_e, fails, hoped, z = (np.column_stack(each) for each in zip(*looks, strict=True))
    return Seen(looks[0][0], log_e, fails, hoped, z)


def _looks(
    gains: Floats, options: GateOptions
) -> Iterator[tuple[Floats, Floats, Bools, Floats, Floats]]:
    sums, squares = np.cumsum(gains, axis=1), np.cumsum(gains**2, axis=1)
    refutes = -np.log(options.alpha * (1.0 - options.first_look_share))
    first_refutes = options.alpha * options.first_look_share
    for n in range(FIRST_BLOCKS, gains.shape[1] + 1):
        total, square = sums[:, n - 1], squares[:, n - 1]
        mean = total / n
        sd = np.sqrt((square - n * mean**2) / (n - 1))
        n_effective = effective(gains[:, :n], PRIOR_BLOCKS)
        se, dof = sd / np.sqrt(n_effective), np.maximum(n_effective - 1.0, 1.0)
        charge = n / effective(gains[:, :n])
        log_e = log_t_e(total / np.sqrt(square), n) / charge
        if n == FIRST_BLOCKS:
            p_value = special.stdtr(dof, -mean / se)
            fails = mean + _quantile(dof, first_refutes) * se < SMALLEST_GAIN
        else:
            # The mirror image of the test: "the gain is at least the smallest" is refuted.
            below = n * SMALLEST_GAIN - total
            spread = square - 2.0 * SMALLEST_GAIN * total + n * SMALLEST_GAIN**2
            fails = log_t_e(below / np.sqrt(spread), n) / charge > refutes
        hoped = (mean + _quantile(dof, _HOPE_ALPHA) * se) / (se * np.sqrt(n))
        yield p_value, log_e, fails, hoped, mean * np.sqrt(n)


def _least_hope(level: Floats | float, options: GateOptions) -> Floats:
    """Return the hope below which waiting is futile, of each level; by a table."""
    logs, least = _hopes(options.max_blocks, options.futility, 1.0 - options.first_look_share)
    return np.asarray(np.interp(np.log(level), logs, least))


@lru_cache(maxsize=8)
def _hopes(max_blocks: int, futility: float, share: float) -> tuple[Floats, Floats]:
    logs = np.linspace(np.log(1e-7), np.log(0.2), 300)

    def lack(effect: float, level: float) -> float:
        return power_of(effect, 1.0, max_blocks, level) - futility

    least = [
        optimize.brentq(lack, 1e-6, 3.0, args=(level,)) if lack(1e-6, level) < 0.0 else 0.0
        for level in np.exp(logs) * share
    ]
    return logs, np.array(least)


@lru_cache(maxsize=64)
def _cosines(n: int, n_slow: int) -> Floats:
    at = np.arange(n)[:, None] + 0.5
    found: Floats = np.sqrt(2.0 / n) * np.cos(np.pi / n * at * np.arange(1, n_slow + 1))
    return found


@lru_cache(maxsize=8)
def _quantiles(alpha: float) -> tuple[Floats, Floats]:
    dof = np.geomspace(1.0, 200.0, 20_000)
    return dof, -special.stdtrit(dof, alpha)


def _quantile(dof: Floats, alpha: float) -> Floats:
    """Return Student's upper quantile, by a table good to six digits."""
    return np.asarray(np.interp(dof, *_quantiles(alpha)))
