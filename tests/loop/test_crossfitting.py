"""Breaks when few rows are taken for proof, or when a recipe that fails ends in a crash."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock
from renewal.core.errors import Invalid, Refused
from renewal.loop import crossfitting
from renewal.loop.crossfitting import WEAKER, RecipeComparison
from renewal.loop.judging import RECIPES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# Scaled, so that a fit takes few steps.
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())
TREE = {"max_depth": 3, "min_samples_leaf": 3}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "salt").write_bytes(b"roles")  # six of the 30 rows are for judging
    opened = open_home(tmp_path, clock=ReplayClock(NOW))
    yield opened
    opened.close()


def iris(n_rows: int = 150) -> pd.DataFrame:
    data = load_iris(as_frame=True).frame.rename(columns={"target": "kind"})
    data["id"] = [f"flower {at}" for at in range(len(data))]
    return data.sample(n_rows, random_state=1).reset_index(drop=True)


def two_classes(n_rows: int) -> pd.DataFrame:
    return iris(150).query("kind > 0").head(n_rows).reset_index(drop=True)


def made(
    home: Home,
    data: pd.DataFrame,
    champion: BaseEstimator,
    candidate: BaseEstimator,
    *,
    task: str = "multiclass",
    target: str = "kind",
    **declared: str,
) -> Model:
    """Train both on the rows of their role."""
    model = home.model("small", task=task, target=target, key="id", **declared)
    model.train(champion, data)
    model.train(candidate, data, seed=1)
    return model


def test_a_recipe_that_learns_beats_one_that_does_not(home: Home) -> None:
    model = made(home, iris(), DummyClassifier(), LOGISTIC)
    found = model.compare_recipes("v2", repeats=1)
    assert found.outcome == "candidate is better"
    assert 0 < found.lower < found.gain < found.upper < math.log(3)
    assert (found.n_rows, found.n_folds, found.n_repeats) == (150, 10, 1)
    assert found.sentence.endswith(f"{WEAKER}.")
    turned = model.compare_recipes("champion", "v2", repeats=1)
    assert turned.outcome == "baseline is better"
    assert turned.gain == pytest.approx(-found.gain, rel=1e-12)
    assert [each.kind for each in model.log() if each.kind in {"verdict", "promote"}] == []
    assert model.version("champion").name == "v1", "a comparison of recipes moves nothing"


def test_the_same_call_gives_the_same_numbers_and_another_seed_others(home: Home) -> None:
    model = made(home, iris(), DecisionTreeClassifier(**TREE), KNeighborsClassifier(15))
    found = [model.compare_recipes("v2", repeats=1, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0].gain != found[2].gain


def test_recipes_that_differ_by_their_seed_alone_prove_nothing(home: Home) -> None:
    recipe = DecisionTreeClassifier(**TREE, max_features=2)
    found = made(home, iris(), recipe, recipe).compare_recipes("v2", repeats=2)
    assert found.outcome == "cannot tell"
    assert found.lower < 0 < found.upper


def test_equal_recipes_cost_the_same_and_prove_nothing(home: Home) -> None:
    same = [KNeighborsClassifier(5, leaf_size=leaf_size) for leaf_size in (200, 300)]
    found = made(home, iris(), *same).compare_recipes("v2", repeats=2)
    assert found.outcome == "cannot tell"
    assert found.gain == 0.0
    assert "cost the same in every fold" in found.sentence


def test_thirty_rows_get_fewer_folds_with_two_of_each_class_in_each(home: Home) -> None:
    model = made(home, iris(30), DummyClassifier(), KNeighborsClassifier(5))
    found = model.compare_recipes("v2")
    fewest = min(np.bincount(iris(30)["kind"]))
    assert found.n_folds == fewest // 2
    assert found.n_rows == 30
    assert found.outcome == "candidate is better"


def test_thirty_rows_before_the_gate_are_undecided_and_name_what_can_be_asked(home: Home) -> None:
    """Breaks when 30 rows in all end in a crash, a pass, or nothing to do but wait."""
    model = made(home, two_classes(30), DummyClassifier(), LOGISTIC, task="binary")
    verdict = model.gate("v2")
    assert verdict.outcome == "undecided"
    assert verdict.n_rows == 6
    assert verdict.next_action.endswith(RECIPES)
    assert "compare-recipes" in verdict.next_action
    again = model.gate("v2")
    assert again.outcome == "undecided"
    assert again.next_action.endswith(RECIPES)


def test_thirty_rows_that_were_all_trained_on_are_undecided_too(home: Home) -> None:
    model = home.model("small", task="binary", target="kind", key="id")
    data = two_classes(30)
    model.feed.append(data)
    for recipe in (DummyClassifier(), KNeighborsClassifier(5)):
        model.register(recipe.fit(data[list(data.columns[:4])], data["kind"]), trained_on=data)
    verdict = model.gate("v2")
    assert (verdict.outcome, verdict.n_rows) == ("undecided", 0)
    assert verdict.next_action.endswith(RECIPES)
    assert model.compare_recipes("v2").outcome == "candidate is better"


def test_a_verdict_that_names_it_replays_to_the_same(home: Home) -> None:
    model = made(home, two_classes(30), DummyClassifier(), LOGISTIC, task="binary")
    model.gate("v2")
    stored = next(each for each in model.log() if each.kind == "verdict").details["verdict_id"]
    assert model.replay(stored).differs == ()


def test_a_larger_model_is_told_to_wait_and_nothing_else(home: Home) -> None:
    model = made(home, iris(120), KNeighborsClassifier(15), KNeighborsClassifier(16))
    assert RECIPES not in model.gate("v2").next_action


def test_one_class_or_two_rows_of_one_cannot_tell(home: Home) -> None:
    data = iris().query("kind == 0 or id == 'flower 149' or id == 'flower 148'")
    model = home.model("small", task="multiclass", target="kind", key="id")
    for recipe in (DummyClassifier(), KNeighborsClassifier(1)):
        fitted = recipe.fit(iris()[list(iris().columns[:4])], iris()["kind"])
        model.register(fitted, trained_on=iris().head(1))
    assert "no labeled row" in _cannot_tell(model).reason
    model.feed.append(data.query("kind == 0"))
    assert "at least two classes, got only 0" in _cannot_tell(model).reason
    model.feed.append(data.query("kind == 2"))
    found = _cannot_tell(model)
    assert "2 independent rows of the rarest class" in found.reason
    assert found.n_rows == 52


def test_numbers_are_compared_by_their_absolute_error(home: Home) -> None:
    data = load_diabetes(as_frame=True).frame
    data["id"] = [f"patient {at}" for at in range(len(data))]
    model = made(
        home, data, DummyRegressor(), LinearRegression(), task="regression", target="target"
    )
    found = model.compare_recipes("v2", repeats=1)
    assert found.outcome == "candidate is better"
    assert found.loss == "absolute_error"
    assert 15 < found.gain < 30


def test_sets_of_labels_are_compared_too(home: Home) -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(60, 2)), columns=["x", "y"])
    data["id"] = [str(at) for at in range(60)]
    names = np.where(data["x"] > 0, "left", ""), np.where(data["y"] > 0, "up", "")
    data["kind"] = ["|".join(filter(None, each)) for each in zip(*names, strict=True)]
    model = made(home, data, DummyClassifier(), KNeighborsClassifier(5), task="multilabel")
    found = model.compare_recipes("v2", repeats=1)
    assert found.outcome == "candidate is better"


def test_rows_of_one_group_are_never_on_both_sides(home: Home) -> None:
    """One neighbor knows the other rows of its group by heart; torn apart it would look right.

    Labels are drawn by group, so that nothing can be learned of a new one.
    """
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(40), 5)
    data = pd.DataFrame(rng.normal(size=(40, 2)).repeat(5, axis=0), columns=["x", "y"])
    data["kind"] = rng.integers(0, 2, size=40).repeat(5)
    data["who"] = [f"group {each}" for each in group]
    data["id"] = [str(at) for at in range(200)]
    model = made(home, data, DummyClassifier(), KNeighborsClassifier(1), task="binary", group="who")
    assert model.compare_recipes("v2", repeats=1).outcome == "baseline is better"


def test_a_recipe_that_fails_or_answers_nan_is_a_reason(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(home, iris(), DummyClassifier(), KNeighborsClassifier(5))

    def fails(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError("no neighbor")

    with monkeypatch.context() as patched:
        patched.setattr(KNeighborsClassifier, "fit", fails)
        assert "scoring v2: ZeroDivisionError: no neighbor" in _cannot_tell(model).reason

    def nan(_self: object, rows: pd.DataFrame) -> object:
        return np.full((len(rows), 3), np.nan)

    with monkeypatch.context() as patched:
        patched.setattr(KNeighborsClassifier, "predict_proba", nan)
        assert "v2: its recipe answers with NaN" in _cannot_tell(model).reason

    def newer(*_given: object) -> None:
        raise Invalid("load_estimator", needs="scikit-learn 99", came="1", todo="Upgrade.")

    monkeypatch.setattr(crossfitting, "load_estimator", newer)
    assert "scikit-learn 99" in _cannot_tell(model).reason


def test_what_makes_no_sense_is_refused(home: Home) -> None:
    model = made(home, iris(), DummyClassifier(), KNeighborsClassifier(5))
    with pytest.raises(Invalid, match="v1 twice"):
        model.compare_recipes("v1")
    for folds, repeats, seed in ((1, 5, 0), (10, 0, 0), (10, 11, 0), (10, 5, -1)):
        with pytest.raises(Invalid, match="at least 2 folds"):
            model.compare_recipes("v2", folds=folds, repeats=repeats, seed=seed)


def test_rows_with_event_time_are_judged_by_later_ones(home: Home) -> None:
    data = iris()
    data["at"] = pd.date_range("2026-01-01", periods=150, freq="1h", tz="UTC")
    model = made(home, data, DummyClassifier(), KNeighborsClassifier(5), time="at")
    with pytest.raises(Refused, match="renewal gate"):
        model.compare_recipes("v2")


def _cannot_tell(model: Model) -> RecipeComparison:
    found = model.compare_recipes("v2")
    assert found.outcome == "cannot tell"
    assert math.isnan(found.gain)
    assert (found.lower, found.upper, found.n_folds) == (-math.inf, math.inf, 0)
    return found
