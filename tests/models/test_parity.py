"""How two forms of a version are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.errors import Invalid
from renewal.models.parity import Parity, parity


class Fixed:
    def __init__(self, scores: list[list[float]]) -> None:
        self.scores = np.array(scores)

    def predict(self, features: pa.Table) -> Any:
        return self.scores[: features.num_rows]

    def close(self) -> None: ...


def test_labels_ties_and_gaps_of_one_side() -> None:
    """Broken by a NaN that compares as close, or rows of another shape that broadcast."""
    nan, inf = float("nan"), float("inf")
    two, none = pa.table({"a": [1.0, 2.0]}), pa.table({"a": pa.array([], pa.float64())})
    one = Fixed([[0.25, 0.75], [nan, nan]])
    assert parity(one, Fixed([[0.75, 0.25], [nan, nan]]), two) == Parity(2, 1, 0, 0.5, 1)
    assert parity(one, Fixed([[0.25, 0.75], [0.5, 0.5]]), two) == Parity(2, 0, 0, inf, 1)
    assert parity(one, one, none) == Parity(0, 0, 0, 0.0)
    tied = parity(Fixed([[0.5, 0.5], [0.5, 0.5]]), Fixed([[0.4, 0.6], [0.5, 0.5]]), two)
    assert (tied.n_labels_differ, tied.n_ties_differ) == (1, 1)
    with pytest.raises(Invalid, match="one shape"):
        parity(one, Fixed([[0.5], [0.5]]), two)
