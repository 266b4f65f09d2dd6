"""A loaded estimator, made ready to answer requests: without column names where it can.

scikit-learn takes a frame apart and compares its names at every call, about 0.3 ms before
the first number is read; a logistic regression needs 0.08 ms for the rest. A model of
numbers alone that was fitted on a frame predicts the same from a matrix in the same order.
"""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer

from renewal.core.spec import Signature
from renewal.models.reachable import reachable
from renewal.models.sklearn_parts import NAMES_MARK, unwrapped

_NAMES = "feature_names_in_"


def ready(estimator: Any, signature: Signature) -> Any:
    """Return `estimator`, taking matrices from now on if that cannot change a score.

    That is so when the columns are numbers of which one at least is a float (so that
    scikit-learn reads the frame as float64, as a matrix is), in the order of the fit, and
    every part is scikit-learn's own and looks at no column by its name.

    Parameters
    ----------
    estimator : object
        Loaded for one runtime alone: its names are removed.
    signature : Signature
        Columns in the order in which rows will come.

    Returns
    -------
    object
        The same object; unchanged where one of the conditions does not hold.
    """
    names = getattr(unwrapped(estimator), _NAMES, None)
    kinds = {field.kind for field in signature.fields}
    if names is None or tuple(names) != signature.names:
        return estimator
    if "string" in kinds or "float" not in kinds:
        return estimator
    parts = [each for each in reachable(estimator) if isinstance(each, BaseEstimator)]
    if all(map(_ignores_names, parts)):
        for part in parts:
            vars(part).pop(_NAMES, None)
    return estimator


def _ignores_names(part: Any) -> bool:
    is_own = type(part).__module__.startswith("sklearn.")
    reads_names = isinstance(part, ColumnTransformer | FunctionTransformer)
    # set_output hands frames from step to step, and their names with them.
    hands_names = hasattr(part, "_sklearn_output_config") or hasattr(part, NAMES_MARK)
    return is_own and not reads_names and not hands_names
