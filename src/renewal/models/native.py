"""The native runtime: a loaded estimator, called through its adapter."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from renewal.core.errors import Invalid, Unavailable
from renewal.core.spec import Signature
from renewal.models.contract import Adapter
from renewal.models.task import Scores


class NativeRuntime:
    """Predicts with the framework that made the model, in this process.

    Parameters
    ----------
    adapter : Adapter
        Knows how to call the estimator.
    estimator : object
        Fitted; owned by the runtime from now on.
    signature : Signature
        The columns that `predict` takes; their order in the table does not matter.
    """

    def __init__(self, adapter: Adapter, estimator: Any, signature: Signature) -> None:
        self._adapter = adapter
        self._estimator: Any = estimator
        self._names = list(signature.names)

    def predict(self, features: pa.Table) -> Scores:
        """Return scores for every row of `features`.

        Parameters
        ----------
        features : pyarrow.Table
            The columns of the signature in any order; further columns are ignored.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_scores)
            Probability of each class in the order of the version's classes, or one value.

        Raises
        ------
        Invalid
            On a missing column, or rows that the estimator does not take.
        Unavailable
            When the runtime was closed.
        """
        estimator = self._estimator
        if estimator is None:
            raise Unavailable(
                "NativeRuntime.predict",
                needs="an open runtime",
                came="a closed one",
                todo="Load the version again.",
            )
        if features.column_names != self._names:
            features = self._ordered(features)
        return self._adapter.predict(estimator, features)

    def close(self) -> None:
        """Let go of the estimator; a prediction that is under way ends as it began."""
        self._estimator = None

    def _ordered(self, features: pa.Table) -> pa.Table:
        missing = [name for name in self._names if name not in features.column_names]
        if missing:
            raise Invalid(
                "NativeRuntime.predict",
                needs=f"the columns {', '.join(self._names)}",
                came=f"none called {', '.join(map(repr, missing))}",
                todo="Send every column of the signature.",
                columns=missing,
            )
        return features.select(self._names)
