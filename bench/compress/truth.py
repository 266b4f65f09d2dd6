"""Truth of claims: how often a certified model does not hold the line, in simulated searches.

``python -m bench.compress.truth [--quick]``

The world is a chain of 20 levels whose true drop goes from 0 to 3 points; a model at level 0
flips 0.8% of the rows against its parent, one at the line of 1 point 2.2%, and what a level
loses the bolder ones lose, too. The boldest level that truly holds the line is 6. A search
looks at levels on n validation rows (`renewal.compress.climb`), orders what it has found
(`renewal.compress.front`), and certifies on n test rows (`renewal.compress.certify`).

Beside it stand the usual rules, which see all levels and take the smallest model whose point
estimate passes, or stop at the first that does not; the whole ladder with the plain paired
interval, which the targets were taken from; and the score bound in place of ours.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.figure import figure
from renewal.compress.bound import Apart, flip_spread
from renewal.compress.certify import Bounds, Contender, Evidence, Status, certify
from renewal.compress.climb import climb, look_of
from renewal.compress.front import Point, order
from renewal.stats.discordant import Discordant

TAU = 0.01
ALPHA = 0.05
DROPS = np.linspace(0.0, 0.03, 20)
BEST = int(np.flatnonzero(DROPS <= TAU)[-1])
SIZES = (500, 2_000, 10_000)
LEVELS = {500: 1.8, 2_000: 3.0, 10_000: 4.5}
_FLIPS = 0.008 + 1.4 * DROPS
_LOST, _GAINED = (_FLIPS + DROPS) / 2.0, (_FLIPS - DROPS) / 2.0
_SEED = 20_260_101

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Flips:
    """Rows lost and gained at each level, of `n` rows."""

    lost: Counts
    gained: Counts
    n: int

    @property
    def gains(self) -> NDArray[np.float64]:
        """Gain at each level."""
        return (self.gained - self.lost) / self.n


@dataclass(frozen=True, slots=True)
class Ended:
    """How a search ended: the level that it claims, None where it claims none."""

    level: int | None
    n_trials: int
    n_tests: int


Bound = Callable[[Flips, Flips, int], Bounds]
Rule = Callable[[Flips, Flips], Ended]


def draw(n: int, rng: np.random.Generator) -> Flips:
    """Return the flips of all levels on the same rows: what one loses, bolder ones lose."""
    steps = np.concatenate([np.diff(_LOST, prepend=0.0), np.diff(_GAINED, prepend=0.0)])
    found = rng.multinomial(n, [*steps, 1.0 - steps.sum()])
    return Flips(np.cumsum(found[:20]), np.cumsum(found[20:40]), n)


def apart(validation: Flips, test: Flips, level: int) -> Bounds:
    """Return our bound: the mean of the test rows, the spread of the validation rows."""
    spread = flip_spread(int(validation.lost[level]), int(validation.gained[level]), validation.n)
    return Apart(float(test.gains[level]), test.n, spread)


def score(_validation: Flips, test: Flips, level: int) -> Bounds:
    """Return the score bound of the test rows alone."""
    return Discordant(int(test.gained[level]), int(test.lost[level]), n_rows=test.n)


@dataclass(frozen=True, slots=True)
class Estimate:
    """No bound at all: the point estimate, as if it were the truth."""

    mean: float

    def lower(self, alpha: float) -> float:  # noqa: ARG002  # that it knows no level is the point
        """Return the estimate."""
        return self.mean

    def p_value(self, margin: float = 0.0) -> float:
        """Return 0 or 1."""
        return float(self.mean <= margin)


def point(_validation: Flips, test: Flips, level: int) -> Bounds:
    """Return the point estimate in place of a bound."""
    return Estimate(float(test.gains[level]))


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain paired interval: mean and spread of the same rows, a normal quantile."""

    mean: float
    se: float

    def lower(self, alpha: float) -> float:  # noqa: ARG002  # of 5%, as it was measured
        """Return the bound at 5%."""
        return self.mean - 1.6449 * self.se

    def p_value(self, margin: float = 0.0) -> float:
        """Return its p-value."""
        z = (self.mean - margin) / self.se if self.se else math.copysign(math.inf, self.mean)
        return 0.5 * math.erfc(z / math.sqrt(2.0))


def plain(_validation: Flips, test: Flips, level: int) -> Bounds:
    """Return the plain paired interval of the test rows."""
    mean = float(test.gains[level])
    flips = float(test.lost[level] + test.gained[level]) / test.n
    return Plain(mean, math.sqrt((flips - mean * mean) / test.n))


def searched(validation: Flips, test: Flips, *, bound: Bound = apart) -> Ended:
    """Search on validation rows, certify on test rows, with the functions of the product."""
    points: list[Point] = []

    def look(level: int) -> str:
        gain = float(validation.gains[level])
        lost, gained = int(validation.lost[level]), int(validation.gained[level])
        se = flip_spread(lost, gained, validation.n).se(validation.n)
        points.append(Point(str(level), str(level), "knob", 100.0 - level, gain, se))
        return look_of(gain, se, margin=TAU)

    climb(20, look)  # type: ignore[arg-type]  # a Look is a text
    ordered = order(points, margin=TAU)
    return _certified([int(each.key) for each in ordered], validation, test, bound, len(points))


def ladder(validation: Flips, test: Flips, *, bound: Bound = plain) -> Ended:
    """Certify all levels from the mildest on, without a search."""
    return _certified(range(20), validation, test, bound, 20)


def smallest(_validation: Flips, test: Flips) -> Ended:
    """Take the smallest model whose point estimate passes: the usual rule."""
    passes = np.flatnonzero(test.gains >= -TAU)
    return Ended(int(passes[-1]) if len(passes) else None, 20, 20)


def until_failure(_validation: Flips, test: Flips) -> Ended:
    """Go on until a point estimate fails, and take the one before it."""
    fails = np.flatnonzero(test.gains < -TAU)
    n_passed = int(fails[0]) if len(fails) else 20
    return Ended(n_passed - 1 if n_passed else None, min(n_passed + 1, 20), min(n_passed + 1, 20))


RULES: dict[str, Rule] = {
    "ours": searched,
    "ours, score bound": lambda v, t: searched(v, t, bound=score),
    "ours, point estimate": lambda v, t: searched(v, t, bound=point),
    "whole ladder, ours": lambda v, t: ladder(v, t, bound=apart),
    "whole ladder, score": lambda v, t: ladder(v, t, bound=score),
    "whole ladder, plain": ladder,
    "smallest that passes": smallest,
    "until one fails": until_failure,
}


@dataclass(frozen=True, slots=True)
class Course:
    """What came of many searches by one rule."""

    ended: Sequence[Ended]

    @property
    def n_certified(self) -> int:
        """Searches that claim a model."""
        return sum(each.level is not None for each in self.ended)

    @property
    def wrong(self) -> float:
        """Share of the claims that are false."""
        n_wrong = sum(each.level is not None and each.level > BEST for each in self.ended)
        return n_wrong / max(self.n_certified, 1)

    @property
    def level(self) -> float:
        """Mean level over all searches; one that claims nothing counts as 0."""
        return float(np.mean([each.level or 0 for each in self.ended]))

    @property
    def level_certified(self) -> float:
        """Mean level of the claims."""
        return self.level * len(self.ended) / max(self.n_certified, 1)

    @property
    def n_trials(self) -> float:
        """Mean number of models that were made and scored on validation rows."""
        return float(np.mean([each.n_trials for each in self.ended]))

    @property
    def n_tests(self) -> float:
        """Mean number of models that test rows were asked about, until the first failure."""
        return float(np.mean([each.n_tests for each in self.ended]))


def courses(n: int, n_searches: int, *, seed: int = _SEED) -> dict[str, Course]:
    """Return what comes of every rule on the same rows."""
    rng = np.random.default_rng([seed, n])
    rows = [(draw(n, rng), draw(n, rng)) for _ in range(n_searches)]
    return {name: Course([rule(*each) for each in rows]) for name, rule in RULES.items()}


def _certified(
    levels: Sequence[int], validation: Flips, test: Flips, bound: Bound, n_trials: int
) -> Ended:
    contenders = []
    for level in levels:
        bounds = bound(validation, test, level)
        evidence = Evidence(
            float(test.gains[level]),
            bounds,
            test.n,
            lost=int(test.lost[level]),
            gained=int(test.gained[level]),
        )
        contenders.append(Contender(str(level), str(level), 100.0 - level, evidence))
    found = certify(contenders, margin=TAU, alpha=ALPHA)
    n_passed = sum(each.certified for each in found.tested)
    n_tests = min(n_passed + 1, len(contenders))
    is_claimed = found.status is Status.CERTIFIED and found.chosen is not None
    return Ended(int(found.chosen or 0) if is_claimed else None, n_trials, n_tests)


def show(n: int, found: dict[str, Course]) -> None:
    """Print one table."""
    table = Table(title=f"{n:,} rows, tau 1%, best true level {BEST}")
    table.add_column("rule")
    for column in ("certified", "of them false", "level", "of certified", "trials", "tests"):
        table.add_column(column, justify="right")
    for name, each in found.items():
        table.add_row(
            name,
            f"{each.n_certified / len(each.ended):.1%}",
            f"{each.wrong:.1%}",
            f"{each.level:.2f}",
            f"{each.level_certified:.2f}",
            f"{each.n_trials:.1f}",
            f"{each.n_tests:.1f}",
        )
    Console(width=100).print(table)


def tell(n: int, found: dict[str, Course]) -> None:
    """Print the figures of one number of rows."""
    ours, name = found["ours"], f"compress.truth_{n}"
    figure(f"{name}_false_claims", ours.wrong, f"<={ALPHA:g}", ok=ours.wrong <= ALPHA)
    least = LEVELS[n]
    figure(f"{name}_level", ours.level, f">={least:g}", ok=ours.level >= least)
    of_certified = ours.level_certified
    figure(f"{name}_level_of_certified", of_certified, f">={least:g}", ok=of_certified >= least)
    usual = found["smallest that passes"].wrong
    figure(f"{name}_false_claims_usual", usual, f">{ALPHA:g}", ok=usual > ALPHA)
    figure(f"{name}_trials", ours.n_trials, "<20", ok=ours.n_trials < 20)


def run(quick: bool) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Run the searches, print the tables, then the figures.

    Parameters
    ----------
    quick : bool
        A tenth of the searches.
    """
    began_s = time.perf_counter()
    found = {n: courses(n, 200 if quick else 2_000) for n in SIZES}
    for n, each in found.items():
        show(n, each)
    print(f"{time.perf_counter() - began_s:.0f} s")
    for n, each in found.items():
        tell(n, each)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the searches")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
