"""Trees along the path of their cost-complexity: the same as a fit with ccp_alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from renewal.compress.sklearn_inside import learner_of
from renewal.compress.sklearn_path import PathOptions, PrunePath
from renewal.core.errors import Invalid
from renewal.testing.forms import FormCase, fitted_case, numbers


def _case(recipe: Any, task: str = "binary") -> FormCase:
    return fitted_case("", "sklearn", recipe, *numbers(task=task), task=task)


@pytest.mark.parametrize(
    ("recipe", "task"),
    [
        (DecisionTreeClassifier(random_state=0), "multiclass"),
        (DecisionTreeRegressor(random_state=0), "regression"),
        (RandomForestClassifier(5, random_state=0), "binary"),
    ],
    ids=["classes", "values", "forest"],
)
def test_it_is_the_tree_that_a_fit_with_that_alpha_gives(recipe: Any, task: str) -> None:
    """Breaks when another subtree is cut out than the one of the least cost."""
    case = _case(recipe, task)
    path = PrunePath()
    levels = path.levels(case.form, case.material)
    assert 4 <= len(levels) <= 12
    for options in levels[::3]:
        ours = path.apply(case.form, options, case.material, seed=0)
        fitted = _case(recipe.set_params(ccp_alpha=options.alpha), task).form
        recipe.set_params(ccp_alpha=0.0)
        np.testing.assert_array_equal(ours.predict(case.features), fitted.predict(case.features))


def test_the_levels_walk_the_path_from_many_leaves_to_few() -> None:
    case = _case(DecisionTreeClassifier(random_state=0))
    path = PrunePath()
    leaves = [
        learner_of(path.apply(case.form, options, case.material, seed=0)).get_n_leaves()
        for options in path.levels(case.form, case.material)
    ]
    assert leaves == sorted(leaves, reverse=True)
    assert leaves[0] > 5 * leaves[-1]
    assert leaves[-1] >= 2


def test_a_tree_at_the_end_of_a_pipeline_is_cut_and_the_pipeline_shared_by_nobody() -> None:
    """Breaks when the scaler of the smaller pipeline is the parent's own object."""
    case = _case(make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)))
    before = case.form.runs.dump(case.form.estimator)
    cut = PrunePath().apply(case.form, PathOptions(0.01), case.material, seed=0)
    assert learner_of(cut).get_n_leaves() < learner_of(case.form).get_n_leaves()
    assert cut.estimator[0] is not case.form.estimator[0]
    assert case.form.runs.dump(case.form.estimator) == before


def test_adaboost_of_trees_is_taken_and_gradient_boosting_is_not() -> None:
    deep = DecisionTreeClassifier(max_depth=4, random_state=0)
    case = _case(AdaBoostClassifier(deep, n_estimators=5, random_state=0))
    cut = PrunePath().apply(case.form, PathOptions(0.005), case.material, seed=0)
    assert np.isfinite(cut.predict(case.features)).all()
    boosted = _case(GradientBoostingClassifier(n_estimators=3))
    assert "no tree" in str(PrunePath().why_not(boosted.form, boosted.material))
    with pytest.raises(Invalid, match="no tree"):
        PrunePath().apply(boosted.form, PathOptions(0.005), boosted.material, seed=0)


def test_a_single_leaf_has_nothing_to_cut() -> None:
    case = _case(DecisionTreeClassifier(random_state=0))
    root = PrunePath().apply(case.form, PathOptions(10.0), case.material, seed=0)
    assert learner_of(root).get_n_leaves() == 1
    assert "single leaf" in str(PrunePath().why_not(root, case.material))


@pytest.mark.parametrize("alpha", [-0.1, float("nan")])
def test_an_alpha_that_is_none_is_refused(alpha: float) -> None:
    case = _case(DecisionTreeClassifier(random_state=0))
    with pytest.raises(Invalid, match="alpha"):
        PrunePath().apply(case.form, PathOptions(alpha), case.material, seed=0)
