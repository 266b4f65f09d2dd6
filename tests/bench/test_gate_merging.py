"""Breaks when merged blocks still resemble each other, lose rows, or change the mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.gate.merging import block_length, merge_blocks
from renewal.core.errors import Invalid
from renewal.stats.anytime import log_t_e_values
from renewal.stats.paired import PRIOR_BLOCKS_LOOKING, paired_mean

Draw = Callable[[np.random.Generator, int, int, float], NDArray[np.float64]]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 1000)), min_size=1, max_size=60),
    st.integers(1, 70),
)
def test_merging_keeps_every_row_and_the_mean(blocks: list[tuple[float, int]], length: int) -> None:
    """Breaks when a rest is dropped or a block weighs by anything but its rows."""
    values, rows = np.array(blocks).T
    means, merged = merge_blocks(values, rows, length=length)
    assert means.size == merged.size == max(1, len(blocks) // length)
    assert merged.sum() == rows.sum()
    assert np.average(means, weights=merged) == pytest.approx(
        np.average(values, weights=rows), abs=1e-9
    )


def test_length_one_changes_nothing() -> None:
    values = [0.1, 0.4, -0.2]
    means, rows = merge_blocks(values, length=1)
    assert means.tolist() == values
    assert rows.tolist() == [1.0, 1.0, 1.0]


def test_a_rest_joins_the_last_run() -> None:
    means, rows = merge_blocks([1.0, 1.0, 4.0, 4.0, 7.0], length=2)
    assert means.tolist() == [1.0, 5.0]
    assert rows.tolist() == [2.0, 3.0]


def test_the_length_grows_with_what_neighbors_share(autoregressive: Draw) -> None:
    """200 series of 200 blocks each, seed 1; n / n_eff is 1, 1.9 and 3 in the limit."""
    rng = np.random.default_rng(1)
    found = [
        np.mean([block_length(x) for x in autoregressive(rng, 200, 200, rho)])
        for rho in (0.0, 0.3, 0.5)
    ]
    assert found[0] < 1.3
    assert 1.7 < found[1] < 2.5
    assert 2.7 < found[2] < 3.8


def test_it_is_never_shorter_than_the_label_delay() -> None:
    assert block_length(np.random.default_rng(2).normal(size=100), least=4) == 4
    assert block_length([0.3], least=2) == 2


def test_peeking_at_merged_blocks_keeps_the_level(autoregressive: Draw) -> None:
    """Neighbors correlate by 0.5, 90 blocks, 1,500 runs, seed 3.

    Without merging 21% err at 5%; 5% is measured over 3,000 runs, the tolerance 3 errors.
    """
    goal = math.log(20)
    plain, merged = [], []
    for x in autoregressive(np.random.default_rng(3), 1500, 90, 0.5):
        means, _ = merge_blocks(x, length=block_length(x))
        plain.append(log_t_e_values(x)[6:].max() >= goal)
        merged.append(log_t_e_values(means)[6:].max() >= goal)
    assert np.mean(plain) > 0.15
    assert np.mean(merged) < 0.05 + 3 * math.sqrt(0.05 / 1500)


def test_rows_weigh_in_the_length_as_in_the_paired_mean() -> None:
    values = np.random.default_rng(4).normal(size=50)
    rows = np.repeat([1, 500], 25)
    found = paired_mean(values, rows, prior_blocks=PRIOR_BLOCKS_LOOKING)
    assert block_length(values, rows) == round(50 / found.n_effective)


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_length_under_one_is_refused(wrong: int) -> None:
    with pytest.raises(Invalid, match="at least 1 block"):
        block_length([0.1, 0.2], least=wrong)
    with pytest.raises(Invalid, match="at least 1 block"):
        merge_blocks([0.1, 0.2], length=wrong)


def test_nan_and_weights_without_rows_are_refused() -> None:
    with pytest.raises(Invalid, match="1 of 2"):
        merge_blocks([0.1, math.nan], length=1)
    with pytest.raises(Invalid, match="positive weight"):
        merge_blocks([0.1, 0.2], [3, 0], length=1)
