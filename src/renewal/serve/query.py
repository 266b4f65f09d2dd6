"""What a prediction request says, whatever protocol it came by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from renewal.core.spec import Signature
from renewal.serve.features import Features


class Source(Protocol):
    """The rows of a request as its protocol wrote them, read once it is known who answers."""

    def read(self, interface: Signature, needed: frozenset[str]) -> Features:
        """Return the rows in the columns of a model.

        Parameters
        ----------
        interface : Signature
            The columns that requests bring.
        needed : frozenset of str
            Those that a loaded version reads; nullable others may be missing, and are null.

        Raises
        ------
        Invalid
            On rows that do not fit.
        """
        ...


@dataclass(slots=True)
class Query:
    """A prediction request.

    Parameters
    ----------
    model : str
        Its name, from the URL.
    source : Source
        Its rows.
    pinned : str or None, default None
        The version (``3``, ``v3``) or alias that the URL names; it then answers every row.
    request_id : str or None, default None
        What the client calls it; echoed.
    parameters : mapping or None, default None
        ``key``, ``group``, ``sticky``, ``block``, ``event_time``; the rest is ignored.
    wanted : sequence of str or None, default None
        Outputs that the client names; None: all.
    sticky : str or None, default None
        Value of the sticky header: picks one arm for the whole request.
    timeout_s : float or None, default None
        After how many seconds the client does not want the answer any more; None: the
        server's own limit.
    started_s : float
        `time.perf_counter` when the request was complete.
    """

    model: str
    source: Source
    pinned: str | None = None
    request_id: str | None = None
    parameters: Mapping[str, Any] | None = None
    wanted: Sequence[str] | None = None
    sticky: str | None = None
    timeout_s: float | None = None
    started_s: float = field(default_factory=perf_counter)
