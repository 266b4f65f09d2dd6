"""How often near-equal models are called better on real data, and stale ones are found out.

Rows of one hour err together, days resemble their neighbors, and what helps in one month may
not help in the next. Each rule is asked at one-sided 5% whether the candidate is better than
the baseline over 28 days, in both directions of every pair of `bench.gate.pairs`. A pair is
never quite equal, so part of what is called better truly is: the column beside says how much
of it was worse in the 28 days after. Power is the share called better of the candidates that
stay better than a champion one, two or three months older.

Run it as ``python -m bench.gate.dependence``; ``--quick`` takes a few pairs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import fft, stats

from bench.figure import figure
from bench.gate.merging import block_length, merge_blocks
from bench.gate.pairs import JUDGED_DAYS, STALE_MONTHS, Pair, Source, build, is_there
from renewal.stats.anytime import confidence_sequence
from renewal.stats.paired import PRIOR_BLOCKS_LOOKING, paired_mean

ALPHA = 0.05
WEEKS = "weeks as independent"
OURS = "ours: charged days"
OURS_LOOKING_DAILY = "ours, looking daily"
HIGHEST_SHARE = 0.10
_FIRST_LOOK = 7
_WEEK = 7

SOURCES = (
    Source("flights", past_days=60, step_days=10, n_splits=4),
    Source("elec2", past_days=180, step_days=15, n_splits=4),
    Source("beijing", past_days=360, step_days=30, n_splits=4),
)
# Halves of 1,440 and 720 rows: too few for equal models, but what two months hold.
SMALL = (
    Source("elec2", past_days=60, step_days=15, n_splits=1, has_stale=False),
    Source("beijing", past_days=60, step_days=30, n_splits=1, has_stale=False),
)

Days = NDArray[np.float64]
Rule = Callable[[Days, Days], float]


def plain(means: Days, rows: Days) -> float:
    """Days as independent."""
    return paired_mean(means, rows, ordered=False).p_value()


def weeks(means: Days, rows: Days) -> float:
    """Weeks as independent."""
    return plain(*merge_blocks(means, rows, length=_WEEK))


def merged(means: Days, rows: Days) -> float:
    """Days merged by their autocorrelation, then independent."""
    return plain(*merge_blocks(means, rows, length=block_length(means, rows)))


def cosines(means: Days, rows: Days, n_waves: int = 4) -> float:
    """Long-run variance from the slowest cosine waves alone, with as many degrees of freedom."""
    found = paired_mean(means, rows)
    waves = fft.dct(rows / rows.mean() * (means - found.mean), norm="ortho")[1 : n_waves + 1]
    se = math.sqrt(float(waves @ waves) / n_waves / found.n)
    return float(stats.t.sf(found.mean / se, n_waves))


def ours(means: Days, rows: Days) -> float:
    """Take the library's one look."""
    return paired_mean(means, rows).p_value()


def daily(means: Days, rows: Days) -> float:
    """Look after every day with the library's confidence sequence; 0 once it calls better."""
    for n in range(_FIRST_LOOK, len(means) + 1):
        found = paired_mean(means[:n], rows[:n], prior_blocks=PRIOR_BLOCKS_LOOKING)
        alpha = max(ALPHA ** (found.n / found.n_effective), 1e-300)
        if confidence_sequence(means[:n], alpha, rows[:n])[0] > 0.0:
            return 0.0
    return 1.0


BY_DAY: dict[str, Rule] = {
    "days as independent": plain,
    WEEKS: weeks,
    "merged by autocorrelation": merged,
    "4 slowest cosines": cosines,
    OURS: ours,
    OURS_LOOKING_DAILY: daily,
}
RULES = ("rows as independent", "row-wise e-process", *BY_DAY)


def called(rule: str, pair: Pair) -> tuple[bool, bool]:
    """Tell whether a rule calls the candidate better, and the baseline."""
    if rule == "rows as independent":
        return pair.rows_p < ALPHA, pair.rows_p > 1.0 - ALPHA
    if rule == "row-wise e-process":
        return pair.rows_e
    means, rows = pair.sums / pair.n_rows, pair.n_rows.astype(np.float64)
    decide = BY_DAY[rule]
    return decide(means, rows) < ALPHA, decide(-means, rows) < ALPHA


def null_shares(rule: str, pairs: list[Pair]) -> tuple[float, float]:
    """Return the share called better, and of those the share that is worse afterwards."""
    nulls = [pair for pair in pairs if pair.months == 0]
    n_called = n_worse = 0
    for pair in nulls:
        up, down = called(rule, pair)
        n_called += up + down
        n_worse += (up and pair.after <= 0.0) + (down and pair.after >= 0.0)
    return n_called / (2 * len(nulls)), n_worse / n_called if n_called else 0.0


def power(rule: str, pairs: list[Pair], months: int) -> float:
    """Return the share called better of the candidates that stay better afterwards."""
    stale = [pair for pair in pairs if pair.months == months and pair.after > 0.0]
    return float(np.mean([called(rule, pair)[0] for pair in stale])) if stale else math.nan


def show(source: Source, pairs: list[Pair]) -> dict[str, list[float]]:
    """Print one data set's table and return its numbers by rule."""
    nulls = [pair for pair in pairs if pair.months == 0]
    differ = float(np.median([abs(pair.share) for pair in nulls]))
    counts = [
        sum(pair.months == months and pair.after > 0.0 for pair in pairs) for months in STALE_MONTHS
    ]
    table = Table(
        title=f"{source.label}: {len(nulls)} pairs whose losses differ by {differ:.1%}, "
        f"both directions, {JUDGED_DAYS} days at one-sided {ALPHA:.0%}"
    )
    table.add_column("rule")
    columns = ["called better", "of those worse after"]
    if source.has_stale:
        columns += [
            f"power, {months} mo. older (n={n})"
            for months, n in zip(STALE_MONTHS, counts, strict=True)
        ]
    for column in columns:
        table.add_column(column, justify="right")
    found = {}
    for rule in RULES:
        numbers = list(null_shares(rule, pairs))
        if source.has_stale:
            numbers += [power(rule, pairs, months) for months in STALE_MONTHS]
        table.add_row(rule, f"{numbers[0]:.1%}", *(f"{each:.0%}" for each in numbers[1:]))
        found[rule] = numbers
    Console(width=150).print(table)
    return found


def tell(name: str, found: dict[str, list[float]]) -> None:
    """Print one data set's figures."""
    share, worse = found[OURS][:2]
    figure(
        f"dependence.{name}_called_better",
        share,
        f"<={HIGHEST_SHARE:g}",
        ok=share <= HIGHEST_SHARE,
    )
    wrong = share * worse
    figure(f"dependence.{name}_called_better_worse_after", wrong, f"<={ALPHA:g}", ok=wrong <= ALPHA)
    daily_share = found[OURS_LOOKING_DAILY][0]
    figure(
        f"dependence.{name}_called_better_looking_daily",
        daily_share,
        f"<={HIGHEST_SHARE:g}",
        ok=daily_share <= HIGHEST_SHARE,
    )
    for months, found_share in zip(STALE_MONTHS, found[OURS][2:], strict=True):
        least = 0.8 * found[WEEKS][1 + months]
        figure(
            f"dependence.{name}_power_{months}_months",
            found_share,
            f">={least:.4g}(0.8_of_weeks)",
            ok=found_share >= least,
        )


def run(quick: bool) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Build the pairs, print the tables, then the figures.

    Parameters
    ----------
    quick : bool
        A few pairs in place of 200 and more of each data set.
    """
    began_s = time.perf_counter()
    results = []
    for source in SOURCES + SMALL:
        if not is_there(source):
            print(f"{source.label}: data absent, set RENEWAL_DATA; skipped")
            continue
        found = show(source, build(source, quick=quick))
        if source.has_stale:
            results.append((source.name, found))
    print(f"{time.perf_counter() - began_s:.0f} s")
    for name, found in results:
        tell(name, found)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a few pairs")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
