"""Tensor columns: numbers of one shape in every row, however a table brings them.

Outside, a tensor comes as a numpy array, an Arrow tensor or a list of lists. Inside, it is
one fixed-size list of float32 a row, in row-major order, and its shape stands in the metadata
of the Arrow field and in the model's signature. Delta tables have no fixed-size list: there it
is a plain list, and the metadata say how to read it.
"""

from __future__ import annotations

import json
from math import prod

import pyarrow as pa

from renewal.core.errors import Corrupt
from renewal.core.spec import Field

SHAPE = b"renewal.shape"
"""The metadata key of an Arrow field that holds the shape of a tensor column."""

Shape = tuple[int, ...]


def tensor_type(shape: Shape) -> pa.DataType:
    """Return the Arrow type of a tensor column.

    Examples
    --------
    >>> tensor_type((3, 2))
    FixedSizeListType(fixed_size_list<item: float>[6])
    """
    return pa.list_(pa.float32(), prod(shape))


def tensor_field(field: Field) -> pa.Field:
    """Return the Arrow field of a tensor column, its shape among the metadata."""
    return pa.field(field.name, tensor_type(field.shape), metadata=shape_note(field.shape))


def shape_note(shape: Shape | None) -> dict[bytes, str] | None:
    """Return the metadata of an Arrow field that note a shape; None: nothing to note.

    Examples
    --------
    >>> shape_note((3, 2)), shape_note(None)
    ({b'renewal.shape': '[3, 2]'}, None)
    """
    return None if shape is None else {SHAPE: json.dumps(list(shape))}


def noted_shape(field: pa.Field) -> Shape | None:
    """Return the shape that an Arrow field notes, or None.

    Examples
    --------
    >>> noted_shape(tensor_field(Field("pixels", "tensor", shape=(3, 2)))), noted_shape(
    ...     pa.field("hour", pa.float64())
    ... )
    ((3, 2), None)
    """
    noted = (field.metadata or {}).get(SHAPE)
    return None if noted is None else tuple(json.loads(noted))


def is_tensor(found: pa.DataType) -> bool:
    """Return whether a column of this type can be a tensor: lists, in the end of numbers.

    Examples
    --------
    >>> is_tensor(pa.list_(pa.list_(pa.uint8(), 2))), is_tensor(pa.list_(pa.string()))
    (True, False)
    """
    if isinstance(found, pa.FixedShapeTensorType):
        return is_tensor(found.storage_type)
    if not is_list(found):
        return False
    while is_list(found):
        found = found.value_type
    return bool(
        pa.types.is_floating(found)
        or pa.types.is_integer(found)
        or pa.types.is_boolean(found)
        or pa.types.is_null(found)
    )


def is_opaque(found: pa.DataType) -> bool:
    """Return whether a conformed column holds bytes or tensors, whose values say nothing alone.

    Examples
    --------
    >>> is_opaque(pa.binary()), is_opaque(tensor_type((2,))), is_opaque(pa.string())
    (True, True, False)
    """
    return bool(pa.types.is_binary(found) or pa.types.is_fixed_size_list(found))


def reread(table: pa.Table) -> pa.Table:
    """Return a table of a Delta file with its lists as the tensors that they were.

    Parameters
    ----------
    table : pyarrow.Table
        With the metadata of its fields.

    Raises
    ------
    Corrupt
        When a list has another length than its shape.

    Examples
    --------
    >>> field = tensor_field(Field("a", "tensor", shape=(2,)))
    >>> stored = pa.schema([field.with_type(pa.list_(pa.float32()))])
    >>> reread(pa.table([pa.array([[1, 2]], stored[0].type)], schema=stored)).schema[0].type
    FixedSizeListType(fixed_size_list<item: float>[2])
    """
    for at, field in enumerate(table.schema):
        shape = noted_shape(field)
        if shape is not None and field.type != tensor_type(shape):
            whole = field.with_type(tensor_type(shape))
            try:
                table = table.set_column(at, whole, table.column(at).cast(whole.type))
            except pa.ArrowInvalid as error:
                raise Corrupt(
                    "Feed.rows",
                    needs=f"tensors of shape {shape} in the column {field.name!r}",
                    came=str(error),
                    todo="Another program wrote into the feed's tables; remove its commits.",
                    column=field.name,
                ) from error
    return table


def is_list(found: pa.DataType) -> bool:
    """Return whether a type is one of Arrow's lists, whatever their lengths and values."""
    return bool(
        pa.types.is_list(found)
        or pa.types.is_large_list(found)
        or pa.types.is_fixed_size_list(found)
    )
