"""Breaks when evidence that goes on is not the evidence that was there, or comes back changed."""

from __future__ import annotations

import io
import math
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.errors import Corrupt, Invalid
from renewal.evaluate.series import Series

DAY_US = 86_400_000_000
SEED = st.integers(0, 2**32 - 1)


def series_of(gains: Any, *, blocks: Any = None, n_rows: Any = None, **more: Any) -> Series:
    """Return a series of days, the first of them day 0."""
    values = np.asarray(gains, np.float64)
    ids = np.arange(len(values)) if blocks is None else np.asarray(blocks, np.int64)
    rows = np.full(len(values), 10) if n_rows is None else np.asarray(n_rows, np.int64)
    whole: dict[str, Any] = {
        "baseline_value": 0.5,
        "candidate_value": 0.4,
        "unit": "day",
        "from_us": int(ids.min()) * DAY_US if len(ids) else 0,
        "until_us": (int(ids.max()) + 1) * DAY_US - 1 if len(ids) else 0,
        **more,
    }
    return Series("log_loss", "b", "c", blocks=ids, n_block_rows=rows, gains=values, **whole)


def rows_of(seed: int, n: int, n_days: int) -> tuple[Any, Any, Any]:
    """Return days in order, and two losses a row."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.integers(0, n_days, n))
    return days, rng.exponential(size=n), rng.exponential(size=n)


def from_rows(days: Any, old: Any, new: Any, at: slice, *, first_us: int) -> Series:
    """Return the series of a stretch of rows, one a second, as `Report.series` makes it."""
    days, old, new = days[at], old[at], new[at]
    ids, where = np.unique(days, return_inverse=True)
    n_rows = np.bincount(where)
    return series_of(
        np.bincount(where, weights=old - new) / n_rows,
        blocks=ids,
        n_rows=n_rows,
        baseline_value=float(old.mean()),
        candidate_value=float(new.mean()),
        from_us=first_us + at.start,
        until_us=first_us + at.stop - 1,
        n_seen=at.start,
    )


def same(one: Series, two: Series) -> None:
    """Assert that two series say the same, up to rounding."""
    for field in fields(Series):
        mine, other = getattr(one, field.name), getattr(two, field.name)
        if isinstance(mine, np.ndarray | float):
            assert mine == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True), field.name
        elif field.name != "n_seen":
            assert mine == other, field.name


@settings(max_examples=80, deadline=None)
@given(SEED, st.integers(3, 60), st.integers(1, 20), st.data())
def test_in_pieces_it_is_what_all_rows_together_say(
    seed: int, n: int, n_days: int, data: st.DataObject
) -> None:
    """Wherever it is cut, in the middle of a day too, and whichever pieces are joined first."""
    rows = rows_of(seed, n, n_days)
    first, second = sorted(data.draw(st.lists(st.integers(1, n - 1), min_size=2, max_size=2)))
    if first == second:
        second = n
    cuts = [0, first, second] + ([n] if second < n else [])
    parts = [from_rows(*rows, slice(a, b), first_us=5) for a, b in pairwise(cuts)]
    whole = from_rows(*rows, slice(0, n), first_us=5)
    left = parts[0].then(parts[1])
    for part in parts[2:]:
        left = left.then(part)
    right = parts[-1]
    for part in reversed(parts[:-1]):
        right = part.then(right)
    same(left, whole)
    same(right, whole)
    assert left.n_seen == right.n_seen == sum(cuts[:-1])


def test_blocks_stay_in_the_order_of_their_first_rows() -> None:
    one = series_of([0.1, 0.2], blocks=[7, 3], is_ordered=False)
    two = series_of([0.3, 0.4, 0.5], blocks=[9, 3, 1], is_ordered=False)
    found = one.then(two)
    assert found.blocks.tolist() == [7, 3, 9, 1]
    assert found.gains == pytest.approx([0.1, 0.3, 0.3, 0.5])
    assert found.n_block_rows.tolist() == [10, 20, 10, 10]


def test_a_day_that_goes_on_is_weighed_by_its_rows() -> None:
    one = series_of([0.1], blocks=[3], n_rows=[30])
    two = series_of([0.5], blocks=[3], n_rows=[10], from_us=4 * DAY_US - 1, until_us=4 * DAY_US)
    found = one.then(two)
    assert found.gains == pytest.approx([0.2])
    assert found.n_rows == 40
    assert (found.from_us, found.until_us) == (3 * DAY_US, 4 * DAY_US)


def test_a_row_that_gets_company_becomes_a_group() -> None:
    """Rows of one group are wrong together; betting on them one by one would count them twice."""
    alone: dict[str, Any] = {"has_groups": False, "is_ordered": False, "n_rows": [1]}
    one, two = series_of([1.0], blocks=[5], **alone), series_of([0.0], blocks=[6], **alone)
    assert not one.then(two).has_groups
    assert one.then(series_of([0.0], blocks=[5], **alone)).has_groups
    assert one.then(replace(two, has_groups=True)).has_groups


def test_values_are_those_of_all_rows() -> None:
    one = series_of([0.1, 0.1], n_rows=[30, 10], baseline_value=0.5)
    two = series_of([0.1], blocks=[2], n_rows=[40], baseline_value=0.7, candidate_value=0.6)
    found = one.then(two)
    assert (found.baseline_value, found.candidate_value) == pytest.approx((0.6, 0.5))
    nothing = series_of([], baseline_value=math.nan, candidate_value=math.nan)
    assert nothing.then(one).baseline_value == 0.5
    assert math.isnan(nothing.then(nothing).baseline_value)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"metric": "auc"}, "another metric"),
        ({"baseline": "x", "candidate": "y"}, "another baseline, candidate"),
        ({"unit": "week"}, "another unit"),
        ({"is_ordered": False}, "another is_ordered"),
        ({"is_weighted": False}, "another is_weighted"),
        ({"from_us": 2 * DAY_US - 2}, "rows that began before"),
    ],
)
def test_what_does_not_go_on_is_refused(other: dict[str, Any], says: str) -> None:
    one, two = series_of([0.1, 0.1]), series_of([0.1], blocks=[2])
    with pytest.raises(Invalid, match=says):
        one.then(replace(two, **other))


def test_of_what_only_rows_together_have_the_plain_mean_counts() -> None:
    one = series_of([0.1, 0.4], n_rows=[1, 99], is_weighted=False)
    assert one.weights.tolist() == [1.0, 1.0]
    assert replace(one, is_weighted=True).weights.tolist() == [1.0, 99.0]
    two = series_of([0.8], blocks=[1], from_us=2 * DAY_US, is_weighted=False)
    assert one.then(two).gains == pytest.approx([0.1, 0.6])


@pytest.mark.parametrize(
    "given_",
    [
        series_of([0.1, -0.2, 1e-300], reach=6.9, n_seen=12),
        series_of([]),
        series_of([0.5], has_groups=False, is_ordered=False, is_weighted=False, unit="3-day block"),
        series_of([1.0], blocks=[-(2**62)], baseline_value=math.nan, from_us=-(2**62), until_us=0),
    ],
)
def test_bytes_come_back_as_the_same_series(given_: Series) -> None:
    data = given_.to_bytes()
    found = Series.from_bytes(data)
    for field in fields(Series):
        mine, other = getattr(given_, field.name), getattr(found, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.tolist() == other.tolist()
            assert mine.dtype == other.dtype
        else:
            assert repr(mine) == repr(other)
    assert found.to_bytes() == data


@pytest.mark.parametrize("damage", ["", "RNWKEYS1", "npy", "short", "zip"])
def test_bytes_that_are_no_series_are_corrupt(damage: str) -> None:
    data = series_of([0.1, 0.2]).to_bytes()
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(3))
    np.savez(archive, names=np.array(["a", "b"]))
    wrong = {
        "": b"",
        "RNWKEYS1": b"RNWKEYS1" + bytes(40),
        "npy": array.getvalue(),
        "short": data[: len(data) // 2],
        "zip": archive.getvalue(),
    }[damage]
    with pytest.raises(Corrupt, match="the bytes of a series of evidence"):
        Series.from_bytes(wrong)


def test_no_flipped_byte_changes_a_number_unseen() -> None:
    """Every 7th byte in turn: what can be read at all is the series that was written."""
    given_ = series_of([0.1, 0.2, 0.3])
    data = given_.to_bytes()
    for at in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        try:
            found = Series.from_bytes(bytes(damaged))
        except Corrupt:
            continue
        assert found.to_bytes() == data
