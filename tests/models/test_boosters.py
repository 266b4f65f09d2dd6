"""What LightGBM and XGBoost must both keep beyond the conformance suite."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from xgboost import XGBClassifier, XGBRegressor

from renewal.core.errors import Invalid
from renewal.models.boosters import BoosterAdapter
from renewal.models.boosters_library import Boosted
from renewal.models.lightgbm import LightGbmAdapter
from renewal.models.xgboost import XgboostAdapter

N_ROWS = 600
_RNG = np.random.default_rng(3)
_X = _RNG.normal(size=(N_ROWS, 4))
_AIRPORT = _RNG.choice(["EWR", "JFK", "LGA"], N_ROWS)
_VALUE = _X[:, 0] * _X[:, 1] + 1.5 * (_AIRPORT == "JFK")
ROWS = pa.table({**{f"x{at}": each for at, each in enumerate(_X.T)}, "airport": _AIRPORT})
LATE = np.array((_VALUE > 0.5).tolist(), dtype=object)
WORDS = np.array(
    np.select([_VALUE < 0, _VALUE > 1], ["early", "late"], "on time").tolist(), dtype=object
)

Recipe = Callable[..., Any]
Pair = tuple[BoosterAdapter, Recipe, Recipe]
PAIRS: list[Pair] = [
    (LightGbmAdapter(), LGBMClassifier, LGBMRegressor),
    (XgboostAdapter(), XGBClassifier, XGBRegressor),
]


@pytest.fixture(params=PAIRS, ids=lambda pair: pair[0].name)
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    return found


def _scores(adapter: BoosterAdapter, fitted: Any, rows: pa.Table = ROWS) -> NDArray[np.float64]:
    return adapter.predict(fitted, rows)


@pytest.mark.parametrize("kind", ["two", "many", "values"])
def test_twenty_rounds_and_forty_are_sixty(pair: Pair, kind: str) -> None:
    """Breaks when going on sees other codes, classes or settings than the fit did."""
    adapter, classifier, regressor = pair
    recipe = regressor if kind == "values" else classifier
    labels = {"two": LATE, "many": WORDS, "values": _VALUE}[kind]
    first = adapter.fit(recipe(n_jobs=1, n_estimators=20), ROWS, labels, seed=0)
    grown = adapter.continue_fit(first, ROWS, labels, way="boost", rounds=40, seed=0)
    whole = adapter.fit(recipe(n_jobs=1, n_estimators=60), ROWS, labels, seed=0)
    assert np.array_equal(_scores(adapter, grown), _scores(adapter, whole))
    n_groups = 3 if kind == "many" else 1
    assert adapter.capabilities(first).size == 20 * n_groups
    assert adapter.capabilities(grown).size == adapter.capabilities(whole).size == 60 * n_groups


def test_a_fit_is_what_the_library_fits(pair: Pair) -> None:
    """Breaks when a parameter of the recipe is lost on the way to the library."""
    adapter, classifier, _ = pair
    recipe = classifier(n_jobs=1, n_estimators=15, max_depth=3, learning_rate=0.2, reg_lambda=3.0)
    numbers = ROWS.drop_columns(["airport"])
    found = _scores(adapter, adapter.fit(recipe, numbers, LATE), numbers)
    bare = recipe.fit(_X, LATE.astype(int)).predict_proba(_X)
    assert np.abs(found - bare).max() < 1e-7  # XGBoost's wrapper subtracts in single precision


def test_a_batch_without_a_text_moves_no_code(pair: Pair) -> None:
    """Breaks when codes are worked out anew from the rows at hand: JFK would become EWR's 0."""
    adapter, classifier, _ = pair
    fitted = adapter.fit(classifier(n_jobs=1, n_estimators=20), ROWS, LATE, seed=0)
    whole = _scores(adapter, fitted)
    assert np.ptp(whole[:, 1]) > 0.5
    for airport in ("EWR", "JFK", "LGA"):
        is_there = airport == _AIRPORT
        part = _scores(adapter, fitted, ROWS.filter(pa.array(is_there)))
        assert np.array_equal(part, whole[is_there])
    grown = adapter.continue_fit(
        fitted,
        ROWS.filter(pa.array(_AIRPORT == "JFK")),
        LATE[_AIRPORT == "JFK"],
        way="boost",
        rounds=1,
    )
    assert grown.texts[4] == ("EWR", "JFK", "LGA")


def test_an_unseen_text_is_missing(pair: Pair) -> None:
    """Breaks when a text that the fit has not seen gets a code of its own, or of another."""
    adapter, classifier, _ = pair
    fitted = adapter.load(
        adapter.dump(adapter.fit(classifier(n_jobs=1, n_estimators=20), ROWS, LATE))
    )
    unseen, null = (
        ROWS.set_column(4, "airport", pa.array([text] * N_ROWS, pa.string()))
        for text in ("DEN", None)
    )
    assert np.array_equal(_scores(adapter, fitted, unseen), _scores(adapter, fitted, null))
    assert not np.array_equal(_scores(adapter, fitted, unseen), _scores(adapter, fitted))


@pytest.mark.parametrize("way", ["boost", "leaves"])
def test_going_on_learns_what_is_new(pair: Pair, way: Any) -> None:
    """Breaks when going on learns nothing: the new world is the old one, the other way round."""
    adapter, classifier, _ = pair
    fitted = adapter.fit(classifier(n_jobs=1, n_estimators=20, max_depth=4), ROWS, LATE, seed=0)
    turned = np.array([not label for label in LATE], dtype=object)
    grown = adapter.continue_fit(fitted, ROWS, turned, way=way, rounds=30, decay=0.3, seed=0)
    before, after = (_scores(adapter, each)[:, 1] for each in (fitted, grown))
    is_late = turned.astype(bool)
    assert after[is_late].mean() > before[is_late].mean() + 0.3


def test_leaves_with_a_decay_of_one_stay(pair: Pair) -> None:
    adapter, classifier, _ = pair
    fitted = adapter.fit(classifier(n_jobs=1, n_estimators=10), ROWS, WORDS, seed=0)
    same = adapter.continue_fit(fitted, ROWS, WORDS[::-1].copy(), way="leaves", decay=1.0)
    assert np.abs(_scores(adapter, same) - _scores(adapter, fitted)).max() < 1e-6


def test_a_fit_never_continues_one(pair: Pair) -> None:
    """Breaks when fit looks at what an estimator has learned (dmlc/xgboost#6536)."""
    adapter, classifier, _ = pair
    recipe = classifier(n_jobs=1, n_estimators=10)
    fitted = adapter.fit(recipe, ROWS, WORDS, seed=0)
    again = adapter.fit(fitted, ROWS.slice(100), LATE[100:], seed=0)
    fresh = adapter.fit(recipe, ROWS.slice(100), LATE[100:], seed=0)
    assert adapter.dump(again) == adapter.dump(fresh)
    assert adapter.classes(again) == (False, True)


def test_the_recipe_survives_the_bytes(pair: Pair) -> None:
    """Breaks when a stored version is retrained by the library's defaults."""
    adapter, classifier, _ = pair
    recipe = classifier(n_jobs=1, n_estimators=7, max_depth=2, learning_rate=0.3)
    loaded = adapter.load(adapter.dump(adapter.fit(recipe, ROWS, LATE, seed=0)))
    assert adapter.params(loaded)["max_depth"] == 2
    again = adapter.fit(loaded, ROWS, LATE, seed=0)
    assert adapter.dump(again) == adapter.dump(adapter.fit(recipe, ROWS, LATE, seed=0))
    other = adapter.with_params(loaded, {"n_estimators": 9})
    assert type(other) is classifier
    assert other.get_params()["max_depth"] == 2
    assert adapter.capabilities(adapter.fit(other, ROWS, LATE)).size == 9


def test_a_slip_of_the_pen_is_refused(pair: Pair) -> None:
    """Breaks when a misspelled parameter reaches the library, which passes over it."""
    adapter, classifier, _ = pair
    with pytest.raises(Invalid, match="Did you mean 'learning_rate'"):
        adapter.with_params(classifier(n_jobs=1), {"learning_rat": 0.1})


def test_new_classes_are_refused(pair: Pair) -> None:
    adapter, classifier, _ = pair
    fitted = adapter.fit(classifier(n_jobs=1, n_estimators=3), ROWS, LATE, seed=0)
    with pytest.raises(Invalid, match="also 'early'"):
        adapter.continue_fit(fitted, ROWS, WORDS, way="boost")


def test_rows_that_cannot_be_learned_are_refused(pair: Pair) -> None:
    adapter, classifier, regressor = pair
    recipe = classifier(n_jobs=1, n_estimators=3)
    with pytest.raises(Invalid, match="at least one row"):
        adapter.fit(recipe, ROWS.slice(0, 0), LATE[:0])
    with pytest.raises(Invalid, match="at least two classes"):
        adapter.fit(recipe, ROWS, np.array(["same"] * N_ROWS, dtype=object))
    with pytest.raises(Invalid, match="numbers as labels"):
        adapter.fit(regressor(n_jobs=1), ROWS, WORDS)
    with pytest.raises(Invalid, match="fitted"):
        adapter.predict(recipe, ROWS)
    fitted = adapter.fit(recipe, ROWS, LATE)
    with pytest.raises(Invalid, match="rounds=0"):
        adapter.continue_fit(fitted, ROWS, LATE, way="boost", rounds=0)
    with pytest.raises(Invalid, match="decay=2"):
        adapter.continue_fit(fitted, ROWS, LATE, way="leaves", decay=2.0)
    with pytest.raises(Invalid, match="'airport' of the kind"):
        adapter.predict(fitted, ROWS.set_column(4, "airport", pa.array(_X[:, 0])))


def test_code_in_a_recipe_is_refused(pair: Pair) -> None:
    """Breaks when a recipe is stored that nobody could load without running code."""
    adapter, classifier, _ = pair

    def own(*rows: Any) -> Any:
        return rows

    with pytest.raises(Invalid, match="plain values"):
        adapter.fit(classifier(n_jobs=1, objective=own), ROWS, LATE)


def test_what_needs_validation_rows_is_refused(pair: Pair) -> None:
    adapter, classifier, _ = pair
    with pytest.raises(Invalid, match="needs no validation rows"):
        adapter.fit(classifier(n_jobs=1, early_stopping_rounds=5), ROWS, LATE)


def test_a_subclass_is_not_taken(pair: Pair) -> None:
    """Breaks when the code of a subclass is lost on the way to the store."""
    adapter, classifier, _ = pair

    class Own(classifier):  # type: ignore[misc, valid-type]  # a class that is not known before
        pass

    assert not adapter.accepts(Own())
    other = next(each for each, *_ in PAIRS if each is not adapter)
    assert not other.accepts(classifier(n_jobs=1))
    fitted = adapter.fit(classifier(n_jobs=1, n_estimators=2), ROWS, LATE)
    assert not other.accepts(fitted)
    with pytest.raises(Invalid, match="a booster of"):
        other.load(adapter.dump(fitted))


def test_a_fit_can_be_sent_to_another_process(pair: Pair) -> None:
    adapter, classifier, _ = pair
    fitted = adapter.fit(classifier(n_jobs=1, n_estimators=3), ROWS, LATE, seed=0)
    sent: Boosted = pickle.loads(pickle.dumps(fitted))  # noqa: S301  # our own bytes
    assert np.array_equal(_scores(adapter, sent), _scores(adapter, fitted))


def _frame() -> Any:
    frame = ROWS.to_pandas()
    frame["airport"] = pd.Categorical(frame["airport"])
    return frame.rename(columns={"x0": "x 0"})


def test_a_fit_made_elsewhere_on_a_frame_is_taken_over(pair: Pair) -> None:
    """Breaks when texts are coded by another order than the library's wrapper coded them by."""
    adapter, classifier, _ = pair
    options = {"enable_categorical": True} if adapter.name == "xgboost" else {}
    model = classifier(n_jobs=1, n_estimators=10, **options).fit(_frame(), WORDS == "late")
    rows = ROWS.rename_columns(["x 0", *ROWS.column_names[1:]])
    loaded = adapter.load(adapter.dump(model))
    bare = model.predict_proba(_frame())
    for each in (model, loaded):
        assert np.abs(_scores(adapter, each, rows) - bare).max() < 1e-6
        turned = rows.select(rows.column_names[::-1])
        assert np.abs(_scores(adapter, each, turned) - bare).max() < 1e-6
    assert loaded.texts[4] == ("EWR", "JFK", "LGA")
    labels = np.array((WORDS == "late").tolist(), dtype=object)
    grown = adapter.continue_fit(model, rows, labels, way="boost", rounds=5, seed=0)
    assert adapter.capabilities(grown).size == 15


def test_a_fit_made_elsewhere_on_a_matrix_takes_columns_as_they_lie(pair: Pair) -> None:
    adapter, classifier, _ = pair
    model = classifier(n_jobs=1, n_estimators=5).fit(_X, LATE.astype(int))
    numbers = ROWS.drop_columns(["airport"])
    found = _scores(adapter, adapter.load(adapter.dump(model)), numbers)
    assert np.abs(found - model.predict_proba(_X)).max() < 1e-6
    assert adapter.classes(model) == (0, 1)
    with pytest.raises(Invalid, match="columns"):
        adapter.predict(model, ROWS)
