"""Which rows a strategy can use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from renewal.core.clock import from_us
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.data.keyset import KeySet
from renewal.data.rows import NEVER_US, Rows
from renewal.update.contract import Parent
from renewal.update.eligible import (
    keys_with_ancestors,
    labelled_rows,
    labels_of,
    never_trained,
    new_classes,
    not_yet_fitted,
    until_us_with_ancestors,
)

ParentOf = Callable[..., Parent]


@pytest.fixture
def parent(parent_of: ParentOf, timed: Rows) -> Parent:
    return parent_of(GaussianNB(), timed)


def test_rows_that_only_moved_the_scores_are_still_to_be_learned(
    parent_of: ParentOf, timed: Rows
) -> None:
    fitted, mapped, new = timed.take(np.arange(600)), timed.take(np.arange(600, 900)), timed
    parent = parent_of(GaussianNB(), fitted)
    both = KeySet.of(fitted).union(KeySet.of(mapped))
    parent = replace(parent, keyset=both, only_mapped=both.without(KeySet.of(fitted)))
    assert not_yet_fitted(parent, new).tolist() == [False] * 600 + [True] * (len(new) - 600)
    assert never_trained(parent, new).tolist() == [False] * 900 + [True] * (len(new) - 900)


def test_rows_without_labels_are_counted(timed: Rows) -> None:
    waiting = replace(timed, label_arrived_us=np.full(len(timed), NEVER_US))
    with pytest.raises(Invalid, match="0 labelled rows among 1,200"):
        labelled_rows(waiting, who="t")
    with pytest.raises(Invalid, match="0 labelled rows among 1,200"):
        labelled_rows(replace(timed, label=None), who="t")
    assert len(labelled_rows(timed, who="t")) == int(timed.has_label.sum())


def test_too_few_and_one_class_name_their_numbers(timed: Rows) -> None:
    task = load_plugin("tasks", "binary")()
    labelled = timed.labelled()
    with pytest.raises(Invalid, match=r"at least 5,000 labelled rows; got 1,0\d\d"):
        labels_of(labelled, task, who="t", min_rows=5000)
    assert labelled.label is not None
    yes = labelled.take(labelled.label == "yes")
    with pytest.raises(Invalid, match=f"{len(yes):,} rows, all labelled 'yes'"):
        labels_of(yes, task, who="t", min_rows=1)


def test_values_may_all_be_equal(values: Rows) -> None:
    labelled = values.labelled()
    flat = replace(labelled, label=np.ones(len(labelled)))
    found = labels_of(flat, load_plugin("tasks", "regression")(), who="t", min_rows=1)
    assert found.tolist() == [1.0] * len(labelled)


def test_a_group_once_trained_is_no_evidence_but_may_be_learned(
    parent: Parent, timed: Rows
) -> None:
    """Breaks when calibration uses another row of a trained group, or learning refuses it."""
    one_of_each_group = timed.take(np.arange(0, 400, 4))
    parent = replace(parent, keyset=KeySet.of(one_of_each_group))
    assert np.flatnonzero(never_trained(parent, timed))[0] == 400
    assert int(not_yet_fitted(parent, timed).sum()) == 1200 - 100


def test_unknown_training_leaves_the_rows_that_came_later(parent: Parent, timed: Rows) -> None:
    """Breaks when a row that arrived at the very instant counts: it may have been there."""
    registered_us = int(timed.arrived_us[600])
    parent = replace(
        parent, keyset=None, version=replace(parent.version, created_at=from_us(registered_us))
    )
    for found in (never_trained(parent, timed), not_yet_fitted(parent, timed)):
        assert np.flatnonzero(found).tolist() == list(range(601, 1200))


def test_an_unknown_ancestor_is_not_forgotten(parent: Parent, timed: Rows) -> None:
    """Breaks when v2, calibrated from an unknown v1, takes v1's training rows for unseen."""
    parent = replace(
        parent,
        keyset=KeySet.of(timed.take(np.arange(700, 800))),
        unknown_until_us=int(timed.arrived_us[600]),
    )
    for found in (never_trained(parent, timed), not_yet_fitted(parent, timed)):
        assert np.flatnonzero(found).tolist() == [*range(601, 700), *range(800, 1200)]


def test_ancestors_are_remembered(parent: Parent, timed: Rows) -> None:
    used = timed.take(np.arange(600, 700))
    both = keys_with_ancestors(parent, used)
    assert len(both) == 100 + len(timed.take(np.arange(400)).labelled())
    assert until_us_with_ancestors(parent, used) == int(timed.event_us[699])
    older = timed.take(np.arange(10))
    trained_until = parent.version.manifest.trained_until
    assert trained_until is not None
    assert from_us(until_us_with_ancestors(parent, older)) == trained_until


def test_new_classes_are_counted(parent: Parent, timed: Rows) -> None:
    labelled = timed.labelled()
    assert labelled.label is not None
    label = labelled.label.copy()
    label[:3] = "perhaps"
    assert new_classes(parent, replace(labelled, label=label)) == {"perhaps": 3}
    assert new_classes(parent, labelled) == {}
