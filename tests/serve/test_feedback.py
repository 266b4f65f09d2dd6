"""Feedback bodies: what they name, and what is refused before the feed is asked."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from renewal.core.errors import Invalid
from renewal.serve.feedback import (
    LabelEntry,
    check_kind,
    label_tables,
    read_feedback,
    request_ids,
)

NOW_US = 99


def read(body: dict[str, Any]) -> tuple[str | None, list[LabelEntry]]:
    return read_feedback(json.dumps(body).encode())


def test_one_label_needs_no_list() -> None:
    _, (entry,) = read({"prediction_id": "P-3", "label": "late"})
    assert (entry.prediction_id, entry.key, entry.label) == ("P-3", None, "late")


def test_a_time_beside_the_labels_holds_for_those_without_one() -> None:
    labels = [{"key": "a", "label": 1}, {"key": "b", "label": 0, "arrived_at": 7}]
    _, entries = read({"labels": labels, "arrived_at": "1970-01-01T00:00:00.000005Z"})
    (table,) = label_tables(entries, NOW_US)
    assert table["arrived_at"].cast(pa.int64()).to_pylist() == [5, 7]


def test_labels_by_id_and_by_key_are_two_tables_of_one_type() -> None:
    labels = [{"key": 5, "label": 1}, {"prediction_id": "P-0", "label": 0.5}]
    by_id, by_key = label_tables(read({"labels": labels})[1], NOW_US)
    assert by_id.column_names == ["prediction_id", "label", "arrived_at"]
    assert by_key["key"].to_pylist() == ["5"]
    assert by_id["label"].type == by_key["label"].type == pa.float64()
    assert by_id["arrived_at"].cast(pa.int64()).to_pylist() == [NOW_US]


@pytest.mark.parametrize("values", [[1, "late"], [True, 1], [1, False], ["late", 0.5], [2**70]])
def test_labels_of_two_types_are_invalid_before_anything_is_written(values: list[Any]) -> None:
    entries = [LabelEntry(value, key=str(at)) for at, value in enumerate(values)]
    with pytest.raises(Invalid, match="one type"):
        label_tables(entries, NOW_US)


@pytest.mark.parametrize(
    ("label", "classes", "is_fine"),
    [
        (1, (0, 1), True),
        (1.0, (0, 1), True),
        (2, (0, 1), True),  # a class that is new is news, not a mistake
        (None, (0, 1), True),  # the feed says what is wrong with it
        (0.5, (), True),
        (0.5, (0, 1), False),
        (True, (0, 1), False),
        (1, (False, True), False),
        ("1", (0, 1), False),
        (1, ("in time", "late"), False),
    ],
)
def test_labels_are_of_the_kind_of_the_classes(
    label: Any, classes: tuple[Any, ...], *, is_fine: bool
) -> None:
    entry = [LabelEntry(label, key="a")]
    if is_fine:
        check_kind(entry, classes)
    else:
        with pytest.raises(Invalid, match="labels such as"):
            check_kind(entry, classes)


def test_a_bare_request_id_is_a_request_id() -> None:
    entries = [LabelEntry(1, "P"), LabelEntry(1, "Q-12"), LabelEntry(1, key="K-1")]
    assert request_ids(entries) == {"P", "Q"}
