"""Breaks when the test of two AUCs differs from its oracle, or errs more often than it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.delong import auc_block_values, paired_delong
from renewal.stats.paired import paired_mean

# 113 patients after a subarachnoid hemorrhage (Turck et al. 2010, Intensive Care Medicine 36):
# poor outcome, WFNS grade, and the blood levels of S100b and NDKA.
# One digit a patient: 1 for a poor outcome; the grade.
_OUTCOMES = (
    "00001101001011001011101000000000100110110000000001100010001010011101101111000110"
    "100000010000000000001111110001000"
)
_GRADES = (
    "11113254125255125225211112121134214541425511241125521251222151125214524414121421"
    "232421451154221113125225552445111"
)
_S100B = """
0.13 0.14 0.1 0.04 0.13 0.1 0.47 0.16 0.18 0.1 0.12 0.1 0.44 0.71 0.04 0.08 0.49 0.04 0.07
0.33 0.09 0.09 0.07 0.11 0.07 0.17 0.07 0.11 0.13 0.19 0.05 0.16 0.41 0.14 0.34 0.35 0.48 0.09
0.96 0.25 0.5 0.46 0.16 0.07 0.43 0.45 0.11 0.08 0.09 0.86 0.52 0.08 0.06 0.13 2.07 0.1 0.14
0.15 0.07 0.06 0.77 0.05 0.09 0.3 0.03 0.09 0.04 0.23 0.7 0.09 0.27 0.71 0.08 0.26 0.08 0.16
0.09 0.13 0.1 0.08 0.11 0.33 0.11 0.28 0.07 0.1 0.32 0.22 0.07 0.05 0.24 0.38 0.1 0.15 0.08
0.14 0.1 0.07 0.04 0.19 0.56 0.14 0.58 0.32 0.82 0.74 0.15 0.47 0.17 0.44 0.15 0.5 0.48
"""
_NDKA = """
3.01 8.54 8.09 10.42 17.4 12.75 6 13.2 15.54 6.01 15.96 17.86 5.18 8.9 13.41 20.75 11.6 16.11
32.37 54.82 32.41 49.94 40.34 9.47 6.29 12.53 6.54 6.3 80.3 12.8 9.8 9.81 9.85 18.21 5.03
14.04 21.93 8.02 7.42 8.38 6.59 9.63 13.12 7.96 14.34 41.43 7.63 7.06 12.59 13.56 3.87 9.44
7.66 12.98 419.19 27.19 22.27 9.95 21.22 11.73 10.4 58.83 6.39 11.09 12.22 13.67 17.21 22.63
12.9 9.7 21.57 8.23 72.57 15.54 10.51 10.6 14.57 5.19 9.63 4.61 21.48 17.3 12.71 9.44 11.07
19.46 10.83 5.37 11.97 7.75 9.83 10.55 28.49 8.53 12.57 12.9 46.83 11.68 12.67 9.01 9.57 34.06
11.72 14.26 47.61 11.67 24.58 10.33 13.87 15.89 22.43 6.79 13.45
"""
IS_POOR = np.array(list(_OUTCOMES), dtype=np.float64)
WFNS = np.array(list(_GRADES), dtype=np.float64)
S100B = np.array(_S100B.split(), dtype=np.float64)
NDKA = np.array(_NDKA.split(), dtype=np.float64)

ALPHA = 0.05
Rows = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]


def test_area_and_z_are_those_of_proc() -> None:
    """Oracle: pROC on the same patients; the two-sided p-value and interval follow from Z."""
    found = paired_delong(IS_POOR, S100B, WFNS)
    assert found.auc_candidate == pytest.approx(0.823678861788618, abs=1e-14)
    assert found.auc_baseline == pytest.approx(0.731368563685637, abs=1e-14)
    z = found.difference / found.se
    assert z == pytest.approx(2.20898359144091, rel=1e-12)
    assert 2 * special.ndtr(-z) == pytest.approx(0.0271757822291882, rel=1e-11)
    reach = special.ndtri(0.975) * found.se
    assert found.difference - reach == pytest.approx(0.0104061769564846, rel=1e-11)
    assert found.difference + reach == pytest.approx(0.174214419249478, rel=1e-11)


def test_the_second_pair_of_proc() -> None:
    found = paired_delong(IS_POOR, NDKA, WFNS)
    z = found.difference / found.se
    assert z == pytest.approx(2.79777591868904, rel=1e-12)
    assert 2 * special.ndtr(-z) == pytest.approx(0.00514557970691098, rel=1e-10)


def test_bounds_use_students_t_of_the_rarer_class() -> None:
    """41 poor outcomes: a normal quantile would err more often than alpha."""
    found = paired_delong(IS_POOR, S100B, WFNS)
    assert (found.n_blocks, found.n_decisive) == (113, 41)
    assert found.lower(0.025) == pytest.approx(
        found.difference + special.stdtrit(40, 0.025) * found.se
    )
    assert found.p_value(found.lower(ALPHA)) == pytest.approx(ALPHA, rel=1e-9)


def test_area_is_the_share_of_pairs_in_order_with_ties_half() -> None:
    rng = np.random.default_rng(1)
    truth, score = rng.random(60) < 0.4, rng.integers(5, size=60)
    above, below = score[truth][:, None], score[~truth][None, :]
    pairs = ((above > below) + 0.5 * (above == below)).mean()
    assert paired_delong(truth, score, score).auc_candidate == pytest.approx(pairs, abs=1e-14)


def test_block_error_is_that_of_obuchowski() -> None:
    """By the formulas of the paper, written with loops over clusters."""
    rng = np.random.default_rng(2)
    truth, block = rng.random(90) < 0.4, rng.integers(12, size=90)
    one, two = rng.normal(size=90) + truth, rng.normal(size=90) + truth

    def components(score: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        wins = (score[truth][:, None] > score[~truth][None, :]).astype(float)
        return wins.mean(axis=1), wins.mean(axis=0)

    v = components(two)[0] - components(one)[0]
    w = components(two)[1] - components(one)[1]
    m, n, change = v.size, w.size, v.mean()
    a = [sum(v[block[truth] == b] - change) for b in range(12)]
    c = [sum(w[block[~truth] == b] - change) for b in range(12)]
    k10, k01 = len(set(block[truth])), len(set(block[~truth]))
    s10 = k10 / ((k10 - 1) * m) * sum(x * x for x in a)
    s01 = k01 / ((k01 - 1) * n) * sum(y * y for y in c)
    s11 = 12 / 11 * sum(x * y for x, y in zip(a, c, strict=True))
    expected = math.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n))
    assert paired_delong(truth, one, two, block).se == pytest.approx(expected, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_order_of_rows_and_scale_of_scores_do_not_matter(seed: int, n_blocks: int) -> None:
    rng = np.random.default_rng(seed)
    truth, block = np.arange(40) % 2 == 0, rng.integers(n_blocks, size=40)
    one, two = rng.normal(size=40), rng.normal(size=40)
    plain = paired_delong(truth, one, two, block)
    at = rng.permutation(40)
    moved = paired_delong(truth[at], 3 * one[at] - 1, np.exp(two[at]), 7 * block[at] + 2)
    assert moved.se == pytest.approx(plain.se, rel=1e-9, nan_ok=True)
    swapped = paired_delong(truth, two, one, block)
    assert swapped.lower(ALPHA) == pytest.approx(-plain.upper(ALPHA), nan_ok=True)


def test_block_values_average_to_the_difference_and_give_its_error() -> None:
    rng = np.random.default_rng(3)
    truth, block = np.arange(300) % 3 == 0, np.arange(300) // 15
    one, two = rng.normal(size=300) + truth, rng.normal(size=300) + truth
    found = paired_delong(truth, one, two, block)
    values = auc_block_values(truth, one, two, block)
    assert values.mean() == pytest.approx(found.difference, abs=1e-14)
    # Every block holds both classes here, so the three factors of the formula are one.
    assert values.std(ddof=1) / math.sqrt(20) == pytest.approx(found.se, rel=1e-12)


def clustered(rng: np.random.Generator, n_blocks: int, n_rows: int) -> Rows:
    """Two equal versions whose errors are shared by the rows of a block."""
    block = np.repeat(np.arange(n_blocks), n_rows)
    truth = rng.random(block.size) < 0.3
    common = 0.7 * rng.normal(size=block.size) + 0.8 * truth

    def scores() -> NDArray[np.float64]:
        of_block = 0.4 * rng.normal(size=n_blocks)[block] * np.where(truth, 1, -1)
        noise = 0.6 * rng.normal(size=block.size)
        return np.asarray(common + of_block + noise, dtype=np.float64)

    return truth, scores(), scores()


@pytest.mark.parametrize("n_blocks", [14, 30])
def test_equal_versions_are_called_better_at_most_alpha_of_the_time(n_blocks: int) -> None:
    """Blocks of 20 rows, 1,000 looks, seed 4; tolerance 3 standard errors (one run in 700)."""
    rng = np.random.default_rng(4)
    block = np.repeat(np.arange(n_blocks), 20)
    by_block = by_row = by_value = 0
    for _ in range(1000):
        truth, one, two = clustered(rng, n_blocks, 20)
        by_block += paired_delong(truth, one, two, block).lower(ALPHA) > 0
        by_row += paired_delong(truth, one, two).lower(ALPHA) > 0
        by_value += paired_mean(auc_block_values(truth, one, two, block)).lower(ALPHA) > 0
    most = 1000 * (ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 1000))
    assert by_value <= most
    assert 1000 * ALPHA / 3 < by_block <= most
    assert by_row > 2 * most  # what taking rows as independent would do


def test_few_positives_keep_the_level() -> None:
    """10 positives, 300 negatives, 2,000 looks, seed 5; tolerance 3 standard errors."""
    rng = np.random.default_rng(5)
    truth, wrong = np.arange(310) < 10, 0
    for _ in range(2000):
        common = rng.normal(size=310) + truth
        one, two = common + rng.normal(size=310), common + rng.normal(size=310)
        wrong += paired_delong(truth, one, two).lower(ALPHA) > 0
    assert wrong / 2000 <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 2000)


def test_the_same_order_is_not_taken_for_certainty() -> None:
    """A rescaled copy, or two perfect versions, could still differ elsewhere: rule of three."""
    truth = np.arange(600) % 2 == 0
    score = np.random.default_rng(6).normal(size=600) + truth
    for one, two in ((score, np.exp(score)), (truth * 1.0, truth * 2.0)):
        found = paired_delong(truth, one, two)
        assert (found.difference, found.se) == (0.0, 0.0)
        assert found.upper(ALPHA) == pytest.approx(1 - ALPHA ** (1 / 300)) == -found.lower(ALPHA)
        assert found.p_value() == 1.0
        assert found.p_value(found.lower(ALPHA)) == pytest.approx(ALPHA)
        assert found.p_value(-1.5) == 0.0


def test_where_the_rows_cannot_tell_nothing_passes() -> None:
    """One class; one block that holds positives; constant scores against perfect ones."""
    truth = np.arange(40) % 2 == 0
    noise = np.random.default_rng(7).normal(size=40)
    for case in (
        paired_delong(np.ones(40), noise, -noise),
        paired_delong(truth, noise, -noise, np.where(truth, 0, np.arange(40))),
        paired_delong(truth, np.zeros(40), truth),
    ):
        assert math.isnan(case.lower(ALPHA))
        assert math.isnan(case.upper(ALPHA))
        assert case.p_value(-0.9) == 1.0
    assert np.isnan(auc_block_values(np.ones(40), noise, noise, np.arange(40))).all()


def test_a_perfect_candidate_is_still_bounded_by_the_errors_of_the_baseline() -> None:
    truth = np.arange(200) % 2 == 0
    live = truth + np.random.default_rng(8).normal(size=200)
    found = paired_delong(truth, live, truth)
    assert found.auc_candidate == 1.0
    assert 0.1 < found.lower(ALPHA) < found.difference < found.upper(ALPHA)


def test_what_is_refused_names_its_remedy() -> None:
    with pytest.raises(Invalid, match="one label and two scores a row"):
        paired_delong([1, 0], [0.1, 0.2], [0.3])
    with pytest.raises(Invalid, match="true or false"):
        paired_delong([1, 2], [0.1, 0.2], [0.3, 0.1])
    with pytest.raises(Invalid, match="one block for each of 2 rows"):
        paired_delong([1, 0], [0.1, 0.2], [0.3, 0.1], [0])
    with pytest.raises(Invalid, match="finite"):
        paired_delong([1, 0], [0.1, math.nan], [0.3, 0.1])
