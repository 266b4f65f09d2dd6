"""The rows of a table in the form in which a fitted estimator wants them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.models.sklearn_frames import frame, matrix
from renewal.models.sklearn_parts import takes_names, unwrapped, wants_categories


def inputs_of(estimator: Any, features: pa.Table, *, who: str) -> Any:
    """Return `features` as a frame in the order of the fit, or as a matrix.

    Parameters
    ----------
    estimator : object
        Fitted.
    features : pyarrow.Table
        For an estimator that was fitted on names any order does, and further columns are
        left out; otherwise the order of the signature.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        When a column of the fit is missing.
    """
    if not takes_names(estimator):
        return matrix(features)
    names = getattr(unwrapped(estimator), "feature_names_in_", None)
    if names is not None and features.column_names != (wanted := names.tolist()):
        missing = [name for name in wanted if name not in features.column_names]
        if missing:
            raise Invalid(
                who,
                needs=f"the columns of the fit: {', '.join(map(str, wanted))}",
                came=f"none called {', '.join(map(repr, missing))}",
                todo="Send every column that the model was fitted on.",
                columns=missing,
            )
        features = features.select(wanted)
    return frame(features, as_categories=wants_categories(estimator))
