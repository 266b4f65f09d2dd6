"""What a metric says: its sign, how it varies, and what has no spread by rows."""

from __future__ import annotations

import numpy as np
import pytest

from renewal.compress.estimate import gain_over, spread_of, value_of
from renewal.compress.goal import Goal
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.models.task import Task

BINARY: Task = load_plugin("tasks", "binary")()
VALUES: Task = load_plugin("tasks", "regression")()
CLASSES = ("no", "yes")
N = 200


def _case(*, flipped: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores that are right but for some, and the labels."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, N)
    p = np.where(truth == 1, 0.8, 0.2) + rng.uniform(-0.1, 0.1, N)
    p[:flipped] = 1.0 - p[:flipped]
    return np.column_stack([1.0 - p, p]), np.array(CLASSES, dtype=object)[truth]


@pytest.mark.parametrize("metric", ["accuracy", "auc", "f1", "log_loss", "loss"])
def test_the_gain_of_a_worse_model_is_negative(metric: str) -> None:
    """Breaks when a metric where less is better keeps its sign."""
    goal = Goal(metric=metric).settled(BINARY)
    (good, labels), (bad, _) = _case(), _case(flipped=20)
    gain = gain_over(BINARY, goal, (bad, CLASSES), (good, CLASSES), labels)
    back = gain_over(BINARY, goal, (good, CLASSES), (bad, CLASSES), labels)
    assert gain == -back < 0.0
    assert gain_over(BINARY, goal, (bad, CLASSES), (bad, CLASSES), labels) == 0.0


def test_accuracy_falls_by_the_share_of_flips_and_its_error_is_that_of_a_mean() -> None:
    goal = Goal(metric="accuracy")
    (good, labels), (bad, _) = _case(), _case(flipped=20)
    pair = ((bad, CLASSES), (good, CLASSES))
    assert gain_over(BINARY, goal, *pair, labels) == pytest.approx(-0.1)
    spread = spread_of(BINARY, goal, *pair, labels)
    assert spread is not None
    assert spread.se(N) == pytest.approx(np.sqrt(0.1 * 0.9 / N), rel=0.1)
    # No flip among 200 rows is not no flip at all.
    same = spread_of(BINARY, goal, (good, CLASSES), (good, CLASSES), labels)
    assert same is not None
    assert 0.0 < same.se(N) < spread.se(N)


@pytest.mark.parametrize("metric", ["auc", "f1"])
def test_what_is_no_mean_over_rows_is_taken_at_its_word(metric: str) -> None:
    (good, labels), (bad, _) = _case(), _case(flipped=20)
    pair = ((bad, CLASSES), (good, CLASSES))
    assert spread_of(BINARY, Goal(metric=metric), *pair, labels) is None


def test_one_row_or_none_has_no_error() -> None:
    scores, labels = _case()
    pair = ((scores[:1], CLASSES), (scores[:1], CLASSES))
    assert spread_of(BINARY, Goal(metric="accuracy"), *pair, labels[:1]) is None
    assert np.isnan(value_of(BINARY, Goal(metric="loss"), scores[:0], CLASSES, labels[:0]))


def test_classes_in_another_order_are_the_same_model() -> None:
    scores, labels = _case()
    turned = (scores[:, ::-1], CLASSES[::-1])
    for metric in ("accuracy", "auc", "loss"):
        goal = Goal(metric=metric).settled(BINARY)
        gain = gain_over(BINARY, goal, turned, (scores, CLASSES), labels)
        assert gain == pytest.approx(0.0)


def test_values_are_measured_by_their_loss() -> None:
    labels = np.linspace(0.0, 1.0, N)
    goal = Goal().settled(VALUES)
    right, off = labels[:, None], labels[:, None] + 0.5
    assert value_of(VALUES, goal, right, (), labels) == 0.0
    assert gain_over(VALUES, goal, (off, ()), (right, ()), labels) < 0.0


def right(labels: np.ndarray, scores: np.ndarray, classes: tuple[str, ...]) -> float:
    """Return a metric of one's own."""
    return float(np.mean(np.array(classes, dtype=object)[scores.argmax(axis=1)] == labels))


def test_a_metric_of_ones_own_is_read_and_cost_is_not() -> None:
    scores, labels = _case(flipped=20)
    own = Goal(metric=f"{__name__}:right")
    assert value_of(BINARY, own, scores, CLASSES, labels) == pytest.approx(0.9)
    pair = ((scores, CLASSES), (scores, CLASSES))
    assert spread_of(BINARY, own, *pair, labels) is None
    with pytest.raises(Invalid, match="table of costs"):
        value_of(BINARY, Goal(metric="cost"), scores, CLASSES, labels)
