"""The flips table: which rows changed from right to wrong, and what that costs.

An average hides them: a candidate that is right on two percent more rows may have lost one
percent that users relied on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.evaluate.slices import Slice
from renewal.models.labels import Labels
from renewal.stats.paired import PairedMean, paired_mean
from renewal.stats.proportion import Flips, flips

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FlipsTable:
    r"""Rows by what two versions made of them.

    Parameters
    ----------
    name : str
        Of the slice; ``all`` for every row.
    n_both_right, n_negative, n_positive, n_both_wrong : int
        Right under both; only under the baseline (a negative flip); only under the candidate
        (a positive one); under neither.
    n_wrong_otherwise : int
        Of those wrong under both, the rows whose predicted label changed.
    costs : float
        Share of the cost of all rows that lies on negative flips; equals the negative-flip
        rate when every row costs the same. NaN without rows or without cost.
    bounds : Flips or None
        The negative-flip rate with its bounds in blocks; None without rows: cannot tell.
    costs_by_block : PairedMean or None
        The cost share over blocks; None where rows have no cost, or none at all.

    Notes
    -----
    Wrong labels and the luck of training raise the flips of any pair alike. Judge against
    the negative-flip rate of a control pair, the same recipe trained twice on the same data:
    ``bounds.p_value(churn_floor + allowed)``, and `above`.
    """

    name: str
    n_both_right: int
    n_negative: int
    n_positive: int
    n_both_wrong: int
    n_wrong_otherwise: int
    costs: float
    bounds: Flips | None
    costs_by_block: PairedMean | None

    @property
    def n_rows(self) -> int:
        """All rows of the table."""
        return self.n_both_right + self.n_negative + self.n_positive + self.n_both_wrong

    @property
    def negative_rate(self) -> float:
        """Share of rows that only the baseline has right (NFR); NaN without rows."""
        return self.n_negative / self.n_rows if self.n_rows else math.nan

    @property
    def positive_rate(self) -> float:
        """Share of rows that only the candidate has right (PFR); NaN without rows."""
        return self.n_positive / self.n_rows if self.n_rows else math.nan

    @property
    def relative_rate(self) -> float:
        """NFR over that of two versions that err independently; NaN where these cannot flip."""
        return math.nan if self.bounds is None else self.bounds.relative_rate

    @property
    def churn(self) -> float:
        """Share of rows whose predicted label changed, rightly or not; NaN without rows."""
        n_changed = self.n_negative + self.n_positive + self.n_wrong_otherwise
        return n_changed / self.n_rows if self.n_rows else math.nan

    def above(self, churn_floor: float) -> float:
        """Return how much NFR exceeds that of a control pair, in shares of rows."""
        return self.negative_rate - churn_floor


def flips_table(
    labels: Labels,
    predicted_baseline: Labels,
    predicted_candidate: Labels,
    *,
    block_at: Ints,
    n_blocks: int,
    cost: Floats | None = None,
    part: Slice | None = None,
) -> FlipsTable:
    """Return the flips of all rows, or of a slice, with bounds that hold in blocks.

    Parameters
    ----------
    labels, predicted_baseline, predicted_candidate : arrays, shape (n,)
        True and predicted labels of the same rows.
    block_at, n_blocks : int array of shape (n,), int
        Block of each row, from 0 in the order of time. Where no block holds a second row of
        the slice, rows are independent and bounds are exact (Clopper and Pearson).
    cost : float64 array, shape (n,), default None
        What it costs to get a row wrong, at least 0, finite; None: every row the same.
    part : Slice, default None
        Only these rows.

    Raises
    ------
    Invalid
        When lengths differ, or a cost is negative or not finite.

    Notes
    -----
    O(n log n).

    Examples
    --------
    >>> y = np.array(["a"] * 90 + ["b"] * 10, dtype=object)
    >>> was = np.array(["a"] * 90 + ["a"] * 10, dtype=object)
    >>> now = np.array(["b"] * 3 + ["a"] * 87 + ["b"] * 6 + ["c"] * 4, dtype=object)
    >>> found = flips_table(y, was, now, block_at=np.arange(100), n_blocks=100)
    >>> found.n_negative, found.n_positive, found.n_wrong_otherwise, found.churn
    (3, 6, 4, 0.13)
    >>> round(found.bounds.upper(0.05), 4), round(found.above(0.02), 4)
    (0.0757, 0.01)
    """
    weights = _cost(cost, labels, predicted_baseline, predicted_candidate, block_at)
    mask = slice(None) if part is None else part.mask
    truth, before, after = labels[mask], predicted_baseline[mask], predicted_candidate[mask]
    was, now = np.asarray(before == truth, np.bool_), np.asarray(after == truth, np.bool_)
    lost = was & ~now
    at = block_at[mask]
    spent = None if weights is None else weights[mask]
    n_rows = len(truth)
    is_single = n_rows > 0 and int(np.bincount(at, minlength=n_blocks).max()) == 1
    bounds = flips(was, now, blocks=None if is_single else at) if n_rows else None
    by_block = None if spent is None else _cost_share(lost, spent, at, n_blocks)
    rate = float(lost.mean()) if n_rows else math.nan
    return FlipsTable(
        name="all" if part is None else part.name,
        n_both_right=int((was & now).sum()),
        n_negative=int(lost.sum()),
        n_positive=int((~was & now).sum()),
        n_both_wrong=int((~was & ~now).sum()),
        n_wrong_otherwise=int((~was & ~now & np.asarray(before != after, np.bool_)).sum()),
        costs=rate if spent is None else (math.nan if by_block is None else by_block.mean),
        bounds=bounds,
        costs_by_block=by_block,
    )


def flips_tables(
    labels: Labels,
    predicted_baseline: Labels,
    predicted_candidate: Labels,
    *,
    block_at: Ints,
    n_blocks: int,
    slices: Sequence[Slice],
    cost: Floats | None = None,
) -> tuple[FlipsTable, ...]:
    """Return the flips of all rows first, then of every slice, each as `flips_table` does."""
    return tuple(
        flips_table(
            labels,
            predicted_baseline,
            predicted_candidate,
            block_at=block_at,
            n_blocks=n_blocks,
            cost=cost,
            part=part,
        )
        for part in (None, *slices)
    )


def _cost(cost: Floats | None, *arrays: NDArray[np.generic]) -> Floats | None:
    lengths = [len(each) for each in arrays] + ([] if cost is None else [len(cost)])
    if len(set(lengths)) > 1:
        raise Invalid(
            "flips_table",
            needs="labels, both predictions, blocks and costs of the same rows",
            came=f"lengths {', '.join(map(str, lengths))}",
            todo="Take all of them from one set of rows.",
        )
    if cost is None:
        return None
    weights = np.asarray(cost, dtype=np.float64)
    n_bad = int((~(np.isfinite(weights) & (weights >= 0.0))).sum())
    if n_bad:
        raise Invalid(
            "flips_table",
            needs="finite costs of at least 0",
            came=f"{n_bad:,} of {len(weights):,} that are not",
            todo="Give every row what a mistake on it costs.",
        )
    return weights


def _cost_share(lost: Mask, cost: Floats, at: Ints, n_blocks: int) -> PairedMean | None:
    """Return the cost on negative flips over the cost of all rows, as a ratio over blocks."""
    total = np.bincount(at, weights=cost, minlength=n_blocks)
    spent = np.bincount(at, weights=cost * lost, minlength=n_blocks)
    held = total > 0.0
    return paired_mean(spent[held] / total[held], total[held]) if held.any() else None
