"""Warming up: what a version must say before it serves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.errors import Corrupt, Invalid
from renewal.core.spec import Field, Kind, Signature
from renewal.core.version import Manifest, Version
from renewal.data.frame import schema_of, signature_of
from renewal.models.task import Binary
from renewal.serve.features import Features
from renewal.serve.slots import Loaded
from renewal.serve.warm import blank_row, newest_rows, warm_up


class Says:
    """A runtime that says one thing of every row, or refuses blank text."""

    def __init__(self, row: Any) -> None:
        self.asked: list[pa.Table] = []
        self._row = row

    def predict(self, features: pa.Table) -> np.ndarray[Any, Any]:
        """Say it."""
        self.asked.append(features)
        if self._row is None:
            raise ZeroDivisionError
        return np.array([self._row] * features.num_rows)

    def close(self) -> None:
        """Let go of nothing."""


class RefusesGaps(Says):
    """A runtime that takes no gaps, as many estimators of scikit-learn do."""

    def predict(self, features: pa.Table) -> np.ndarray[Any, Any]:
        """Refuse a gap, else say it."""
        if features.column("x").null_count:
            raise Invalid("it", needs="no gap", came="one", todo="Fill it.")
        return super().predict(features)


def loaded(row: Any, kind: Kind = "float", runtime_of: type[Says] = Says) -> tuple[Loaded, Says]:
    signature = Signature((Field("x", kind),))
    manifest = Manifest("m", "binary", "sklearn", "0" * 64, 1, signature, (0, 1), "train")
    runtime = runtime_of(row)
    return Loaded(Version("id", 1, manifest, {}, datetime.now(UTC), ""), Binary(), runtime), runtime


def rows(columns: dict[str, list[Any]]) -> Features:
    table = pa.table(columns)
    return Features(signature_of(table), table=table)


def test_a_sound_version_is_asked_by_the_sample() -> None:
    version, runtime = loaded([0.5, 0.5])
    assert warm_up(version, [rows({"x": [7.0]})]) >= 0
    assert [each.to_pylist() for each in runtime.asked] == [[{"x": 7.0}]] * 2


@pytest.mark.parametrize("row", [None, [0.5], [0.5, np.nan], [np.inf, 0.0], [0.1, 0.2, 0.7]])
def test_a_version_that_says_no_scores_is_refused(row: Any) -> None:
    with pytest.raises(Corrupt, match="v1 of model 'm'"):
        warm_up(loaded(row)[0], [])


def test_made_up_text_decides_nothing_but_real_text_does() -> None:
    version, _ = loaded(None, "string")
    assert warm_up(version, []) == 0.0
    with pytest.raises(Corrupt):
        warm_up(version, [rows({"x": ["UA"]})])


def test_a_version_may_refuse_samples() -> None:
    """Breaks when rows with a gap keep a version out that takes none: it may be the way back."""
    gap = rows({"x": pa.array([None], pa.float64())})
    version, runtime = loaded([0.5, 0.5], runtime_of=RefusesGaps)
    warm_up(version, [rows({"x": [7.0]}), gap, gap], tolerance=0.0)
    assert runtime.asked[0].to_pylist() == [{"x": 7.0}]
    assert version.batcher.can_batch
    warm_up(version, [gap, gap])
    assert runtime.asked[-1].to_pylist() == [{"x": 0.0}]


class Biased(Says):
    """A runtime that answers rows in company by the last bits otherwise, but for zeros."""

    def predict(self, features: pa.Table) -> np.ndarray[Any, Any]:
        """Add a little to all but zeros when there are several."""
        found = super().predict(features)
        x = features.column("x").to_numpy(zero_copy_only=False)
        bias = 1e-8 * (x != 0.0) if len(x) > 1 else 0.0 * x
        return np.asarray(found + bias[:, np.newaxis])


@pytest.mark.parametrize("samples", [[], [7.0], [0.0]])
def test_a_blank_row_does_not_prove_that_company_changes_nothing(samples: list[float]) -> None:
    """Breaks when zeros, which are zeros in any order, let a network be batched."""
    version, _ = loaded([0.4, 0.6], runtime_of=Biased)
    warm_up(version, [rows({"x": [each]}) for each in samples], tolerance=0.0)
    assert not version.batcher.can_batch
    warm_up(version, [rows({"x": [each]}) for each in samples], tolerance=1e-6)
    assert version.batcher.can_batch
    warm_up(version, [rows({"x": [each]}) for each in samples], tolerance=None)
    assert not version.batcher.can_batch


def test_rows_of_the_feed_that_it_refuses_are_not_held_against_it() -> None:
    """Breaks when a redacted column of the feed keeps a version out of the next server."""
    gap = rows({"x": pa.array([None], pa.float64())})
    version, runtime = loaded([0.5, 0.5], runtime_of=RefusesGaps)
    warm_up(version, [], [gap])
    assert [each.to_pylist() for each in runtime.asked] == [[{"x": 0.0}]] * 2
    warm_up(version, [], [rows({"x": [7.0]}), gap])
    assert runtime.asked[-1].to_pylist() == [{"x": 7.0}]


def test_a_sample_of_an_earlier_signature_is_not_held_against_it() -> None:
    version, runtime = loaded([0.5, 0.5])
    warm_up(version, [rows({"other": ["UA"]})])
    assert runtime.asked[0].to_pylist() == [{"x": 0.0}]


def test_the_newest_row_of_the_feed_is_a_real_one(home: Any) -> None:
    home.declare()
    assert newest_rows(home.feed, "flights") == []
    at = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 3, 2)]
    home.feed("flights").append({"flight": ["a", "b", "c"], "at": at, "x": [1.0, 3.0, 2.0]})
    (row,) = newest_rows(home.feed, "flights")
    assert row.table().to_pylist() == [{"x": 3.0}]
    assert newest_rows(home.feed, "nobody") == []


def test_a_blank_row_has_a_tensor_of_zeros_and_no_bytes() -> None:
    """Breaks when a version of an image model cannot be warmed up before the first row."""
    signature = Signature((Field("pixels", "tensor", shape=(2, 3)), Field("image", "bytes")))
    row = blank_row(signature)
    assert row.to_pylist() == [{"pixels": [0.0] * 6, "image": b""}]
    assert row.schema.equals(schema_of(signature), check_metadata=True)
