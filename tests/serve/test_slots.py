"""Slots and leases: what is let go of, when, and never under a request."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.errors import NotFound, Unavailable
from renewal.core.plan import Arm, Plan
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.core.version import Manifest, Version
from renewal.models.task import Binary
from renewal.serve.counted import Counted
from renewal.serve.slots import Generation, Loaded, Slot


class Closable:
    """A runtime that knows whether it is closed."""

    def __init__(self) -> None:
        self.n_closed = 0

    def predict(self, features: pa.Table) -> np.ndarray[Any, Any]:
        """Answer, unless it is closed."""
        assert self.n_closed == 0, "predicted after close"
        return np.full((features.num_rows, 2), 0.5)

    def close(self) -> None:
        """Count it."""
        self.n_closed += 1


def loaded(number: int) -> tuple[Loaded, Closable]:
    runtime = Closable()
    signature = Signature((Field("a", "float"),))
    manifest = Manifest("m", "binary", "sklearn", "0" * 64, 1, signature, (0, 1), "train")
    version = Version(f"id{number}", number, manifest, {}, datetime.now(UTC), "test")
    return Loaded(version, Binary(), runtime), runtime


def generation(seq: int, *each: Loaded) -> Generation:
    arms = tuple(Arm(one.version.name, one.version.id, 1 / len(each)) for one in each)
    return Generation(seq, Plan("m", "steady", arms), {one.version.id: one for one in each})


def test_the_old_runtime_closes_only_after_its_last_lease() -> None:
    (old, old_runtime), (new, new_runtime) = loaded(1), loaded(2)
    slot = Slot(ModelSpec("m", "binary", "late"))
    slot.flip(generation(1, old))
    first, second = slot.enter(), slot.enter()
    slot.flip(generation(2, new))
    assert slot.enter().seq == 2
    first.leave()
    assert old_runtime.n_closed == 0
    second.leave()
    assert (old_runtime.n_closed, new_runtime.n_closed) == (1, 0)


def test_a_version_shared_by_two_generations_lives_on() -> None:
    (kept, kept_runtime), (added, _) = loaded(1), loaded(2)
    slot = Slot(ModelSpec("m", "binary", "late"))
    slot.flip(generation(1, kept))
    assert kept.share()
    slot.flip(generation(2, kept, added))
    assert kept_runtime.n_closed == 0
    slot.flip(None)
    assert kept_runtime.n_closed == 1


def test_an_empty_slot_says_why() -> None:
    slot = Slot(ModelSpec("m", "binary", "late"), failure="the object is truncated")
    with pytest.raises(Unavailable, match="truncated"):
        slot.enter()


def test_a_lease_ends_with_an_error_too() -> None:
    one, runtime = loaded(1)
    slot = Slot(ModelSpec("m", "binary", "late"))
    slot.flip(generation(1, one))

    def fail() -> None:
        with slot.lease():
            slot.flip(None)
            assert runtime.n_closed == 0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert runtime.n_closed == 1


@pytest.mark.parametrize("text", ["1", "v1"])
def test_a_loaded_version_is_found_by_its_number(text: str) -> None:
    assert generation(1, loaded(1)[0]).named(text).version.number == 1


@pytest.mark.parametrize("text", ["2", "", "v", "latest", "-1", "1.0", "9" * 5000, "\u0661"])
def test_any_other_version_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="v1"):
        generation(1, loaded(1)[0]).named(text)


def test_nobody_enters_what_is_gone() -> None:
    gone: list[int] = []
    thing = Counted(lambda: gone.append(1))
    thing.leave()
    assert not thing.enter()
    assert gone == [1]


def test_readers_never_meet_a_closed_runtime_while_generations_flip() -> None:
    """Four readers against 400 flips; a missing count closes a runtime under a reader."""
    slot = Slot(ModelSpec("m", "binary", "late"))
    first, runtime = loaded(0)
    slot.flip(generation(0, first))
    runtimes = [runtime]
    errors: list[BaseException] = []
    is_over = threading.Event()
    row = pa.table({"a": [1.0]})

    def read() -> None:
        try:
            while not is_over.is_set():
                with slot.lease() as found:
                    found.first.runtime.predict(row)
        except BaseException as error:  # noqa: BLE001  # handed to the test below
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 400):
        one, runtime = loaded(number)
        runtimes.append(runtime)
        slot.flip(generation(number, one))
    is_over.set()
    for reader in readers:
        reader.join()
    assert not errors
    slot.flip(None)
    assert [each.n_closed for each in runtimes] == [1] * 400
