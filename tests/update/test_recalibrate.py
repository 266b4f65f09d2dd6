"""Recalibration: only on rows that the champion certainly never trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from renewal.core.clock import from_us
from renewal.core.errors import Invalid, Refused
from renewal.data.keyset import KeySet
from renewal.data.rows import NEVER_US, Rows
from renewal.evaluate.cost_metric import cost_metric
from renewal.models.multilabel import sets_of
from renewal.models.score_map import Mapped, ScoreMap
from renewal.models.score_map_curves import Sigmoid
from renewal.models.score_map_weights import Costs, Prior
from renewal.models.task import Regression
from renewal.testing.recording import RecordingClassifier, recording
from renewal.testing.updating import row_ids
from renewal.update.contract import Made, Parent
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


def test_rows_that_the_champion_was_told_to_forget_are_left_out(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when a champion of the last weeks is calibrated for the world before them."""
    last = timed.take(np.arange(300, len(timed)))
    parent = parent_of(DecisionTreeClassifier(random_state=0), last, n_seen=100)
    since_us = int(timed.event_us[400]) - int(timed.event_us[300])
    manifest = parent.version.manifest
    assert manifest.trained_until is not None
    options = {"window": f"{since_us // 1_000_000}s"}
    told = replace(
        parent, version=replace(parent.version, manifest=replace(manifest, options=options))
    )
    n_old = int(timed.has_label[:300].sum())
    n_new = int(timed.has_label[400:].sum())
    assert Recalibrate().make(parent, timed, SMALL, seed=1).n_rows == n_old + n_new
    assert Recalibrate().make(told, timed, SMALL, seed=1).n_rows == n_new
    assert Recalibrate().why_not(told, timed.take(np.arange(400))) is not None


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
    assert second.estimator.estimator is parent.estimator
    assert len(second.estimator.score_map.steps) == 1
    assert second.keyset.seen(timed)[timed.has_label].all()


def test_the_model_is_kept_and_named(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the whole model is fitted, copied or stored again for a few numbers."""
    parent = parent_of(LogisticRegression(), timed)
    before = parent.adapter.dump(parent.estimator)
    made = Recalibrate().make(parent, timed, SMALL, seed=1)
    assert made.estimator.estimator is parent.estimator
    assert made.estimator.artifact == parent.version.manifest.artifact
    assert parent.adapter.dump(parent.estimator) == before
    assert len(made.estimator.score_map.to_bytes()) < 300


@pytest.mark.parametrize("method", ["temperature", "sigmoid", "isotonic"])
def test_the_form_can_be_asked_for(parent_of: ParentOf, timed: Rows, method: Any) -> None:
    """Breaks when a method is taken and not used."""
    parent = parent_of(GaussianNB(), timed)
    options = RecalibrateOptions(method=method, min_rows=50)
    made = Recalibrate().make(parent, timed, options, seed=1)
    assert made.estimator.score_map.kinds == (method,)
    assert made.options == {"method": method, "min_rows": 50, "costs": None}
    assert made.facts["losses"] == {}


def test_what_it_chose_is_told(parent_of: ParentOf, timed: Rows) -> None:
    made = Recalibrate().make(parent_of(GaussianNB(), timed), timed, SMALL, seed=1)
    assert set(made.facts["losses"]) == {"temperature", "sigmoid"}
    assert made.facts["score_map"] == list(made.estimator.score_map.kinds)


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


def _cost(parent: Parent, estimator: Any, rows: Rows, table: dict[str, dict[str, float]]) -> float:
    scores = parent.adapter.predict(estimator, rows.features)
    metric = cost_metric(table, classes=("no", "yes"))
    assert metric.per_row is not None
    labels = parent.task.labels(rows.label, who="test")
    return float(metric.per_row(scores, labels, ("no", "yes")).mean())


def test_a_decision_by_costs_costs_less_and_is_the_oracles(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when the threshold is not c_fp / (c_fp + c_fn), or is put on raw scores.

    The gate's own metric prices what is served, on 300 rows that came later; the seed of the
    rows is fixed. The best threshold found on those very rows is a bound that nobody knows.
    """
    parent = parent_of(LogisticRegression(), timed)
    options = RecalibrateOptions(method="sigmoid", min_rows=50, costs="fp:1|fn:8")
    made = Recalibrate().make(parent, timed.take(np.arange(900)), options, seed=1)
    plain = Mapped(parent.estimator, ScoreMap(made.estimator.score_map.steps[:1]))
    judged = timed.take(np.arange(900, 1200)).labelled()
    table = {"no": {"no": 0.0, "yes": 1.0}, "yes": {"no": 8.0, "yes": 0.0}}
    before, after = (_cost(parent, each, judged, table) for each in (plain, made.estimator))
    assert after < 0.8 * before
    chance = parent.adapter.predict(plain, judged.features)[:, 1]
    served = parent.adapter.predict(made.estimator, judged.features).argmax(axis=1)
    assert np.array_equal(served, (chance > 1 / 9).astype(int))
    is_yes = np.asarray(judged.label) == "yes"
    oracle = min(
        float(np.where(is_yes, 8.0 * (chance <= at), 1.0 * (chance > at)).mean())
        for at in np.append(np.sort(chance), -1.0)
    )
    assert after <= oracle + 0.05
    auc = [roc_auc_score(is_yes, each) for each in (chance, made_scores(parent, made, judged))]
    assert auc[0] == pytest.approx(auc[1], abs=1e-12)


def made_scores(parent: Parent, made: Made, rows: Rows) -> Any:
    return parent.adapter.predict(made.estimator, rows.features)[:, 1]


def test_costs_stay_until_somebody_says_others(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when next month's recalibration silently goes back to the most probable class."""
    parent = parent_of(LogisticRegression(), timed)
    first = replace(SMALL, costs="fp:1|fn:8")
    made = Recalibrate().make(parent, timed.take(np.arange(800)), first, seed=1)
    again = replace(parent, estimator=made.estimator, keyset=made.keyset)
    kinds = [
        Recalibrate().make(again, timed, options, seed=1).estimator.score_map.steps[1:]
        for options in (SMALL, replace(SMALL, costs="fp:2"), replace(SMALL, costs="equal"))
    ]
    assert kinds == [
        (Costs(((0.0, 1.0), (8.0, 0.0))),),
        (Costs(((0.0, 2.0), (1.0, 0.0))),),
        (),
    ]


def test_costs_of_values_are_refused(parent_of: ParentOf, values: Rows) -> None:
    parent = parent_of(Ridge(), values)
    with pytest.raises(Invalid, match="one class"):
        Recalibrate().make(parent, values, replace(SMALL, costs="fp:1|fn:8"), seed=1)


PRIOR = RecalibrateOptions(method="prior", min_rows=50)


def _rarer(timed: Rows) -> Rows:
    """Return the rows with five times fewer of the class yes after the first 400."""
    is_yes = np.asarray(timed.label) == "yes"
    rng = np.random.default_rng(2)
    keep = (np.arange(len(timed)) < 400) | ~is_yes | (rng.random(len(timed)) < 0.2)
    return timed.take(keep)


def test_new_shares_are_found_without_labels(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when EM reads labels, or corrects the wrong way: every later label is hidden."""
    rows = _rarer(timed)
    parent = parent_of(LogisticRegression(), rows)
    truth = rows.take(np.arange(400, len(rows))).labelled()
    hidden = np.where(np.arange(len(rows)) < 400, rows.label_arrived_us, NEVER_US)
    assert rows.label is not None
    label = rows.label.copy()
    label[hidden == NEVER_US] = None
    blind = replace(rows, label_arrived_us=hidden, label=label)
    made = Recalibrate().make(parent, blind, PRIOR, seed=1)
    (step,) = made.estimator.score_map.steps
    assert isinstance(step, Prior)
    share = float((np.asarray(truth.label) == "yes").mean())
    assert step.after[1] == pytest.approx(share, abs=0.06)
    assert step.before[1] - step.after[1] > 0.2
    before, after = (_mean_loss(parent, each, truth) for each in (parent.estimator, made.estimator))
    assert after < before - 0.05
    assert made.n_rows == len(rows) - 400
    assert made.keyset.seen(rows).all()


def test_shares_that_nobody_knows_are_not_guessed(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a correction starts from shares that the model did not learn from."""
    parent = parent_of(LogisticRegression(), timed, known=False)
    since = replace(parent.version, created_at=from_us(int(timed.arrived_us[700])))
    with pytest.raises(Refused, match="nobody knows what it trained on"):
        Recalibrate().make(replace(parent, version=since), timed, PRIOR, seed=1)
    known = parent_of(LogisticRegression(), timed)
    made = Recalibrate().make(known, timed.take(np.arange(800)), SMALL, seed=1)
    again = replace(known, estimator=made.estimator, keyset=made.keyset)
    with pytest.raises(Refused, match="rows of its calibration"):
        Recalibrate().make(again, timed, PRIOR, seed=1)
    with pytest.raises(Refused, match="0 of its training rows"):
        Recalibrate().make(known, timed.take(np.arange(400, 1200)), PRIOR, seed=1)
    with pytest.raises(Invalid, match="at least 5,000 unseen rows"):
        Recalibrate().make(known, timed, replace(PRIOR, min_rows=5000), seed=1)


def test_a_second_prior_starts_from_what_the_model_learned(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when the second correction takes the rows of the first for training rows."""
    parent = parent_of(LogisticRegression(), timed)
    first = Recalibrate().make(parent, timed.take(np.arange(800)), PRIOR, seed=1)
    again = replace(parent, estimator=first.estimator, keyset=first.keyset)
    second = Recalibrate().make(again, timed, PRIOR, seed=1)
    steps = [made.estimator.score_map.steps[0] for made in (first, second)]
    assert steps[0].before == steps[1].before


def test_values_have_no_shares(parent_of: ParentOf, values: Rows) -> None:
    with pytest.raises(Invalid, match="one class each"):
        Recalibrate().make(parent_of(Ridge(), values), values, PRIOR, seed=1)
    options = RecalibrateOptions(method="sigmoid", min_rows=50)
    with pytest.raises(Invalid, match="Choose one"):
        Recalibrate().make(parent_of(Ridge(), values), values, options, seed=1)


def test_a_regression_under_another_loss_is_refused(parent_of: ParentOf, values: Rows) -> None:
    """Breaks by a median where another loss decides: it could do harm."""

    @dataclass(frozen=True)
    class Squared(Regression):
        loss_name: str = "squared_error"

    parent = replace(parent_of(Ridge(), values), task=Squared())
    with pytest.raises(Invalid, match="squared_error"):
        Recalibrate().make(parent, values, SMALL, seed=1)


def test_labels_apart_are_mapped_each_by_itself(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when sets of labels are taken for classes that nobody knows."""
    columns = timed.features
    on = np.column_stack([columns["a"].to_numpy() > 0, columns["b"].to_numpy() > 0])
    texts = sets_of(on, ("a", "b")).astype(object)
    texts[~timed.has_label] = None
    several = replace(timed, label=texts)
    recipe = MultiOutputClassifier(GaussianNB())
    parent = parent_of(recipe, several, task="multilabel")
    made = Recalibrate().make(parent, several, SMALL, seed=1)
    (step,) = made.estimator.score_map.steps
    assert isinstance(step, Sigmoid)
    assert not step.exclusive
    assert made.classes == ("a", "b")
