"""Breaks when discordant rows are counted wrongly, or when looking often costs error."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from renewal.core.errors import Invalid
from renewal.stats.mcnemar import (
    discordant_rows_needed,
    log_mcnemar_e_values,
    mcnemar,
    mcnemar_e_value,
)

ALPHA = 0.05
GOAL = math.log(1 / ALPHA)
COUNTS = st.integers(0, 400)


@pytest.mark.parametrize(
    ("b", "c", "exact", "mid_p", "chi2"),
    [
        (121, 59, 4.4344492637551645e-06, 3.2666468e-06, 21.355556),
        (25, 10, 0.016673847800120715, 0.011330984183587134, 6.428571),
        (150, 86, 3.715936e-05, None, 17.355932),
    ],
)
def test_two_sided_it_is_the_test_of_statsmodels(
    b: int, c: int, exact: float, mid_p: float | None, chi2: float
) -> None:
    """Values computed with statsmodels; the first exact one is also in its documentation."""
    found = mcnemar(b, c, method="exact", alternative="two_sided")
    assert found.p_value == pytest.approx(exact, rel=1e-6)
    assert found.statistic == pytest.approx(chi2, abs=1e-6)
    assert mcnemar(c, b, method="exact", alternative="two_sided") == found
    by_chi2 = mcnemar(b, c, method="chi2", alternative="two_sided")
    assert by_chi2.p_value == pytest.approx(float(stats.chi2.sf(found.statistic, 1)), rel=1e-9)
    if mid_p is not None:
        halved = mcnemar(b, c, alternative="two_sided").p_value
        assert halved == pytest.approx(mid_p, rel=1e-7)


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS)
def test_one_sided_it_is_the_binomial_test_of_scipy(b: int, c: int) -> None:
    if b + c == 0:
        return
    exact = stats.binomtest(b, b + c, 0.5, alternative="greater").pvalue
    assert mcnemar(b, c, method="exact").p_value == pytest.approx(exact, rel=1e-9, abs=1e-300)
    half = 0.5 * float(stats.binom.pmf(b, b + c, 0.5))
    assert mcnemar(b, c).p_value == pytest.approx(exact - half, rel=1e-9, abs=1e-14)
    # The two directions share the value seen, half to each: together they make 1.
    assert mcnemar(b, c).p_value + mcnemar(c, b).p_value == pytest.approx(1.0, abs=1e-10)


def test_without_a_discordant_row_nothing_is_known() -> None:
    assert mcnemar(0, 0, method="exact").p_value == 1.0
    for method in ("mid_p", "chi2"):
        assert mcnemar(0, 0, method=method).p_value == 0.5
        two = mcnemar(0, 0, method=method, alternative="two_sided")
        assert (two.p_value, two.statistic) == (1.0, 0.0)
    assert mcnemar_e_value(0, 0) == 1.0


def test_equal_classifiers_are_called_better_at_most_alpha_of_the_time() -> None:
    """The exact size, over all counts, of the mid-p test for up to 200 discordant rows."""
    for n in (5, 11, 37, 100, 200):
        rejected = [b for b in range(n + 1) if mcnemar(b, n - b).p_value <= ALPHA]
        assert sum(float(stats.binom.pmf(b, n, 0.5)) for b in rejected) <= 1.2 * ALPHA
        exact = [b for b in range(n + 1) if mcnemar(b, n - b, method="exact").p_value <= ALPHA]
        assert sum(float(stats.binom.pmf(b, n, 0.5)) for b in exact) <= ALPHA


@pytest.mark.parametrize(
    ("b", "c", "e"),
    [
        (25, 10, 5.19904),
        (30, 10, 31.6369),
        (40, 10, 2149.13),
        (60, 40, 0.91305),
        (150, 86, 512.969),
    ],
)
def test_the_two_sided_e_value_is_the_published_one(b: int, c: int, e: float) -> None:
    assert math.exp(float(log_mcnemar_e_values(b, c, side="both"))) == pytest.approx(e, rel=1e-5)
    # The two halves of the prior make the whole of it.
    halves = 0.5 * (mcnemar_e_value(b, c) + mcnemar_e_value(c, b))
    assert halves == pytest.approx(e, rel=1e-5)


@pytest.mark.parametrize(
    ("b", "c", "prior"), [(3, 1, 1.0), (20, 30, 2.5), (0, 1500, 1.0), (700, 2600, 1.0)]
)
def test_the_one_sided_e_value_is_the_integral_that_defines_it(
    b: int, c: int, prior: float
) -> None:
    """By quadrature over the upper half of the prior, also where the Beta tail underflows."""

    def ratio(t: float) -> float:
        weight = 2.0 * float(stats.beta.pdf(t, prior, prior))
        return weight * math.exp(b * math.log(2 * t) + c * math.log(2 - 2 * t))

    reach = 0.5 + min(0.499999, 50.0 / (1 + abs(c - b)))
    whole = integrate.quad(ratio, 0.5, reach, epsabs=0, epsrel=1e-11, limit=200)[0]
    whole += integrate.quad(ratio, reach, 1.0 - 1e-15, epsabs=1e-14)[0]
    log_e = float(log_mcnemar_e_values(b, c, prior=prior))
    assert log_e == pytest.approx(math.log(whole), abs=1e-6)


@pytest.mark.parametrize("side", ["more", "both"])
def test_peeking_at_every_row_keeps_the_level(side: Literal["more", "both"]) -> None:
    """4,000 runs of 1,000 discordant rows, seed 1; tolerance 3 standard errors."""
    wins = np.random.default_rng(1).random((4000, 1000)) < 0.5
    b = np.cumsum(wins, axis=1)[:, ::5]
    c = np.cumsum(~wins, axis=1)[:, ::5]
    share = np.mean((log_mcnemar_e_values(b, c, side=side) >= GOAL).any(axis=1))
    assert 0.01 < share <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 4000)


def test_a_candidate_that_drifts_below_is_rejected_still_less() -> None:
    """The chance to win a row wanders between 0.3 and 0.5; 2,000 runs, seed 2."""
    chances = 0.4 + 0.1 * np.sin(np.arange(800) / 40)
    wins = np.random.default_rng(2).random((2000, 800)) < chances
    path = log_mcnemar_e_values(np.cumsum(wins, axis=1), np.cumsum(~wins, axis=1))
    assert np.mean((path >= GOAL).any(axis=1)) <= ALPHA / 3


@pytest.mark.parametrize(("d", "p"), [(0.01, 0.05), (0.02, 0.10), (0.03, 0.10), (0.01, 0.02)])
def test_it_decides_about_when_a_fixed_test_would(d: float, p: float) -> None:
    """Medians of 300 runs, seed 3: at most 1.3x at the planned difference, 0.15x at 4 times."""
    n = discordant_rows_needed(d, p).n_rows
    for factor, at_most in ((1.0, 1.3), (min(4.0, p / d), 0.3 if p < 4 * d else 0.15)):
        shares = [(p + factor * d) / 2, 1 - p, (p - factor * d) / 2]
        draws = np.random.default_rng(3).choice([1, 0, -1], size=(300, 2 * n), p=shares)
        path = log_mcnemar_e_values(np.cumsum(draws > 0, axis=1), np.cumsum(draws < 0, axis=1))
        hit = path >= GOAL
        rows = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 2 * n)
        assert np.median(rows) <= at_most * n


@pytest.mark.parametrize(
    ("d", "p", "n"),
    [
        (0.005, 0.05, 12_364),
        (0.01, 0.02, 1_235),
        (0.01, 0.05, 3_090),
        (0.01, 0.10, 6_181),
        (0.02, 0.10, 1_544),
        (0.05, 0.10, 246),
    ],
)
def test_the_rows_needed_are_connors(d: float, p: float, n: int) -> None:
    needed = discordant_rows_needed(d, p)
    assert needed.n_rows == n
    assert needed.n_labels == math.ceil(p * n)


def test_the_rows_needed_find_the_difference() -> None:
    """2,000 experiments of the planned size, seed 4: power 0.8 within 3 points."""
    n = discordant_rows_needed(0.02, 0.10).n_rows
    draws = np.random.default_rng(4).multinomial(n, [0.06, 0.04, 0.90], size=2000)
    found = [mcnemar(int(b), int(c)).p_value <= ALPHA for b, c, _ in draws]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_huge_counts_neither_overflow_nor_vanish() -> None:
    b = np.array([0, 10**6, 6 * 10**5, 10**6])
    c = np.array([10**6, 0, 10**6, 10**6])
    path = log_mcnemar_e_values(b, c)
    assert np.isfinite(path).all()
    assert path[0] < path[2] < path[3] < path[1]
    assert mcnemar_e_value(10**6, 0) == math.inf
    assert mcnemar(10**6, 0).p_value == 0.0


def test_input_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(Invalid, match="at least 0"):
        mcnemar(-1, 3)
    with pytest.raises(Invalid, match="at least 0"):
        log_mcnemar_e_values([1, 2], [0, -1])
    with pytest.raises(Invalid, match="positive prior"):
        log_mcnemar_e_values(1, 2, prior=0.0)
    with pytest.raises(Invalid, match="side more or both"):
        log_mcnemar_e_values(1, 2, side="less")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="method"):
        mcnemar(1, 2, method="yates")  # type: ignore[arg-type]
    for d, p in ((0.0, 0.1), (0.2, 0.1), (0.1, 1.1)):
        with pytest.raises(Invalid, match="difference"):
            discordant_rows_needed(d, p)
