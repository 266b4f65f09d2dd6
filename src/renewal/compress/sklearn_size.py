"""The size of a scikit-learn model: its fitted arrays, trees and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from renewal.compress.counting import Count, count_array, count_tree, depth_of

# Arrays that a row is multiplied with, number by number.
_MULTIPLIED = frozenset(
    ("coef_", "coefs_", "components_", "support_vectors_", "dual_coef_", "theta_", "scale_",
     "cluster_centers_", "feature_log_prob_", "scalings_", "center_")
)  # fmt: skip
# Arrays that are added, or looked at, at no cost that counts.
_ADDED = frozenset(
    ("intercept_", "intercepts_", "mean_", "var_", "min_", "class_prior_", "class_log_prior_",
     "priors_", "xbar_", "statistics_", "a_", "b_", "X_thresholds_", "y_thresholds_",
     "_baseline_prediction", "idf_", "max_abs_", "quantiles_", "init_prediction_")
)  # fmt: skip
# What a fit tells of itself: no prediction reads it.
_TOLD = frozenset(
    ("loss_curve_", "train_score_", "validation_score_", "validation_scores_", "categories_",
     "feature_importances_", "singular_", "singular_values_", "explained_variance_", "cv_results_",
     "explained_variance_ratio_", "oob_score_", "oob_scores_", "oob_prediction_",
     "oob_decision_function_", "oob_improvement_", "estimators_samples_", "n_samples_seen_",
     "classes_", "class_weight_", "class_count_", "feature_count_", "alphas_", "scores_",
     "pvalues_", "variances_", "covariance_", "estimator_weights_", "estimator_errors_",
     "ranking_", "support_", "data_range_", "data_min_", "data_max_", "Cs_", "C_", "l1_ratio_",
     "coefs_paths_", "active_", "_bin_mapper")
)  # fmt: skip
_NEIGHBOURS = "_fit_X"


def size(estimator: Any) -> Count:
    """Return the count of a fitted estimator, with its steps, members and trees.

    Every array of floats whose name ends in an underscore counts, but for what only tells
    of the fit. The multiplications are those with coefficients, scales and centres, and a
    comparison for each level of a tree; None where an array is used in a way that is not
    known.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> size(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]))
    Count(parameters=2, nonzero=2, l1=3.0..., macs=1)
    """
    found, seen = Count(), set[int]()
    waiting: list[tuple[str, Any]] = [("", estimator)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen or value is None or isinstance(value, str | bytes | type):
            continue
        seen.add(id(value))
        if isinstance(value, float | np.floating) and name in _ADDED | _MULTIPLIED:
            found += _array(name, np.array(value))
        elif isinstance(value, np.ndarray) and value.dtype != object:
            found += _array(name, value)
        elif sparse.issparse(value):
            found += _sparse(name, value)
        elif _is_tree(value):
            found += _tree(value)
        elif _is_predictor(value):
            found += _predictor(value)
        else:
            waiting.extend(_inside(name, value))
    return found


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what hangs on a value, with the names by which it is judged."""
    if isinstance(value, dict):
        yield from ((name, each) for each in value.values())
    elif isinstance(value, list | tuple):
        yield from ((name, each) for each in value)
    elif isinstance(value, np.ndarray):
        yield from ((name, each) for each in value.ravel())
    elif isinstance(value, BaseEstimator) or hasattr(value, "__sklearn_tags__"):
        held = vars(value)
        for attribute, each in held.items():
            # A scaler divides by the root of its variances, which it holds besides.
            if attribute in _TOLD or (attribute == "var_" and "scale_" in held):
                continue
            yield attribute, each
    elif name == "calibrated_classifiers_":
        yield from vars(value).items()


def _array(name: str, values: Any) -> Count:
    if not np.issubdtype(values.dtype, np.floating):
        return Count()
    if name in _MULTIPLIED:
        return count_array(values, macs=int(values.size))
    if name in _ADDED:
        return count_array(values)
    if name.endswith("_") and not name.startswith("_"):
        return count_array(values, macs=None)
    # Neighbours are their training rows; how many are looked at, their tree decides.
    return count_array(values, macs=None) if name == _NEIGHBOURS else Count()


def _sparse(name: str, values: Any) -> Count:
    if name not in _MULTIPLIED:
        return Count() if not name.endswith("_") else count_array(values.data, macs=None)
    counted = count_array(values.data)
    n_all = int(np.prod(values.shape))
    return Count(n_all, counted.nonzero, counted.l1, counted.nonzero)


def _is_tree(value: Any) -> bool:
    return hasattr(value, "children_left") and hasattr(value, "threshold")


def _tree(tree: Any) -> Count:
    is_leaf = tree.children_left < 0
    depth = depth_of(tree.children_left, tree.children_right)
    return count_tree(tree.threshold[~is_leaf], tree.value[is_leaf], depth)


def _is_predictor(value: Any) -> bool:
    names = getattr(getattr(getattr(value, "nodes", None), "dtype", None), "names", None)
    return names is not None and "is_leaf" in names


def _predictor(value: Any) -> Count:
    """Return the count of a tree of histogram gradient boosting."""
    nodes = value.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    left, right = (
        np.where(is_leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right")
    )
    return count_tree(
        nodes["num_threshold"][~is_leaf], nodes["value"][is_leaf], depth_of(left, right)
    )
