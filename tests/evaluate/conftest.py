"""Rows built by hand, and random ones on which metrics differ where they can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.ids import key_hash
from renewal.data.rows import NEVER_US, Rows
from renewal.models.multilabel import Multilabel, sets_of

MakeRows = Callable[..., Rows]
Case = Callable[..., tuple[Any, ...]]
SIZES = (1, 2, 3, 30, 130, 400, 2000)


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


@pytest.fixture(scope="session")
def binary_case() -> Case:
    """Return a maker of truth, scores and labels of classes 0 and 1; one may be missing."""

    def make(seed: int) -> tuple[Any, ...]:
        rng = np.random.default_rng(seed)
        n = int(rng.choice(SIZES))
        truth = (rng.random(n) < rng.choice([0.0, 0.05, 0.5, 1.0])).astype(np.int64)
        positive = np.round(rng.random(n), int(rng.choice([0, 1, 2, 9])))
        if rng.random() < 0.1:
            positive[:] = positive[0]
        return truth, np.column_stack([1 - positive, positive]), truth.astype(object)

    return make


@pytest.fixture(scope="session")
def multiclass_case() -> Case:
    """Return a maker of truth, scores, labels and names; a class may be missing in either."""

    def make(seed: int, n_classes: int) -> tuple[Any, ...]:
        rng = np.random.default_rng(seed)
        n = int(rng.choice(SIZES))
        names = tuple(f"class{at:02}" for at in range(n_classes))
        truth = np.array(names)[rng.integers(0, rng.integers(1, n_classes + 1), n)]
        scores = rng.dirichlet(np.full(n_classes, rng.choice([0.1, 1.0])), size=n)
        if rng.random() < 0.1:
            scores[:] = scores[0]
        return truth, scores, truth.astype(object), names

    return make


@pytest.fixture(scope="session")
def sets_case() -> Case:
    """Return a maker of an indicator, scores, labels and names; labels may be everywhere."""

    def make(seed: int, n_labels: int) -> tuple[Any, ...]:
        rng = np.random.default_rng(seed)
        n = int(rng.choice(SIZES))
        names = tuple(f"label{at:02}" for at in range(n_labels))
        shares = rng.choice([0.0, 0.2, 0.5, 1.0], n_labels)
        truth = (rng.random((n, n_labels)) < shares).astype(np.int64)
        scores = np.round(rng.random((n, n_labels)), int(rng.choice([0, 1, 9])))
        scores *= rng.choice([0.3, 1.0], n_labels, p=[0.1, 0.9])
        return truth, scores, Multilabel().labels(sets_of(truth, names), who="test"), names

    return make
