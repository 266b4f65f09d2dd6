"""What users call a table comes into Arrow with one type a kind, or is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from renewal.core.errors import Invalid
from renewal.data.frame import as_table

COLUMNS: dict[str, list[Any]] = {"a": [1.5, 2.5], "b": [1, 2], "c": [True, False], "d": ["x", "y"]}
SCHEMA = pa.schema([("a", pa.float64()), ("b", pa.int64()), ("c", pa.bool_()), ("d", pa.string())])


@pytest.mark.parametrize(
    "data",
    [
        COLUMNS,
        pa.table(COLUMNS),
        pa.RecordBatch.from_pydict(COLUMNS),
        pd.DataFrame(COLUMNS, index=[7, 9]),
        pl.DataFrame(COLUMNS),
        pl.DataFrame(COLUMNS).with_columns(pl.col("d").cast(pl.Categorical)),
        pd.DataFrame(COLUMNS).astype({"a": "float32", "b": "int8", "d": "category"}),
    ],
    ids=["dict", "arrow", "batch", "pandas", "polars", "polars categorical", "pandas narrow"],
)
def test_every_library_gives_the_same_table(data: Any) -> None:
    """Breaks when a library's own types, or pandas' index, come through."""
    table = as_table(data, who="test")
    assert table.schema == SCHEMA
    assert table.to_pydict() == COLUMNS


def test_numpy_columns_are_numbered() -> None:
    table = as_table(np.array([[1, 2], [3, 4]], np.int32), who="test")
    assert table.to_pydict() == {"x0": [1, 3], "x1": [2, 4]}


def test_one_mapping_of_scalars_is_one_row() -> None:
    table = as_table({"key": "a", "label": True, "at": datetime(2013, 1, 1, tzinfo=UTC)}, who="t")
    assert (table.num_rows, table.schema.field("at").type) == (1, pa.timestamp("us", "UTC"))


def test_times_keep_their_instant_and_a_missing_zone_stays_missing() -> None:
    """Breaks when a zone is guessed, or dropped without converting."""
    zoned = pd.to_datetime(["2013-01-01 05:00"]).tz_localize("America/New_York")
    frame = pd.DataFrame({"zoned": zoned, "naive": pd.to_datetime(["2013-01-01 05:00"])})
    table = as_table(frame, who="test")
    assert table["zoned"].to_pylist() == [datetime(2013, 1, 1, 10, tzinfo=UTC)]
    assert table.schema.field("naive").type == pa.timestamp("us")


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "a"),
        (pa.table([[1], [2]], names=["a", "a"]), "a"),
        (pd.DataFrame({"bad": [1, "x"]}), "bad"),
        ({"bad": [1, "x"]}, "bad"),
        ({"a": [1], "b": [1, 2]}, "length"),
        ({"big": pa.array([2**63], pa.uint64())}, "big"),
        (np.arange(3), r"shape \(3,\)"),
        ([1, 2], "list"),
        (pd.Series([1, 2]), "Series"),
        ({}, "dict"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_table_is_refused_by_name(data: Any, names: str) -> None:
    with pytest.raises(Invalid, match=names):
        as_table(data, who="test")
