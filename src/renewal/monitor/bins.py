"""The bins of one feature, frozen from its reference, and how a column falls into them.

::

    number      ..., e1) [e1, e2) ... [ek, ...   missing
    category    the most frequent ones   other   unseen   missing
    opaque      there   -   missing

Bytes and tensors are opaque: only whether they are there is counted. That images or texts
change their look is seen in the scores and losses of the model that reads them.

Bins that never move make counts exact and mergeable: a window is the sum of its days, a day
the sum of its workers, with no sketch's error to pay for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.errors import Invalid
from renewal.data.tensors import is_opaque

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# A feature with more categories than this is an identifier: new ones are no news.
MOST_CATEGORIES = 1000
# Long texts are no categories, even few: the reference is a small record that is read often.
_MOST_CHARACTERS = 50_000
_SHOWN_CHARACTERS = 60
# Rows compared at once: the chunk stays in the cache while every edge passes over it.
_CHUNK_ROWS = 1 << 15


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of one feature.

    Parameters
    ----------
    name : str
        The feature.
    kind : {"number", "category"}
        Text and truth values are categories; so are bytes and tensors, without any that is
        known.
    edges : tuple of float, ascending
        Of a number: a bin starts at its edge. Both outer bins are open.
    categories : tuple of str
        Of a category: every one of the reference, most frequent first.
    n_top : int, default 0
        So many of them have a bin of their own; the rest is ``other``.
    knows_all : bool, default True
        Whether `categories` is complete. If not, nothing counts as ``unseen``.
    """

    name: str
    kind: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    n_top: int = 0
    knows_all: bool = True

    def __len__(self) -> int:
        """Return the number of bins, with those of the unusual."""
        return len(self.edges) + 2 if self.kind == "number" else self.n_top + 3

    @property
    def is_opaque(self) -> bool:
        """Whether only the presence of a value is counted: of bytes and tensors."""
        return self.kind == "category" and not self.knows_all and not self.n_top

    def label(self, at: int) -> str:
        """Return what falls into a bin, as people say it.

        Examples
        --------
        >>> bins = Bins("wind", "number", edges=(5.0, 12.5))
        >>> [bins.label(i) for i in range(len(bins))]
        ['below 5', '5 to 12.5', 'from 12.5', 'missing']
        """
        if at == len(self) - 1:
            return "missing"
        if self.kind == "category":
            shown = [_shown(each) for each in self.categories[: self.n_top]]
            other = "any value" if self.is_opaque else "other"
            return (*shown, other, "unseen")[at]
        if not self.edges:
            return "any value"
        if at == 0:
            return f"below {self.edges[0]:g}"
        if at == len(self.edges):
            return f"from {self.edges[-1]:g}"
        low, high = self.edges[at - 1], self.edges[at]
        return f"{low:g}" if high == np.nextafter(low, np.inf) else f"{low:g} to {high:g}"


def bins_of(
    name: str,
    column: pa.ChunkedArray,
    n_bins: int,
    chosen_by: pa.ChunkedArray | None = None,
) -> Bins:
    """Freeze bins from the reference values of a feature.

    Numbers get the quantiles as edges, so each bin holds about as many reference rows, and a
    value that makes up a whole bin (a constant, a zero, each of a few) gets a bin of its own.

    Parameters
    ----------
    name : str
        The feature.
    column : pyarrow.ChunkedArray
        Its reference values; nulls and NaN are missing.
    n_bins : int >= 2
        Bins of a number; most frequent categories.
    chosen_by : pyarrow.ChunkedArray or None, default None
        Values among which the most frequent categories are looked for; None: `column`.

    Raises
    ------
    Invalid
        On a type that is neither number nor category, naming the column.

    Examples
    --------
    >>> bins_of("x", pa.chunked_array([[3.0, 3.0, 3.0, None]]), 10).edges
    (3.0, 3.0000000000000004)
    """
    if is_opaque(column.type):
        return Bins(name, "category", knows_all=False)
    if is_number(column.type, name):
        return Bins(name, "number", edges=_edges(numbers(column), n_bins))
    values = pc.unique(texts(column).drop_null()).to_pylist()
    n_rows = _n_rows(column if chosen_by is None else chosen_by)
    # Ties by name, so that the same rows in another order give the same bins.
    order = sorted(values, key=lambda value: (-n_rows.get(value, 0), value))
    knows_all = len(values) <= MOST_CATEGORIES and sum(map(len, values)) <= _MOST_CHARACTERS
    kept = order if knows_all else order[:n_bins]
    return Bins(
        name,
        "category",
        categories=tuple(kept),
        n_top=min(n_bins, len(kept)),
        knows_all=knows_all,
    )


def count_column(column: pa.ChunkedArray, bins: Bins) -> Ints:
    """Return how many values fall into each bin, shape (len(bins),).

    Raises
    ------
    Invalid
        When a column that was a number in the reference is none any more.

    Notes
    -----
    A number costs one comparison for each edge, about 1 ms a million values and ten edges:
    a tenth of a binary search, since nothing branches. A category costs one hash look-up.
    """
    if bins.is_opaque:
        return np.array([len(column) - column.null_count, 0, column.null_count], np.int64)
    if bins.kind == "category":
        _require_category(column.type, bins.name)
        return _count_categories(texts(column), bins)
    _require_number(column.type, bins.name)
    found = np.zeros(len(bins), np.int64)
    for chunk in column.chunks:
        values = numbers(chunk)
        for start in range(0, values.size, _CHUNK_ROWS):
            _count_numbers(values[start : start + _CHUNK_ROWS], bins.edges, found)
    return found


def codes(column: pa.ChunkedArray, bins: Bins) -> Ints:
    """Return the bin of each value, shape (n_rows,)."""
    missing = len(bins) - 1
    if bins.is_opaque:
        return np.where(np.asarray(pc.is_null(column)), missing, 0).astype(np.int64)
    if bins.kind == "number":
        values = numbers(column)
        at = np.searchsorted(np.asarray(bins.edges, np.float64), values, side="right")
        return np.where(np.isnan(values), missing, at).astype(np.int64)
    text = texts(column)
    found = pc.index_in(text, value_set=pa.array(bins.categories, pa.string()))
    at = found.fill_null(-1).to_numpy().astype(np.int64)
    at = np.where(at < 0, _stranger(bins), np.minimum(at, bins.n_top))
    if text.null_count:
        at[pc.is_null(text).to_numpy()] = missing
    return at


def is_number(kind: pa.DataType, name: str) -> bool:
    """Return whether a column counts as a number; refuse what is no feature at all."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return True
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    ):
        return False
    raise Invalid(
        "the monitor",
        needs=f"numbers, truth values, text, bytes or tensors in the column {name!r}",
        came=str(kind),
        todo="Pass the features as the model's signature has them.",
    )


def numbers(column: pa.ChunkedArray | pa.Array) -> Floats:
    """Return a numeric column as float64, NaN where it is missing."""
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    found: npt.NDArray[Any] = (
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    )
    return found.astype(np.float64, copy=False)


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a categorical column as text; truth values become ``true`` and ``false``."""
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _n_rows(column: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(texts(column).drop_null())
    return dict(
        zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    )


def _require_number(kind: pa.DataType, name: str) -> None:
    if not (pa.types.is_null(kind) or is_number(kind, name)):
        raise Invalid(
            "the monitor",
            needs=f"numbers in the column {name!r}, as in the reference",
            came=str(kind),
            todo="Check what changed the type of the column.",
        )


def _require_category(kind: pa.DataType, name: str) -> None:
    if is_opaque(kind):
        raise Invalid(
            "the monitor",
            needs=f"texts in the column {name!r}, as in the reference",
            came=str(kind),
            todo="Check what changed the type of the column.",
        )


def _shown(category: str) -> str:
    short = category[:_SHOWN_CHARACTERS]
    return repr(category) if short == category else f"{short!r}..."


def _count_categories(text: pa.ChunkedArray, bins: Bins) -> Ints:
    places = pc.index_in(text, value_set=pa.array(bins.categories, pa.string()))
    counted = pc.value_counts(places.drop_null())
    at = np.minimum(counted.field("values").to_numpy(), bins.n_top)
    found = np.zeros(len(bins), np.int64)
    np.add.at(found, at, counted.field("counts").to_numpy())
    found[_stranger(bins)] += places.null_count - text.null_count
    found[-1] = text.null_count
    return found


def _stranger(bins: Bins) -> int:
    """Return the bin of a category that the reference does not have."""
    return bins.n_top + 1 if bins.knows_all else bins.n_top


def _count_numbers(values: Floats, edges: tuple[float, ...], found: Ints) -> None:
    n_present = values.size - int(np.count_nonzero(np.isnan(values)))
    # A NaN is below nothing, so it is in none of these.
    below = [int(np.count_nonzero(values < edge)) for edge in edges]
    found[:-1] += np.diff([0, *below, n_present])
    found[-1] += values.size - n_present


def _edges(values: Floats, n_bins: int) -> tuple[float, ...]:
    present = np.sort(values[~np.isnan(values)])
    if not present.size:
        return ()
    inner = (np.arange(1, n_bins) * present.size) // n_bins
    quantiles = present[inner]
    distinct = _few_distinct(present, n_bins)
    heavy = quantiles[1:][quantiles[1:] == quantiles[:-1]] if distinct is None else distinct
    edges = np.unique(np.concatenate([quantiles, heavy, np.nextafter(heavy, np.inf)]))
    # An infinite edge has no JSON form and no value beyond it; -0.0 is 0.0.
    return tuple((edges[np.isfinite(edges)] + 0.0).tolist())


def _few_distinct(ascending: Floats, most: int) -> Floats | None:
    """Return the distinct values of a sorted array, None when there are more than `most`."""
    first = np.concatenate([[True], ascending[1:] != ascending[:-1]])
    return ascending[first] if int(np.count_nonzero(first)) <= most else None
