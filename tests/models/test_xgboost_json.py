"""Models of XGBoost, changed in their JSON form."""

from __future__ import annotations

import json

import numpy as np
import xgboost
from numpy.typing import NDArray

from renewal.models.xgboost_json import mixed

_RNG = np.random.default_rng(0)
_X = _RNG.normal(size=(300, 3))
_Y = _X[:, 0] + _X[:, 1] ** 2


def _model(target: NDArray[np.float64]) -> xgboost.Booster:
    """Return trees of one shape, whatever the target: their leaves alone are refreshed."""
    rows = xgboost.DMatrix(_X, _Y)
    base = xgboost.train({"max_depth": 3, "verbosity": 0, "base_score": 0.5, "nthread": 1}, rows, 8)
    refresh = {
        "process_type": "update",
        "updater": "refresh",
        "verbosity": 0,
        "base_score": 0.5,
        "nthread": 1,
    }
    return xgboost.train(refresh, xgboost.DMatrix(_X, target), 8, xgb_model=base)


def _read(data: bytes) -> xgboost.Booster:
    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    return booster


def test_the_mixture_is_that_of_the_two_models() -> None:
    """Breaks when splits are mixed with leaves, or the shares are the wrong way round."""
    old, new = _model(_Y), _model(-2.0 * _Y)
    found = _read(mixed(old.save_raw("json"), new.save_raw("json"), 0.25)).inplace_predict(_X)
    expected = 0.25 * old.inplace_predict(_X) + 0.75 * new.inplace_predict(_X)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_ends_are_the_models_themselves() -> None:
    old, new = _model(_Y), _model(-2.0 * _Y)
    for decay, whole in ((1.0, old), (0.0, new)):
        found = _read(mixed(old.save_raw("json"), new.save_raw("json"), decay))
        assert np.array_equal(found.inplace_predict(_X), whole.inplace_predict(_X))


def test_a_leaf_that_no_row_reaches_keeps_its_value() -> None:
    old = _model(_Y)
    new = json.loads(bytes(_model(-2.0 * _Y).save_raw("json")))
    for tree in new["learner"]["gradient_booster"]["model"]["trees"]:
        tree["sum_hessian"] = [0.0] * len(tree["sum_hessian"])
    found = _read(mixed(old.save_raw("json"), json.dumps(new).encode(), 0.0))
    assert np.array_equal(found.inplace_predict(_X), old.inplace_predict(_X))
