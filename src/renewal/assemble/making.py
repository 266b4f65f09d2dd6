"""Making a first version: from an estimator and the rows it is to see, or has seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.clock import from_us, to_us
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.spec import ModelSpec, Signature
from renewal.core.version import Manifest
from renewal.data.frame import as_table, conform, signature_of
from renewal.data.keyset import KeySet
from renewal.data.labels import label_column
from renewal.data.roles import TRAIN, role_of
from renewal.data.rows import NEVER_US, Rows, objects, to_rows
from renewal.data.stamp import stamp_table
from renewal.models.adapters import adapter_for, stored
from renewal.models.contract import Adapter

if TYPE_CHECKING:
    from renewal.assemble.home import Home


def table_of(spec: ModelSpec, data: Any, *, who: str) -> tuple[pa.Table, bool]:
    """Return data as one table with the target in it, and whether its columns had names.

    Parameters
    ----------
    spec : ModelSpec
        Names the target.
    data : frame or (X, y)
        As `Model.train` takes it.
    who : str
        The verb that asks.
    """
    if not isinstance(data, tuple):
        return as_table(data, who=who), not isinstance(data, np.ndarray)
    if len(data) != 2:  # X and y
        raise Invalid(
            who, needs="a frame, or a pair (X, y)", came=f"{len(data)} things", todo="Pass both."
        )
    features, target = data
    table = as_table(features, who=who)
    labels = pa.array(np.asarray(target).tolist())
    return table.append_column(spec.target, labels), not isinstance(features, np.ndarray)


def given_rows(home: Home, spec: ModelSpec, table: pa.Table, *, who: str) -> Rows:
    """Return a user's table as labelled rows, without writing it anywhere.

    Raises
    ------
    Invalid
        When a declared column is missing, or no row has a label.
    """
    if spec.target not in table.column_names:
        raise Invalid(
            who,
            needs=f"the target column {spec.target!r}",
            came=f"columns {', '.join(table.column_names)}",
            todo="Add it, or declare another target.",
        )
    inputs = table.select([name for name in table.column_names if name not in spec.not_inputs])
    feed = home.feed(spec.name)
    features = conform(inputs, feed.signature() or signature_of(inputs), who=who)
    now_us = to_us(home.clock.now())
    known = feed.attributes()
    stamped = stamp_table(table, features, spec, arrived_us=now_us, known=known, who=who)
    regression = spec.task == "regression"
    column = label_column(table[spec.target], regression=regression, stored=None, who=who)
    label = column.cast(pa.float64()).to_numpy(False) if regression else objects(column)
    has_label = np.asarray(pc.is_valid(column))
    arrived_us = np.where(has_label, now_us, NEVER_US)
    rows = to_rows(stamped, label, arrived_us, attributes=spec.attributes).labelled()
    if not len(rows):
        raise Invalid(who, needs="rows with a label", came="none", todo="Wait for labels.")
    return rows


def fitted_manifest(
    home: Home, spec: ModelSpec, estimator: Any, rows: Rows, *, names: bool, seed: int
) -> tuple[Manifest, dict[str, Any]]:
    """Fit a clone of an estimator on the rows whose role allows it; store it.

    Returns
    -------
    tuple
        The manifest, and the facts to note beside it.

    Raises
    ------
    Invalid
        When no adapter takes the estimator, or the labels hold fewer classes than the task
        needs.
    """
    who = "Model.train"
    adapter = adapter_for(estimator, who=who)
    task = load_plugin("tasks", spec.task)()
    if spec.time is None:
        rows = rows.take(np.asarray(role_of(rows.group_hash, home.salt) == TRAIN))
        if not len(rows):
            raise Invalid(
                who,
                needs="rows whose role is train",
                came="none: every row is kept for choosing and judging",
                todo="Bring more rows; 7 in 10 are for training.",
            )
    labels = task.labels(rows.label, who=who)
    task.classes(labels)
    started = time.perf_counter()
    fitted = adapter.fit(estimator, rows.features, labels, names=names, seed=seed)
    facts = {"fit_s": time.perf_counter() - started}
    return _stored(home, spec, adapter, fitted, rows, strategy="train", seed=seed), facts


def registered_manifest(
    home: Home, spec: ModelSpec, estimator: Any, rows: Rows | None
) -> tuple[Manifest, dict[str, Any]]:
    """Store an estimator that was fitted elsewhere, with the rows that it saw.

    Raises
    ------
    Invalid
        When no adapter takes it, or nothing says what its inputs are.
    """
    adapter = adapter_for(estimator, who="Model.register")
    return _stored(home, spec, adapter, estimator, rows, strategy="register", seed=0), {}


def _stored(  # the parts of one manifest
    home: Home,
    spec: ModelSpec,
    adapter: Adapter,
    fitted: Any,
    rows: Rows | None,
    *,
    strategy: str,
    seed: int,
) -> Manifest:
    put = stored(adapter, fitted, home.store)
    keys = None if rows is None else KeySet.of(rows)
    timed = rows is not None and spec.time is not None
    return Manifest(
        model=spec.name,
        task=spec.task,
        adapter=adapter.name,
        artifact=put.artifact,
        artifact_bytes=put.artifact_bytes,
        parts=put.parts,
        signature=_signature(home, spec, rows),
        classes=adapter.classes(fitted),
        strategy=strategy,
        trained_keys=None if keys is None else home.store.put(keys.to_bytes()),
        n_trained_rows=0 if rows is None else len(rows),
        trained_until=from_us(int(rows.event_us.max())) if timed and rows is not None else None,
        snapshot=home.feed(spec.name).snapshot(),
        seed=seed,
        environment=adapter.environment(),
    )


def _signature(home: Home, spec: ModelSpec, rows: Rows | None) -> Signature:
    known = home.feed(spec.name).signature()
    if known is not None:
        return known
    if rows is not None:
        return signature_of(rows.features)
    raise Invalid(
        "Model.register",
        needs="to know the inputs of the model",
        came="no training rows and an empty feed",
        todo="Pass trained_on=, or append rows to the feed first.",
    )


def labels_noted(home: Home, spec: ModelSpec, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts with the number of labels at the time: the amount trigger's zero."""
    return {**facts, "n_labels": home.feed(spec.name).n_labels()}
