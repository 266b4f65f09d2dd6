"""Breaks when the sentence and the numbers disagree, or the next action leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from renewal.core.verdict import Verdict
from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.judge import Evidence, Grant, judge
from renewal.gate.options import GateOptions
from renewal.gate.wording import counted, digits, level, shown_metric

MakeSeries = Callable[..., Series]
Look = Callable[..., Verdict]
OPTIONS = GateOptions()
NO_WORSE = GateOptions(must_prove=("no_worse(0.02)",))


def around(mean: float, sd: float = 0.01, n: int = 14) -> np.ndarray:
    """Return gains of exactly this mean and deviation, without autocorrelation."""
    noise = np.tile([1.0, -1.0], n)[:n]
    return mean + sd * noise


def numbers(text: str) -> list[float]:
    """Return the changes that a sentence names, in order."""
    return [float(each.replace(",", "")) for each in re.findall(r"[+-][\d,]+\.?\d*(?![\d%])", text)]


def test_an_acceptance_in_words(make_series: MakeSeries, look: Look) -> None:
    found = look(make_series(around(0.021)))
    assert re.fullmatch(
        r"log-loss -0\.0210 \(at least -0\.01\d\d at 97\.5%\), 12,600 unseen rows in 14 days",
        found.reason,
    )
    assert numbers(found.reason) == pytest.approx([-found.gain, -found.lower], abs=6e-5)


def test_a_rejection_in_words(make_series: MakeSeries, look: Look) -> None:
    found = look(make_series(around(-0.021)))
    assert re.fullmatch(
        r"log-loss \+0\.0210 \(at best \+0\.01\d\d at 97\.5%; worth shipping from -0\.0043\), "
        r"12,600 unseen rows in 14 days",
        found.reason,
    )
    assert numbers(found.reason)[1] == pytest.approx(-found.upper, abs=6e-5)


def test_indecision_in_words(make_series: MakeSeries, look: Look) -> None:
    """The two bounds have levels of their own once the life of the model grants less."""
    found = look(make_series(around(0.003)), level=0.007)
    assert re.fullmatch(
        r"log-loss -0\.0030 \(between -0\.0\d\d\d at 97\.5% and \+0\.0\d\d\d at 99\.65%\), "
        r"12,600 unseen rows in 14 days",
        found.reason,
    )
    assert numbers(found.reason)[1:] == pytest.approx([-found.upper, -found.lower], abs=6e-5)
    at_ease = look(make_series(around(0.005)))
    assert re.fullmatch(r"wait for \d+ more days, about until 1970-\d\d-\d\d", at_ease.next_action)


def test_no_worse_in_words(make_series: MakeSeries, look: Look) -> None:
    found = look(make_series(around(0.0)), NO_WORSE)
    assert re.search(r"\(at most \+0\.00\d\d at 97\.5%; allowed \+0\.0200\)", found.reason)
    assert numbers(found.reason)[1] == pytest.approx(-found.lower, abs=6e-5)
    found = look(make_series(around(-0.05)), NO_WORSE)
    assert re.search(r"\(at best \+0\.04\d\d at 97\.5%; allowed \+0\.0200\)", found.reason)


def test_a_margin_is_said(make_series: MakeSeries, look: Look) -> None:
    found = look(make_series(around(0.05)), GateOptions(must_prove=("better_by(0.01)",)))
    assert re.search(r"\(at least -0\.04\d\d at 97\.5%; asked -0\.0100\)", found.reason)


def test_a_metric_that_grows_with_quality_rises(make_series: MakeSeries) -> None:
    options = GateOptions(must_prove=("superior(auc)",))
    series = replace(make_series(around(0.021), loss=0.8, metric="auc"), higher_is_better=True)
    evidence = [Evidence(options.proofs[0], series, estimate_of(series))]
    found = judge(evidence, options, grant=Grant(0.05, 1), is_first=True)
    assert re.match(r"auc \+0\.0210 \(at least \+0\.01\d\d at 97\.5%\)", found.reason)
    worse = replace(make_series(around(-0.021), loss=0.8, metric="auc"), higher_is_better=True)
    evidence = [Evidence(options.proofs[0], worse, estimate_of(worse))]
    found = judge(evidence, options, grant=Grant(0.05, 1), is_first=True)
    assert re.search(r"auc -0\.0210 \(at best -.*; worth shipping from \+0\.0080\)", found.reason)


def test_what_cannot_be_bounded_is_said(make_series: MakeSeries, look: Look) -> None:
    assert look(make_series([0.02])).reason == (
        "log-loss -0.0200 (too few or too unequal blocks to bound it), 900 unseen rows in 1 day"
    )


@pytest.mark.parametrize(
    ("loss", "gain", "text"),
    [(1234.0, 10.0, " -10 "), (12.5, 0.5, " -0.50 "), (0.0004, 0.00002, " -0.0000200 ")],
)
def test_digits_follow_the_size_of_the_loss(
    make_series: MakeSeries, look: Look, loss: float, gain: float, text: str
) -> None:
    assert text in look(make_series(around(gain, gain / 10), loss=loss)).reason
    assert (digits(0.0), digits(float("nan")), digits(1e-30)) == (4, 4, 12)


def test_nothing_is_never_minus_nothing(make_series: MakeSeries, look: Look) -> None:
    assert "+0.0000 (" in look(make_series(around(1e-9))).reason


def test_a_level_keeps_the_digits_that_matter() -> None:
    """99.988% must not be told as 100%."""
    assert [level(a) for a in (0.5, 0.05, 0.01, 0.001, 0.0035, 0.00035, 0.000012)] == [
        "50%",
        "95%",
        "99%",
        "99.9%",
        "99.65%",
        "99.965%",
        "99.9988%",
    ]
    assert all(level(10.0**-k) != "100%" for k in range(1, 9))


def test_words_are_those_of_people() -> None:
    assert (counted(1, "day"), counted(1200, "day")) == ("1 day", "1,200 days")
    assert (shown_metric("log_loss"), shown_metric("macro_f1")) == ("log-loss", "macro f1")


def test_the_wait_is_long_enough(make_series: MakeSeries, look: Look) -> None:
    """Waiting as told and seeing the same gain accepts in at least 70 of 100 stories, seed 1.

    The days of the first look count on, so they belong to the story.
    """
    past = make_series(around(0.005))
    said = look(past)
    n = int(said.next_action.split()[2])
    assert n == said.missing_blocks
    rng = np.random.default_rng(1)
    accepted = 0
    for _ in range(100):
        new = rng.normal(0.005, 0.0104, size=n)
        accepted += any(
            look(past.then(make_series(new[:k], first=14)), is_first=False).outcome == "accept"
            for k in range(1, n + 1)
        )
    assert accepted >= 70


def test_a_look_counts_what_it_has(make_series: MakeSeries, look: Look) -> None:
    """The running test goes on over the days of the fixed look: they are not missing again."""
    series = make_series(around(0.003, 0.01, 20))
    first, later = look(series), look(series, is_first=False)
    assert later.outcome == first.outcome == "undecided"
    assert first.missing_blocks == later.missing_blocks
    assert first.missing_rows == 900 * (first.missing_blocks or 0)


def test_a_hopeless_wait_is_called_so(make_series: MakeSeries, look: Look) -> None:
    found = look(make_series(around(0.001, 0.1)), GateOptions(futility=0.0))
    assert re.fullmatch(
        r"try another strategy: a proof takes about [\d,]+ more days, and the gate waits for 76",
        found.next_action,
    )


def test_rows_without_time_are_counted_and_not_dated(make_series: MakeSeries, look: Look) -> None:
    gains = around(0.02, 0.3, 60)
    found = look(make_series(gains, n_block_rows=1, unit="block", is_single=True))
    assert re.search(r"wait for about [\d,]+ more labelled rows", found.next_action)


def test_no_wait_proves_what_is_not_there(make_series: MakeSeries, look: Look) -> None:
    options = GateOptions(smallest_gain_share=0.0)
    found = look(make_series(around(-0.001, 0.01)), options)
    assert (found.outcome, found.next_action) == ("undecided", "try another strategy")
    assert found.missing_blocks is None
