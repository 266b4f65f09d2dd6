"""What tests of statistics and of benchmarks draw from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Draw = Callable[[np.random.Generator, int, int, float], NDArray[np.float64]]


@pytest.fixture
def autoregressive() -> Draw:
    """Return a maker of (n_series, n) normal series whose neighbors correlate by rho."""

    def draw(rng: np.random.Generator, n_series: int, n: int, rho: float) -> NDArray[np.float64]:
        noise = rng.normal(size=(n_series, n)) * np.sqrt(1 - rho**2)
        series = np.empty((n_series, n))
        series[:, 0] = rng.normal(size=n_series)
        for at in range(1, n):
            series[:, at] = rho * series[:, at - 1] + noise[:, at]
        return series

    return draw
