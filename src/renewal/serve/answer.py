"""From the bytes of an infer request to the bytes of its answer: pure but for the ids.

Protocol -> columns -> arms -> runtimes -> outputs. Nothing here touches a database, waits
for a disk or takes a lock.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.ids import new_id
from renewal.core.plan import Arm
from renewal.core.spec import Label, ModelSpec, Signature
from renewal.data.frame import conform, conform_part
from renewal.data.rowkey import row_keys
from renewal.models.task import Task
from renewal.serve.oip import (
    InferRequest,
    decode_request,
    encode,
    encode_error,
    output_tensors,
    read_columns,
)
from renewal.serve.oip_input import WHO
from renewal.serve.routing import RowFacts, read_facts, split_by_arm
from renewal.serve.served import Part, Served
from renewal.serve.slots import Generation, Loaded

MIXED = "mixed"
PINNED = "pinned"
_LOG = logging.getLogger("renewal.serve")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is ready to be sent.

    Parameters
    ----------
    status : int
        200; where a version failed 500, or 400 where it does not take such rows.
    body : bytes
        JSON.
    version : str
        ``v3``, or ``mixed`` where several arms answered.
    served : Served
        What is logged.
    """

    status: int
    body: bytes
    version: str
    served: Served


def answer_request(
    spec: ModelSpec,
    generation: Generation,
    body: bytes,
    *,
    pinned: str | None,
    now_us: int,
    started_s: float,
) -> Answer:
    """Answer an infer request by the arms that the plan assigns to its rows.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    generation : Generation
        The plan and its loaded versions; the caller holds a lease on it.
    body : bytes
        The request.
    pinned : str or None
        The version that the URL names; it then answers every row.
    now_us : int, microseconds since 1970
        The prediction's time, by the server's clock.
    started_s : float, seconds
        `time.perf_counter` when the request was complete.

    Returns
    -------
    Answer
        With another status than 200 where a version failed; its rows are logged as failed.

    Raises
    ------
    Invalid
        When the request is wrong.
    NotFound
        When the pinned version is not loaded.
    """
    request = decode_request(body)
    loaded = generation.numbered(pinned) if pinned is not None else generation.first
    features = _conformed(request, loaded.interface, generation.needed)
    prediction_id = new_id()
    # Where no column is the key, equal rows are one row, as everywhere in the feed.
    has_key = spec.key is not None
    keys = _row_ids(prediction_id, features.num_rows) if has_key else row_keys(features)
    facts = read_facts(request.parameters, keys, now_us)
    assigned = _assigned(generation, facts, pinned=loaded if pinned is not None else None)
    parts: list[Part] = []
    for arm, each, rows in assigned:
        try:
            scores = scores_of(each, _features_of(features, rows, loaded, each))
        except Exception as error:  # noqa: BLE001  # the plug-in border: a version may raise anything
            failed = Part(each, arm.name, arm.weight, rows, None)
            message = f"{each.version.name} of model {spec.name!r} failed: {error}"
            served = Served(prediction_id, features, facts, (failed,), now_us, _ms(started_s))
            # What the estimator does not take is the caller's to fix; the log says it failed.
            status = 400 if isinstance(error, Invalid) else 500
            if status != 400:
                _LOG.exception(
                    "prediction failed model=%s version=%s", spec.name, each.version.name
                )
            return Answer(status, encode_error(message), each.version.name, served)
        parts.append(Part(each, arm.name, arm.weight, rows, scores))
    reply, version = _reply(spec, request, prediction_id, parts)
    encoded = encode(reply)
    served = Served(prediction_id, features, facts, tuple(parts), now_us, _ms(started_s))
    return Answer(200, encoded, version, served)


def scores_of(loaded: Loaded, features: pa.Table) -> np.ndarray[Any, Any]:
    """Predict, and check that what comes back are scores.

    Raises
    ------
    ValueError
        When the shape is not (rows, scores), or a score is no finite number.
    """
    scores = np.asarray(loaded.runtime.predict(features), dtype=np.float64)
    expected = (features.num_rows, len(loaded.version.manifest.classes) or 1)
    if scores.shape != expected:
        message = f"scores of shape {scores.shape}, not {expected}"
        raise ValueError(message)
    if not np.isfinite(scores).all():
        raise ValueError("a score that is no finite number")
    return scores


def _conformed(request: InferRequest, signature: Signature, needed: frozenset[str]) -> pa.Table:
    """Return the rows in the columns of a model; those that no version reads may be missing."""
    try:
        table = read_columns(request, signature)
        if len(needed) < len(signature.fields):
            table = _filled(table, signature, needed)
        return conform(table, signature, who=WHO)
    except pa.ArrowException as error:
        raise Invalid(
            WHO,
            needs="values that fit the columns of the model",
            came=str(error),
            todo="Send numbers that 64 bits hold exactly.",
        ) from error


def _filled(table: pa.Table, signature: Signature, needed: frozenset[str]) -> pa.Table:
    there = set(table.column_names)
    for field in signature.fields:
        if field.nullable and field.name not in needed and field.name not in there:
            table = table.append_column(field.name, pa.nulls(table.num_rows))
    return table


def _row_ids(prediction_id: str, n_rows: int) -> list[str]:
    return [f"{prediction_id}-{row}" for row in range(n_rows)]


def _assigned(
    generation: Generation, facts: RowFacts, *, pinned: Loaded | None
) -> list[tuple[Arm, Loaded, np.ndarray[Any, Any]]]:
    """Say which version answers which rows; a pinned one answers all, outside the split."""
    if pinned is not None:
        arm = Arm(PINNED, pinned.version.id, 1.0)
        return [(arm, pinned, np.arange(len(facts.key)))]
    return [
        (arm, generation.loaded[arm.version_id], rows)
        for arm, rows in split_by_arm(generation.plan, facts.sticky)
    ]


def _features_of(
    features: pa.Table, rows: np.ndarray[Any, Any], read_for: Loaded, loaded: Loaded
) -> pa.Table:
    """Take the rows of one part, in the columns of the version that scores them."""
    part = features if len(rows) == features.num_rows else features.take(pa.array(rows))
    signature = loaded.version.manifest.signature
    if signature == read_for.interface:
        return part
    return conform_part(part, signature, who=WHO)


def _reply(
    spec: ModelSpec, request: InferRequest, prediction_id: str, parts: list[Part]
) -> tuple[dict[str, Any], str]:
    """Merge the parts in the order of the rows; say which version answered."""
    outputs = _outputs(parts)
    first = parts[0]
    if len(parts) == 1:
        number, version, arm = (
            str(first.loaded.version.number),
            first.loaded.version.name,
            first.arm,
        )
    else:
        number = version = arm = MIXED
        outputs["version"] = _by_row(parts, [part.loaded.version.name for part in parts])
    reply = {
        "model_name": spec.name,
        "model_version": number,
        "id": request.id if request.id is not None else prediction_id,
        "parameters": {"prediction_id": prediction_id, "version": version, "arm": arm},
        "outputs": output_tensors(outputs, request.outputs),
    }
    return reply, version


def _outputs(parts: list[Part]) -> dict[str, np.ndarray[Any, Any]]:
    """Turn the scores of all parts into the task's outputs, in the order of the rows."""
    task: Task = parts[0].loaded.task
    if len(parts) == 1:
        classes = parts[0].loaded.version.manifest.classes
        return dict(task.outputs(_scores(parts[0]), classes))
    classes = _all_classes(parts)
    n_rows = sum(len(part.rows) for part in parts)
    scores = np.zeros((n_rows, len(classes) or 1))
    for part in parts:
        own = part.loaded.version.manifest.classes
        columns = np.asarray([classes.index(each) for each in own] if classes else [0])
        scores[np.ix_(part.rows, columns)] = _scores(part)
    return dict(task.outputs(scores, classes))


def _all_classes(parts: list[Part]) -> tuple[Label, ...]:
    """Unite the classes of the versions; a version gives 0 to a class it does not know."""
    of_each = [part.loaded.version.manifest.classes for part in parts]
    if all(classes == of_each[0] for classes in of_each):
        return of_each[0]
    return tuple(sorted({label for classes in of_each for label in classes}))


def _scores(part: Part) -> np.ndarray[Any, Any]:
    assert part.scores is not None  # a failed part ends the request
    return part.scores


def _by_row(parts: list[Part], values: list[str]) -> np.ndarray[Any, Any]:
    merged = np.empty(sum(len(part.rows) for part in parts), dtype=object)
    for part, value in zip(parts, values, strict=True):
        merged[part.rows] = value
    return merged


def _ms(started_s: float) -> float:
    return (perf_counter() - started_s) * 1e3
