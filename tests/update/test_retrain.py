"""Retraining: a fresh fit of the champion's recipe, on the rows of a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from renewal.core.errors import Invalid
from renewal.core.progress import hearing
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.score_map import Mapped, ScoreMap
from renewal.models.score_map_weights import Costs
from renewal.testing.updating import DAY_US
from renewal.update.contract import Parent
from renewal.update.recalibrate import Recalibrate, RecalibrateOptions
from renewal.update.retrain import Retrain, RetrainOptions

ParentOf = Callable[..., Parent]


def test_it_fits_a_clone_on_all_labelled_rows(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(LogisticRegression(C=0.5), timed)
    made = Retrain().make(parent, timed, RetrainOptions(), seed=1)
    assert made.n_rows == int(timed.has_label.sum())
    assert made.estimator is not parent.estimator
    assert made.estimator.C == 0.5
    assert not np.array_equal(made.estimator.coef_, parent.estimator.coef_)
    assert made.classes == ("no", "yes")
    assert made.options == {
        "window": None,
        "min_rows": 30,
        "trials": 0,
        "space": None,
        "half_life": None,
        "balance": False,
        "calibrate": "none",
    }
    assert not made.parent_is_ancestor


def test_rows_of_the_parent_that_it_does_not_use_are_not_its_own(
    parent_of: ParentOf, timed: Rows
) -> None:
    """A fresh fit on the last week has not seen January: those rows may judge it."""
    parent = parent_of(LogisticRegression(), timed)
    made = Retrain().make(parent, timed, RetrainOptions(timedelta(days=7)), seed=1)
    used = made.keyset.seen(timed)
    newest_us = int(timed.labelled().event_us.max())
    assert timed.event_us[used].min() > newest_us - 8 * DAY_US
    assert made.n_rows == len(made.keyset)
    since_us = newest_us - 7 * DAY_US
    inside = timed.has_label & (timed.event_us > since_us)
    assert made.n_rows == int(inside.sum())
    assert made.keyset.to_bytes() == KeySet.of(timed.take(inside)).to_bytes()
    assert made.trained_until_us == newest_us


def test_the_seed_decides_and_nothing_else(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(RandomForestClassifier(n_estimators=5), timed)
    parent.estimator.set_params(random_state=None)  # one that was trained without a seed
    scores = [
        parent.adapter.predict(
            Retrain().make(parent, timed, RetrainOptions(), seed=seed).estimator, timed.features
        )
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_a_recalibrated_parent_is_fitted_from_its_base(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a clone of the wrapper keeps the frozen champion and only calibrates it."""
    parent = parent_of(LogisticRegression(), timed)
    wrapped = Recalibrate().make(parent, timed, RecalibrateOptions(), seed=1)
    again = Parent(parent.version, wrapped.estimator, parent.adapter, parent.task, wrapped.keyset)
    made = Retrain().make(again, timed, RetrainOptions(), seed=1)
    direct = Retrain().make(parent, timed, RetrainOptions(), seed=1)
    assert type(made.estimator) is LogisticRegression
    assert np.array_equal(made.estimator.coef_, direct.estimator.coef_)


def test_values_are_fitted_too(parent_of: ParentOf, values: Rows) -> None:
    made = Retrain().make(parent_of(Ridge(), values), values, RetrainOptions(), seed=1)
    assert made.classes == ()


def test_too_few_rows_are_named(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(LogisticRegression(), timed)
    with pytest.raises(Invalid, match=r"at least 30 labelled rows; got \d\b"):
        Retrain().make(parent, timed.take(np.arange(9)), RetrainOptions(), seed=1)


def test_options_are_checked() -> None:
    with pytest.raises(Invalid, match="longer than 0"):
        RetrainOptions(window=timedelta(0))
    with pytest.raises(Invalid, match="half_life longer than 0"):
        RetrainOptions(half_life=timedelta(0))
    with pytest.raises(Invalid, match="min_rows of at least 1"):
        RetrainOptions(min_rows=0)
    with pytest.raises(Invalid, match="trials of at least 0"):
        RetrainOptions(trials=-1)


def test_it_is_always_possible(parent_of: ParentOf, timed: Rows) -> None:
    assert Retrain().why_not(parent_of(LogisticRegression(), timed), timed) is None


def test_old_rows_count_less(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the weights are made and never handed on: the world has turned over."""
    assert timed.label is not None
    turned = np.array(timed.label)
    old = np.arange(600)
    turned[old] = [{"yes": "no", "no": "yes"}.get(each) for each in turned[old]]
    rows = replace(timed, label=turned)
    parent = parent_of(LogisticRegression(), rows)
    alike, fading = (
        Retrain().make(parent, rows, options, seed=1).estimator.coef_[0, 1]
        for options in (RetrainOptions(), RetrainOptions(half_life=timedelta(days=5)))
    )
    assert fading > 0.5 > abs(alike)


def test_balance_and_calibration_are_a_map_around_the_model(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when a balanced model serves the odds of a balanced world."""
    assert timed.label is not None
    rare = timed.take((timed.label != "yes") | (np.arange(1200) % 8 == 0)).labelled()
    parent = parent_of(GaussianNB(), rare, n_seen=300)
    options = RetrainOptions(balance=True, calibrate="sigmoid")
    made = Retrain().make(parent, rare, options, seed=1)
    assert made.estimator.score_map.kinds == ("prior", "sigmoid")
    assert made.facts["calibration"]["n_rows"] > 100
    assert made.n_rows == len(rare)
    share = float((np.array(rare.label) == "yes").mean())
    found = parent.adapter.predict(made.estimator, rare.features)[:, 1].mean()
    assert found == pytest.approx(share, abs=0.03)
    assert parent.adapter.predict(made.estimator.estimator, rare.features)[:, 1].mean() > 2 * share


def test_calibration_helps_who_is_too_sure(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the map is fitted on the model's own rows: a tree is never wrong there."""
    parent = parent_of(DecisionTreeClassifier(random_state=0), timed)
    fit, fresh = timed.take(np.arange(900)), timed.take(np.arange(900, 1200)).labelled()
    labels = parent.task.labels(fresh.label, who="t")
    losses = []
    for options in (RetrainOptions(), RetrainOptions(calibrate="temperature")):
        made = Retrain().make(parent, fit, options, seed=1)
        scores = parent.adapter.predict(made.estimator, fresh.features)
        losses.append(float(parent.task.loss(scores, labels, made.classes).mean()))
    assert losses[1] < losses[0] / 2


def test_values_have_no_classes_to_calibrate(parent_of: ParentOf, values: Rows) -> None:
    with pytest.raises(Invalid, match="classes to calibrate"):
        Retrain().make(parent_of(Ridge(), values), values, RetrainOptions(calibrate="sigmoid"), 1)


def test_the_champions_decision_by_costs_stays(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a fresh fit forgets what a mistake costs, and blocks other customers."""
    parent = parent_of(LogisticRegression(), timed)
    dear = Costs(((0.0, 1.0), (9.0, 0.0)))
    mapped = replace(parent, estimator=Mapped(parent.estimator, ScoreMap((dear,))))
    made = Retrain().make(mapped, timed, RetrainOptions(), seed=1)
    assert made.estimator.score_map.steps == (dear,)


def test_people_hear_what_is_fitted(parent_of: ParentOf, timed: Rows) -> None:
    heard: list[str] = []
    with hearing(lambda said: heard.append(said.text)):
        Retrain().make(
            parent_of(GaussianNB(), timed), timed, RetrainOptions(calibrate="sigmoid"), seed=1
        )
    assert heard[0].startswith("fitting 1,0")
    assert "calibrating: fold 5 of 5" in heard
