"""Breaks when losses are paired across rows, classes or blocks that do not belong together."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.evaluate.report import compare
from renewal.models.task import Binary, Multiclass, Regression

MakeRows = Callable[..., Rows]
DAY_US = 86_400_000_000


def binary(positive: list[float]) -> np.ndarray:
    """Return the two columns of a binary version."""
    p = np.array(positive)
    return np.column_stack([1 - p, p])


def test_gains_are_the_mean_difference_of_each_block(make_rows: MakeRows) -> None:
    rows = make_rows([1, 0, 1, 1], block=[7, 7, 3, 7], event_us=[10, 20, 40, 30])
    old, new = binary([0.5, 0.5, 0.5, 0.5]), binary([0.8, 0.4, 0.25, 0.5])
    found = compare(
        Binary(), rows, baseline=("old", old, (0, 1)), candidate=("new", new, (0, 1)), n_seen=9
    )
    gain = [math.log(0.8 / 0.5), math.log(0.6 / 0.5), math.log(0.25 / 0.5), 0.0]
    # Block 7 began at 10, block 3 at 40: the order of time, not of the ids.
    assert found.blocks.tolist() == [7, 3]
    assert found.n_block_rows.tolist() == [3, 1]
    assert found.gains == pytest.approx([(gain[0] + gain[1] + gain[3]) / 3, gain[2]])
    assert found.baseline.mean_loss == pytest.approx(math.log(2))
    weighted = np.average(found.gains, weights=found.n_block_rows)
    assert weighted == pytest.approx(found.baseline.mean_loss - found.candidate.mean_loss)
    assert (found.n_rows, found.n_seen, found.loss) == (4, 9, "log_loss")
    assert (found.judged_from_us, found.judged_until_us) == (10, 40)
    assert (found.baseline.version_id, found.candidate.version_id) == ("old", "new")
    assert found.candidate.metrics["accuracy"] == 0.5


def test_classes_in_another_order_are_the_same_version(make_rows: MakeRows) -> None:
    rows = make_rows(["a", "b", "c", "a"])
    scores = np.random.default_rng(1).dirichlet(np.ones(3), size=4)
    found = compare(
        Multiclass(),
        rows,
        baseline=("old", scores, ("a", "b", "c")),
        candidate=("new", scores[:, [2, 0, 1]], ("c", "a", "b")),
    )
    assert found.gains.tolist() == [0.0] * 4
    assert found.baseline.metrics == found.candidate.metrics


def test_a_class_that_only_the_candidate_knows_costs_the_baseline(make_rows: MakeRows) -> None:
    rows = make_rows(["a", "new"])
    found = compare(
        Multiclass(),
        rows,
        baseline=("old", np.array([[0.5, 0.5], [0.5, 0.5]]), ("a", "b")),
        candidate=("new", np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]), ("a", "b", "new")),
    )
    assert found.gains == pytest.approx([0.0, -math.log(1e-3) + math.log(0.25)])


def test_a_regression_is_paired_too(make_rows: MakeRows) -> None:
    found = compare(
        Regression(),
        make_rows([1.0, 2.0]),
        baseline=("old", np.array([[0.0], [0.0]]), ()),
        candidate=("new", np.array([[1.0], [1.0]]), ()),
    )
    assert found.gains.tolist() == [1.0, 1.0]
    assert found.loss == "absolute_error"
    assert found.candidate.metrics["mae"] == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_is_no_number_names_the_version(make_rows: MakeRows, bad: float) -> None:
    good = binary([0.5, 0.5])
    broken = good.copy()
    broken[1, 0] = bad
    with pytest.raises(Invalid, match="from version v-broken; got 1 of 2 rows") as caught:
        compare(
            Binary(),
            make_rows([0, 1]),
            baseline=("v-good", good, (0, 1)),
            candidate=("v-broken", broken, (0, 1)),
        )
    assert caught.value.fields["version_id"] == "v-broken"


def test_scores_of_other_rows_are_refused(make_rows: MakeRows) -> None:
    with pytest.raises(Invalid, match="version old; got scores of shape"):
        compare(
            Binary(),
            make_rows([0, 1]),
            baseline=("old", binary([0.5] * 3), (0, 1)),
            candidate=("new", binary([0.5] * 2), (0, 1)),
        )


def test_rows_without_labels_are_refused(make_rows: MakeRows) -> None:
    def judge(rows: Rows) -> None:
        sides = binary([0.5] * 2)
        compare(Binary(), rows, baseline=("old", sides, (0, 1)), candidate=("new", sides, (0, 1)))

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
    found = compare(
        Binary(), rows, baseline=("old", sides, (0, 1)), candidate=("new", sides, (0, 1))
    )
    assert found.unit == unit


def test_a_hundred_thousand_blocks_are_no_trouble(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1] * 50_000)
    sides = binary([0.3, 0.6] * 50_000)
    found = compare(
        Binary(), rows, baseline=("old", sides, (0, 1)), candidate=("new", sides, (0, 1))
    )
    assert len(found.blocks) == found.n_rows == 100_000
