"""The reference: what a row is worth, and what is to be expected of new categories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.monitor.options import MonitorOptions
from renewal.monitor.reference import Reference, reference_of
from renewal.registry.codec import from_plain, to_plain

_OPTIONS = MonitorOptions()
Make = Callable[..., Rows]


def test_independent_rows_are_worth_themselves(make_rows: Make) -> None:
    """40 days of 50 independent rows, 6 features (seed 1): each row worth .8 to 1."""
    rng = np.random.default_rng(1)
    features: dict[str, Any] = {f"x{i}": rng.normal(size=2000) for i in range(5)}
    features["c"] = rng.choice(["a", "b"], 2000)
    found = reference_of(make_rows(features, block=np.arange(2000) // 50), _OPTIONS)
    assert all(0.8 <= each.row_worth <= 1.0 for each in found.features)
    assert (found.n_rows, found.n_blocks) == (2000, 40)


def test_a_feature_that_is_one_value_a_day_is_worth_one_row_a_day(make_rows: Make) -> None:
    """Breaks when the weather of a day counts once for each of its 50 flights."""
    rng = np.random.default_rng(2)
    weather = np.repeat(rng.normal(size=40), 50)
    found = reference_of(make_rows({"t": weather}, block=np.arange(2000) // 50), _OPTIONS)
    assert found.features[0].row_worth == pytest.approx(1 / 50, rel=0.05)


def test_rows_that_are_their_own_block_are_worth_themselves(make_rows: Make) -> None:
    found = reference_of(make_rows({"x": np.arange(100.0)}), _OPTIONS)
    assert found.features[0].row_worth == 1.0


def test_categories_seen_once_say_how_many_new_ones_to_expect(make_rows: Make) -> None:
    values = ["a"] * 50 + [f"rare{i}" for i in range(50)]
    # Even blocks pick the most frequent ones, odd blocks count: 25 of each kind.
    found = reference_of(make_rows({"c": values}), _OPTIONS).features[0]
    assert found.bins.categories[0] == "a"
    assert found.counts[0] == 25
    assert found.counts[-2] == 25
    assert sum(found.counts) == 50


def test_a_reference_survives_json(make_rows: Make) -> None:
    """Breaks when an edge loses its last digit: counts of tomorrow would no longer fit."""
    rng = np.random.default_rng(3)
    features = {
        "x": rng.normal(size=500),
        "k": rng.poisson(1.0, 500),
        "c": rng.choice(["a", "ü"], 500),
    }
    found = reference_of(make_rows(features), _OPTIONS)
    assert from_plain(Reference, to_plain(found)) == found


def test_no_row_is_no_reference(make_rows: Make) -> None:
    with pytest.raises(Invalid, match="at least one row"):
        reference_of(make_rows({"x": np.array([], float)}), _OPTIONS)


def test_one_row_is_one(make_rows: Make) -> None:
    found = reference_of(make_rows({"x": [1.0], "c": ["a"]}), _OPTIONS)
    assert [sum(each.counts) for each in found.features] == [1, 1]
