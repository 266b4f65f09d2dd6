"""Breaks when a bet looks ahead, when peeking costs error, or when the state forgets."""

from __future__ import annotations

import math
import pickle
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.stats.anytime import log_t_e_values
from renewal.stats.betting import (
    Bettor,
    betting_bounds,
    betting_confidence_sequence,
    betting_e_process,
)
from renewal.stats.closed_form import closed_form_sequence

ALPHA = 0.05
GOAL = math.log(1 / ALPHA)
N_RUNS = 2000
SLACK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / N_RUNS)
COINS = np.array([1, 0, 1, 1, 1, 0, 1, 1, 1, 1] * 20)
AT = [49, 99, 199]
SHARES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1, width=32))
Bets = Literal["mixture", "plug_in"]
BOTH = pytest.mark.parametrize("bets", ["mixture", "plug_in"])


def first_hit(path: NDArray[np.float64]) -> float:
    return float(np.argmax(path >= GOAL)) + 1 if path.max() >= GOAL else math.inf


def test_plug_in_bets_are_those_of_confseq() -> None:
    """The `betting_mart` of confseq halves the capital between two sides, hence the 2."""
    path = betting_e_process(COINS, 0.5, bets="plug_in", stake=0.5)
    expected = [1067.8162947038184, 133650.75943937773, 117731396.60246298]
    assert np.exp(path[AT]) / 2 == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("is_intersected", "expected"),
    [
        (False, [(0.611, 0.929), (0.665, 0.900), (0.701, 0.879)]),
        (True, [(0.611, 0.927), (0.665, 0.898), (0.701, 0.878)]),
    ],
)
def test_the_bounds_are_those_of_confseq(
    *, is_intersected: bool, expected: list[tuple[float, float]]
) -> None:
    """`betting_cs` and `hedged_cs` with 1,000 breaks and alpha 0.05 for both sides."""
    low, high = betting_confidence_sequence(
        COINS, 0.025, bets="plug_in", stake=0.5, is_intersected=is_intersected
    )
    assert low[AT] == pytest.approx([each for each, _ in expected], abs=1e-9)
    assert high[AT] == pytest.approx([each for _, each in expected], abs=1e-9)


@pytest.mark.parametrize(
    ("pays_for", "expected"),
    [
        ("variance", [(0.5747, 1.0), (0.6508, 0.9406), (0.6948, 0.8980)]),
        ("range", [(0.5904, 0.9978), (0.6434, 0.9469), (0.6814, 0.9110)]),
    ],
)
def test_the_closed_forms_are_those_of_confseq(
    pays_for: Literal["variance", "range"], expected: list[tuple[float, float]]
) -> None:
    """`predmix_empbern_cs` and `predmix_hoeffding_cs`, alpha 0.05 for both sides."""
    low, high = closed_form_sequence(COINS, 0.025, pays_for=pays_for)
    assert low[AT] == pytest.approx([each for each, _ in expected], abs=5e-5)
    assert high[AT] == pytest.approx([each for _, each in expected], abs=5e-5)


@BOTH
def test_peeking_at_every_row_keeps_the_level(bets: Bets) -> None:
    """Fair differences of 10% discordant rows, and a skewed law; 2,000 runs, seed 1."""
    rng = np.random.default_rng(1)
    fair = rng.choice([1, 0, -1], size=(N_RUNS, 800), p=[0.05, 0.9, 0.05])
    skewed = rng.beta(0.2, 1.8, size=(N_RUNS, 400))
    for draws, m, lower in ((fair, 0.0, -1.0), (skewed, 0.1, 0.0), (1 - skewed, 0.9, 0.0)):
        paths = [betting_e_process(x, m, lower=lower, bets=bets) for x in draws]
        assert np.mean([path.max() >= GOAL for path in paths]) <= ALPHA + SLACK


@BOTH
def test_a_mean_that_drifts_below_is_rejected_still_less(bets: Bets) -> None:
    """The candidate's share of discordant rows wanders up to a half; 1,000 runs, seed 2."""
    rng = np.random.default_rng(2)
    chances = 0.4 + 0.1 * np.sin(np.arange(800) / 40)
    wins = rng.random((1000, 800)) < chances
    draws = np.where(rng.random((1000, 800)) < 0.2, np.where(wins, 1, -1), 0)
    paths = [betting_e_process(x, 0.0, lower=-1.0, bets=bets) for x in draws]
    assert np.mean([path.max() >= GOAL for path in paths]) <= ALPHA / 2


@pytest.mark.parametrize(
    ("d", "p", "n"), [(0.01, 0.05, 3090), (0.02, 0.10, 1544), (0.03, 0.10, 685)]
)
def test_it_decides_about_when_a_fixed_test_would(d: float, p: float, n: int) -> None:
    """Medians of 200 runs, seed 3; n is Connor's for power 0.8 at a one-sided 5%."""
    rng = np.random.default_rng(3)
    for factor, at_most in ((1.0, 1.4), (3.0, 0.15)):
        shares = [(p + factor * d) / 2, 1 - p, (p - factor * d) / 2]
        draws = rng.choice([1, 0, -1], size=(200, 2 * n), p=shares)
        hits = [first_hit(betting_e_process(x, 0.0, lower=-1.0)) for x in draws]
        assert np.median(hits) <= at_most * n


def test_block_means_are_better_served_by_the_t_e_value() -> None:
    """Means of 30 rows, 3 points on 10% discordant: 5 times fewer blocks; 60 runs, seed 4."""
    counts = np.random.default_rng(4).multinomial(30, [0.065, 0.035, 0.9], size=(60, 1000))
    means = (counts[..., 0] - counts[..., 1]) / 30
    bets = np.median([first_hit(betting_e_process(x, 0.0, lower=-1.0)) for x in means])
    t = np.median([first_hit(log_t_e_values(x)) for x in means])
    assert bets > 5 * t


@settings(max_examples=100, deadline=None)
@given(SHARES, st.data(), st.sampled_from(["mixture", "plug_in"]), st.floats(0.01, 1.0))
def test_any_split_into_updates_gives_the_same_evidence(
    x: NDArray[np.float64], data: st.DataObject, bets: Bets, m: float
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, x.size), max_size=4)))
    start = now = Bettor(m=m, bets=bets)
    for part in np.split(x, cuts):
        now = now.update(part)
    assert now.n == x.size
    assert now.log_e == pytest.approx(start.update(x).log_e, rel=1e-12, abs=1e-12)
    assert now.log_e == pytest.approx(start.path(x)[-1], rel=1e-12, abs=1e-12)
    assert pickle.loads(pickle.dumps(now)) == now  # noqa: S301 - our own bytes


@settings(max_examples=50, deadline=None)
@given(SHARES, st.sampled_from(["mixture", "plug_in"]))
def test_no_bet_depends_on_values_yet_to_come(x: NDArray[np.float64], bets: Bets) -> None:
    path = betting_e_process(x, 0.4, bets=bets)
    changed = np.concatenate([x, 1 - x])
    after = betting_e_process(changed, 0.4, bets=bets)
    assert after[: x.size] == pytest.approx(path, rel=1e-12, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(SHARES, st.sampled_from(["mixture", "plug_in"]))
def test_a_larger_tested_mean_is_never_easier_to_refute(x: NDArray[np.float64], bets: Bets) -> None:
    """The bounds rest on it: what is not refuted is an interval."""
    paths = [betting_e_process(x, m, bets=bets) for m in np.linspace(0.02, 1.0, 50)]
    assert (np.diff(paths, axis=0) <= 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(SHARES, st.floats(-50, 50), st.floats(0.01, 100))
def test_a_loss_in_another_unit_gives_the_same_evidence(
    x: NDArray[np.float64], low: float, width: float
) -> None:
    moved = np.clip(low + width * x, low, low + width)
    there = betting_e_process(moved, low + 0.4 * width, lower=low, upper=low + width)
    assert there == pytest.approx(betting_e_process(x, 0.4), rel=1e-6, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(SHARES)
def test_the_bounds_now_are_where_the_evidence_reaches_its_goal(x: NDArray[np.float64]) -> None:
    low, high = betting_bounds(x, ALPHA)
    assert 0.0 <= low <= x.mean() <= high <= 1.0 or np.ptp(x) == 0.0
    if low > 1e-6:
        assert betting_e_process(x, low)[-1] == pytest.approx(GOAL, abs=1e-5)
    if high < 1 - 1e-6:
        assert betting_e_process(1 - x, 1 - high)[-1] == pytest.approx(GOAL, abs=1e-5)


def test_the_path_of_bounds_ends_at_the_bounds_now() -> None:
    x = np.random.default_rng(5).beta(2.0, 3.0, size=300)
    path = betting_confidence_sequence(x, 0.025, is_intersected=False)
    for side, bound in zip(path, betting_bounds(x, 0.025), strict=True):
        assert side[-1] == pytest.approx(bound, abs=1.01e-3)
    shifted = betting_confidence_sequence(2 * x - 1, 0.025, lower=-1.0, is_intersected=False)
    assert shifted[0] == pytest.approx(2 * path[0] - 1, abs=1e-9)


def test_bounds_hold_at_all_times() -> None:
    """500 runs of 200 values, seed 6: each side errs at most alpha, for every kind of bounds."""
    draws = np.random.default_rng(6).beta(0.5, 1.5, size=(500, 200))
    slack = 3 * math.sqrt(ALPHA / 500)
    for pays_for in ("variance", "range"):
        errs = [closed_form_sequence(x, ALPHA, pays_for=pays_for) for x in draws]
        assert np.mean([low.max() > 0.25 for low, _ in errs]) <= ALPHA + slack
        assert np.mean([high.min() < 0.25 for _, high in errs]) <= ALPHA + slack
    bounds = [betting_confidence_sequence(x, ALPHA, n_means=20) for x in draws[:200]]
    assert np.mean([low[-1] > 0.25 or high[-1] < 0.25 for low, high in bounds]) <= 2 * ALPHA


def test_a_long_run_neither_overflows_nor_vanishes() -> None:
    state = Bettor(m=0.1)
    for value in (1.0, 0.0):
        for _ in range(10):
            state = state.update(np.full(10_000, value))
        assert math.isfinite(state.log_e)
    assert state.n == 200_000
    assert Bettor(m=0.5).log_e == Bettor(m=0.5).update([]).log_e == 0.0


def test_input_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(Invalid, match="between 0 and 1"):
        betting_e_process([0.5, 1.5], 0.5)
    with pytest.raises(Invalid, match="finite numbers"):
        Bettor(m=0.5).update([0.5, math.nan])
    with pytest.raises(Invalid, match="a mean above"):
        Bettor(m=0.0)
    with pytest.raises(Invalid, match="a mean above"):
        Bettor(m=math.nan)
    with pytest.raises(Invalid, match="finite bounds"):
        Bettor(m=0.5, lower=1.0, upper=0.0)
    with pytest.raises(Invalid, match="mixture or plug_in"):
        Bettor(m=0.5, bets="kelly")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="variance or range"):
        closed_form_sequence([0.5], 0.05, pays_for="hope")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="stake"):
        betting_bounds([0.5], 0.05, stake=1.0)
