"""Rows of MLflow: frames as pandas writes them, and CSV."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.serve.mlflow_rows import CsvRows, read_body, read_csv

FLOATS = Signature((Field("a", "float"), Field("b", "float")))
MIXED = Signature(
    (
        Field("hour", "int"),
        Field("late", "bool"),
        Field("origin", "string"),
        Field("image", "bytes"),
        Field("delay", "float", nullable=False),
    )
)
ALL = frozenset(FLOATS.names)
EVERY = frozenset(MIXED.names)
FRAME = pd.DataFrame({"b": [2.5, np.nan], "a": [1.0, -3.0]})
MATRIX = [[1.0, 2.5], [-3.0, np.nan]]


def features(body: dict[str, Any], signature: Signature = FLOATS) -> Any:
    rows, _params = read_body(json.dumps(body).encode())
    return rows.read(signature, frozenset(signature.names))


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": FRAME.to_dict(orient="split")},  # as MLflow's client: NaN is bare
        {"dataframe_split": json.loads(FRAME.to_json(orient="split"))},
        {"dataframe_split": {"data": MATRIX}},
        {"dataframe_split": {"columns": [0, 1], "data": MATRIX}},
        {"dataframe_records": FRAME.to_dict(orient="records")},
        {"instances": FRAME.to_dict(orient="records")},
        {"instances": MATRIX},
        {"inputs": FRAME.to_dict(orient="list")},
        {"inputs": MATRIX},
    ],
)
def test_every_form_gives_the_same_matrix(body: dict[str, Any]) -> None:
    np.testing.assert_array_equal(features(body).matrix, MATRIX)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instances": MATRIX, "inputs": MATRIX},
        {"dataframe_split": None},
        {"dataframe_split": {"columns": ["a", "b"]}},
        {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
        {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a", "c"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": []}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}},
        {"dataframe_records": {"a": [1], "b": [2]}},
        {"dataframe_records": []},
        {"params": {}},
        {"instances": MATRIX, "params": [1]},
    ],
)
def test_a_wrong_body_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        features(body)


def test_params_stand_beside_the_rows() -> None:
    _rows, params = read_body(b'{"inputs": [[1, 2]], "params": {"key": "k"}, "more": 1}')
    assert params == {"key": "k"}


@given(st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=4))
def test_csv_is_read_as_pandas_writes_it(rows: list[tuple[float, float]]) -> None:
    frame = pd.DataFrame(rows, columns=["b", "a"])
    found = read_csv(frame.to_csv(index=False).encode(), FLOATS, ALL)
    np.testing.assert_array_equal(found.matrix, frame[["a", "b"]].to_numpy())


def test_csv_has_every_kind_of_column_but_tensors() -> None:
    text = 'origin,late,hour,image,delay\n"J,F""K",True,7,/w==,1\n,,8.0,,2.5\nnull,false,,YQ==,3\n'
    found = CsvRows(text.encode()).read(MIXED, EVERY).table().to_pylist()
    assert found == [
        {"hour": 7, "late": True, "origin": 'J,F"K', "image": b"\xff", "delay": 1.0},
        {"hour": 8, "late": None, "origin": None, "image": None, "delay": 2.5},
        {"hour": None, "late": False, "origin": None, "image": b"a", "delay": 3.0},
    ]
    assert read_csv(b"hour,delay\n9007199254740993,1\n", MIXED, frozenset()).table().column(
        "hour"
    ).to_pylist() == [2**53 + 1]
    with pytest.raises(Invalid, match="tensors"):
        read_csv(b"x\n1\n", Signature((Field("x", "tensor", shape=(1,)),)), frozenset({"x"}))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b"a,b\n", b"a\n1\n", b"a,b,c\n1,2,3\n", b"a,a\n1,2\n", b"a,b\n1\n",
        b"a,b\n1,2,3\n", b"a,b\nx,2\n", b"1,2\n", b"\xff\xfe", b'a,b\n"1,2\n', b"a,b\n\xff,1\n",
    ],
)  # fmt: skip
def test_wrong_csv_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        read_csv(text, FLOATS, ALL)


@pytest.mark.parametrize(
    "row",
    ["7.5,True,JFK,YQ==,1", "x,True,JFK,YQ==,1", "7,no,JFK,YQ==,1", "7,True,JFK,?,1", "7,,,,"],
)
def test_a_cell_of_another_kind_is_refused(row: str) -> None:
    with pytest.raises(Invalid):
        read_csv(f"hour,late,origin,image,delay\n{row}\n".encode(), MIXED, EVERY)


@given(st.binary(max_size=60) | st.text(alphabet='ab,\n"\r1.x', max_size=40).map(str.encode))
def test_whatever_comes_is_read_or_refused(text: bytes) -> None:
    for signature in (FLOATS, MIXED):
        try:
            assert read_csv(text, signature, frozenset(signature.names)).n_rows > 0
        except Invalid:
            continue


def test_a_body_of_bytes_is_refused_whole() -> None:
    with pytest.raises(Invalid):
        read_body(io.BytesIO(b"\xff\x00").read())


@pytest.mark.parametrize(
    "header",
    [b"," * 50, b"\n\r\n" + b"a," * 50, b'"\n",' + b"a," * 50, b"\xef\xbb\xbf\n" + b"a," * 50],
)
def test_a_header_that_is_too_wide_never_comes_to_arrow(header: bytes) -> None:
    """Breaks when a megabyte of commas stops the event loop for the half minute Arrow takes."""
    # Of Arrow it would hear that the second row is too short.
    with pytest.raises(Invalid, match="needs the columns a, b, each once"):
        read_csv(header + b"\n1\n", FLOATS, ALL)
