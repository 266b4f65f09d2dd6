"""What is worth tuning in River's learners, by the class of a part."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from renewal.models.river_parts import parts_of, plain_params
from renewal.models.space import Dimension, Space

_RATE = Dimension(1e-3, 1.0, log=True)
_LINEAR = MappingProxyType(
    {"optimizer__lr__learning_rate": _RATE, "l2": Dimension(1e-7, 1e-1, log=True)}
)
_HOEFFDING = MappingProxyType(
    {
        "grace_period": Dimension(20, 500, log=True),
        "delta": Dimension(1e-8, 1e-1, log=True),
        "tau": Dimension(1e-3, 0.2, log=True),
    }
)
_FOREST = MappingProxyType(
    {
        "n_models": Dimension(3, 30, log=True),
        "lambda_value": Dimension(1, 10),
        "grace_period": Dimension(20, 500, log=True),
    }
)
_NEIGHBORS = MappingProxyType({"n_neighbors": Dimension(1, 51, log=True)})

_SPACES: Mapping[str, Space] = MappingProxyType(
    {
        "LogisticRegression": _LINEAR,
        "LinearRegression": _LINEAR,
        "Perceptron": MappingProxyType({"l2": Dimension(1e-7, 1e-1, log=True)}),
        "SoftmaxRegression": _LINEAR,
        "PAClassifier": MappingProxyType({"C": Dimension(1e-3, 10.0, log=True)}),
        "PARegressor": MappingProxyType({"C": Dimension(1e-3, 10.0, log=True)}),
        "MultinomialNB": MappingProxyType({"alpha": Dimension(1e-3, 10.0, log=True)}),
        "BernoulliNB": MappingProxyType({"alpha": Dimension(1e-3, 10.0, log=True)}),
        "HoeffdingTreeClassifier": _HOEFFDING,
        "HoeffdingAdaptiveTreeClassifier": _HOEFFDING,
        "ExtremelyFastDecisionTreeClassifier": _HOEFFDING,
        "HoeffdingTreeRegressor": _HOEFFDING,
        "HoeffdingAdaptiveTreeRegressor": _HOEFFDING,
        "ARFClassifier": _FOREST,
        "ARFRegressor": _FOREST,
        "AMFClassifier": MappingProxyType({"n_estimators": Dimension(3, 30, log=True)}),
        "AMFRegressor": MappingProxyType({"n_estimators": Dimension(3, 30, log=True)}),
        "KNNClassifier": _NEIGHBORS,
        "KNNRegressor": _NEIGHBORS,
    }
)


def search_space(learner: Any) -> Space:
    """Return what is worth tuning in a learner, by path; empty where nothing is known.

    Examples
    --------
    >>> from river import naive_bayes, preprocessing
    >>> list(search_space(preprocessing.MinMaxScaler() | naive_bayes.MultinomialNB()))
    ['MultinomialNB__alpha']
    """
    known = plain_params(learner)
    return {
        f"{path}{name}": dimension
        for path, part in parts_of(learner)
        for name, dimension in _SPACES.get(type(part).__name__, {}).items()
        if f"{path}{name}" in known
    }
