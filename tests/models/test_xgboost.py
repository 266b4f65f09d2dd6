"""What is XGBoost's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from xgboost import XGBClassifier, XGBRegressor

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.models.xgboost import XgboostAdapter

N_ROWS = 600
_RNG = np.random.default_rng(5)
_X = _RNG.normal(size=(N_ROWS, 3))
_CODES = (_X[:, 0] * _X[:, 1] + 0.3 * _X[:, 2] > 0).astype(int)
ROWS = pa.table({f"x{at}": each for at, each in enumerate(_X.T)})
LATE = np.array(_CODES.tolist(), dtype=object)
ADAPTER = XgboostAdapter()
SIGNATURE = Signature(tuple(Field(name, "float") for name in ROWS.column_names))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"booster": "dart"}, "dart"),
        ({"booster": "gblinear"}, "gblinear"),
    ],
)
def test_what_cannot_be_continued_soundly_is_declared(params: dict[str, Any], says: str) -> None:
    fitted = ADAPTER.fit(XGBRegressor(n_jobs=1, n_estimators=3, **params), ROWS, _X[:, 0], seed=0)
    loaded = ADAPTER.load(ADAPTER.dump(fitted))
    declared = ADAPTER.capabilities(loaded)
    assert declared.ways == ()
    assert declared.size == 3
    assert says in declared.why_not["continue"]
    with pytest.raises(Invalid, match=says):
        ADAPTER.continue_fit(loaded, ROWS, _X[:, 0], way="leaves")


def test_a_change_of_scale_does_no_harm() -> None:
    """Breaks when old trees are read through the bins of the new rows, as in histogram trees."""
    fitted = ADAPTER.fit(XGBClassifier(n_jobs=1, n_estimators=60), ROWS, LATE, seed=0)
    scaled = pa.table({name: 100.0 * ROWS[name].to_numpy() + 7.0 for name in ROWS.column_names})
    grown = ADAPTER.continue_fit(fitted, scaled, LATE, way="boost", rounds=40, seed=0)
    found = ADAPTER.predict(grown, scaled).argmax(axis=1)
    assert (found == _CODES).mean() > 0.97


def test_constraints_by_name_are_kept() -> None:
    """Breaks when a recipe's names mean nothing because rows reach XGBoost as a matrix."""
    recipe = XGBRegressor(
        n_jobs=1,
        n_estimators=30,
        monotone_constraints={"x1": 1},
        interaction_constraints=[["x0", "x2"], ["x1"]],
    )
    target = -_X[:, 1] + _X[:, 0]
    for each in (recipe, ADAPTER.load(ADAPTER.dump(ADAPTER.fit(recipe, ROWS, target)))):
        fitted = ADAPTER.fit(each, ROWS, target)
        line = pa.table({"x0": np.zeros(50), "x1": np.linspace(-2, 2, 50), "x2": np.zeros(50)})
        assert (np.diff(ADAPTER.predict(fitted, line)[:, 0]) >= 0).all()
    places = XGBRegressor(n_jobs=1, n_estimators=30, monotone_constraints=(0, 1, 0))
    fitted = ADAPTER.fit(places, ROWS, target)
    assert (np.diff(ADAPTER.predict(fitted, line)[:, 0]) >= 0).all()


@pytest.mark.parametrize("params", [{"missing": 0.0}, {"feature_types": ["c", "q", "q"]}])
def test_another_word_for_what_is_missing_is_refused(params: dict[str, Any]) -> None:
    """Breaks when a code of 0 is taken for a gap."""
    with pytest.raises(Invalid, match=next(iter(params))):
        ADAPTER.fit(XGBClassifier(n_jobs=1, **params), ROWS, LATE)


@pytest.mark.parametrize("objective", ["binary:hinge", "binary:logitraw"])
def test_objectives_without_probabilities_are_refused(objective: str) -> None:
    with pytest.raises(Invalid, match="gives probabilities"):
        ADAPTER.fit(XGBClassifier(n_jobs=1, objective=objective), ROWS, LATE)


def test_leaves_of_several_values_are_refused() -> None:
    with pytest.raises(Invalid, match="one value in a leaf"):
        ADAPTER.fit(XGBClassifier(multi_strategy="multi_output_tree"), ROWS, LATE)


def test_softmax_gives_probabilities() -> None:
    fitted = ADAPTER.fit(
        XGBClassifier(n_jobs=1, n_estimators=3, objective="multi:softmax"), ROWS, LATE
    )
    scores = ADAPTER.predict(fitted, ROWS)
    assert scores.shape == (N_ROWS, 2)
    assert 0.5 < scores.max(axis=1).mean() < 1.0


def test_an_early_stop_elsewhere_becomes_its_rounds() -> None:
    """Breaks when the rounds after the best are stored, or a refit wants validation rows."""
    half = N_ROWS // 2
    model = XGBClassifier(n_jobs=1, n_estimators=400, early_stopping_rounds=5)
    held_out = [(_X[half:], _CODES[half:])]
    model.fit(_X[:half], _CODES[:half], eval_set=held_out, verbose=False)
    loaded = ADAPTER.load(ADAPTER.dump(model))
    gap = np.abs(ADAPTER.predict(loaded, ROWS) - model.predict_proba(_X)).max()
    assert gap < 1e-6
    best = model.best_iteration + 1
    assert ADAPTER.capabilities(loaded).size == ADAPTER.params(loaded)["n_estimators"] == best
    assert ADAPTER.capabilities(ADAPTER.fit(loaded, ROWS, LATE)).size == best


def test_categories_that_are_no_texts_are_refused() -> None:
    """Breaks when numbers that a frame held as categories are read as numbers."""
    frame = pd.DataFrame({"x": _X[:, 0], "gate": pd.Categorical(_RNG.integers(10, 14, N_ROWS))})
    model = XGBClassifier(n_jobs=1, n_estimators=3, enable_categorical=True).fit(frame, _CODES)
    with pytest.raises(Invalid, match="categories that came as texts"):
        ADAPTER.dump(model)


def test_several_trees_a_round_are_counted() -> None:
    fitted = ADAPTER.fit(XGBClassifier(n_jobs=1, n_estimators=3, num_parallel_tree=4), ROWS, LATE)
    assert ADAPTER.capabilities(fitted).size == 12
    leaves = ADAPTER.continue_fit(fitted, ROWS, LATE, way="leaves")
    assert ADAPTER.capabilities(leaves).size == 12


def test_an_infinite_number_is_named_without_a_stack_trace() -> None:
    endless = ROWS.set_column(0, "x0", pa.array(np.full(N_ROWS, np.inf)))
    with pytest.raises(Invalid, match="inf") as caught:
        ADAPTER.fit(XGBClassifier(n_jobs=1), endless, LATE)
    assert "libxgboost" not in str(caught.value)


def test_a_diverged_fit_says_so() -> None:
    """Breaks when NaN is handed on as a score."""
    recipe = XGBRegressor(n_jobs=1, n_estimators=60, learning_rate=1e10)
    fitted = ADAPTER.fit(recipe, ROWS, 1e30 * _X[:, 0], seed=0)
    with pytest.raises(Invalid, match="diverged"):
        ADAPTER.predict(fitted, ROWS)


def test_made_ready_it_predicts_in_one_thread() -> None:
    """Breaks when one row waits for threads: 40 ms at the slow end on two busy cores."""
    fitted = ADAPTER.load(ADAPTER.dump(ADAPTER.fit(XGBClassifier(n_estimators=5), ROWS, LATE)))
    before = ADAPTER.predict(fitted, ROWS)
    ready = ADAPTER.ready(fitted, SIGNATURE)
    assert '"nthread":"1"' in ready.booster.save_config().replace(" ", "")
    assert np.array_equal(ADAPTER.predict(ready, ROWS), before)
