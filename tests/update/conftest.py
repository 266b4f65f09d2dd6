"""Rows and parents for the tests of strategies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from renewal.data.rows import Rows
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Binary
from renewal.testing.updating import make_parent, snapshot
from renewal.update.contract import Parent
from renewal.update.tuning import Bench

ParentOf = Callable[..., Parent]


@pytest.fixture(scope="session")
def timed() -> Rows:
    """Return 1,200 rows, 20 on each of 60 days; a tenth waits for its label."""
    return snapshot("timed", "binary")


@pytest.fixture(scope="session")
def timeless() -> Rows:
    """Return 1,200 rows in groups of 4, without event time."""
    return snapshot("timeless", "binary")


@pytest.fixture(scope="session")
def values() -> Rows:
    """Return 1,200 timed rows with numbers as labels."""
    return snapshot("timed", "regression")


@pytest.fixture
def parent_of() -> ParentOf:
    """Fit a parent on the first rows; `known=False` forgets which they were."""

    def make(
        estimator: Any,
        rows: Rows,
        n_seen: int = 400,
        *,
        known: bool = True,
        task: str | None = None,
    ) -> Parent:
        is_classes = rows.label is not None and rows.label.dtype == object
        task = task or ("binary" if is_classes else "regression")
        parent = make_parent(estimator, task, rows.take(np.arange(n_seen)))
        return parent if known else replace(parent, keyset=None)

    return make


@pytest.fixture
def bench_of() -> Callable[..., Bench]:
    """Make a bench of the first 800 labelled rows, judged on the rest."""

    def make(rows: Rows, recipe: Any, **changed: Any) -> Bench:
        labelled = rows.labelled()
        fit, watched = labelled.take(np.arange(800)), labelled.take(np.arange(800, len(labelled)))
        made = Bench(
            adapter=SklearnAdapter(),
            recipe=recipe,
            task=Binary(),
            features=fit.features,
            labels=np.array(fit.label),
            weights=None,
            watched_features=watched.features,
            watched_labels=np.array(watched.label),
            correction=None,
            seed=1,
        )
        return replace(made, **changed)

    return make
