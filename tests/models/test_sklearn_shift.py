"""The constant that makes an absolute error smallest."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from renewal.models.sklearn_bytes import from_bytes, to_bytes
from renewal.models.sklearn_shift import ShiftedRegressor


def test_no_other_constant_is_better() -> None:
    """Broken by a mean instead of a median, or by the sign of the residual."""
    rng = np.random.default_rng(11)
    rows, labels = np.zeros((101, 1)), rng.exponential(size=101)
    base = DummyRegressor(strategy="constant", constant=5.0).fit(rows, labels)
    found = np.abs(ShiftedRegressor(base).fit(rows, labels).predict(rows) - labels).mean()
    constants = np.linspace(labels.min(), labels.max(), 400)
    best = min(np.abs(constant - labels).mean() for constant in constants)
    assert found <= best + 1e-12


def test_the_estimator_inside_is_not_fitted_again() -> None:
    """Broken by a fit of the base: its training rows would no longer be those on record."""
    rows = np.zeros((3, 1))
    base = DummyRegressor().fit(rows, [1.0, 1.0, 1.0])
    shifted = ShiftedRegressor(base).fit(rows, [9.0, 9.0, 9.0])
    assert base.predict(rows) == pytest.approx([1.0] * 3)
    assert from_bytes(to_bytes(shifted)).predict(rows) == pytest.approx([9.0] * 3)
