"""Batching: together where nothing changes, alone where something would, and never for nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.errors import Invalid, Unavailable
from renewal.core.spec import Field, Signature
from renewal.models.task import Scores
from renewal.serve.batcher import Batcher, Work
from renewal.serve.features import Features

SIGNATURE = Signature((Field("x", "float"), Field("y", "float")))


def rows(*values: float) -> Features:
    return Features(SIGNATURE, matrix=np.array([[each, -each] for each in values]))


class Version:
    """Scores a row by its values; can be slow, can refuse, and notes what it was asked."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate: threading.Event | None = None
        self.has_come = threading.Event()
        self.bias_of_company = 0.0

    def predict(self, features: Features) -> Scores:
        """Return the double of x; refuse a negative x."""
        self.sizes.append(features.n_rows)
        self.has_come.set()
        if self.gate is not None:
            assert self.gate.wait(20)
        matrix = features.matrix
        assert matrix is not None
        if (matrix[:, 0] < 0).any():
            raise Invalid("demo", needs="x of at least 0", came="less", todo="Send more.")
        bias = self.bias_of_company if features.n_rows > 1 else 0.0
        return matrix[:, :1] * 2 + bias


class Bench:
    """A batcher on a running loop, and what came of its works."""

    def __init__(self, version: Version, **options: Any) -> None:
        self.version = version
        self.batcher = Batcher("v1 of model 'm'", version.predict, **options)
        self.came: dict[int, Any] = {}
        self.pool = ThreadPoolExecutor(1)

    def put(self, name: int, features: Features, due_s: float = 30.0) -> Work:
        """Queue rows; their answer is kept under a name."""
        work = Work(features, lambda came: self.came.setdefault(name, came), _in(due_s))
        self.batcher.put(work, asyncio.get_running_loop(), self.pool)
        return work

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until something holds."""
        until_s = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until_s
            await asyncio.sleep(0.002)


def _in(seconds: float) -> float:
    return time.monotonic() + seconds


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@settings(deadline=None, max_examples=60)
@given(
    requests=st.lists(
        st.lists(st.floats(-2, 1e6), min_size=1, max_size=5), min_size=1, max_size=20
    ),
    max_rows=st.integers(1, 12),
    can_batch=st.booleans(),
    is_local=st.booleans(),
)
def test_a_request_gets_in_company_what_it_gets_alone(
    *, requests: list[list[float]], max_rows: int, can_batch: bool, is_local: bool
) -> None:
    """Breaks when a row gets another's scores, or pays for another's refusal."""

    async def check() -> None:
        bench = Bench(Version(), max_batch_rows=max_rows, is_local=is_local)
        bench.batcher.warmed(1e-6, can_batch=can_batch)
        for name, values in enumerate(requests):
            bench.put(name, rows(*values))
        await bench.until(lambda: len(bench.came) == len(requests))
        for name, values in enumerate(requests):
            came = bench.came[name]
            if min(values) < 0:
                assert isinstance(came, Invalid)
            else:
                assert came[:, 0].tolist() == [each * 2 for each in values]
        assert bench.batcher.n_rows_waiting == 0
        largest = max(map(len, requests))
        assert max(bench.version.sizes) <= max(max_rows, largest)
        bench.pool.shutdown()

    run(check())


def test_what_arrives_in_one_turn_of_the_loop_is_one_batch() -> None:
    async def check() -> None:
        bench = Bench(Version(), is_local=True)
        bench.batcher.warmed(1e-6, can_batch=True)
        bench.batcher.stats.n_batches = 1  # the first of 256 is checked by a row alone
        for name in range(10):
            bench.put(name, rows(name))
        await bench.until(lambda: len(bench.came) == 10)
        assert bench.version.sizes == [10]

    run(check())


def test_a_version_that_scores_otherwise_in_company_is_never_batched_again() -> None:
    """Breaks when the check of one batch in 256 is left out, or its answers are handed out."""

    async def check() -> None:
        version = Version()
        version.bias_of_company = 1e-9
        bench = Bench(version, is_local=True)
        bench.batcher.warmed(1e-6, can_batch=True)
        for name in range(5):
            bench.put(name, rows(name))
        await bench.until(lambda: len(bench.came) == 5)
        assert [bench.came[name][0, 0] for name in range(5)] == [0, 2, 4, 6, 8]
        assert not bench.batcher.can_batch

    run(check())


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def check() -> None:
        version = Version()
        version.gate = threading.Event()
        bench = Bench(version, max_queue_rows=4)
        bench.put(0, rows(0))
        await bench.until(version.has_come.is_set)
        for name in (1, 2):
            bench.put(name, rows(1, 2))
        with pytest.raises(Unavailable) as caught:
            bench.put(3, rows(3))
        assert caught.value.fields["reason"] == "full"
        assert caught.value.fields["retry_after_s"] > 0
        version.gate.set()
        await bench.until(lambda: len(bench.came) == 3)
        bench.put(3, rows(3))
        await bench.until(lambda: len(bench.came) == 4)
        bench.pool.shutdown()

    run(check())


def test_a_request_larger_than_the_queue_fits_an_empty_one() -> None:
    async def check() -> None:
        bench = Bench(Version(), max_queue_rows=2, max_batch_rows=2)
        bench.put(0, rows(1, 2, 3, 4))
        await bench.until(lambda: len(bench.came) == 1)
        assert bench.came[0][:, 0].tolist() == [2, 4, 6, 8]
        bench.pool.shutdown()

    run(check())


def test_a_deadline_is_kept_while_the_version_hangs() -> None:
    """Breaks when only the head of the queue is looked at, or when nothing wakes."""

    async def check() -> None:
        version = Version()
        version.gate = threading.Event()
        bench = Bench(version)
        bench.put(0, rows(0), due_s=0.05)
        bench.put(1, rows(1), due_s=0.05)
        bench.put(2, rows(2))
        await bench.until(lambda: len(bench.came) == 2)
        for name in (0, 1):
            assert bench.came[name].fields["reason"] == "late"
        version.gate.set()
        await bench.until(lambda: 2 in bench.came)
        assert bench.came[2][0, 0] == 4.0
        assert len(bench.came) == 3
        bench.pool.shutdown()

    run(check())


def test_what_is_cancelled_leaves_the_batch() -> None:
    async def check() -> None:
        version = Version()
        version.gate = threading.Event()
        bench = Bench(version)
        bench.batcher.warmed(1.0, can_batch=True)
        bench.put(0, rows(0))
        await bench.until(version.has_come.is_set)
        gone = bench.put(1, rows(1, 1, 1))
        bench.put(2, rows(2))
        gone.cancel()
        version.gate.set()
        await bench.until(lambda: 2 in bench.came)
        assert 1 not in bench.came
        assert version.sizes == [1, 1]
        assert bench.batcher.n_rows_waiting == 0
        bench.pool.shutdown()

    run(check())


def test_what_is_abandoned_is_answered_with_the_error_at_once() -> None:
    """A drain that takes too long: also what runs is answered, and a late answer harms nobody."""

    async def check() -> None:
        version = Version()
        version.gate = threading.Event()
        bench = Bench(version)
        bench.put(0, rows(0))
        await bench.until(version.has_come.is_set)
        bench.put(1, rows(1))
        error = Unavailable("demo", needs="time", came="none", todo="Wait.")
        threading.Thread(target=bench.batcher.abandon, args=(error,)).start()
        await bench.until(lambda: len(bench.came) == 2)
        assert bench.came == {0: error, 1: error}
        version.gate.set()
        bench.put(2, rows(2))
        await bench.until(lambda: 2 in bench.came)
        assert bench.came[0] is error
        bench.pool.shutdown()

    run(check())
