"""Attributes: kept beside the rows, read with them, never among the inputs of a model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.clock import ReplayClock, to_us
from renewal.core.errors import Invalid
from renewal.core.spec import ModelSpec
from renewal.data.attributes import attributes_in, attributes_of
from renewal.data.feed import Feed
from renewal.data.segment import SegmentWriter, read_segments
from renewal.registry.db import Database

Make = Callable[..., pa.Table]
Serve = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec(
        "flights", "binary", "late", key="flight", time="at", attributes=("sex", "age")
    )


@pytest.fixture
def people(flights: Make) -> Make:
    """Make a table of flights with the sex and age of each passenger."""

    def make(
        keys: list[str],
        sex: list[Any],
        hours: list[float] | None = None,
        late: list[Any] | None = None,
    ) -> pa.Table:
        table = flights(keys, hours, late)
        age = pa.array([20 + len(key) for key in keys])
        return table.append_column("sex", pa.array(sex)).append_column("age", age)

    return make


def sexes(feed: Feed, **window: Any) -> dict[str, Any]:
    rows = feed.rows(**window)
    assert rows.attributes is not None
    return dict(zip(rows.key, rows.attributes["sex"].to_pylist(), strict=True))


def test_attributes_follow_their_rows(feed: Feed, people: Make, clock: ReplayClock) -> None:
    """Breaks when rows are sorted, repeated or taken and their attributes are not."""
    feed.append(people(["UA1", "UA22", "UA333"], ["F", None, "M"], [2, 0, 1], [True, None, False]))
    clock.move_to(clock.now() + timedelta(hours=3))
    feed.append(people(["UA1"], ["M"], [3]))
    rows = feed.rows()
    assert rows.key.tolist() == ["UA22", "UA333", "UA1"]
    assert rows.attributes is not None
    assert rows.attributes.to_pydict() == {"sex": [None, "M", "M"], "age": [24, 25, 23]}
    assert rows.features.column_names == ["hour", "origin"]
    assert rows.described.column_names == ["hour", "origin", "sex", "age"]
    labelled = rows.labelled().attributes
    assert labelled is not None
    assert labelled["sex"].to_pylist() == ["M", "M"]
    taken = rows.take(np.array([2, 0])).attributes
    assert taken is not None
    assert taken["age"].to_pylist() == [23, 24]


def test_they_are_no_inputs(feed: Feed, people: Make) -> None:
    """Breaks when a model could be given one, or a request had to carry it."""
    feed.append(people(["a"], ["F"]))
    signature = feed.signature()
    assert signature is not None
    assert signature.names == ("hour", "origin")
    attributes = feed.attributes()
    assert attributes is not None
    assert [(each.name, each.kind) for each in attributes.fields] == [
        ("sex", "string"),
        ("age", "int"),
    ]


def test_a_model_without_attributes_has_none(
    tmp_path: Path, db: Database, clock: ReplayClock, flights: Make
) -> None:
    spec = ModelSpec("flights", "binary", "late", key="flight", time="at")
    feed = Feed(tmp_path / "plain", spec, db, clock)
    assert feed.rows().attributes is None
    assert feed.attributes() is None
    feed.append(flights(["a"]))
    rows = feed.rows()
    assert rows.attributes is None
    assert rows.described is rows.features


def test_an_empty_feed_has_empty_attributes(feed: Feed) -> None:
    assert sexes(feed) == {}
    assert feed.attributes() is None


def test_rows_that_were_served_lack_them(
    feed: Feed, people: Make, served: Serve, clock: ReplayClock, tmp_path: Path
) -> None:
    """Breaks when a table without the columns can no longer be read, written or compacted."""
    writer = SegmentWriter(tmp_path / "log", "w")
    writer.add(*served(["a", "b"], "P1"))
    writer.flush()
    feed.commit(*read_segments(tmp_path / "log"))
    assert sexes(feed) == {"a": None, "b": None}
    before = feed.snapshot()
    clock.move_to(clock.now() + timedelta(hours=1))
    feed.append(people(["a", "c"], ["F", "M"]))
    writer.add(*served(["d"], "P2", at=clock.now()))
    writer.flush()
    feed.commit(*read_segments(tmp_path / "log"))
    assert sexes(feed) == {"a": "F", "b": None, "c": "M", "d": None}
    assert sexes(feed, snapshot=before) == {"a": None, "b": None}
    assert sexes(feed, since_us=to_us(clock.now())) == {"d": None}
    feed.lease(before, "1" * 64)
    feed.compact()
    assert feed.vacuum(retention_hours=0) > 0
    assert sexes(feed) == {"a": "F", "b": None, "c": "M", "d": None}
    assert sexes(feed, snapshot=before) == {"a": None, "b": None}


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_column_of_gaps_fixes_no_type(feed: Feed, people: Make, nothing: Any) -> None:
    """Breaks when the first rows know nothing of it and all later ones are refused."""
    feed.append(people(["a", "b"], [nothing, nothing], [0, 1]))
    assert sexes(feed) == {"a": None, "b": None}
    feed.append(people(["c"], ["F"], [2]))
    feed.append(people(["d"], [nothing], [3]))
    assert sexes(feed) == {"a": None, "b": None, "c": "F", "d": None}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop_columns(["sex"]), "the attribute column 'sex'"),
        (
            lambda table: table.rename_columns(["flight", "at", "hour", "origin", "Sex", "age"]),
            "'Sex'",
        ),
        (
            lambda table: table.drop_columns(["sex"]).append_column("sex", pa.array([1])),
            "string values in the column 'sex'; got int64",
        ),
        (
            lambda table: table.drop_columns(["age"]).append_column("age", pa.array([[1]])),
            "int values in the column 'age'",
        ),
        (lambda table: table.append_column("class", pa.array(["x"])), "unknown column 'class'"),
    ],
)
def test_wrong_attributes_are_refused_whole(
    feed: Feed, people: Make, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    """Breaks when a misspelled or ill-typed column is taken in or dropped in silence."""
    feed.append(people(["a"], ["F"]))
    with pytest.raises(Invalid, match=says):
        feed.append(change(people(["b"], ["M"])))
    assert feed.n_rows() == 1


def test_numbers_are_widened_like_inputs(spec: ModelSpec) -> None:
    """Breaks on what pandas does to an int column with a gap: it becomes a float."""
    known = attributes_in(
        pa.schema([("renewal_attribute_sex", pa.string()), ("renewal_attribute_age", pa.int64())])
    )
    came = pa.table({"sex": ["F", "M"], "age": [30.0, float("nan")]})
    found = attributes_of(came, spec, known=known, who="a test")
    assert found["renewal_attribute_age"].to_pylist() == [30, None]


def test_the_key_of_a_row_does_not_depend_on_them(
    tmp_path: Path, db: Database, clock: ReplayClock
) -> None:
    """Breaks when a row that is served could no longer be found by its hash."""
    with_them = ModelSpec("m", "binary", "late", attributes=("sex",))
    without = ModelSpec("m", "binary", "late")
    one, other = (
        Feed(tmp_path / name, spec, db, clock)
        for name, spec in (("one", with_them), ("other", without))
    )
    one.append({"x": [1.0, 2.0], "sex": ["F", "M"]})
    other.append({"x": [1.0, 2.0]})
    assert one.rows().key.tolist() == other.rows().key.tolist()


@pytest.mark.parametrize("values", [[b"x"], [[1.0, 2.0]]])
def test_an_attribute_by_which_nobody_can_slice_is_refused(
    feed: Feed, people: Make, values: Any
) -> None:
    """Breaks when an image becomes an attribute: every row would be a group of its own."""
    table = people(["a"], ["F"])
    table = table.set_column(table.column_names.index("sex"), "sex", pa.array(values))
    with pytest.raises(Invalid, match="'sex'"):
        feed.append(table)
    assert feed.n_rows() == 0
