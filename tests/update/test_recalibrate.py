"""Recalibration: only on rows that the champion certainly never trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from renewal.core.clock import from_us
from renewal.core.errors import Invalid, Refused
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.testing.recording import RecordingClassifier, recording
from renewal.testing.updating import row_ids
from renewal.update.contract import Parent
from renewal.update.recalibrate import Recalibrate, RecalibrateOptions

ParentOf = Callable[..., Parent]
SMALL = RecalibrateOptions(min_rows=50)


def _mean_loss(parent: Parent, estimator: Any, rows: Rows) -> float:
    scores = parent.adapter.predict(estimator, rows.features)
    classes = parent.version.manifest.classes
    return float(np.mean(parent.task.loss(scores, np.asarray(rows.label), classes)))


def test_the_champions_own_rows_are_left_out(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when calibration reads a row on which the champion is surer than it may be."""
    parent = parent_of(RecordingClassifier(tape="t"), timed)
    with recording("t") as tape:
        made = Recalibrate().make(parent, timed, SMALL, seed=1)
    fresh = set(row_ids(timed)[400:][timed.has_label[400:]].tolist())
    assert tape.shown == fresh
    assert made.n_rows == len(fresh)
    assert made.parent_is_ancestor
    assert made.keyset.seen(timed)[:400][timed.has_label[:400]].all()


def test_it_repairs_a_champion_that_is_too_sure(parent_of: ParentOf, timed: Rows) -> None:
    """A full tree says 0 or 1; its unclipped loss is large and calibration must lower it.

    With seed 0 the loss on the last 300 rows falls from about 2 to below the entropy of a
    coin, .693 plus .05; a calibration on its own training rows would leave it near 2.
    """
    parent = parent_of(DecisionTreeClassifier(random_state=0), timed)
    made = Recalibrate().make(parent, timed.take(np.arange(900)), SMALL, seed=1)
    judged = timed.take(np.arange(900, 1200)).labelled()
    losses = [_mean_loss(parent, each, judged) for each in (parent.estimator, made.estimator)]
    assert losses[0] > 1.5
    assert losses[1] < 0.75


def test_a_second_calibration_replaces_the_first(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when calibrations stack: each update would make the model slower."""
    parent = parent_of(LogisticRegression(), timed)
    first = Recalibrate().make(parent, timed.take(np.arange(800)), SMALL, seed=1)
    again = replace(parent, estimator=first.estimator, keyset=first.keyset)
    second = Recalibrate().make(again, timed, SMALL, seed=1)
    sizes = [len(parent.adapter.dump(made.estimator)) for made in (first, second)]
    assert sizes[1] < sizes[0] * 1.2
    assert second.keyset.seen(timed)[timed.has_label].all()


def test_without_unseen_rows_it_says_so(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(LogisticRegression(), timed)
    own = timed.take(np.arange(400))
    n_rows = int(own.has_label.sum())
    why_not = Recalibrate().why_not(parent, own)
    assert why_not is not None
    assert f"None of the {n_rows:,} labelled rows" in why_not
    with pytest.raises(Refused, match="own training rows"):
        Recalibrate().make(parent, own, SMALL, seed=1)


def test_too_few_unseen_rows_are_named(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(LogisticRegression(), timed)
    some = timed.take(np.arange(450))
    n_fresh = int(some.has_label[400:].sum())
    with pytest.raises(Invalid, match=f"at least 200 labelled rows; got {n_fresh}"):
        Recalibrate().make(parent, some, RecalibrateOptions(), seed=1)


def test_unknown_training_counts_only_what_came_later(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(RecordingClassifier(tape="t"), timed, known=False)
    since = replace(parent.version, created_at=from_us(int(timed.arrived_us[700])))
    with recording("t") as tape:
        Recalibrate().make(replace(parent, version=since), timed, SMALL, seed=1)
    assert min(tape.shown) == int(row_ids(timed)[701:][timed.has_label[701:]].min())


def test_a_class_that_the_champion_does_not_know_is_a_reason(
    parent_of: ParentOf, timed: Rows
) -> None:
    parent = parent_of(LogisticRegression(), timed)
    assert timed.label is not None
    label = timed.label.copy()
    at = np.flatnonzero(timed.has_label)[-3:]
    label[at] = "perhaps"
    why_not = Recalibrate().why_not(parent, replace(timed, label=label))
    assert why_not is not None
    assert "3 rows carry a class that the champion does not know: 'perhaps'" in why_not


def test_a_class_without_unseen_rows_is_named(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a class of which no unseen row came gets a score that means another one."""
    assert timed.label is not None
    label = timed.label.copy()
    label[np.flatnonzero(timed.has_label[:400])[:40]] = "perhaps"
    three = replace(timed, label=label)
    parent = parent_of(GaussianNB(), three, task="multiclass")
    with pytest.raises(Invalid, match=r"got 0 of the class 'perhaps' among 7\d\d"):
        Recalibrate().make(parent, three, SMALL, seed=1)


def test_values_are_shifted(parent_of: ParentOf, values: Rows) -> None:
    """A drift of +10 is what recalibrating a regression can repair."""
    parent = parent_of(Ridge(), values)
    assert values.label is not None
    drifted = replace(values, label=values.label + 10.0)
    made = Recalibrate().make(parent, drifted.take(np.arange(800)), SMALL, seed=1)
    judged = drifted.take(np.arange(800, 1200)).labelled()
    error = [_mean_loss(parent, each, judged) for each in (parent.estimator, made.estimator)]
    assert error[0] > 8.0
    assert error[1] < 1.5


def test_options_are_checked() -> None:
    with pytest.raises(Invalid, match="at least 2"):
        RecalibrateOptions(min_rows=1)


def test_the_key_set_survives_bytes(parent_of: ParentOf, timed: Rows) -> None:
    made = Recalibrate().make(parent_of(LogisticRegression(), timed), timed, SMALL, seed=1)
    again = KeySet.from_bytes(made.keyset.to_bytes())
    assert np.array_equal(again.seen(timed), made.keyset.seen(timed))
