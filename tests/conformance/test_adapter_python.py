"""Objects of one's own x every check of the conformance suite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from renewal.models.python import PythonAdapter
from renewal.models.space import Dimension
from renewal.testing.adapters import ADAPTER_CHECKS, AdapterCase, run_adapter_check

N_ROWS = 120
_RNG = np.random.default_rng(20131)
_DELAY = _RNG.normal(size=N_ROWS)
_STOPS = _RNG.integers(0, 3, N_ROWS)
_SIGNAL = _DELAY + 0.5 * _STOPS + 0.2 * _RNG.normal(size=N_ROWS)
NUMBERS = pa.table({"delay": _DELAY, "stops": _STOPS})
MIXED = NUMBERS.append_column("airport", pa.array(_RNG.choice(["EWR", "JFK"], N_ROWS)))
WORDS = np.array(
    np.select([_SIGNAL < 0, _SIGNAL > 1], ["early", "late"], "on time").tolist(), dtype=object
)


class Centres:
    """Tells classes apart by the nearest mean; goes on by running sums, and weighs rows."""

    def __init__(self, sharpness: float = 1.0) -> None:
        self.sharpness = sharpness

    def fit(self, rows: Any, labels: Any, sample_weight: Any = None) -> Any:
        self.classes_ = np.unique(labels)
        shape = (len(self.classes_), rows.shape[1])
        self.sums, self.counts = np.zeros(shape), np.zeros(len(self.classes_))
        return self.partial_fit(rows, labels, sample_weight)

    def partial_fit(self, rows: Any, labels: Any, sample_weight: Any = None) -> Any:
        values = np.asarray(rows, dtype=np.float64)
        weights = np.ones(len(values)) if sample_weight is None else sample_weight
        for at, label in enumerate(self.classes_):
            here = labels == label
            self.sums[at] += (values[here] * weights[here, None]).sum(axis=0)
            self.counts[at] += weights[here].sum()
        return self

    def predict_proba(self, rows: Any) -> Any:
        centres = self.sums / self.counts[:, None]
        values = np.asarray(rows, dtype=np.float64)
        gaps = ((values[:, None, :] - centres[None]) ** 2).sum(axis=2)
        scores = np.exp(-self.sharpness * gaps) * (self.counts / self.counts.sum())
        return scores / scores.sum(axis=1, keepdims=True)

    def predict(self, rows: Any) -> Any:
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]

    def search_space(self) -> Mapping[str, Dimension]:
        return {"sharpness": Dimension(0.1, 10.0, log=True)}


class Shares:
    """Learns the share of each label by airport, says no classes, and writes its own bytes."""

    def __init__(self, smoothing: int = 1, seed: int | None = None) -> None:
        self.smoothing, self.seed = smoothing, seed
        self.table: dict[str, list[float]] = {}

    def get_params(self) -> dict[str, Any]:
        return {"smoothing": self.smoothing, "seed": self.seed}

    def fit(self, rows: pd.DataFrame, labels: Any) -> None:
        known = np.unique(labels)
        for airport in sorted(set(rows["airport"])):
            here = labels[np.asarray(rows["airport"] == airport)]
            counts = np.array([(here == each).sum() + self.smoothing for each in known])
            self.table[airport] = (counts / counts.sum()).tolist()

    def predict_proba(self, rows: pd.DataFrame) -> Any:
        return np.array([self.table[airport] for airport in rows["airport"]])

    def predict(self, rows: pd.DataFrame) -> Any:
        return self.predict_proba(rows).argmax(axis=1)

    def to_bytes(self) -> bytes:
        return json.dumps([self.smoothing, self.seed, self.table]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Shares:
        smoothing, seed, table = json.loads(data)
        made = cls(smoothing, seed)
        made.table = table
        return made


class Plane:
    """Least squares with a penalty; keeps its state in `__getstate__`, without its cache."""

    def __init__(self, penalty: float = 1e-3) -> None:
        self.penalty = penalty
        self.cache: dict[int, object] = {0: object()}

    def fit(self, rows: Any, values: Any, sample_weight: Any = None) -> None:
        inputs = np.column_stack([np.ones(len(rows)), rows])
        weights = np.ones(len(rows)) if sample_weight is None else sample_weight
        left = (inputs * weights[:, None]).T @ inputs + self.penalty * np.eye(inputs.shape[1])
        self.slopes = np.linalg.solve(left, inputs.T @ (weights * values))

    def predict(self, rows: Any) -> Any:
        # Not a product of matrices: its sums depend on the number of rows.
        return (np.column_stack([np.ones(len(rows)), rows]) * self.slopes).sum(axis=1)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache out."""
        return {name: value for name, value in vars(self).items() if name != "cache"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with an empty cache."""
        self.__dict__.update(state, cache={})


def _case(name: str, kind: type[Any], rows: pa.Table, labels: Any, **options: Any) -> AdapterCase:
    trust = (f"{kind.__module__}.{kind.__qualname__}",)
    return AdapterCase(name, PythonAdapter(), kind(), rows, labels, trust=trust, **options)


CASES = [
    _case("centres", Centres, NUMBERS, WORDS),
    _case("centres_on_a_matrix", Centres, NUMBERS, WORDS, names=False),
    _case("shares", Shares, MIXED, WORDS),
    _case("plane", Plane, NUMBERS, 10.0 * _SIGNAL, names=False),
]
EXPECTED_FAILURES: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize("check", ADAPTER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_adapter(case: AdapterCase, check: str) -> None:
    """Broken by an object of one's own that is kept with less than the contract promises."""
    run_adapter_check(check, case, expected_failures=EXPECTED_FAILURES)
