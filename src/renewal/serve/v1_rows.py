"""Rows in JSON as TensorFlow Serving, KServe V1 and MLflow write them: by row or by column.

By row (``instances``) is a list of objects by column name, of lists in the order of the
columns, or of bare values where there is one column. By column (``inputs``) is an object of
name and column; in its place the same lists may stand.

JSON has no bytes: a text or bytes column takes ``{"b64": "..."}``, and a bytes column plain
base64 text too, as in V2. A gap is ``null``; the bare token ``NaN``, which Python's own
encoder writes for one, is taken as a gap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.data.frame import conform
from renewal.serve.features import Features, is_all_floats
from renewal.serve.oip import decode_json
from renewal.serve.v1_cells import (
    WHO,
    arrow_column,
    bad_rows,
    box_decoder,
    cell_decoder,
    decoded,
    has_plain_names,
    list_decoder,
    object_decoder,
    row_decoder,
)

_FIRST = re.compile(rb"\s*\[\s*(.)", re.DOTALL)
# Texts are skipped whole, closed or not; every byte is looked at once.
_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|\bNaN\b', re.DOTALL)


def decode_gaps(body: bytes, decoder: msgspec.json.Decoder[Any], *, who: str = WHO) -> Any:
    """Decode a JSON body in which a gap may be the bare token ``NaN``.

    Examples
    --------
    >>> decode_gaps(b'{"NaN": [1.5, NaN]}', msgspec.json.Decoder())
    {'NaN': [1.5, None]}
    """
    if b"NaN" in body:
        body = _NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body)
    return decode_json(body, decoder, who=who)


def read_instances(data: Any, interface: Signature, needed: frozenset[str]) -> Features:
    """Read rows: objects by column name, lists in column order, or values of one column.

    Parameters
    ----------
    data : bytes-like
        JSON.
    interface : Signature
        The columns of the model.
    needed : frozenset of str
        Those that a version reads. An object may leave out the other nullable ones.

    Returns
    -------
    Features
        A matrix where every column is a float.

    Raises
    ------
    Invalid
        On another form, an unknown, missing or wrong value, or no row.

    Examples
    --------
    >>> both = Signature((Field("hour", "float"), Field("delay", "float")))
    >>> body = b'[{"hour": 7, "delay": null}, {"delay": 1.5, "hour": 8}]'
    >>> read_instances(body, both, frozenset(both.names)).matrix
    array([[7. , nan],
           [8. , 1.5]])
    >>> read_instances(b"[[7, 2.5]]", both, frozenset(both.names)).matrix
    array([[7. , 2.5]])
    """
    found = _FIRST.match(data)
    first = found[1] if found is not None else b""
    if first == b"]":
        raise bad_rows("at least one row", "an empty list")
    if first == b"{" and not _is_text_in_base64(data, interface):
        return _of_objects(data, interface, needed)
    if first == b"[" and not _is_one_tensor(interface):
        return read_lists(data, interface, interface.names, needed)
    if first and len(interface.fields) == 1:
        field = interface.fields[0]
        return _from_columns({field.name: decoded(data, list_decoder(field))}, interface)
    raise bad_rows("rows that are objects by column name, or lists in the order of columns", None)


def read_lists(
    data: Any, interface: Signature, names: Sequence[str], needed: frozenset[str]
) -> Features:
    """Read rows that are lists, in the order of the columns that are named.

    Examples
    --------
    >>> both = Signature((Field("hour", "float"), Field("delay", "float")))
    >>> read_lists(b"[[1.5, 7]]", both, ("delay", "hour"), frozenset(both.names)).matrix
    array([[7. , 1.5]])
    """
    check_names(names, interface, needed)
    names = tuple(names)
    if names == interface.names and is_all_floats(interface):
        lists: list[list[float | None]] = decoded(data, _MATRIX)
        n_columns = len(names)
        for at, row in enumerate(lists):
            if len(row) != n_columns:
                raise bad_rows(f"{n_columns} values in every row", f"{len(row)} in row {at}")
        if not lists:
            raise bad_rows("at least one row", "an empty list")
        return Features(interface, matrix=np.array(lists, dtype=np.float64))
    return rows_of(decoded(data, row_decoder(interface, names)), interface, names)


def read_inputs(data: Any, interface: Signature, needed: frozenset[str]) -> Features:
    """Read columns: an object of name and values, each of shape [n] or [n, 1]; or rows as lists.

    Parameters
    ----------
    data, interface, needed
        As for `read_instances`.

    Raises
    ------
    Invalid
        As `read_instances`, and on columns of different length.

    Examples
    --------
    >>> both = Signature((Field("hour", "int"), Field("origin", "string")))
    >>> read_inputs(b'{"hour": [7, 8], "origin": [["JFK"], null]}', both, frozenset())
    Traceback (most recent call last):
    ...
    renewal.core.errors.Invalid: predict needs rows ... got Expected `str | object | null`...
    >>> body = b'{"hour": [[7], [8]], "origin": ["JFK", null]}'
    >>> read_inputs(body, both, frozenset(both.names)).table().to_pylist()
    [{'hour': 7, 'origin': 'JFK'}, {'hour': 8, 'origin': None}]
    """
    if not bytes(memoryview(data)[:64]).lstrip().startswith(b"{"):
        return read_instances(data, interface, needed)
    raw: dict[str, msgspec.Raw] = decoded(data, _BY_NAME)
    check_names(tuple(raw), interface, needed)
    columns = {
        field.name: _column(raw[field.name], field)
        for field in interface.fields
        if field.name in raw
    }
    return _from_columns(columns, interface)


def check_names(names: Sequence[str], interface: Signature, needed: frozenset[str]) -> None:
    """Refuse columns that the model does not have, and a lack of such as it reads."""
    if tuple(names) == interface.names:
        return
    there = set(names)
    known = set(interface.names)
    lacking = [
        field.name
        for field in interface.fields
        if field.name not in there and (field.name in needed or not field.nullable)
    ]
    unknown = [name for name in names if name not in known]
    if lacking or unknown or len(there) < len(names):
        came = [*(f"no {name!r}" for name in lacking), *map(repr, unknown)]
        raise bad_rows(f"the columns {_listed(interface.names)}, each once", _listed(came))


def _of_objects(data: Any, interface: Signature, needed: frozenset[str]) -> Features:
    if has_plain_names(interface):
        return rows_of(decoded(data, object_decoder(interface, needed)), interface)
    rows: list[dict[str, msgspec.Raw]] = decoded(data, _OBJECTS)
    for row in rows:
        check_names(tuple(row), interface, needed)
    columns = {
        field.name: [
            decoded(row[field.name], cell_decoder(field)) if field.name in row else None
            for row in rows
        ]
        for field in interface.fields
    }
    return _from_columns(columns, interface)


def rows_of(
    rows: Sequence[Any], interface: Signature, names: Sequence[str] | None = None
) -> Features:
    """Return decoded rows as features; their attributes are in the order of `names`."""
    if not rows:
        raise bad_rows("at least one row", "an empty list")
    if names is None or tuple(names) == interface.names:
        names = interface.names
        if is_all_floats(interface):
            values = list(map(_getter(len(names)), rows))
            matrix = np.array(values, dtype=np.float64).reshape(len(rows), len(names))
            return Features(interface, matrix=matrix)
    columns = {name: list(map(attrgetter(f"f{at}"), rows)) for at, name in enumerate(names)}
    return _from_columns(columns, interface)


def _from_columns(columns: dict[str, list[Any]], interface: Signature) -> Features:
    """Return decoded columns as features; what is not there is null."""
    sizes = {len(column) for column in columns.values()}
    if len(sizes) != 1 or 0 in sizes:
        came = ", ".join(f"{len(column)} in {name!r}" for name, column in columns.items())
        raise bad_rows("columns of one length, at least 1", came or "no column")
    n_rows = sizes.pop()
    if is_all_floats(interface):
        matrix = np.full((n_rows, len(interface.fields)), np.nan)
        for at, field in enumerate(interface.fields):
            if field.name in columns:
                matrix[:, at] = columns[field.name]
        return Features(interface, matrix=matrix)
    arrays = {
        field.name: arrow_column(columns[field.name], field)
        if field.name in columns
        else pa.nulls(n_rows)
        for field in interface.fields
    }
    return Features(interface, table=conform(pa.table(arrays), interface, who=WHO))


_MATRIX = msgspec.json.Decoder(list[list[float | None]])
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_BY_NAME = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _column(raw: msgspec.Raw, field: Field) -> list[Any]:
    """Read a column, flat or of lists with one value each."""
    try:
        flat: list[Any] = decoded(raw, list_decoder(field))
    except Invalid:
        if field.kind == "tensor":
            raise
        try:
            boxes: list[list[Any]] = box_decoder(field).decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            boxes = [[]]
        if any(len(box) != 1 for box in boxes):
            raise  # the message about the flat form says what is wrong
        return [box[0] for box in boxes]
    return flat


@lru_cache(maxsize=64)
def _getter(n_columns: int) -> Callable[[Any], Any]:
    return attrgetter(*(f"f{at}" for at in range(n_columns)))


def _is_one_tensor(interface: Signature) -> bool:
    return len(interface.fields) == 1 and interface.fields[0].kind == "tensor"


def _is_text_in_base64(data: Any, interface: Signature) -> bool:
    """Say whether objects are not rows but the values of the only column, which holds bytes."""
    if len(interface.fields) != 1 or interface.fields[0].kind not in {"string", "bytes"}:
        return False
    return interface.names != ("b64",) and b'"b64"' in bytes(memoryview(data)[:128])


def _listed(names: Sequence[str], most: int = 12) -> str:
    """Name some things, not hundreds."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
