"""What the prediction log costs: two servers on one core, one with and one without it, in turn.

Single rows in JSON at 32 connections, as in ``throughput``. What the log writes and seals while
the other server is measured is charged to the one that logs. The part also counts what was
logged, so that a log that is quick because it drops is seen.

Run it as ``python -m bench.serving.log_cost``; ``--quick`` takes fewer and shorter windows.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import renewal
from bench.figure import figure
from bench.serving.homes import MODELS, input_dtype, make_home, write_policy
from bench.serving.load import Generator, generator
from bench.serving.process import Child
from bench.serving.requests import rows, v2_json
from bench.serving.throughput import FULL, N_CONNECTIONS, QUICK, Size, ours
from bench.serving.versions import tell_machine
from bench.serving.windows import Side, in_turn, latency_line, ratio_of, served
from renewal.data.segment import read_segments

MOST = 0.1
_N_REQUESTS = 64


def run(quick: bool) -> None:  # noqa: FBT001  # the one switch of every part
    """Measure both models and print the figures."""
    size = QUICK if quick else FULL
    tell_machine()
    with TemporaryDirectory(prefix="renewal-bench-") as name, generator() as load:
        if load is None:
            return
        logging, silent = Path(name) / "logging", Path(name) / "silent"
        write_policy(logging)
        graphs = make_home(logging, MODELS, size.n_trees, size.n_rows)
        for model, graph in graphs.items():
            shutil.rmtree(silent, ignore_errors=True)
            shutil.copytree(logging, silent)
            write_policy(silent, log_sample=0.0)
            before = logged(logging, model)
            with ours(logging) as child, ours(silent) as other:
                side = _measure(load, model, input_dtype(graph), (child, other), size)
            # Stopped by now: everything is written.
            n_asked = sum(each.n for each in side.reports)
            n_logged = logged(logging, model) - before
            print(f"  logged {n_logged:,} rows of at least {n_asked:,} answers")
            figure(f"log.rows.{model}", n_logged, f">={n_asked}", n_logged >= n_asked)
            print(f"  logged without a log: {logged(silent, model) - before:,}")


def logged(root: Path, model: str) -> int:
    """Return how many predictions the feed of a model holds, and the segments beside it."""
    with renewal.open(root) as home:
        n_waiting = sum(each.predictions.num_rows for each in read_segments(home.segments(model)))
        return int(n_waiting) + home.feed(model).n_predictions()


def _measure(
    load: Generator, model: str, dtype: str, servers: tuple[Child, Child], size: Size
) -> Side:
    requests = [v2_json(model, each) for each in rows(_N_REQUESTS, dtype=dtype)]
    names = ("with log", "without")
    sides = [
        served(name, child, load, requests, N_CONNECTIONS)
        for name, child in zip(names, servers, strict=True)
    ]
    for side in sides:
        side.measure(size.seconds / 2)
        del side.reports[:]
    in_turn(sides, size.n_rounds, size.seconds)
    found = ratio_of(sides[0].rates, sides[1].rates)
    print(
        f"{model}: {N_CONNECTIONS} connections, {size.n_rounds} windows of {size.seconds:g} s each"
    )
    for side in sides:
        print(
            f"  {side.name:8} {np.mean(side.raw):9,.0f}/s raw,"
            f" {np.mean(side.rates):9,.0f}/s charged,"
            f" {np.mean(side.per_cpu):9,.0f} a second of its processor time"
            f" ({side.late_s:.2f} s while the other was measured); {latency_line(side.reports)}"
        )
    per_cpu = ratio_of(sides[0].per_cpu, sides[1].per_cpu)
    print(f"  by processor time, which a busy machine disturbs less: it leaves {per_cpu}")
    print(f"log.cost.{model}: the log leaves {found} of the throughput, 95% interval over windows")
    figure(f"log.cost.{model}", 1.0 - found.value, f"<={MOST:g}", 1.0 - found.value <= MOST)
    return sides[0]


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
