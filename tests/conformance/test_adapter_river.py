"""River x every check of the conformance suite."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from river import (
    compose,
    drift,
    ensemble,
    forest,
    linear_model,
    multiclass,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    tree,
)

from renewal.models.river import RiverAdapter
from renewal.models.river_model import RiverModel
from renewal.testing.adapters import ADAPTER_CHECKS, AdapterCase, run_adapter_check

N_ROWS = 160
_RNG = np.random.default_rng(20131)
_DELAY = _RNG.normal(size=N_ROWS)
_STOPS = _RNG.integers(0, 3, N_ROWS)
_AIRPORT = _RNG.choice(["EWR", "JFK", "LGA"], N_ROWS)
_SIGNAL = _DELAY + 0.5 * _STOPS + 0.2 * _RNG.normal(size=N_ROWS)

NUMBERS = pa.table({"delay": _DELAY, "stops": _STOPS})
GAPPY = pa.table(
    {
        "delay": pa.array(_DELAY, mask=_RNG.random(N_ROWS) < 0.1),
        "stops": pa.array(_STOPS, mask=_RNG.random(N_ROWS) < 0.1),
        "airport": pa.array(_AIRPORT),
    }
)


def _objects(values: object) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    return np.array(np.asarray(values).tolist(), dtype=object)


LATE = _objects(_SIGNAL > 0.5)
SAID = _objects(np.where(_SIGNAL > 0.5, "yes", "no"))
WORDS = _objects(np.select([_SIGNAL < 0, _SIGNAL > 1], ["early", "late"], "on time"))
COUNTED = _objects(np.select([_SIGNAL < 0, _SIGNAL > 1], [0, 2], 1))
MINUTES = 10.0 * _SIGNAL


def _mixed() -> compose.TransformerUnion:
    numbers = compose.SelectType(float, int) | preprocessing.StandardScaler()
    return numbers + (compose.SelectType(str) | preprocessing.OneHotEncoder())


def _hoeffding(**options: object) -> tree.HoeffdingTreeClassifier:
    return tree.HoeffdingTreeClassifier(grace_period=20, delta=0.1, **options)


_RECIPES = {
    "logistic": (
        preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.1)),
        NUMBERS,
        LATE,
    ),
    "logistic_on_all": (_mixed() | linear_model.LogisticRegression(optim.Adam(0.1)), GAPPY, SAID),
    "logistic_at_once": (
        RiverModel(
            preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.5)),
            rows_at_once=8,
        ),
        NUMBERS,
        LATE,
    ),
    "softmax": (
        preprocessing.StandardScaler() | linear_model.SoftmaxRegression(optim.SGD(0.1)),
        NUMBERS,
        WORDS,
    ),
    "one_vs_rest": (
        preprocessing.StandardScaler()
        | multiclass.OneVsRestClassifier(linear_model.LogisticRegression(optim.SGD(0.1))),
        NUMBERS,
        COUNTED,
    ),
    "naive_bayes": (naive_bayes.GaussianNB(), NUMBERS, WORDS),
    "naive_bayes_at_once": (RiverModel(naive_bayes.GaussianNB(), rows_at_once=50), NUMBERS, WORDS),
    "neighbors": (
        neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=100)),
        NUMBERS,
        WORDS,
    ),
    "tree": (_hoeffding(nominal_attributes=["airport"]), GAPPY, WORDS),
    "adaptive_tree": (
        tree.HoeffdingAdaptiveTreeClassifier(grace_period=20, delta=0.1),
        NUMBERS,
        COUNTED,
    ),
    "adaptive_forest": (forest.ARFClassifier(n_models=3, grace_period=20), NUMBERS, WORDS),
    "mondrian_forest": (forest.AMFClassifier(n_estimators=3), NUMBERS, SAID),
    "bagging": (ensemble.BaggingClassifier(_hoeffding(), n_models=3), NUMBERS, LATE),
    "stacking": (
        ensemble.StackingClassifier(
            [_hoeffding(), naive_bayes.GaussianNB()], linear_model.LogisticRegression()
        ),
        NUMBERS,
        LATE,
    ),
    "retraining": (
        drift.DriftRetrainingClassifier(naive_bayes.GaussianNB(), drift.binary.DDM()),
        NUMBERS,
        LATE,
    ),
    "linear": (
        preprocessing.StandardScaler() | linear_model.LinearRegression(optim.SGD(0.1)),
        NUMBERS,
        MINUTES,
    ),
    "tree_values": (
        tree.HoeffdingTreeRegressor(
            grace_period=20, delta=0.1, leaf_prediction="mean", nominal_attributes=["airport"]
        ),
        GAPPY,
        MINUTES,
    ),
    "forest_values": (forest.ARFRegressor(n_models=3, grace_period=20), NUMBERS, MINUTES),
    "neighbors_values": (
        neighbors.KNNRegressor(engine=neighbors.LazySearch(window_size=100)),
        NUMBERS,
        MINUTES,
    ),
}
CASES = [
    AdapterCase(name, RiverAdapter(), recipe, features, labels)
    for name, (recipe, features, labels) in _RECIPES.items()
]

EXPECTED_FAILURES: dict[tuple[str, str], str] = {
    **dict.fromkeys(
        (("weights_repeat", name) for name in ("logistic", "logistic_on_all", "linear")),
        "one step of twice the length is not two steps, and the scaler before it counts rows",
    ),
    **dict.fromkeys(
        (("weights_repeat", name) for name in ("tree", "tree_values", "adaptive_tree")),
        "it looks for a split, or for drift, after so many rows",
    ),
}


@pytest.mark.parametrize("check", ADAPTER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_adapter(case: AdapterCase, check: str) -> None:
    """Broken by any learner that keeps less than the contract promises."""
    run_adapter_check(check, case, expected_failures=EXPECTED_FAILURES)
