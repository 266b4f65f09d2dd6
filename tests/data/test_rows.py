"""Rows keep their columns aligned."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.spec import ModelSpec
from renewal.data.rows import NEVER_US, Rows, objects, to_rows
from renewal.data.stamp import stamp


@pytest.fixture
def rows() -> Rows:
    stamped = stamp(
        pa.table({"hour": [1.0, 2.0, 3.0]}),
        ModelSpec("m", "binary", "late", key="k", time="at", sticky="s"),
        arrived_us=np.array([10, 11, 12]),
        key=["a", "b", "c"],
        sticky=["s", "b", "t"],
        event_us=[1, 2, 3],
    )
    label = np.array([True, None, False], object)
    return to_rows(stamped, label, np.array([20, NEVER_US, 21]))


def test_take_keeps_every_column_aligned(rows: Rows) -> None:
    """Breaks when one of the columns is forgotten or taken by another index."""
    for which in (np.array([2, 0]), np.array([False, False, True]), np.array([1, 2]) * 2 - 2):
        taken = rows.take(which)
        at = np.flatnonzero(which) if which.dtype == bool else which
        assert len(taken) == len(at)
        assert taken.features["hour"].to_pylist() == [at_ + 1.0 for at_ in at]
        assert taken.sticky is not None
        assert taken.label is not None
        expected = [("a", "s", 1, 10, True, 20), (), ("c", "t", 3, 12, False, 21)]
        found = zip(
            taken.key,
            taken.sticky,
            taken.event_us,
            taken.arrived_us,
            taken.label,
            taken.label_arrived_us,
            strict=True,
        )
        assert list(found) == [expected[at_] for at_ in at]
        assert taken.key_hash.tolist() == rows.key_hash[at].tolist()
        assert taken.group_hash.tolist() == rows.group_hash[at].tolist()
        assert taken.block.tolist() == rows.block[at].tolist()


def test_neighbors_share_the_memory_of_the_rows(rows: Rows) -> None:
    """Breaks when an update holds a large feed several times over again."""
    assert rows.take(np.array([True, True, True])) is rows
    assert rows.take(np.arange(3)) is rows
    last = rows.take(np.array([1, 2]))
    assert last.features["hour"].to_pylist() == [2.0, 3.0]
    assert last.features["hour"].chunk(0).buffers()[1].address == (
        rows.features["hour"].chunk(0).buffers()[1].address
    )
    assert last.key.tolist() == ["b", "c"]
    assert all(
        np.shares_memory(getattr(last, name), getattr(rows, name))
        for name in ("key", "key_hash", "group_hash", "sticky", "event_us", "arrived_us", "label",
                     "label_arrived_us", "block")
    )  # fmt: skip
    assert [len(rows.take(np.array(at, np.int64))) for at in ([], [2, 1], [0, 2])] == [0, 2, 2]


def test_labelled_drops_rows_without_a_label(rows: Rows) -> None:
    assert rows.has_label.tolist() == [True, False, True]
    labelled = rows.labelled()
    assert labelled.key.tolist() == ["a", "c"]
    assert labelled.labelled() is labelled


def test_sticky_is_the_key_where_none_was_stored() -> None:
    spec = ModelSpec("m", "binary", "late", key="k")
    plain = stamp(pa.table({"hour": [1.0]}), spec, arrived_us=0, key=["a"])
    other = stamp(pa.table({"hour": [2.0]}), spec, arrived_us=0, key=["b"], sticky=["s"])
    assert to_rows(plain).sticky is None
    mixed = to_rows(pa.concat_tables([plain, other])).sticky
    assert mixed is not None
    assert mixed.tolist() == ["a", "s"]


@pytest.mark.parametrize(
    "values", [[True, None, False], [3, None, 3], ["x", None, "y"], [None], []]
)
def test_objects_are_python_values(values: list[object]) -> None:
    """Breaks when numpy scalars come out: classes of a manifest are JSON values."""
    chunks = pa.chunked_array([pa.array(values), pa.array(values)])
    if not values:
        chunks = pa.chunked_array([pa.array([], pa.int64())])
    found = objects(chunks)
    assert found.dtype == object
    assert found.tolist() == chunks.to_pylist()
    assert all(type(a) is type(b) for a, b in zip(found, chunks.to_pylist(), strict=True))
    assert objects(chunks.dictionary_encode()).tolist() == chunks.to_pylist()
