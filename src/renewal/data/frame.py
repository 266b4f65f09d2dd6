"""Frames at the border: any table becomes Arrow, and Arrow is checked against a signature."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Kind, Signature
from renewal.data.border import arrow_of, canonical
from renewal.data.tensor_values import shape_of, to_tensors, wrong_shape
from renewal.data.tensors import is_tensor, noted_shape, shape_note, tensor_field, tensor_type

_TYPE_OF: dict[Kind, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "bytes": pa.binary(),
}
_KIND_OF: dict[pa.DataType, Kind] = {found: kind for kind, found in _TYPE_OF.items()}


def as_table(data: Any, *, who: str) -> pa.Table:
    """Return any table as Arrow, with one type for each kind of column.

    Integers become 64 bits, floats and decimals float64, every form of text (and
    categories) string, of bytes binary, instants microseconds in UTC; an instant without a
    zone stays so. Lists and tensors stay as they are until `conform` knows what is wanted.

    Parameters
    ----------
    data : table
        pandas, polars or pyarrow; a mapping of names to columns, or to scalars for one row;
        a numpy array of shape (n_rows, n_columns), whose columns are called x0, x1, ..., or
        of more dimensions: one tensor column x0. A column of a mapping may be an array of
        shape (n_rows, ...) or a list of arrays of one shape: a tensor column.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    pyarrow.Table
        Contiguous columns, no metadata but the shapes of tensors; a pandas index is not a
        column.

    Raises
    ------
    Invalid
        On something that is no table, on a name that comes twice, on a column of mixed types.

    Examples
    --------
    >>> as_table({"hour": [7, 8], "origin": ["EWR", None]}, who="demo").schema
    hour: int64
    origin: string
    >>> as_table({"prediction_id": "P-0", "label": True}, who="demo").num_rows
    1
    """
    table = arrow_of(data, who)
    names = [str(name) for name in table.column_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(
            who,
            needs="every column once",
            came=f"{', '.join(map(repr, twice))} more than once",
            todo="Rename or drop the repeated columns.",
            columns=twice,
        )
    fields = []
    columns = []
    for name, field, column in zip(names, table.schema, table.columns, strict=True):
        columns.append(canonical(column, name, who))
        shape = noted_shape(field)
        fields.append(pa.field(name, columns[-1].type, metadata=shape_note(shape)))
    return pa.table(columns, schema=pa.schema(fields))


def signature_of(table: pa.Table, not_inputs: Collection[str] = ()) -> Signature:
    """Return the input columns of a table: what is left without `not_inputs`, in order.

    Parameters
    ----------
    table : pyarrow.Table
        As `as_table` returns it.
    not_inputs : collection of str
        Columns that are no inputs, such as ``spec.not_inputs``.

    Returns
    -------
    Signature
        Every field nullable: that January had no gap does not mean that July has none,
        and the model itself says what it cannot take. A column of nulls only is a float, one
        of lists of numbers a tensor.

    Raises
    ------
    Invalid
        On a column of a type that no model takes, such as an instant, or of lists that
        differ in shape.

    Examples
    --------
    >>> signature_of(pa.table({"a": [1.5], "late": [True]}), {"late"})
    Signature(fields=(Field(name='a', kind='float', nullable=True, shape=()),))
    """
    who = "signature_of"
    return Signature(
        tuple(
            Field(field.name, "tensor", shape=shape_of(field, table.column(at), who=who))
            if is_tensor(field.type)
            else Field(field.name, _kind(field, who))
            for at, field in enumerate(table.schema)
            if field.name not in not_inputs
        )
    )


@lru_cache(maxsize=256)
def schema_of(signature: Signature) -> pa.Schema:
    """Return the Arrow schema of the columns of a signature.

    Examples
    --------
    >>> schema_of(Signature((Field("a", "int"),)))
    a: int64
    """
    return pa.schema(
        [
            tensor_field(field)
            if field.kind == "tensor"
            else pa.field(field.name, _TYPE_OF[field.kind])
            for field in signature.fields
        ]
    )


def conform(table: pa.Table, signature: Signature, *, who: str) -> pa.Table:
    """Return the table with exactly the columns of a signature, in its order and types.

    Numbers are converted only where nothing is lost: int to float, and a float column of
    whole numbers to int (pandas stores an int column with one gap as float). Only a tensor is
    float32 by its kind: see `renewal.data.tensor_values.to_tensors` for what is rounded.

    Parameters
    ----------
    table : pyarrow.Table
        As `as_table` returns it.
    signature : Signature
        What is needed.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        On a missing or unknown column (the nearest name is offered), a wrong type or shape,
        or a null in a field that is not nullable. `fields["column"]` names the column.

    Notes
    -----
    About 10 microseconds where the table already has the schema.

    Examples
    --------
    >>> needed = Signature((Field("hour", "float"), Field("origin", "string")))
    >>> conform(pa.table({"origin": ["EWR"], "hour": [7]}), needed, who="demo").schema
    hour: double
    origin: string
    """
    schema = schema_of(signature)
    if not table.schema.equals(schema) or _has_tensor(signature):
        _check_names(table.column_names, signature, who)
        columns = [_converted(table, field, who) for field in signature.fields]
        table = pa.table(columns, schema=schema)
    for field in signature.fields:
        if field.nullable:
            continue
        if pc.any(pc.is_null(table.column(field.name), nan_is_null=True)).as_py():
            raise Invalid(
                who,
                needs=f"a value in every row of the column {field.name!r}",
                came="a missing one",
                todo="Fill the gap before you send the row.",
                column=field.name,
            )
    return table


def conform_part(table: pa.Table, signature: Signature, *, who: str) -> pa.Table:
    """Return as `conform` does the columns of a signature from a table that may hold more.

    Parameters
    ----------
    table, signature, who
        As for `conform`.

    Raises
    ------
    Invalid
        As `conform`, but for columns that the signature does not name.
    """
    there = set(table.column_names)
    if len(there) > len(signature.fields):
        table = table.select([name for name in signature.names if name in there])
    return conform(table, signature, who=who)


def require_column(table: pa.Table, name: str, *, who: str, use: str) -> pa.ChunkedArray:
    """Return a column; raise `Invalid` with the nearest name where there is none.

    Parameters
    ----------
    table : pyarrow.Table
        Where to look.
    name : str
        Of the column.
    who, use : str
        The verb that asks, and what the column is for, for the message.
    """
    if name not in table.column_names:
        raise Invalid(
            who,
            needs=f"the {use} column {name!r}",
            came=_listed(table.column_names),
            todo=_offer(name, table.column_names, "Add it."),
            column=name,
        )
    return table.column(name)


def _kind(field: pa.Field, who: str) -> Kind:
    kind = "float" if pa.types.is_null(field.type) else _KIND_OF.get(field.type)
    if kind is None:
        raise Invalid(
            who,
            needs=f"numbers, booleans, text, bytes or tensors in the input column {field.name!r}",
            came=f"{field.type}",
            todo="Declare it as the model's time, key or group, convert it, or drop it.",
            column=field.name,
        )
    return kind


def _check_names(names: list[str], signature: Signature, who: str) -> None:
    for field in signature.fields:
        if field.name not in names:
            unknown = [name for name in names if name not in signature.names]
            raise Invalid(
                who,
                needs=f"the column {field.name!r} ({field.kind})",
                came=_listed(names),
                todo=_offer(field.name, unknown, "Add it."),
                column=field.name,
            )
    if len(names) == len(signature.fields):
        return
    for name in names:
        if name not in signature.names:
            raise Invalid(
                who,
                needs=f"only the columns {', '.join(signature.names)}",
                came=f"the unknown column {name!r}",
                todo="Drop it, or declare it as the model's time, key, group, sticky or attribute.",
                column=name,
            )


def _has_tensor(signature: Signature) -> bool:
    """Whether a schema of equal types may yet have other shapes."""
    return any(field.kind == "tensor" for field in signature.fields)


def _converted(table: pa.Table, field: Field, who: str) -> pa.ChunkedArray:
    column = table.column(field.name)
    if field.kind == "tensor":
        return _converted_tensor(table.schema.field(field.name), column, field, who)
    wanted, found = _TYPE_OF[field.kind], column.type
    if found == wanted:
        return column
    if pa.types.is_null(found):
        return column.cast(wanted)
    if pa.types.is_integer(found) and field.kind == "float":
        try:
            return column.cast(wanted)
        except pa.ArrowInvalid as error:
            raise _wrong_type(field, "integers beyond 2**53, which no float holds", who) from error
    if pa.types.is_floating(found) and field.kind == "int":
        gaps = pc.if_else(pc.is_nan(column), pa.scalar(None, found), column)
        try:
            return gaps.cast(wanted)
        except pa.ArrowInvalid as error:
            raise _wrong_type(field, "fractions", who) from error
    raise _wrong_type(field, str(found), who)


def _converted_tensor(
    came: pa.Field, column: pa.ChunkedArray, field: Field, who: str
) -> pa.ChunkedArray:
    shape = noted_shape(came)
    if shape is not None and shape != field.shape:
        raise wrong_shape(field, f"shape {shape}", who)
    if pa.types.is_null(column.type):
        return column.cast(tensor_type(field.shape))
    if not is_tensor(column.type):
        raise _wrong_type(field, str(column.type), who)
    return to_tensors(column, field, who=who)


def _wrong_type(field: Field, came: str, who: str) -> Invalid:
    return Invalid(
        who,
        needs=f"{field.kind} values in the column {field.name!r}",
        came=came,
        todo="Send the type of the training data.",
        column=field.name,
    )


def _offer(name: str, among: Collection[str], otherwise: str) -> str:
    near = get_close_matches(name, among, n=1)
    return f"Is it {near[0]!r}?" if near else otherwise


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:12]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"the columns {', '.join(shown)}{more}" if shown else "no columns"
