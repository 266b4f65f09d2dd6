"""From the call of a rollback to the last answer of the bad version, over two workers.

A process of its own promotes a version and, when all workers answer with it, takes it back
through the registry, again and again, under a constant rate. What counts is the time from the
call of the rollback to the last answer that any client got of the version that was taken back.

Run it as ``python -m bench.serving.rollback``; ``--quick`` takes it back twice.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.figure import figure
from bench.serving.answers import followed
from bench.serving.homes import add_large, write_policy
from bench.serving.load import generator
from bench.serving.mover import BACK, Move, start_mover
from bench.serving.process import family_of
from bench.serving.requests import rows, v2_json
from bench.serving.swaps import MARK, MODEL
from bench.serving.throughput import ours
from bench.serving.versions import tell_machine

LONGEST_MS = 100.0
N_WORKERS = 2
_RATE = 1500.0
_EVERY_S = 2.5
_N_BYTES = 1_000_000
_N_REQUESTS = 64


def run(quick: bool) -> None:  # noqa: FBT001  # the one switch of every part
    """Measure and print the figure."""
    n_times, rate = (2, 200.0) if quick else (20, _RATE)
    tell_machine()
    with TemporaryDirectory(prefix="renewal-bench-") as name, generator() as load:
        if load is None:
            return
        root = Path(name) / "home"
        write_policy(root, workers=N_WORKERS)
        add_large(root, {MODEL: [_N_BYTES] * 2})
        requests = [v2_json(MODEL, each) for each in rows(_N_REQUESTS)]
        with ours(root) as child:
            n_processes = len(family_of(child.process.pid))
            mover = start_mover(root)
            try:
                running = load.start(
                    child.port,
                    requests,
                    connections=64,
                    seconds=2 + 2 * n_times * _EVERY_S,
                    rate=rate,
                    mark=MARK,
                    is_recorded=True,
                )
                start_s = time.monotonic() + 1.0
                mover.make(
                    [
                        Move(start_s + at * _EVERY_S, MODEL, BACK if at % 2 else "v2")
                        for at in range(2 * n_times)
                    ]
                )
                report = running.report()
                moves = mover.made()
            finally:
                mover.stop()
    found = [each for each in followed(report, moves) if each.move.is_back]
    times = np.array([each.last_s for each in found]) * 1e3
    took = np.array([each.move.returned_s - each.move.called_s for each in found]) * 1e3
    print(
        f"rollback: {len(found)} times, {N_WORKERS} workers in {n_processes} processes,"
        f" {rate:,.0f}/s over 64 connections, {report.n:,} answers, failed: {report.failures()}"
    )
    print(
        f"  call to last answer of the bad version: {np.median(times):.1f} ms at the median,"
        f" {times.max():.1f} at most; the call itself took {np.median(took):.1f} and"
        f" {took.max():.1f} ms; the generator was late by {report.lag_ms:.1f} ms at most"
    )
    n_followed = sum(not math.isnan(each.first_s) for each in followed(report, moves))
    figure("rollback.followed", n_followed, len(moves), n_followed == len(moves))
    figure("rollback.failed", report.n_failed, 0, report.n_failed == 0)
    figure("rollback.ms", float(times.max()), f"<{LONGEST_MS:g}", bool(times.max() < LONGEST_MS))


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="take it back twice")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
