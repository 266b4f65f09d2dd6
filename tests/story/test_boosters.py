"""A LightGBM and an XGBoost model, trained on rows with texts and served over HTTP.

What would break it: any room that takes every estimator for one of scikit-learn's, or a
column of texts that loses its codes between the fit, the store and the server.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from xgboost import XGBClassifier

from renewal.assemble.home import open_home

_RNG = np.random.default_rng(0)
_N = 400
_DELAY = _RNG.normal(size=_N)
_AIRPORT = _RNG.choice(["EWR", "JFK", "LGA"], _N)
ROWS = {
    "delay": _DELAY,
    "airport": _AIRPORT,
    "late": _DELAY + 2.0 * (_AIRPORT == "JFK") > 0.5,
}


def _asked(url: str, model: str) -> Any:
    """Return the probabilities of the same delay at an airport of each kind."""
    airports = ["EWR", "JFK", "DEN"]
    body = {
        "inputs": [
            {"name": "delay", "shape": [3], "datatype": "FP64", "data": [0.0, 0.0, 0.0]},
            {"name": "airport", "shape": [3], "datatype": "BYTES", "data": airports},
        ]
    }
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("POST", f"/v2/models/{model}/infer", json.dumps(body))
    answer = connection.getresponse()
    assert answer.status == http.client.OK
    outputs = {each["name"]: each["data"] for each in json.loads(answer.read())["outputs"]}
    connection.close()
    return np.array(outputs["probability"]).reshape(3, 2)


@pytest.mark.parametrize(
    "recipe", [LGBMClassifier(n_estimators=20, n_jobs=1), XGBClassifier(n_estimators=20, n_jobs=1)]
)
def test_a_booster_is_trained_and_served(tmp_path: Path, recipe: Any) -> None:
    with open_home(tmp_path) as home:
        model = home.model("flights", task="binary", target="late")
        model.train(recipe, ROWS)
        server = home.serve(port=0)
        try:
            found = _asked(server.url, "flights")
        finally:
            server.stop()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert found[0, 1] < 0.2
    assert found[1, 1] > 0.8
