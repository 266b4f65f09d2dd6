"""Text, bytes and tensors come back from the feed as they went in, by whichever way they went."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from renewal.core.clock import ReplayClock
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.data.columns import PREDICTIONS_SCHEMA
from renewal.data.feed import Feed
from renewal.data.frame import as_table, conform, schema_of
from renewal.data.rows import Rows
from renewal.data.segment import SegmentWriter, read_segments
from renewal.data.stamp import stamp
from renewal.registry.db import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
SHAPE = (2, 1, 3)
SIGNATURE = Signature(
    (
        Field("text", "string"),
        Field("image", "bytes"),
        Field("pixels", "tensor", shape=SHAPE),
        Field("n", "int"),
    )
)
SPEC = ModelSpec("pictures", "multiclass", "label", key="id")

_PIXELS = st.lists(st.floats(width=32), min_size=6, max_size=6).map(
    lambda values: np.array(values, np.float32).reshape(SHAPE)
)
_ROW = st.tuples(
    st.none() | st.text(max_size=5),
    st.none() | st.binary(max_size=5),
    st.none() | _PIXELS,
    st.none() | st.integers(-3, 3),
)
_ROWS = st.lists(_ROW, min_size=1, max_size=6)
# Every example writes tables; what is checked is no matter of speed.
_FEW = settings(
    deadline=None, max_examples=12, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def _features(rows: list[Any]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    if all(each is None for each in columns[2]):
        columns[2] = pa.nulls(len(rows))
    given = dict(zip(SIGNATURE.names, map(_listed, columns), strict=True))
    return conform(as_table(given, who="test"), SIGNATURE, who="test")


def _listed(column: Any) -> Any:
    return list(column) if isinstance(column, tuple) else column


def _feed(folder: Path) -> Feed:
    db = Database(f"sqlite:///{folder}/registry.db")
    return Feed(folder / "feed", SPEC, db, ReplayClock(START), segments=folder / "log")


def _check(found: Rows, features: pa.Table, keys: list[str]) -> None:
    order = [found.key.tolist().index(key) for key in keys]
    back = found.take(np.array(order)).features
    assert back.schema.equals(schema_of(SIGNATURE), check_metadata=True)
    # NaN is equal to no NaN: the bits of the tensors say more than their values.
    for name in SIGNATURE.names:
        one, other = (each.column(name).combine_chunks() for each in (back, features))
        assert one.is_null().equals(other.is_null())
        if name == "pixels":
            one, other = (each.flatten().to_numpy().view(np.uint32) for each in (one, other))
            assert np.array_equal(one, other)
        else:
            assert one.equals(other)


@given(_ROWS, _ROWS)
@_FEW
def test_appended_rows_come_back_whole(first: list[Any], second: list[Any]) -> None:
    """Breaks when a null, an empty value, a NaN or a shape is lost in the files of the feed."""
    with tempfile.TemporaryDirectory() as name:
        feed = _feed(Path(name))
        # The first rows fix the shape, so one of them has a tensor.
        first = [("a", b"b", np.zeros(SHAPE, np.float32), 0), *first]
        keys = [
            [f"{part}{at}" for at in range(len(rows))] for part, rows in enumerate((first, second))
        ]
        tables = [_features(rows) for rows in (first, second)]
        for part, table in zip(keys, tables, strict=True):
            feed.append(table.append_column("id", pa.array(part)))
        assert feed.signature() == SIGNATURE
        both = pa.concat_tables(tables)
        _check(feed.rows(), both, [*keys[0], *keys[1]])
        before = feed.snapshot()
        feed.append(tables[0].append_column("id", pa.array(keys[0])))
        feed.compact()
        _check(feed.rows(), both, [*keys[0], *keys[1]])
        _check(feed.rows(snapshot=before), both, [*keys[0], *keys[1]])
        assert feed.rows(labelled=False).features.num_rows == both.num_rows


@given(_ROWS, st.integers(0, 1))
@_FEW
def test_served_rows_come_back_whole(rows: list[Any], before: int) -> None:
    """Breaks when a segment loses what an append keeps, or a new column loses its shape."""
    with tempfile.TemporaryDirectory() as name:
        feed = _feed(Path(name))
        if before:
            feed.append({"n": [1], "id": ["old"]})
        features = _features(rows)
        keys = [str(at) for at in range(len(rows))]
        writer = SegmentWriter(Path(name) / "log", "w")
        for at, key in enumerate(keys):
            stamped = stamp(features.slice(at, 1), SPEC, arrived_us=at, key=[key])
            writer.add(stamped, PREDICTIONS_SCHEMA.empty_table())
        writer.flush()
        feed.commit(*read_segments(Path(name) / "log"))
        known = feed.signature()
        assert known is not None
        assert set(known.fields) == set(SIGNATURE.fields)
        found = feed.rows(until_us=len(rows))
        assert len(found) == len(rows)
        back = found.features.select(list(SIGNATURE.names))
        _check(Rows(**{**_fields(found), "features": back}), features, keys)


def _fields(rows: Rows) -> dict[str, Any]:
    return {name: getattr(rows, name) for name in Rows.__dataclass_fields__}


@given(_ROWS)
@_FEW
def test_rows_without_a_key_are_known_again(rows: list[Any]) -> None:
    """Breaks when the hash of a row depends on how it came: repeats would be new rows."""
    features = _features(rows)
    spec = ModelSpec("pictures", "multiclass", "label")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clock = ReplayClock(START)
        feed = Feed(folder / "feed", spec, Database(f"sqlite:///{folder}/r.db"), clock)
        feed.append(_features([("a", b"b", np.ones(SHAPE, np.float32), 9)]))
        feed.append(features)
        clock.move_to(START + timedelta(hours=1))
        again = feed.append(features.take(pa.array(list(reversed(range(len(rows)))))))
        assert again.n_repeated == len(rows)
        assert len(feed.rows()) == 1 + len(
            set(stamp(features, spec, arrived_us=0)["renewal_key"].to_pylist())
        )
