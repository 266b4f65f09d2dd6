"""River's learners: what River lets pass in silence, and what the adapter does about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from river import (
    dummy,
    ensemble,
    forest,
    linear_model,
    multiclass,
    naive_bayes,
    optim,
    preprocessing,
    rules,
    tree,
)

import renewal
from renewal.core.errors import Invalid
from renewal.models.load import load_estimator, load_runtime
from renewal.models.river import RiverAdapter
from renewal.models.river_model import RiverModel

ADAPTER = RiverAdapter()
_RNG = np.random.default_rng(3)
X = _RNG.normal(size=300)
ROWS = pa.table({"x": X, "y": _RNG.normal(size=300)})
SAID = np.array(np.where(X > 0, "yes", "no").tolist(), dtype=object)


def scaled(learner: Any) -> Any:
    return preprocessing.StandardScaler() | learner


def test_a_third_class_is_refused_where_river_takes_it_for_one_of_the_two() -> None:
    """Broken by labels that reach a learner of two classes as they are."""
    bare = linear_model.LogisticRegression(optim.SGD(0.1))
    for x in X:
        bare.learn_one({"x": x}, 2)  # neither true nor false, and no error
    assert set(bare.predict_proba_one({"x": 0.0})) == {False, True}

    fitted = ADAPTER.fit(scaled(linear_model.LogisticRegression()), ROWS, SAID)
    third = np.array(["maybe"] * 300, dtype=object)
    with pytest.raises(Invalid, match="OneVsRestClassifier"):
        ADAPTER.partial_fit(fitted, ROWS, third)
    with pytest.raises(Invalid, match="OneVsRestClassifier"):
        ADAPTER.fit(scaled(linear_model.LogisticRegression()), ROWS, third)


def test_most_classifiers_take_in_a_new_class_that_sorts_first() -> None:
    """Broken by columns that are only appended to: the old ones would change their meaning."""
    for learner in (
        naive_bayes.GaussianNB(),
        tree.HoeffdingTreeClassifier(grace_period=20, delta=0.1),
        scaled(multiclass.OneVsRestClassifier(linear_model.LogisticRegression())),
    ):
        fitted = ADAPTER.fit(learner, ROWS, SAID, seed=1)
        assert ADAPTER.capabilities(fitted).accepts_new_classes
        moved = ROWS.set_column(1, "y", pa.array(ROWS["y"].to_numpy() + 20.0))
        grown = ADAPTER.partial_fit(fitted, moved, np.array(["far"] * 300, dtype=object))
        assert ADAPTER.classes(grown) == ("far", "no", "yes")
        assert ADAPTER.predict(grown, moved)[:, 0].mean() > 0.6
        old = ADAPTER.predict(grown, ROWS)
        assert (old[X > 0.5, 2] > old[X > 0.5, 1]).mean() > 0.6


def test_a_missing_column_is_refused_where_river_goes_on_without_it() -> None:
    fitted = ADAPTER.fit(scaled(linear_model.LogisticRegression(optim.SGD(0.1))), ROWS, SAID)
    alone = fitted.learner.predict_proba_one({"y": 0.0})  # the column that decides is not there
    assert alone[True] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(Invalid, match="'x'"):
        ADAPTER.predict(fitted, ROWS.drop_columns(["x"]))
    with pytest.raises(Invalid, match="'x'"):
        ADAPTER.partial_fit(fitted, ROWS.drop_columns(["x"]), SAID)


def test_all_rows_at_once_are_one_step() -> None:
    """Broken when ``learn_many`` gets whole tables: measured is why `rows_at_once` is 1."""
    shares = {}
    for rows_at_once in (1, 300):
        recipe = RiverModel(scaled(linear_model.LogisticRegression()), rows_at_once=rows_at_once)
        fitted = ADAPTER.fit(recipe, ROWS, SAID)
        shares[rows_at_once] = ADAPTER.predict(fitted, ROWS)[X > 1, 1].mean()
    assert shares[300] < 0.55 < shares[1]
    one, many = (
        ADAPTER.fit(RiverModel(naive_bayes.GaussianNB(), rows_at_once=size), ROWS, SAID)
        for size in (1, 300)
    )
    assert np.allclose(ADAPTER.predict(one, ROWS), ADAPTER.predict(many, ROWS), atol=1e-9)


def test_rows_at_once_need_numbers_and_learn_many() -> None:
    gappy = ROWS.set_column(0, "x", pa.array([None, *X[1:]]))
    with pytest.raises(Invalid, match="rows_at_once=1"):
        ADAPTER.fit(RiverModel(naive_bayes.GaussianNB(), rows_at_once=9), gappy, SAID)
    with pytest.raises(Invalid, match="learn_many"):
        ADAPTER.fit(RiverModel(tree.HoeffdingTreeClassifier(), rows_at_once=9), ROWS, SAID)


def test_members_given_as_a_list_start_anew() -> None:
    """Broken by River's own clone, which hands on what a list holds, trained as it is."""
    recipe = ensemble.StackingClassifier(
        [tree.HoeffdingTreeClassifier(), naive_bayes.GaussianNB()],
        linear_model.LogisticRegression(),
    )
    for x, label in zip(X, SAID, strict=True):
        recipe.learn_one({"x": x}, label == "yes")
    trained = recipe.clone().predict_proba_one({"x": 1.0})
    other = np.array(np.where(X > 0, "no", "yes").tolist(), dtype=object)
    fitted = ADAPTER.fit(recipe, ROWS, other, seed=1)
    assert ADAPTER.predict(fitted, ROWS)[X > 1, 0].mean() > 0.5
    assert trained  # River answers, from the rows before


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        (multiclass.OneVsOneClassifier(linear_model.LogisticRegression()), "only decides"),
        (rules.AMRules(), "addresses in memory"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_cannot_be_a_version_is_refused_by_the_fit(learner: Any, said: str) -> None:
    labels = X if isinstance(learner, rules.AMRules) else SAID
    with pytest.raises(Invalid, match=said):
        ADAPTER.fit(learner, ROWS, labels)


def test_a_divergence_is_an_error_and_no_score() -> None:
    """Broken by a NaN or infinity that reaches a loss."""
    wide = pa.table({"x": X * 1e200})
    fitted = ADAPTER.fit(linear_model.LinearRegression(optim.SGD(10.0)), wide, X)
    with pytest.raises(Invalid, match="diverged"):
        ADAPTER.predict(fitted, wide)


def test_one_that_was_trained_elsewhere_says_its_classes() -> None:
    learner = dummy.PriorClassifier()
    for label in SAID:
        learner.learn_one({}, label)
    with pytest.raises(Invalid, match="RiverModel"):
        ADAPTER.classes(learner)
    model = RiverModel(learner, ("no", "yes"))
    assert ADAPTER.predict(model, ROWS)[0].sum() == pytest.approx(1.0)
    with pytest.raises(Invalid, match="in order"):
        RiverModel(learner, ("yes", "no"))


def test_trees_and_forests_grow_and_linear_models_do_not() -> None:
    """Broken by a size that a cap on growth could not see."""
    options = {"grace_period": 20, "delta": 0.1}
    for learner in (
        tree.HoeffdingAdaptiveTreeClassifier(**options),
        forest.ARFClassifier(n_models=2, **options),
        forest.AMFClassifier(n_estimators=2),
    ):
        fitted = ADAPTER.fit(learner, ROWS, SAID, seed=1)
        before = ADAPTER.capabilities(fitted)
        further = pa.table({"x": X[::-1] * 1.5, "y": X * 1.5})
        grown = ADAPTER.partial_fit(fitted, further, SAID)
        after = ADAPTER.capabilities(grown)
        assert before.grows
        assert (before.size or 0) < (after.size or 0)
    for learner in (scaled(linear_model.LogisticRegression()), naive_bayes.GaussianNB()):
        assert not ADAPTER.capabilities(learner).grows


def test_what_it_knows_nothing_of_is_equally_likely() -> None:
    model = RiverModel(naive_bayes.GaussianNB(), ("a", "b", "c"))
    assert ADAPTER.predict(model, ROWS.slice(0, 2)).tolist() == [[1 / 3] * 3] * 2


def test_a_learner_lives_in_a_home(tmp_path: Path) -> None:
    """Broken when any step from training to a served version loses a part of the learner."""

    def rows(n: int, seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, n))
        return {"x": x, "y": y, "target": np.where(x + y > 0, "yes", "no")}

    with renewal.open(tmp_path) as home:
        model = home.model("m", task="binary", target="target")
        recipe = scaled(linear_model.LogisticRegression())
        first = model.train(recipe, rows(300, 1))
        assert first.manifest.adapter == "river"
        model.feed.append(rows(500, 2))
        update = model.update(["incremental"])
        assert update.candidate is not None
        assert update.candidate.manifest.classes == ("no", "yes")
        estimator = load_estimator(update.candidate.manifest, home.store)
        asked = pa.table({"y": [2.0], "x": [1.0]})
        runtime = load_runtime(update.candidate.manifest, home.store)
        expected = ADAPTER.predict(estimator, asked.select(["x", "y"]))
        assert runtime.predict(asked).tolist() == expected.tolist()
        runtime.close()
