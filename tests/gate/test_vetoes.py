"""Breaks when a harmless candidate is vetoed more often than alpha, or silence reads as a pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from renewal.gate.vetoes import Harm, failure, untold, vetoes


def harm(value: float, se: float = 0.01, *, bound: float = 0.02, name: str = "slice a=1") -> Harm:
    """Return a harm that is estimated with a known error."""
    z = float(stats.norm.ppf(0.95))
    return Harm(
        name=name,
        value=value,
        lower=value - z * se,
        upper=value + z * se,
        bound=bound,
        p_value=float(stats.norm.sf((value - bound) / se)),
        n_rows=900,
        n_blocks=30,
        n_effective=30.0,
        method="paired t on blocks",
        told=True,
        words="log-loss of a=1 changes by",
    )


def test_harm_is_shown_excluded_or_neither() -> None:
    shown, excluded, neither = vetoes([harm(0.09), harm(-0.02), harm(0.02)], 0.05)
    assert [each.state for each in (shown, excluded, neither)] == ["fails", "holds", "cannot_tell"]
    assert shown.sentence == (
        "log-loss of a=1 changes by +0.0900 (at least +0.0736 at 95%), allowed +0.0200"
    )
    assert neither.sentence.endswith("neither shown nor excluded")
    assert all(each.kind == "veto_if_shown" for each in (shown, excluded, neither))


def test_many_guards_pay_for_their_number() -> None:
    """A single p of 3% is shown; the same among twenty is not."""
    suspect = harm(0.02 + 1.88 * 0.01)
    assert vetoes([suspect], 0.05)[0].state == "fails"
    assert vetoes([suspect, *[harm(0.0)] * 19], 0.05)[0].state == "cannot_tell"


def test_a_harmless_candidate_is_vetoed_at_most_at_alpha() -> None:
    """20 guards exactly at their margin, 2,000 candidates, seed 1; 5% and 3 standard errors."""
    rng = np.random.default_rng(1)
    vetoed = 0
    for values in rng.normal(0.02, 0.01, size=(2000, 20)):
        found = vetoes([harm(value) for value in values], 0.05)
        vetoed += any(each.state == "fails" for each in found)
    assert vetoed / 2000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_too_little_evidence_is_told_as_such() -> None:
    found = vetoes([untold("slice a=2", "loss of a=2", 0.5, 0.01, n_rows=3, n_blocks=1)], 0.05)[0]
    assert found.state == "cannot_tell"
    assert "too little evidence" in found.sentence
    assert found.p_value == 1.0


def test_not_answering_is_harm_that_is_seen() -> None:
    found = vetoes([failure("robustness nulls", "under nulls the candidate fails", 100)], 0.05)[0]
    assert found.state == "fails"


def test_no_guard_no_clause() -> None:
    assert vetoes([], 0.05) == ()


@pytest.mark.parametrize("n_guards", [1, 5])
def test_the_clauses_come_in_the_order_of_the_guards(n_guards: int) -> None:
    names = [f"slice a={at}" for at in range(n_guards)]
    found = vetoes([harm(0.1 / (at + 1), name=name) for at, name in enumerate(names)], 0.05)
    assert [each.name for each in found] == names
