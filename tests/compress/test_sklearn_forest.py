"""Forests: the order of their trees, budgets of leaves, and what nobody reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier

from renewal.compress.material import Material
from renewal.compress.sklearn_forest import (
    ForestOptions,
    PruneForest,
    _out_of_bag,
    _target,
    tree_order,
)
from renewal.compress.sklearn_inside import changed, learner_of
from renewal.compress.sklearn_path import PrunePath
from renewal.core.errors import Invalid
from renewal.testing.forms import FormCase, fitted_case, numbers, rows_of

FORESTS = {
    "classes": (RandomForestClassifier(12, random_state=0, n_jobs=1), "multiclass"),
    "weighed": (RandomForestClassifier(12, class_weight="balanced", random_state=0), "binary"),
    "values": (RandomForestRegressor(12, random_state=0, n_jobs=1), "regression"),
    "extra": (ExtraTreesRegressor(12, random_state=0, n_jobs=1), "regression"),
}


def _case(name: str) -> FormCase:
    recipe, task = FORESTS[name]
    return fitted_case(name, "sklearn", recipe, *numbers(task=task), task=task)


def _cut(case: FormCase, **options: Any) -> Any:
    return PruneForest().apply(case.form, ForestOptions(**options), case.material, seed=0)


@pytest.mark.parametrize("name", FORESTS)
def test_what_is_left_says_the_mean_of_the_trees_that_are_left(name: str) -> None:
    case = _case(name)
    few = _cut(case, trees=5)
    forest = learner_of(few)
    assert forest.n_estimators == len(forest.estimators_) == 5
    assert all(any(each is tree for tree in case.form.estimator.estimators_)
               for each in forest.estimators_)  # fmt: skip
    inputs = case.features.to_pandas().to_numpy()
    says = "predict_proba" if few.classes else "predict"
    mean = np.mean([getattr(tree, says)(inputs) for tree in forest.estimators_], axis=0)
    np.testing.assert_allclose(few.predict(case.features), mean.reshape(len(mean), -1))


@pytest.mark.parametrize(("name", "is_known"), [("classes", True), ("values", True),
                                                ("weighed", True), ("extra", False)])  # fmt: skip
def test_rows_out_of_bag_are_found_where_they_can_be_proven(name: str, is_known: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Breaks when a tree is judged on rows that it was fitted on, unnoticed."""
    case = _case(name)
    found = _out_of_bag(learner_of(case.form), _target(learner_of(case.form), case.material))
    assert (found is not None) == is_known
    if found is not None:
        assert 0.3 < found.mean() < 0.45


def test_other_rows_than_those_of_the_fit_are_not_taken_for_them() -> None:
    """Breaks when as many other rows pass for the rows of the fit."""
    case = _case("classes")
    features, labels = numbers(len(case.material.train), task="multiclass", seed=9)
    other = Material(case.material.task, rows_of(features, labels), case.form)
    forest = learner_of(case.form)
    assert _out_of_bag(forest, _target(forest, other)) is None
    assert sorted(tree_order(case.form, other, seed=0)) == list(range(12))


def test_trees_that_know_nothing_come_last() -> None:
    """Breaks when the order is not by what trees are worth together."""
    case = _case("classes")
    forest = learner_of(case.form)
    rng = np.random.default_rng(0)
    inputs = case.material.train.features.to_pandas().to_numpy()
    wrong = [
        DecisionTreeClassifier(random_state=at).fit(inputs, rng.integers(0, 3, len(inputs)))
        for at in range(4)
    ]
    spoiled = replace(
        case.form, estimator=changed(forest, estimators_=[*wrong, *forest.estimators_[4:]])
    )
    order = tree_order(spoiled, case.material, seed=0)
    assert set(order[-4:]) == {0, 1, 2, 3}


def test_shorter_forests_are_nested_in_longer_ones() -> None:
    case = _case("classes")
    kept = [{id(tree) for tree in learner_of(_cut(case, trees=n)).estimators_} for n in (2, 4, 8)]
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize("name", FORESTS)
def test_a_budget_of_leaves_holds_and_is_spent(name: str) -> None:
    case = _case(name)
    for budget in (1, 7, 20):
        found = [tree.get_n_leaves() for tree in learner_of(_cut(case, leaves=budget)).estimators_]
        assert set(found) == {budget}
    whole = _cut(case, leaves=10**6)
    np.testing.assert_array_equal(whole.predict(case.features), case.form.predict(case.features))


def test_the_slim_form_says_the_same_and_packs_better() -> None:
    """Breaks when a threshold is rounded over a value: rows then change their leaf."""
    case = _case("classes")
    slim = _cut(case, slim=True)
    # Every value that a threshold lies between is a training row.
    for features in (case.features, case.material.train.features):
        np.testing.assert_allclose(slim.predict(features), case.form.predict(features), atol=1e-6)
        old, new = (learner_of(each).apply(features.to_pandas().to_numpy())
                    for each in (changed_names(case.form), changed_names(slim)))  # fmt: skip
        np.testing.assert_array_equal(old, new)
    runs = case.form.runs
    small = runs.dump(slim.estimator)
    assert len(small) < 0.7 * len(runs.dump(case.form.estimator))
    again = replace(slim, estimator=runs.load(small))
    np.testing.assert_array_equal(again.predict(case.features), slim.predict(case.features))
    assert "left out" in str(PrunePath().why_not(slim, case.material))
    with pytest.raises(Invalid, match="left out"):
        PruneForest().apply(slim, ForestOptions(leaves=3), case.material, seed=0)


def changed_names(form: Any) -> Any:
    """Return a form of the same forest that takes a matrix."""
    forest = changed(learner_of(form))
    vars(forest).pop("feature_names_in_", None)
    return replace(form, estimator=forest)


def test_what_is_no_forest_or_has_no_rows_is_told() -> None:
    forest = _case("classes")
    prune = PruneForest()
    assert "no training row" in str(prune.why_not(forest.form, forest.without_rows()))
    tree = fitted_case("", "sklearn", DecisionTreeClassifier(), *numbers())
    assert "no forest" in str(prune.why_not(tree.form, tree.material))
    with pytest.raises(Invalid, match="trees=0"):
        _cut(forest, trees=0)
    single = _cut(forest, trees=1)
    assert "single tree" in str(prune.why_not(single, forest.material))
