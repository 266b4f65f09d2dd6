"""Every registered adapter x every check of the conformance suite."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, cast
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC
from skops.io import loads as skops_loads

from renewal.core.errors import Invalid, RenewalError
from renewal.models.contract import Capabilities
from renewal.models.labels import Labels
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Scores
from renewal.testing.adapters import ADAPTER_CHECKS, AdapterCase, run_adapter_check

N_ROWS = 120
_RNG = np.random.default_rng(20131)
_DELAY = _RNG.normal(size=N_ROWS)
_STOPS = _RNG.integers(0, 3, N_ROWS)
_NIGHT = _RNG.random(N_ROWS) < 0.5
_AIRPORT = _RNG.choice(["EWR", "JFK", "LGA"], N_ROWS)

NUMBERS = pa.table({"delay": _DELAY, "stops": _STOPS, "night": _NIGHT})
# A null in each column but the text: what real tables look like.
GAPPY = pa.table(
    {
        "delay": pa.array(_DELAY, mask=_RNG.random(N_ROWS) < 0.1),
        "stops": pa.array(_STOPS, mask=_RNG.random(N_ROWS) < 0.1),
        "night": pa.array(_NIGHT, mask=_RNG.random(N_ROWS) < 0.1),
        "airport": pa.array(_AIRPORT),
    }
)
FULL = NUMBERS.append_column("airport", pa.array(_AIRPORT))

_SIGNAL = _DELAY + (_AIRPORT == "JFK") + 0.2 * _RNG.normal(size=N_ROWS)


def _objects(values: object) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    return np.array(np.asarray(values).tolist(), dtype=object)


LATE = _objects(_SIGNAL > 0.3)
COUNTED = _objects((_SIGNAL > 0.3).astype(int))
WORDS = _objects(np.select([_SIGNAL < -0.2, _SIGNAL > 0.8], ["early", "late"], "on time"))
MINUTES = 10.0 * _SIGNAL


def _columns(*, scale: bool = True, sparse: bool = False) -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler()) if scale else SimpleImputer()
    return ColumnTransformer(
        [
            ("text", OneHotEncoder(handle_unknown="ignore", sparse_output=sparse), ["airport"]),
            ("numbers", numbers, ["delay", "stops", "night"]),
        ]
    )


def _codes() -> ColumnTransformer:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    return ColumnTransformer([("codes", encoder, ["airport"])], remainder="passthrough")


_FEW = {"max_iter": 5}
_RECIPES = {
    "logistic": (LogisticRegression(), NUMBERS, LATE),
    "logistic_on_columns": (make_pipeline(_columns(), LogisticRegression()), GAPPY, WORDS),
    "logistic_on_sparse": (
        make_pipeline(_columns(sparse=True), LogisticRegression()),
        GAPPY,
        COUNTED,
    ),
    "boosted_trees": (HistGradientBoostingClassifier(**_FEW), GAPPY, LATE),
    "boosted_trees_many": (HistGradientBoostingClassifier(**_FEW), GAPPY, WORDS),
    "boosted_trees_on_codes": (
        Pipeline([("codes", _codes()), ("trees", HistGradientBoostingClassifier(**_FEW))]),
        GAPPY,
        COUNTED,
    ),
    "boosted_trees_by_name": (
        HistGradientBoostingClassifier(categorical_features=["airport"], **_FEW),
        FULL,
        LATE,
    ),
    "boosted_trees_calibrated": (
        CalibratedClassifierCV(HistGradientBoostingClassifier(**_FEW), cv=2),
        NUMBERS,
        LATE,
    ),
    "forest": (RandomForestClassifier(8), NUMBERS, WORDS),
    "extra_trees": (make_pipeline(_codes(), ExtraTreesClassifier(8)), GAPPY, LATE),
    "gradient_boosting": (GradientBoostingClassifier(n_estimators=5), NUMBERS, COUNTED),
    "neighbours": (
        make_pipeline(StandardScaler(), KNeighborsClassifier(algorithm="kd_tree")),
        NUMBERS,
        WORDS,
    ),
    "neighbours_ball": (KNeighborsClassifier(algorithm="ball_tree"), NUMBERS, LATE),
    "sgd": (make_pipeline(_columns(), SGDClassifier(loss="log_loss")), GAPPY, WORDS),
    "sgd_in_place": (
        make_pipeline(StandardScaler(copy=False), SGDClassifier(loss="modified_huber")),
        NUMBERS,
        LATE,
    ),
    "sgd_early_stopping": (
        SGDClassifier(loss="log_loss", early_stopping=True),
        NUMBERS,
        LATE,
    ),
    "naive_bayes": (GaussianNB(), NUMBERS, WORDS),
    "network": (MLPClassifier((4,), solver="adam", max_iter=400, tol=1e-2), NUMBERS, LATE),
    "linear_svc_calibrated": (CalibratedClassifierCV(LinearSVC(), cv=2), NUMBERS, COUNTED),
    "voting": (
        VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
        NUMBERS,
        LATE,
    ),
    "stacking": (
        StackingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], cv=2),
        NUMBERS,
        LATE,
    ),
    "ridge": (make_pipeline(_columns(), Ridge()), GAPPY, MINUTES),
    "boosted_values": (HistGradientBoostingRegressor(**_FEW), GAPPY, MINUTES),
    "forest_values": (RandomForestRegressor(8), NUMBERS, MINUTES),
    "neighbours_values": (KNeighborsRegressor(), NUMBERS, MINUTES),
    "sgd_values": (make_pipeline(StandardScaler(), SGDRegressor()), NUMBERS, MINUTES),
}
_ON_MATRICES = ("logistic", "forest", "boosted_values", "sgd_in_place")

CASES = [
    AdapterCase(name, SklearnAdapter(), recipe, features, labels)
    for name, (recipe, features, labels) in _RECIPES.items()
] + [
    AdapterCase(
        f"{name}_on_a_matrix",
        SklearnAdapter(),
        recipe,
        features if name != "boosted_values" else NUMBERS,
        labels,
        names=False,
    )
    for name, (recipe, features, labels) in _RECIPES.items()
    if name in _ON_MATRICES
]

# check and case -> reason. Strict: an excuse that is no longer needed fails.
_COUNTS = "scikit-learn's neighbour trees count their calls in their own state"
EXPECTED_FAILURES: dict[tuple[str, str], str] = {
    ("predict_is_pure", "neighbours"): _COUNTS,
    ("predict_is_pure", "neighbours_ball"): _COUNTS,
    ("predict_is_pure", "neighbours_values"): _COUNTS,
    **dict.fromkeys(
        (("weights_of_one", name) for name in ("forest", "forest_values", "forest_on_a_matrix")),
        "with weights a forest draws its rows by them, and so from other random numbers",
    ),
    **dict.fromkeys(
        (("weights_repeat", name) for name in ("forest", "forest_values", "forest_on_a_matrix")),
        "rows are drawn at random, and other rows for a table of another length",
    ),
    **dict.fromkeys(
        (
            ("weights_repeat", name)
            for name in (
                "boosted_trees",
                "boosted_trees_many",
                "boosted_trees_on_codes",
                "boosted_trees_by_name",
                "boosted_values",
                "boosted_values_on_a_matrix",
            )
        ),
        "the least number of rows of a leaf, and the edges of the bins, count rows",
    ),
    **dict.fromkeys(
        (
            ("weights_repeat", name)
            for name in ("boosted_trees_calibrated", "linear_svc_calibrated", "stacking")
        ),
        "its folds are cut by the number of rows",
    ),
    **dict.fromkeys(
        (
            ("weights_repeat", name)
            for name in ("logistic_on_columns", "logistic_on_sparse", "ridge")
        ),
        "weights reach the last step: the means that fill and scale columns count rows",
    ),
    **dict.fromkeys(
        (
            ("weights_repeat", name)
            for name in (
                "sgd",
                "sgd_in_place",
                "sgd_in_place_on_a_matrix",
                "sgd_early_stopping",
                "sgd_values",
            )
        ),
        "one step of twice the length is not two steps",
    ),
}


@pytest.mark.parametrize("check", ADAPTER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_adapter(case: AdapterCase, check: str) -> None:
    """Broken by any adapter that keeps less than the contract promises."""
    run_adapter_check(check, case, expected_failures=EXPECTED_FAILURES)


@pytest.mark.parametrize(
    "kind", sorted(each.value.partition(":")[2] for each in entry_points(group="renewal.adapters"))
)
def test_every_registered_adapter_is_checked(kind: str) -> None:
    """Broken by an adapter that is registered and that no file here runs through the suite."""
    texts = [each.read_text("utf-8") for each in Path(__file__).parent.glob("test_adapter*.py")]
    running = [text for text in texts if '@pytest.mark.parametrize("check", ADAPTER_CHECKS' in text]
    assert any(f"{kind}()" in text for text in running), f"{kind} is in no case of the suite"


def test_an_excuse_that_is_no_longer_needed_fails() -> None:
    """Broken by excuses that pile up."""
    case = AdapterCase("case", SklearnAdapter(), LogisticRegression(), NUMBERS, LATE.copy())
    run_adapter_check("scores", case, expected_failures={("scores", "other"): "not this one"})
    with pytest.raises(AssertionError, match="stale excuse"):
        run_adapter_check("scores", case, expected_failures={("scores", "case"): "once"})
    single = AdapterCase("case", Single(), LogisticRegression(), NUMBERS, LATE.copy())
    run_adapter_check("scores", single, expected_failures={("scores", "case"): "float32"})


class Swapped(SklearnAdapter):
    """Gives the probabilities of the classes the other way round."""

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        return np.ascontiguousarray(super().predict(estimator, features)[:, ::-1])


class Single(SklearnAdapter):
    """Scores in single precision."""

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        scores: Any = super().predict(estimator, features).astype(np.float32)
        return cast("Scores", scores)


class Relative(SklearnAdapter):
    """Lets a row's score depend on the rows that come with it."""

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        scores = super().predict(estimator, features)
        return scores / scores.sum(axis=0) if len(scores) else scores


class Boastful(SklearnAdapter):
    """Claims that everything can take in further rows."""

    def capabilities(self, estimator: Any) -> Capabilities:  # noqa: ARG002  # that is the point
        return Capabilities(can_partial_fit=True, grows=False)


class InPlace(SklearnAdapter):
    """Takes in further rows in place."""

    def partial_fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        seed: int | None = None,  # noqa: ARG002  # part of the contract
    ) -> Any:
        labels = np.array(labels.tolist())
        return estimator.partial_fit(features.to_pandas(), labels)


class Scribbling(SklearnAdapter):
    """Turns the labels that it was handed."""

    def fit(self, estimator: Any, features: pa.Table, labels: Labels, **options: Any) -> Any:
        fitted = super().fit(estimator, features, labels, **options)
        labels[:] = labels[::-1].copy()
        return fitted


class Remembering(SklearnAdapter):
    """Hands out one object for every load."""

    kept: ClassVar[dict[bytes, Any]] = {}

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> Any:
        return self.kept.setdefault(data, super().load(data, trust))


class Undated(SklearnAdapter):
    """Writes the time into the bytes."""

    def dump(self, estimator: Any) -> bytes:
        return super().dump(estimator) + str(time.perf_counter_ns()).encode()


class Seedless(SklearnAdapter):
    """Forgets the seed."""

    def fit(self, estimator: Any, features: pa.Table, labels: Labels, **options: Any) -> Any:
        return super().fit(estimator, features, labels, **(options | {"seed": None}))


class Leaking(SklearnAdapter):
    """Lets the errors of its framework out."""

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> Any:  # noqa: ARG002  # a cheat
        return skops_loads(data)


class Boosting(SklearnAdapter):
    """Claims a way to continue, and no capability to."""

    def capabilities(self, estimator: Any) -> Capabilities:
        return replace(super().capabilities(estimator), ways=("boost",))


class Curt(SklearnAdapter):
    """Refuses, and keeps the reason to itself."""

    def partial_fit(self, *_: Any, **__: Any) -> Any:
        raise Invalid("Curt", needs="rest", came="work", todo="Go.")


class Welcoming(SklearnAdapter):
    """Takes what it does not know for the first class."""

    def partial_fit(self, estimator: Any, features: pa.Table, labels: Labels, **rest: Any) -> Any:
        known = self.classes(estimator)
        taken = np.array([each if each in known else known[0] for each in labels], dtype=object)
        return super().partial_fit(estimator, features, taken, **rest)


class Losing(SklearnAdapter):
    """Forgets with the bytes how many rows it has seen."""

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> Any:
        loaded = super().load(data, trust)
        loaded.class_count_ = np.ones_like(loaded.class_count_)
        return loaded


class Continuing(SklearnAdapter):
    """Goes on with a fitted estimator where it was to start anew."""

    def fit(self, estimator: Any, features: pa.Table, labels: Labels, **options: Any) -> Any:
        if hasattr(estimator, "classes_"):
            return self.partial_fit(estimator, features, labels)
        return super().fit(estimator, features, labels, **options)


class Weightless(SklearnAdapter):
    """Takes weights, and leaves them at the door."""

    def fit(self, estimator: Any, features: pa.Table, labels: Labels, **options: Any) -> Any:
        return super().fit(estimator, features, labels, **(options | {"weights": None}))


class Halving(SklearnAdapter):
    """Lets every weight count as its root."""

    def fit(self, estimator: Any, features: pa.Table, labels: Labels, **options: Any) -> Any:
        weights = options.pop("weights", None)
        weights = None if weights is None else np.sqrt(weights)
        return super().fit(estimator, features, labels, weights=weights, **options)


class Verbose(SklearnAdapter):
    """Hands out parameters that no file can hold."""

    def params(self, estimator: Any) -> dict[str, Any]:
        return {**super().params(estimator), "itself": estimator}


class Deaf(SklearnAdapter):
    """Keeps the parameters that it has."""

    def with_params(self, estimator: Any, params: Any) -> Any:  # noqa: ARG002  # that is the point
        return super().with_params(estimator, {})


CHEATS = [
    (Swapped, "scores", LogisticRegression()),
    (Single, "scores", LogisticRegression()),
    (Single, "no_rows", LogisticRegression()),
    (Relative, "batches", LogisticRegression()),
    (Boastful, "going_on", LogisticRegression()),
    (InPlace, "going_on", GaussianNB()),
    (Scribbling, "purity", LogisticRegression()),
    (Remembering, "loads_are_apart", LogisticRegression()),
    (Undated, "bytes_repeat", LogisticRegression()),
    (Undated, "predict_is_pure", LogisticRegression()),
    (Seedless, "seed", RandomForestClassifier(3)),
    (Leaking, "foreign_bytes", LogisticRegression()),
    (Boosting, "declaration", LogisticRegression()),
    (Boosting, "going_on", LogisticRegression()),
    (Curt, "impossible_is_refused", LogisticRegression()),
    (Welcoming, "new_classes", GaussianNB()),
    (Losing, "going_on_is_stored", GaussianNB()),
    (Continuing, "fit_is_fresh", GaussianNB()),
    (Weightless, "weights", LogisticRegression()),
    (Weightless, "wrong_weights", LogisticRegression()),
    (Halving, "weights_repeat", LogisticRegression()),
    (Verbose, "params", LogisticRegression()),
    (Deaf, "params", LogisticRegression()),
    (Deaf, "search_space", LogisticRegression()),
]


@pytest.mark.parametrize(("cheat", "check", "recipe"), CHEATS)
def test_a_cheat_is_caught(cheat: type[SklearnAdapter], check: str, recipe: Any) -> None:
    """Broken by a check that no adapter can fail."""
    labels = WORDS.copy() if check == "new_classes" else LATE.copy()
    case = AdapterCase(cheat.__name__, cheat(), recipe, NUMBERS, labels)
    with pytest.raises((AssertionError, RenewalError, BadZipFile, AttributeError)):
        ADAPTER_CHECKS[check](case)
