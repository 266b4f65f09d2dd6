"""Breaks when a row is lost between slices, a slice is misnamed, or a typo slices nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.evaluate.slices import coarse, grouping, slice_gains, slices_of
from renewal.stats.paired import paired_mean

COLUMNS: dict[str, Any] = {
    "string": st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "other", "null", ""]))),
    "int": st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62))),
    "float": st.lists(st.one_of(st.none(), st.floats())),
    "bool": st.lists(st.one_of(st.none(), st.booleans())),
}
TYPES = {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


def sizes(table: pa.Table, *declared: str, most: int = 20) -> dict[str, int]:
    return {each.name: int(each.mask.sum()) for each in slices_of(table, declared, most=most)}


def test_the_most_frequent_have_slices_of_their_own() -> None:
    table = pa.table({"origin": ["LGA"] * 3 + ["JFK"] * 5 + ["EWR"] * 2 + ["SWF", None]})
    assert sizes(table, "origin", most=2) == {
        "origin=JFK": 5,
        "origin=LGA": 3,
        "origin=other": 3,
        "origin=null": 1,
    }


def test_values_that_read_like_our_own_words_are_quoted() -> None:
    """Breaks when a value 'other' and the rest get one name."""
    table = pa.table({"x": ["other"] * 3 + ["null"] * 2 + ["a", None]})
    assert sizes(table, "x", most=2) == {"x='other'": 3, "x='null'": 2, "x=other": 1, "x=null": 1}


def test_bins_hold_about_equally_many() -> None:
    table = pa.table({"distance": np.arange(1000), "odd:name*": np.arange(1000) % 2})
    found = sizes(table, "distance:4")
    assert list(found) == [
        "distance<=249.75",
        "249.75<distance<=499.5",
        "499.5<distance<=749.25",
        "distance>749.25",
    ]
    assert set(found.values()) == {250}
    assert sizes(table, "odd:name*") == {"odd:name*=0": 500, "odd:name*=1": 500}


def test_a_column_that_is_mostly_one_value_has_fewer_bins() -> None:
    assert sizes(pa.table({"x": [0.0] * 90 + [5.0] * 10}), "x:4") == {"x<=0": 90, "x>0": 10}
    assert sizes(pa.table({"x": [1, 1, 1]}), "x:4") == {"x known": 3}


def test_floats_of_many_values_are_cut_into_four() -> None:
    """Twenty slices of one row each would tell nothing, and 'other' would be everything."""
    assert len(sizes(pa.table({"x": np.linspace(0, 1, 100)}), "x")) == 4


def test_crossed_slices_meet_every_row_once() -> None:
    table = pa.table({"sex": ["F", "M", "F", "M", "F"], "race": ["x", "x", "y", "x", None]})
    assert sizes(table, "sex*race") == {
        "sex=M & race=x": 2,
        "sex=F & race=x": 1,
        "sex=F & race=y": 1,
        "sex=F & race=null": 1,
    }
    assert sizes(table, "sex*race", most=1) == {"sex=M & race=x": 2, "sex*race=other": 3}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("oriigin", "Did you mean 'origin'"),
        ("origin*dst", "got 'dst'"),
        ("origin:4", "slice by value"),
        ("hour:1", "2 or more"),
        ("hour:x", "2 or more"),
        ("", "a column"),
    ],
)
def test_a_wrong_declaration_is_refused(declared: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        slices_of(pa.table({"origin": ["a"], "hour": [1]}), [declared])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(sorted(COLUMNS)), st.integers(1, 4))
def test_any_column_is_cut_without_loss(data: st.DataObject, kind: str, most: int) -> None:
    """Nulls, NaN, infinities and no row at all: every row is in exactly one named slice."""
    column = pa.array(data.draw(COLUMNS[kind]), TYPES[kind])
    table = pa.table({"x": column, "y": column})
    declared = ["x", "x*y"] + (["x:3"] if kind in {"int", "float"} else [])
    for each in declared:
        found = grouping(table, each, most=most)
        assert len(set(found.names)) == len(found.names)
        assert np.bincount(found.at, minlength=len(found.names)).all()
        total = np.zeros(len(column), dtype=int)
        for one in slices_of(table, [each], most=most):
            total += one.mask
        assert np.all(total == 1)


def test_gains_of_a_slice_are_its_mean_by_block() -> None:
    rng = np.random.default_rng(0)
    gain, block_at, mask = rng.normal(size=500), rng.integers(0, 20, 500), rng.random(500) < 0.1
    means, n_rows = slice_gains(gain, block_at, 25, mask)
    assert n_rows.sum() == mask.sum()
    assert len(means) == len(set(block_at[mask].tolist())) < 25
    assert paired_mean(means, n_rows).mean == pytest.approx(gain[mask].mean())


def test_an_empty_slice_has_no_block() -> None:
    means, n_rows = slice_gains(np.ones(3), np.array([0, 0, 1]), 2, np.zeros(3, bool))
    assert len(means) == len(n_rows) == 0


def test_merged_blocks_keep_their_order() -> None:
    block_at = np.arange(10_000)
    merged, n_merged = coarse(block_at, 10_000, most=300)
    assert n_merged == 300
    assert np.all(np.diff(merged) >= 0)
    assert set(np.bincount(merged, minlength=300).tolist()) == {33, 34}


def test_a_million_rows_have_twenty_slices() -> None:
    """Breaks when the cost or the number grows with the values; bench.gate has the time."""
    values = np.array([f"value {at}" for at in range(40)])
    rng = np.random.default_rng(0)
    table = pa.table({"x": values[rng.integers(0, 40, 1_000_000)]})
    found = slices_of(table, ["x"])
    assert len(found) == 21


@pytest.mark.parametrize(
    "column", [pa.array([b"a", b"b"]), pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1))]
)
def test_bytes_and_tensors_have_no_slices(column: pa.Array) -> None:
    """Breaks when every image becomes a slice of one row."""
    table = pa.table({"image": column, "sex": ["F", "M"]})
    for declared in ("image", "image:2", "sex*image"):
        with pytest.raises(Invalid, match="'image"):
            slices_of(table, [declared])
