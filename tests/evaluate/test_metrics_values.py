"""Breaks when a metric of a regression is not scikit-learn's, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from renewal.core.errors import Invalid
from renewal.evaluate.metrics import metric


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 3, 50, 127, 500, 3000]),
    st.floats(1e-3, 1e6),
    st.floats(0.01, 0.99),
)
def test_every_metric(seed: int, n: int, scale: float, quantile: float) -> None:
    """With few rows, rows by the thousand, and values that occur twice."""
    rng = np.random.default_rng(seed)
    truth = scale * rng.normal(size=n)
    value = np.round(truth + scale * rng.normal(size=n), 2)
    value[: n // 4] = truth[: n // 4]
    expected = {
        "mae": oracle.mean_absolute_error(truth, value),
        "mse": oracle.mean_squared_error(truth, value),
        "rmse": oracle.root_mean_squared_error(truth, value),
        "r2": oracle.r2_score(truth, value) if n > 1 else math.nan,
        "median_absolute_error": oracle.median_absolute_error(truth, value),
        "pinball": oracle.mean_pinball_loss(truth, value),
        f"pinball_{quantile!r}": oracle.mean_pinball_loss(truth, value, alpha=quantile),
    }
    for name, should in expected.items():
        one = metric(name)
        found = one.value(value[:, None], truth, ())
        assert found == should or (math.isnan(found) and math.isnan(should)), name
        if one.per_row is not None:
            rows = one.per_row(value[:, None], truth, ())
            assert float(np.mean(rows)) == found
        if one.counts is not None:
            assert one.of_counts is not None
            totals = one.counts(value[:, None], truth, ()).sum(axis=0)
            again = one.of_counts(np.stack([totals, 2 * totals]))
            assert again == pytest.approx([found] * 2, rel=1e-9, abs=1e-12, nan_ok=True), name


def test_r2_of_counts_of_large_values_keeps_its_digits() -> None:
    """Broken by squares of values such as times, of which little is left when subtracted."""
    rng = np.random.default_rng(1)
    truth = 1.7e9 + rng.normal(size=1000)
    value = truth + 0.5 * rng.normal(size=1000)
    r2 = metric("r2")
    assert r2.counts is not None
    assert r2.of_counts is not None
    totals = r2.counts(value[:, None], truth, ()).sum(axis=0)
    assert r2.of_counts(totals) == pytest.approx(r2.value(value[:, None], truth, ()), rel=1e-6)


def test_r2_of_equal_values_is_undefined() -> None:
    """Broken by a division by 0, or scikit-learn's 0 and 1 in its place."""
    r2 = metric("r2")
    assert r2.counts is not None
    assert r2.of_counts is not None
    assert math.isnan(r2.value(np.array([[1.0], [2.0]]), np.array([3.0, 3.0]), ()))
    totals = r2.counts(np.array([[1.0], [2.0]]), np.array([3.0, 3.0]), ()).sum(axis=0)
    assert math.isnan(r2.of_counts(totals))


@pytest.mark.parametrize("name", ["pinball_0", "pinball_1", "pinball_-0.5", "pinball_nan"])
def test_a_quantile_lies_between_0_and_1(name: str) -> None:
    """Broken by a loss that rewards predicting infinity."""
    with pytest.raises(Invalid, match="between 0 and 1"):
        metric(name)
