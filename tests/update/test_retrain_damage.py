"""Rows and recipes that do not do: each is refused with what is wrong, and nothing is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from renewal.core.errors import Invalid, Refused
from renewal.data.rows import NEVER_US, Rows
from renewal.testing.updating import SIGNATURE
from renewal.update.contract import Means, Parent
from renewal.update.incremental import Incremental, IncrementalOptions
from renewal.update.retrain import Retrain, RetrainOptions

ParentOf = Callable[..., Parent]
BOTH = [(Retrain, RetrainOptions()), (Incremental, IncrementalOptions())]
both = pytest.mark.parametrize(("strategy", "options"), BOTH, ids=["retrain", "incremental"])


class Raises(GaussianNB):  # type: ignore[misc]  # scikit-learn ships no types
    """Learns once; a second time it raises what it likes."""

    is_broken = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803  # scikit-learn's
        if type(self).is_broken:
            message = "the disk of features is gone"
            raise OSError(message)
        return super().fit(X, y, sample_weight)


class Diverges(LinearRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """Ends with coefficients that are no numbers, as a step that is too long may."""

    is_broken = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803  # scikit-learn's
        super().fit(X, y, sample_weight)
        if type(self).is_broken:
            self.coef_[:] = np.nan
        return self


@both
def test_an_empty_snapshot(strategy: Any, options: Any, parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(GaussianNB(), timed)
    with pytest.raises(Invalid, match="0 labelled rows among 0"):
        strategy().make(parent, timed.take(np.arange(0)), options, 1)


@both
def test_one_class(strategy: Any, options: Any, parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(GaussianNB(), timed)
    late = timed.take(np.asarray(np.array(timed.label) == "yes", np.bool_))
    with pytest.raises(Invalid, match="all labelled 'yes'"):
        strategy().make(parent, late, options, 1)


@both
def test_a_missing_column(strategy: Any, options: Any, parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a model of fewer inputs is made of them in silence, which no request fits."""
    parent = parent_of(GaussianNB(), timed)
    fewer = replace(timed, features=timed.features.drop_columns(["b"]))
    # The damage: the adapter alone fits what it is given.
    labelled = fewer.labelled()
    labels = parent.task.labels(labelled.label, who="t")
    narrow = parent.adapter.fit(parent.estimator, labelled.features, labels)
    assert narrow.n_features_in_ == len(SIGNATURE.fields) - 1
    with pytest.raises(Invalid, match="rows without 'b'"):
        strategy().make(parent, fewer, options, 1)


@both
def test_a_target_that_is_no_number(
    strategy: Any, options: Any, parent_of: ParentOf, values: Rows
) -> None:
    """Breaks when a label that came as NaN is fitted."""
    parent = parent_of(SGDRegressor(), values)
    label = np.array(values.label, np.float64)
    label[500] = np.nan
    arrived = np.where(values.label_arrived_us == NEVER_US, NEVER_US, values.event_us)
    arrived[500] = values.event_us[500]
    rows = replace(values, label=label, label_arrived_us=arrived)
    with pytest.raises(Invalid, match="a label in every row; got 1 missing"):
        strategy().make(parent, rows, options, 1)


def test_a_new_class_is_learned_from_scratch_and_not_by_going_on(
    parent_of: ParentOf, timed: Rows
) -> None:
    label = np.array(timed.label)
    label[np.flatnonzero(timed.has_label)[::3]] = "perhaps"
    rows = replace(timed, label=label)
    parent = parent_of(GaussianNB(), timed, task="multiclass")
    made = Retrain().make(parent, rows, RetrainOptions(), 1)
    assert made.classes == ("no", "perhaps", "yes")
    with pytest.raises(Refused, match="'perhaps'"):
        Incremental().make(parent, rows, IncrementalOptions(), 1)


def test_a_recipe_that_raises_is_heard_unchanged(
    parent_of: ParentOf, timed: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when the cause is swallowed: the race says it of this candidate alone."""
    parent = parent_of(Raises(), timed)
    monkeypatch.setattr(Raises, "is_broken", True)
    with pytest.raises(OSError, match="disk of features"):
        Retrain().make(parent, timed, RetrainOptions(), 1)
    validation = Means(validation=timed.take(np.arange(900, 1200)))
    options = RetrainOptions(trials=2, space="var_smoothing:1e-9..1e-1:log")
    with pytest.raises(Invalid, match=r"2 trials that all raised.*disk of features"):
        Retrain().make(parent, timed, options, 1, validation)


def test_a_fit_that_diverged_is_no_candidate(
    parent_of: ParentOf, values: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a version that answers NaN is stored, and the gate has to find out."""
    parent = parent_of(Diverges(), values)
    monkeypatch.setattr(Diverges, "is_broken", True)
    with pytest.raises(Invalid, match="it has diverged"):
        Retrain().make(parent, values, RetrainOptions(), 1)


def test_going_on_that_diverges_is_no_candidate(parent_of: ParentOf, values: Rows) -> None:
    """Breaks likewise, with a real learner whose step is too long for the new rows."""
    parent = parent_of(SGDRegressor(learning_rate="constant", eta0=1e-8), values)
    parent.estimator.set_params(eta0=1e300)
    with pytest.raises(Invalid, match="overflow"):
        Incremental().make(parent, values, IncrementalOptions(), 1)


def test_weights_for_who_cannot_weigh(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(KNeighborsClassifier(), timed)
    with pytest.raises(Invalid, match="KNeighborsClassifier, whose fit takes no sample_weight"):
        Retrain().make(parent, timed, RetrainOptions(balance=True), 1)


def test_a_budget_below_one_fit(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a fit that cannot end in time is begun."""
    parent = parent_of(LogisticRegression(), timed)
    version = replace(parent.version, facts={"fit_s": 100.0})
    with pytest.raises(Refused, match=r"100\.0 s for one fit"):
        Retrain().make(
            replace(parent, version=version), timed, RetrainOptions(), 1, Means(budget_s=3.0)
        )


def test_a_budget_ends_the_trials_and_not_the_fit(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a study that ran out of time makes no candidate."""
    parent = parent_of(LogisticRegression(), timed)
    means = Means(validation=timed.take(np.arange(900, 1200)), budget_s=1e-9)
    made = Retrain().make(parent, timed, RetrainOptions(trials=50), 1, means)
    found = made.facts["tuning"]
    assert found["is_cut_short"]
    assert (found["trials"], found["best"]) == (0, {})


def test_what_has_no_recipe_cannot_be_fitted(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a frozen model is handed back as a new one."""
    parent = parent_of(GaussianNB(), timed)
    frozen = replace(parent, estimator=FrozenEstimator(parent.estimator))
    assert Retrain().why_not(frozen) is not None
    with pytest.raises(Refused, match="keeps what it was fitted on"):
        Retrain().make(frozen, timed, RetrainOptions(), 1)
