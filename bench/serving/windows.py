"""Windows of several servers in turn, and how surely one is faster than another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.serving.load import Generator, Report
from bench.serving.process import Child

_GAP_S = 0.2
# Processor time is counted in these.
_TICK_S = 0.01
_CONFIDENCE = 0.95


@dataclass(slots=True)
class Side:
    """One of those that are compared.

    Parameters
    ----------
    name : str
        In tables.
    measure : callable
        From seconds to answers and the seconds in which they came.
    cpu_s : callable
        The processor seconds that it has used so far.
    """

    name: str
    measure: Callable[[float], tuple[float, float]]
    cpu_s: Callable[[], float]
    reports: list[Report] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    per_cpu: list[float] = field(default_factory=list)
    late_s: float = 0.0


def served(name: str, child: Child, load: Generator, requests: Sequence[bytes], n: int) -> Side:
    """Return a server under `n` connections as a side; a failed request ends the benchmark."""
    side = Side(name, lambda _seconds: (0.0, 0.0), child.cpu_s)

    def measure(seconds: float) -> tuple[float, float]:
        report = load.run(child.port, requests, connections=n, seconds=seconds)
        if report.n_failed or not report.rate:
            told = f"failures {report.failures()}, {report.n} answers in {seconds:g} s"
            raise SystemExit(f"{name} cannot be measured: {told}")
        side.reports.append(report)
        return report.rate * report.seconds, report.seconds

    side.measure = measure
    return side


def in_turn(sides: Sequence[Side], n_rounds: int, seconds: float) -> None:
    """Measure every side once a round, the order turning round.

    They share a core. What a side still computes while another is measured, such as the
    writing of its log, is charged to it: added to its own seconds, taken from the other's.
    """
    for at in range(n_rounds):
        order = list(sides) if at % 2 == 0 else list(reversed(sides))
        before = {side.name: side.cpu_s() for side in sides}
        own = dict.fromkeys(before, 0.0)
        found: dict[str, tuple[float, float]] = {}
        for side in order:
            start = {each.name: each.cpu_s() for each in sides}
            n, taken_s = side.measure(seconds)
            used = {each.name: each.cpu_s() - start[each.name] for each in sides}
            own[side.name] = used.pop(side.name)
            found[side.name] = (n, taken_s - sum(used.values()))
            side.raw.append(n / taken_s)
            time.sleep(_GAP_S)
        for side in sides:
            n, taken_s = found[side.name]
            late_s = max(side.cpu_s() - before[side.name] - own[side.name], 0.0)
            side.late_s += late_s
            side.rates.append(n / (taken_s + late_s))
            side.per_cpu.append(n / max(own[side.name] + late_s, _TICK_S))


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast one side is as another, with its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write it with its interval."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio_of(one: Sequence[float], other: Sequence[float]) -> Ratio:
    """Return the ratio of paired rates: the mean of its logarithm, with Student's interval.

    Examples
    --------
    >>> found = ratio_of([2.0, 2.0, 2.02], [1.0, 1.0, 1.0])
    >>> bool(found.low < 2.0 < found.high)
    True
    """
    logs: NDArray[np.float64] = np.log(np.asarray(one) / np.asarray(other))
    middle = float(logs.mean())
    half = 0.0
    if len(logs) > 1:
        error = float(logs.std(ddof=1)) / np.sqrt(len(logs))
        half = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, len(logs) - 1)) * error
    return Ratio(*(float(np.exp(each)) for each in (middle, middle - half, middle + half)))


def latency_line(reports: Sequence[Report]) -> str:
    """Say the median over windows of a server's latencies, and its largest."""
    columns: Mapping[str, list[float]] = {
        "p50": [each.p50_ms for each in reports],
        "p99": [each.p99_ms for each in reports],
        "p99.9": [each.p999_ms for each in reports],
    }
    parts = [f"{name} {np.median(values):.3f}" for name, values in columns.items()]
    return ", ".join([*parts, f"max {max(each.max_ms for each in reports):.1f} ms"])
