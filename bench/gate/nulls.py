"""How often the gate promotes what is no better, and how often it finds what is.

Every candidate is a path of normal block gains: 14 blocks held back for the one fixed look,
then a look after each of 40 more in shadow. Null candidates gain nothing. So that no rejection
hides a false promotion, the looks at null candidates go on to the last. The naive rule beside
it knows the deviation of a block and calls a candidate better when z exceeds 1.645: at every
look, or once for each candidate.
Such figures say little without the other error, so the share of better candidates that is
accepted stands beside them, at the levels that a life grants to its 1st, 10th and 50th update,
here with every rejection heeded.

A whole life has 500 updates of mixed quality: 30% are better by 0.5 to 1 standard deviations of
a block, 40% are equal, 30% worse by as much.

Run it as ``python -m bench.gate.nulls``; ``--quick`` simulates a tenth.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.figure import figure
from bench.gate.candidates import (
    FIRST_BLOCKS,
    Bools,
    Floats,
    Seen,
    accepted,
    decided,
    judge_one,
    level_at,
    promoted,
    see,
)
from renewal.gate.options import GateOptions

OPTIONS = GateOptions()
N_LOOKS = (1, 10, 40)
N_SUCCESSIVE = 32
N_MORE = 40
EFFECTS = (0.3, 0.5, 1.0, 2.0)
# Updates, and how many of the candidates before were accepted.
UPDATES = (
    (1, "none", 0),
    (10, "none", 0),
    (10, "a_third", 3),
    (50, "none", 0),
    (50, "a_third", 16),
)
STRICT_BUDGET = 0.05
_NAIVE_Z = 1.645
_BETTER, _EQUAL = 0.3, 0.4


@dataclass(frozen=True)
class Size:
    """How much is simulated; small in tests.

    Parameters
    ----------
    n_paths : int
        Null candidates, lives of successive ones, and candidates of each effect.
    n_lives, n_updates : int
        Whole lives, and updates in each.
    n_checked : int
        Paths on which the gate itself is asked.
    """

    n_paths: int = 4000
    n_lives: int = 200
    n_updates: int = 500
    n_checked: int = 200


QUICK = Size(n_paths=400, n_lives=20, n_checked=40)


@dataclass(frozen=True)
class Life:
    """What whole lives came to, means over them.

    Parameters
    ----------
    wrong_share : float
        Share of acceptances that were no improvement.
    n_right, n_wrong : float
        True improvements, and others, accepted in a life.
    found_share : float
        Share of the true improvements that was accepted.
    """

    wrong_share: float
    n_right: float
    n_wrong: float
    found_share: float


def normal(rng: np.random.Generator, effect: Floats | float, n_paths: int) -> Floats:
    """Draw block gains, shape (n_paths, n_blocks), of a mean in standard deviations."""
    noise = rng.normal(size=(n_paths, FIRST_BLOCKS + N_MORE))
    return np.asarray(noise + np.reshape(effect, (-1, 1)))


def neighborly(noise: Floats, rho: float) -> Floats:
    """Return the same noise with neighbors that correlate by `rho`."""
    found = noise.copy()
    for at in range(1, noise.shape[1]):
        found[:, at] = rho * found[:, at - 1] + math.sqrt(1.0 - rho**2) * noise[:, at]
    return found


def naive_looks(n_paths: int, seed: int) -> dict[int, float]:
    """Return how often z > 1.645 at some look, by looks, each after an equal batch more."""
    noise = np.random.default_rng(seed).normal(size=(n_paths, max(N_LOOKS)))
    z = np.cumsum(noise, axis=1) / np.sqrt(np.arange(1, noise.shape[1] + 1))
    return {n: float((z[:, :n] > _NAIVE_Z).any(axis=1).mean()) for n in N_LOOKS}


def look_at_nulls(size: Size) -> dict[str, dict[int, float]]:
    """Return the share of null candidates promoted, by rule and number of looks."""
    noise = normal(np.random.default_rng(1), 0.0, size.n_paths)
    seen = see(noise, OPTIONS)
    alike = see(neighborly(noise, 0.3), OPTIONS)
    first_level = level_at(OPTIONS, 0, 0)

    def ours(of: Seen, level: float) -> dict[int, float]:
        proved = promoted(of, level, OPTIONS)
        return {n: float(proved[:, :n].any(axis=1).mean()) for n in N_LOOKS}

    return {
        f"ours, level {first_level:.4f} of a first update": ours(seen, first_level),
        f"ours, were all of {OPTIONS.alpha:g} granted": ours(seen, OPTIONS.alpha),
        "the same, neighbors correlate by 0.3": ours(alike, OPTIONS.alpha),
        "naive, z > 1.645 at the same looks": {
            n: float((seen.z[:, :n] > _NAIVE_Z).any(axis=1).mean()) for n in N_LOOKS
        },
        "naive, z > 1.645 after equal batches": naive_looks(size.n_paths, seed=2),
    }


def succeed(size: Size) -> tuple[float, float]:
    """Return the share of lives of 32 null candidates with a promotion, ours and naive."""
    rng = np.random.default_rng(3)
    n_accepted = np.zeros(size.n_paths, np.intp)
    is_fooled = np.zeros(size.n_paths, np.bool_)
    for n_before in range(N_SUCCESSIVE):
        seen = see(normal(rng, 0.0, size.n_paths), OPTIONS)
        levels = _levels(OPTIONS, n_before, n_accepted)
        n_accepted += promoted(seen, levels, OPTIONS).any(axis=1)
        is_fooled |= seen.z[:, 0] > _NAIVE_Z
    return float((n_accepted > 0).mean()), float(is_fooled.mean())


def find(size: Size) -> dict[tuple[float, int, str], tuple[float, float]]:
    """Return the share accepted by effect, update and acceptances before: at once, and in all."""
    rng = np.random.default_rng(4)
    found = {}
    for effect in EFFECTS:
        seen = see(normal(rng, effect, size.n_paths), OPTIONS)
        for update, words, n_accepted in UPDATES:
            level = level_at(OPTIONS, update - 1, n_accepted)
            found[effect, update, words] = (
                float(promoted(seen, level, OPTIONS)[:, 0].mean()),
                float(accepted(seen, level, OPTIONS).mean()),
            )
    return found


def mixed(size: Size, seed: int = 5) -> tuple[Floats, Seen]:
    """Draw whole lives: true effects, shape (n_lives, n_updates), and what looks show."""
    rng = np.random.default_rng(seed)
    kind = rng.random((size.n_lives, size.n_updates))
    sign = np.where(kind < _BETTER, 1.0, np.where(kind < _BETTER + _EQUAL, 0.0, -1.0))
    effect = sign * rng.uniform(0.5, 1.0, size=kind.shape)
    return effect, see(normal(rng, effect.ravel(), effect.size), OPTIONS)


def live(effect: Floats, seen: Seen, options: GateOptions) -> Life:
    """Live the lives: each update is judged at the level that those before it leave."""
    n_lives, n_updates = effect.shape
    is_accepted = np.zeros(effect.shape, np.bool_)
    for at in range(n_updates):
        now = seen.part(np.arange(n_lives) * n_updates + at)
        levels = _levels(options, at, is_accepted.sum(axis=1))
        is_accepted[:, at] = accepted(now, levels, options)
    return tally(effect, is_accepted)


def tally(effect: Floats, is_accepted: Bools) -> Life:
    """Count a life's right and wrong acceptances."""
    is_better = effect > 0.0
    right = (is_accepted & is_better).sum(axis=1)
    wrong = (is_accepted & ~is_better).sum(axis=1)
    return Life(
        wrong_share=float(np.mean(wrong / np.maximum(right + wrong, 1))),
        n_right=float(right.mean()),
        n_wrong=float(wrong.mean()),
        found_share=float(right.sum() / is_better.sum()),
    )


def agree(size: Size) -> int:
    """Ask the gate itself about some paths; return on how many it decides as the arrays do."""
    rng = np.random.default_rng(6)
    gains = normal(rng, rng.choice([0.0, *EFFECTS], size.n_checked), size.n_checked)
    levels = rng.choice([level_at(OPTIONS, t - 1, n) for t, _words, n in UPDATES], len(gains))
    ours = decided(see(gains, OPTIONS), levels, OPTIONS)
    return sum(
        judge_one(path, float(level), OPTIONS) == outcome
        for path, level, outcome in zip(gains, levels, ours.tolist(), strict=True)
    )


def _levels(options: GateOptions, n_before: int, n_accepted: np.ndarray) -> Floats:
    counts, at = np.unique(n_accepted, return_inverse=True)
    return np.array([level_at(options, n_before, n) for n in counts.tolist()])[at]


def show(
    looks: dict[str, dict[int, float]],
    found: dict[tuple[float, int, str], tuple[float, float]],
    lives: dict[str, Life],
    size: Size,
) -> None:
    """Print the three tables."""
    console = Console(width=150)
    table = Table(title=f"{size.n_paths:,} null candidates: share promoted within n looks")
    for column in ("rule", *(f"{n} looks" for n in N_LOOKS)):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for rule, by_looks in looks.items():
        table.add_row(rule, *(f"{share:.2%}" for share in by_looks.values()))
    console.print(table)
    table = Table(title="Better candidates: share accepted at once / within 40 more blocks")
    table.add_column("better by (deviations of a block)")
    for update, words, n_accepted in UPDATES:
        level = level_at(OPTIONS, update - 1, n_accepted)
        before = words.replace("_", " ")
        table.add_column(f"update {update}, {before} accepted\nlevel {level:.5f}", justify="right")
    for effect in EFFECTS:
        cells = [found[effect, update, words] for update, words, _n in UPDATES]
        table.add_row(f"{effect:g}", *(f"{once:.0%} / {ever:.0%}" for once, ever in cells))
    console.print(table)
    table = Table(title=f"{size.n_lives} lives of {size.n_updates} updates of mixed quality")
    for column in ("rule", "no improvement, of those accepted", "improvements accepted", "others"):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for rule, life in lives.items():
        right = f"{life.n_right:.1f} ({life.found_share:.0%})"
        table.add_row(rule, f"{life.wrong_share:.2%}", right, f"{life.n_wrong:.2f}")
    console.print(table)


def tell(
    looks: dict[str, dict[int, float]],
    successive: tuple[float, float],
    found: dict[tuple[float, int, str], tuple[float, float]],
) -> None:
    """Print the figures of single candidates and of 32 in a row, with the power beside."""
    at_most = f"<={OPTIONS.alpha:g}"
    granted, whole, alike, naive, batches = looks.values()
    for name, by_looks in (("level_granted", granted), ("level_alpha", whole)):
        for n, share in by_looks.items():
            figure(f"nulls.promoted_{name}_{n}_looks", share, at_most, ok=share <= OPTIONS.alpha)
    share = alike[max(N_LOOKS)]
    figure("nulls.promoted_neighbors_correlate", share, at_most, ok=share <= OPTIONS.alpha)
    figure("nulls.naive_same_looks", naive[max(N_LOOKS)], "beside", ok=True)
    figure("nulls.naive_equal_batches", batches[max(N_LOOKS)], "beside(25.6%)", ok=True)
    ours, fooled = successive
    figure(f"nulls.promoted_{N_SUCCESSIVE}_candidates", ours, at_most, ok=ours <= OPTIONS.alpha)
    figure(f"nulls.naive_{N_SUCCESSIVE}_candidates", fooled, "beside(80.6%)", ok=True)
    for (effect, update, words), (_once, ever) in found.items():
        name = f"nulls.accepted_{effect:g}_deviations_update_{update}_{words}_before"
        figure(name, ever, "beside", ok=True)


def run(quick: bool, *, size: Size | None = None) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Simulate, print the tables, then the figures.

    Parameters
    ----------
    quick : bool
        A tenth of the simulations.
    size : Size or None
        How much is simulated; None: by `quick`.
    """
    began_s = time.perf_counter()
    size = size or (QUICK if quick else Size())
    looks, successive, found = look_at_nulls(size), succeed(size), find(size)
    effect, seen = mixed(size)
    strict = replace(OPTIONS, budget=STRICT_BUDGET)
    naive = np.asarray(seen.z > _NAIVE_Z).reshape(*effect.shape, -1)
    lives = {
        f"ours, budget {OPTIONS.budget:g}": live(effect, seen, OPTIONS),
        f"ours, budget {STRICT_BUDGET:g}": live(effect, seen, strict),
        "naive, z > 1.645 once": tally(effect, naive[:, :, 0]),
        "naive, z > 1.645 at any look": tally(effect, np.asarray(naive.any(axis=2))),
    }
    show(looks, found, lives, size)
    n_agree = agree(size)
    print(f"{time.perf_counter() - began_s:.0f} s")
    tell(looks, successive, found)
    ours, stricter, once, ever = lives.values()
    for options, life in ((OPTIONS, ours), (strict, stricter)):
        budget = options.budget
        name = f"nulls.life_budget_{budget:g}"
        share = life.wrong_share
        figure(f"{name}_no_improvement", share, f"<={budget:g}", ok=share <= budget)
        figure(f"{name}_improvements_accepted", life.n_right, "beside", ok=True)
    for name, life in (("once", once), ("any_look", ever)):
        figure(f"nulls.life_naive_{name}_no_improvement", life.wrong_share, "beside", ok=True)
        figure(f"nulls.life_naive_{name}_improvements_accepted", life.n_right, "beside", ok=True)
    checked = f"{n_agree} of {size.n_checked}"
    target = f"{size.n_checked} of {size.n_checked}"
    figure("nulls.judged_alike_by_the_gate", checked, target, ok=n_agree == size.n_checked)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
