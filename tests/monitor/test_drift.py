"""Drift: quiet without a shift at every size, loud with a real one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from numpy.random import Generator

from renewal.data.rows import Rows
from renewal.monitor.bins import Bins
from renewal.monitor.counts import Counts, count, nothing
from renewal.monitor.drift import FeatureDrift, drift
from renewal.monitor.options import MonitorOptions
from renewal.monitor.reference import FeatureReference, Reference, reference_of
from renewal.registry.codec import from_plain, to_plain

Make = Callable[..., Rows]
# A level of 5% a look, and no shift tolerated: the strictest form of the promise.
_STRICT = MonitorOptions(tolerated_psi=0.0, false_alarm_every=timedelta(days=20))


def _table(rng: Generator, n: int, shift: float = 0.0) -> pa.Table:
    return pa.table(
        {
            **{f"x{i}": rng.normal(shift if i == 0 else 0.0, 1.0, n) for i in range(4)},
            "k": rng.poisson(1.5, n),
            "c": rng.choice(list("abcd"), n, p=[0.6, 0.3, 0.09, 0.01]),
            "many": rng.integers(0, 60, n).astype(str),
            "id": rng.integers(0, 3000, n).astype(str),
            "constant": np.ones(n),
        }
    )


@pytest.mark.parametrize(("n_rows", "n_runs"), [(100, 60), (1000, 60), (10_000, 40)])
def test_without_drift_a_look_alarms_at_its_level(
    make_rows: Make, n_rows: int, n_runs: int
) -> None:
    """Nine features, 2,000 reference rows, level .05 (seed 1): at most .05 + 2.3 se.

    The fixed rule "PSI of at least 0.1" flags 77% of quiet columns at 100 rows; it breaks
    this, as does a chi-squared test that takes the reference for the truth.
    """
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(n_runs):
        reference = reference_of(make_rows(_table(rng, 2000)), _STRICT)
        found = drift(reference, count(_table(rng, n_rows), reference), _STRICT)
        alarms += any(each.has_drifted for each in found)
    assert alarms / n_runs <= 0.05 + 2.3 * np.sqrt(0.05 * 0.95 / n_runs)


def test_days_that_share_their_weather_are_no_drift(make_rows: Make) -> None:
    """31 days of 60 rows against 7, one draw of the weather a day, 200 runs (seed 2): at most .09.

    With every row as its own witness nearly each of these runs alarms.
    """
    rng = np.random.default_rng(2)
    alarms = naive = 0
    for _ in range(200):
        days = rng.normal(size=38)
        values = np.repeat(days, 60) + rng.normal(0, 0.3, 38 * 60)
        reference = reference_of(
            make_rows({"t": values[: 31 * 60]}, block=np.arange(31 * 60) // 60), _STRICT
        )
        counted = count(pa.table({"t": values[31 * 60 :]}), reference)
        alarms += any(each.has_drifted for each in drift(reference, counted, _STRICT))
        feature = reference.features[0]
        rowwise = Reference((FeatureReference(feature.bins, feature.counts, 1.0),), 31 * 60, 31)
        naive += any(each.has_drifted for each in drift(rowwise, counted, _STRICT))
    assert alarms / 200 <= 0.09
    assert naive / 200 >= 0.9


@pytest.mark.parametrize(("shift", "n_rows"), [(1.0, 300), (0.8, 1000)])
def test_a_real_shift_is_found_at_the_shipped_options(
    make_rows: Make, shift: float, n_rows: int
) -> None:
    """A mean that moves by .8 to 1 sd, 15 runs (seed 3): found in all, and nothing else is."""
    rng = np.random.default_rng(3)
    options = MonitorOptions()
    for _ in range(15):
        reference = reference_of(make_rows(_table(rng, 5000)), options)
        found = drift(reference, count(_table(rng, n_rows, shift), reference), options)
        assert [each.name for each in found if each.has_drifted] == ["x0"]


def test_a_shift_that_is_tolerated_is_no_alarm_with_a_million_rows() -> None:
    """Breaks when significance alone decides: here p without tolerance is 0, and PSI .1."""
    tolerant = MonitorOptions(tolerated_psi=0.2)
    found = _of((500_000, 300_000, 200_000, 0), (500_000, 170_000, 330_000, 0), tolerant)
    assert 0.05 < found.psi < 0.2
    assert not found.has_drifted
    assert _of((500_000, 300_000, 200_000, 0), (500_000, 170_000, 330_000, 0), _STRICT).has_drifted


def test_an_effect_without_significance_is_no_alarm() -> None:
    """Breaks when PSI alone decides: 8 rows have a PSI above .2 for no reason."""
    found = _of((500, 300, 200, 0), (2, 4, 2, 0), MonitorOptions())
    assert found.psi > 0.2
    assert not found.has_drifted


def test_the_worked_example_of_the_literature() -> None:
    """(500, 300, 200) against (40, 40, 20): p = .098 (Yurdakul and Naranjo's form).

    Smoothing by half a row moves it by less than .01; breaks when sizes are mixed up.
    """
    found = _of((500, 300, 200, 0), (40, 40, 20, 0), _STRICT)
    assert found.p_value == pytest.approx(0.098098, abs=0.01)
    assert found.psi == pytest.approx(0.05108256, abs=0.003)


def test_unseen_categories_raise_drift_by_their_share(make_rows: Make) -> None:
    """Breaks when one new value alarms (p = 0), or when a fifth of them does not."""
    options = MonitorOptions()
    reference = reference_of(make_rows({"c": ["a", "b"] * 1000}), options)
    one = count(pa.table({"c": ["a", "b"] * 500 + ["new"]}), reference)
    many = count(pa.table({"c": ["a", "b"] * 40 + ["new"] * 20}), reference)
    assert not drift(reference, one, options)[0].has_drifted
    found = drift(reference, many, options)[0]
    assert found.has_drifted
    assert found.moved == "unseen: 0% -> 20%"


def test_nulls_and_a_left_constant_raise_drift(make_rows: Make) -> None:
    options = MonitorOptions()
    reference = reference_of(
        make_rows({"x": np.arange(2000.0), "constant": np.ones(2000)}), options
    )
    table = pa.table({"x": pa.array([None] * 300, pa.float64()), "constant": np.full(300, 2.0)})
    found = {each.name: each for each in drift(reference, count(table, reference), options)}
    assert found["x"].has_drifted
    assert found["x"].moved == "missing: 0% -> 100%"
    assert found["constant"].has_drifted


def test_an_empty_window_says_nothing(make_rows: Make) -> None:
    reference = reference_of(make_rows({"x": [1.0, 2.0]}), MonitorOptions())
    assert drift(reference, nothing(reference), MonitorOptions()) == ()


def test_one_row_says_nothing_either(make_rows: Make) -> None:
    reference = reference_of(make_rows(_table(np.random.default_rng(4), 500)), _STRICT)
    strange = pa.table(
        {
            **{f"x{i}": [1e9] for i in range(4)},
            "k": [99],
            "c": ["z"],
            "many": ["z"],
            "id": ["z"],
            "constant": [5.0],
        }
    )
    shipped = MonitorOptions()
    assert not any(
        each.has_drifted for each in drift(reference, count(strange, reference), shipped)
    )


def _of(before: tuple[int, ...], now: tuple[int, ...], options: MonitorOptions) -> FeatureDrift:
    bins = Bins("x", "number", edges=(1.0, 2.0))
    reference = Reference((FeatureReference(bins, before, 1.0),), sum(before), sum(before))
    return drift(reference, Counts(sum(now), (now,)), options)[0]


def test_other_images_and_texts_are_no_drift_but_missing_ones_are(make_rows: Make) -> None:
    """Breaks when new pictures or new letters alarm, or when half of them lost does not."""
    n = 400

    def table(seed: int, lost: float = 0.0) -> pa.Table:
        rng = np.random.default_rng(seed)
        there = rng.random(n) >= lost
        words = [f"letter {seed} {at} " + "word " * 50 for at in range(n)]
        images = [word.encode() if held else None for word, held in zip(words, there, strict=True)]
        tensor = [[float(seed), 1.0] if held else None for held in there]
        return pa.table(
            {"text": words, "image": images, "pixels": pa.array(tensor, pa.list_(pa.float32(), 2))}
        )

    options = MonitorOptions()
    reference = reference_of(make_rows(table(0)), options)
    assert from_plain(Reference, to_plain(reference)) == reference
    same = drift(reference, count(table(1), reference), options)
    assert not any(each.has_drifted for each in same)
    lost = drift(reference, count(table(2, lost=0.5), reference), options)
    assert {each.name: each.has_drifted for each in lost} == {
        "image": True,
        "pixels": True,
        "text": False,
    }
