"""Breaks when a fold lacks its share of a class, or when rows of one group are torn apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from renewal.core.errors import Invalid
from renewal.stats.folds import joined, stratified_folds

KEYS = arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 8))


@given(st.integers(0, 1000), st.integers(2, 7))
def test_rows_of_their_own_are_spread_to_within_one_of_each_class(seed: int, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, size=60)
    strata = label[:, np.newaxis] == np.arange(3)
    fold = stratified_folds(strata, np.arange(60), n_folds=n_folds, rng=rng)
    counts = np.array([strata[fold == each].sum(axis=0) for each in range(n_folds)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1


@given(st.integers(0, 1000))
def test_without_strata_folds_are_of_one_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fold = stratified_folds(np.empty((33, 0), bool), np.arange(33), n_folds=10, rng=rng)
    assert np.ptp(np.bincount(fold, minlength=10)) <= 1


@given(st.integers(0, 300))
def test_groups_stay_whole_and_no_fold_is_empty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, groups = np.unique(rng.integers(0, 25, size=120), return_inverse=True)
    strata = rng.integers(0, 2, size=(120, 4)).astype(bool)
    fold = stratified_folds(strata, groups, n_folds=5, rng=rng)
    assert set(fold) == set(range(5))
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1


def test_the_seed_decides_the_cut() -> None:
    strata = np.arange(40)[:, np.newaxis] % 2 == np.arange(2)
    cuts = [
        stratified_folds(strata, np.arange(40), n_folds=4, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    assert (cuts[0] == cuts[1]).all()
    assert (cuts[0] != cuts[2]).any()


@given(KEYS, st.integers(0, 100))
def test_what_shares_either_key_is_joined_and_nothing_else(
    first: np.ndarray[tuple[int], np.dtype[np.int64]], seed: int
) -> None:
    second = np.random.default_rng(seed).integers(0, 8, size=len(first))
    found = joined(first, second)
    # The plain closure: give neighbors the smaller number until nothing changes.
    closed = np.arange(len(first))
    while True:
        before = closed.copy()
        for keys in (first, second):
            for key in np.unique(keys):
                closed[keys == key] = closed[keys == key].min()
        if (closed == before).all():
            break
    assert ((found[:, None] == found) == (closed[:, None] == closed)).all()
    assert set(found) == set(range(len(set(found))))


@pytest.mark.parametrize("n_folds", [1, 4])
def test_folds_that_cannot_be_made_are_refused(n_folds: int) -> None:
    with pytest.raises(Invalid, match="folds of 3 groups"):
        stratified_folds(
            np.empty((3, 0), bool), np.arange(3), n_folds=n_folds, rng=np.random.default_rng(1)
        )
