"""Breaks when a rate differs from fairlearn's, or a group's loss hides in the average."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.evaluate.fairness import Fairness, fairness, group_counts
from renewal.evaluate.gap import FORMS, MEASURES
from renewal.evaluate.slices import Grouping

METRICS = dict(
    zip(MEASURES, (selection_rate, true_positive_rate, false_positive_rate), strict=True)
)


def objects(values: NDArray[np.generic]) -> NDArray[np.object_]:
    return np.array(values.tolist(), dtype=object)


def grouped(at: NDArray[np.intp], n_groups: int) -> Grouping:
    return Grouping("g", tuple(f"g={each}" for each in range(n_groups)), at)


def drawn(
    seed: int, *, n: int = 3000, n_groups: int = 4, n_classes: int = 2, n_blocks: int = 30
) -> Fairness:
    rng = np.random.default_rng(seed)
    truth, before, after = rng.integers(0, n_classes, (3, n))
    groups = grouped(rng.integers(0, n_groups, n), n_groups)
    return fairness(
        objects(truth),
        objects(before),
        objects(after),
        groups,
        block_at=np.arange(n) * n_blocks // n,
        n_blocks=n_blocks,
        n_boot=200,
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_classes", [2, 3])
def test_fairlearn_agrees_to_the_last_bit(seed: int, n_classes: int) -> None:
    """Every rate of every group, differences, ratios, parity and equalized odds."""
    rng = np.random.default_rng(seed)
    n, n_groups = 2000, 4
    truth, before, after = rng.integers(0, n_classes, (3, n))
    at = rng.integers(0, n_groups, n)
    found = fairness(
        objects(truth),
        objects(before),
        objects(after),
        grouped(at, n_groups),
        block_at=np.arange(n) // 100,
        n_blocks=20,
        n_boot=100,
    )
    yes = n_classes - 1
    assert found.positive == yes
    assert found.compared.all()
    for version, predicted in enumerate((before, after)):
        of = {"y_true": truth == yes, "y_pred": predicted == yes, "sensitive_features": at}
        frame = MetricFrame(metrics=METRICS, **of)
        for place, measure in enumerate(MEASURES):
            rates = found.rates[version, place]
            assert rates.tolist() == frame.by_group[measure].tolist()
            side = ("baseline", "candidate")[version]
            difference = found.gaps[f"{measure}_difference"]
            assert getattr(difference, side) == frame.difference()[measure]
            assert getattr(found.gaps[f"{measure}_ratio"], side) == frame.ratio()[measure]
        if version == 1:
            gaps = found.gaps
            parity = demographic_parity_difference(**of)
            assert gaps["selection_rate_difference"].value == parity
            assert gaps["selection_rate_ratio"].value == demographic_parity_ratio(**of)
            odds = max(gaps["tpr_difference"].value, gaps["fpr_difference"].value)
            assert odds == equalized_odds_difference(**of)


def harmed(share: float, *, n: int = 8000, seed: int = 0, cohorts: int = 4) -> Fairness:
    """Take from the candidate `share` of the true positives of the group g=2, and no others."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    right = rng.random(n) < 0.8
    before = np.where(right, truth, ~truth)
    groups = grouped(rng.integers(0, cohorts, n), cohorts)
    lost = (groups.at == 2) & (rng.random(n) < share)
    return fairness(
        objects(truth),
        objects(before),
        objects(before & ~lost),
        groups,
        block_at=np.arange(n) // 200,
        n_blocks=n // 200,
        n_boot=500,
    )


def test_the_harmed_group_is_named() -> None:
    found = harmed(0.3)
    change = found.gaps["tpr_group_change"]
    assert change.groups == change.shown(-0.05) == ("g=2",)
    assert change.value == pytest.approx(-0.24, abs=0.05)
    assert change.p_value(-0.05) < 0.01
    assert change.bound(0.05) < -0.1
    for form in ("difference", "difference_change"):
        gap = found.gaps[f"tpr_{form}"]
        assert gap.groups[1] == gap.shown(0.1)[1] == "g=2"
        assert gap.p_value(0.1) < 0.01
        assert 0.1 < gap.bound(0.05) < gap.value < gap.far_bound(0.05) < 0.4
    ratio = found.gaps["tpr_ratio"]
    assert ratio.groups[1] == "g=2"
    assert ratio.p_value(0.8) < 0.05
    assert ratio.far_bound(0.05) < ratio.value < ratio.bound(0.05) < 0.8
    assert found.gaps["tpr_ratio_change"].p_value(-0.1) < 0.05


def test_no_harm_is_shown_where_there_is_none() -> None:
    found = harmed(0.0)
    for gap in found.gaps.values():
        if gap.form.endswith("change"):
            assert gap.value == 0.0
            assert gap.p_value(0.0) > 0.05


def test_a_small_group_is_reported_and_not_compared() -> None:
    """Twenty rows of which none is selected would be the widest gap of all."""
    rng = np.random.default_rng(1)
    at = np.where(np.arange(4000) % 200 == 0, 2, rng.integers(0, 2, 4000))
    truth = rng.random(4000) < 0.5
    predicted = truth & (at != 2)
    found = fairness(
        objects(truth),
        objects(predicted),
        objects(predicted),
        grouped(at, 3),
        block_at=np.arange(4000) // 100,
        n_blocks=40,
        n_boot=200,
    )
    assert found.n_rows.tolist()[2] == 20
    assert found.rates[1, 0, 2] == 0.0
    assert found.compared[:, :2].all()
    assert not found.compared[:, 2].any()
    assert "g=2" not in found.gaps["selection_rate_difference"].groups


def test_a_group_seen_in_few_blocks_is_not_compared() -> None:
    """Rows of three days say nothing about other days, however many they are."""
    rng = np.random.default_rng(2)
    block_at = np.arange(4000) // 100
    at = np.where(block_at < 3, 1, 0)
    y = objects(rng.random(4000) < 0.5)
    found = fairness(y, y, y, grouped(at, 2), block_at=block_at, n_blocks=40, n_boot=100)
    assert found.n_rows.tolist() == [3700, 300]
    assert not found.compared[:, 1].any()
    assert not found.gaps["tpr_difference"].can_tell


def test_groups_missing_in_some_blocks_are_compared() -> None:
    rng = np.random.default_rng(3)
    block_at = np.arange(6000) // 100
    at = np.where(block_at % 3 == 0, 1, 0)
    y = objects(rng.random(6000) < 0.5)
    found = fairness(y, y, y, grouped(at, 2), block_at=block_at, n_blocks=60, n_boot=200)
    gap = found.gaps["selection_rate_difference"]
    assert gap.can_tell
    assert math.isfinite(gap.bound(0.05))


@pytest.mark.parametrize("case", ["no rows", "one group", "one class", "one block", "never"])
def test_what_cannot_be_told_is_no_harm_shown(case: str) -> None:
    """Defined answers for every degenerate input: NaN, p-value 1, no warning, no crash."""
    rng = np.random.default_rng(4)
    n = 0 if case == "no rows" else 600
    truth = rng.random(n) < 0.5
    at = rng.integers(0, 2, n)
    n_groups, n_blocks = 2, 1 if case == "one block" else 12
    if case == "one group":
        at, n_groups = np.zeros(n, dtype=int), 1
    if case == "one class":
        truth = np.zeros(n, dtype=bool)
    predicted = objects(truth & False if case == "never" else truth)
    groups = Grouping("g", (), at) if n == 0 else grouped(at, n_groups)
    found = fairness(
        objects(truth),
        predicted,
        predicted,
        groups,
        block_at=np.arange(n) * n_blocks // max(n, 1),
        n_blocks=0 if n == 0 else n_blocks,
        positive=True,
        n_boot=100,
    )
    assert len(found.gaps) == len(MEASURES) * len(FORMS)
    for gap in found.gaps.values():
        limit = {"difference": 0.01, "ratio": 0.99}.get(gap.form, 0.0)
        assert gap.p_value(limit) > 0.05, gap.name
        if not gap.can_tell:
            assert math.isnan(gap.bound(0.05))
            assert math.isnan(gap.far_bound(0.05))
            assert gap.shown(limit) == ()
            assert gap.p_value(-1.0) == 1.0
    told = {"one group": 3, "one class": 8, "never": 12}
    assert sum(gap.can_tell for gap in found.gaps.values()) == told.get(case, 0)


def test_a_group_that_gets_nothing_is_the_worst_ratio() -> None:
    """Breaks when the ratio of a rate of 0 becomes undefined, and so no harm."""
    rng = np.random.default_rng(5)
    at = rng.integers(0, 2, 4000)
    y = rng.random(4000) < 0.5
    found = fairness(
        objects(y),
        objects(y),
        objects(y & (at == 0)),
        grouped(at, 2),
        block_at=np.arange(4000) // 100,
        n_blocks=40,
        n_boot=500,
    )
    ratio = found.gaps["selection_rate_ratio"]
    assert ratio.value == 0.0
    assert ratio.shown(0.8) == ("g=0", "g=1")
    assert ratio.p_value(0.8) < 0.01


def test_counts_add_up() -> None:
    rng = np.random.default_rng(6)
    truth, before, after = rng.random((3, 500)) < 0.5
    at, block_at = rng.integers(0, 3, 500), rng.integers(0, 10, 500)
    counts = group_counts(truth, before, after, at, n_groups=3, block_at=block_at, n_blocks=10)
    assert counts.sum() == 500
    here = (block_at == 4) & (at == 1) & truth & ~before & after
    assert counts[4, 1, 1, 0, 1] == here.sum()


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, again = drawn(7), drawn(7)
    for name, gap in one.gaps.items():
        assert gap.bound(0.05) == again.gaps[name].bound(0.05)


def test_arrays_of_different_rows_are_refused() -> None:
    y = objects(np.zeros(3))
    with pytest.raises(Invalid, match="lengths 3, 3, 2, 3, 3"):
        fairness(y, y, y[:2], grouped(np.zeros(3, int), 1), block_at=np.arange(3), n_blocks=3)


def test_a_million_rows_in_single_row_blocks_are_within_reach() -> None:
    """Breaks when a resample costs rows times blocks; bench.gate has the time."""
    n = 1_000_000
    rng = np.random.default_rng(8)
    y, before, after = (objects(rng.integers(0, 2, n)) for _ in range(3))
    groups = grouped(rng.integers(0, 5, n), 5)
    found = fairness(y, before, after, groups, block_at=np.arange(n), n_blocks=n)
    assert found.n_rows.sum() == n
