"""Any table becomes Arrow, and what does not fit is refused by name."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Kind, Signature
from renewal.data.frame import as_table, conform, signature_of

COLUMNS: dict[str, list[Any]] = {"a": [1.5, 2.5], "b": [1, 2], "c": [True, False], "d": ["x", "y"]}


def test_signature_leaves_out_what_is_no_input() -> None:
    table = pa.table({**COLUMNS, "gone": pa.nulls(2), "at": pa.array([0, 1], pa.timestamp("us"))})
    kinds = [(field.name, field.kind) for field in signature_of(table, {"at", "c"}).fields]
    assert kinds == [("a", "float"), ("b", "int"), ("d", "string"), ("gone", "float")]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us", "UTC"), pa.list_(pa.float64()), pa.list_(pa.string())]
)
def test_an_input_of_a_strange_type_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(Invalid, match="'odd'") as caught:
        signature_of(pa.table({"odd": pa.nulls(1, kind)}))
    assert caught.value.fields["column"] == "odd"


NEEDED = Signature((Field("dep_hour", "float"), Field("origin", "string"), Field("n", "int")))


def test_conform_orders_and_widens() -> None:
    came = pa.table({"n": [1.0, float("nan")], "origin": ["EWR", None], "dep_hour": [7, 8]})
    table = conform(came, NEEDED, who="test")
    assert table.to_pydict() == {
        "dep_hour": [7.0, 8.0],
        "origin": ["EWR", None],
        "n": [1, None],
    }
    assert conform(table, NEEDED, who="test") is table


@pytest.mark.parametrize(
    ("came", "says", "column"),
    [
        (
            {"deb_hour": [1.0], "origin": ["E"], "n": [1]},
            "'dep_hour'.*Is it 'deb_hour'",
            "dep_hour",
        ),
        ({"dep_hour": [1.0], "origin": ["E"], "n": [1], "x": [1]}, "unknown column 'x'", "x"),
        (
            {"dep_hour": ["7"], "origin": ["E"], "n": [1]},
            "float values.*'dep_hour'.*string",
            "dep_hour",
        ),
        ({"dep_hour": [2**53 + 1], "origin": ["E"], "n": [1]}, "no float holds", "dep_hour"),
        ({"dep_hour": [1.0], "origin": [7], "n": [1]}, "string values.*'origin'.*int64", "origin"),
        ({"dep_hour": [1.0], "origin": ["E"], "n": [1.5]}, "int values.*'n'.*fractions", "n"),
        (
            {"dep_hour": [True], "origin": ["E"], "n": [1]},
            "float values.*'dep_hour'.*bool",
            "dep_hour",
        ),
    ],
)
def test_conform_names_column_expected_and_got(
    came: dict[str, list[Any]], says: str, column: str
) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        conform(pa.table(came), NEEDED, who="test")
    assert caught.value.fields["column"] == column


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_field_that_is_not_nullable_takes_no_gap(value: float | None) -> None:
    signature = Signature((Field("a", "float", nullable=False),))
    assert conform(pa.table({"a": [0.5]}), signature, who="test").num_rows == 1
    with pytest.raises(Invalid, match="'a'"):
        conform(pa.table({"a": pa.array([value], pa.float64())}), signature, who="test")


_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "float": st.floats(allow_nan=False),
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "string": st.text(max_size=5),
}
_TYPES: dict[Kind, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
}


@given(st.data(), st.lists(st.sampled_from(list(_VALUES)), min_size=1, max_size=5))
def test_any_order_of_columns_conforms_to_the_same_table(
    data: st.DataObject, kinds: list[Kind]
) -> None:
    """Breaks when a column is matched by place, or a value changes on the way."""
    signature = Signature(tuple(Field(f"f{at}", kind) for at, kind in enumerate(kinds)))
    columns = {
        field.name: data.draw(
            st.lists(st.none() | _VALUES[field.kind], min_size=3, max_size=3), label=field.name
        )
        for field in signature.fields
    }
    table = pa.table(
        {
            field.name: pa.array(columns[field.name], _TYPES[field.kind])
            for field in signature.fields
        }
    )
    shuffled = table.select(data.draw(st.permutations(table.column_names)))
    assert conform(as_table(shuffled, who="test"), signature, who="test").to_pydict() == columns
    assert signature_of(table) == signature
