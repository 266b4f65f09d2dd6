"""The shadow's queue: bounded, never in the way, and it lets go of what it holds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.plan import Arm, Plan
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.core.version import Manifest, Version
from renewal.models.task import Binary
from renewal.serve.served import Served
from renewal.serve.shadow import Shadow, ShadowJob, rows_not_answered_by
from renewal.serve.slots import Generation, Loaded

SPEC = ModelSpec("flights", "binary", "late")
Make = Callable[..., Served]


class Gated:
    """A runtime that answers when it is let, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.gate = threading.Event()
        self.is_closed = False
        self._fails = fails

    def predict(self, features: pa.Table) -> np.ndarray[Any, Any]:
        """Answer when the gate opens."""
        self.gate.wait(10)
        if self._fails:
            raise ZeroDivisionError
        return np.full((features.num_rows, 2), 0.5)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


def generation(runtime: Gated) -> Generation:
    signature = Signature((Field("x", "float"),))
    manifest = Manifest("flights", "binary", "sklearn", "0" * 64, 1, signature, (0, 1), "train")
    version = Version("shadowed", 2, manifest, {}, datetime.now(UTC), "test")
    plan = Plan("flights", "shadow", (Arm("champion", "answers", 1.0),), ("shadowed",))
    answering = Version("answers", 1, manifest, {}, datetime.now(UTC), "test")
    loaded = {
        "answers": Loaded(answering, Binary(), Gated()),
        "shadowed": Loaded(version, Binary(), runtime),
    }
    return Generation(1, plan, loaded)


@pytest.fixture
def logged() -> list[Served]:
    return []


@pytest.fixture
def shadow(logged: list[Served]) -> Shadow:
    return Shadow(lambda _, served: logged.append(served), max_rows=5)


def job(gen: Generation, served: Served) -> ShadowJob:
    assert gen.enter()
    return ShadowJob(SPEC, gen, served)


def test_a_slow_shadow_drops_what_does_not_fit_and_never_blocks(
    shadow: Shadow, served: Make, logged: list[Served]
) -> None:
    runtime = Gated()
    gen = generation(runtime)
    shadow.start()
    taken = [shadow.offer(job(gen, served(f"A{i}", n_rows=2))) for i in range(10)]
    assert 2 <= taken.count(True) <= 3  # one may have left the queue already
    assert shadow.stats()["n_rows_dropped"] == 2 * taken.count(False)
    runtime.gate.set()
    assert shadow.drain(10)
    assert len(logged) == taken.count(True)
    shadow.close(1)
    gen.leave()
    assert runtime.is_closed


def test_a_job_larger_than_the_queue_fits_an_empty_one(
    shadow: Shadow, served: Make, logged: list[Served]
) -> None:
    runtime = Gated()
    runtime.gate.set()
    assert shadow.offer(job(generation(runtime), served("A", n_rows=50)))
    shadow.start()
    assert shadow.drain(10)
    assert logged[0].n_rows == 50
    shadow.close(1)


def test_a_failing_shadow_is_logged_as_failed_and_lets_go(
    shadow: Shadow, served: Make, logged: list[Served]
) -> None:
    runtime = Gated(fails=True)
    runtime.gate.set()
    gen = generation(runtime)
    shadow.start()
    shadow.offer(job(gen, served("A")))
    shadow.offer(job(gen, served("B")))
    assert shadow.drain(10)
    assert [each.parts[0].scores for each in logged] == [None, None]
    assert all(each.is_shadow for each in logged)
    assert shadow.stats()["n_failed"] == 2
    shadow.close(1)
    gen.leave()
    assert runtime.is_closed


def test_a_log_that_fails_does_not_end_the_shadow(served: Make) -> None:
    calls: list[str] = []

    def broken(_: ModelSpec, entry: Served) -> None:
        calls.append(entry.prediction_id)
        raise ZeroDivisionError

    shadow = Shadow(broken, max_rows=5)
    runtime = Gated()
    runtime.gate.set()
    gen = generation(runtime)
    shadow.start()
    for name in ("A", "B"):
        shadow.offer(job(gen, served(name)))
    assert shadow.drain(10)
    assert calls == ["A", "B"]
    shadow.close(1)


def test_closing_drops_what_waits_and_leaves_its_leases(shadow: Shadow, served: Make) -> None:
    """Never started: as a thread that hangs in a prediction."""
    runtime = Gated()
    gen = generation(runtime)
    shadow.offer(job(gen, served("A", n_rows=2)))
    assert not shadow.drain(0.01)
    shadow.close(0.01)
    assert not shadow.offer(job(gen, served("B", n_rows=3)))
    assert shadow.stats()["n_rows_dropped"] == 5
    gen.leave()
    assert runtime.is_closed


def test_only_rows_of_others_are_shadowed(served: Make) -> None:
    both = served("A", n_rows=4, split=("shadowed", "answers"))
    assert rows_not_answered_by(both, "shadowed").tolist() == [1, 3]
    assert rows_not_answered_by(both, "answers").tolist() == [0, 2]
    assert rows_not_answered_by(served("B", split=("shadowed",)), "shadowed").tolist() == []
