"""Estimators of scikit-learn that write down how long each of their fits took.

So the fits of an update are timed inside it, whatever process they run in: on a busy machine no
second measurement would have met the same minute.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

NOTES = "RENEWAL_BENCH_FITS"
"""The variable that names the file of the notes; without it nothing is written."""

TRUST = ("bench.update.timed.TimedBoosting", "bench.update.timed.TimedPipeline")


class TimedBoosting(HistGradientBoostingClassifier):  # type: ignore[misc]  # not followed, hence Any
    """Boosted trees that note the seconds of their fits."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TimedBoosting:  # noqa: N803  # scikit-learn's name
        """Fit, and note how long it took."""
        with _noted(len(y)):
            super().fit(X, y, sample_weight=sample_weight)
        return self


class TimedPipeline(Pipeline):  # type: ignore[misc]  # not followed, hence Any
    """A pipeline that notes the seconds of its fits."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> TimedPipeline:  # noqa: N803  # scikit-learn's name
        """Fit, and note how long it took."""
        with _noted(len(y)):
            super().fit(X, y, **params)
        return self


def fits_noted(path: Path) -> list[dict[str, float]]:
    """Return the notes of a file: ``rows``, ``seconds`` and ``cpu_s`` of each fit."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def _noted(n_rows: int) -> Iterator[None]:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    yield
    note = {
        "rows": n_rows,
        "seconds": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - cpu_s,
    }
    if NOTES in os.environ:
        with Path(os.environ[NOTES]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")
