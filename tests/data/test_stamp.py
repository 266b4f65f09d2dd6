"""What a feed notes beside the features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from renewal.core.clock import to_us
from renewal.core.errors import Invalid
from renewal.core.ids import key_hash
from renewal.core.spec import ModelSpec, Signature
from renewal.data.columns import hashes, rows_schema
from renewal.data.frame import as_table, signature_of
from renewal.data.rowkey import row_keys
from renewal.data.stamp import instants_of, stamp, stamp_table

DAY_US = 86_400_000_000
FEATURES = pa.table({"hour": [7.0, 8.0]})


def test_a_stamped_table_has_the_schema_of_the_feed() -> None:
    spec = ModelSpec("m", "binary", "late", key="k", time="at")
    table = stamp(FEATURES, spec, arrived_us=5 * DAY_US, key=[1, 2], event_us=[DAY_US, DAY_US - 1])
    assert table.schema == rows_schema(signature_of(FEATURES))
    assert table["renewal_key"].to_pylist() == ["1", "2"]
    assert hashes(table["renewal_key_hash"]).tolist() == [key_hash("1"), key_hash("2")]
    assert table["renewal_group_hash"] == table["renewal_key_hash"]
    assert table["renewal_block"].to_pylist() == [1, 0]
    assert table["renewal_sticky"].null_count == 2


def test_without_key_and_time_the_row_names_itself_and_happened_when_it_came() -> None:
    table = stamp(FEATURES, ModelSpec("m", "binary", "late"), arrived_us=7)
    assert table["renewal_key"].to_pylist() == row_keys(FEATURES)
    assert table["renewal_event_at"] == table["renewal_arrived_at"]
    assert table["renewal_block"] == table["renewal_group_hash"]


@pytest.mark.parametrize(
    ("block", "time", "expected"),
    [
        (timedelta(hours=1), "at", [24, 23]),
        (None, "at", [1, 0]),
        (timedelta(hours=1), None, [24, 23]),
        ("city", "at", [key_hash("a"), key_hash("b")]),
        (None, None, [key_hash("g"), key_hash("g")]),
    ],
)
def test_blocks(block: Any, time: str | None, expected: list[int]) -> None:
    spec = ModelSpec("m", "binary", "late", time=time, block=block, group="who")
    table = stamp(
        FEATURES,
        spec,
        arrived_us=0,
        group=["g", "g"],
        block=["a", "b"] if isinstance(block, str) else None,
        event_us=[DAY_US, DAY_US - 1],
    )
    assert table["renewal_block"].to_numpy().view(np.uint64).tolist() == expected


def test_a_users_table_is_read_by_the_names_of_the_spec() -> None:
    spec = ModelSpec("m", "binary", "late", key="k", time="at", group="who", sticky="session")
    frame = pd.DataFrame(
        {
            "k": [10, 11],
            "at": pd.to_datetime(["2013-01-01", "2013-01-02"], utc=True),
            "who": ["ann", "bob"],
            "session": ["s", "t"],
            "hour": [7.0, 8.0],
        }
    )
    table = stamp_table(as_table(frame, who="t"), FEATURES, spec, arrived_us=0, who="t")
    assert table["renewal_key"].to_pylist() == ["10", "11"]
    assert table["renewal_sticky"].to_pylist() == ["s", "t"]
    assert hashes(table["renewal_group_hash"]).tolist() == [key_hash("ann"), key_hash("bob")]
    assert table["renewal_event_at"][1].as_py() == datetime(2013, 1, 2, tzinfo=UTC)
    with pytest.raises(Invalid, match=r"the group column 'who'.*Is it 'whom'"):
        stamp_table(
            as_table(frame.rename(columns={"who": "whom"}), who="t"),
            FEATURES,
            spec,
            arrived_us=0,
            who="t",
        )


@pytest.mark.parametrize("name", ["key", "group", "sticky", "block"])
@pytest.mark.parametrize("gap", [None, float("nan")])
def test_a_gap_names_nothing(name: str, gap: float | None) -> None:
    spec = ModelSpec("m", "binary", "late", block="b")
    with pytest.raises(Invalid, match=f"{name!r}; got 1 missing, the first in row 1"):
        stamp(FEATURES, spec, arrived_us=0, **cast("Any", {name: [1.0, gap]}))


def test_a_feature_may_not_hide_a_system_column() -> None:
    with pytest.raises(Invalid, match="renewal_key"):
        stamp(pa.table({"renewal_key": [1.0]}), ModelSpec("m", "binary", "late"), arrived_us=0)


def test_times_come_as_instants_or_as_text_with_a_zone() -> None:
    wanted = [to_us(datetime(2013, 1, 1, 10, tzinfo=UTC))]
    text = pa.array(["2013-01-01T05:00:00-05:00"])
    assert instants_of(text, "at", who="t").tolist() == wanted
    assert instants_of(text.cast(pa.timestamp("us", "UTC")), "at", who="t").tolist() == wanted


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([0], pa.timestamp("us")), "time zone.*Localize"),
        (pa.array(["2013-01-01 05:00"]), "with a zone"),
        (pa.array(["noon"]), "ISO-8601"),
        (pa.array([5]), "instants in the column 'at'; got int64"),
        (pa.array([0, None], pa.timestamp("us", "UTC")), "1 missing, the first in row 1"),
    ],
)
def test_times_that_are_none_are_refused(column: pa.Array, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        instants_of(column, "at", who="test")


def test_no_rows_have_a_schema_too() -> None:
    assert rows_schema(Signature(())).names[0] == "renewal_key"
    empty = stamp(FEATURES.slice(0, 0), ModelSpec("m", "binary", "late"), arrived_us=0)
    assert empty.schema == rows_schema(signature_of(FEATURES))
