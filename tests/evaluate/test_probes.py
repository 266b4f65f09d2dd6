"""Odd rows and thresholds: what a gate finds, and where it would miss."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.spec import Field, Signature
from renewal.evaluate.probes import NEAR, odd_rows, thresholds, with_gaps
from renewal.models.task import Scores


def test_one_thing_is_odd_in_each_row() -> None:
    """Broken by a change that spills into another column, or a type that changes with it."""
    rows = pa.table({"a": [1.5, 2.5], "n": [1, 2], "b": [True, False], "w": ["x", "y"]})
    kinds = Field("a", "float", nullable=False), Field("n", "int"), Field("b", "bool")
    found = list(odd_rows(rows, Signature((*kinds, Field("w", "string")))))
    assert [(each.name, each.column) for each in found] == [
        ("huge", "a"), ("infinite", "a"), ("large", "a"), ("gaps", "n"), ("huge", "n"),
        ("gaps", "b"), ("gaps", "w"), ("unseen", "w"), ("empty", "w"),
    ]  # fmt: skip
    for each in found:
        assert each.features.schema.equals(rows.schema)
        others = [name for name in rows.column_names if name != each.column]
        plain = rows.select(others).to_pylist()
        assert all(row in plain for row in each.features.select(others).to_pylist())
    assert 2**24 + 1 in found[4].features["n"].to_pylist()


def test_gaps_are_made_where_they_are_asked_for() -> None:
    """Broken by gaps in a column that the native form would refuse."""
    rows = pa.table({"a": np.arange(400.0), "w": ["x"] * 400})
    gapped = with_gaps(rows, ("w",), seed=3)
    assert gapped["a"].null_count == 0
    assert 30 < gapped["w"].null_count < 90


@pytest.mark.parametrize("at", [0.25, -1e-3, 1.7e9 + 0.1])
def test_a_threshold_is_found_to_the_bit(at: float) -> None:
    """Broken by a bisection that ends early, or loses its jump on the way."""

    def step(rows: pa.Table) -> Scores:
        scores: Scores = (rows["a"].to_numpy() >= at).astype(np.float64).reshape(-1, 1)
        return scores

    rng = np.random.default_rng(0)
    rows = pa.table({"a": at + rng.normal(size=100), "other": rng.normal(size=100)})
    signature = Signature((Field("a", "float"), Field("other", "float")))
    found = thresholds(step, rows, signature, n_most=60)
    assert 5 < len(found) < 50
    assert set(found.columns) == {"a"}
    assert np.all(found.above == at)
    assert np.all(found.below == np.nextafter(at, -np.inf))
    assert found.at().num_rows == 5 * len(found)
    low, high = np.split(found.near()["a"].to_numpy(), 2)
    assert np.allclose(high - low, 2 * NEAR * found.spreads, rtol=0.2)


def test_whole_numbers_and_smooth_models() -> None:
    """Broken by halves between whole numbers, or slopes that are taken for steps."""
    rows = pa.table({"n": [0, 5, 9, 40, 1000], "a": [0.0, 1.0, 2.0, 3.0, 4.0]})
    signature = Signature((Field("n", "int"), Field("a", "float")))

    def mixed(rows: pa.Table) -> Scores:
        slope = rows["a"].to_numpy() * 3.0
        scores: Scores = (slope + (rows["n"].to_numpy() > 7)).reshape(-1, 1)
        return scores

    found = thresholds(mixed, rows, signature, n_most=80)
    assert set(found.columns) == {"n"}
    assert (set(found.below), set(found.above)) == ({7.0}, {8.0})
    assert found.at().schema.equals(rows.schema)

    def constant(rows: pa.Table) -> Scores:
        return np.zeros((rows.num_rows, 1))

    words = pa.table({"w": ["a", "b"]})
    assert not len(thresholds(constant, words, Signature((Field("w", "string"),))))
