"""Breaks when a claim is judged on another metric, by the wrong test, or on half its evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.evaluate.metrics import metric
from renewal.evaluate.report import Report
from renewal.gate.estimates import estimate_of
from renewal.gate.gathering import Undefined, carried, gather
from renewal.gate.judge import Evidence
from renewal.gate.options import GateOptions
from renewal.gate.running import BetTest, BlockTest
from renewal.stats.bootstrap import Bootstrapped
from renewal.stats.delong import AucDifference, paired_delong
from renewal.stats.discordant import Discordant
from renewal.stats.paired import PairedMean

MakeReport = Callable[..., Report]
CANDIDATE, BASELINE = "c" * 64, "b" * 64
EVERY = ("superior", "superior(auc)", "no_worse(f1, 0.02)", "superior(accuracy)")
METHODS = {
    "rows": ("paired t on rows", "DeLong", "bootstrap of rows within labels", "McNemar, mid-p"),
    "groups": (
        "paired t on blocks",
        "DeLong on blocks",
        "bootstrap of blocks",
        "paired t on blocks",
    ),
    "days": (
        "paired t on blocks",
        "DeLong components on blocks",
        "jackknife of blocks",
        "paired t on blocks",
    ),
}


def gathered(report: Report, *claims: str) -> tuple[Evidence, ...]:
    """Return the evidence for claims."""
    return gather(report, CANDIDATE, BASELINE, GateOptions(must_prove=claims or EVERY))


@pytest.fixture(scope="module", params=["rows", "groups", "days"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return how rows depend on each other."""
    return str(request.param)


@pytest.fixture(scope="module")
def report(make_report: MakeReport, kind: str) -> Report:
    """Return 600 rows on which the candidate ranks better."""
    rng = np.random.default_rng(1)
    labels = (rng.random(600) < 0.4).astype(np.int64)
    old, new = (
        1 / (1 + np.exp(-(scale * (labels - 0.5) + rng.normal(size=600)))) for scale in (1.0, 2.0)
    )
    units = np.arange(600) // 20
    how = {"rows": {}, "groups": {"groups": units}, "days": {"days": units}}
    return make_report(labels, old, new, **how[kind])


def test_each_claim_has_the_test_made_for_it(report: Report, kind: str) -> None:
    found = gathered(report)
    assert tuple(each.estimate.method for each in found) == METHODS[kind]
    assert [str(each.proof) for each in found] == list(EVERY)
    assert [each.series.higher_is_better for each in found] == [False, True, True, True]
    kinds = {
        "rows": (PairedMean, AucDifference, Bootstrapped, Discordant),
        "groups": (PairedMean, AucDifference, Bootstrapped, PairedMean),
        "days": (PairedMean,) * 4,
    }
    assert tuple(type(each.estimate.bounds) for each in found) == kinds[kind]
    running = [type(each.estimate.running) for each in found]
    single = BetTest if kind == "rows" else BlockTest
    assert running == [single, BlockTest, BlockTest, single]


def test_the_gain_is_the_difference_of_the_metric(report: Report) -> None:
    """Whatever the test, what it speaks about is the number that people read."""
    old, new = report.of(BASELINE).scored, report.of(CANDIDATE).scored
    for each in gathered(report)[1:]:
        name = each.proof.metric
        difference = metric(name).value(new.scores, report.labels, (0, 1)) - metric(name).value(
            old.scores, report.labels, (0, 1)
        )
        assert each.series.candidate_value - each.series.baseline_value == pytest.approx(difference)
        assert each.estimate.gain == pytest.approx(difference, abs=2e-3)  # the jackknife's bias
        middle = 0.5 * (each.estimate.bounds.lower(0.4999) + each.estimate.bounds.upper(0.4999))
        assert middle == pytest.approx(difference, abs=4e-3)
        assert each.estimate.bounds.lower(0.05) < difference < each.estimate.bounds.upper(0.05)


def test_delong_is_asked_on_the_scores_of_the_rows(make_report: MakeReport) -> None:
    rng = np.random.default_rng(2)
    labels, old, new = rng.integers(0, 2, 200), rng.random(200), rng.random(200)
    (found,) = gathered(make_report(labels, old, new), "superior(auc)")
    oracle = paired_delong(labels == 1, old, new)
    assert found.estimate.bounds.lower(0.01) == pytest.approx(oracle.lower(0.01))


def test_a_metric_that_falls_with_quality_gains_when_it_falls(make_report: MakeReport) -> None:
    labels = np.tile([0, 1], 50)
    worse = np.where(labels == 1, 0.6, 0.4) + np.linspace(-0.01, 0.01, 100)
    better = np.where(labels == 1, 0.9, 0.1) + np.linspace(-0.01, 0.01, 100)
    (found,) = gathered(make_report(labels, worse, better), "superior(brier)")
    assert found.estimate.gain == pytest.approx(0.16 - 0.01, abs=0.01)
    assert not found.series.higher_is_better
    assert found.series.reach == 1.0


def test_resampling_is_repeated_by_its_seed(make_report: MakeReport) -> None:
    rng = np.random.default_rng(3)
    report = make_report(rng.integers(0, 2, 300), rng.random(300), rng.random(300))

    def bound(seed: int) -> float:
        options = GateOptions(must_prove=("superior(f1)",), seed=seed)
        return gather(report, CANDIDATE, BASELINE, options)[0].estimate.bounds.lower(0.05)

    assert bound(1) == bound(1) != bound(2)


@pytest.mark.parametrize("name", ["auc", "precision"])
def test_what_rows_do_not_define_cannot_be_judged(make_report: MakeReport, name: str) -> None:
    """No positive, or none predicted: such rows must not end as a pass, nor as a crash."""
    report = make_report([0] * 50, [0.1] * 50, [0.2] * 50)
    with pytest.raises(Undefined, match=f"rows on which {name} is defined"):
        gathered(report, f"superior({name})")


def test_a_metric_that_nobody_knows_or_that_does_not_suit_is_refused(
    make_report: MakeReport,
) -> None:
    report = make_report([0, 1] * 10, [0.5] * 20, [0.5] * 20)
    with pytest.raises(Invalid, match="Did you mean 'auc'"):
        gathered(report, "superior(acu)")
    with pytest.raises(Invalid, match="rmse"):
        gathered(report, "superior(rmse)")


def test_evidence_goes_on_where_it_ended(make_report: MakeReport) -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 400)
    old, new = rng.random(400), rng.random(400)
    days = np.arange(400) // 10

    def part(rows: slice) -> tuple[Evidence, ...]:
        return gathered(make_report(labels[rows], old[rows], new[rows], days=days[rows]))

    whole = part(slice(None))
    before, since = part(slice(0, 200)), part(slice(200, None))
    found = carried([each.series for each in before], since)
    assert [each.proof for each in found] == [each.proof for each in whole]
    assert [each.series.higher_is_better for each in found] == [False, True, True, True]
    for each, all_in_one in zip(found, whole, strict=True):
        assert each.series.n_rows == each.estimate.n_rows == 400
        assert each.estimate.n_blocks == 40
        assert each.estimate.gain == pytest.approx(all_in_one.estimate.gain, abs=0.05)
    for at in (0, 3):  # means of rows are the same to the last bit or two
        assert found[at].series.gains == pytest.approx(whole[at].series.gains, abs=1e-12)
        assert found[at].estimate.running.lower(0.02) == pytest.approx(
            whole[at].estimate.running.lower(0.02)
        )


def test_evidence_of_another_metric_or_unit_is_let_go(make_report: MakeReport) -> None:
    rng = np.random.default_rng(5)
    report = make_report(rng.integers(0, 2, 90), rng.random(90), rng.random(90))
    loss, auc = gathered(report, "superior", "superior(auc)")
    assert carried([auc.series], [loss]) == (loss,)
    assert carried([], [loss]) == (loss,)
    weeks = replace(loss.series, unit="week")
    assert carried([weeks], [loss]) == (loss,)


def test_carried_evidence_is_that_of_the_joined_series(make_report: MakeReport) -> None:
    rng = np.random.default_rng(6)
    report = make_report(rng.integers(0, 2, 90), rng.random(90), rng.random(90))
    (now,) = gathered(report, "superior")
    before = replace(now.series, blocks=now.series.blocks + 1000)
    (found,) = carried([before], [now])
    joined = estimate_of(before.then(now.series))
    assert found.estimate.n_blocks == 180
    assert found.estimate.running.lower(0.02) == joined.running.lower(0.02)
