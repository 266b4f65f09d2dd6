"""Small tables from which a model learns something plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from renewal.models.labels import dense
from renewal.models.sklearn import SklearnAdapter
from renewal.models.sklearn_inputs import inputs_of


@pytest.fixture
def adapter() -> SklearnAdapter:
    return SklearnAdapter()


@pytest.fixture
def numbers() -> pa.Table:
    rng = np.random.default_rng(5)
    return pa.table({"a": rng.normal(size=200), "b": rng.normal(size=200)})


@pytest.fixture
def mixed(numbers: pa.Table) -> pa.Table:
    rng = np.random.default_rng(6)
    return numbers.append_column("where", pa.array(rng.choice(["EWR", "JFK", "LGA"], 200)))


@pytest.fixture
def late(numbers: pa.Table) -> Any:
    """Labels that follow the column a, with some noise."""
    rng = np.random.default_rng(7)
    signal = numbers["a"].to_numpy() + 0.5 * rng.normal(size=200)
    return np.array((signal > 0).tolist(), dtype=object)


@pytest.fixture
def curves_on() -> Callable[..., Any]:
    """Calibrate a fitted model as a user does, by scikit-learn's own wrapper around it."""

    def make(fitted: Any, rows: pa.Table, labels: Any) -> Any:
        curves = CalibratedClassifierCV(FrozenEstimator(fitted), cv=2, ensemble=False)
        return curves.fit(inputs_of(fitted, rows, who="test"), dense(labels))

    return make
