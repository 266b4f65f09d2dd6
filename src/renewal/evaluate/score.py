"""Scores of a version on many rows, a batch at a time."""

from __future__ import annotations

import numpy as np

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.models.contract import Runtime
from renewal.models.task import Scores


def score(runtime: Runtime, rows: Rows, batch: int = 8192) -> Scores:
    """Return what a version says of every row.

    Parameters
    ----------
    runtime : Runtime
        A loaded version.
    rows : Rows
        At least one row; only their features are read.
    batch : int >= 1, rows, default 8192
        How many are handed to the runtime at once; bounds its memory.

    Returns
    -------
    float64 array, shape (n_rows, n_scores)
        In the order of the rows.

    Raises
    ------
    Invalid
        When there is no row, or the runtime answers with another number of rows.
    """
    n_rows = len(rows)
    if n_rows == 0 or batch < 1:
        raise Invalid(
            "score",
            needs="at least one row and a batch of at least one",
            came=f"{n_rows} rows and a batch of {batch}",
            todo="Check the time range from which the rows were read.",
        )
    parts = []
    for start in range(0, n_rows, batch):
        piece = rows.features.slice(start, batch)
        found = np.asarray(runtime.predict(piece), dtype=np.float64)
        if found.ndim != 2 or len(found) != piece.num_rows:
            raise Invalid(
                "score",
                needs=f"scores of shape ({piece.num_rows}, n_scores) from the runtime",
                came=f"shape {found.shape}",
                todo="Correct the adapter's predict.",
            )
        parts.append(found)
    return np.concatenate(parts)
