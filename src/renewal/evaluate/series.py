"""The gain of a candidate by one metric, block by block: what every look of the gate reads."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Corrupt, Invalid
from renewal.models.task import Scores

Ints = NDArray[np.int64]

# What NumPy and zipfile raise on bytes that are no archive of theirs.
_UNREADABLE = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The gain of one version over another by one metric, block by block, in time.

    Parameters
    ----------
    metric : str
        Such as ``log_loss`` or ``auc``.
    baseline, candidate : str
        Version ids.
    baseline_value, candidate_value : float
        The metric of each over all rows of the series.
    unit : str
        What a block is, in words, singular: ``day``, ``week``, ``block``.
    blocks : int64 array, shape (n_blocks,)
        Ids of the units of independent evidence, by the time of their first row.
    n_block_rows : int64 array, shape (n_blocks,)
        Rows of each.
    gains : float64 array, shape (n_blocks,)
        By how much the candidate is better in each, in the unit of the metric; negative
        where it is worse, whichever way the metric points.
    from_us, until_us : int
        Event time of the first and last row, microseconds since 1970.
    n_seen : int, default 0
        Rows set aside because a version had trained on them or an earlier verdict has used
        them.
    has_groups : bool, default True
        Whether a block holds several rows; single rows are exchangeable and unbounded tests
        on block means are not needed for them.
    is_ordered : bool, default True
        Whether the order of the blocks is that of time, so that neighbors may resemble each
        other.
    is_weighted : bool, default True
        Whether the gain over all rows is the mean of the blocks' weighted by their rows. Of
        metrics that only rows together have, each block's number says what it adds, and
        their plain mean is the gain.
    reach : float, default inf
        The largest absolute gain that a row can have.
    higher_is_better : bool, default False
        Whether the metric grows with quality; a loss falls.
    n_before : int, default 0
        Leading blocks that are of the candidates whose place this one took (`handed_to`).
    share : float in [0, 1), default 0
        Of the line's evidence budget, what this candidate has for itself alone.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> one = Series("log_loss", "a", "b", 0.5, 0.4, "day", np.array([1, 2]), np.array([30, 10]),
    ...     np.array([0.1, 0.1]), day, 3 * day - 1)
    >>> two = Series("log_loss", "a", "b", 0.7, 0.6, "day", np.array([3]), np.array([40]),
    ...     np.array([0.1]), 3 * day, 4 * day - 1)
    >>> both = one.then(two)
    >>> both.n_rows, round(both.baseline_value, 2), both.blocks.tolist()
    (80, 0.6, [1, 2, 3])
    """

    metric: str
    baseline: str
    candidate: str
    baseline_value: float
    candidate_value: float
    unit: str
    blocks: Ints
    n_block_rows: Ints
    gains: Scores
    from_us: int
    until_us: int
    n_seen: int = 0
    has_groups: bool = True
    is_ordered: bool = True
    is_weighted: bool = True
    reach: float = math.inf
    higher_is_better: bool = False
    n_before: int = 0
    share: float = 0.0

    def handed_to(self, candidate: str, *, share: float) -> Series:
        """Return the series as the beginning of another candidate's: one line of candidates.

        Parameters
        ----------
        candidate : str
            Id of the version that takes the place.
        share : float in (0, 1)
            What that one has for itself alone.
        """
        return replace(
            self,
            candidate=candidate,
            n_before=len(self.blocks),
            share=share,
        )

    @property
    def own(self) -> Series:
        """The blocks of this candidate itself."""
        kept = slice(self.n_before, None)
        return replace(
            self,
            blocks=self.blocks[kept],
            n_block_rows=self.n_block_rows[kept],
            gains=self.gains[kept],
            n_before=0,
            share=0.0,
        )

    @property
    def weights(self) -> Scores:
        """What each block counts in the mean, shape (n_blocks,)."""
        rows = self.n_block_rows.astype(np.float64)
        return rows if self.is_weighted else np.ones(len(rows))

    @property
    def n_rows(self) -> int:
        """Rows compared."""
        return int(self.n_block_rows.sum())

    def then(self, later: Series) -> Series:
        """Return the two as one series: evidence that goes on, such as into shadow traffic.

        Parameters
        ----------
        later : Series
            Of the same metric and versions; it begins no earlier than this one. A block in
            which this one ends and the other begins is one block.

        Raises
        ------
        Invalid
            When metric, versions or unit differ, or `later` begins before this one ended.
        """
        same = ("metric", "baseline", "candidate", "unit", "is_ordered", "is_weighted")
        differs = [name for name in same if getattr(self, name) != getattr(later, name)]
        if differs or (self.is_ordered and later.from_us < self.until_us):
            raise Invalid(
                "Series.then",
                needs="later rows of the same metric, versions and unit",
                came=f"another {', '.join(differs)}" if differs else "rows that began before",
                todo="Join the series of one pair, in the order of time.",
            )
        blocks, at = _in_order(np.concatenate([self.blocks, later.blocks]))
        rows = np.concatenate([self.n_block_rows, later.n_block_rows])
        n_rows = np.bincount(at, weights=rows)
        weights = np.concatenate([self.weights, later.weights])
        gains = np.concatenate([self.gains, later.gains])
        sums = np.bincount(at, weights=weights * gains)
        parts = (self, later)
        return replace(
            self,
            baseline_value=_pooled([(each.baseline_value, each.n_rows) for each in parts]),
            candidate_value=_pooled([(each.candidate_value, each.n_rows) for each in parts]),
            blocks=blocks,
            n_block_rows=n_rows.astype(np.int64),
            gains=sums / np.bincount(at, weights=weights),
            from_us=min(self.from_us, later.from_us),
            until_us=max(self.until_us, later.until_us),
            n_seen=self.n_seen + later.n_seen,
            has_groups=self.has_groups or later.has_groups or bool((n_rows > 1).any()),
        )

    def to_bytes(self) -> bytes:
        """Return the series as the bytes of a NumPy archive; equal series, equal bytes."""
        out = io.BytesIO()
        np.savez(
            out,
            names=np.array([self.metric, self.baseline, self.candidate, self.unit]),
            values=np.array([self.baseline_value, self.candidate_value, self.reach, self.share]),
            counts=np.array([self.from_us, self.until_us, self.n_seen, self.n_before]),
            flags=np.array(
                [self.has_groups, self.is_ordered, self.is_weighted, self.higher_is_better]
            ),
            blocks=self.blocks,
            n_block_rows=self.n_block_rows,
            gains=self.gains,
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Series:
        """Read what `to_bytes` wrote.

        Raises
        ------
        Corrupt
            When the bytes are no such archive.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                metric, baseline, candidate, unit = map(str, found["names"])
                old, new, reach, share = map(float, found["values"])
                from_us, until_us, n_seen, n_before = map(int, found["counts"])
                has_groups, is_ordered, is_weighted, is_up = map(bool, found["flags"])
                blocks, n_block_rows, gains = (
                    found[name] for name in ("blocks", "n_block_rows", "gains")
                )
        except _UNREADABLE as error:
            raise Corrupt(
                "Series.from_bytes",
                needs="the bytes of a series of evidence",
                came=f"{len(data)} bytes that start with {data[:8]!r}",
                todo="Restore the blob from a copy of the store.",
            ) from error
        return cls(
            metric,
            baseline,
            candidate,
            old,
            new,
            unit,
            blocks,
            n_block_rows,
            gains,
            from_us,
            until_us,
            n_seen,
            has_groups,
            is_ordered,
            is_weighted,
            reach,
            is_up,
            n_before,
            share,
        )


def _in_order(blocks: Ints) -> tuple[Ints, NDArray[np.intp]]:
    """Return distinct blocks in the order of their first appearance, and where each went."""
    found, first, at = np.unique(blocks, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return found[order], place[at]


def _pooled(parts: list[tuple[float, int]]) -> float:
    n_rows = sum(n for _value, n in parts)
    # A part without rows may have no value, and NaN times 0 is NaN.
    return sum(value * n for value, n in parts if n) / n_rows if n_rows else parts[0][0]
