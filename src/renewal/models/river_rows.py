"""Arrow tables as the rows that River learns from: dictionaries, or frames of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from river import compose, linear_model, naive_bayes

from renewal.core.errors import Invalid
from renewal.models.river_parts import last_of

# Their answers to a frame are those to its rows, and come some twenty times as fast.
_ANSWER_FRAMES = (
    linear_model.LinearRegression,
    linear_model.LogisticRegression,
    naive_bayes.BernoulliNB,
    naive_bayes.GaussianNB,
)
_WORTH_A_FRAME = 32


def dictionaries(features: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows in order; a gap is left out, as River has it.

    Examples
    --------
    >>> list(dictionaries(pa.table({"a": [1.5, None], "s": ["x", "y"]})))
    [{'a': 1.5, 's': 'x'}, {'s': 'y'}]
    """
    columns = [column.to_pylist() for column in features.columns]
    names = features.column_names
    for values in zip(*columns, strict=True):
        yield {
            name: value
            for name, value in zip(names, values, strict=True)
            if value is not None and not (isinstance(value, float) and math.isnan(value))
        }


def number_frame(features: pa.Table) -> Any | None:
    """Return the rows as a frame of float64; None: a column is no number, or has a gap."""
    for column in features.columns:
        is_number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        if not is_number or column.null_count:
            return None
        if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
            return None
    values = [column.to_numpy().astype(np.float64) for column in features.columns]
    return pd.DataFrame(dict(zip(features.column_names, values, strict=True)))


def demand_frame(features: pa.Table, *, who: str) -> Any:
    """Return `number_frame`, or raise `Invalid`."""
    frame = number_frame(features)
    if frame is None:
        raise Invalid(
            who,
            needs="columns of numbers without gaps for several rows at once",
            came=", ".join(f"{field.name}: {field.type}" for field in features.schema),
            todo="Take RiverModel(learner, rows_at_once=1).",
        )
    return frame


def answer_frame(learner: Any, features: pa.Table) -> Any | None:
    """Return the frame that a learner answers at once; None: row by row is right, or as fast."""
    if features.num_rows < _WORTH_A_FRAME or not isinstance(last_of(learner), _ANSWER_FRAMES):
        return None
    if type(learner) is compose.Pipeline:
        steps = list(learner.steps.values())[:-1]
        if not all(hasattr(step, "transform_many") for step in steps):
            return None
        if any(type(step) is compose.TransformerUnion for step in steps):
            return None
    return number_frame(features)
