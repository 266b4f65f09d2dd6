"""Batches of 100 rows in binary form, beside the runtime's own ``run()`` on the same batch.

Three take turns on one core: ours under several connections, ``run()`` in a loop, and an echo
that reads as many bytes and answers as many, on the stripped handler's HTTP server: what HTTP
alone leaves of that core. No server can do better than the last two one after the other.

Run it as ``python -m bench.serving.batches``; ``--quick`` takes fewer and shorter windows,
``--profile`` shows where the time of our server's loop goes instead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.serving.cores import SERVER, child_words
from bench.serving.homes import MODELS, input_dtype, make_home, write_policy
from bench.serving.load import Generator, generator
from bench.serving.process import ONE_THREAD, ROOT, Child, end, family_cpu_s
from bench.serving.profiled import profile
from bench.serving.requests import rows, v2_binary
from bench.serving.throughput import FULL, QUICK, Size, ours, stripped, tell_ratio
from bench.serving.versions import tell_machine
from bench.serving.windows import Side, in_turn, latency_line, ratio_of, served

TARGET = 0.7
N_ROWS = 100
_N_CONNECTIONS = 8
_N_REQUESTS = 16
_N_ANSWER_BYTES = 3000


def run(quick: bool, *, is_profiled: bool = False) -> None:  # noqa: FBT001  # the one switch of every part
    """Measure both models and print the figures."""
    size = QUICK if quick else FULL
    tell_machine()
    with TemporaryDirectory(prefix="renewal-bench-") as name, generator() as load:
        if load is None:
            return
        root = Path(name) / "home"
        write_policy(root)
        for model, graph in make_home(root, MODELS, size.n_trees, size.n_rows).items():
            if is_profiled:
                batches = rows(_N_REQUESTS, N_ROWS, input_dtype(graph))
                requests = [v2_binary(model, each) for each in batches]
                profile(load, root, requests, size.seconds, n=_N_CONNECTIONS)
                continue
            path = Path(name) / f"{model}.onnx"
            path.write_bytes(graph)
            echo_words = ("--n-bytes", str(_N_ANSWER_BYTES))
            # As it is served, and, to see what the log costs, without one.
            for label, share in ((model, 1.0), (f"{model}.no_log", 0.0)):
                write_policy(root, log_sample=share)
                with (
                    ours(root) as child,
                    stripped(None, *echo_words) as echo,
                    bare(path) as run_side,
                ):
                    found = (child, echo), (run_side, size)
                    _measure(load, (model, label), input_dtype(graph), *found)


@contextmanager
def bare(graph: Path) -> Iterator[Side]:
    """Return the runtime's own ``run()`` on the server's core, as a side."""
    words = [sys.executable, "-m", "bench.serving.bare", str(graph), str(N_ROWS)]
    process = subprocess.Popen(
        child_words(words, core=SERVER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, told = process.stdin, process.stdout

    def measure(seconds: float) -> tuple[float, float]:
        asked.write(f"{seconds}\n".encode())
        asked.flush()
        n, taken_s = told.readline().split()
        return float(n), float(taken_s)

    try:
        told.readline()
        yield Side("run()", measure, lambda: family_cpu_s(process.pid))
    finally:
        end(process)
        asked.close()
        told.close()


def _measure(
    load: Generator,
    names: tuple[str, str],
    dtype: str,
    servers: tuple[Child, Child],
    beside: tuple[Side, Size],
) -> None:
    model, label = names
    batches = rows(_N_REQUESTS, N_ROWS, dtype)
    requests = [v2_binary(model, each) for each in batches]
    run_side, size = beside
    mine, echo = (
        served(name, child, load, requests, _N_CONNECTIONS)
        for name, child in zip(("ours", "echo"), servers, strict=True)
    )
    mine.measure(size.seconds / 2)
    mine.reports.clear()
    sides = [mine, run_side, echo]
    in_turn(sides, size.n_rounds, size.seconds)
    print(
        f"{label}: {N_ROWS} rows of {dtype} in {len(requests[0]):,} bytes,"
        f" {_N_CONNECTIONS} connections,"
        f" {size.n_rounds} windows of {size.seconds:g} s each, in turn"
    )
    for side in sides:
        print(
            f"  {side.name:6} {np.mean(side.rates):9,.0f} batches/s charged,"
            f" {np.mean(side.per_cpu):9,.0f} a second of its processor time",
            end="",
        )
        print(f"; {latency_line(side.reports)}" if side.reports else "")
    best = [
        1 / (1 / one + 1 / other) for one, other in zip(run_side.rates, echo.rates, strict=True)
    ]
    print(f"  HTTP alone and then run(): at most {ratio_of(best, run_side.rates)} of run();")
    tell_ratio(f"batches.{label}.of_reachable", ratio_of(mine.rates, best), TARGET)
    per_cpu = ratio_of(mine.per_cpu, run_side.per_cpu)
    print(f"  by processor time, which a busy machine disturbs less: ratio {per_cpu}")
    tell_ratio(f"batches.{label}", ratio_of(mine.rates, run_side.rates), TARGET)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    asked = parser.parse_args()
    run(asked.quick, is_profiled=asked.profile)


if __name__ == "__main__":
    main()
