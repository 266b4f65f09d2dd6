"""Breaks when the gain by a metric is not the difference of the metric, or its blocks mislead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.evaluate.gains import block_counts, loss_series, metric_series
from renewal.evaluate.metrics import metric
from renewal.evaluate.metrics_record import Metric
from renewal.evaluate.report import Report, Scored, evaluate
from renewal.models.task import Binary, Multiclass, Regression, Task
from renewal.stats.paired import paired_mean

MakeRows = Callable[..., Rows]
N = 600


def binary_report(make_rows: MakeRows, seed: int = 1, **how: Any) -> Report:
    """Return two binary versions on 600 rows, the second one better."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(N) < 0.35).astype(int)
    scored = []
    for name, scale in (("old", 1.0), ("new", 1.6)):
        p = 1 / (1 + np.exp(-(scale * (labels - 0.5) + rng.normal(size=N))))
        scored.append(Scored(name, np.column_stack([1 - p, p]), (0, 1)))
    return evaluate(Binary(), make_rows(labels.tolist(), **how), scored)


def value(report: Report, found: Metric, version: str) -> float:
    """Return the metric of one version over all rows."""
    scored = report.of(version).scored
    return found.value(scored.scores, report.labels, scored.classes)


def own(name: str = "shop:worth", **fields: Any) -> Metric:
    """Return a metric of the user's: what it earns to act on the surest tenth."""

    def worth(scores: Any, labels: Any, classes: Any) -> float:  # noqa: ARG001  # a metric's
        chosen = np.argsort(-scores[:, 1], kind="stable")[: max(1, len(labels) // 10)]
        return float(np.mean(labels[chosen] == 1))

    return Metric(name, True, (None, None), "set", (), worth, **fields)


def test_gains_by_the_loss_are_paired_before_they_are_averaged(make_rows: MakeRows) -> None:
    report = binary_report(make_rows, block=np.arange(N) // 20)
    found = loss_series(report, "new", "old")
    rows = report.of("old").losses - report.of("new").losses
    assert found.gains == pytest.approx(rows.reshape(-1, 20).mean(axis=1))
    assert found.metric == "log_loss"
    assert found.reach == report.task.loss_bound


@pytest.mark.parametrize("name", ["accuracy", "brier", "log_loss", "macro_f1", "f1", "auc"])
@pytest.mark.parametrize("of_block", [1, 20])
def test_values_are_those_of_the_metric_and_gains_point_up(
    make_rows: MakeRows, name: str, of_block: int
) -> None:
    report = binary_report(make_rows, block=np.arange(N) // of_block)
    found = metric(name, classes=(0, 1))
    series = metric_series(report, found, "new", "old")
    new, old = value(report, found, "new"), value(report, found, "old")
    assert (series.candidate_value, series.baseline_value) == (new, old)
    gain = new - old if found.higher_is_better else old - new
    assert gain > 0
    mean = paired_mean(series.gains, weights=series.weights).mean
    assert mean == pytest.approx(gain, abs=1e-12)
    assert series.is_weighted == (found.kind == "row")
    assert series.has_groups == (of_block > 1)
    back = metric_series(report, found, "old", "new")
    assert back.gains == pytest.approx(-series.gains, abs=1e-9)


@pytest.mark.parametrize(("name", "reach"), [("accuracy", 1.0), ("brier", 1.0), ("log_loss", None)])
def test_a_row_reaches_as_far_as_its_metric_has_bounds(
    make_rows: MakeRows, name: str, reach: float | None
) -> None:
    report = binary_report(make_rows)
    series = metric_series(report, metric(name, classes=(0, 1)), "new", "old")
    if reach is not None:
        assert series.reach == reach
    assert np.abs(series.gains).max() <= series.reach


def test_blocks_of_many_sizes_weigh_as_their_rows_do(make_rows: MakeRows) -> None:
    """The mean over blocks must be the number that people read, whatever the blocks."""
    blocks = np.sort(np.random.default_rng(3).geometric(0.1, N))
    report = binary_report(make_rows, block=blocks)
    for name in ("accuracy", "auc", "f1"):
        series = metric_series(report, metric(name), "new", "old")
        mean = paired_mean(series.gains, weights=series.weights).mean
        assert mean == pytest.approx(series.candidate_value - series.baseline_value, abs=1e-12)


def test_a_set_metric_is_the_jackknife_of_the_metric_itself(make_rows: MakeRows) -> None:
    """Oracle: scikit-learn on the rows without each block."""
    report = binary_report(make_rows, block=np.arange(N) // 30)
    found = metric_series(report, metric("f1"), "new", "old")
    truth = report.labels.astype(int)
    guess = {each.version_id: each.scored.scores.argmax(axis=1) for each in report.versions}

    def difference(kept: Any) -> float:
        new, old = (f1_score(truth[kept], guess[name][kept]) for name in ("new", "old"))
        return float(new - old)

    whole = difference(slice(None))
    usual = [20 * whole - 19 * difference(report.blocks.at != block) for block in range(20)]
    # As the usual pseudo-values, but for the correction of the bias.
    assert found.gains == pytest.approx(np.array(usual) + whole - np.mean(usual), abs=1e-12)
    assert np.mean(usual) == pytest.approx(whole, abs=2e-3)


def test_a_metric_without_counts_is_the_jackknife_too(make_rows: MakeRows) -> None:
    report = binary_report(make_rows, block=np.arange(N) // 30)
    mine = own()
    found = metric_series(report, mine, "new", "old")
    new, old = report.of("new").scored, report.of("old").scored
    oracle = []
    whole = value(report, mine, "new") - value(report, mine, "old")
    for block in range(20):
        kept = report.blocks.at != block
        without = mine.value(new.scores[kept], report.labels[kept], (0, 1)) - mine.value(
            old.scores[kept], report.labels[kept], (0, 1)
        )
        oracle.append(20 * whole - 19 * without)
    assert found.gains == pytest.approx(np.array(oracle) + whole - np.mean(oracle))
    assert (found.metric, found.unit, found.is_weighted) == ("shop:worth", "block", False)


def test_a_metric_without_counts_is_computed_a_bounded_number_of_times(
    make_rows: MakeRows,
) -> None:
    """Each of 600 rows left out once would take 1,200 calls; neighbors are merged into 200."""
    calls = []
    inner = own()

    def counted(scores: Any, labels: Any, classes: Any) -> float:
        calls.append(len(labels))
        return inner.value(scores, labels, classes)

    report = binary_report(make_rows)
    mine = Metric("shop:worth", True, (None, None), "set", (), counted)
    found = metric_series(report, mine, "new", "old")
    assert len(calls) <= 2 * 201 + 2
    assert (found.unit, len(found.gains), found.n_rows) == ("block group", 200, N)
    assert found.has_groups
    assert found.n_block_rows.tolist() == [3] * 200
    assert len(set(found.blocks.tolist())) == 200
    gain = found.candidate_value - found.baseline_value
    # It jumps, and the usual pseudo-values have a mean of the other sign.
    assert found.gains.mean() == pytest.approx(gain)


def test_a_metric_of_the_users_that_falls_with_quality(make_rows: MakeRows) -> None:
    report = binary_report(make_rows, block=np.arange(N) // 30)
    up = own()
    down = Metric(
        "shop:cost",
        False,
        (None, None),
        "set",
        (),
        lambda scores, labels, classes: -up.value(scores, labels, classes),
    )
    one, two = (metric_series(report, each, "new", "old") for each in (up, down))
    assert one.gains == pytest.approx(two.gains)


def test_counts_of_blocks_add_up_to_those_of_all_rows(make_rows: MakeRows) -> None:
    report = binary_report(make_rows, block=np.arange(N) // 7)
    found = metric("macro_f1")
    version = report.of("new")
    counts = block_counts(report, found, version)
    assert found.counts is not None
    assert found.of_counts is not None
    rows = found.counts(version.scored.scores, report.labels, (0, 1))
    assert counts.shape == (86, rows.shape[1])
    assert counts.sum(axis=0) == pytest.approx(rows.sum(axis=0))
    assert float(found.of_counts(counts.sum(axis=0))) == pytest.approx(value(report, found, "new"))


def test_what_is_undefined_leaves_no_evidence(make_rows: MakeRows) -> None:
    sides = [Scored(name, np.full((30, 2), 0.5), (0, 1)) for name in ("old", "new")]
    report = evaluate(Binary(), make_rows([0] * 30, block=np.arange(30) // 5), sides)
    found = metric_series(report, metric("auc"), "new", "old")
    assert len(found.gains) == found.n_rows == 0
    assert np.isnan(found.baseline_value)


@pytest.mark.parametrize(
    ("task", "name"), [(Multiclass(), "macro_f1"), (Multiclass(), "ovr_auc"), (Regression(), "r2")]
)
def test_other_tasks_have_evidence_too(make_rows: MakeRows, task: Task, name: str) -> None:
    rng = np.random.default_rng(5)
    is_value = task.name == "regression"
    labels = (
        rng.normal(size=200).tolist() if is_value else rng.choice(["a", "b", "c"], 200).tolist()
    )
    classes = () if is_value else ("a", "b", "c")
    scored = [
        Scored(
            each,
            rng.normal(size=(200, 1)) if is_value else rng.dirichlet(np.ones(3), size=200),
            classes,
        )
        for each in ("old", "new")
    ]
    report = evaluate(task, make_rows(labels, block=np.arange(200) // 5), scored)
    found = metric_series(report, metric(name), "new", "old")
    difference = found.candidate_value - found.baseline_value
    assert found.gains.mean() == pytest.approx(difference, abs=0.02)


def test_what_one_block_alone_defines_leaves_no_evidence(make_rows: MakeRows) -> None:
    """All that is known of a class then comes from one day: nothing bounds it."""
    labels = [0] * 25 + [1] * 5
    sides = [Scored(name, np.full((30, 2), 0.5), (0, 1)) for name in ("old", "new")]
    report = evaluate(Binary(), make_rows(labels, block=np.arange(30) // 5), sides)
    assert len(metric_series(report, metric("average_precision"), "new", "old").gains) == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_equal_versions_are_called_better_at_most_as_often_as_said(
    make_rows: MakeRows, seed: int
) -> None:
    """A metric that jumps, 20 blocks of 10 rows, one-sided 5%: 150 trials, 3 standard errors."""
    rng = np.random.default_rng(seed)
    rows = make_rows([0, 1] * 100, block=np.arange(200) // 10)
    called = 0
    for _ in range(150):
        noise = rng.normal(size=(2, 200)) + 0.5 * np.tile([0, 1], 100)
        sides = [
            Scored(name, np.column_stack([-each, each]), (0, 1))
            for name, each in zip(("old", "new"), noise, strict=True)
        ]
        report = evaluate(Binary(), rows, sides)
        series = metric_series(report, own(), "new", "old")
        called += paired_mean(series.gains, ordered=False).lower(0.05) > 0
    assert called / 150 <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5


def test_a_version_that_is_not_there_is_refused(make_rows: MakeRows) -> None:
    report = binary_report(make_rows)
    with pytest.raises(Invalid, match="'third'"):
        loss_series(report, "third", "old")
    with pytest.raises(Invalid, match="'third'"):
        metric_series(report, metric("auc"), "new", "third")
