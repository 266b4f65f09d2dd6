"""Breaks when a hiccup of the machine vetoes a version, or a slow one passes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats

from renewal.evaluate.cost import (
    Cost,
    LatencyRatio,
    _tails,
    latency_ratio,
    measure_costs,
    memory_of,
)

Floats = NDArray[np.float64]
TABLE = pa.table({"x": np.arange(200.0)})


class Sleeping:
    """A runtime that takes its time, and remembers what it was asked."""

    def __init__(self, seconds: float = 0.0, *, fails_at: int | None = None) -> None:
        self.seconds = seconds
        self.fails_at = fails_at
        self.asked: list[list[float]] = []

    def predict(self, features: pa.Table) -> Floats:
        """Sleep, then answer with zeros."""
        self.asked.append(features["x"].to_pylist())
        if self.fails_at is not None and len(self.asked) > self.fails_at:
            message = "out of memory"
            raise MemoryError(message)
        time.sleep(self.seconds)
        return np.zeros((features.num_rows, 1))

    def close(self) -> None:
        """Nothing to let go of."""


def test_tails_are_those_of_the_binomial() -> None:
    for n, share in ((1, 0.5), (60, 0.99), (700, 0.99), (2000, 0.5)):
        at_least, below = _tails(n, share)
        k = np.arange(1, n + 1)
        assert at_least == pytest.approx(stats.binom.sf(k - 1, n, share), rel=1e-9, abs=1e-300)
        assert below == pytest.approx(stats.binom.cdf(k - 1, n, share), rel=1e-9, abs=1e-300)


def test_a_slower_version_is_shown_to_be_slower() -> None:
    """Sleeps of 0.3 and 1 ms; what a busy machine adds hits both."""
    runtimes = {"fast": Sleeping(0.0003), "slow": Sleeping(0.001)}
    found = measure_costs(runtimes, TABLE, n_single=120, n_batch=30, artifact_bytes={"fast": 7})
    ratio = latency_ratio(found["fast"], found["slow"], quantile=0.5)
    assert ratio.value > 1.3
    assert ratio.lower(0.05) > 1.1
    assert ratio.p_value(1.1) < 0.05
    back = latency_ratio(found["slow"], found["fast"], quantile=0.5)
    assert back.p_value(1.0) > 0.5
    assert (found["fast"].artifact_bytes, found["slow"].artifact_bytes) == (7, None)
    assert found["slow"].latency_ms_p50_1 >= 1.0
    assert found["slow"].latency_ms_p99_64 >= found["slow"].latency_ms_p50_64 >= 1.0


def test_all_versions_get_the_same_rows_of_both_sizes() -> None:
    runtimes = {"a": Sleeping(), "b": Sleeping()}
    measure_costs(runtimes, TABLE, n_single=15, n_batch=5)
    one, other = (each.asked for each in runtimes.values())
    assert one == other
    sizes = [len(rows) for rows in one]
    assert sizes == [1] * (10 + 15) + [64] * (10 + 5)
    assert len({tuple(rows) for rows in one[:25]}) > 15
    assert len(set(one[-1])) == 64


def gamma_calls(seed: int, n: int, factor: float = 1.0) -> tuple[Floats, Floats]:
    draws = np.sort(np.random.default_rng(seed).gamma(4.0, size=(2, n)), axis=1)
    return draws[0], factor * draws[1]


@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_equal_versions_are_called_slower_at_most_alpha_of_the_time(quantile: float) -> None:
    """1,000 looks at 700 calls of skewed latency; both bounds are exact, together cautious."""
    shown = [LatencyRatio(*gamma_calls(at, 700), quantile).p_value(1.0) for at in range(1000)]
    assert np.mean(np.array(shown) <= 0.05) <= 0.05


@pytest.mark.parametrize(("quantile", "factor"), [(0.5, 1.4), (0.99, 2.5)])
def test_a_ratio_that_matters_is_found(quantile: float, factor: float) -> None:
    shown = [
        LatencyRatio(*gamma_calls(at, 700, factor), quantile).p_value(1.1) <= 0.05
        for at in range(200)
    ]
    assert np.mean(shown) > 0.8


def test_the_bound_is_above_a_limit_exactly_where_the_p_value_is_small() -> None:
    for seed in range(100):
        ratio = LatencyRatio(*gamma_calls(seed, 400, 1.3), 0.5)
        for alpha in (0.01, 0.05, 0.3):
            bound = ratio.lower(alpha)
            assert ratio.p_value(bound * 0.999) <= alpha
            assert ratio.p_value(bound * 1.001) > alpha


def test_sixty_calls_tell_nothing_about_the_slowest_hundredth() -> None:
    ratio = LatencyRatio(*gamma_calls(0, 60, 10.0), 0.99)
    assert ratio.lower(0.05) == 0.0
    assert ratio.p_value(1.0) > 0.5
    assert LatencyRatio(*gamma_calls(0, 400, 10.0), 0.99).lower(0.05) > 1.0


def test_a_version_that_raises_ends_its_own_calls_only() -> None:
    runtimes = {"steady": Sleeping(), "broken": Sleeping(fails_at=15)}
    found = measure_costs(runtimes, TABLE, n_single=20, n_batch=5)
    assert found["broken"].failed == "MemoryError: out of memory"
    assert len(found["broken"].single_ms) == 5
    assert len(found["broken"].batch_ms) == 0
    assert math.isnan(found["broken"].latency_ms_p50_64)
    assert len(found["steady"].batch_ms) == 5
    assert latency_ratio(found["steady"], found["broken"], is_batch=True).p_value(1.0) == 1.0


def test_time_that_is_over_ends_the_calls() -> None:
    """A version of 50 ms a call would take 38 s; the limit leaves one round of each size."""
    began = time.perf_counter()
    found = measure_costs({"slow": Sleeping(0.05)}, TABLE, limit_s=0.001)
    assert time.perf_counter() - began < 2.0
    assert len(found["slow"].single_ms) == len(found["slow"].batch_ms) == 1


def test_no_rows_and_no_calls_are_an_answer() -> None:
    for table, n_calls in ((TABLE.slice(0, 0), 20), (TABLE, 0)):
        found = measure_costs({"a": Sleeping()}, table, n_single=n_calls, n_batch=n_calls)["a"]
        assert math.isnan(found.latency_ms_p50_1)
        ratio = latency_ratio(found, found)
        assert math.isnan(ratio.value)
        assert (ratio.lower(0.05), ratio.p_value(1.0)) == (0.0, 1.0)


def test_few_rows_are_drawn_again() -> None:
    runtime = Sleeping()
    measure_costs({"a": runtime}, TABLE.slice(0, 3), n_single=1, n_batch=1)
    assert len(runtime.asked[-1]) == 64


def test_memory_is_what_stays_after_loading() -> None:
    found = memory_of(partial(os.urandom, 50_000_000))
    assert found.failed is None
    assert found.n_bytes is not None
    assert 49_000_000 < found.n_bytes < 60_000_000


def test_what_loading_prints_is_not_the_answer() -> None:
    found = memory_of(partial(print, '{"n_bytes": 77}', flush=True))
    assert found.failed is None
    assert found.n_bytes is not None
    assert found.n_bytes != 77


def test_the_script_that_asks_is_not_run_again(tmp_path: Path) -> None:
    """Breaks with multiprocessing's spawn: a script without a main guard would update twice."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom functools import partial\n"
        "from renewal.evaluate.cost import memory_of\n"
        "print('ran')\nprint(memory_of(partial(os.urandom, 10**7)).n_bytes > 9e6)\n",
        encoding="utf-8",
    )
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["ran", "True"]


@pytest.mark.parametrize(
    ("load", "limit_s", "why"),
    [
        (partial(int, "x"), 30.0, "ValueError: invalid literal"),
        (partial(os._exit, 3), 30.0, "its process ended with status 3"),
        (partial(time.sleep, 60), 0.5, "not loaded after 0.5 s"),
        (lambda: 1, 30.0, "pickle"),
    ],
)
def test_loading_that_fails_is_an_answer(load: Callable[[], Any], limit_s: float, why: str) -> None:
    began = time.perf_counter()
    found = memory_of(load, limit_s=limit_s)
    assert found.n_bytes is None
    assert why in str(found.failed)
    assert time.perf_counter() - began < 15.0


def test_a_cost_without_calls_is_a_record() -> None:
    empty = Cost(single_ms=np.zeros(0), batch_ms=np.zeros(0), memory_bytes=3)
    assert math.isnan(empty.latency_ms_p99_1)
    assert empty.memory_bytes == 3
