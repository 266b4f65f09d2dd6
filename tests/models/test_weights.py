"""What weights are taken, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.models.weights import checked_weights


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0], r"shape \(1,\)"),
        ([[1.0, 1.0]], r"shape \(1, 2\)"),
        ([1.0, np.nan], "1 of 2"),
        ([np.inf, -np.inf], "2 of 2"),
        ([1.0, 0.0], "1 of 2"),
        ([1.0, -1.0], "1 of 2"),
    ],
)
def test_what_is_no_weight_is_refused(weights: object, said: str) -> None:
    """Broken by a weight that a library would take, and learn the contrary of the row."""
    with pytest.raises(Invalid, match=said):
        checked_weights(weights, 2, who="test")


def test_whole_numbers_are_weights() -> None:
    """Broken by a float that is not contiguous, or a dtype that a library does not take."""
    found = checked_weights(np.array([[1, 2], [3, 4]])[:, 1], 2, who="test")
    assert found.dtype == np.float64
    assert found.flags["C_CONTIGUOUS"]
    assert found.tolist() == [2.0, 4.0]
