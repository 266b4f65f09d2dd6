"""Counts: exact, and the same in whatever parts and order the rows come."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.monitor.counts import Counts, add, count, nothing
from renewal.monitor.options import MonitorOptions
from renewal.monitor.reference import Reference, reference_of
from renewal.registry.codec import from_plain, to_plain

_RNG = np.random.default_rng(1)
_TABLE = pa.table(
    {
        "x": pa.array(np.where(_RNG.random(400) < 0.1, np.nan, _RNG.normal(size=400))),
        "k": pa.array(_RNG.poisson(2.0, 400)),
        "c": pa.array([None if i % 17 == 0 else "abcdefghijklmnop"[i % 16] for i in range(400)]),
        "b": pa.array(_RNG.random(400) < 0.3),
    }
)


@pytest.fixture(scope="module")
def reference(make_rows: Callable[..., Rows]) -> Reference:
    return reference_of(make_rows(_TABLE.slice(0, 200)), MonitorOptions())


_COUNTS = st.builds(
    Counts,
    st.integers(0, 10**12),
    st.tuples(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
        st.tuples(st.integers(0, 10**12)),
    ),
)


@given(_COUNTS, _COUNTS, _COUNTS)
def test_addition_is_associative_and_commutative(a: Counts, b: Counts, c: Counts) -> None:
    """Breaks when a merge of workers or days depends on who comes first."""
    assert add(a, b) == add(b, a)
    assert add(add(a, b), c) == add(a, add(b, c))


@given(cuts=st.lists(st.integers(0, 400), max_size=6), order=st.randoms(use_true_random=False))
def test_parts_add_up_to_the_whole(reference: Reference, cuts: list[int], order: object) -> None:
    """Breaks when a row at a boundary is lost, or a part is counted over other bins."""
    bounds = [0, *sorted(cuts), 400]
    parts = [_TABLE.slice(a, b - a) for a, b in pairwise(bounds)]
    order.shuffle(parts)  # type: ignore[attr-defined]  # Hypothesis' seeded random.Random
    counted = (count(part, reference) for part in parts)
    assert reduce(add, counted, nothing(reference)) == count(_TABLE, reference)


def test_every_row_is_in_one_bin_of_each_feature(reference: Reference) -> None:
    found = count(_TABLE, reference)
    assert [sum(bins) for bins in found.features] == [400] * 4
    assert found.features[0][-1] == int(np.isnan(_TABLE.column("x").to_numpy()).sum())


def test_no_row_and_one_row(reference: Reference) -> None:
    assert count(_TABLE.slice(0, 0), reference) == nothing(reference)
    assert count(_TABLE.slice(5, 1), reference).n_rows == 1


def test_columns_may_come_in_another_order_and_among_others(reference: Reference) -> None:
    shuffled = _TABLE.select(["b", "c", "x", "k"]).append_column("extra", _TABLE.column("x"))
    assert count(shuffled, reference) == count(_TABLE, reference)


def test_a_missing_feature_is_named(reference: Reference) -> None:
    with pytest.raises(Invalid, match="'c'"):
        count(_TABLE.drop_columns(["c"]), reference)


def test_counts_of_other_bins_do_not_add() -> None:
    with pytest.raises(Invalid, match="one reference"):
        add(Counts(1, ((1, 0),)), Counts(1, ((1, 0, 0),)))


def test_counts_survive_json(reference: Reference) -> None:
    found = count(_TABLE, reference)
    assert from_plain(Counts, to_plain(found)) == found
