"""Arrow tables as frames and matrices: values, types, gaps, and memory of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.models.sklearn_frames import frame, matrix

_FLOATS = st.floats(allow_nan=False, width=64) | st.none()
_COLUMNS = {
    "float": (pa.float64(), _FLOATS),
    "int": (pa.int64(), st.integers(-(2**53), 2**53) | st.none()),
    "bool": (pa.bool_(), st.booleans() | st.none()),
    "string": (pa.string(), st.text(max_size=5) | st.none()),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    n_rows = draw(st.integers(0, 6))
    kinds = draw(st.lists(st.sampled_from(sorted(_COLUMNS)), min_size=1, max_size=4))
    columns = {}
    for place, kind in enumerate(kinds):
        type_, values = _COLUMNS[kind]
        drawn = draw(st.lists(values, min_size=n_rows, max_size=n_rows))
        columns[f"{kind}{place}"] = pa.array(drawn, type=type_)
    return pa.table(columns)


@given(tables())
def test_frame_holds_what_pandas_would(table: pa.Table) -> None:
    """Broken by a value, a gap or an order that differs from `Table.to_pandas`."""
    found, wanted = frame(table), table.to_pandas()
    assert found.columns.tolist() == wanted.columns.tolist()
    assert len(found) == len(wanted)
    for name in wanted.columns:
        for ours, theirs in zip(found[name].tolist(), wanted[name].tolist(), strict=True):
            assert (pd.isna(ours) and pd.isna(theirs)) or ours == theirs


def test_types_do_not_depend_on_how_many_columns_there_are() -> None:
    """Broken by the short way for floats giving other types than the long one."""
    table = pa.table({"f": [1.5, None], "i": [1, 2], "b": [True, False], "s": ["x", None]})
    kinds = frame(table).dtypes.astype(str).tolist()
    assert kinds == ["float64", "int64", "bool", table["s"].to_pandas().dtype.name]
    gaps = pa.table({"i": [1, None], "b": [True, None]})
    assert frame(gaps).dtypes.astype(str).tolist() == ["float64", "float64"]


@pytest.mark.parametrize("n_columns", [1, 2])
@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_no_memory_is_shared(n_columns: int, kind: type) -> None:
    """Broken by an estimator that scales in place and with it changes the feed's rows."""
    table = pa.table({f"c{place}": np.arange(4, dtype=kind) for place in range(n_columns)})
    for name in table.column_names:
        theirs = table[name].chunk(0).to_numpy(zero_copy_only=True)
        assert not np.shares_memory(theirs, frame(table)[name].to_numpy())
        assert not np.shares_memory(theirs, matrix(table))
    assert matrix(table).flags.writeable


def test_texts_become_categories_where_they_are_wanted() -> None:
    """Broken by categories that go missing when a column has a gap or comes in chunks."""
    texts = pa.chunked_array([["x", None], ["y"]])
    found = frame(pa.table({"s": texts, "a": [1.0, 2.0, 3.0]}), as_categories=True)
    assert found["s"].dtype == "category"
    assert found["s"].isna().tolist() == [False, True, False]
    assert frame(pa.table({"s": texts.dictionary_encode()}))["s"].dtype != "category"


def test_matrix_of_numbers_is_float64_and_of_texts_is_objects() -> None:
    """Broken by a boolean gap that becomes 0, or by numbers as texts."""
    numbers = matrix(pa.table({"i": [1, None], "b": [True, None]}))
    assert numbers.dtype == np.float64
    assert np.isnan(numbers[1]).all()
    mixed = matrix(pa.table({"s": ["x", "y"], "a": [1.5, 2.5]}))
    assert mixed.tolist() == [["x", 1.5], ["y", 2.5]]


@pytest.mark.parametrize("read", [frame, matrix])
def test_other_types_are_refused_by_name(read: Any) -> None:
    """Broken by an instant that silently becomes a number of nanoseconds."""
    table = pa.table({"at": pa.array([0], pa.timestamp("us", "UTC"))})
    with pytest.raises(Invalid, match="'at'") as caught:
        read(table)
    assert caught.value.fields["column"] == "at"
