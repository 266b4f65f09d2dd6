"""Rows as MLflow's scoring server takes them: four forms of JSON, and CSV with a header."""

from __future__ import annotations

import csv as lines
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import csv

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Kind, Signature
from renewal.data.frame import conform
from renewal.serve.features import Features, is_all_floats
from renewal.serve.v1_cells import bad_rows, decoded, decoded_bytes
from renewal.serve.v1_rows import (
    check_names,
    decode_gaps,
    read_inputs,
    read_instances,
    read_lists,
)

WHO = "invocations"
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_GAPS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>"]  # as pandas reads them
_CSV_TYPES: dict[Kind, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.string(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "bytes": pa.string(),
}


class MlflowRequest(msgspec.Struct):
    """The JSON body of an invocation; keys that it does not know are ignored."""

    dataframe_split: msgspec.Raw = msgspec.Raw()
    dataframe_records: msgspec.Raw = msgspec.Raw()
    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    params: dict[str, Any] | None = None


class Split(msgspec.Struct):
    """A frame as pandas writes it with ``orient="split"``; its index is not read."""

    data: msgspec.Raw
    columns: list[str | int] | None = None


_DECODER = msgspec.json.Decoder(MlflowRequest)
_SPLIT = msgspec.json.Decoder(Split)


@dataclass(frozen=True, slots=True)
class JsonRows:
    """The rows of an invocation in one of the forms of JSON."""

    form: str
    data: msgspec.Raw

    def read(self, interface: Signature, needed: frozenset[str]) -> Features:
        """Return the rows in the columns of a model; see `renewal.serve.query.Source`."""
        if self.form == "dataframe_split":
            return read_split(self.data, interface, needed)
        read = read_inputs if self.form == "inputs" else read_instances
        return read(self.data, interface, needed)


@dataclass(frozen=True, slots=True)
class CsvRows:
    """The rows of an invocation as CSV."""

    data: bytes

    def read(self, interface: Signature, needed: frozenset[str]) -> Features:
        """Return the rows in the columns of a model; see `renewal.serve.query.Source`."""
        return read_csv(self.data, interface, needed)


def read_body(body: bytes) -> tuple[JsonRows, dict[str, Any]]:
    """Read the JSON body of an invocation: its rows and its parameters.

    Raises
    ------
    Invalid
        On a body that does not hold rows in exactly one form.

    Examples
    --------
    >>> rows, params = read_body(b'{"instances": [[1.5]], "params": {"key": "k"}}')
    >>> rows.form, params
    ('instances', {'key': 'k'})
    """
    asked: MlflowRequest = decode_gaps(body, _DECODER, who=WHO)
    there = [form for form in _FORMS if bytes(getattr(asked, form))]
    if len(there) != 1:
        raise Invalid(
            WHO,
            needs=f"exactly one of {', '.join(_FORMS)}",
            came=" and ".join(there) or "none of them",
            todo='Send {"dataframe_split": {"columns": [...], "data": [[...], ...]}}.',
        )
    return JsonRows(there[0], getattr(asked, there[0])), asked.params or {}


def read_split(data: Any, interface: Signature, needed: frozenset[str]) -> Features:
    """Read rows that are lists, with the columns named beside them.

    Columns that are not named, or numbered from 0 as pandas does on its own, are those of the
    model in their order.

    Examples
    --------
    >>> both = Signature((Field("hour", "float"), Field("delay", "float")))
    >>> body = b'{"columns": ["delay", "hour"], "index": [0], "data": [[1.5, 7]]}'
    >>> read_split(body, both, frozenset(both.names)).matrix
    array([[7. , 1.5]])
    """
    asked: Split = decoded(data, _SPLIT)
    names = asked.columns
    if names is None or names == list(range(len(interface.fields))):
        names = list(interface.names)
    return read_lists(asked.data, interface, [str(name) for name in names], needed)


def read_csv(data: bytes, interface: Signature, needed: frozenset[str]) -> Features:
    r"""Read CSV whose first line names the columns; a gap is an empty cell, NA or NaN.

    Parameters
    ----------
    data : bytes
        UTF-8, fields separated by commas. A bytes column holds base64.
    interface, needed
        As for `renewal.serve.v1_rows.read_instances`.

    Raises
    ------
    Invalid
        On other bytes, unknown or missing columns, a cell that is none of its column's kind, or
        a model that reads tensors.

    Examples
    --------
    >>> both = Signature((Field("hour", "int"), Field("origin", "string")))
    >>> read_csv(b"origin,hour\nJFK,7\n,8\n", both, frozenset(both.names)).table().to_pylist()
    [{'hour': 7, 'origin': 'JFK'}, {'hour': 8, 'origin': None}]
    """
    tensors = [field.name for field in interface.fields if field.kind == "tensor"]
    if tensors:
        raise bad_rows("JSON for a model that reads tensors", f"CSV, but {tensors[0]!r} is one")
    options = csv.ConvertOptions(
        column_types={field.name: _CSV_TYPES[field.kind] for field in interface.fields},
        null_values=_GAPS,
        strings_can_be_null=True,
        check_utf8=True,
    )
    _check_width(data, interface, needed)
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
        names = table.column_names  # are decoded only now
    except (pa.ArrowException, UnicodeError) as error:
        raise bad_rows("CSV of UTF-8 with a header", str(error)) from error
    check_names(names, interface, needed)
    if not table.num_rows:
        raise bad_rows("at least one row", "the header only")
    return _features(table, interface)


def _check_width(data: bytes, interface: Signature, needed: frozenset[str]) -> None:
    """Refuse a header that is too wide: Arrow takes half a minute for a megabyte of commas."""
    text = TextIOWrapper(BytesIO(data), "utf-8-sig", newline="")
    try:
        # As Arrow does it, past lines that are empty.
        header = next((line for line in lines.reader(text) if line), [])
    except (UnicodeError, lines.Error) as error:
        raise bad_rows("CSV of UTF-8 with a header", str(error)) from error
    if len(header) > len(interface.fields):
        check_names(header, interface, needed)


def _features(table: pa.Table, interface: Signature) -> Features:
    there = set(table.column_names)
    columns = {
        field.name: _READERS.get(field.kind, _as_it_is)(table.column(field.name), field)
        for field in interface.fields
        if field.name in there
    }
    missing = {name: pa.nulls(table.num_rows) for name in interface.names if name not in there}
    found = conform(pa.table({**columns, **missing}), interface, who=WHO)
    if not is_all_floats(interface):
        return Features(interface, table=found)
    values = [column.to_numpy() for column in found.columns]
    return Features(interface, matrix=np.column_stack(values))


def _as_it_is(column: pa.ChunkedArray, _field: Field) -> pa.ChunkedArray:
    return column


def _whole(column: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    """Read whole numbers, also as pandas writes them beside a gap: 7.0."""
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        try:
            return column.cast(pa.float64())
        except pa.ArrowInvalid as error:
            raise bad_rows(f"whole numbers in the column {field.name!r}", str(error)) from error


def _binary(column: pa.ChunkedArray, field: Field) -> pa.Array:
    return pa.array(decoded_bytes(column.to_pylist(), field), pa.binary())


_READERS: dict[Kind, Callable[[pa.ChunkedArray, Field], Any]] = {"int": _whole, "bytes": _binary}
