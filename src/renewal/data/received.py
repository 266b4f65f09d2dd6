"""What a feed received: feedback, checked before anything is written, and what was taken in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.core.spec import ModelSpec
from renewal.data.columns import (
    ARRIVED_AT,
    KEY,
    hash_keys,
    instants,
    int64s,
    labels_schema,
    write_order,
)
from renewal.data.frame import require_column
from renewal.data.labels import label_column
from renewal.data.stamp import instants_of, text_column


@dataclass(frozen=True, slots=True)
class Appended:
    """What `Feed.append` took in.

    Parameters
    ----------
    n_rows : int
        Rows written.
    n_labels : int
        Labels written; the others are null, that is: not known yet.
    n_repeated : int
        Rows whose key the feed had already, or that came twice; only the newest is read.
    """

    n_rows: int
    n_labels: int
    n_repeated: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """What `Feed.label` took in.

    Parameters
    ----------
    n_labels : int
        Labels written.
    n_waiting : int
        Those among them whose row has not come yet; they join it when it does.
    """

    n_labels: int
    n_waiting: int


@dataclass(frozen=True, slots=True, eq=False)
class Feedback:
    """n labels with what they name.

    Parameters
    ----------
    names : list of str
        Prediction ids or row keys.
    by_prediction : bool
        Which of the two.
    label : pyarrow.Array
        In the type of the feed, without nulls.
    arrived_us : int64 array, shape (n,), microseconds since 1970
        When each came.
    """

    names: list[str]
    by_prediction: bool
    label: pa.Array
    arrived_us: npt.NDArray[np.int64]


def read_feedback(
    table: pa.Table, spec: ModelSpec, *, stored: pa.DataType | None, now_us: int, who: str
) -> Feedback:
    """Read labels from a table.

    Parameters
    ----------
    table : pyarrow.Table
        Columns ``prediction_id``, or the key column or ``key``; ``label``, or the target;
        and, where they did not come just now, ``arrived_at``. No others.
    spec : ModelSpec
        Names the key column, the target and the task.
    stored : pyarrow.DataType or None
        The type of the labels that the feed has; None: it has none.
    now_us : int, microseconds since 1970
        When labels without ``arrived_at`` came.
    who : str
        The verb that asks, for messages.

    Raises
    ------
    Invalid
        On a missing, unknown or doubled column, a wrong type, a null or NaN label.
    """
    names = table.column_names
    by = _one_of(names, ("prediction_id", spec.key, "key"), "what a label belongs to", who)
    said = _one_of(names, ("label", spec.target), "the label", who)
    unknown = [name for name in names if name not in {by, said, "arrived_at"}]
    if unknown:
        raise Invalid(
            who,
            needs=f"only the columns {by!r}, {said!r} and 'arrived_at'",
            came=", ".join(map(repr, unknown)),
            todo="Drop the others; whole rows are appended with Feed.append.",
            columns=unknown,
        )
    label = label_column(
        table.column(said), regression=spec.task == "regression", stored=stored, who=who
    )
    if label.null_count:
        first = pc.index(label.is_null(), True).as_py()
        raise Invalid(
            who,
            needs=f"a label in every row of {said!r}",
            came=f"{label.null_count} null or NaN, the first in row {first}",
            todo="Leave rows without a label out; send them when it is known.",
            column=said,
        )
    arrived_us = np.full(table.num_rows, now_us)
    if "arrived_at" in names:
        column = require_column(table, "arrived_at", who=who, use="arrival")
        arrived_us = instants_of(column, "arrived_at", who=who)
    return Feedback(
        names=text_column(table.column(by), who=who, use=by).to_pylist(),
        by_prediction=by == "prediction_id",
        label=label,
        arrived_us=arrived_us,
    )


def label_records(
    keys: Sequence[str], label: pa.Array, arrived_us: npt.NDArray[np.int64]
) -> pa.Table:
    """Return labels as records of the labels table, in the order in which they came."""
    return pa.table(
        [
            pa.array(keys, pa.string()),
            pa.array(hash_keys(keys).view(np.int64)),
            label,
            instants(arrived_us),
            pa.array(write_order(len(keys))),
        ],
        schema=labels_schema(label.type),
    )


def known_labels(
    table: pa.Table, stamped: pa.Table, spec: ModelSpec, *, stored: pa.DataType | None, who: str
) -> pa.Table:
    """Return the label records of rows that came with their target, where it is known.

    Parameters
    ----------
    table, stamped : pyarrow.Table
        The same rows as they came and with their keys.
    spec : ModelSpec
        Names the target and the task.
    stored : pyarrow.DataType or None
        The type of the labels that the feed has; None: it has none.
    who : str
        The verb that asks, for messages.

    Raises
    ------
    Invalid
        On targets of a wrong type. Null and NaN mean: not known yet.
    """
    if spec.target not in table.column_names:
        return label_records([], pa.nulls(0, pa.float64()), np.empty(0, np.int64))
    column = table.column(spec.target)
    label = label_column(column, regression=spec.task == "regression", stored=stored, who=who)
    known = label.is_valid()
    came = stamped.filter(known)
    return label_records(
        came.column(KEY).to_pylist(), label.filter(known), int64s(came.column(ARRIVED_AT))
    )


def _one_of(names: list[str], wanted: tuple[Any, ...], use: str, who: str) -> str:
    among = list(dict.fromkeys(name for name in wanted if name is not None))
    found: list[str] = [name for name in among if name in names]
    if len(found) != 1:
        raise Invalid(
            who,
            needs=f"one column that says {use}: {' or '.join(map(repr, among))}",
            came=f"the columns {', '.join(names)}",
            todo="Send exactly one of them.",
        )
    return found[0]
