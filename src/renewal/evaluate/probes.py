"""Rows that tell two forms of one model apart where plain rows do not.

A compiled form goes wrong where nobody looks: at a gap, at a word that the fit has not seen,
beyond float32, and beside the thresholds of its trees. Thresholds are found from outside, by
bisection between two rows that the native form answers differently, and so in the units of
the input, behind whatever scaler, and for every framework alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.core.spec import Field, Signature
from renewal.models.parity_refusals import LARGEST
from renewal.models.task import Scores

Floats = NDArray[np.float64]
Predict = Callable[[pa.Table], Scores]

_CAP_ROWS = 4096
_ROWS_A_COLUMN = 32
# The word stands for every one that no fit has seen.
_UNSEEN = "a word that no fit has seen \N{SNOWMAN}"
_HUGE = (2.0**24 + 1, -(2.0**24) - 1, 2.0**31 + 1, 2.0**53, -1e12, 1e30, -1e30)
_HUGE_INTS = (2**24 + 1, -(2**24) - 1, 2**31 + 1, 2**53 + 1, -(2**62))
# Where a model has no jump, a score hardly moves any more after so many halvings.
_LOOK_AFTER, _MOST_HALVINGS = 24, 1100
NEAR = 1e-6
"""How far from a threshold both forms must agree, as a share of the column's spread."""


@dataclass(frozen=True, slots=True)
class Odd:
    """Rows in one column of each of which something odd stands.

    Parameters
    ----------
    name : str
        What is odd.
    column : str
        Where; empty where it is in several at once.
    features : pyarrow.Table
        The rows.
    """

    name: str
    column: str
    features: pa.Table


def odd_rows(features: pa.Table, signature: Signature, *, seed: int = 0) -> Iterator[Odd]:
    """Yield rows with gaps, unseen and empty words, huge, infinite and too large numbers.

    Parameters
    ----------
    features : pyarrow.Table
        Plain rows, at least one; at most 32 of them are changed for each column and oddity,
        fewer where there are many columns.
    signature : Signature
        Names the columns and says which may hold gaps.
    seed : int, default 0
        Of which rows are taken.

    Examples
    --------
    >>> rows = pa.table({"n": [1, 2], "word": ["a", "b"]})
    >>> signature = Signature((Field("n", "int"), Field("word", "string")))
    >>> [(each.name, each.column) for each in odd_rows(rows, signature)]
    [('gaps', 'n'), ('huge', 'n'), ('gaps', 'word'), ('unseen', 'word'), ('empty', 'word')]
    """
    rng = np.random.default_rng(seed)
    n_each = max(4, min(_ROWS_A_COLUMN, _CAP_ROWS // max(1, len(signature.fields))))
    for field in signature.fields:
        for name, values in _oddities(field):
            taken = rng.integers(features.num_rows, size=n_each)
            rows = features.take(pa.array(taken))
            kind = rows.schema.field(field.name).type
            changed = pa.array([values[at % len(values)] for at in range(n_each)], kind)
            yield Odd(name, field.name, _with(rows, field.name, changed))


def _oddities(field: Field) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if field.nullable:
        yield "gaps", (None,)
    if field.kind == "string":
        yield "unseen", (_UNSEEN,)
        yield "empty", ("",)
    if field.kind == "int":
        yield "huge", _HUGE_INTS
    if field.kind == "float":
        yield "huge", _HUGE
        yield "infinite", (np.inf, -np.inf)
        yield "large", (LARGEST * 1.01, -1e300, 1e300)


def with_gaps(features: pa.Table, columns: tuple[str, ...], *, seed: int = 0) -> pa.Table:
    """Return the rows with a gap in 3 of 20 cells of some columns.

    Parameters
    ----------
    features : pyarrow.Table
        Plain rows.
    columns : tuple of str
        Those that may hold gaps.
    seed : int, default 0
        Of the places.
    """
    rng = np.random.default_rng(seed)
    for name in columns:
        mask = pa.array(rng.random(features.num_rows) < 0.15)
        column = _plain(features.column(name))
        gapped = pc.if_else(mask, pa.scalar(None, column.type), column)
        features = _with(features, name, gapped)
    return features


@dataclass(frozen=True, slots=True, eq=False)
class Thresholds:
    """Where the native form jumps, one row each, in one column.

    Parameters
    ----------
    rows : pyarrow.Table
        The rest of each row.
    columns : tuple of str
        In which column each row jumps.
    below, above : float64 arrays
        The neighboring values between which it does, in float64, or two whole numbers that
        follow each other.
    spreads : float64 array
        The spread of each column: between its quartiles, or its standard deviation.
    whole : bool array
        Columns of whole numbers.
    """

    rows: pa.Table
    columns: tuple[str, ...]
    below: Floats
    above: Floats
    spreads: Floats
    whole: NDArray[np.bool_]

    def __len__(self) -> int:
        """How many were found."""
        return len(self.columns)

    def at(self) -> pa.Table:
        """Return rows on both sides of each jump, and at the float32 neighbors of it.

        Five rows each: both float64 neighbors, and the float32 twin of the lower with its
        two neighbors. Whole numbers have their two sides alone.
        """
        with np.errstate(over="ignore"):
            twin = self.below.astype(np.float32)
            up, down = np.nextafter(twin, np.float32(np.inf)), np.nextafter(twin, -np.inf)
        singles = [np.where(self.whole, self.below, each) for each in (down, twin, up)]
        return self._rows(self.below, self.above, *singles)

    def near(self) -> pa.Table:
        """Return two rows for each jump, a millionth of the column's spread beside it.

        A float32 threshold lies closer than that to a float64 one, unless the column's
        values are large beside their spread, such as seconds since 1970.
        """
        away = np.where(self.whole, np.maximum(1.0, np.rint(NEAR * self.spreads)), 0.0)
        away = np.where(self.whole, away, NEAR * self.spreads)
        return self._rows(self.below - away, self.above + away)

    def _rows(self, *values: Floats) -> pa.Table:
        parts = [_changed(self.rows, self.columns, each) for each in values]
        return pa.concat_tables(parts).combine_chunks()


def thresholds(
    predict: Predict,
    features: pa.Table,
    signature: Signature,
    *,
    n_most: int = 1500,
    moved_by: float = 1e-6,
    seed: int = 0,
) -> Thresholds:
    """Find jumps of a model between values that occur, by bisection down to neighbors.

    Parameters
    ----------
    predict : callable
        The native form.
    features : pyarrow.Table
        Plain rows.
    signature : Signature
        Its columns of numbers are searched.
    n_most : int, default 1500
        Pairs of values to begin with; some hold no jump.
    moved_by : float, default 1e-6
        A smaller step of a score is no jump.
    seed : int, default 0
        Of rows, columns and pairs.

    Returns
    -------
    Thresholds
        None of a model without jumps, such as a linear one.

    Notes
    -----
    About 55 scorings of `n_most` rows for a model with trees, 24 for another.

    Examples
    --------
    >>> rows = pa.table({"a": np.linspace(-1.0, 1.0, 50)})
    >>> def step(rows):
    ...     return (rows["a"].to_numpy() > 0.3).astype(float).reshape(-1, 1)
    >>> found = thresholds(step, rows, Signature((Field("a", "float"),)), n_most=20)
    >>> bool(np.all(found.below == 0.3)), bool(np.all(found.above == np.nextafter(0.3, 1)))
    (True, True)
    """
    start = _pairs(features, signature, n_most, seed)
    low, high = start.below, start.above
    at_low = predict(_changed(start.rows, start.columns, low))
    at_high = predict(_changed(start.rows, start.columns, high))
    for halving in range(_MOST_HALVINGS):
        kept = _step(at_low, at_high) > moved_by
        middle = _between(low, high, start.whole)
        is_open = kept & (middle > low) & (middle < high)
        if not is_open.any() or not kept.any():
            break
        if halving >= _LOOK_AFTER and not kept.all():
            start, (low, high, middle) = _those(start, kept, low, high, middle)
            at_low, at_high, is_open = at_low[kept], at_high[kept], is_open[kept]
        at_middle = predict(_changed(start.rows, start.columns, middle))
        left = is_open & (_step(at_low, at_middle) >= _step(at_middle, at_high))
        right = is_open & ~left
        high = np.where(left, middle, high)
        at_high = np.where(left[:, np.newaxis], at_middle, at_high)
        low = np.where(right, middle, low)
        at_low = np.where(right[:, np.newaxis], at_middle, at_low)
    jumps = _step(at_low, at_high) > moved_by
    found, (low, high) = _those(start, jumps, low, high)
    return Thresholds(found.rows, found.columns, low, high, found.spreads, found.whole)


def _pairs(features: pa.Table, signature: Signature, n_most: int, seed: int) -> Thresholds:
    """Draw rows, a column of numbers for each, and two values of it that occur."""
    rng = np.random.default_rng(seed)
    rows = features.take(pa.array(rng.integers(features.num_rows, size=n_most)))
    values = {
        field.name: _finite(features.column(field.name))
        for field in signature.fields
        if field.kind in {"float", "int"}
    }
    names = [name for name, found in values.items() if len(np.unique(found[:1000])) > 1]
    whole = {field.name for field in signature.fields if field.kind == "int"}
    if not names:
        none = np.empty(0)
        return Thresholds(rows.slice(0, 0), (), none, none, none, none.astype(bool))
    columns = tuple(names[at] for at in rng.integers(len(names), size=n_most))
    ends = np.sort([rng.choice(values[name], 2) for name in columns], axis=1)
    spreads = {name: _spread(values[name]) for name in names}
    return Thresholds(
        rows,
        columns,
        ends[:, 0],
        ends[:, 1],
        np.array([spreads[name] for name in columns]),
        np.array([name in whole for name in columns]),
    )


def _those(
    start: Thresholds, kept: NDArray[np.bool_], *arrays: Floats
) -> tuple[Thresholds, tuple[Floats, ...]]:
    found = Thresholds(
        start.rows.filter(pa.array(kept)),
        tuple(name for name, is_kept in zip(start.columns, kept, strict=True) if is_kept),
        start.below[kept],
        start.above[kept],
        start.spreads[kept],
        start.whole[kept],
    )
    return found, tuple(each[kept] for each in arrays)


def _step(one: Scores, other: Scores) -> Floats:
    found: Floats = np.abs(one - other).max(axis=1) if one.size else np.empty(len(one))
    return found


def _between(low: Floats, high: Floats, whole: NDArray[np.bool_]) -> Floats:
    middle = low + (high - low) / 2.0
    return np.where(whole, np.floor(middle), middle)


def _finite(column: pa.ChunkedArray) -> Floats:
    found: Floats = column.drop_null().to_numpy().astype(np.float64)
    return found[np.isfinite(found)]


def _spread(values: Floats) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low) or float(values.std()) or 1.0


def _changed(rows: pa.Table, columns: tuple[str, ...], values: Floats) -> pa.Table:
    """Return rows with one value changed in each, in the column of that row."""
    where = np.array(columns, dtype=object)
    for name in dict.fromkeys(columns):
        mask = where == name
        column = _plain(rows.column(name))
        new = pa.array(values[mask]).cast(column.type, safe=False)
        rows = _with(rows, name, pc.replace_with_mask(column, pa.array(mask), new))
    return rows


def _plain(column: pa.ChunkedArray) -> Any:
    found = column.combine_chunks()
    # A table without rows has no chunk; one chunk comes back in a list of chunks.
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) and found.num_chunks else found


def _with(rows: pa.Table, name: str, column: Any) -> pa.Table:
    at = rows.column_names.index(name)
    return rows.set_column(at, rows.schema.field(at), column)
