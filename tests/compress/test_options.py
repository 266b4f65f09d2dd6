"""Breaks when the policy's part of compression takes what no search can do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from renewal.compress.options import CompressOptions
from renewal.core.errors import Invalid


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"budget": timedelta(0)}, "budget above 0"),
        ({"budget": timedelta(seconds=-1)}, "budget above 0"),
        ({"seed": -1}, "seed"),
        ({"tau": "much"}, "tau"),
        ({"metric": "accurac"}, "accuracy"),
        ({"objective": "byts"}, "bytes"),
        ({"alpha": 0.7}, "alpha"),
    ],
)
def test_what_no_search_could_do_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        CompressOptions(**wrong)


@pytest.mark.parametrize(
    ("options", "objective"),
    [
        ({}, "bytes"),
        ({"prefer": "smallest certified"}, "bytes"),
        ({"prefer": "fastest certified"}, "latency"),
        ({"prefer": "fastest certified", "objective": "macs"}, "macs"),
        ({"objective": "l1"}, "l1"),
    ],
)
def test_what_is_preferred_decides_what_is_minimal(options: dict[str, Any], objective: str) -> None:
    assert CompressOptions(**options).goal.objective == objective


def test_the_goal_has_all_that_was_written() -> None:
    goal = CompressOptions(
        tau="-2%", metric="auc", slices=("x",), slice_tau=-0.1, max_latency_ms=2.0, max_bytes=9
    ).goal
    assert (goal.tau, goal.metric, goal.slices, goal.slice_tau) == ("-2%", "auc", ("x",), -0.1)
    assert (goal.max_latency_ms, goal.max_bytes, goal.max_memory_bytes) == (2.0, 9, None)
