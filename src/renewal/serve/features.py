"""The rows of a request: a matrix or a table, whichever came; the other is made on demand.

One row of thirty numbers as an Arrow table costs more than the model that scores it. So rows
that came as numbers stay one matrix from the socket to the runtime, and become columns in the
log, thousands at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.spec import Signature
from renewal.data.frame import conform_part, schema_of

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
WHO = "infer"


class Features:
    """Rows in the columns and types of a signature; nobody changes them.

    Parameters
    ----------
    signature : Signature
        Names the columns, in order.
    matrix : float64 array of shape (n_rows, n_columns), or None
        Only where every column is a float; NaN is a gap. None: the rows came as a table.
    table : pyarrow.Table or None
        Conformed to the signature. One of the two is there.

    Examples
    --------
    >>> from renewal.core.spec import Field
    >>> both = Signature((Field("a", "float"), Field("b", "float")))
    >>> rows = Features(both, matrix=np.array([[1.0, np.nan]]))
    >>> rows.n_rows, rows.table().to_pylist()
    (1, [{'a': 1.0, 'b': None}])
    """

    __slots__ = ("_table", "matrix", "n_rows", "signature")

    def __init__(
        self, signature: Signature, *, matrix: Matrix | None = None, table: pa.Table | None = None
    ) -> None:
        self.signature = signature
        self.matrix = matrix
        self._table = table
        rows: Any = table if matrix is None else matrix
        self.n_rows: int = len(rows)

    def table(self) -> pa.Table:
        """Return the rows as a table with the schema of the signature; made once."""
        if self._table is None:
            assert self.matrix is not None
            self._table = table_of(self.signature, self.matrix)
        return self._table

    def take(self, rows: Rows) -> Features:
        """Return some of the rows, in the order of their numbers."""
        if self.matrix is not None:
            return Features(self.signature, matrix=self.matrix[rows])
        return Features(self.signature, table=self.table().take(pa.array(rows)))

    def as_read_by(self, signature: Signature) -> Features:
        """Return the columns that another version reads.

        Raises
        ------
        Invalid
            When one of them is not there, or of another type.
        """
        if signature is self.signature or signature == self.signature:
            return self
        places = _places(self.signature, signature) if self.matrix is not None else None
        if places is not None:
            assert self.matrix is not None
            return Features(signature, matrix=self.matrix[:, places])
        return Features(signature, table=conform_part(self.table(), signature, who=WHO))


def is_all_floats(signature: Signature) -> bool:
    """Say whether rows of a signature can be a matrix, gaps and all."""
    return all(field.kind == "float" and field.nullable for field in signature.fields)


def table_of(signature: Signature, matrix: Matrix) -> pa.Table:
    """Return a matrix as a table; NaN becomes null."""
    # Column by column in memory, so that those without a gap are taken as they lie.
    columns = np.ascontiguousarray(matrix.T)
    has_gaps: list[bool] = np.any(np.isnan(columns), axis=1).tolist()
    arrays = [
        pa.array(values, pa.float64(), from_pandas=has_gap)
        for values, has_gap in zip(columns, has_gaps, strict=True)
    ]
    return pa.table(arrays, schema=schema_of(signature))


def joined(parts: Sequence[Features]) -> Features:
    """Return the rows of several, one after the other, all of one signature.

    Notes
    -----
    As a matrix where all are; else as a table.
    """
    if len(parts) == 1:
        return parts[0]
    signature = parts[0].signature
    matrices = [each.matrix for each in parts if each.matrix is not None]
    if len(matrices) == len(parts):
        return Features(signature, matrix=np.concatenate(matrices))
    return Features(signature, table=pa.concat_tables([each.table() for each in parts]))


@lru_cache(maxsize=256)
def _places(there: Signature, needed: Signature) -> list[int] | None:
    """Return where the columns of one signature lie in another; None: not all, or otherwise."""
    fields = {field: at for at, field in enumerate(there.fields)}
    places = [fields.get(field, -1) for field in needed.fields]
    return None if -1 in places else places
