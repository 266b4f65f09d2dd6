"""The key of a row that has none: the hash of what it says."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_PERSON = b"renewal-row"
_DIGEST_BYTES = 16


def row_keys(features: pa.Table) -> list[str]:
    """Return a key for each feature row, the same for the same values wherever it is computed.

    Columns are taken by name, so their order does not matter. Numbers and booleans come
    first, each as one byte (0 missing, 1 present) and 8 bytes, little-endian; a NaN is
    missing, -0.0 is 0.0. Text follows as one byte, its length in 4 bytes, and UTF-8. The
    key is the BLAKE2b digest of that, 32 hexadecimal digits.

    Parameters
    ----------
    features : pyarrow.Table
        Conformed: float64, int64, bool and string columns only.

    Returns
    -------
    list of str
        One for each row; identical rows share one.

    Notes
    -----
    This encoding is part of the format. About 1.5 microseconds a row without text columns,
    1 more for each text column.

    Examples
    --------
    >>> one, other = row_keys(pa.table({"a": [1.0, 1.0], "b": ["x", "y"]}))
    >>> one == row_keys(pa.table({"b": ["x"], "a": [1.0]}))[0], one == other
    (True, False)
    """
    numbers: list[pa.ChunkedArray] = []
    texts: list[pa.ChunkedArray] = []
    for name in sorted(features.column_names):
        column = features.column(name)
        is_text = pa.types.is_string(column.type)
        (texts if is_text else numbers).append(column)
    fixed = _fixed(numbers, features.num_rows)
    if not texts:
        return [_digest(fixed[at].tobytes()) for at in range(len(fixed))]
    parts = zip(*(map(_text, column.to_pylist()) for column in texts), strict=True)
    return [_digest(fixed[at].tobytes() + b"".join(part)) for at, part in enumerate(parts)]


def _fixed(columns: list[pa.ChunkedArray], n_rows: int) -> npt.NDArray[np.uint8]:
    """Encode the columns of fixed width into one matrix of bytes, (n_rows, 9 * n_columns)."""
    matrix = np.zeros((n_rows, 9 * len(columns)), np.uint8)
    for at, column in enumerate(columns):
        present = ~_numpy(pc.is_null(column, nan_is_null=True))
        values = _numpy(pc.fill_null(column, _zero(column.type)))
        if values.dtype == np.float64:
            # Adding 0.0 turns -0.0 into 0.0.
            words = np.where(present, values + 0.0, 0.0).astype("<f8")
        else:
            words = values.astype("<i8")
        matrix[:, 9 * at] = present
        matrix[:, 9 * at + 1 : 9 * at + 9] = words.view(np.uint8).reshape(n_rows, 8)
    return matrix


def _numpy(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = column.to_numpy()
    return found


def _zero(found: pa.DataType) -> pa.Scalar:
    return pa.scalar(0).cast(found)


def _text(value: str | None) -> bytes:
    if value is None:
        return b"\x00"
    encoded = value.encode()
    return b"\x01" + len(encoded).to_bytes(4, "little") + encoded


def _digest(encoded: bytes) -> str:
    return blake2b(encoded, digest_size=_DIGEST_BYTES, person=_PERSON).hexdigest()
