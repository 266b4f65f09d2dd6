"""Series made of gains, as if two versions had been compared, and the looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sqlalchemy import insert

from renewal.core.verdict import Verdict
from renewal.data.rows import Rows
from renewal.evaluate.report import Report, Scored, evaluate
from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.judge import Evidence, Grant, judge
from renewal.gate.options import GateOptions
from renewal.models.task import Binary
from renewal.registry.db import Database
from renewal.registry.tables import models, versions

Gains = Sequence[float] | NDArray[np.float64]
MakeSeries = Callable[..., Series]
MakeReport = Callable[..., Report]
Look = Callable[..., Verdict]
DAY_US = 86_400_000_000
AT = datetime(2013, 3, 1, tzinfo=UTC)
CANDIDATE, BASELINE, OTHER = "c" * 64, "b" * 64, "d" * 64


@pytest.fixture(scope="session")
def make_series() -> MakeSeries:
    """Return a maker of series with given gains a block, days from `first` on.

    With `is_single` the blocks are single independent rows.
    """

    def make(
        gains: Gains,
        *,
        n_block_rows: int | Sequence[int] = 900,
        loss: float = 0.43,
        unit: str = "day",
        first: int = 0,
        metric: str = "log_loss",
        candidate: str = CANDIDATE,
        is_single: bool = False,
        reach: float = np.inf,
    ) -> Series:
        values = np.asarray(gains, dtype=np.float64)
        n = values.size
        rows = np.broadcast_to(np.asarray(n_block_rows, dtype=np.int64), (n,))
        gain = float(np.average(values, weights=rows)) if n else 0.0
        return Series(
            metric=metric,
            baseline=BASELINE,
            candidate=candidate,
            baseline_value=loss,
            candidate_value=loss - gain,
            unit=unit,
            blocks=np.arange(first, first + n),
            n_block_rows=rows,
            gains=values,
            from_us=first * DAY_US,
            until_us=(first + n) * DAY_US - 1,
            n_seen=3,
            has_groups=not is_single,
            is_ordered=not is_single,
            reach=reach,
        )

    return make


@pytest.fixture(scope="session")
def look() -> Look:
    """Return a look at series, one for each claim, at a level of 5% unless told otherwise."""

    def at(
        series: Series | Sequence[Series],
        options: GateOptions | None = None,
        *,
        is_first: bool = True,
        level: float = 0.05,
        **more: tuple[object, ...],
    ) -> Verdict:
        options = GateOptions() if options is None else options
        every = [series] if isinstance(series, Series) else list(series)
        evidence = [
            Evidence(proof, each, estimate_of(each))
            for proof, each in zip(options.proofs, every, strict=True)
        ]
        grant = Grant(level, 1)
        return judge(evidence, options, grant=grant, is_first=is_first, **more)  # type: ignore[arg-type]  # vetoes and notes

    return at


@pytest.fixture(scope="session")
def make_report() -> MakeReport:
    """Return a maker of reports on two binary versions, from labels and scores of class 1."""

    def make(
        labels: Sequence[int] | NDArray[np.int64],
        baseline: Gains,
        candidate: Gains,
        *,
        days: Sequence[int] | NDArray[np.int64] | None = None,
        groups: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> Report:
        n = len(labels)
        label = np.empty(n, dtype=object)
        label[:] = [int(each) for each in labels]
        at = np.arange(n, dtype=np.int64)
        event_us = at if days is None else np.asarray(days) * DAY_US + at
        group = at if groups is None else np.asarray(groups)
        rows = Rows(
            features=pa.table({"x": np.arange(n, dtype=np.float64)}),
            key=np.array([f"row{each}" for each in range(n)], dtype=object),
            key_hash=at.astype(np.uint64),
            group_hash=group.astype(np.uint64),
            sticky=None,
            event_us=event_us,
            arrived_us=event_us,
            label=label,
            label_arrived_us=event_us,
            block=group.astype(np.int64) + 10**15,
        )
        scored = [
            Scored(version_id, np.column_stack([1 - np.asarray(p), np.asarray(p)]), (0, 1), name)
            for version_id, p, name in ((BASELINE, baseline, "v1"), (CANDIDATE, candidate, "v2"))
        ]
        is_timed = days is not None
        return evaluate(
            Binary(), rows, scored, block_us=DAY_US if is_timed else None, is_timed=is_timed
        )

    return make


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Return a database with one model and three versions."""
    found = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    with found.transaction() as connection:
        connection.execute(insert(models).values(name="flights", spec={}, created_at=AT))
        for number, version_id in enumerate((BASELINE, CANDIDATE, OTHER), 1):
            connection.execute(
                insert(versions).values(
                    id=version_id,
                    model="flights",
                    number=number,
                    manifest={},
                    facts={},
                    created_at=AT,
                    created_by="test",
                )
            )
    yield found
    found.close()
