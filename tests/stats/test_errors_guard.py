"""Breaks when an equal canary is stopped too often or a failing one too late."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from renewal.core.errors import Invalid
from renewal.stats.errors_guard import error_share_e, log_error_share_e


def test_two_sided_is_the_beta_ratio_of_lindon_and_malek() -> None:
    b, c, share = 12, 60, 0.05
    a0, b0 = 10 * share, 10 * (1 - share)
    oracle = special.beta(a0 + b, b0 + c) / special.beta(a0, b0) / share**b / (1 - share) ** c
    assert math.exp(log_error_share_e(b, c, share, side="both")) == pytest.approx(oracle)


def test_one_sided_is_the_mixture_over_larger_shares() -> None:
    b, c, share = 9, 40, 0.1
    prior = stats.beta(10 * share, 10 * (1 - share))
    null = b * math.log(share) + c * math.log(1 - share)
    mixed = integrate.quad(
        lambda t: prior.pdf(t) * math.exp(b * math.log(t) + c * math.log(1 - t) - null), share, 1
    )[0] / prior.sf(share)
    assert error_share_e(b, c, share) == pytest.approx(mixed, rel=1e-6)


def test_an_equal_canary_is_stopped_at_most_alpha_of_the_time() -> None:
    """300 canaries of 1,500 failures, peeked at after each fifth; seed 1, 3 standard errors."""
    rng = np.random.default_rng(1)
    total = np.arange(1, 1501)
    stopped = 0
    for _ in range(300):
        failed = np.cumsum(rng.random(1500) < 0.05)
        stopped += any(
            log_error_share_e(int(b), int(n - b), 0.05) >= math.log(20)
            for b, n in zip(failed[4::5], total[4::5], strict=True)
        )
    assert stopped / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def requests_until_stopped(
    rng: np.random.Generator, share: float, rates: tuple[float, float]
) -> int:
    """Play requests in lots of 100 until the two-sided guard speaks at 5%."""
    b = c = n = 0
    while log_error_share_e(b, c, share, side="both") < math.log(20) and n < 200_000:
        n_canary = rng.binomial(100, share)
        b += int(rng.binomial(n_canary, rates[1]))
        c += int(rng.binomial(100 - n_canary, rates[0]))
        n += 100
    return n


@pytest.mark.parametrize(
    ("share", "rates", "measured"),
    [(0.05, (0.01, 0.03), 6_700), (0.5, (0.01, 0.02), 4_600), (0.05, (0.01, 0.02), 23_400)],
)
def test_a_failing_canary_is_found_as_fast_as_measured_before(
    share: float, rates: tuple[float, float], measured: int
) -> None:
    """Requests until 5% (field notes 3.10); median of 60 runs, seed 2, within 40%."""
    rng = np.random.default_rng(2)
    found = np.median([requests_until_stopped(rng, share, rates) for _ in range(60)])
    assert found == pytest.approx(measured, rel=0.4)


@given(st.integers(0, 200), st.integers(0, 2000), st.floats(0.01, 0.9))
def test_failures_of_the_control_never_speak_against_the_canary(
    b: int, c: int, share: float
) -> None:
    assert log_error_share_e(b, c + 1, share) <= log_error_share_e(b, c, share) + 1e-9
    assert log_error_share_e(b + 1, c, share) >= log_error_share_e(b, c, share) - 1e-9


def test_far_tails_stay_numbers() -> None:
    assert math.isfinite(log_error_share_e(0, 10**7, 0.5))
    assert 0.0 < error_share_e(0, 10**7, 0.5) < 1e-5
    assert error_share_e(10**6, 0, 0.01) == math.inf
    assert error_share_e(0, 0, 0.3) == 1.0


@pytest.mark.parametrize(
    ("b", "c", "share"), [(-1, 0, 0.1), (0, -1, 0.1), (0, 0, 0.0), (0, 0, 1.0)]
)
def test_counts_and_shares_that_are_none_are_refused(b: int, c: int, share: float) -> None:
    with pytest.raises(Invalid):
        log_error_share_e(b, c, share)
