"""Small tables from which a model learns something plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from renewal.models.sklearn import SklearnAdapter


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
