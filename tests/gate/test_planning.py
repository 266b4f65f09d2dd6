"""Breaks when the plan promises a proof that the gate then does not find."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.core.verdict import Verdict
from renewal.evaluate.series import Series
from renewal.gate.judge import Grant
from renewal.gate.options import GateOptions
from renewal.gate.planning import needed_for_accuracy, needed_from

OPTIONS = GateOptions()


def test_as_many_blocks_as_planned_find_the_gain(
    make_series: Callable[..., Series], look: Callable[..., Verdict]
) -> None:
    """Planned at 80% for half a deviation; 400 looks, seed 1, at least 60% must be found.

    The pilot's neighbors do not resemble each other; what is assumed of those to come costs
    the rest.
    """
    rng = np.random.default_rng(1)
    pilot = make_series(0.02 * np.tile([1.0, -1.0], 20))
    plan = needed_from(pilot, OPTIONS, Grant(0.05, 1), gain=0.01)
    looks = [
        look(make_series(rng.normal(0.01, 0.02, size=plan.n_blocks_once))).outcome
        for _ in range(400)
    ]
    assert 0.60 <= looks.count("accept") / 400 <= 0.90
    assert plan.n_rows_once == plan.n_blocks_once * 900
    assert plan.n_blocks_running > plan.n_blocks_once


def test_a_smaller_level_takes_more(make_series: Callable[..., Series]) -> None:
    pilot = make_series(0.02 * np.tile([1.0, -1.0], 20))
    early, late = (needed_from(pilot, OPTIONS, Grant(level, 1)) for level in (0.05, 0.002))
    assert late.n_blocks_once > early.n_blocks_once


def test_no_worse_plans_for_an_equal_candidate(make_series: Callable[..., Series]) -> None:
    pilot = make_series(0.02 * np.tile([1.0, -1.0], 20))
    options = GateOptions(must_prove=("no_worse(0.01)",))
    plan = needed_from(pilot, options, Grant(0.05, 1))
    assert plan.gain == 0.0
    with pytest.raises(Invalid, match="a gain beyond the margin"):
        needed_from(pilot, options, Grant(0.05, 1), gain=-0.02)


def test_the_published_table_of_connor() -> None:
    """One-sided 5%, 80%: the whole level in one look is twice its half."""
    for gain, disagreement, n_rows in ((0.01, 0.05, 3090), (0.02, 0.10, 1544)):
        plan = needed_for_accuracy(gain, disagreement, OPTIONS, Grant(0.1, 1))
        assert plan.n_rows_once == n_rows
        assert plan.n_labels_decisive == int(np.ceil(n_rows * disagreement))
        assert "labels where the versions disagree" in str(plan)
