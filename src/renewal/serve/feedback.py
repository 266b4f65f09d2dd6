"""Labels that come by HTTP: read the body, make columns of it, hand them to the feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Label
from renewal.data.feed import Feed
from renewal.serve.oip import decode_json
from renewal.serve.routing import read_instant

WHO = "feedback"
_INSTANT = pa.timestamp("us", "UTC")


class LabelEntry(msgspec.Struct):
    """A label and the prediction id or the row key that it belongs to."""

    label: str | int | float | bool | None = None
    prediction_id: str | None = None
    key: str | int | None = None
    arrived_at: str | int | None = None


class FeedbackRequest(LabelEntry):
    """One label, or many under ``labels``; ``arrived_at`` beside them holds for all."""

    labels: list[LabelEntry] | None = None
    model: str | None = None


_DECODER = msgspec.json.Decoder(FeedbackRequest)


def read_feedback(body: bytes) -> tuple[str | None, list[LabelEntry]]:
    """Read a feedback request.

    Parameters
    ----------
    body : bytes
        ``{"labels": [{"prediction_id" or "key", "label", "arrived_at"?}, ...]}``, or one
        such entry; ``model`` may stand beside it.

    Returns
    -------
    (str or None, list of LabelEntry)
        The model it names, and its labels.

    Raises
    ------
    Invalid
        On a body of another form, or an entry that names neither or both.

    Examples
    --------
    >>> model, labels = read_feedback(b'{"prediction_id": "P-0", "label": 1}')
    >>> model, labels[0].prediction_id, labels[0].label
    (None, 'P-0', 1)
    """
    request: FeedbackRequest = decode_json(body, _DECODER, who=WHO)
    entries: list[LabelEntry] = request.labels if request.labels is not None else [request]
    if not entries:
        raise Invalid(WHO, needs="at least one label", came="none", todo="Send the labels.")
    for entry in entries:
        if (entry.prediction_id is None) == (entry.key is None):
            raise Invalid(
                WHO,
                needs="in every entry either a `prediction_id` or a `key`",
                came="both" if entry.key is not None else "neither",
                todo='Send {"prediction_id": "...", "label": ...}.',
            )
        if entry.arrived_at is None:
            entry.arrived_at = request.arrived_at
    return request.model, entries


def label_tables(entries: Sequence[LabelEntry], now_us: int) -> list[pa.Table]:
    """Return one table for the entries by prediction id and one for those by key.

    Parameters
    ----------
    entries : sequence of LabelEntry
        At least one.
    now_us : int, microseconds since 1970
        When a label arrived that does not say so.

    Returns
    -------
    list of pyarrow.Table
        Columns ``prediction_id`` or ``key``, ``label`` and ``arrived_at``.

    Raises
    ------
    Invalid
        On labels of mixed types, or a time that is none.
    """
    by_id = [entry for entry in entries if entry.prediction_id is not None]
    by_key = [entry for entry in entries if entry.prediction_id is None]
    # One type for all of them, so that a wrong label of the second table stops the first.
    column_type = _labels([entry.label for entry in entries]).type
    tables = []
    for name, group in (("prediction_id", by_id), ("key", by_key)):
        if group:
            ids = [str(getattr(entry, name)) for entry in group]
            arrived = [_arrived_us(entry, now_us) for entry in group]
            table = {
                name: pa.array(ids, pa.string()),
                "label": pa.array([entry.label for entry in group], column_type),
                "arrived_at": pa.array(arrived, pa.int64()).cast(_INSTANT),
            }
            tables.append(pa.table(table))
    return tables


def check_kind(entries: Sequence[LabelEntry], classes: Sequence[Label]) -> None:
    """Refuse labels of another kind than the classes of the model that answers.

    The feed takes the kind of its first labels for granted; a model knows better.

    Parameters
    ----------
    entries : sequence of LabelEntry
        What came; nulls are left to the feed.
    classes : sequence
        Of the model; nothing for a regression.

    Raises
    ------
    Invalid
        When a label is of another kind; a whole float counts as an int.
    """
    kinds = {type(each) for each in classes}
    for entry in entries:
        label = entry.label
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        if kinds and label is not None and type(label) not in kinds:
            raise Invalid(
                WHO,
                needs=f"labels such as {', '.join(map(repr, list(classes)[:3]))}",
                came=repr(entry.label),
                todo="Send labels as they stand in the training data.",
            )


def request_ids(entries: Sequence[LabelEntry]) -> set[str]:
    """Return the ids of the requests whose rows are labelled.

    Examples
    --------
    >>> request_ids([LabelEntry(1, "P-0"), LabelEntry(0, "P-7"), LabelEntry(0, key="k")])
    {'P'}
    """
    return {
        entry.prediction_id.partition("-")[0]
        for entry in entries
        if entry.prediction_id is not None
    }


def take_labels(feed: Feed, tables: Sequence[pa.Table]) -> dict[str, int]:
    """Write labels to a feed; this waits for its commit.

    Returns
    -------
    dict
        ``n_labels`` written, and ``n_waiting`` of them for a row that has not come.

    Raises
    ------
    Invalid, NotFound
        As `Feed.label` says; then nothing of the table is written.
    """
    taken = [feed.label(table) for table in tables]
    return {
        "n_labels": sum(each.n_labels for each in taken),
        "n_waiting": sum(each.n_waiting for each in taken),
    }


def _labels(values: list[Any]) -> pa.Array:
    kinds = {type(value).__name__ for value in values if value is not None}
    try:
        if "bool" in kinds and len(kinds) > 1:
            raise pa.ArrowInvalid("booleans among other labels")
        return pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        raise Invalid(
            WHO,
            needs="labels of one type",
            came=", ".join(sorted(kinds)),
            todo="Send all labels of a request as numbers, as text or as booleans.",
        ) from error


def _arrived_us(entry: LabelEntry, now_us: int) -> int:
    if entry.arrived_at is None:
        return now_us
    return read_instant(entry.arrived_at, who=WHO, name="arrived_at")
