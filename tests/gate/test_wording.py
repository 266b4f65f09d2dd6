"""Breaks when the sentence and the numbers disagree, or the next action leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from renewal.evaluate.report import Report
from renewal.gate.judge import first_look, go_on
from renewal.gate.options import GateOptions

MakeReport = Callable[..., Report]
OPTIONS = GateOptions()


def around(mean: float, sd: float = 0.01, n: int = 14) -> np.ndarray:
    """Return gains of exactly this mean and deviation, without autocorrelation."""
    noise = np.tile([1.0, -1.0], n)[:n]
    return mean + sd * noise


def test_an_acceptance_in_words(make_report: MakeReport) -> None:
    found = first_look(make_report(around(0.021)), OPTIONS)
    assert found.reason == (
        "log-loss -0.0210 (at least -0.0150 at 97.5%), 12,600 unseen rows in 14 days"
    )


def test_a_rejection_in_words(make_report: MakeReport) -> None:
    found = first_look(make_report(around(-0.021)), OPTIONS)
    assert found.reason == (
        "log-loss +0.0210 (at best +0.0150 at 97.5%; worth shipping from -0.0043), "
        "12,600 unseen rows in 14 days"
    )


def test_indecision_in_words(make_report: MakeReport) -> None:
    found = first_look(make_report(around(0.003)), OPTIONS)
    assert found.reason == (
        "log-loss -0.0030 (between -0.0090 and +0.0030, each at 97.5%), "
        "12,600 unseen rows in 14 days"
    )
    assert re.fullmatch(r"wait for \d+ more days", found.next_action)


def test_no_worse_in_words(make_report: MakeReport) -> None:
    options = GateOptions(claim="no_worse", margin=0.02)
    found = first_look(make_report(around(0.0)), options)
    assert "(at most +0.0060 at 97.5%; allowed +0.0200)" in found.reason
    found = first_look(make_report(around(-0.05)), options)
    assert "(at best +0.0440 at 97.5%; allowed +0.0200)" in found.reason


def test_a_margin_is_said(make_report: MakeReport) -> None:
    found = first_look(make_report(around(0.05)), GateOptions(margin=0.01))
    assert "(at least -0.0440 at 97.5%; asked -0.0100)" in found.reason


def test_what_cannot_be_bounded_is_said(make_report: MakeReport) -> None:
    found = first_look(make_report([0.02]), OPTIONS)
    assert found.reason == (
        "log-loss -0.0200 (too few or too unequal blocks to bound it), 900 unseen rows in 1 day"
    )


@pytest.mark.parametrize(
    ("loss", "gain", "text"),
    [(1234.0, 10.0, " -10 "), (12.5, 0.5, " -0.50 "), (0.0004, 0.00002, " -0.0000200 ")],
)
def test_digits_follow_the_size_of_the_loss(
    make_report: MakeReport, loss: float, gain: float, text: str
) -> None:
    found = first_look(make_report(around(gain, gain / 10), loss=loss), OPTIONS)
    assert text in found.reason


def test_nothing_is_never_minus_nothing(make_report: MakeReport) -> None:
    assert "+0.0000 (" in first_look(make_report(around(1e-9)), OPTIONS).reason


def test_the_wait_is_long_enough(make_report: MakeReport) -> None:
    """Waiting as told and seeing the same gain accepts in at least 70 of 100 stories, seed 1."""
    said = first_look(make_report(around(0.005)), OPTIONS)
    n = int(said.next_action.split()[2])
    rng = np.random.default_rng(1)
    accepted = 0
    for _ in range(100):
        new = rng.normal(0.005, 0.0104, size=n)
        accepted += any(
            go_on(make_report(new[:k]), OPTIONS).outcome == "accept" for k in range(7, n + 1)
        )
    assert accepted >= 70


def test_going_on_counts_what_it_has(make_report: MakeReport) -> None:
    first = first_look(make_report(around(0.003, 0.01, 20)), OPTIONS)
    later = go_on(make_report(around(0.003, 0.01, 20)), OPTIONS)
    assert later.outcome == first.outcome == "undecided"
    waits = [int(found.next_action.split()[2]) for found in (first, later)]
    assert waits[0] - waits[1] == 20


def test_a_hopeless_wait_is_called_so(make_report: MakeReport) -> None:
    found = first_look(make_report(around(0.001, 0.1)), OPTIONS)
    assert re.fullmatch(
        r"try another strategy, or wait for [\d,]+ more days \(the gate waits for 90 at most\)",
        found.next_action,
    )


def test_no_wait_proves_what_is_not_there(make_report: MakeReport) -> None:
    options = GateOptions(smallest_gain_share=0.0)
    found = first_look(make_report(around(-0.001, 0.01)), options)
    assert (found.outcome, found.next_action) == ("undecided", "try another strategy")
