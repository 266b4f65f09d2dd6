"""The cells of rows in JSON: how a column's kind is written, and what becomes of it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Kind, Signature
from renewal.data.tensor_values import arrow_tensors

WHO = "predict"
# msgspec compares names as they stand in the JSON; of such it would have to undo escapes.
_ESCAPED = frozenset('"\\') | {chr(code) for code in range(32)}


class Base64(msgspec.Struct, forbid_unknown_fields=True):
    """Bytes within JSON."""

    b64: str


_WHOLE = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_CELLS: dict[Kind, Any] = {
    "float": float | None,
    "int": _WHOLE | float | None,
    "bool": bool | None,
    "string": str | Base64 | None,
    "bytes": str | Base64 | None,
}


def bad_rows(needs: str, came: str | None) -> Invalid:
    """Return the error about rows."""
    return Invalid(
        WHO,
        needs=needs,
        came=came or "something else",
        todo="GET /v2/models/NAME lists the columns of a model and their types.",
    )


def decoded(data: Any, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Decode JSON, or raise `Invalid` saying where it does not fit."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_rows("rows that fit the columns of the model", str(error)) from error


@lru_cache(maxsize=256)
def cell_decoder(field: Field) -> msgspec.json.Decoder[Any]:
    """Return the decoder of one cell of a column."""
    return msgspec.json.Decoder(cell_of(field))


@lru_cache(maxsize=256)
def list_decoder(field: Field) -> msgspec.json.Decoder[list[Any]]:
    """Return the decoder of a column as a list."""
    return msgspec.json.Decoder(GenericAlias(list, (cell_of(field),)))


@lru_cache(maxsize=256)
def box_decoder(field: Field) -> msgspec.json.Decoder[list[list[Any]]]:
    """Return the decoder of a column as lists within a list."""
    box: Any = GenericAlias(list, (cell_of(field),))
    return msgspec.json.Decoder(GenericAlias(list, (box,)))


@lru_cache(maxsize=256)
def object_decoder(interface: Signature, needed: frozenset[str]) -> msgspec.json.Decoder[list[Any]]:
    """Return the decoder of objects by column name; what no version reads may be missing.

    The attributes of an object are ``f0``, ``f1`` and so on, in the order of the columns.
    """
    fields: list[Any] = [
        (f"f{at}", cell_of(field), None)
        if field.nullable and field.name not in needed
        else (f"f{at}", cell_of(field))
        for at, field in enumerate(interface.fields)
    ]
    names = {f"f{at}": name for at, name in enumerate(interface.names)}
    row: Any = msgspec.defstruct(
        "Row", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
    )
    return msgspec.json.Decoder(GenericAlias(list, (row,)))


@lru_cache(maxsize=256)
def row_decoder(interface: Signature, names: tuple[str, ...]) -> msgspec.json.Decoder[list[Any]]:
    """Return the decoder of lists in the order of some columns."""
    by_name = {field.name: field for field in interface.fields}
    fields = [(f"f{at}", cell_of(by_name[name])) for at, name in enumerate(names)]
    row: Any = msgspec.defstruct(
        "Row", fields, array_like=True, forbid_unknown_fields=True, gc=False
    )
    return msgspec.json.Decoder(GenericAlias(list, (row,)))


def cell_of(field: Field) -> Any:
    """Return the type of a column's cells, for msgspec; any may be null."""
    if field.kind != "tensor":
        return _CELLS[field.kind]
    kind: Any = float
    for _ in field.shape:
        kind = GenericAlias(list, (kind,))
    return kind | None


def arrow_column(values: list[Any], field: Field) -> pa.Array:
    """Return the decoded cells of a column as Arrow.

    Raises
    ------
    Invalid
        On a fraction among whole numbers, text that is no base64 or no UTF-8, or a tensor of
        another shape.

    Examples
    --------
    >>> arrow_column([7.0, None], Field("hour", "int")).to_pylist()
    [7, None]
    """
    if all(value is None for value in values):
        return pa.nulls(len(values))
    return _ARRAYS[field.kind](values, field)


def _ints(values: list[Any], field: Field) -> pa.Array:
    """Take whole floats, too: an int column with a gap is one of floats in pandas."""
    for value in values:
        if isinstance(value, float) and not (value.is_integer() and abs(value) < 2**53):
            raise bad_rows(f"whole numbers in the column {field.name!r}", repr(value))
    return pa.array([None if value is None else int(value) for value in values], pa.int64())


def _texts(values: list[Any], field: Field) -> pa.Array:
    try:
        found = [
            _bytes(value.b64, field).decode() if isinstance(value, Base64) else value
            for value in values
        ]
        return pa.array(found, pa.string())
    except UnicodeError as error:
        raise bad_rows(f"texts of UTF-8 in the column {field.name!r}", str(error)) from error


def decoded_bytes(values: list[Any], field: Field) -> list[bytes | None]:
    """Return the cells of a bytes column, which are base64 texts, or objects that hold one."""
    return [
        None if value is None else _bytes(getattr(value, "b64", value), field) for value in values
    ]


def _bytes(text: str, field: Field) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one
        needs = f"base64 (RFC 4648, with '+', '/' and '=') in the column {field.name!r}"
        raise bad_rows(needs, str(error)) from error


def _tensors(values: list[Any], field: Field) -> pa.Array:
    try:
        found = np.array(values, dtype=np.float64)
    except (ValueError, TypeError) as error:  # lists of unequal length, or a null
        raise bad_rows(f"{_shaped(field)}, without nulls", str(error)) from error
    if found.shape[1:] != field.shape:
        raise bad_rows(_shaped(field), f"values of shape {list(found.shape[1:])}")
    return arrow_tensors(found, field.name, who=WHO)


_ARRAYS: dict[Kind, Callable[[list[Any], Field], pa.Array]] = {
    "float": lambda values, _: pa.array(values, pa.float64()),
    "int": _ints,
    "bool": lambda values, _: pa.array(values, pa.bool_()),
    "string": _texts,
    "bytes": lambda values, field: pa.array(decoded_bytes(values, field), pa.binary()),
    "tensor": _tensors,
}


def has_plain_names(interface: Signature) -> bool:
    """Say whether `object_decoder` can be had: no name holds what JSON escapes."""
    return all(_ESCAPED.isdisjoint(name) for name in interface.names)


def _shaped(field: Field) -> str:
    return f"in the column {field.name!r} lists of shape {list(field.shape)}"
