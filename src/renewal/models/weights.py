"""How much each row counts, in one form: finite float64 above zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from renewal.core.errors import Invalid
from renewal.models.contract import Weights


def checked_weights(weights: Any, n_rows: int, *, who: str) -> Weights:
    """Return weights as float64 of shape (n_rows,), all finite and above zero.

    Most libraries take a weight below zero without a word, and learn the contrary of the row.

    Parameters
    ----------
    weights : array-like of shape (n_rows,)
        How much each row counts.
    n_rows : int
        Rows of the fit.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        On another number of them, a gap, or a number that is not above zero.

    Examples
    --------
    >>> checked_weights([1, 2], 2, who="demo")
    array([1., 2.])
    """
    found = np.ascontiguousarray(weights, dtype=np.float64)
    if found.shape != (n_rows,):
        came = f"shape {found.shape}"
    else:
        n_wrong = int((~(np.isfinite(found) & (found > 0))).sum())
        if not n_wrong:
            return found
        came = f"{n_wrong} of {n_rows} that are not"
    raise Invalid(
        who,
        needs=f"a finite weight above zero for each of {n_rows} rows",
        came=came,
        todo="Leave out rows that must not count.",
    )
