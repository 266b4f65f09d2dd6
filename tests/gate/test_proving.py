"""Breaks when a clause holds without the evidence that its level asks for, or against it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from renewal.core.verdict import Clause
from renewal.evaluate.series import Series
from renewal.gate.claims import parse_proof
from renewal.gate.estimates import estimate_of
from renewal.gate.options import GateOptions
from renewal.gate.proving import Lines, lines_of, prove

MakeSeries = Callable[..., Series]
OPTIONS = GateOptions(min_rows=7)
PATIENT = GateOptions(min_blocks=2)
GAINS = arrays(np.float64, st.integers(7, 300), elements=st.floats(-1, 1, width=32))
WINS = arrays(np.int64, st.integers(7, 400), elements=st.integers(-1, 1))
LEVELS = st.sampled_from([0.05, 0.007, 0.0004])
CLAIMS = st.sampled_from(["superior", "better_by(0.05)", "no_worse(0.05)", "no_worse(10%)"])


def proved(
    series: Series, claim: str, *, level: float, is_first: bool, options: GateOptions = OPTIONS
) -> Clause:
    """Return the clause of a claim on a series."""
    return prove(
        parse_proof(claim), series, estimate_of(series), options, level=level, is_first=is_first
    )


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    gains=GAINS,
    shift=st.floats(-0.5, 0.5),
    claim=CLAIMS,
    level=LEVELS,
    is_first=st.booleans(),
    kind=st.sampled_from(["days", "rows", "bounded"]),
    share=st.sampled_from([0.2, 0.5, 0.8]),
)
def test_the_e_value_reaches_one_over_the_level_exactly_where_the_claim_holds(
    make_series: MakeSeries,
    *,
    gains: NDArray[np.float64],
    shift: float,
    claim: str,
    level: float,
    is_first: bool,
    kind: str,
    share: float,
) -> None:
    options = replace(OPTIONS, first_look_share=share)
    is_single = kind != "days"
    series = make_series(
        np.clip(gains * 0.3 + shift, -1, 1),
        n_block_rows=1 if is_single else 900,
        is_single=is_single,
        reach=1.0 if kind == "bounded" else np.inf,
    )
    found = proved(series, claim, level=level, is_first=is_first, options=options)
    if abs(math.log(max(found.e_value, 1e-9) * level)) < 1e-6 or _is_edge(found):
        return  # a tie may tip by rounding
    assert (found.state == "holds") == (found.e_value >= 1.0 / level)


def _is_edge(found: Clause) -> bool:
    return not math.isnan(found.lower) and abs(found.lower - found.bound) < 1e-9


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(wins=WINS, claim=CLAIMS, level=LEVELS, is_first=st.booleans())
def test_so_it_does_for_classifiers_that_are_right_or_wrong(
    make_series: MakeSeries, *, wins: NDArray[np.int64], claim: str, level: float, is_first: bool
) -> None:
    series = make_series(wins, n_block_rows=1, is_single=True, reach=1.0)
    found = proved(series, claim, level=level, is_first=is_first)
    if not _is_edge(found):
        assert (found.state == "holds") == (found.e_value >= 1.0 / level)


@pytest.mark.parametrize("is_first", [True, False])
def test_accepting_costs_the_granted_level_and_rejecting_alpha(
    make_series: MakeSeries, *, is_first: bool
) -> None:
    series = make_series(np.random.default_rng(1).normal(0.01, 0.02, size=20))
    wide = proved(series, "superior", level=0.05, is_first=is_first)
    late = proved(series, "superior", level=0.0005, is_first=is_first)
    assert late.lower < wide.lower
    assert late.upper == wide.upper
    assert (wide.alpha, late.alpha) == (0.025, 0.00025)
    estimate = estimate_of(series)
    test = estimate.bounds if is_first else estimate.running
    assert late.upper == test.upper(0.025)
    assert late.method == ("paired t on blocks" if is_first else "e-process on blocks")


def test_the_running_test_speaks_at_the_first_look_too(make_series: MakeSeries) -> None:
    """A first look that holds by the running test alone must hold: its error has its share."""
    series = make_series(np.random.default_rng(3).normal(0.05, 0.01, size=40))
    options = replace(OPTIONS, first_look_share=0.01)
    first = proved(series, "superior", level=1e-9, is_first=True, options=options)
    estimate = estimate_of(series)
    assert first.lower == max(estimate.bounds.lower(1e-11), estimate.running.lower(0.99e-9))


@dataclass(frozen=True)
class Speechless:
    """A test of one look that cannot tell, as DeLong's where an error vanishes."""

    def lower(self, alpha: float) -> float:  # noqa: ARG002  # the protocol's
        return math.nan

    def upper(self, alpha: float) -> float:  # noqa: ARG002  # the protocol's
        return math.nan

    def p_value(self, margin: float = 0.0) -> float:  # noqa: ARG002  # the protocol's
        return 1.0


def test_a_test_that_cannot_tell_does_not_silence_the_running_one(make_series: MakeSeries) -> None:
    series = make_series(np.random.default_rng(3).normal(0.05, 0.01, size=40))
    estimate = estimate_of(series, bounds=Speechless(), method="mute")
    proof = parse_proof("superior")
    found = prove(proof, series, estimate, OPTIONS, level=0.05, is_first=True)
    assert found.state == "holds"
    assert found.e_value >= 20
    worse = make_series(-series.gains)
    estimate = estimate_of(worse, bounds=Speechless(), method="mute")
    found = prove(proof, worse, estimate, OPTIONS, level=0.05, is_first=True)
    assert found.state == "cannot_tell"  # it could not be refuted at this look
    assert math.isnan(found.upper)


def test_the_smallest_number_of_blocks_holds_every_verdict_back(make_series: MakeSeries) -> None:
    for sign in (1.0, -1.0):
        series = make_series([sign * each for each in (0.5, 0.51, 0.49, 0.5, 0.5, 0.49)])
        assert proved(series, "superior", level=0.05, is_first=True).state == "cannot_tell"
        told = proved(series, "superior", level=0.05, is_first=True, options=PATIENT)
        assert told.state == ("holds" if sign > 0 else "fails")


def test_lines_are_those_of_the_claim() -> None:
    share = 0.01 * 0.43
    assert lines_of(parse_proof("superior"), 0.43, OPTIONS) == Lines(0.0, share)
    assert lines_of(parse_proof("better_by(0.02)"), 0.43, OPTIONS) == Lines(0.02, 0.02)
    assert lines_of(parse_proof("better_by(0.001)"), 0.43, OPTIONS) == Lines(0.001, share)
    assert lines_of(parse_proof("no_worse(0.02)"), 0.43, OPTIONS) == Lines(-0.02, -0.02)
    assert lines_of(parse_proof("no_worse(2%)"), -0.5, OPTIONS) == Lines(-0.01, -0.01)


def test_numbers_stay_finite_however_clear_it_is(make_series: MakeSeries) -> None:
    """E-values of a clear gain overflow a float, and JSON knows no infinity."""
    gains = 0.5 + 0.001 * np.random.default_rng(1).normal(size=5000)
    for is_single in (True, False):
        series = make_series(gains, n_block_rows=1, is_single=is_single)
        for is_first in (True, False):
            found = proved(series, "superior", level=0.05, is_first=is_first)
            assert found.state == "holds"
            assert math.isfinite(found.e_value)
