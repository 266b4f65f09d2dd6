"""Going on learning: new rows only, the champion untouched, its past remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewal.core.errors import Invalid, Refused
from renewal.data.rows import Rows
from renewal.models.score_map import Mapped
from renewal.testing.recording import RecordingClassifier, recording
from renewal.testing.updating import row_ids
from renewal.update.contract import Parent
from renewal.update.incremental import Incremental, IncrementalOptions
from renewal.update.recalibrate import Recalibrate, RecalibrateOptions

ParentOf = Callable[..., Parent]
DEFAULT = IncrementalOptions()


def test_only_new_rows_are_learned(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(RecordingClassifier(tape="t"), timed)
    with recording("t") as tape:
        made = Incremental().make(parent, timed, DEFAULT, seed=1)
    assert tape.shown == set(row_ids(timed)[400:][timed.has_label[400:]].tolist())
    assert made.keyset.seen(timed)[timed.has_label].all()
    assert made.n_rows == int(timed.has_label[400:].sum())


def test_going_on_equals_having_had_all(parent_of: ParentOf, timed: Rows) -> None:
    """Naive Bayes keeps sums, so 400 rows and then 800 equal 1,200 at once, to rounding."""
    parent = parent_of(GaussianNB(var_smoothing=0.0), timed)
    went_on = Incremental().make(parent, timed, DEFAULT, seed=1)
    whole = parent_of(GaussianNB(var_smoothing=0.0), timed, n_seen=1200)
    one, other = (
        parent.adapter.predict(estimator, timed.features)
        for estimator in (went_on.estimator, whole.estimator)
    )
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_the_champion_does_not_move(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(SGDClassifier(loss="log_loss", random_state=0), timed)
    before = parent.estimator.coef_.copy()
    made = Incremental().make(parent, timed, IncrementalOptions(passes=3), seed=1)
    assert np.array_equal(parent.estimator.coef_, before)
    assert not np.array_equal(made.estimator.coef_, before)


def test_rows_are_taken_in_the_order_of_their_time(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the order in which a feed stores its rows changes the candidate."""
    parent = parent_of(SGDClassifier(loss="log_loss", shuffle=False), timed)
    mixed = timed.take(np.random.default_rng(0).permutation(len(timed)))
    one, other = (
        Incremental().make(parent, rows, DEFAULT, seed=1).estimator for rows in (timed, mixed)
    )
    assert np.array_equal(one.coef_, other.coef_)


def test_of_a_pipeline_the_last_step_learns(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss")), timed)
    made = Incremental().make(parent, timed, DEFAULT, seed=1)
    assert np.array_equal(made.estimator[0].mean_, parent.estimator[0].mean_)
    assert not np.array_equal(made.estimator[1].coef_, parent.estimator[1].coef_)


def test_a_recalibrated_champion_can_go_on(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the wrapper around a learner hides that it can go on learning."""
    parent = parent_of(GaussianNB(), timed)
    first = Recalibrate().make(parent, timed.take(np.arange(800)), RecalibrateOptions(), seed=1)
    wrapped = replace(parent, estimator=first.estimator, keyset=first.keyset)
    made = Incremental().make(wrapped, timed, DEFAULT, seed=1)
    assert made.n_rows == int(timed.has_label[800:].sum())
    assert made.keyset.seen(timed)[timed.has_label].all()
    assert made.classes == ("no", "yes")


def test_trees_are_not_possible_and_the_reason_is_theirs(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(HistGradientBoostingClassifier(max_iter=2), timed)
    why_not = Incremental().why_not(parent)
    assert why_not is not None
    assert "HistGradientBoostingClassifier" in why_not
    with pytest.raises(Refused, match="HistGradientBoostingClassifier"):
        Incremental().make(parent, timed, DEFAULT, seed=1)


def test_nothing_new_is_a_reason(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(GaussianNB(), timed)
    own = timed.take(np.arange(400))
    why_not = Incremental().why_not(parent, own)
    assert why_not is not None
    assert f"all {int(own.has_label.sum())} labelled rows" in why_not


def test_a_new_class_is_a_reason(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when scikit-learn's own ValueError, or a wrong width of scores, comes through."""
    parent = parent_of(GaussianNB(), timed)
    assert timed.label is not None
    label = timed.label.copy()
    label[np.flatnonzero(timed.has_label)[-1]] = "perhaps"
    why_not = Incremental().why_not(parent, replace(timed, label=label))
    assert why_not is not None
    assert "1 row carries a class that the champion does not know: 'perhaps'" in why_not


def test_too_few_new_rows_are_named(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(GaussianNB(), timed)
    n_new = int(timed.has_label[400:].sum())
    with pytest.raises(Invalid, match=f"at least 5,000 labelled rows; got {n_new}"):
        Incremental().make(parent, timed, IncrementalOptions(min_rows=5000), seed=1)


@pytest.mark.parametrize("wrong", [{"passes": 0}, {"min_rows": 0}])
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="at least 1"):
        IncrementalOptions(**wrong)


def test_a_map_of_a_stale_model_does_not_hide_what_it_learns(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when a flattened score stays flat: no update could ever win again."""
    turned = np.array([{"yes": "no", "no": "yes"}.get(x) for x in np.array(timed.label)], object)
    learner = SGDClassifier(loss="log_loss", alpha=0.05, average=True, random_state=0)
    recipe = make_pipeline(StandardScaler(), learner)
    stale = parent_of(recipe, replace(timed, label=turned))
    options = RecalibrateOptions(method="temperature")
    calm = Recalibrate().make(stale, timed.take(np.arange(400, 800)), options, seed=1)
    judged = timed.take(np.arange(1000, 1200)).labelled()
    labels = stale.task.labels(judged.label, who="a test")

    def loss(estimator: Any) -> float:
        scores = stale.adapter.predict(estimator, judged.features)
        return float(stale.task.loss(scores, labels, ("no", "yes")).mean())

    assert loss(calm.estimator) == pytest.approx(np.log(2.0), abs=0.01)
    champion = replace(stale, estimator=calm.estimator)
    new = timed.take(np.arange(400, 1000))
    grown = Incremental().make(champion, new, IncrementalOptions(passes=20), seed=1)
    hidden = Mapped(grown.estimator, calm.estimator.score_map)
    assert loss(hidden) > 0.67  # what the old map would make of a model that has learned
    assert loss(grown.estimator) < 0.6
