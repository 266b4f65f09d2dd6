"""Rows by row and by column: every form gives the same features, and nothing else passes."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.serve.features import Features
from renewal.serve.v1_rows import decode_gaps, read_inputs, read_instances, read_lists

FLOATS = Signature((Field("a b", "float"), Field('q"', "float"), Field("c", "float")))
MIXED = Signature(
    (
        Field("hour", "int"),
        Field("late", "bool"),
        Field("origin", "string"),
        Field("image_bytes", "bytes"),
        Field("delay", "float", nullable=False),
        Field("pixels", "tensor", shape=(2, 2)),
    )
)
ROW: dict[str, Any] = {
    "hour": 7,
    "late": True,
    "origin": "JFK",
    "image_bytes": {"b64": "/w=="},
    "delay": 1.5,
    "pixels": [[1, 2], [3, 4]],
}


def all_of(signature: Signature) -> frozenset[str]:
    return frozenset(signature.names)


def instances(rows: Any, signature: Signature, needed: frozenset[str] | None = None) -> Features:
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    return read_instances(body, signature, all_of(signature) if needed is None else needed)


def inputs(columns: Any, signature: Signature, needed: frozenset[str] | None = None) -> Features:
    body = json.dumps(columns).encode()
    return read_inputs(body, signature, all_of(signature) if needed is None else needed)


cells = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)
tables = st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5)


@given(tables)
def test_every_form_of_numbers_gives_the_same_matrix(rows: list[tuple[Any, Any, Any]]) -> None:
    """Breaks when a form mixes up the order of columns, or loses a gap."""
    expected = np.array(rows, dtype=np.float64)
    names = FLOATS.names
    turned = list(reversed(names))
    forms = [
        instances([dict(zip(names, row, strict=True)) for row in rows], FLOATS),
        instances([dict(zip(turned, row[::-1], strict=True)) for row in rows], FLOATS),
        instances([list(row) for row in rows], FLOATS),
        inputs({name: [row[at] for row in rows] for at, name in enumerate(names)}, FLOATS),
        inputs({name: [[row[at]] for row in rows] for at, name in enumerate(names)}, FLOATS),
        inputs([list(row) for row in rows], FLOATS),
        read_lists(
            json.dumps([row[::-1] for row in rows]).encode(), FLOATS, turned, all_of(FLOATS)
        ),
    ]
    for found in forms:
        assert found.matrix is not None
        np.testing.assert_array_equal(found.matrix, expected)


def test_every_kind_of_column_in_every_form() -> None:
    gap = {**dict.fromkeys(ROW), "delay": 0, "pixels": [[0, 0], [0, 0]]}
    rows = [ROW, gap]
    expected = instances(rows, MIXED).table()
    for found in (
        instances([list(row.values()) for row in rows], MIXED),
        inputs({name: [row[name] for row in rows] for name in ROW}, MIXED),
    ):
        assert found.table().equals(expected)
    first, second = expected.to_pylist()
    assert first["image_bytes"] == b"\xff"
    assert (first["hour"], first["late"], first["origin"]) == (7, True, "JFK")
    assert np.ravel(first["pixels"]).tolist() == [1, 2, 3, 4]
    assert second["hour"] is None
    assert second["image_bytes"] is None


@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        (Field("x", "float"), [1.5, None, 2], [1.5, None, 2.0]),
        (Field("x", "int"), [7.0, None], [7, None]),  # how pandas writes ints with a gap
        (Field("x", "string"), ["a", {"b64": base64.b64encode("ü".encode()).decode()}], ["a", "ü"]),
        (Field("x", "string"), [{"b64": "YQ=="}], ["a"]),
        (Field("x", "bytes"), [{"b64": "YQ=="}, None], [b"a", None]),
        (Field("x", "bytes"), ["YQ=="], [b"a"]),
        (Field("x", "bool"), [True, None], [True, None]),
        (Field("x", "tensor", shape=(2,)), [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    ],
)
def test_one_column_takes_bare_values(field: Field, values: Any, expected: Any) -> None:
    one = Signature((field,))
    for found in (instances(values, one), inputs(values, one), inputs({"x": values}, one)):
        column = found.table().column("x").to_pylist()
        got = [each.tolist() if hasattr(each, "tolist") else each for each in column]
        assert [np.ravel(each).tolist() for each in got] == [
            np.ravel(each).tolist() for each in expected
        ]


def test_what_no_version_reads_may_be_left_out_by_name() -> None:
    needed = frozenset({"c"})
    for found in (instances([{"c": 1}], FLOATS, needed), inputs({"c": [1]}, FLOATS, needed)):
        assert found.matrix is not None
        assert np.isnan(found.matrix[0, :2]).all()
        assert found.matrix[0, 2] == 1
    for name in ("origin", "pixels"):
        rest = {key: value for key, value in ROW.items() if key != name}
        table = instances([rest], MIXED, all_of(MIXED) - {name}).table()
        assert table.column(name).null_count == 1
    with pytest.raises(Invalid, match="delay"):  # not nullable, whoever reads it
        instances([{key: ROW[key] for key in ROW if key != "delay"}], MIXED, frozenset())
    with pytest.raises(Invalid, match="delay"):
        inputs({"hour": [7]}, MIXED, frozenset())


@pytest.mark.parametrize(
    "body",
    [
        b"null", b"7", b'"x"', b"[]", b"[[]]", b"[{}]", b"[1, 2, 3]", b"[[1, 2]]",
        b"[[1, 2, 3, 4]]",
        b"[[1, 2, 3], [1, 2]]", b'[["1", 2, 3]]', b"[[true, 2, 3]]", b"[[[1], [2], [3]]]",
        b"[[1, 2, 1e999]]", b'[{"a b": 1, "c": 2}]', b'[{"a b": 1, "q\\"": 1, "c": 2, "d": 3}]',
        b'[{"a b": "x", "q\\"": 1, "c": 2}]', b"[[1, 2, 3], null]", b"[null]", b"[[1, 2, 3]",
        b"[[1, 2, Infinity]]", b'[{"a b": [1], "q\\"": [1], "c": [2]}]', b"\xff", b"[[" * 5000,
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="predict needs"):
        read_instances(body, FLOATS, all_of(FLOATS))


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"a b": [1], 'q"': [1]},
        {"a b": [1], 'q"': [1], "c": [1, 2]},
        {"a b": [], 'q"': [], "c": []},
        {"a b": [1], 'q"': [1], "c": [1], "d": [1]},
        {"a b": 1, 'q"': 1, "c": 1},
        {"a b": [1], 'q"': [1], "c": [[1, 2]]},
        {"a b": [1], 'q"': [1], "c": [[[1]]]},
        {"a b": [1], 'q"': [1], "c": ["x"]},
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: Any) -> None:
    with pytest.raises(Invalid, match="predict needs"):
        inputs(columns, FLOATS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hour", 7.5), ("hour", 2**63), ("hour", 1e300), ("hour", True), ("hour", "7"),
        ("late", 1), ("origin", 7), ("origin", {"b64": "/w=="}), ("image_bytes", {"b64": "?"}),
        ("image_bytes", "no base64"), ("image_bytes", {"b64": "YQ==", "more": 1}), ("delay", None),
        ("delay", "1"), ("pixels", [[1, 2], [3]]),
        ("pixels", [1, 2, 3, 4]), ("pixels", [[1, None]]),
        ("pixels", [[[1]]]), ("pixels", []), ("pixels", [[1, 2, 3], [4, 5, 6]]),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(name: str, value: Any) -> None:
    for rows in ([{**ROW, name: value}], [list({**ROW, name: value}.values())]):
        with pytest.raises(Invalid):
            instances(rows, MIXED)
    with pytest.raises(Invalid):
        inputs({key: [value if key == name else ROW[key]] for key in ROW}, MIXED)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    """Breaks when some bytes raise anything but the protocol's own error."""
    for signature in (FLOATS, MIXED, Signature((Field("x", "string"),))):
        for read in (read_instances, read_inputs):
            try:
                found = read(body, signature, all_of(signature))
            except Invalid:
                continue
            assert found.n_rows > 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*MIXED.names, "b64", "a b"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    for signature in (FLOATS, MIXED, Signature((Field("x", "bytes"),))):
        for read in (instances, inputs):
            try:
                assert read(value, signature).n_rows > 0
            except Invalid:
                continue


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[NaN]", [None]),
        (b'["NaN", NaN, "a\\"NaN", {"NaN": NaN}]', ["NaN", None, 'a"NaN', {"NaN": None}]),
        (b"[1,\nNaN]", [1, None]),
    ],
)
def test_the_bare_token_is_a_gap_but_never_within_a_text(body: bytes, expected: Any) -> None:
    assert decode_gaps(body, msgspec.json.Decoder()) == expected


@pytest.mark.parametrize("body", [b"[-NaN]", b"[NaNa]", b'["NaN', b'"' * 9 + b"NaN", b"[Infinity]"])
def test_other_tokens_stay_wrong(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_gaps(body, msgspec.json.Decoder())
