"""Breaks when quiet columns are flagged more often than promised, at any batch size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from renewal.core.errors import Invalid
from renewal.stats.homogeneity import (
    chi2_test,
    holm,
    js_divergence,
    psi,
    psi_critical,
    psi_test,
)

REFERENCE, CURRENT = (500, 300, 200), (40, 40, 20)


def test_the_worked_oracle() -> None:
    """Field notes 3.1: six digits."""
    found = chi2_test(REFERENCE, CURRENT)
    assert found.value == pytest.approx(4.793028, abs=5e-7)
    assert found.p_value == pytest.approx(0.091035, abs=5e-7)
    assert psi(REFERENCE, CURRENT, smoothing=0) == pytest.approx(0.05108256, abs=5e-9)
    size = 1000 * 100 / 1100
    assert psi(REFERENCE, CURRENT, smoothing=0) * size == pytest.approx(4.643869, abs=5e-6)
    distance = math.sqrt(js_divergence(REFERENCE, CURRENT, smoothing=0))
    assert distance == pytest.approx(0.07979473, abs=5e-9)
    assert distance / math.sqrt(math.log(2)) == pytest.approx(0.09584323, abs=5e-9)
    statistic = 8 * size * distance**2
    assert statistic == pytest.approx(4.630690, abs=5e-6)
    assert stats.chi2.sf(statistic, 2) == pytest.approx(0.098732, abs=5e-7)


@pytest.mark.parametrize(
    ("n", "m", "bins", "tolerated", "critical"),
    [
        (2000, 100, 10, 0.0, 0.1776),
        (2000, 500, 10, 0.0, 0.0423),
        (2000, 2000, 10, 0.0, 0.0169),
        (10_000, 100, 10, 0.0, 0.1709),
        (100_000, 5000, 10, 0.0, 0.0036),
        (2000, 100, 20, 0.0, 0.3165),
        (2000, 2000, 10, 0.1, 0.1442),
        (2000, 100, 10, 0.1, 0.3380),
        (100_000, 100_000, 10, 0.1, 0.10487),
    ],
)
def test_critical_values_of_the_notes(
    n: int, m: int, bins: int, tolerated: float, critical: float
) -> None:
    """Field notes 3.1: to the digits printed there."""
    assert psi_critical(n, m, bins, tolerated=tolerated) == pytest.approx(critical, abs=6e-5)


@pytest.mark.parametrize("m", [50, 100, 500, 2000, 100_000])
def test_quiet_columns_are_flagged_at_the_level_whatever_the_batch(m: int) -> None:
    """10 equal bins, 1,500 quiet columns against 2,000 rows, seed 1; tolerance 2.5 points.

    The fixed rule "PSI >= 0.1" flags most of them at 50 rows.
    """
    rng = np.random.default_rng(1)
    shares = np.full(10, 0.1)
    reference, current = rng.multinomial(2000, shares, 1500), rng.multinomial(m, shares, 1500)
    pairs = list(zip(reference, current, strict=True))
    assert np.mean([psi_test(a, b).p_value <= 0.05 for a, b in pairs]) <= 0.075
    assert np.mean([chi2_test(a, b).p_value <= 0.05 for a, b in pairs]) == pytest.approx(
        0.05, abs=0.025
    )
    if m == 50:
        assert np.mean([psi(a, b, smoothing=0) >= 0.1 for a, b in pairs]) > 0.8


def test_a_tolerated_shift_is_tolerated_and_a_larger_one_found() -> None:
    """True PSI 0.2 tolerated: at 20,000 rows at most 5% alarms; PSI 0.4 is found always."""
    rng = np.random.default_rng(2)
    flat = np.full(4, 0.25)

    def tilted(by: float) -> np.ndarray:
        return np.array([0.25 + by, 0.25, 0.25, 0.25 - by])

    steps = np.linspace(0.001, 0.249, 4000)
    sizes = np.array([psi(flat, tilted(step), smoothing=0) for step in steps])
    for size, least, most in ((0.2, 0.0, 0.10), (0.4, 0.99, 1.0)):
        shares = tilted(float(steps[np.argmin(np.abs(sizes - size))]))
        alarms = [
            psi_test(
                rng.multinomial(20_000, flat), rng.multinomial(20_000, shares), tolerated=0.2
            ).p_value
            <= 0.05
            for _ in range(400)
        ]
        assert least <= np.mean(alarms) <= most


def test_the_p_value_and_the_critical_value_agree() -> None:
    for tolerated in (0.0, 0.05):
        for batch in ((40, 40, 20), (10, 60, 30), (55, 25, 20)):
            found = psi_test(REFERENCE, batch, tolerated=tolerated)
            assert (found.p_value <= 0.05) == (found.value >= found.critical)


def test_chi2_is_the_contingency_test_of_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.multinomial(900, np.full(6, 1 / 6)), rng.multinomial(300, np.full(6, 1 / 6))
        oracle = stats.chi2_contingency(np.array([a, b]), correction=False)
        found = chi2_test(a, b)
        assert found.value == pytest.approx(oracle.statistic)
        assert found.p_value == pytest.approx(oracle.pvalue)


def test_rare_bins_are_pooled_and_empty_ones_dropped() -> None:
    found = chi2_test([500, 300, 3, 1, 0], [50, 30, 0, 1, 0])
    assert found.n_bins == 2
    assert math.isfinite(found.p_value)
    assert psi_test([500, 300, 0], [50, 30, 0]).n_bins == 2


def test_one_bin_is_no_shift() -> None:
    assert psi_test([10, 0], [99, 0]).p_value == 1.0
    assert chi2_test([10, 0], [99, 0]).p_value == 1.0


def test_a_category_that_was_never_seen_is_found_but_finite() -> None:
    found = psi_test([500, 500, 0], [40, 40, 20])
    assert found.p_value < 1e-6
    assert math.isfinite(found.value)


def test_very_large_counts_stay_numbers() -> None:
    found = psi_test([10**8, 10**8], [10**8, 10**8 + 10**5], tolerated=0.1)
    assert found.p_value == 1.0
    assert math.isfinite(found.critical)


@pytest.mark.parametrize(
    ("a", "b"), [((1, 2), (1, 2, 3)), ((0, 0), (1, 2)), ((1, -1), (1, 2)), ((1, 2), (0, 0))]
)
def test_counts_that_do_not_match_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    for test in (psi_test, chi2_test):
        with pytest.raises(Invalid, match="same bins"):
            test(a, b)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_plain_and_the_bonferroni_value(p_values: list[float]) -> None:
    plain = np.array(p_values)
    found = holm(p_values)
    assert (found >= plain - 1e-12).all()
    assert (found <= np.minimum(plain * plain.size, 1.0) + 1e-12).all()
    assert (np.diff(found[np.argsort(plain, kind="stable")]) >= 0).all()


def test_holm_refuses_what_is_no_probability() -> None:
    with pytest.raises(Invalid, match=r"\[0, 1\]"):
        holm([0.5, 1.5])
