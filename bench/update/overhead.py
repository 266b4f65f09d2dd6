"""What an update takes beside its fits: seconds, and memory against a bare fit.

A model of 20 numbers is trained on the older rows; the newer ones come, and an update races
recalibrate, retrain and retrain on a window, fits the winner up to the cut and registers it.
The estimator notes the seconds of every fit inside the update. What is left of the time until
the candidate is registered is the overhead: reading the feed, the desk, scoring for the choice,
storing bytes, the journal, starting workers. A recalibration has no bare form, so that all of
it counts as a fit; scoring the champion counts as overhead. The gate's judging comes after and
is told beside it.

The peak of memory is that of the process, or of a worker and all of its parents and siblings
together, against a process that reads the same rows from a Parquet file into pandas and fits the
largest of the fits. Each runs in a process of its own, on one thread.

Run it as ``python -m bench.update.overhead``; ``--quick`` takes a tenth of the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

import renewal
from bench.figure import figure
from bench.update.timed import NOTES, TRUST, TimedBoosting, TimedPipeline, fits_noted
from renewal.loop.happening import Happening

N_FEATURES = 20
START = datetime(2026, 1, 5, tzinfo=UTC)
WEEKS = 12
RECIPES = ("recalibrate", "retrain", "retrain:window=6w")
MOST_SHARE, FREE_S, MOST_PEAK = 0.10, 2.0, 1.5
ENGINES = ("inline", "processes")
_EVERY_S = 0.1  # a look costs milliseconds, which count as the update's


@dataclass(frozen=True)
class Size:
    """How much is done.

    Parameters
    ----------
    n_rows : int
        Of the feed.
    rounds : int
        Of boosting.
    """

    n_rows: int
    rounds: int


def size_of(*, quick: bool) -> Size:
    """Return the size."""
    return Size(20_000, 50) if quick else Size(200_000, 100)


def estimators(size: Size) -> dict[str, Any]:
    """Return the estimators, unfitted."""
    return {
        "boosting": TimedBoosting(max_iter=size.rounds, early_stopping=False),
        "logistic": TimedPipeline(
            [("scale", StandardScaler()), ("weigh", LogisticRegression(max_iter=200))]
        ),
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument(
        "--child", nargs=3, metavar=("WHAT", "MODEL", "FOLDER"), help=argparse.SUPPRESS
    )
    asked = parser.parse_args()
    if asked.child is None:
        run(asked.quick)
        return
    what, name, folder = asked.child
    size = size_of(quick=asked.quick)
    work = bare if what == "bare" else update
    print(json.dumps(work(size, what, name, Path(folder))))


def run(quick: bool) -> None:  # noqa: FBT001  # the form of every part of the benchmark
    """Run it, and print tables and figures."""
    size = size_of(quick=quick)
    flags = ["--quick"] if quick else []
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        place = Path(folder)
        data(size).to_parquet(place / "rows.parquet")
        found = {}
        for name in estimators(size):
            for engine in ENGINES:
                prepare(size, engine, name, place)
            for what in (*ENGINES, "bare"):
                found[what, name] = child(flags, what, name, place)
    report(size, found)


def child(flags: Sequence[str], what: str, name: str, folder: Path) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "bench.update.overhead", *flags]
    notes = folder / f"fits-{what}-{name}"
    ran = subprocess.run(
        [*command, "--child", what, name, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", NOTES: str(notes)},
    )
    if ran.returncode:
        raise SystemExit(f"{what} {name} failed:\n{ran.stderr}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found | {"fits": fits_noted(notes)}


def data(size: Size) -> pd.DataFrame:
    """Return rows whose label depends on few of the numbers, and drifts slowly."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(size.n_rows, N_FEATURES))
    at = np.arange(size.n_rows) / size.n_rows
    signal = numbers[:, 0] + at * numbers[:, 1] + numbers[:, 2] * numbers[:, 3]
    frame = pd.DataFrame(numbers, columns=[f"x{at}" for at in range(N_FEATURES)])
    frame["late"] = rng.random(size.n_rows) < 1.0 / (1.0 + np.exp(-signal))
    frame["flight"] = [f"f{at}" for at in range(size.n_rows)]
    frame["at"] = START + pd.to_timedelta(at * WEEKS * 7, unit="D")
    return frame


def home_of(engine: str, name: str, folder: Path) -> renewal.Home:
    """Open the home of one engine and model."""
    root = folder / f"{engine}-{name}"
    root.mkdir(exist_ok=True)
    policy = f'trust = {json.dumps(TRUST)}\n[engine]\nkind = "{engine}"\nworkers = 1\n'
    (root / "renewal.toml").write_text(policy, encoding="utf-8")
    return renewal.open(root)


def prepare(size: Size, engine: str, name: str, folder: Path) -> None:
    """Make a home whose champion knows the first half of the rows."""
    rows = pd.read_parquet(folder / "rows.parquet")
    half = len(rows) // 2
    with home_of(engine, name, folder) as home:
        model = home.model(name, task="binary", target="late", key="flight", time="at")
        model.train(estimators(size)[name], rows[:half])
        model.feed.append(rows[half:])


def bare(size: Size, what: str, name: str, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the form of both
    """Read as many rows as the largest fit of the updates had, as a script would, and fit."""
    noted = [each for path in folder.glob(f"fits-*-{name}") for each in fits_noted(path)]
    began = peak_bytes()
    rows = pd.read_parquet(folder / "rows.parquet")[: int(max(each["rows"] for each in noted))]
    inputs = rows.drop(columns=["late", "flight", "at"])
    estimators(size)[name].fit(inputs, rows["late"])
    return {"peak": peak_bytes(), "imports": began}


def update(size: Size, what: str, name: str, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the form of both
    """Update once; return when the candidate was there, what the fits took, and the peak."""
    began = peak_bytes()
    with home_of(what, name, folder) as home, watched() as peaks:
        model = home.model(name)
        raced_cpu_s: list[float] = []

        def hear(said: Happening) -> None:
            if said.kind == "race":  # the winner is fitted, and registered next
                raced_cpu_s.append(processor_s())

        cpu_s, start = processor_s(), datetime.now(UTC)
        made = model.update(RECIPES, tell=hear)
        end = datetime.now(UTC)
    if made.candidate is None:
        raise SystemExit(f"nothing beats the champion: {made.entries}")
    return {
        "registered_s": (made.candidate.created_at - start).total_seconds(),
        "judging_s": (end - made.candidate.created_at).total_seconds(),
        "cpu_s": raced_cpu_s[0] - cpu_s,
        "peak": max(peak_bytes(), max(peaks, default=0)),
        "imports": began,
        "winner": made.candidate.facts["recipe"],
        "entries": [dict(each) for each in made.entries],
        "fit_s": made.candidate.facts["fit_s"],
    }


@contextmanager
def watched() -> Iterator[list[int]]:
    """Sample the memory of this process and of all that it started; what is shared counts once."""
    peaks: list[int] = []
    over = threading.Event()
    me = psutil.Process()

    def look() -> None:
        while not over.wait(_EVERY_S):
            children = me.children(recursive=True)
            if children:
                peaks.append(sum(_pss(each) for each in (me, *children)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def processor_s() -> float:
    """Return the processor seconds of this process and of all that it started."""
    total = time.process_time()
    ended = os.times()
    total += ended.children_user + ended.children_system
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended by now, and counts among the ended
            spent = each.cpu_times()
            total += spent.user + spent.system + spent.children_user + spent.children_system
    return float(total)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended by now
        return 0


def peak_bytes() -> int:
    """Return the largest memory of this process so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(each for each in status.splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def fits_s(found: dict[str, Any], clock: str = "seconds") -> float:
    """Return the seconds of the fits of an update: those noted, and the recalibrations."""
    mapped = [each for each in found["entries"] if each["recipe"].startswith("recalibrate")]
    return float(sum(each[clock] for each in (*found["fits"], *mapped)))


def report(size: Size, found: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Print the table and the figures."""
    table = Table(title=f"an update over {size.n_rows:,} rows of {N_FEATURES} numbers, seconds")
    for column in ("model", "engine", "fits", "their s", "until registered", "overhead",
                   "processor", "judging", "peak MB", "bare MB", "imports MB"):  # fmt: skip
        table.add_column(column, justify="left" if column in {"model", "engine"} else "right")
    updates = {key: each for key, each in found.items() if key[0] != "bare"}
    for (what, name), each in updates.items():
        fits = fits_s(each)
        table.add_row(
            name,
            what,
            str(len(each["fits"])),
            f"{fits:.2f}",
            f"{each['registered_s']:.2f}",
            f"{each['registered_s'] - fits:.2f}",
            f"{each['cpu_s'] - fits_s(each, 'cpu_s'):.2f}",
            f"{each['judging_s']:.2f}",
            f"{each['peak'] / 1e6:,.0f}",
            f"{found['bare', name]['peak'] / 1e6:,.0f}",
            f"{each['imports'] / 1e6:,.0f} / {found['bare', name]['imports'] / 1e6:,.0f}",
        )
    Console(width=130).print(table)
    for (what, name), each in updates.items():
        cheap(f"overhead.{name}_{what}", each["registered_s"], fits_s(each))
        cheap(f"overhead.{name}_{what}_processor", each["cpu_s"], fits_s(each, "cpu_s"))
        ratio = each["peak"] / found["bare", name]["peak"]
        figure(f"overhead.{name}_{what}_peak", ratio, f"<={MOST_PEAK}", ratio <= MOST_PEAK)


def cheap(name: str, all_s: float, of_fits_s: float) -> None:
    """Print what is left beside the fits, in seconds and as a share of them."""
    more_s = all_s - of_fits_s
    figure(f"{name}_s", more_s, f"<={FREE_S:g}or_{MOST_SHARE:.0%}({more_s / of_fits_s:.0%})",
           more_s <= max(MOST_SHARE * of_fits_s, FREE_S))  # fmt: skip


if __name__ == "__main__":
    main()
