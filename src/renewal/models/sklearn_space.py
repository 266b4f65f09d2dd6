"""What is worth tuning in the estimators of scikit-learn, by their class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sklearn.pipeline import Pipeline

from renewal.models.sklearn_parts import unwrapped
from renewal.models.space import Dimension, Space


def _log(low: float, high: float) -> Dimension:
    return Dimension(low, high, log=True)


_C = MappingProxyType({"C": _log(1e-3, 1e2)})
_ALPHA = MappingProxyType({"alpha": _log(1e-3, 1e3)})
_SMOOTHING = MappingProxyType({"alpha": _log(1e-3, 1e1)})
_SGD = MappingProxyType({"alpha": _log(1e-6, 1e-1)})
_SPARSE = MappingProxyType({"alpha": _log(1e-4, 1e1)})
_NET = MappingProxyType({"alpha": _log(1e-4, 1e1), "l1_ratio": Dimension(0.05, 0.95)})
_FOREST = MappingProxyType(
    {"max_features": Dimension(0.1, 1.0), "min_samples_leaf": _log(1, 50)},
)
_TREE = MappingProxyType(
    {"max_depth": Dimension(2, 20), "min_samples_leaf": _log(1, 100)},
)
_HISTOGRAM_TREES = MappingProxyType(
    {
        "learning_rate": _log(0.02, 0.3),
        "max_iter": _log(50, 400),
        "max_leaf_nodes": _log(7, 127),
        "min_samples_leaf": _log(5, 100),
        "l2_regularization": _log(1e-3, 1e1),
    }
)
_BOOSTED = MappingProxyType(
    {
        "learning_rate": _log(0.02, 0.3),
        "n_estimators": _log(50, 400),
        "max_depth": Dimension(2, 8),
        "subsample": Dimension(0.5, 1.0),
    }
)
_NEIGHBORS = MappingProxyType(
    {"n_neighbors": _log(3, 101), "weights": Dimension(choices=("uniform", "distance"))}
)
_NETWORK = MappingProxyType({"alpha": _log(1e-6, 1e-1), "learning_rate_init": _log(1e-4, 1e-1)})
_KERNEL = MappingProxyType({"C": _log(1e-2, 1e2), "gamma": _log(1e-4, 1e1)})

_SPACES: Mapping[str, Space] = MappingProxyType(
    {
        "LogisticRegression": _C,
        "LinearSVC": _C,
        "LinearSVR": _C,
        "SGDClassifier": _SGD,
        "SGDRegressor": _SGD,
        "Perceptron": _SGD,
        "Ridge": _ALPHA,
        "RidgeClassifier": _ALPHA,
        "KernelRidge": _ALPHA,
        "HuberRegressor": _SPARSE,
        "PoissonRegressor": _SPARSE,
        "Lasso": _SPARSE,
        "ElasticNet": _NET,
        "RandomForestClassifier": _FOREST,
        "RandomForestRegressor": _FOREST,
        "ExtraTreesClassifier": _FOREST,
        "ExtraTreesRegressor": _FOREST,
        "DecisionTreeClassifier": _TREE,
        "DecisionTreeRegressor": _TREE,
        "HistGradientBoostingClassifier": _HISTOGRAM_TREES,
        "HistGradientBoostingRegressor": _HISTOGRAM_TREES,
        "GradientBoostingClassifier": _BOOSTED,
        "GradientBoostingRegressor": _BOOSTED,
        "KNeighborsClassifier": _NEIGHBORS,
        "KNeighborsRegressor": _NEIGHBORS,
        "MLPClassifier": _NETWORK,
        "MLPRegressor": _NETWORK,
        "SVC": _KERNEL,
        "NuSVC": MappingProxyType({"gamma": _log(1e-4, 1e1)}),
        "SVR": MappingProxyType({**_KERNEL, "epsilon": _log(1e-3, 1.0)}),
        "GaussianNB": MappingProxyType({"var_smoothing": _log(1e-12, 1e-1)}),
        "MultinomialNB": _SMOOTHING,
        "ComplementNB": _SMOOTHING,
        "BernoulliNB": _SMOOTHING,
        "CategoricalNB": _SMOOTHING,
    }
)
# The parameter that holds the estimator inside a wrapper, in the order of preference.
_INSIDE = ("estimator", "regressor")


def search_space(estimator: Any) -> Space:
    """Return the dimensions of what learns in `estimator`, as `with_params` names them.

    A pipeline is tuned at its last step, what wraps one estimator at the estimator inside,
    and one that combines several at each of them.

    Parameters
    ----------
    estimator : object
        Fitted or not; of a recalibrated one, the recipe inside is tuned.

    Returns
    -------
    mapping of str to Dimension
        Empty where nothing is known, and for what tunes itself.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> list(search_space(make_pipeline(LogisticRegression())))
    ['logisticregression__C']
    """
    return {
        name: dimension
        for name, dimension in _of(unwrapped(estimator), "")
        if name in unwrapped(estimator).get_params(deep=True)
    }


def _of(estimator: Any, prefix: str) -> list[tuple[str, Dimension]]:
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        return _of(last, f"{prefix}{name}__")
    for kind in type(estimator).__mro__:
        if kind.__name__ in _SPACES and kind.__module__.startswith("sklearn."):
            return [(prefix + name, each) for name, each in _SPACES[kind.__name__].items()]
    if hasattr(estimator, "param_grid") or hasattr(estimator, "param_distributions"):
        return []
    several = getattr(estimator, "estimators", None)
    if isinstance(several, list):
        return [one for name, each in several for one in _of(each, f"{prefix}{name}__")]
    for inside in _INSIDE:
        if hasattr(estimator, inside):
            return _of(getattr(estimator, inside), f"{prefix}{inside}__")
    return []
