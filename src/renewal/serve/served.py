"""What a request came to: the record that is logged and shadowed.

Tuples: of all frozen records they are the quickest to make, and one is made for every request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from renewal.serve.features import Features
from renewal.serve.routing import RowFacts

if TYPE_CHECKING:
    from renewal.serve.slots import Loaded


class Part(NamedTuple):
    """The rows of a request that one version answered.

    Parameters
    ----------
    loaded : Loaded
        The version.
    arm : str
        Name of the arm; ``pinned`` where the URL named the version.
    propensity : float in (0, 1]
        Probability with which these rows came to this arm: its weight in the plan.
    rows : int64 array
        Row numbers within the request.
    scores : float64 array of shape (len(rows), k), or None
        None where the version failed.
    """

    loaded: Loaded
    arm: str
    propensity: float
    rows: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any] | None


class Served(NamedTuple):
    """One request with what every version said of it.

    Parameters
    ----------
    prediction_id : str
        Of the request; row i has ``{prediction_id}-{i}``.
    features : Features
        Its rows, in the columns and types of the signature.
    facts : RowFacts or None
        Keys and times of the rows; None: the request brought none, and each is its default.
    parts : tuple of Part
        Disjoint; together all rows, unless the request failed.
    predicted_us : int, microseconds since 1970
        When, by the server's clock.
    latency_ms : float
        From the last byte of the request to the first of the answer.
    is_shadow : bool, default False
        Whether nobody saw these scores.
    sticky : str or None, default None
        The key by which the whole request was routed, from its sticky header.
    is_refused : bool, default False
        Whether its rows were refused, or not looked at in time: no version is at fault, and the
        caller will send them again.
    """

    prediction_id: str
    features: Features
    facts: RowFacts | None
    parts: tuple[Part, ...]
    predicted_us: int
    latency_ms: float
    is_shadow: bool = False
    sticky: str | None = None
    is_refused: bool = False

    @property
    def n_rows(self) -> int:
        """Rows that its parts cover."""
        parts = self.parts
        return len(parts[0].rows) if len(parts) == 1 else sum(len(part.rows) for part in parts)

    @property
    def has_failed(self) -> bool:
        """Whether a version failed on its rows."""
        return any(part.scores is None for part in self.parts)
