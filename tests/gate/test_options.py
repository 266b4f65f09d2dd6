"""Breaks when options are accepted under which a verdict would mean nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from renewal.core.errors import Invalid
from renewal.gate.options import GateOptions, Guards
from renewal.gate.proving import levels_of


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("must_prove", ()),
        ("alpha", 0.0),
        ("alpha", 0.5),
        ("alpha", float("nan")),
        ("budget", 0.0),
        ("budget", 1.0),
        ("first_look_share", 0.0),
        ("first_look_share", 1.0),
        ("holdout", timedelta(0)),
        ("embargo", timedelta(days=-1)),
        ("smallest_gain_share", -0.01),
        ("smallest_gain_share", 1.0),
        ("min_blocks", 1),
        ("max_blocks", 6),
        ("futility", -0.1),
        ("futility", 1.0),
        ("approval_for", timedelta(0)),
        ("timeout", timedelta(0)),
    ],
)
def test_what_means_nothing_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=rf"needs {name} ") as caught:
        GateOptions(**{name: value})
    assert repr(value) in str(caught.value)
    assert "[gate]" in caught.value.todo


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0.5),
        ("slice_margin_share", -0.1),
        ("fairness_margin", float("nan")),
        ("robustness_margin_share", float("inf")),
        ("fairness_bound", 1.1),
        ("fairness_ratio", -0.1),
        ("max_negative_flips", 2.0),
        ("churn_floor", 1.0),
        ("max_latency_ratio", 0.0),
        ("max_latency_ms", -1.0),
        ("max_bytes", 0),
        ("max_memory_bytes", 0),
    ],
)
def test_guards_that_mean_nothing_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=rf"needs {name} ") as caught:
        Guards(**{name: value})
    assert "[gate.guards]" in caught.value.todo


def test_a_claim_is_read_when_the_options_are_made() -> None:
    """A misspelled claim must fail at once, not at the first candidate."""
    with pytest.raises(Invalid, match="Did you mean 'superior'"):
        GateOptions(must_prove=("superor",))
    with pytest.raises(Invalid, match="no_worse needs a margin above 0"):
        GateOptions(must_prove=("superior", "no_worse"))
    kinds = [each.kind for each in GateOptions(must_prove=("no_worse(1%)", "superior")).proofs]
    assert kinds == ["no_worse", "superior"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_looks_spend_no_more_than_their_levels_together(share: float) -> None:
    options = GateOptions(alpha=0.05, first_look_share=share)
    first = levels_of(options, 0.004, is_first=True)
    later = levels_of(options, 0.004, is_first=False)
    assert first.accept + later.accept == pytest.approx(0.004)
    assert first.reject + later.reject == pytest.approx(0.05)
    assert first.accept == pytest.approx(0.004 * share)
    assert first.share == pytest.approx(share)


def test_only_latency_has_to_be_measured() -> None:
    assert not Guards(max_bytes=10, max_memory_bytes=10).needs_cost
    assert Guards(max_latency_ms=1.0).needs_cost
    assert Guards(max_latency_ratio=1.0).needs_cost
