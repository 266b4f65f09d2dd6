"""What judging costs: a million rows with every guard, and a thousand new labels.

Predictions are made beforehand; everything after them is timed: measuring both versions, the
evidence for a claim on the loss and one on the area under the ROC curve, 20 slices, two
columns of fairness groups, flips, calibration, robustness (on losses that are given, since
making them takes the models), latency, bytes and memory, the verdict. Once with the days of a
quarter as blocks, once with each row its own block, which is what a model without time gets.

An evidence update takes 1,000 new labels into what a model keeps between looks: a bettor, the
counts of McNemar, the series of a quarter's days; and judges the running test.

Run it as ``python -m bench.gate.speed``; ``--quick`` takes 50,000 rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.figure import figure
from renewal.data.rows import Rows
from renewal.evaluate.cost import Cost
from renewal.evaluate.report import Report, Scored, evaluate
from renewal.evaluate.robustness import Disturbed, Robustness
from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.gathering import gather
from renewal.gate.harms import Extras, harms_of
from renewal.gate.judge import Evidence, Grant, judge
from renewal.gate.options import GateOptions, Guards
from renewal.gate.vetoes import vetoes
from renewal.models.task import LARGEST_LOSS, Binary
from renewal.stats.betting import Bettor
from renewal.stats.mcnemar import mcnemar_e_value

N_ROWS, N_QUICK_ROWS = 1_000_000, 50_000
N_SLICES = 20
N_DAYS = 90
N_LABELS = 1000
MOST_S, MOST_MS = 10.0, 5.0
CANDIDATE, CHAMPION = "candidate", "champion"
OPTIONS = GateOptions(
    must_prove=("superior", "no_worse(auc, 0.005)"),
    guards=Guards(
        slices=("route",),
        groups=("sex", "race"),
        fairness_bound=0.2,
        fairness_ratio=0.5,
        max_negative_flips=0.05,
        calibration_margin=0.01,
        robustness=("nulls", "noise", "unit_change"),
        max_latency_ratio=1.5,
        max_latency_ms=50.0,
        max_bytes=10**8,
        max_memory_bytes=10**9,
    ),
)
_DAY_US = 86_400_000_000
_N_SAMPLE = 5000
_N_REPEATS = 50
_N_BEFORE = 10_000
_BESIDE = "judge of single rows, all again"
_GRANT = Grant(0.05, 1)
T = TypeVar("T")


def rows_of(rng: np.random.Generator, n_rows: int) -> Rows:
    """Draw labelled rows over a quarter, in the order of time; each is its own block."""
    at = np.arange(n_rows)
    key = np.array([f"row{each}" for each in range(n_rows)], dtype=object)
    event_us = at * (N_DAYS * _DAY_US // n_rows)
    names = {"route": N_SLICES, "sex": 2, "race": 5}
    columns = {
        name: pa.array([f"{name}{code}" for code in range(n)]).take(
            pa.array(rng.integers(0, n, n_rows))
        )
        for name, n in names.items()
    }
    return Rows(
        features=pa.table(columns),
        key=key,
        key_hash=at.astype(np.uint64),
        group_hash=at.astype(np.uint64),
        sticky=None,
        event_us=event_us,
        arrived_us=event_us,
        label=(rng.random(n_rows) < 0.3).astype(np.int64).astype(object),
        label_arrived_us=event_us,
        block=at,
    )


def scored_of(rng: np.random.Generator, rows: Rows) -> tuple[Scored, Scored]:
    """Return what two versions say of the rows; the candidate is a little better."""
    assert rows.label is not None
    truth = rows.label.astype(np.float64)
    shared = rng.normal(size=len(rows))

    def version(name: str, signal: float) -> Scored:
        logit = signal * (truth - 0.5) + shared + 0.3 * rng.normal(size=len(rows)) - 0.8
        positive = 1.0 / (1.0 + np.exp(-logit))
        return Scored(name, np.column_stack([1.0 - positive, positive]), (0, 1))

    return version(CHAMPION, 1.5), version(CANDIDATE, 1.6)


def extras_of(rng: np.random.Generator, n_rows: int) -> Extras:
    """Return measurements such as the loop hands to the guards."""
    which = np.sort(rng.choice(n_rows, min(_N_SAMPLE, n_rows), replace=False))

    def disturbed() -> Disturbed:
        return Disturbed(rng.gamma(1.0, 0.5, len(which)), 0.97, None)

    found = Robustness(
        rows=which,
        clean=(disturbed(), disturbed()),
        disturbed={name: (disturbed(), disturbed()) for name in OPTIONS.guards.robustness},
        skipped={},
    )
    costs = {
        name: Cost(rng.gamma(9.0, 0.1, 400), rng.gamma(9.0, 0.2, 400), 10**6, 10**7)
        for name in (CHAMPION, CANDIDATE)
    }
    return Extras(found, costs)


def timed(parts: dict[str, float], name: str, do: Callable[[], T]) -> T:
    """Do something and write down how many seconds it took."""
    began_s = time.perf_counter()
    found = do()
    parts[name] = time.perf_counter() - began_s
    return found


def judge_rows(
    rows: Rows, scored: tuple[Scored, Scored], extras: Extras, *, is_timed: bool
) -> dict[str, float]:
    """Judge with every guard; return the seconds of each part."""
    parts: dict[str, float] = {}
    block_us = _DAY_US if is_timed else None

    def measure() -> Report:
        return evaluate(Binary(), rows, scored, block_us=block_us, is_timed=is_timed)

    report = timed(parts, "evaluate", measure)
    evidence = timed(parts, "gather", lambda: gather(report, CANDIDATE, CHAMPION, OPTIONS))

    alone = _guards_alone(report, extras)
    harms = timed(
        parts,
        "harms of all guards",
        lambda: harms_of(report, CANDIDATE, CHAMPION, OPTIONS, extras=extras),
    )
    parts |= alone
    clauses = timed(parts, "vetoes", lambda: vetoes(harms, OPTIONS.guards.alpha))
    verdict = timed(
        parts,
        "judge",
        lambda: judge(evidence, OPTIONS, grant=_GRANT, is_first=True, vetoes=clauses),
    )
    assert len(verdict.clauses) >= N_SLICES
    return parts


def _guards_alone(report: Report, extras: Extras) -> dict[str, float]:
    """Return the seconds of each kind of guard by itself: where the time goes."""
    asked = OPTIONS.guards
    kinds = {
        "slices": (Guards(slices=asked.slices), Extras()),
        "fairness": (
            Guards(
                groups=asked.groups,
                fairness_bound=asked.fairness_bound,
                fairness_ratio=asked.fairness_ratio,
            ),
            Extras(),
        ),
        "flips": (Guards(max_negative_flips=asked.max_negative_flips), Extras()),
        "calibration": (Guards(calibration_margin=asked.calibration_margin), Extras()),
        "robustness": (Guards(robustness=asked.robustness), Extras(extras.robustness)),
    }
    parts: dict[str, float] = {}
    for name, (guards, more) in kinds.items():
        options = replace(OPTIONS, guards=guards)
        ask = partial(harms_of, report, CANDIDATE, CHAMPION, options, extras=more)
        timed(parts, f"of these, {name}", ask)
    return parts


def whole(parts: dict[str, float]) -> float:
    """Return the seconds of all parts together; those of single guards are within another."""
    return sum(seconds for name, seconds in parts.items() if not name.startswith("of these"))


def update_ms(rng: np.random.Generator) -> dict[str, float]:
    """Return the median milliseconds of taking 1,000 new labels into the evidence.

    ``all`` is what a stream of blocks takes. The last entry stands beside it: where each row is
    its own block the verdict's bounds are taken from every row again, here 10,000 before.
    """
    gains = rng.choice([1.0, 0.0, -1.0], p=[0.06, 0.9, 0.04], size=N_LABELS)
    bettor = Bettor(m=0.0, lower=-1.0).update(rng.choice([1.0, 0.0, -1.0], size=N_LABELS))
    before = _series(rng.normal(0.005, 0.01, N_DAYS), first_day=0)
    later = _series(np.array([gains.mean()]), first_day=N_DAYS)

    def look(before: Series = before, later: Series = later) -> None:
        series = before.then(later)
        evidence = [Evidence(OPTIONS.proofs[0], series, estimate_of(series))]
        judge(evidence, OPTIONS, grant=_GRANT, is_first=False)

    steps: dict[str, Callable[[], object]] = {
        "Bettor.update": lambda: bettor.update(gains).log_e,
        "McNemar": lambda: mcnemar_e_value(int((gains > 0).sum()), int((gains < 0).sum())),
        "Series.then and judge": look,
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(_N_REPEATS):
        for name, step in steps.items():
            began_s = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - began_s))
    found = {name: float(np.median(of_step)) for name, of_step in times.items()}
    found["all"] = float(np.median(np.sum(list(times.values()), axis=0)))
    single = partial(
        look,
        _single(rng.normal(0.01, 0.3, _N_BEFORE), first_row=0),
        _single(rng.normal(0.01, 0.3, N_LABELS), first_row=_N_BEFORE),
    )
    alone: dict[str, float] = {}
    for at in range(3):
        timed(alone, str(at), single)
    return found | {_BESIDE: 1e3 * float(np.median(list(alone.values())))}


def _single(gains: NDArray[np.float64], *, first_row: int) -> Series:
    """Return independent rows, whose gain in clipped log-loss is bounded."""
    return replace(
        _series(gains, first_day=first_row),
        unit="block",
        n_block_rows=np.ones(len(gains), np.int64),
        has_groups=False,
        is_ordered=False,
        reach=LARGEST_LOSS,
    )


def _series(gains: NDArray[np.float64], *, first_day: int) -> Series:
    n = len(gains)
    return Series(
        metric="log_loss",
        baseline=CHAMPION,
        candidate=CANDIDATE,
        baseline_value=0.4,
        candidate_value=0.4,
        unit="day",
        blocks=np.arange(first_day, first_day + n),
        n_block_rows=np.full(n, N_LABELS),
        gains=gains,
        from_us=first_day * _DAY_US,
        until_us=(first_day + n) * _DAY_US - 1,
    )


def run(quick: bool) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Time everything, print the tables, then the figures.

    Parameters
    ----------
    quick : bool
        50,000 rows in place of a million.
    """
    rng = np.random.default_rng(0)
    n_rows = N_QUICK_ROWS if quick else N_ROWS
    rows = rows_of(rng, n_rows)
    scored, extras = scored_of(rng, rows), extras_of(rng, n_rows)
    by_blocks = {
        "days": judge_rows(rows, scored, extras, is_timed=True),
        "rows": judge_rows(rows, scored, extras, is_timed=False),
    }
    console = Console(width=150)
    table = Table(title=f"{n_rows:,} rows, {N_SLICES} slices, all guards: seconds")
    table.add_column("part")
    for name in by_blocks:
        table.add_column(f"blocks are {name}", justify="right")
    for part in by_blocks["days"]:
        table.add_row(part, *(f"{parts[part]:.3f}" for parts in by_blocks.values()))
    table.add_row("all", *(f"{whole(parts):.3f}" for parts in by_blocks.values()))
    console.print(table)
    update = update_ms(rng)
    console.print(
        f"{N_LABELS:,} new labels, ms: "
        + ", ".join(f"{name} {each_ms:.2f}" for name, each_ms in update.items())
    )
    for name, parts in by_blocks.items():
        seconds = whole(parts)
        figure(
            f"speed.judge_{n_rows}_rows_by_{name}_s", seconds, f"<{MOST_S:g}", ok=seconds < MOST_S
        )
    figure("speed.evidence_update_single_rows_ms", update[_BESIDE], "beside", ok=True)
    figure("speed.evidence_update_ms", update["all"], f"<{MOST_MS:g}", ok=update["all"] < MOST_MS)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="50,000 rows")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
