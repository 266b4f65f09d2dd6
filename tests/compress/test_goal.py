"""The line of a goal as a margin, and goals that mean nothing.

Breaks when a drop is read as a line, a rise of a loss as a gain, or when a goal that no model
can break, or none can hold, is taken without a word.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from renewal.compress.goal import Goal
from renewal.core.errors import Invalid
from renewal.models.multilabel import Multilabel
from renewal.models.task import Binary, Multiclass, Regression


@pytest.mark.parametrize(
    ("tau", "metric", "parent", "margin"),
    [
        (-0.01, "accuracy", 0.9, 0.01),
        ("-0.01", "accuracy", 0.9, 0.01),
        (0, "accuracy", 0.9, 0.0),
        (-0.0, "accuracy", 0.9, 0.0),
        ("-1%", "accuracy", 0.9, 0.009),
        ("0.93", "accuracy", 0.95, 0.02),
        (0.93, "accuracy", 0.90, -0.03),
        (-0.5, "mae", 4.0, 0.5),
        ("-1%", "loss", 0.4, 0.004),
        (5.0, "mae", 4.0, 1.0),
        (3.0, "mae", 4.0, -1.0),
        ("-1%", "r2", -0.5, 0.005),
        ("-2%", "shop.metrics:profit", 100.0, 2.0),
        (90.0, "shop.metrics:profit", 100.0, 10.0),
        (110.0, "-shop.metrics:cost", 100.0, 10.0),
    ],
)
def test_margin_of_every_form(tau: Any, metric: str, parent: float, margin: float) -> None:
    assert Goal(tau=tau, metric=metric).margin(parent) == pytest.approx(margin, abs=1e-12)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tau": "a lot"}, "tau"),
        ({"tau": float("nan")}, "tau"),
        ({"tau": float("inf")}, "tau"),
        ({"tau": "93%"}, "tau"),
        ({"tau": "-100%"}, "tau"),
        ({"tau": 93.0}, "at most 1"),
        ({"tau": -1.0}, "within the reach"),
        ({"slice_tau": 0.9}, "slice_tau"),
        ({"metric": "accurac"}, "'accuracy'"),
        ({"objective": "byte"}, "'bytes'"),
        ({"alpha": 0.5}, "alpha"),
        ({"alpha": 0.0}, "alpha"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_latency_ms": math.nan}, "max_latency_ms"),
        ({"max_memory_bytes": -1}, "max_memory_bytes"),
    ],
)
def test_goals_that_mean_nothing_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        Goal(**changed)


@pytest.mark.parametrize(
    ("task", "metric", "tau"),
    [
        (Binary(), "accuracy", -0.01),
        (Multiclass(), "accuracy", -0.01),
        (Multilabel(), "accuracy", -0.01),
        (Regression(), "loss", "-1%"),
    ],
)
def test_defaults_of_a_task(task: Any, metric: str, tau: float | str) -> None:
    goal = Goal().settled(task)
    assert (goal.metric, goal.tau) == (metric, tau)
    assert Goal(metric="log_loss").settled(Binary()).tau == "-1%"


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(Invalid, match="regression"):
        Goal(metric="auc").settled(Regression())


def test_a_parent_without_a_value_has_no_margin() -> None:
    with pytest.raises(Invalid, match="finite"):
        Goal(tau=-0.01, metric="auc").margin(math.nan)


def test_a_slice_has_the_margin_of_all_rows_or_its_own() -> None:
    assert Goal(tau=-0.01).slice_margin(0.5, margin=0.01) == 0.01
    assert Goal(slice_tau="-2%").slice_margin(0.5, margin=0.01) == pytest.approx(0.01)
    assert Goal(slice_tau=-0.03).slice_margin(0.5, margin=0.01) == 0.03


def test_what_was_not_measured_is_over_its_limit() -> None:
    goal = Goal(max_bytes=1_000, max_latency_ms=2.0, max_memory_bytes=5)
    assert goal.over(n_bytes=1_000, latency_ms=2.0, memory_bytes=5) == ()
    assert len(goal.over(n_bytes=1_001, latency_ms=math.nan)) == 3


def test_the_line_in_words() -> None:
    assert Goal(tau=-0.01).line == "accuracy falls by at most 0.01"
    assert Goal(tau="-1%", metric="loss").line == "loss rises by at most 1% of it"
    assert Goal(tau=0.93, metric="auc").line == "auc is at least 0.93"
    assert Goal(tau=3, metric="mae").line == "mae is at most 3"
