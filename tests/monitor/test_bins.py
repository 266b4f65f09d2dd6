"""Bins: every value falls into exactly one, whatever the column looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.monitor.bins import MOST_CATEGORIES, Bins, bins_of, codes, count_column

_NUMBERS = st.lists(
    st.one_of(
        st.none(),
        st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf"), float("-inf")]),
        st.floats(width=32),
    ),
    max_size=60,
)
_TEXTS = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh"), st.text(max_size=3)))


def _column(values: list[Any], kind: pa.DataType) -> pa.ChunkedArray:
    half = len(values) // 2
    return pa.chunked_array([pa.array(values[:half], kind), pa.array(values[half:], kind)], kind)


@given(reference=_NUMBERS, values=_NUMBERS)
def test_numbers_fall_into_one_bin_each(reference: list[Any], values: list[Any]) -> None:
    """Breaks when the fast count and the binary search disagree on an edge, NaN, infinity or null.

    The edges must also be usable: finite, ascending, without a negative zero.
    """
    bins = bins_of("x", _column(reference, pa.float64()), 4)
    column = _column(values, pa.float64())
    counted = count_column(column, bins)
    assert counted.tolist() == np.bincount(codes(column, bins), minlength=len(bins)).tolist()
    assert counted.sum() == len(values)
    assert counted[-1] == sum(value is None or value != value for value in values)  # noqa: PLR0124  # NaN
    assert list(bins.edges) == sorted(set(bins.edges))
    assert np.isfinite(bins.edges).all()


@given(reference=_TEXTS, values=_TEXTS)
def test_categories_fall_into_one_bin_each(reference: list[Any], values: list[Any]) -> None:
    """Breaks when other, unseen and missing are mixed up or a value is counted twice."""
    bins = bins_of("c", _column(reference, pa.string()), 3)
    column = _column(values, pa.string())
    counted = count_column(column, bins)
    assert counted.tolist() == np.bincount(codes(column, bins), minlength=len(bins)).tolist()
    top = set(bins.categories[: bins.n_top])
    known = {value for value in reference if value is not None}
    present = [value for value in values if value is not None]
    assert counted[: bins.n_top].sum() == sum(value in top for value in present)
    assert counted[-3] == sum(value in known - top for value in present)
    assert counted[-2] == sum(value not in known for value in present)
    assert counted[-1] == len(values) - len(present)


def test_quantile_bins_hold_about_as_many_reference_rows() -> None:
    values = np.random.default_rng(1).lognormal(size=10_000)
    column = pa.chunked_array([values])
    counted = count_column(column, bins_of("x", column, 10))
    assert counted[:-1].tolist() == [1000] * 10


@pytest.mark.parametrize(
    ("values", "kind", "labels"),
    [
        ([3.0] * 9, pa.float64(), ["below 3", "3", "from 3", "missing"]),
        ([None] * 9, pa.float64(), ["any value", "missing"]),
        ([None] * 9, pa.null(), ["other", "unseen", "missing"]),
        ([True, True, False], pa.bool_(), ["'true'", "'false'", "other", "unseen", "missing"]),
    ],
)
def test_constant_and_empty_columns_have_bins(
    values: list[Any], kind: pa.DataType, labels: list[str]
) -> None:
    """Breaks when a column without spread crashes, or hides that values left its constant."""
    bins = bins_of("x", pa.chunked_array([pa.array(values, kind)]), 10)
    assert [bins.label(at) for at in range(len(bins))] == labels


def test_a_constant_is_told_from_what_lies_beside_it() -> None:
    bins = bins_of("x", pa.chunked_array([[3.0] * 9]), 10)
    column = pa.chunked_array([[2.9, 3.0, 3.0, 3.1, 3.2, None]])
    assert count_column(column, bins).tolist() == [1, 2, 2, 1]


def test_each_of_a_few_whole_numbers_has_a_bin() -> None:
    bins = bins_of("k", pa.chunked_array([pa.array([1, 2, 3, 3, None])]), 10)
    column = pa.chunked_array([pa.array([0, 1, 1, 2, 3, 4, None], pa.int64())])
    counted = count_column(column, bins)
    assert {bins.label(at): n for at, n in enumerate(counted.tolist()) if n} == {
        "below 1": 1,
        "1": 2,
        "2": 1,
        "3": 1,
        "from 3": 1,
        "missing": 1,
    }


def test_an_identifier_has_no_unseen_values() -> None:
    """Breaks when every new order number of an id column counts as news."""
    ids = pa.chunked_array([[f"id{i}" for i in range(MOST_CATEGORIES + 1)]])
    bins = bins_of("id", ids, 10)
    assert (bins.knows_all, len(bins.categories)) == (False, 10)
    assert count_column(pa.chunked_array([["new"]]), bins)[-3:].tolist() == [1, 0, 0]


def test_categories_coded_in_a_dictionary_are_text() -> None:
    coded = pa.chunked_array([pa.array(["a", "b", "a", None]).dictionary_encode()])
    bins = bins_of("c", coded, 10)
    assert count_column(coded, bins).tolist() == [2, 1, 0, 0, 1]


def test_wrong_types_are_named() -> None:
    lists = pa.chunked_array([pa.array([[1], [2]])])
    with pytest.raises(Invalid, match=r"'vector'.*list"):
        bins_of("vector", lists, 10)
    with pytest.raises(Invalid, match=r"numbers in the column 'x'.*string"):
        count_column(pa.chunked_array([["a"]]), Bins("x", "number", edges=(1.0,)))


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([[b"\xff", b"", None], [b"x"]]),
        pa.chunked_array([pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))]),
    ],
)
def test_of_bytes_and_tensors_only_the_presence_counts(column: pa.ChunkedArray) -> None:
    """Breaks when an image is a category: every one would be unseen, and every day an alarm."""
    bins = bins_of("image", column, 10)
    n_there = len(column) - 1
    assert count_column(column, bins).tolist() == [n_there, 0, 1]
    assert codes(column, bins).tolist() == [2 if each is None else 0 for each in column.to_pylist()]
    assert [bins.label(at) for at in range(len(bins))] == ["any value", "unseen", "missing"]


def test_a_text_that_became_bytes_is_refused() -> None:
    bins = bins_of("c", pa.chunked_array([["a", "b"]]), 10)
    with pytest.raises(Invalid, match=r"texts in the column 'c'.*binary"):
        count_column(pa.chunked_array([[b"a"]]), bins)


def test_free_text_does_not_fill_the_reference() -> None:
    """Breaks when 900 letters of 1,000 characters each are kept as categories, all of them new."""
    letters = pa.chunked_array([[f"{at} " + "word " * 200 for at in range(900)]])
    bins = bins_of("letter", letters, 10)
    assert (bins.knows_all, len(bins.categories)) == (False, 10)
    assert len(bins.label(0)) < 80
    assert count_column(pa.chunked_array([["another"]]), bins)[-3:].tolist() == [1, 0, 0]
