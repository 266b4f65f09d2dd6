"""The built-in disturbances of tables: what breaks between a warehouse and a model.

Each leaves the table's columns, kinds and number of rows as they were: integers stay
integers, and a column that may not be null gets no null. Rows carry one disturbance each of
those a kind could do, so that one scoring averages over all columns. Bytes are never touched:
half an image is no image. Of tensors, only noise makes another one of the same kind.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.core.spec import Field, Signature
from renewal.data.tensor_values import placed

SHARE = 0.1
FACTOR = 1000
# Noise of a tensor, in its standard deviations: as much as in a poor photograph.
TENSOR_NOISE = 0.2
_INT64 = np.iinfo(np.int64)


class Nulls:
    """Lose a tenth of the values of every column that may be null, at random.

    Bytes and tensors are never lost: what a model reads from nothing else has no answer.

    Examples
    --------
    >>> from renewal.core.spec import Field, Signature
    >>> table = pa.table({"x": np.arange(100.0)})
    >>> signature = Signature((Field("x", "float"),))
    >>> Nulls().perturb(table, signature, np.random.default_rng(0)).column("x").null_count
    10
    """

    name = "nulls"

    def applies(self, signature: Signature) -> str | None:
        """Return why not: no column may be null, or those that may are bytes and tensors."""
        if any(_may_be_lost(field) for field in signature.fields):
            return None
        has_others = any(field.nullable for field in signature.fields)
        return "no nullable column" + (" but bytes and tensors" if has_others else "")

    def perturb(
        self, features: pa.Table, signature: Signature, rng: np.random.Generator
    ) -> pa.Table:
        """Return the rows with more nulls; those that were null stay null."""
        for field in _held(features, signature):
            if _may_be_lost(field):
                lost = rng.random(features.num_rows) < SHARE
                column = _array(features, field.name)
                gap = pa.scalar(None, column.type)
                features = _replaced(features, field.name, pc.if_else(pa.array(lost), gap, column))
        return features


class Noise:
    """Shift every float by a normal draw of the column's own standard deviation.

    The deviation is that of the rows at hand; of a tensor, over all its places, and a fifth of
    it. Missing and infinite values stay as they are.

    Examples
    --------
    >>> from renewal.core.spec import Field, Signature
    >>> table = pa.table({"x": np.arange(100.0)})
    >>> moved = Noise().perturb(
    ...     table, Signature((Field("x", "float"),)), np.random.default_rng(0)
    ... )
    >>> shift = moved["x"].to_numpy() - table["x"].to_numpy()
    >>> round(float(shift.std() / np.arange(100.0).std()), 1)
    1.0
    """

    name = "noise"

    def applies(self, signature: Signature) -> str | None:
        """Return why not: no column of floats or tensors."""
        has_float = any(field.kind in {"float", "tensor"} for field in signature.fields)
        return None if has_float else "no float column"

    def perturb(
        self, features: pa.Table, signature: Signature, rng: np.random.Generator
    ) -> pa.Table:
        """Return the rows with noise on every column of floats and tensors at once."""
        for field in _held(features, signature):
            if field.kind == "tensor":
                features = _with_noisy_tensors(features, field, rng)
            if field.kind == "float":
                values = _floats(features, field.name)
                with np.errstate(over="ignore"):
                    moved = values + _spread(values) * rng.normal(size=len(values))
                features = _with_floats(features, field.name, moved)
        return features


class UnitChange:
    """Give one number of every row in another unit: a thousand times as large.

    Which column it is is drawn for each row, so a model with ten columns is asked about each
    by a tenth of the rows. Integers stop at the largest one of 64 bits.

    Examples
    --------
    >>> from renewal.core.spec import Field, Signature
    >>> table = pa.table({"km": [1.5, 2.5]})
    >>> metres = UnitChange().perturb(
    ...     table, Signature((Field("km", "float"),)), np.random.default_rng(0)
    ... )
    >>> metres["km"].to_pylist()
    [1500.0, 2500.0]
    """

    name = "unit_change"

    def applies(self, signature: Signature) -> str | None:
        """Return why not: no column of numbers."""
        return None if _numeric(signature.fields) else "no numeric column"

    def perturb(
        self, features: pa.Table, signature: Signature, rng: np.random.Generator
    ) -> pa.Table:
        """Return the rows, each with one number times 1,000."""
        fields = _numeric(_held(features, signature))
        chosen = rng.integers(0, max(len(fields), 1), features.num_rows)
        for place, field in enumerate(fields):
            here = chosen == place
            if field.kind == "float":
                values = _floats(features, field.name)
                with np.errstate(over="ignore"):
                    features = _with_floats(
                        features, field.name, np.where(here, values * FACTOR, values)
                    )
            else:
                features = _with_larger_ints(features, field.name, here)
        return features


class UnseenCategory:
    """Replace a tenth of the texts of every string column by one that the column never held.

    Examples
    --------
    >>> from renewal.core.spec import Field, Signature
    >>> table = pa.table({"origin": ["JFK", "LGA"] * 10})
    >>> changed = UnseenCategory().perturb(
    ...     table, Signature((Field("origin", "string"),)), np.random.default_rng(0)
    ... )
    >>> sorted(set(changed["origin"].to_pylist()))
    ['JFK', 'LGA', 'unseen']
    """

    name = "unseen_category"

    def applies(self, signature: Signature) -> str | None:
        """Return why not: no column of texts."""
        has_text = any(field.kind == "string" for field in signature.fields)
        return None if has_text else "no string column"

    def perturb(
        self, features: pa.Table, signature: Signature, rng: np.random.Generator
    ) -> pa.Table:
        """Return the rows with unseen texts; nulls stay null."""
        for field in _held(features, signature):
            if field.kind == "string":
                column = _array(features, field.name)
                known = set(pc.unique(column).to_pylist())
                word = "unseen"
                while word in known:
                    word = f"{word}_"
                here = rng.random(len(column)) < SHARE
                mask = pc.and_(pa.array(here), pc.is_valid(column))
                changed = pc.if_else(mask, pa.scalar(word, column.type), column)
                features = _replaced(features, field.name, changed)
        return features


class SwappedColumns:
    """Swap two numeric columns of one kind, as when a join or a file changes their order.

    The pair is drawn for each row among all pairs of floats and of ints. A column that may
    be null is only swapped with another such, so that no null comes where none may be.

    Examples
    --------
    >>> from renewal.core.spec import Field, Signature
    >>> table = pa.table({"lat": [1.0, 2.0], "lon": [10.0, 20.0]})
    >>> swapped = SwappedColumns().perturb(
    ...     table,
    ...     Signature((Field("lat", "float"), Field("lon", "float"))),
    ...     np.random.default_rng(0),
    ... )
    >>> swapped.to_pydict()
    {'lat': [10.0, 20.0], 'lon': [1.0, 2.0]}
    """

    name = "swapped_columns"

    def applies(self, signature: Signature) -> str | None:
        """Return why not: no two numeric columns of one kind."""
        return None if _pairs(signature.fields) else "no two numeric columns of one kind"

    def perturb(
        self, features: pa.Table, signature: Signature, rng: np.random.Generator
    ) -> pa.Table:
        """Return the rows, each with two of its numbers swapped."""
        pairs = _pairs(_held(features, signature))
        chosen = rng.integers(0, max(len(pairs), 1), features.num_rows)
        given = features
        for place, (first, second) in enumerate(pairs):
            here = pa.array(chosen == place)
            for name, other in ((first, second), (second, first)):
                swapped = pc.if_else(here, _array(given, other), _array(features, name))
                features = _replaced(features, name, swapped)
        return features


def _held(features: pa.Table, signature: Signature) -> tuple[Field, ...]:
    return tuple(field for field in signature.fields if field.name in features.column_names)


def _may_be_lost(field: Field) -> bool:
    return field.nullable and field.kind not in {"bytes", "tensor"}


def _numeric(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    return tuple(field for field in fields if field.kind in {"float", "int"})


def _pairs(fields: tuple[Field, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (one.name, other.name)
        for one, other in combinations(_numeric(fields), 2)
        if one.kind == other.kind and one.nullable == other.nullable
    )


def _array(features: pa.Table, name: str) -> pa.Array:
    column = features.column(name)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _floats(features: pa.Table, name: str) -> NDArray[np.float64]:
    values = _array(features, name).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64)


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation of the finite values; 0 where there is none."""
    finite = values[np.isfinite(values)]
    # In units of the largest, so that squares of large numbers do not overflow.
    unit = float(np.abs(finite).max()) if len(finite) else 0.0
    return unit * float((finite / unit).std()) if unit > 0.0 else 0.0


def _replaced(features: pa.Table, name: str, column: pa.Array) -> pa.Table:
    place = features.column_names.index(name)
    return features.set_column(place, features.schema.field(place), column)


def _with_floats(features: pa.Table, name: str, values: NDArray[np.float64]) -> pa.Table:
    """Replace a column; nulls stay nulls, and NaN stays NaN."""
    column = _array(features, name)
    lost = column.is_null().to_numpy(zero_copy_only=False)
    return _replaced(features, name, pa.array(values, column.type, mask=lost))


def _with_noisy_tensors(features: pa.Table, field: Field, rng: np.random.Generator) -> pa.Table:
    column = _array(features, field.name)
    values = column.flatten().to_numpy(zero_copy_only=False)
    spread = np.float32(TENSOR_NOISE * _spread(values.astype(np.float64)))
    with np.errstate(over="ignore"):
        moved = values + spread * rng.standard_normal(len(values), np.float32)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    return _replaced(features, field.name, placed(moved, there, field.n_values))


def _with_larger_ints(features: pa.Table, name: str, here: NDArray[np.bool_]) -> pa.Table:
    column = _array(features, name)
    lost = column.is_null().to_numpy(zero_copy_only=False)
    values = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    held = np.clip(values, _INT64.min // FACTOR + 1, _INT64.max // FACTOR) * FACTOR
    stopped = np.where(values > _INT64.max // FACTOR, _INT64.max, held)
    stopped = np.where(values < _INT64.min // FACTOR + 1, _INT64.min, stopped)
    changed = np.where(here, stopped, values)
    return _replaced(features, name, pa.array(changed, pa.int64(), mask=lost).cast(column.type))
