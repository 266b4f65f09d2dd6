"""Reports made of gains, as if two versions had been compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from renewal.evaluate.report import Measured, Report

MakeReport = Callable[..., Report]


@pytest.fixture
def make_report() -> MakeReport:
    """Return a maker of reports with given gains a block."""

    def make(
        gains: Sequence[float] | NDArray[np.float64],
        *,
        n_block_rows: int | Sequence[int] = 900,
        loss: float = 0.43,
        unit: str = "day",
    ) -> Report:
        values = np.asarray(gains, dtype=np.float64)
        n = values.size
        rows = np.broadcast_to(np.asarray(n_block_rows, dtype=np.int64), (n,))
        gain = float(np.average(values, weights=rows))
        return Report(
            baseline=Measured("b" * 64, {"auc": 0.7}, loss),
            candidate=Measured("c" * 64, {"auc": 0.8}, loss - gain),
            loss="log_loss",
            blocks=np.arange(n),
            n_block_rows=rows,
            gains=values,
            n_rows=int(rows.sum()),
            n_seen=3,
            judged_from_us=1_000,
            judged_until_us=2_000,
            unit=unit,
        )

    return make
