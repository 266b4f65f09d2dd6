"""Breaks when a guard looks at other rows than it says, or harm to a part hides in the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.verdict import Clause
from renewal.evaluate.cost import Cost
from renewal.evaluate.report import Report, evaluate
from renewal.evaluate.robustness import Disturbed, Robustness
from renewal.gate.harms import Extras, harms_of
from renewal.gate.options import GateOptions, Guards
from renewal.gate.vetoes import vetoes
from renewal.models.task import Regression

MakeReport = Callable[..., Report]
CANDIDATE, BASELINE = "c" * 64, "b" * 64
DAYS = np.repeat(np.arange(30), 100)
N = len(DAYS)


@pytest.fixture
def harmed(make_report: MakeReport) -> Report:
    """Return a report on 30 days: the candidate is better, but worse where origin is JFK.

    There it also misses positives that the champion finds.
    """
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, N)
    origin = np.where(rng.random(N) < 0.2, "JFK", "EWR")
    base = np.where(labels == 1, 0.65, 0.35) + rng.normal(0, 0.08, N)
    better = np.where(labels == 1, 0.80, 0.20) + rng.normal(0, 0.08, N)
    worse = np.where(labels == 1, 0.40, 0.35) + rng.normal(0, 0.08, N)
    candidate = np.where(origin == "JFK", worse, better)
    report = make_report(labels, base.clip(0.01, 0.99), candidate.clip(0.01, 0.99), days=DAYS)
    features = pa.table({"origin": origin, "x": rng.normal(size=N)})
    return replace(report, rows=replace(report.rows, features=features))


def clauses(report: Report, guards: Guards, extras: Extras | None = None) -> dict[str, Clause]:
    """Return the clauses of some guards by name."""
    options = GateOptions(guards=guards)
    found = harms_of(report, CANDIDATE, BASELINE, options, extras=extras)
    return {each.name: each for each in vetoes(found, guards.alpha)}


def test_harm_to_a_slice_is_shown_and_named(harmed: Report) -> None:
    found = clauses(harmed, Guards(slices=("origin", "x:2")))
    assert found["slice origin=JFK"].state == "fails"
    assert "origin=JFK" in found["slice origin=JFK"].sentence
    assert found["slice origin=EWR"].state == "holds"
    mask = np.asarray(harmed.rows.features["origin"].to_pylist()) == "JFK"
    old, new = harmed.of(BASELINE), harmed.of(CANDIDATE)
    assert found["slice origin=JFK"].value == pytest.approx(
        new.losses[mask].mean() - old.losses[mask].mean()
    )
    assert found["slice origin=JFK"].n_rows == mask.sum()
    assert len([name for name in found if name.startswith("slice x")]) == 2


def test_harm_to_a_group_is_shown_with_both_groups_named(harmed: Report) -> None:
    found = clauses(harmed, Guards(groups=("origin",), rates=("tpr",), fairness_bound=0.1))
    change = found["fairness origin tpr_difference_change"]
    assert change.state == "fails"
    assert "origin=JFK" in change.sentence
    assert "origin=EWR" in change.sentence
    assert found["fairness origin tpr_difference"].state == "fails"


def test_a_ratio_under_four_fifths_is_shown(harmed: Report) -> None:
    found = clauses(harmed, Guards(groups=("origin",), rates=("tpr",), fairness_ratio=0.8))
    ratio = found["fairness origin tpr_ratio"]
    assert ratio.state == "fails"
    assert 0.0 < ratio.lower < ratio.value < ratio.upper < ratio.bound == 0.8
    assert "at most" in ratio.sentence


def test_what_one_group_loses_is_shown_whatever_the_others_do(harmed: Report) -> None:
    """Breaks when the widest gap hides a group whose rate falls between two others."""
    found = clauses(harmed, Guards(groups=("origin",), rates=("tpr", "selection_rate")))
    change = found["fairness origin tpr_group_change"]
    assert change.state == "fails"
    assert change.value < change.bound == -0.05
    assert change.sentence.startswith("the true-positive rate of origin=JFK changes by -")
    assert "fairness origin selection_rate_group_change" not in found


def test_negative_flips_and_calibration(harmed: Report) -> None:
    found = clauses(harmed, Guards(max_negative_flips=0.01, calibration_margin=0.5))
    assert found["negative flips"].state == "fails"
    assert found["calibration"].state == "holds"
    lenient = clauses(harmed, Guards(max_negative_flips=0.01, churn_floor=0.3))
    assert lenient["negative flips"].state == "holds"


def test_a_slice_with_few_blocks_cannot_tell(harmed: Report) -> None:
    origin = np.where(np.arange(N) < 250, "LGA", "EWR")  # the first two and a half days
    rows = replace(harmed.rows, features=pa.table({"origin": origin}))
    found = clauses(replace(harmed, rows=rows), Guards(slices=("origin",)))
    assert found["slice origin=LGA"].state == "cannot_tell"
    assert "too little evidence" in found["slice origin=LGA"].sentence


def test_equal_versions_are_not_vetoed(make_report: MakeReport) -> None:
    """All guards at once, 30 pairs of equal versions, seed 2: 5% and 3 errors are 5 of 30."""
    rng = np.random.default_rng(2)
    guards = Guards(
        slices=("origin",),
        groups=("origin",),
        slice_margin_share=0.0,
        fairness_margin=0.0,
        calibration_margin=0.0,
    )
    vetoed = 0
    for _ in range(30):
        labels = rng.integers(0, 2, N)
        one, other = (
            (np.where(labels == 1, 0.65, 0.35) + rng.normal(0, 0.2, N)).clip(0.01, 0.99)
            for _ in range(2)
        )
        report = make_report(labels, one, other, days=DAYS)
        features = pa.table({"origin": rng.choice(["a", "b", "c"], N)})
        report = replace(report, rows=replace(report.rows, features=features))
        vetoed += any(each.state == "fails" for each in clauses(report, guards).values())
    assert vetoed <= 5


def test_robustness_is_relative_to_the_champion(harmed: Report) -> None:
    rows = np.arange(N)
    calm, worse = np.full(N, 0.5), np.full(N, 0.8)
    found = Robustness(
        rows=rows,
        clean=(Disturbed(calm, 1.0, None),) * 2,
        disturbed={
            "nulls": (Disturbed(worse, 0.9, None), Disturbed(worse, 0.9, None)),
            "noise": (Disturbed(calm, 0.9, None), Disturbed(worse, 0.5, None)),
            "unit_change": (Disturbed(calm, 0.9, None), Disturbed(None, np.nan, "it raised")),
        },
        skipped={},
    )
    by_name = clauses(harmed, Guards(), Extras(robustness=found))
    assert by_name["robustness nulls"].state == "holds", "both lose alike"
    assert by_name["robustness noise"].state == "fails"
    assert by_name["robustness unit_change"].state == "fails"
    assert "it raised" in by_name["robustness unit_change"].sentence


def test_latency_and_size_are_held_against_their_budgets(harmed: Report) -> None:
    rng = np.random.default_rng(3)
    times = rng.gamma(20.0, size=(2, 700))
    costs = {
        BASELINE: Cost(times[0], times[0][:400], artifact_bytes=1_000),
        CANDIDATE: Cost(2.0 * times[1], times[1][:400], artifact_bytes=5_000, memory_bytes=10),
    }
    guards = Guards(
        max_latency_ratio=1.2, max_latency_ms=1e6, max_bytes=2_000, max_memory_bytes=100
    )
    found = clauses(harmed, guards, Extras(costs=costs))
    assert found["latency p99 at batch 1"].state == "fails"
    assert found["latency p99 at batch 64"].state == "cannot_tell"
    assert found["latency"].state == "holds"
    assert (found["size"].state, found["memory"].state) == ("fails", "holds")
    assert "5,000" in found["size"].sentence
    broken = {**costs, CANDIDATE: replace(costs[CANDIDATE], failed="ValueError: no")}
    assert clauses(harmed, guards, Extras(costs=broken))["latency"].state == "fails"


def test_a_regression_has_slices_and_no_groups(harmed: Report) -> None:
    values = np.random.default_rng(4).normal(size=N)
    rows = replace(harmed.rows, label=values)
    scored = [
        replace(each.scored, scores=values[:, None] + 0.1, classes=()) for each in harmed.versions
    ]
    report = evaluate(Regression(), rows, scored, block_us=86_400_000_000, is_timed=True)
    found = clauses(report, Guards(slices=("origin",), groups=("origin",), max_negative_flips=0.0))
    assert set(found) == {"slice origin=JFK", "slice origin=EWR"}
