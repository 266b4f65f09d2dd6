"""How many rows the tests that may be looked at after every row take, beside a fixed number.

Four settings (d, p): the candidate is right on d more of the rows, and exactly one of the two
is right on p of them. The fixed number finds d at one-sided 5% with power 80%; it has to be
known beforehand, and finds nothing sooner. Sequential McNemar and betting are looked at after
every row, the t e-process after every block of 30, each as far as four times the fixed number;
runs that end there count as that many. Beside the planned effect stands four times the effect,
where p rises to 4 d if it is less: then the candidate wins every discordant row, and even the
best test waits for five of them.

On some runs the gate's own estimate (`renewal.gate.estimates`) is asked just before and at the
row where the path crossed.

Run it as ``python -m bench.gate.power``; ``--quick`` takes 100 runs in place of 1,000.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.figure import figure
from bench.gate.candidates import effective
from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.running import BetTest, BlockTest
from renewal.stats.anytime import log_t_e_values
from renewal.stats.betting import betting_e_process
from renewal.stats.mcnemar import discordant_rows_needed, log_mcnemar_e_values
from renewal.stats.power import blocks_needed

Floats = NDArray[np.float64]

ALPHA = 0.05
SETTINGS = ((0.01, 0.05), (0.02, 0.10), (0.03, 0.10), (0.01, 0.02))
BLOCK_ROWS = 30
AS_PLANNED, LARGER = 1.4, 0.15
_GOAL = -math.log(ALPHA)
_LONGEST = 4
_TIMES = 4


@dataclass(frozen=True)
class Stops:
    """Where the runs of one test ended, as shares of the fixed number.

    Parameters
    ----------
    shares : float64 array, shape (n_runs,)
        The longest where it never decided.
    """

    shares: Floats

    @property
    def median(self) -> float:
        """Half of the runs had ended by then."""
        return float(np.median(self.shares))

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return float(np.mean(self.shares))

    @property
    def decided(self) -> float:
        """Share of the runs that decided at all."""
        return float(np.mean(self.shares < _LONGEST))


def draw(rng: np.random.Generator, d: float, p: float, n_rows: int) -> Floats:
    """Draw what rows gain: 1 where only the candidate is right, -1 where only the champion."""
    u = rng.random(n_rows)
    return (u < (p + d) / 2).astype(np.float64) - (u > 1.0 - (p - d) / 2)


def first_at(path: Floats) -> int:
    """Return after how many values a path decides; 0 when it never does."""
    hit = path >= _GOAL
    return int(hit.argmax()) + 1 if hit.any() else 0


def by_mcnemar(gains: Floats) -> int:
    """Return the row at which sequential McNemar decides; only discordant rows move it."""
    rows = np.flatnonzero(gains)
    won = np.cumsum(gains[rows] > 0)
    at = first_at(log_mcnemar_e_values(won, np.arange(1, len(rows) + 1) - won)) if len(rows) else 0
    return int(rows[at - 1]) + 1 if at else 0


def by_betting(gains: Floats) -> int:
    """Return the row at which betting decides; a row without gain or loss leaves the capital."""
    rows = np.flatnonzero(gains)
    at = first_at(betting_e_process(gains[rows], 0.0, lower=-1.0)) if len(rows) else 0
    return int(rows[at - 1]) + 1 if at else 0


def by_blocks(means: Floats, *, is_charged: bool) -> int:
    """Return the block at which the t e-process decides, its charge for dependence paid or not."""
    path = log_t_e_values(means)
    if not is_charged:
        return first_at(path)
    # A path that is not even at the level uncharged is not charged either.
    for at in np.flatnonzero(path >= _GOAL).tolist():
        n = at + 1
        if n > 2 and path[at] * float(effective(means[None, :n])[0]) / n >= _GOAL:
            return n
    return 0


def play(d: float, p: float, n_runs: int, *, times: int, seed: int) -> dict[str, Stops]:
    """Run every test on the same rows, at a multiple of the planned effect."""
    rng = np.random.default_rng(seed)
    n_fixed = discordant_rows_needed(d, p).n_rows
    sd = math.sqrt((p - d**2) / BLOCK_ROWS)
    n_blocks = blocks_needed(d, sd, ALPHA)
    longest = _LONGEST * max(n_fixed, n_blocks * BLOCK_ROWS)
    found: dict[str, list[float]] = {name: [] for name in TESTS}
    for _ in range(n_runs):
        gains = draw(rng, times * d, max(p, times * d), longest)
        means = gains[: _LONGEST * n_blocks * BLOCK_ROWS].reshape(-1, BLOCK_ROWS).mean(axis=1)
        rows = gains[: _LONGEST * n_fixed]
        stops = (
            by_mcnemar(rows) / n_fixed,
            by_betting(rows) / n_fixed,
            by_blocks(means, is_charged=False) / n_blocks,
            by_blocks(means, is_charged=True) / n_blocks,
        )
        for name, share in zip(TESTS, stops, strict=True):
            found[name].append(share or float(_LONGEST))
    return {name: Stops(np.array(shares)) for name, shares in found.items()}


TESTS = ("mcnemar", "betting", "t_blocks", "t_blocks_in_order")
TITLES = {
    "mcnemar": "sequential McNemar, row by row",
    "betting": "betting, row by row",
    "t_blocks": f"t e-process, blocks of {BLOCK_ROWS}",
    "t_blocks_in_order": "the same, charged for neighbors in time",
}


# How many of the two figures have a target.
_N_HELD = {"mcnemar": 2, "betting": 2, "t_blocks": 1, "t_blocks_in_order": 0}


def agree(n_runs: int, seed: int) -> tuple[int, int]:
    """Ask the gate's estimates around the row or block of decision: how many agree, of how many."""
    rng = np.random.default_rng(seed)
    n_agree = n_asked = 0
    for d, p in SETTINGS:
        n_fixed = discordant_rows_needed(d, p).n_rows
        for _ in range(n_runs):
            gains = draw(rng, d, p, _LONGEST * n_fixed // BLOCK_ROWS * BLOCK_ROWS)
            means = gains.reshape(-1, BLOCK_ROWS).mean(axis=1)
            for values, at, n_rows in (
                (gains, by_betting(gains), 1),
                (means, by_blocks(means, is_charged=False), BLOCK_ROWS),
            ):
                if at > 1:
                    n_asked += 1
                    n_agree += not _is_proved(values[: at - 1], n_rows) and _is_proved(
                        values[:at], n_rows
                    )
    return n_agree, n_asked


def _is_proved(gains: Floats, n_block_rows: int) -> bool:
    """Say whether the gate's running test has reached the level."""
    n = len(gains)
    series = Series(
        metric="zero_one",
        baseline="champion",
        candidate="candidate",
        baseline_value=0.1,
        candidate_value=0.1,
        unit="block",
        blocks=np.arange(n),
        n_block_rows=np.full(n, n_block_rows),
        gains=gains,
        from_us=0,
        until_us=n,
        has_groups=n_block_rows > 1,
        is_ordered=False,
        reach=1.0,
    )
    running = estimate_of(series).running
    assert isinstance(running, BetTest if n_block_rows == 1 else BlockTest)
    # Sums that are taken in another order differ in the last digits.
    return bool(running.log_e_value() >= _GOAL - 1e-9)


def show(
    planned: dict[tuple[float, float], dict[str, Stops]],
    larger: dict[tuple[float, float], dict[str, Stops]],
    n_runs: int,
) -> None:
    """Print the table."""
    table = Table(
        title=f"Rows to decide at one-sided {ALPHA:.0%}, as shares of a fixed number with power "
        f"80%; {n_runs:,} runs: median (mean), share decided within {_LONGEST} times"
    )
    table.add_column("d, p (fixed rows)")
    table.add_column("test")
    table.add_column("at the planned effect", justify="right")
    table.add_column(f"at {_TIMES} times the effect", justify="right")
    for (d, p), by_test in planned.items():
        n_fixed = discordant_rows_needed(d, p).n_rows
        for name, stops in by_test.items():
            far = larger[d, p][name]
            table.add_row(
                f"{d:g}, {p:g} ({n_fixed:,})",
                TITLES[name],
                f"{stops.median:.2f} ({stops.mean:.2f}), {stops.decided:.1%}",
                f"{far.median:.3f} ({far.mean:.3f}), {far.decided:.0%}",
            )
    Console(width=150).print(table)


def tell(
    planned: dict[tuple[float, float], dict[str, Stops]],
    larger: dict[tuple[float, float], dict[str, Stops]],
) -> None:
    """Print the figures.

    Blocks have a target at the planned effect only: 15% of the fixed number is 3 blocks in one
    setting, fewer than a gate looks at. The charge for neighbors in time has none: no fixed
    test pays it.
    """
    for (d, p), by_test in planned.items():
        for name, stops in by_test.items():
            far = larger[d, p][name].median
            figures = (
                ("as_planned", stops.median, f"<={AS_PLANNED:g}", stops.median <= AS_PLANNED),
                (f"{_TIMES}_times", far, f"<{LARGER:g}", far < LARGER),
            )
            for at, (words, median, most, ok) in enumerate(figures):
                is_held = at < _N_HELD[name]
                target = most if is_held else "beside"
                figure(f"power.{name}_{d:g}_{p:g}_{words}", median, target, ok=ok or not is_held)


def run(quick: bool, *, n_runs: int | None = None) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Simulate, print the table, then the figures.

    Parameters
    ----------
    quick : bool
        100 runs of each setting in place of 1,000.
    n_runs : int or None
        How many; None: by `quick`.
    """
    began_s = time.perf_counter()
    n_runs = n_runs or (100 if quick else 1000)
    planned, larger = (
        {
            setting: play(*setting, n_runs, times=times, seed=seed)
            for seed, setting in enumerate(SETTINGS)
        }
        for times in (1, _TIMES)
    )
    show(planned, larger, n_runs)
    n_agree, n_asked = agree(max(1, n_runs // 40), seed=9)
    print(f"{time.perf_counter() - began_s:.0f} s")
    tell(planned, larger)
    target = f"{n_asked} of {n_asked}"
    figure("power.gate_decides_there", f"{n_agree} of {n_asked}", target, ok=n_agree == n_asked)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="100 runs in place of 1,000")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
