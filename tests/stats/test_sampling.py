"""Breaks when the rows that are asked for bias the comparison, or are not those asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from renewal.core.errors import Invalid
from renewal.stats.checked import Floats
from renewal.stats.paired import paired_mean
from renewal.stats.sampling import (
    draw,
    horvitz_thompson,
    inclusion_probabilities,
    labels_needed,
    weighted_block_means,
)

SIZES = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e6))


@settings(deadline=None)
@given(SIZES, st.integers(1, 30), st.floats(0.01, 1.0))
def test_chances_sum_to_the_labels_wanted(sizes: Floats, n_wanted: int, floor: float) -> None:
    chances = inclusion_probabilities(sizes, n_wanted, floor=floor)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert chances.sum() == pytest.approx(min(n_wanted, int((sizes > 0).sum())))
    assert ((chances > 0) == (sizes > 0)).all()
    order = np.argsort(sizes)
    assert (np.diff(chances[order]) >= -1e-12).all()


def test_chances_are_proportional_below_the_cap_and_above_the_floor() -> None:
    chances = inclusion_probabilities([1.0, 2.0, 3.0, 100.0], 2, floor=0.01)
    assert chances[3] == 1.0
    assert chances[:3] == pytest.approx(np.array([1.0, 2.0, 3.0]) / 6)
    tiny = inclusion_probabilities([1e-9, 1.0, 1.0, 1.0], 1, floor=0.1)
    assert tiny[0] == pytest.approx(0.075 / 3.075)


@settings(deadline=None)
@given(SIZES, st.integers(1, 30), st.integers(0, 99))
def test_as_many_rows_are_drawn_as_are_wanted(sizes: Floats, n_wanted: int, seed: int) -> None:
    chances = inclusion_probabilities(sizes, n_wanted)
    drawn = draw(chances, seed=seed)
    assert drawn.size == min(n_wanted, int((sizes > 0).sum()))
    assert np.unique(drawn).size == drawn.size
    assert set(np.flatnonzero(chances == 1.0)) <= set(drawn) <= set(np.flatnonzero(chances))


def test_each_row_is_drawn_with_its_chance() -> None:
    """4,000 draws, seeds 0 to 3,999; tolerance 4 standard errors for each of 30 rows."""
    sizes = np.random.default_rng(1).gamma(0.7, size=30)
    chances = inclusion_probabilities(sizes, 9)
    times = np.bincount(np.concatenate([draw(chances, seed=s) for s in range(4000)]), minlength=30)
    error = np.sqrt(chances * (1 - chances) / 4000)
    assert (np.abs(times / 4000 - chances) <= 4 * error + 1e-12).all()


def test_estimate_and_its_error_are_unbiased() -> None:
    """2,000 samples of 60 from 400 rows, seed 2.

    The mean within 4 standard errors, the variance within 12% (its own error is 3%, and the
    formula is an approximation), the 95% interval covers 92% to 97%.
    """
    rng = np.random.default_rng(2)
    sizes = np.where(rng.random(400) < 0.5, rng.gamma(2.0, size=400), 0.0)
    truth = sizes * rng.normal(0.2, 1.0, size=400)
    chances = inclusion_probabilities(sizes, 60)
    found = []
    for seed in range(2000):
        at = draw(chances, seed=seed)
        found.append(horvitz_thompson(truth[at], chances[at], 400))
    means = np.array([f.mean for f in found])
    errors = np.array([f.se_of_rows for f in found])
    assert means.mean() == pytest.approx(truth.mean(), abs=4 * means.std() / math.sqrt(2000))
    assert (errors**2).mean() == pytest.approx(means.var(), rel=0.12)
    covered = (np.abs(means - truth.mean()) <= 1.96 * errors).mean()
    assert 0.92 <= covered <= 0.97


def test_error_for_the_population_covers_the_true_gain() -> None:
    """A gain of 2 points at 10% disagreement, 1,000 rows, 60 labels; 1,000 trials, seed 3.

    The two-sided 95% interval must cover 92.5% to 97.5%; that of the rows alone does not.
    """
    rng = np.random.default_rng(3)
    covered = np.zeros(2)
    for seed in range(1000):
        truth = rng.choice([1.0, -1.0, 0.0], p=[0.06, 0.04, 0.9], size=1000)
        chances = inclusion_probabilities(np.abs(truth), 60)
        at = draw(chances, seed=seed)
        found = horvitz_thompson(truth[at], chances[at], 1000)
        off = abs(found.mean - 0.02)
        covered += off <= 1.96 * found.se, off <= 1.96 * found.se_of_rows
    assert 925 <= covered[0] <= 975
    assert covered[1] < 900


def test_labels_of_all_disagreeing_rows_give_the_full_answer() -> None:
    """With every row that matters labeled nothing is estimated any more."""
    truth = np.random.default_rng(4).choice([1.0, -1.0, 0.0], p=[0.03, 0.02, 0.95], size=3090)
    chances = inclusion_probabilities(np.abs(truth), 3090)
    at = draw(chances)
    found = horvitz_thompson(truth[at], chances[at], 3090)
    assert found.mean == pytest.approx(truth.mean(), abs=1e-15)
    assert found.se_of_rows == 0.0
    assert found.se == pytest.approx(truth.std() / math.sqrt(3090))
    assert at.size == np.count_nonzero(truth)


def test_block_means_are_unbiased_and_carry_the_sampling_error() -> None:
    """20 blocks, 1,500 samples of 120 labels out of about 400, seed 5.

    Block means within 4.5 standard errors each; the spread that `paired_mean` sees from one
    sample is at least what its mean varies by over samples.
    """
    rng = np.random.default_rng(5)
    block = rng.integers(20, size=1000)
    truth = np.where(rng.random(1000) < 0.4, rng.normal(0.1, 1.0, size=1000), 0.0)
    n_rows = np.bincount(block, minlength=20)
    exact = np.bincount(block, weights=truth, minlength=20) / n_rows
    chances = inclusion_probabilities(np.abs(truth), 120)
    means = np.empty((1500, 20))
    for seed in range(1500):
        at = draw(chances, seed=seed)
        means[seed] = weighted_block_means(truth[at], chances[at], block[at], n_rows)
    assert (np.abs(means.mean(0) - exact) <= 4.5 * means.std(0) / math.sqrt(1500) + 1e-12).all()
    spread = np.mean([paired_mean(m, n_rows).se for m in means[:200]])
    assert spread > (means @ n_rows / 1000).std()


def test_labels_saved_by_asking_only_where_versions_differ() -> None:
    assert labels_needed(3090, 0.05) == 155
    assert labels_needed(3100, 0.05) == 155
    assert labels_needed(0, 0.05) == 0


def test_what_is_refused_names_its_remedy() -> None:
    with pytest.raises(Invalid, match="sizes of at least 0"):
        inclusion_probabilities([-1.0, 1.0], 1)
    with pytest.raises(Invalid, match="at least one label"):
        inclusion_probabilities([1.0], 0)
    with pytest.raises(Invalid, match="chances between 0 and 1"):
        draw([0.5, 1.5])
    with pytest.raises(Invalid, match="its chance in"):
        horvitz_thompson([1.0], [0.0], 10)
    with pytest.raises(Invalid, match="as many rows in all"):
        horvitz_thompson([1.0, 1.0], [0.5, 0.5], 1)
    with pytest.raises(Invalid, match="position of a block"):
        weighted_block_means([1.0], [0.5], [2], [10, 10])
    one_uncertain = horvitz_thompson([1.0, 1.0], [0.5, 1.0], 10)
    assert math.isnan(one_uncertain.se_of_rows)
