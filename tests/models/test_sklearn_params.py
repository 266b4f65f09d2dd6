"""Parameters as JSON values, and the weights of rows where they belong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewal.core.errors import Invalid
from renewal.models.sklearn import SklearnAdapter
from renewal.models.sklearn_params import plain_params, weight_parameter, with_params


def test_parameters_go_through_json_and_back() -> None:
    """Broken by a tuple that comes back as a list, or an object that JSON cannot hold."""
    recipe = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=0.5))
    params = json.loads(json.dumps(plain_params(recipe)))
    assert params["logisticregression__C"] == 0.5
    assert "steps" not in params
    again = with_params(recipe, params)
    assert again is not recipe
    assert again.get_params()["tfidfvectorizer__ngram_range"] == (1, 2)
    changed = with_params(recipe, {"logisticregression__C": 2.0})
    assert changed[-1].C == 2.0
    assert recipe[-1].C == 0.5


def test_what_no_json_holds_is_left_out() -> None:
    """Broken by a NaN in a manifest, which no other reader of JSON takes."""
    params = plain_params(make_pipeline(SimpleImputer(), LogisticRegression(C=np.float64(3.0))))
    assert "simpleimputer__missing_values" not in params
    assert type(params["logisticregression__C"]) is float


def test_a_recalibrated_recipe_is_the_one_inside() -> None:
    """Broken by a study that tunes the wrapper around a frozen model."""
    inner = LogisticRegression(C=0.1).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    wrapped = CalibratedClassifierCV(FrozenEstimator(inner))
    assert plain_params(wrapped)["C"] == 0.1
    assert type(with_params(wrapped, {"C": 1.0})) is LogisticRegression


def test_an_unknown_parameter_offers_the_nearest() -> None:
    """Broken by scikit-learn's own ValueError."""
    with pytest.raises(Invalid, match="Did you mean 'alpha'"):
        with_params(SGDClassifier(), {"alpa": 1.0})


SEVERAL = VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier())])


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (LogisticRegression(), "sample_weight"),
        (
            make_pipeline(StandardScaler(), make_pipeline(LogisticRegression())),
            "pipeline__logisticregression__sample_weight",
        ),
        (SEVERAL, "sample_weight"),
        (TransformedTargetRegressor(), "sample_weight"),
        (GridSearchCV(LogisticRegression(), {"C": [1.0]}), "sample_weight"),
        (CalibratedClassifierCV(LogisticRegression()), "sample_weight"),
        # A calibration in which only the curve is weighted would pass for a weighted fit.
        (CalibratedClassifierCV(KNeighborsClassifier()), None),
        (VotingClassifier([("a", KNeighborsClassifier())]), None),
        (KNeighborsClassifier(), None),
    ],
)
def test_who_takes_the_weights(recipe: Any, name: str | None) -> None:
    """Broken by weights that a wrapper swallows."""
    assert weight_parameter(recipe) == name


@pytest.mark.parametrize(
    "recipe",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        CalibratedClassifierCV(LogisticRegression(), cv=2),
    ],
)
def test_weights_decide_what_is_learned(
    recipe: Any, adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by weights that never reach the estimator: rows of no weight say nothing."""
    turned = np.concatenate([late, ~late.astype(bool)]).astype(object)
    mixed = np.random.default_rng(0).permutation(400)
    twice = pa.concat_tables([numbers, numbers]).take(pa.array(mixed))
    one, other = (
        adapter.fit(recipe, twice, turned[mixed], seed=0, weights=np.where(heavy, 1.0, 1e-9))
        for heavy in (mixed < 200, mixed >= 200)
    )
    true = adapter.predict(one, numbers)[:, 1]
    false = adapter.predict(other, numbers)[:, 1]
    assert np.corrcoef(true, late.astype(float))[0, 1] > 0.5
    assert np.corrcoef(false, late.astype(float))[0, 1] < -0.5


def test_who_cannot_weigh_says_so(adapter: SklearnAdapter, numbers: pa.Table, late: Any) -> None:
    """Broken by weights that are dropped in silence."""
    with pytest.raises(Invalid, match="KNeighborsClassifier, whose fit takes no sample_weight"):
        adapter.fit(KNeighborsClassifier(), numbers, late, weights=np.ones(200))


def test_values_can_be_weighted(adapter: SklearnAdapter) -> None:
    """Broken by a regression that is left out."""
    target = np.r_[np.zeros(100), np.full(100, 10.0)]
    table = pa.table({"a": np.zeros(200)})
    weights = np.r_[np.full(100, 3.0), np.full(100, 1.0)]
    fitted = adapter.fit(LinearRegression(), table, target, weights=weights)
    assert adapter.predict(fitted, table)[0, 0] == pytest.approx(2.5)
