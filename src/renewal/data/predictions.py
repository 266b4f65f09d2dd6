"""Predictions as the rest of the house works with them: aligned numpy columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from renewal.data.columns import hashes, int64s
from renewal.data.rows import objects


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """n predictions of a feed, one for each (row, version) that was scored.

    Parameters
    ----------
    prediction_id : object array of str, shape (n,)
        ``P-i`` for row i of request P; shadow predictions of a row bear the same.
    key : object array of str, shape (n,)
        Of the row.
    key_hash : uint64 array, shape (n,)
        Its hash.
    version_id, arm : object arrays of str, shape (n,)
        What scored it, and in which arm; ``shadow`` predictions reached nobody.
    propensity : float64 array in [0, 1], shape (n,)
        Chance that this arm answered.
    shadow : bool array, shape (n,)
        Whether the caller never saw it.
    scores : float64 array, shape (n, k)
        As the task defines them; NaN where it failed. k is the largest among them.
    predicted_us, event_us : int64 arrays, shape (n,), microseconds since 1970
        When it was made, and when the row happened.
    latency_ms : float64 array, shape (n,), milliseconds
        From the request to the answer; NaN where nobody measured.
    failed : bool array, shape (n,)
        Whether the version raised.
    """

    prediction_id: npt.NDArray[Any]
    key: npt.NDArray[Any]
    key_hash: npt.NDArray[np.uint64]
    version_id: npt.NDArray[Any]
    arm: npt.NDArray[Any]
    propensity: npt.NDArray[np.float64]
    shadow: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    predicted_us: npt.NDArray[np.int64]
    event_us: npt.NDArray[np.int64]
    latency_ms: npt.NDArray[np.float64]
    failed: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of predictions."""
        return len(self.prediction_id)

    def take(self, which: npt.NDArray[Any]) -> Predictions:
        """Return some of the predictions.

        Parameters
        ----------
        which : bool array of shape (n,), or int array of any length
            A mask, or positions in the order wanted.
        """
        return Predictions(*(getattr(self, field.name)[which] for field in fields(self)))


def to_predictions(table: pa.Table) -> Predictions:
    """Return a table with `PREDICTIONS_SCHEMA` as `Predictions`, in its order."""
    return Predictions(
        prediction_id=objects(table["prediction_id"]),
        key=objects(table["key"]),
        key_hash=hashes(table["key_hash"]),
        version_id=_few(table["version_id"]),
        arm=_few(table["arm"]),
        propensity=_floats(table["propensity"]),
        shadow=_flags(table["shadow"]),
        scores=_matrix(table["scores"]),
        predicted_us=int64s(table["predicted_at"]),
        event_us=int64s(table["event_at"]),
        latency_ms=_floats(table["latency_ms"]),
        failed=_flags(table["failed"]),
    )


def _few(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a text column of few distinct values, each made once."""
    return objects(column.dictionary_encode())


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = column.fill_null(np.nan).to_numpy()
    return found


def _flags(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = column.fill_null(False).to_numpy()
    return found


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    lengths: npt.NDArray[np.int64] = pc.list_value_length(column).fill_null(0).to_numpy()
    width = int(lengths.max(initial=0))
    flat: npt.NDArray[np.float64] = (
        column.drop_null().combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if column.null_count < len(column)
        else np.empty(0)
    )
    if (lengths == width).all():
        return flat.reshape(len(lengths), width)
    scores = np.full((len(lengths), width), np.nan)
    scores[np.arange(width) < lengths[:, None]] = flat
    return scores
