"""Breaks when a row that a version trained on could judge it (D1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewal.core.errors import Invalid, Refused
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.evaluate.unseen import unseen

MakeRows = Callable[..., Rows]


def test_a_planted_training_row_of_either_version_is_never_judged(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1] * 5)
    baseline, candidate = (
        KeySet.of(rows.take(np.array([1, 2]))),
        KeySet.of(rows.take(np.array([2, 7]))),
    )
    fresh, n_seen = unseen(rows, [baseline, candidate], [None, None])
    assert n_seen == 3
    assert fresh.key.tolist() == [f"row{at}" for at in (0, 3, 4, 5, 6, 8, 9)]
    assert fresh.label is not None
    assert fresh.label.tolist() == [0, 1, 0, 1, 0, 0, 1]


def test_a_new_row_of_a_trained_group_is_no_new_row(make_rows: MakeRows) -> None:
    """The customer was in the training set; next month's row of his is no evidence."""
    trained = make_rows([0], keys=["jan"], groups=["customer"])
    rows = make_rows([0, 1], keys=["feb", "mar"], groups=["customer", "stranger"])
    fresh, n_seen = unseen(rows, [KeySet.of(trained), KeySet.of(trained)], [0, 0])
    assert (fresh.key.tolist(), n_seen) == (["mar"], 1)


def test_of_unknown_training_only_later_arrivals_count(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1, 0], arrived_us=[5, 10, 11])
    fresh, n_seen = unseen(rows, [None, KeySet.of(rows.take(np.array([0])))], [10, 999])
    assert (fresh.key.tolist(), n_seen) == (["row2"], 2)


def test_rows_that_nobody_saw_come_back_as_they_are(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1])
    strange = KeySet.of(make_rows([0], keys=["elsewhere"]))
    fresh, n_seen = unseen(rows, [strange, strange], [None, None])
    assert fresh is rows
    assert n_seen == 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_what_is_left_is_disjoint_from_both_key_sets(
    make_rows: MakeRows, first: set[int], second: set[int]
) -> None:
    rows = make_rows([0] * 31)
    sets = [
        KeySet.of(rows.take(np.array(sorted(each), dtype=np.int64))) for each in (first, second)
    ]
    left = set(range(31)) - first - second
    if not left:
        with pytest.raises(Refused):
            unseen(rows, sets, [None, None])
        return
    fresh, n_seen = unseen(rows, sets, [None, None])
    assert not any(each.seen(fresh).any() for each in sets)
    assert fresh.key.tolist() == [f"row{at}" for at in sorted(left)]
    assert n_seen == len(first | second)


def test_nothing_left_is_refused_with_what_to_do(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1])
    seen = KeySet.of(rows)
    with pytest.raises(Refused, match=r"all of them trained on.*Append newer rows"):
        unseen(rows, [seen, seen], [None, None])
    with pytest.raises(Refused, match=r"arrived after.*trained_on"):
        unseen(rows, [None, seen], [100, None])
    with pytest.raises(Refused, match="no labelled row at all"):
        unseen(make_rows([]), [seen, seen], [None, None])


def test_unknown_training_of_unknown_age_leaves_nothing(make_rows: MakeRows) -> None:
    with pytest.raises(Refused):
        unseen(make_rows([0, 1], arrived_us=10**15), [None, None], [None, None])


def test_each_version_needs_both_facts(make_rows: MakeRows) -> None:
    with pytest.raises(Invalid):
        unseen(make_rows([0]), [None, None], [1])
    with pytest.raises(Invalid):
        unseen(make_rows([0]), [], [])
