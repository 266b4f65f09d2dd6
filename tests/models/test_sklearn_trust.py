"""The shipped allow-list: enough for what people fit, and nothing that could act."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from sklearn.base import is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, GradientBoostingRegressor
from sklearn.ensemble import HistGradientBoostingRegressor as Boosted
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import (
    ElasticNetCV,
    HuberRegressor,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    TimeSeriesSplit,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from renewal.models.sklearn_bytes import from_bytes, to_bytes
from renewal.models.sklearn_trust import TRUSTED

RNG = np.random.default_rng(1)
ROWS = np.abs(RNG.normal(size=(60, 3)))
CLASSES = (ROWS[:, 0] > 0.6).astype(int)
VALUES = 1.0 + ROWS[:, 0]
LOGISTIC = LogisticRegression()
ESTIMATORS = [
    AdaBoostClassifier(n_estimators=3, random_state=0),
    BaggingClassifier(n_estimators=3, random_state=0),
    BernoulliNB(),
    Boosted(max_iter=3, loss="poisson"),
    Boosted(max_iter=3, loss="quantile", quantile=0.5),
    Boosted(max_iter=3, loss="gamma"),
    Boosted(max_iter=3, loss="absolute_error"),
    CalibratedClassifierCV(LOGISTIC, cv=2, method="isotonic"),
    CalibratedClassifierCV(SVC(), cv=2),
    CalibratedClassifierCV(FrozenEstimator(LogisticRegression().fit(ROWS, CLASSES)), cv=2),
    DecisionTreeClassifier(random_state=0),
    ElasticNetCV(cv=2),
    GaussianProcessClassifier(RBF()),
    GaussianProcessRegressor(RBF() + WhiteKernel(), optimizer=None),
    GradientBoostingRegressor(n_estimators=3, loss="huber"),
    GridSearchCV(LOGISTIC, {"C": [0.1, 1.0]}, cv=StratifiedKFold(2), scoring="neg_log_loss"),
    GridSearchCV(LOGISTIC, {"C": [1.0]}, cv=TimeSeriesSplit(2), scoring="roc_auc"),
    HuberRegressor(),
    KNeighborsClassifier(metric="manhattan", algorithm="ball_tree"),
    KNeighborsClassifier(algorithm="brute"),
    LinearDiscriminantAnalysis(),
    LogisticRegressionCV(
        cv=2, Cs=2, l1_ratios=(0.0,), use_legacy_attributes=False, scoring="neg_log_loss"
    ),
    MLPClassifier((3,), max_iter=500, tol=0.1, random_state=0),
    MLPRegressor(hidden_layer_sizes=(3,), solver="sgd", max_iter=500, tol=0.1, random_state=0),
    NearestCentroid(),
    OneVsRestClassifier(LOGISTIC),
    Perceptron(),
    PoissonRegressor(),
    QuantileRegressor(),
    SGDClassifier(loss="modified_huber", random_state=0),
    SVC(),
    SVR(),
    TunedThresholdClassifierCV(LOGISTIC, cv=2),
    TweedieRegressor(power=1.5),
    make_pipeline(FunctionTransformer(np.log1p), LOGISTIC),
    make_pipeline(KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), LOGISTIC),
    make_pipeline(KNNImputer(), SelectFromModel(LOGISTIC), LOGISTIC),
    make_pipeline(Nystroem(n_components=5, random_state=0), LOGISTIC),
    make_pipeline(PolynomialFeatures(), PowerTransformer(), LOGISTIC),
    make_pipeline(QuantileTransformer(n_quantiles=10), LOGISTIC),
    make_pipeline(SimpleImputer(), SelectKBest(k=2), LOGISTIC),
    make_pipeline(SplineTransformer(), LOGISTIC),
    make_pipeline(TargetEncoder(cv=2), LOGISTIC),
    make_pipeline(make_union(PCA(2), StandardScaler()), LOGISTIC),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_common_estimators_load_with_the_shipped_list(estimator: Any) -> None:
    """Broken by a type that is missing on the list, or a warning while loading."""
    labels = VALUES if is_regressor(estimator) else CLASSES
    fitted = estimator.fit(ROWS, labels)
    loaded = from_bytes(to_bytes(fitted))
    assert np.array_equal(loaded.predict(ROWS), fitted.predict(ROWS))


def test_isotonic_loads() -> None:
    """Broken when the curve of a calibration is not trusted by itself."""
    fitted = IsotonicRegression().fit(VALUES, VALUES)
    assert np.array_equal(from_bytes(to_bytes(fitted)).predict(VALUES), fitted.predict(VALUES))


def test_the_list_names_numerical_libraries_only() -> None:
    """Broken by an entry for a type that another party can fill with code."""
    others = {
        name for name in TRUSTED if name.partition(".")[0] not in {"sklearn", "scipy", "numpy"}
    }
    assert others == {"functools.partial"}
    assert len(set(TRUSTED)) == len(TRUSTED)


def test_nothing_on_the_list_is_a_door() -> None:
    """Broken by a function that opens files, runs texts or loads modules."""
    doors = ("load", "save", "exec", "eval", "open", "memmap", "fromfile", "tofile", "fetch_")
    names = [name.rpartition(".")[2] for name in TRUSTED]
    assert not [name for name in names if name.lower().startswith(doors)]


def test_most_entries_exist_in_the_installed_libraries() -> None:
    """Broken by a misspelt entry, which would trust nothing and look as if it did."""
    absent = []
    for name in TRUSTED:
        module, _, attribute = name.rpartition(".")
        try:
            getattr(import_module(module), attribute)
        except (ImportError, AttributeError):
            absent.append(name)
    # Names of releases other than the one installed here.
    other_releases = {name for name in absent if "_dist_metrics" in name}
    assert set(absent) <= other_releases | {
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.neighbors._ball_tree.BallTree32",
        "sklearn.neighbors._kd_tree.KDTree32",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "sklearn.calibration._TemperatureScaling",
    }
    assert len(other_releases) < 20
