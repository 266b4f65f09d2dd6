"""Breaks when losses are paired across rows, classes or blocks that do not belong together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.evaluate.gains import loss_series
from renewal.evaluate.report import Report, Scored, evaluate
from renewal.evaluate.series import Series
from renewal.models.task import Binary, Multiclass, Regression

MakeRows = Callable[..., Rows]
DAY_US = 86_400_000_000


def binary(positive: list[float]) -> np.ndarray:
    """Return the two columns of a binary version."""
    p = np.array(positive)
    return np.column_stack([1 - p, p])


def pair(old: np.ndarray, new: np.ndarray, classes: tuple[Any, ...] = (0, 1)) -> list[Scored]:
    """Return two versions, ``old`` and ``new``."""
    return [Scored("old", old, classes), Scored("new", new, classes)]


def gains(report: Report) -> Series:
    """Return the gain of ``new`` over ``old``."""
    return loss_series(report, "new", "old")


def test_gains_are_the_mean_difference_of_each_block(make_rows: MakeRows) -> None:
    rows = make_rows([1, 0, 1, 1], block=[7, 7, 3, 7], event_us=[10, 20, 40, 30])
    old, new = binary([0.5, 0.5, 0.5, 0.5]), binary([0.8, 0.4, 0.25, 0.5])
    report = evaluate(Binary(), rows, pair(old, new), n_seen=9)
    found = gains(report)
    gain = [math.log(0.8 / 0.5), math.log(0.6 / 0.5), math.log(0.25 / 0.5), 0.0]
    # Block 7 began at 10, block 3 at 40: the order of time, not of the ids.
    assert found.blocks.tolist() == [7, 3]
    assert found.n_block_rows.tolist() == [3, 1]
    assert found.gains == pytest.approx([(gain[0] + gain[1] + gain[3]) / 3, gain[2]])
    assert found.baseline_value == pytest.approx(math.log(2))
    weighted = np.average(found.gains, weights=found.n_block_rows)
    assert weighted == pytest.approx(found.baseline_value - found.candidate_value)
    assert (report.n_rows, report.n_seen, found.metric) == (4, 9, "log_loss")
    assert (found.n_rows, found.n_seen) == (4, 9)
    assert (found.from_us, found.until_us) == (10, 40)
    assert (found.baseline, found.candidate) == ("old", "new")
    assert report.of("new").metrics["accuracy"] == 0.5
    assert report.of("new").mean_loss == found.candidate_value


def test_many_versions_share_rows_and_blocks(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1] * 10)
    scored = [Scored(f"v{k}", binary([0.1 * (k + 1)] * 20), (0, 1)) for k in range(5)]
    report = evaluate(Binary(), rows, scored)
    assert [each.version_id for each in report.versions] == [f"v{k}" for k in range(5)]
    for k in range(5):
        alone = evaluate(Binary(), rows, [scored[k]])
        assert alone.of(f"v{k}").mean_loss == report.of(f"v{k}").mean_loss
        assert repr(alone.of(f"v{k}").metrics) == repr(report.of(f"v{k}").metrics)
    there, back = loss_series(report, "v1", "v3"), loss_series(report, "v3", "v1")
    assert there.gains.tolist() == (-back.gains).tolist()


def test_a_version_that_is_not_there_is_said(make_rows: MakeRows) -> None:
    report = evaluate(Binary(), make_rows([0, 1]), pair(binary([0.5] * 2), binary([0.5] * 2)))
    with pytest.raises(Invalid, match="one of its 2 versions; got 'third'"):
        report.of("third")


@pytest.mark.parametrize("ids", [[], ["a", "a"]])
def test_no_version_comes_twice_and_one_comes_at_least(make_rows: MakeRows, ids: list[str]) -> None:
    scored = [Scored(each, binary([0.5] * 2), (0, 1)) for each in ids]
    with pytest.raises(Invalid, match="at least one version, none of them twice"):
        evaluate(Binary(), make_rows([0, 1]), scored)


def test_classes_in_another_order_are_the_same_version(make_rows: MakeRows) -> None:
    rows = make_rows(["a", "b", "c", "a"])
    scores = np.random.default_rng(1).dirichlet(np.ones(3), size=4)
    report = evaluate(
        Multiclass(),
        rows,
        [
            Scored("old", scores, ("a", "b", "c")),
            Scored("new", scores[:, [2, 0, 1]], ("c", "a", "b")),
        ],
    )
    assert gains(report).gains.tolist() == [0.0] * 4
    assert report.of("old").metrics == report.of("new").metrics
    assert report.notes == ()


def test_a_class_that_only_the_candidate_knows_costs_the_baseline(make_rows: MakeRows) -> None:
    rows = make_rows(["a", "new"])
    report = evaluate(
        Multiclass(),
        rows,
        [
            Scored("old", np.array([[0.5, 0.5], [0.5, 0.5]]), ("a", "b"), "v1"),
            Scored("new", np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]), ("a", "b", "new")),
        ],
    )
    assert gains(report).gains == pytest.approx([0.0, -math.log(1e-3) + math.log(0.25)])
    assert report.notes == (
        "v1 does not know the class 'new'",
        "the versions tell different sets of classes apart",
    )


def test_a_regression_is_paired_too(make_rows: MakeRows) -> None:
    report = evaluate(
        Regression(),
        make_rows([1.0, 2.0]),
        pair(np.array([[0.0], [0.0]]), np.array([[1.0], [1.0]]), ()),
    )
    assert gains(report).gains.tolist() == [1.0, 1.0]
    assert gains(report).metric == "absolute_error"
    assert gains(report).reach == math.inf
    assert report.of("new").metrics["mae"] == 0.5
    assert report.notes == ()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_is_no_number_names_the_version(make_rows: MakeRows, bad: float) -> None:
    good = binary([0.5, 0.5])
    broken = good.copy()
    broken[1, 0] = bad
    scored = [Scored("v-good", good, (0, 1)), Scored("v-broken", broken, (0, 1))]
    with pytest.raises(Invalid, match="from version v-broken; got 1 of 2 rows") as caught:
        evaluate(Binary(), make_rows([0, 1]), scored)
    assert caught.value.fields["version_id"] == "v-broken"


@dataclass(frozen=True)
class LogError(Regression):
    """A task of the user's whose loss is undefined for scores below 0."""

    def loss(self, scores: Any, labels: Any, classes: Any) -> Any:  # noqa: ARG002  # the task's
        """Return the squared difference of logarithms."""
        with np.errstate(invalid="ignore"):
            return (np.log(scores[:, 0]) - np.log(labels)) ** 2


def test_a_loss_that_is_no_number_names_the_version(make_rows: MakeRows) -> None:
    """Its block would be left out, and a version that fails there would look fine."""
    scored = pair(np.array([[1.0], [1.0]]), np.array([[1.0], [-1.0]]), ())
    with pytest.raises(Invalid, match="from version new; got 1 of 2 rows whose loss") as caught:
        evaluate(LogError(), make_rows([1.0, 2.0]), scored)
    assert caught.value.fields["version_id"] == "new"


def test_scores_of_other_rows_are_refused(make_rows: MakeRows) -> None:
    with pytest.raises(Invalid, match="version old; got scores of shape") as caught:
        evaluate(Binary(), make_rows([0, 1]), pair(binary([0.5] * 3), binary([0.5] * 2)))
    assert caught.value.fields["version_id"] == "old"


def test_scores_of_other_classes_name_the_version(make_rows: MakeRows) -> None:
    three = np.full((2, 3), 1 / 3)
    with pytest.raises(Invalid, match=r"got shape \(2, 3\)") as caught:
        evaluate(Binary(), make_rows([0, 1]), pair(binary([0.5] * 2), three))
    assert caught.value.fields["version_id"] == "new"


def test_rows_without_labels_are_refused(make_rows: MakeRows) -> None:
    def judge(rows: Rows) -> None:
        evaluate(Binary(), rows, pair(binary([0.5] * 2), binary([0.5] * 2)))

    with pytest.raises(Invalid, match="without labels"):
        judge(make_rows(None, n_rows=2))
    with pytest.raises(Invalid, match="1 missing"):
        judge(make_rows([0, None]))
    with pytest.raises(Invalid, match="no row"):
        judge(make_rows([]))


@pytest.mark.parametrize(
    ("length_us", "unit"), [(DAY_US, "day"), (7 * DAY_US, "week"), (12345, "block")]
)
def test_a_block_of_common_length_is_called_by_its_name(
    make_rows: MakeRows, length_us: int, unit: str
) -> None:
    event_us = [15_706 * DAY_US + at * DAY_US // 2 for at in range(40)]
    rows = make_rows([0, 1] * 20, event_us=event_us, block=[at // length_us for at in event_us])
    sides = binary([0.5] * 40)
    report = evaluate(Binary(), rows, pair(sides, sides))
    assert gains(report).unit == unit
    assert gains(report).is_ordered == (unit != "block")


@pytest.mark.parametrize(
    ("length_us", "unit", "n_blocks"),
    [
        (DAY_US, "day", 20),
        (3 * DAY_US, "3-day block", 7),
        (DAY_US // 4, "6-hour block", 40),
        (7 * DAY_US, "week", 4),
    ],
)
def test_blocks_are_as_long_as_asked_whatever_the_rows_carry(
    make_rows: MakeRows, length_us: int, unit: str, n_blocks: int
) -> None:
    event_us = [15_706 * DAY_US + at * DAY_US // 2 for at in range(40)]
    rows = make_rows([0, 1] * 20, event_us=event_us)
    sides = binary([0.5] * 40)
    report = evaluate(Binary(), rows, pair(sides, sides), block_us=length_us)
    assert (report.blocks.unit, len(report.blocks.ids)) == (unit, n_blocks)
    assert report.blocks.n_rows.sum() == 40
    assert np.bincount(report.blocks.at).tolist() == report.blocks.n_rows.tolist()


def test_timed_rows_stay_in_order_when_their_blocks_are_no_stretches(make_rows: MakeRows) -> None:
    """Customers of one shop are blocks; when time is real their neighbors may be alike."""
    rows = make_rows([0, 1] * 4, block=[5, 5, 2, 2, 9, 9, 5, 1], event_us=range(8))
    sides = binary([0.5] * 8)
    for is_timed in (True, False):
        report = evaluate(Binary(), rows, pair(sides, sides), is_timed=is_timed)
        assert report.blocks.ids.tolist() == [5, 2, 9, 1]
        assert gains(report).is_ordered is is_timed
        assert gains(report).has_groups


def test_single_rows_are_no_groups(make_rows: MakeRows) -> None:
    sides = binary([0.5] * 4)
    found = gains(evaluate(Binary(), make_rows([0, 1, 0, 1]), pair(sides, sides)))
    assert (found.has_groups, found.is_ordered, found.is_weighted) == (False, False, True)
    assert found.reach == pytest.approx(-math.log(1e-3))


def test_blocks_that_a_metric_does_not_define_are_left_out(make_rows: MakeRows) -> None:
    sides = binary([0.5] * 4)
    report = evaluate(Binary(), make_rows([0, 1] * 2, block=[1, 1, 2, 3]), pair(sides, sides))
    found = report.series(
        "mine", ("new", "old"), np.array([0.1, math.nan, 0.3]), values=(0.2, 0.1), reach=1.0
    )
    assert (found.blocks.tolist(), found.n_block_rows.tolist()) == ([1, 3], [2, 1])
    assert found.gains.tolist() == [0.1, 0.3]
    assert (found.candidate_value, found.baseline_value, found.reach) == (0.2, 0.1, 1.0)


def test_a_hundred_thousand_blocks_are_no_trouble(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1] * 50_000)
    sides = binary([0.3, 0.6] * 50_000)
    report = evaluate(Binary(), rows, pair(sides, sides))
    assert len(gains(report).blocks) == report.n_rows == 100_000


def test_further_metrics_are_told_by_name_and_in_money(make_rows: MakeRows) -> None:
    rows = make_rows(["no", "yes", "yes", "no"])
    scores = binary([0.1, 0.8, 0.4, 0.3])
    found = evaluate(
        Binary(),
        rows,
        [Scored("v", scores, ("no", "yes"))],
        more=("average_precision", "cost"),
        costs={"no": {"no": 0.0, "yes": 1.0}, "yes": {"no": 10.0, "yes": 0.0}},
    )
    told = found.versions[0].metrics
    assert told["average_precision"] == 1.0
    assert told["cost"] == 10.0 / 4
    with pytest.raises(Invalid, match="no_such"):
        evaluate(Binary(), rows, [Scored("v", scores, ("no", "yes"))], more=("no_such",))
