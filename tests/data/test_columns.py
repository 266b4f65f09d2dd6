"""Hashes and the order of writing."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.ids import key_hash
from renewal.data.columns import hash_keys, hashes, instants, int64s, write_order


def test_hashes_survive_the_signed_column_of_the_table() -> None:
    """Breaks when the upper half of 64 bits is cut or clipped."""
    keys = [f"key {n}" for n in range(100)]
    unsigned = hash_keys(keys)
    assert unsigned.tolist() == [key_hash(key) for key in keys]
    assert unsigned.max() > 2**63
    assert np.array_equal(hashes(pa.array(unsigned.view(np.int64))), unsigned)


def test_instants_are_exact() -> None:
    us = np.array([-1, 0, 1_357_000_000_123_456])
    assert int64s(instants(us)).tolist() == us.tolist()


def test_the_order_of_writing_rises_even_when_the_clock_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = write_order(1_000)
    monkeypatch.setattr("renewal.data.columns.time.time_ns", lambda: 5)
    orders = np.concatenate([before, write_order(3), write_order(1)])
    assert (np.diff(orders) > 0).all()


def test_threads_never_share_a_number() -> None:
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.extend(write_order(5) for _ in range(200)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(np.unique(np.concatenate(found))) == 4 * 200 * 5
