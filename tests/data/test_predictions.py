"""Predictions: aligned columns, NaN where a version failed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from renewal.data.columns import PREDICTIONS_SCHEMA, hash_keys
from renewal.data.predictions import to_predictions

Serve = Callable[..., tuple[pa.Table, pa.Table]]


def test_a_failed_prediction_has_no_scores(served: Serve) -> None:
    _, table = served(["a", "b", "c"], "P")
    at = table.column_names.index("scores")
    scores = pa.array([[0.1, 0.9], None, [0.5]], pa.list_(pa.float64()))
    table = table.set_column(at, PREDICTIONS_SCHEMA.field("scores"), scores)
    table = table.set_column(
        table.column_names.index("latency_ms"), "latency_ms", pa.array([1.0, None, 2.0])
    )
    found = to_predictions(table)
    assert np.array_equal(
        found.scores, [[0.1, 0.9], [np.nan, np.nan], [0.5, np.nan]], equal_nan=True
    )
    assert np.array_equal(found.latency_ms, [1.0, np.nan, 2.0], equal_nan=True)
    assert found.key_hash.tolist() == hash_keys(["a", "b", "c"]).tolist()
    taken = found.take(np.array([2, 0]))
    assert taken.prediction_id.tolist() == ["P-2", "P-0"]
    assert taken.scores[:, 0].tolist() == [0.5, 0.1]
    assert len(found.take(found.failed)) == 0


def test_nothing_but_failures_and_nothing_at_all(served: Serve) -> None:
    _, table = served(["a", "b"], "P")
    at = table.column_names.index("scores")
    nulls = pa.nulls(2, pa.list_(pa.float64()))
    found = to_predictions(table.set_column(at, PREDICTIONS_SCHEMA.field("scores"), nulls))
    assert found.scores.shape == (2, 0)
    empty = to_predictions(PREDICTIONS_SCHEMA.empty_table())
    assert (len(empty), empty.scores.shape) == (0, (0, 0))


def test_chunks_of_several_files_are_one(served: Serve) -> None:
    tables = [served([f"k{at}"], f"P{at}", version=f"{at}" * 64)[1] for at in range(3)]
    found = to_predictions(pa.concat_tables(tables))
    assert found.version_id.tolist() == [f"{at}" * 64 for at in range(3)]
    assert found.scores.shape == (3, 2)
