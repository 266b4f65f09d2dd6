"""Rows built by hand, so that keys, times and blocks are what a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.ids import key_hash
from renewal.data.rows import NEVER_US, Rows

MakeRows = Callable[..., Rows]


@pytest.fixture
def make_rows() -> MakeRows:
    """Return a maker of labelled rows; each key names its own group unless groups are given."""

    def make(
        label: Sequence[Any] | None,
        *,
        keys: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        block: Sequence[int] | None = None,
        event_us: Sequence[int] | None = None,
        arrived_us: int | Sequence[int] = 0,
        n_rows: int | None = None,
    ) -> Rows:
        n = n_rows if label is None else len(label)
        assert n is not None
        key = np.array(keys or [f"row{at}" for at in range(n)], dtype=object)
        group = key if groups is None else groups
        event = np.arange(n) if event_us is None else np.asarray(event_us)
        labels = None
        if label is not None:
            labels = np.empty(n, dtype=object)
            labels[:] = list(label)
            if n and all(isinstance(each, float) for each in label):
                labels = labels.astype(np.float64)
        return Rows(
            features=pa.table({"x": np.arange(n, dtype=np.float64)}),
            key=key,
            key_hash=np.array([key_hash(each) for each in key], dtype=np.uint64),
            group_hash=np.array([key_hash(each) for each in group], dtype=np.uint64),
            sticky=None,
            event_us=event.astype(np.int64),
            arrived_us=np.broadcast_to(np.asarray(arrived_us, dtype=np.int64), (n,)),
            label=labels,
            label_arrived_us=np.full(n, NEVER_US if label is None else 0),
            block=np.asarray(np.arange(n) if block is None else block, dtype=np.int64),
        )

    return make
