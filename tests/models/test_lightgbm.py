"""What is LightGBM's own."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor

from renewal.core.errors import Invalid
from renewal.models.lightgbm import LightGbmAdapter

N_ROWS = 600
_RNG = np.random.default_rng(5)
_X = _RNG.normal(size=(N_ROWS, 4))
_CODES = (_X[:, 0] * _X[:, 1] + 0.3 * _X[:, 2] > 0.8).astype(int)
ROWS = pa.table({f"x{at}": each for at, each in enumerate(_X.T)})
LATE = np.array(_CODES.tolist(), dtype=object)
ADAPTER = LightGbmAdapter()


@pytest.mark.parametrize("weight", ["balanced", {0: 1.0, 1: 4.0}])
def test_weights_of_classes_are_the_library_s(weight: Any) -> None:
    """Breaks when the recipe's weights of classes are lost, also on the way to the bytes."""
    recipe = LGBMClassifier(n_jobs=1, n_estimators=10, class_weight=weight)
    bare = recipe.fit(_X, _CODES).predict_proba(_X)
    for each in (recipe, ADAPTER.load(ADAPTER.dump(ADAPTER.fit(recipe, ROWS, LATE)))):
        found = ADAPTER.predict(ADAPTER.fit(each, ROWS, LATE), ROWS)
        np.testing.assert_allclose(found, bare, atol=1e-9)
    again = ADAPTER.with_params(ADAPTER.fit(recipe, ROWS, LATE), {"n_estimators": 3})
    assert again.class_weight == weight


def test_weights_of_rows_multiply_those_of_classes() -> None:
    recipe = LGBMClassifier(n_jobs=1, n_estimators=10, class_weight="balanced")
    weights = _RNG.uniform(0.5, 2.0, N_ROWS)
    bare = recipe.fit(_X, _CODES, sample_weight=weights).predict_proba(_X)
    found = ADAPTER.predict(ADAPTER.fit(recipe, ROWS, LATE, weights=weights), ROWS)
    np.testing.assert_allclose(found, bare, atol=1e-9)


@pytest.mark.parametrize("word", ["num_iterations", "num_boost_round", "n_iter"])
def test_rounds_by_the_library_s_other_words(word: str) -> None:
    """Breaks when continuing adds the recipe's rounds because it spells them another way."""
    fitted = ADAPTER.fit(LGBMClassifier(n_jobs=1, **{word: 4}), ROWS, LATE)
    assert ADAPTER.capabilities(fitted).size == 4
    grown = ADAPTER.continue_fit(fitted, ROWS, LATE, way="boost", rounds=2)
    assert ADAPTER.capabilities(grown).size == 6


def test_threads_change_nothing() -> None:
    """Breaks when sums of histograms depend on who adds first."""
    one, two = (
        ADAPTER.predict(ADAPTER.fit(LGBMClassifier(n_estimators=30, n_jobs=jobs), ROWS, LATE), ROWS)
        for jobs in (1, 2)
    )
    assert np.array_equal(one, two)


def test_a_change_of_scale_does_no_harm() -> None:
    """Breaks when old trees are read through the bins of the new rows, as in histogram trees."""
    fitted = ADAPTER.fit(LGBMClassifier(n_jobs=1, n_estimators=60), ROWS, LATE, seed=0)
    scaled = pa.table({name: 100.0 * ROWS[name].to_numpy() + 7.0 for name in ROWS.column_names})
    grown = ADAPTER.continue_fit(fitted, scaled, LATE, way="boost", rounds=40, seed=0)
    found = ADAPTER.predict(grown, scaled).argmax(axis=1)
    assert (found == _CODES).mean() > 0.97


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"boosting_type": "dart"}, "dart"),
        ({"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}, "rf"),
        ({"linear_tree": True}, "linear models"),
    ],
)
def test_what_cannot_be_continued_soundly_is_declared(params: dict[str, Any], says: str) -> None:
    fitted = ADAPTER.fit(LGBMRegressor(n_jobs=1, n_estimators=3, **params), ROWS, _X[:, 0], seed=0)
    declared = ADAPTER.capabilities(fitted)
    assert declared.ways == ()
    assert says in declared.why_not["continue"]
    with pytest.raises(Invalid, match=says):
        ADAPTER.continue_fit(fitted, ROWS, _X[:, 0], way="boost")


def test_an_early_stop_elsewhere_becomes_its_rounds() -> None:
    """Breaks when the rounds after the best are stored, or a refit runs all that were allowed."""
    half = N_ROWS // 2
    model = LGBMClassifier(n_jobs=1, n_estimators=400)
    model.fit(
        _X[:half],
        _CODES[:half],
        eval_X=_X[half:],
        eval_y=_CODES[half:],
        callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )
    loaded = ADAPTER.load(ADAPTER.dump(model))
    assert np.array_equal(ADAPTER.predict(loaded, ROWS), model.predict_proba(_X))
    best = model.best_iteration_
    assert ADAPTER.capabilities(loaded).size == ADAPTER.params(loaded)["n_estimators"] == best
    assert ADAPTER.capabilities(ADAPTER.fit(loaded, ROWS, LATE)).size == best


def test_categories_that_are_no_texts_are_refused() -> None:
    """Breaks when numbers that a frame held as categories are read as numbers."""
    frame = pd.DataFrame({"x": _X[:, 0], "gate": pd.Categorical(_RNG.integers(10, 14, N_ROWS))})
    model = LGBMClassifier(n_jobs=1, n_estimators=3).fit(frame, _CODES)
    with pytest.raises(Invalid, match="categories that are texts"):
        ADAPTER.dump(model)
    coded = LGBMClassifier(n_jobs=1, n_estimators=3).fit(_X, _CODES, categorical_feature=[3])
    with pytest.raises(Invalid, match="1 categorical columns, 0 of them"):
        ADAPTER.dump(coded)
    with pytest.raises(Invalid, match="categorical_feature"):
        ADAPTER.fit(LGBMClassifier(n_jobs=1, categorical_feature=[3]), ROWS, LATE)


def test_names_that_the_library_does_not_take() -> None:
    """Breaks when names of columns reach LightGBM, which refuses signs of JSON in them."""
    strange = ROWS.rename_columns(['a[0]: "b"', "c,d", "e f", "{g}"])
    fitted = ADAPTER.load(ADAPTER.dump(ADAPTER.fit(LGBMClassifier(n_jobs=1), strange, LATE)))
    plain = ADAPTER.fit(LGBMClassifier(n_jobs=1), ROWS, LATE)
    assert np.array_equal(ADAPTER.predict(fitted, strange), ADAPTER.predict(plain, ROWS))


def test_scores_that_are_no_probabilities_are_refused() -> None:
    recipe = LGBMClassifier(
        n_jobs=1, n_estimators=3, objective="regression", boost_from_average=False
    )
    shifted = ADAPTER.fit(recipe, ROWS, LATE)
    with pytest.raises(Invalid, match="2 probabilities"):
        ADAPTER.predict(shifted, ROWS)


def test_one_against_all_sums_to_one() -> None:
    codes = np.array(np.digitize(_X[:, 0], [-0.5, 0.5]).tolist(), dtype=object)
    fitted = ADAPTER.fit(
        LGBMClassifier(n_jobs=1, n_estimators=5, objective="multiclassova"), ROWS, codes
    )
    scores = ADAPTER.predict(fitted, ROWS)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0)
    assert (scores.argmax(axis=1) == codes).mean() > 0.9
