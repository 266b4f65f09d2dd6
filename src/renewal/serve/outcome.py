"""What a prediction request came to, before a protocol writes it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from renewal.core.spec import Label

MIXED = "mixed"
"""What stands for the version and the arm where several answered."""
BY_VERSION = "version"
"""The output that says, where several versions answered, which one answered a row."""


@dataclass(slots=True)
class Outcome:
    """An answer as named arrays.

    Parameters
    ----------
    model : str
        Its name.
    version : str
        Who answered, ``v3``; ``mixed`` where several did.
    number : str
        The same as the protocols write it: ``3`` or ``mixed``.
    arm : str
        The arm of the plan; ``pinned`` where the URL named the version.
    prediction_id : str
        Of the request; row i has ``{prediction_id}-{i}``.
    request_id : str
        What the client called it, else the prediction id.
    outputs : mapping of str to array
        Of shape (n_rows,) or (n_rows, k); only the wanted ones, in the wanted order. Where
        several versions answered, ``version`` says by whom, row by row.
    classes : tuple
        What the columns of ``probability`` mean; empty for a regression.
    n_rows : int
        How many rows.
    """

    model: str
    version: str
    number: str
    arm: str
    prediction_id: str
    request_id: str
    outputs: Mapping[str, np.ndarray[Any, Any]]
    classes: tuple[Label, ...]
    n_rows: int

    @property
    def parameters(self) -> dict[str, str]:
        """What every protocol tells beside the outputs."""
        return {"prediction_id": self.prediction_id, "version": self.version, "arm": self.arm}
