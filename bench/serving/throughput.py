"""Single rows in JSON at 32 connections: ours, everything on, beside a stripped handler.

Both servers are bound to one core and run at the same time; the generator has the other core.
They are measured in turn, in windows of seconds. Ours is `renewal serve` as anybody starts it:
plan, lease, prediction log with sealing, metrics. The handler is `bench.serving.stripped`.

Run it as ``python -m bench.serving.throughput``; ``--quick`` takes fewer and shorter windows,
``--profile`` shows where the time of our server's loop goes instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.figure import figure
from bench.serving.homes import MODELS, input_dtype, make_home, write_policy
from bench.serving.load import Generator, generator
from bench.serving.process import Child, free_port, renewal_words, started
from bench.serving.profiled import profile
from bench.serving.requests import rows, v2_body, v2_json
from bench.serving.versions import tell_machine
from bench.serving.windows import Ratio, in_turn, latency_line, ratio_of, served

TARGET = 0.6
N_CONNECTIONS = 32
_N_REQUESTS = 64


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    n_rounds: int
    seconds: float
    n_trees: int = 100
    n_rows: int = 5000


FULL, QUICK = Size(8, 6.0), Size(2, 1.0, 5, 600)


def run(
    quick: bool,  # noqa: FBT001  # the one switch of every part
    *,
    is_profiled: bool = False,
    models: Sequence[str] = MODELS,
    size: Size | None = None,
) -> None:
    """Measure both models and print the figures."""
    size = size or (QUICK if quick else FULL)
    tell_machine()
    with TemporaryDirectory(prefix="renewal-bench-") as name, generator() as load:
        if load is None:
            return
        root = Path(name) / "home"
        write_policy(root)
        graphs = make_home(root, models, size.n_trees, size.n_rows)
        if is_profiled:
            for model in graphs:
                profile(load, root, _requests(model, "float64"), size.seconds)
            return
        for model, graph in graphs.items():
            path = Path(name) / f"{model}.onnx"
            path.write_bytes(graph)
            with ours(root) as child, stripped(path) as other:
                _measure(load, model, graph, (child, other), size)


@contextmanager
def ours(root: Path, *words: str) -> Iterator[Child]:
    """Run `renewal serve` on a home."""
    port = free_port()
    given = renewal_words("serve", "--home", str(root), "--port", str(port), *words)
    with started(given, port) as child:
        yield child


@contextmanager
def stripped(graph: Path | None, *words: str) -> Iterator[Child]:
    """Run the stripped handler on a graph; without one, the echo."""
    port = free_port()
    given = [sys.executable, "-m", "bench.serving.stripped", "--port", str(port), *words]
    given += ["--graph", str(graph)] if graph is not None else []
    with started(given, port, ready="/") as child:
        yield child


def _requests(model: str, dtype: str) -> list[bytes]:
    return [v2_json(model, each) for each in rows(_N_REQUESTS, dtype=dtype)]


def _measure(
    load: Generator, model: str, graph: bytes, servers: tuple[Child, Child], size: Size
) -> None:
    requests = _requests(model, input_dtype(graph))
    _demand_same(model, input_dtype(graph), servers)
    for child in servers:
        load.run(child.port, requests, connections=N_CONNECTIONS, seconds=size.seconds / 2)
    n_windows = f"{size.n_rounds} windows of {size.seconds:g} s each, in turn"
    names = ("ours", "stripped")
    pairs = zip(names, servers, strict=True)
    sides = [served(name, child, load, requests, N_CONNECTIONS) for name, child in pairs]
    in_turn(sides, size.n_rounds, size.seconds)
    found = ratio_of(sides[0].rates, sides[1].rates)
    print(f"{model}: {N_CONNECTIONS} connections, {n_windows}")
    for side in sides:
        n = sum(each.n for each in side.reports)
        print(
            f"  {side.name:9} {np.mean(side.raw):9,.0f}/s raw,"
            f" {np.mean(side.rates):9,.0f}/s charged,"
            f" {np.mean(side.per_cpu):9,.0f} a second of its processor time"
            f" ({side.late_s:.2f} s of work while the other was measured); {n:,} answers, 0 failed"
        )
        print(f"            {latency_line(side.reports)}")
    per_cpu = ratio_of(sides[0].per_cpu, sides[1].per_cpu)
    print(f"  by processor time, which a busy machine disturbs less: ratio {per_cpu}")
    tell_ratio(f"throughput.{model}", found, TARGET)
    alone = [
        served(name, child, load, requests, 1) for name, child in zip(names, servers, strict=True)
    ]
    in_turn(alone, max(size.n_rounds // 2, 2), size.seconds / 2)
    print(f"{model}: one connection")
    for side in alone:
        print(f"  {side.name:9} {np.mean(side.raw):9,.0f}/s; {latency_line(side.reports)}")


def _demand_same(model: str, dtype: str, servers: tuple[Child, Child]) -> None:
    """End the benchmark where the two do not answer the same chances."""
    for values in rows(4, dtype=dtype):
        one, other = (_chances(child.port, model, v2_body(values)) for child in servers)
        if not np.allclose(one, other, rtol=1e-6, atol=1e-6):
            raise SystemExit(f"{model}: ours answers {one}, the stripped handler {other}")


def _chances(port: int, model: str, body: bytes) -> list[float]:
    url = f"http://127.0.0.1:{port}/v2/models/{model}/infer"
    with urllib.request.urlopen(url, body, timeout=30) as answer:
        outputs = json.loads(answer.read())["outputs"]
    (found,) = (each["data"] for each in outputs if each["name"] == "probability")
    return list(map(float, found))


def tell_ratio(name: str, found: Ratio, target: float) -> None:
    """Print a ratio with its interval, and its figure."""
    print(f"{name}: ratio {found}, 95% interval over windows")
    figure(name, found.value, f">={target:g}", found.value >= target)


def main(words: Sequence[str] | None = None) -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    asked = parser.parse_args(words)
    run(asked.quick, is_profiled=asked.profile)


if __name__ == "__main__":
    main()
