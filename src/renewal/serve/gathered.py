"""Answers of one kind, gathered into columns as they are given.

What a request came to is some twenty small objects. Kept until they are written, each has left
the processor's caches when its turn comes, and making tables of them takes twice as long. So
what is logged of them is copied soon, some dozens at a time, and they go.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from renewal.serve.features import Features, joined

if TYPE_CHECKING:
    from renewal.serve.features import Matrix, Rows
    from renewal.serve.routing import RowFacts
    from renewal.serve.served import Part, Served

_LOG = logging.getLogger("renewal.serve")
ROOM = 1_000


class Told(NamedTuple):
    """What a request said of its rows beside their features.

    Parameters
    ----------
    rows : int64 array or None
        Which of its rows they are; None: all.
    facts : RowFacts or None
        Of all its rows.
    sticky : str or None
        By which the whole of it was routed.
    """

    rows: Rows | None
    facts: RowFacts | None
    sticky: str | None


class Gathered:
    """Columns that grow by the rows of some requests at a time, all of one kind.

    Parameters
    ----------
    served : Served
        One of the kind.
    part : Part
        Of it.
    room : int, default 1000
        For so many rows.

    Attributes
    ----------
    part : Part
        Says which version answered all of them, in the name of which arm.
    is_shadow, is_refused : bool
        As in `renewal.serve.served.Served`.
    ids : list of str
        Of the requests, in the order in which they came.
    sizes : list of int
        How many rows each brought.
    told : dict of int to Told
        By the place of a request; those that said nothing are not there.
    n_rows : int
        Together.
    """

    __slots__ = (
        "_features",
        "_latency_ms",
        "_matrix",
        "_predicted_us",
        "_scores",
        "_signature",
        "ids",
        "is_refused",
        "is_shadow",
        "n_rows",
        "part",
        "sizes",
        "told",
    )

    def __init__(self, served: Served, part: Part, room: int = ROOM) -> None:
        self.part = part
        self.is_shadow, self.is_refused = served.is_shadow, served.is_refused
        self.ids: list[str] = []
        self.sizes: list[int] = []
        self.told: dict[int, Told] = {}
        self.n_rows = 0
        first = served.features
        self._signature = first.signature
        self._features: list[Features] | None = None if first.matrix is not None else []
        self._matrix: Matrix = np.empty(
            (room, 0 if first.matrix is None else first.matrix.shape[1])
        )
        self._scores: Matrix = np.empty((room, 0 if part.scores is None else part.scores.shape[-1]))
        self._predicted_us = array("q")
        self._latency_ms = array("d")

    def has_room(self, n_rows: int) -> bool:
        """Say whether so many rows go in."""
        return self.n_rows + n_rows <= len(self._scores)

    def add(self, pieces: Sequence[tuple[Served, Part]]) -> None:
        """Take the rows of parts of requests, for which there is room; all of them, or none.

        Raises
        ------
        ValueError, TypeError
            On numbers that do not fit.
        """
        start, first = self.n_rows, len(self.ids)
        sizes = [len(part.rows) for _, part in pieces]
        end = start + sum(sizes)
        told, features = {}, []
        for at, (served, part) in enumerate(pieces):
            own = served.features
            if sizes[at] != own.n_rows:
                told[first + at] = Told(part.rows, served.facts, served.sticky)
                own = own.take(part.rows)
            elif served.facts is not None or served.sticky is not None:
                told[first + at] = Told(None, served.facts, served.sticky)
            features.append(own)
        if self._features is None:
            matrices = [own.matrix for own in features if own.matrix is not None]
            np.concatenate(matrices, out=self._matrix[start:end])
        scores = [part.scores for _, part in pieces if part.scores is not None]
        if scores:
            np.concatenate(scores, out=self._scores[start:end])
        if self._features is not None:
            self._features += features
        self.told |= told
        self.ids += [served.prediction_id for served, _ in pieces]
        self.sizes += sizes
        self._predicted_us.extend([served.predicted_us for served, _ in pieces])
        self._latency_ms.extend([served.latency_ms for served, _ in pieces])
        self.n_rows = end

    def features(self) -> Features:
        """Return the features of all rows."""
        if self._features is None:
            return Features(self._signature, matrix=self._matrix[: self.n_rows])
        return joined(self._features)

    def scores(self) -> pa.Array:
        """Return the scores of all rows, a list of numbers each; null where the version failed."""
        if self.part.scores is None:
            return pa.nulls(self.n_rows, pa.list_(pa.float64()))
        width = self._scores.shape[1]
        ends = np.arange(0, self.n_rows * width + 1, width, dtype=np.int32)
        return pa.ListArray.from_arrays(ends, self._scores[: self.n_rows].ravel())

    def predicted_us(self) -> Rows:
        """Return when each row was scored, microseconds since 1970."""
        return self._by_row(np.array(self._predicted_us, np.int64))

    def latency_ms(self) -> Matrix:
        """Return how long the request of each row took."""
        return self._by_row(np.array(self._latency_ms, np.float64))

    def alone(self) -> Iterator[Gathered]:
        """Yield what each request brought by itself."""
        start = 0
        for at, size in enumerate(self.sizes):
            end, one = start + size, copy(self)
            one.ids, one.sizes, one.n_rows = self.ids[at : at + 1], [size], size
            one.told = {0: self.told[at]} if at in self.told else {}
            one._narrow(slice(at, at + 1), slice(start, end))  # noqa: SLF001  # its own kind
            yield one
            start = end

    def _narrow(self, requests: slice, rows: slice) -> None:
        if self._features is not None:
            self._features = self._features[requests]
        self._matrix, self._scores = self._matrix[rows], self._scores[rows]
        self._predicted_us = self._predicted_us[requests]
        self._latency_ms = self._latency_ms[requests]

    def _by_row(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return values if len(values) == self.n_rows else np.repeat(values, self.sizes)


class Sorter:
    """Sorts the parts of requests by their kinds."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], Gathered] = {}
        self._full: list[Gathered] = []

    def add(self, entries: Sequence[Served]) -> list[str]:
        """Copy what is logged of requests; return the ids of those that do not fit, if any."""
        kinds: dict[tuple[object, ...], list[tuple[Served, Part]]] = {}
        for served in entries:
            for part in served.parts:
                kinds.setdefault(_kind(served, part), []).append((served, part))
        left_out: list[str] = []
        for kind, pieces in kinds.items():
            try:
                self._add(kind, pieces)
            except (ValueError, TypeError):
                left_out += self._add_alone(kind, pieces)
        return left_out

    def taken(self) -> list[Gathered]:
        """Take all columns out."""
        found = [*self._full, *self._open.values()]
        self._full, self._open = [], {}
        return found

    def _add(self, kind: tuple[object, ...], pieces: Sequence[tuple[Served, Part]]) -> None:
        n_rows = sum(len(part.rows) for _, part in pieces)
        columns = self._open.get(kind)
        if columns is None or not columns.has_room(n_rows):
            if columns is not None:
                self._full.append(columns)
            columns = self._open[kind] = Gathered(*pieces[0], room=max(ROOM, n_rows))
        columns.add(pieces)

    def _add_alone(
        self, kind: tuple[object, ...], pieces: Sequence[tuple[Served, Part]]
    ) -> Iterator[str]:
        for piece in pieces:
            try:
                self._add(kind, [piece])
            except (ValueError, TypeError):
                _LOG.exception("an entry of the prediction log cannot be kept")
                yield piece[0].prediction_id


def _kind(served: Served, part: Part) -> tuple[object, ...]:
    """Return what parts of requests have in common that are gathered together."""
    features, scores = served.features, part.scores
    return (
        part.loaded,
        part.arm,
        part.propensity,
        id(features.signature),
        features.matrix is None,
        0 if scores is None else scores.shape[-1],
        served.is_shadow,
        served.is_refused,
    )
