"""A fitted regressor with a constant added: the smallest correction there is."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin


class ShiftedRegressor(RegressorMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    r"""Adds to a fitted regressor the constant that makes its absolute error smallest.

    .. math:: \hat y = f(x) + \operatorname{median}_i \,(y_i - f(x_i))

    Parameters
    ----------
    estimator : object
        A fitted regressor; it is called and never fitted again.

    Notes
    -----
    The median minimizes the mean absolute error over all constants, and a few wild labels
    do not move it. One pass over the rows.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> base = DummyRegressor().fit([[0.0], [0.0]], [1.0, 1.0])
    >>> ShiftedRegressor(base).fit([[0.0]] * 3, [3.0, 4.0, 99.0]).predict([[0.0]])
    array([4.])
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803  # scikit-learn's own names
        """Find the constant on rows that the estimator was not fitted on."""
        residuals = np.asarray(y, dtype=np.float64) - self.estimator.predict(X)
        self.shift_ = float(np.median(residuals))
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's own names
        """Return the shifted values, float64 of shape (n_rows,)."""
        values: NDArray[np.float64] = self.estimator.predict(X) + self.shift_
        return values
