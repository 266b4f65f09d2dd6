"""Breaks when batches change an answer, or a runtime may answer with other rows than asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.evaluate.score import score

MakeRows = Callable[..., Rows]


@dataclass
class Doubling:
    """A runtime that doubles its input, or leaves out the last `short` rows."""

    short: int = 0
    batches: list[int] = field(default_factory=list)

    def predict(self, features: pa.Table) -> NDArray[np.float64]:
        """Return twice the first column."""
        self.batches.append(features.num_rows)
        doubled = 2.0 * features.column("x").to_numpy()[:, None]
        return np.asarray(doubled[: features.num_rows - self.short])

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.mark.parametrize(
    ("batch", "batches"), [(4, [4, 4, 2]), (10, [10]), (100, [10]), (1, [1] * 10)]
)
def test_every_row_is_scored_once_and_in_order(
    make_rows: MakeRows, batch: int, batches: list[int]
) -> None:
    runtime = Doubling()
    found = score(runtime, make_rows(None, n_rows=10), batch)
    assert found.tolist() == [[2.0 * at] for at in range(10)]
    assert runtime.batches == batches


def test_a_runtime_that_loses_rows_is_found_out(make_rows: MakeRows) -> None:
    with pytest.raises(Invalid, match=r"shape \(9, 1\)"):
        score(Doubling(short=1), make_rows(None, n_rows=10))


def test_no_row_is_refused(make_rows: MakeRows) -> None:
    with pytest.raises(Invalid, match="at least one row"):
        score(Doubling(), make_rows(None, n_rows=0))
