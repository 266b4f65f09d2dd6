"""Feedback: read by the names of the spec, with the arrival that it names."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from renewal.core.errors import Invalid
from renewal.core.spec import ModelSpec
from renewal.data.received import label_records, read_feedback

SPEC = ModelSpec("m", "multiclass", "species", key="plant")


@pytest.mark.parametrize(("by", "said"), [("plant", "species"), ("key", "label")])
def test_keys_and_labels_under_either_name(by: str, said: str) -> None:
    came = read_feedback(
        pa.table({by: [7, 8], said: ["a", "b"]}), SPEC, stored=None, now_us=5, who="t"
    )
    assert (came.names, came.by_prediction) == (["7", "8"], False)
    assert came.arrived_us.tolist() == [5, 5]
    records = label_records(came.names, came.label, came.arrived_us)
    assert records["renewal_label"].to_pylist() == ["a", "b"]
    assert records.schema.field("renewal_label").type == pa.string()


def test_prediction_ids_and_an_arrival_of_their_own() -> None:
    at = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    table = pa.table({"prediction_id": ["P"], "label": ["a"], "arrived_at": [at]})
    came = read_feedback(table, SPEC, stored=pa.string(), now_us=5, who="t")
    assert came.by_prediction
    assert came.arrived_us.tolist() == [1_000_000]


def test_a_prediction_and_a_key_are_one_too_many() -> None:
    table = pa.table({"prediction_id": ["P"], "key": ["a"], "label": ["a"]})
    with pytest.raises(Invalid, match="exactly one"):
        read_feedback(table, SPEC, stored=None, now_us=5, who="t")
