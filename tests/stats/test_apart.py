"""The bound with a spread from other rows errs as often as it says.

Breaks when the half rows go, when the spread comes from the test rows, or when a bound of
nothing is taken for a bound.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.stats.apart import Apart, Spread, flip_spread, gain_spread


@pytest.mark.parametrize(
    ("n", "n_other", "margin", "flips"),
    [(100, 100, 0.01, 0.0101), (500, 100, 0.01, 0.012), (500, 500, 0.01, 0.022)],
)
def test_errors_at_the_line_keep_the_level(
    n: int, n_other: int, margin: float, flips: float
) -> None:
    """20,000 tables each; 5% has a standard deviation of 0.15 points, 5.5% lies beyond three."""
    rng = np.random.default_rng(0)
    lost, gained = (flips + margin) / 2, (flips - margin) / 2
    chances = [lost, gained, 1 - lost - gained]
    tables, counts = np.unique(
        np.hstack([rng.multinomial(m, chances, 20_000)[:, :2] for m in (n, n_other)]),
        axis=0,
        return_counts=True,
    )
    n_wrong = 0
    for (a, b, c, d), count in zip(tables.tolist(), counts.tolist(), strict=True):
        bound = Apart((b - a) / n, n, flip_spread(c, d, n_other))
        n_wrong += count * (bound.lower(0.05) >= -margin)
    assert n_wrong / 20_000 <= 0.055


def test_bounds_and_p_values_say_the_same() -> None:
    found = Apart(-0.004, 2_000, flip_spread(20, 14, 1_500))
    for alpha in (0.01, 0.05, 0.2):
        assert found.p_value(found.lower(alpha)) == pytest.approx(alpha, rel=1e-6)
        assert found.upper(alpha) - found.mean == pytest.approx(found.mean - found.lower(alpha))


def test_rows_without_a_flip_still_leave_doubt() -> None:
    assert Apart(0.0, 100, flip_spread(0, 0, 100)).lower(0.05) < -0.01
    assert gain_spread(np.zeros(100)) == flip_spread(0, 0, 100)


def test_gains_that_are_numbers_have_their_own_spread() -> None:
    gains = np.random.default_rng(1).normal(size=1_000)
    assert gain_spread(gains).variance == pytest.approx(gains.var(ddof=1))
    constant = Apart(0.0, 50, Spread(0.0, 50))
    assert constant.p_value(0.0) == 1.0
    assert constant.p_value(-0.1) == 0.0


def test_what_no_rows_tell_is_refused() -> None:
    for lost, gained, n in ((-1, 0, 10), (6, 6, 10), (0, 0, 1)):
        with pytest.raises(Invalid):
            flip_spread(lost, gained, n)
    with pytest.raises(Invalid):
        Spread(math.nan, 10)
    with pytest.raises(Invalid):
        gain_spread([1.5])
