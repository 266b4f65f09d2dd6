"""Attributes: columns that are kept beside the rows for slices and groups, never as inputs."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.core.spec import ModelSpec, Signature
from renewal.data.columns import ATTRIBUTE
from renewal.data.frame import conform, require_column, signature_of
from renewal.data.tensors import is_tensor


def attributes_in(schema: pa.Schema) -> Signature:
    """Return the attributes that a rows table keeps, by the names that their owner gave them.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows table.

    Examples
    --------
    >>> attributes_in(pa.schema([("hour", pa.float64()), ("renewal_attribute_sex", pa.string())]))
    Signature(fields=(Field(name='sex', kind='string', nullable=True, shape=()),))
    """
    kept = {
        field.name.removeprefix(ATTRIBUTE): field.type
        for field in schema
        if field.name.startswith(ATTRIBUTE)
    }
    return signature_of(pa.schema(kept).empty_table())


def attributes_of(
    table: pa.Table, spec: ModelSpec, *, known: Signature | None = None, who: str
) -> pa.Table:
    """Return the attributes of a user's table, named as the rows table names them.

    Parameters
    ----------
    table : pyarrow.Table
        As `renewal.data.frame.as_table` returns it, n rows.
    spec : ModelSpec
        Names the attributes.
    known : Signature or None
        The attributes that the feed keeps (`attributes_in`), whose types are binding; None:
        it keeps none yet.
    who : str
        The verb that asks, for messages.

    Returns
    -------
    pyarrow.Table
        n rows. A column without a single value has no type of its own: it gets the known
        one, or is left out until a value comes. A row may lack a value.

    Raises
    ------
    Invalid
        On a missing column (a typing error would else go unseen until a guard needs it),
        bytes or tensors, or values of another type than the feed keeps.

    Examples
    --------
    >>> spec = ModelSpec("loans", "binary", "repaid", attributes=("sex", "age"))
    >>> came = pa.table({"income": [1.5], "sex": ["F"], "age": pa.nulls(1)})
    >>> attributes_of(came, spec, who="demo").to_pydict()
    {'renewal_attribute_sex': ['F']}
    """
    kinds = {field.name: field for field in (known or Signature(())).fields}
    columns: dict[str, pa.ChunkedArray] = {}
    for name in spec.attributes:
        column = require_column(table, name, who=who, use="attribute")
        if name not in kinds and (pa.types.is_binary(column.type) or is_tensor(column.type)):
            raise Invalid(
                who,
                needs=f"numbers, booleans or text in the attribute {name!r}",
                came=str(column.type),
                todo="An attribute is for slices and groups: name the value that you slice by.",
                column=name,
            )
        if pc.all(pc.is_null(column, nan_is_null=True)).as_py():
            if name not in kinds:
                continue
            column = pa.chunked_array([pa.nulls(table.num_rows)])
        alone = pa.table({name: column})
        wanted = Signature((kinds[name],)) if name in kinds else signature_of(alone)
        columns[ATTRIBUTE + name] = conform(alone, wanted, who=who).column(name)
    return pa.table(columns)


def attributes_beside(stamped: pa.Table, names: Sequence[str]) -> pa.Table | None:
    """Return the attributes of rows of the rows table; None where none is declared.

    Parameters
    ----------
    stamped : pyarrow.Table
        Rows as they are kept, n rows.
    names : sequence of str
        The attributes that the spec declares.

    Returns
    -------
    pyarrow.Table or None
        n rows with a column for each name; nulls where the table has no such column, as
        before the first value and in rows that came as requests.

    Examples
    --------
    >>> attributes_beside(pa.table({"hour": [7.0]}), ["sex"]).to_pydict()
    {'sex': [None]}
    """
    if not names:
        return None
    kept = [ATTRIBUTE + name for name in names]
    nothing = pa.nulls(stamped.num_rows, pa.string())
    columns = [stamped.column(each) if each in stamped.column_names else nothing for each in kept]
    return pa.table(columns, names=list(names))
