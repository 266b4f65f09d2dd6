"""Breaks when two equal recipes are called different more often than the level allows."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from renewal.core.errors import Invalid
from renewal.stats.crossfit import corrected_mean

ALPHA = 0.05
N_SETS = 1500
FOLDS, REPEATS = 10, 5
Floats = NDArray[np.float64]
Kind = Literal["values", "classes"]


def fold_differences(
    kind: Kind, n_rows: int, *, gain: float = 0.0, n_sets: int = N_SETS, seed: int = 1
) -> Floats:
    """Return differences of two recipes in each fold, shape (n_sets, n_folds * n_repeats).

    Each recipe is a least-squares fit on two columns of its own; by symmetry they are equal.
    With a gain the columns of the second say more.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_sets, n_rows, 4))
    signal = x @ (0.5 + gain * np.array([0.0, 0.0, 1.0, 1.0]))
    noise = rng.normal(size=signal.shape)
    y = signal + noise if kind == "values" else (signal + noise > 0).astype(float)
    found = np.empty((n_sets, REPEATS * FOLDS))
    for at in range(REPEATS * FOLDS):
        if at % FOLDS == 0:
            fold = rng.permutation(np.arange(n_rows) % FOLDS)
        is_test = fold == at % FOLDS
        losses = [_loss(kind, x[:, :, columns], y, is_test) for columns in ([0, 1], [2, 3])]
        found[:, at] = losses[0] - losses[1]
    return found


def _loss(kind: Kind, x: Floats, y: Floats, is_test: NDArray[np.bool_]) -> Floats:
    inputs = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)
    seen, target = inputs[:, ~is_test], y[:, ~is_test]
    gram = seen.transpose(0, 2, 1) @ seen + 1e-3 * np.eye(3)
    weights = np.linalg.solve(gram, seen.transpose(0, 2, 1) @ target[..., np.newaxis])
    said = (inputs[:, is_test] @ weights)[..., 0]
    if kind == "values":
        losses: Floats = np.abs(said - y[:, is_test])
    else:
        p = np.clip(said, 0.001, 0.999)
        losses = -np.log(np.where(y[:, is_test] > 0, p, 1 - p))
    means: Floats = losses.mean(axis=1)
    return means


def naive_share(differences: Floats) -> float:
    """Return how often the usual t-test over all folds calls the recipes different."""
    return float(np.mean(stats.ttest_1samp(differences, 0.0, axis=1).pvalue < ALPHA))


def corrected_shares(differences: Floats, n_rows: int) -> tuple[float, float]:
    """Return how often the first and how often the second recipe is called better."""
    n_test = n_rows // FOLDS
    found = [corrected_mean(each, n_test, n_rows - n_test) for each in differences]
    first = np.mean([each.upper(ALPHA / 2) < 0 for each in found])
    second = np.mean([each.lower(ALPHA / 2) > 0 for each in found])
    return float(first), float(second)


@pytest.mark.parametrize("kind", ["values", "classes"])
@pytest.mark.parametrize("n_rows", [30, 150])
def test_equal_recipes_are_seldom_called_different(kind: Kind, n_rows: int) -> None:
    """1,500 data sets, two-sided at 5%, seed 1; tolerance 3 standard errors.

    Breaks when shared training rows are taken for independent evidence: the usual t-test
    over the same 50 folds errs in 30% and more.
    """
    differences = fold_differences(kind, n_rows)
    share = sum(corrected_shares(differences, n_rows))
    assert share <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / N_SETS)
    assert naive_share(differences) > 0.25
    assert naive_share(differences) > 5 * share


def test_a_better_recipe_is_found() -> None:
    """200 data sets of 150 rows, seed 2: a plain advantage is found in most of them."""
    first, second = corrected_shares(
        fold_differences("values", 150, gain=0.5, n_sets=200, seed=2), 150
    )
    assert first == 0.0
    assert second > 0.8


def test_it_is_the_formula_of_the_paper() -> None:
    """Nadeau and Bengio (2003), equation for the corrected resampled t-test."""
    d = np.random.default_rng(3).normal(0.1, 0.2, size=50)
    found = corrected_mean(d, n_test=15, n_train=135)
    t = d.mean() / math.sqrt((1 / 50 + 15 / 135) * d.var(ddof=1))
    assert found.p_value() == pytest.approx(stats.t.sf(t, 49), rel=1e-9)
    reach = stats.t.ppf(0.975, 49) * found.se
    assert found.lower(0.025) == pytest.approx(d.mean() - reach, rel=1e-9)
    assert found.upper(0.025) == pytest.approx(d.mean() + reach, rel=1e-9)
    assert found.p_value(found.lower(0.01)) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("differences", [[0.0] * 10, [0.3] * 10, [0.3, 0.3 + 1e-16], [0.3]])
def test_folds_without_spread_prove_nothing(differences: list[float]) -> None:
    """Breaks when rounding errors, or one fold, make an endlessly certain proof."""
    found = corrected_mean(differences, n_test=1, n_train=9)
    assert found.lower(0.025) == -math.inf
    assert found.upper(0.025) == math.inf
    assert found.p_value() == 1.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(Invalid, match="finite"):
        corrected_mean([0.1, math.nan], 1, 9)
    with pytest.raises(Invalid, match="training row"):
        corrected_mean([0.1, 0.2], 3, 0)
    with pytest.raises(Invalid, match="alpha"):
        corrected_mean([0.1, 0.2], 1, 9).lower(1.0)
