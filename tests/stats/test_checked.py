"""Breaks when a NaN, an empty array or a weight that is none gets into a test."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.stats.checked import block_weights, check_share, finite_series


@pytest.mark.parametrize("bad", [[], [[1.0]], [1.0, np.nan], [np.inf]])
def test_only_flat_finite_numbers_pass(bad: list[float]) -> None:
    with pytest.raises(Invalid, match="demo needs"):
        finite_series(bad, who="demo")


def test_the_error_says_how_many_and_survives_pickling() -> None:
    with pytest.raises(Invalid, match="2 of 3 that are NaN") as caught:
        finite_series([1.0, np.nan, np.inf], who="demo")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # our own bytes


@pytest.mark.parametrize("bad", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, np.nan]])
def test_weights_are_positive_and_one_for_each_block(bad: list[float]) -> None:
    with pytest.raises(Invalid):
        block_weights(bad, 2, who="demo")


def test_weights_average_one() -> None:
    assert block_weights([1, 3], 2, who="demo").tolist() == [0.5, 1.5]
    assert block_weights(None, 2, who="demo").tolist() == [1.0, 1.0]


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, float("nan")])
def test_a_level_lies_strictly_within_0_and_1(bad: float) -> None:
    with pytest.raises(Invalid, match="alpha"):
        check_share(bad, who="demo", name="alpha")
