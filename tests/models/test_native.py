"""The native runtime: any order of columns, and a close that ends it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from renewal.core.errors import Invalid, Unavailable
from renewal.core.spec import Field, Signature
from renewal.models.contract import Runtime
from renewal.models.native import NativeRuntime
from renewal.models.sklearn import SklearnAdapter

SIGNATURE = Signature((Field("a", "float"), Field("b", "float")))


@pytest.mark.parametrize("names", [True, False])
def test_columns_come_in_any_order(
    adapter: SklearnAdapter,
    numbers: pa.Table,
    late: Any,
    names: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """Broken by a runtime that hands a matrix on in the order of the request."""
    fitted = adapter.fit(LogisticRegression(), numbers, late, names=names)
    runtime: Runtime = NativeRuntime(adapter, fitted, SIGNATURE)
    turned = numbers.select(["b", "a"]).append_column("more", pa.array(["x"] * 200))
    assert np.array_equal(runtime.predict(turned), adapter.predict(fitted, numbers))


def test_a_missing_column_is_named(adapter: SklearnAdapter, numbers: pa.Table, late: Any) -> None:
    """Broken by a KeyError of the table."""
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    with pytest.raises(Invalid, match="'b'") as caught:
        NativeRuntime(adapter, fitted, SIGNATURE).predict(numbers.select(["a"]))
    assert caught.value.fields["columns"] == ["b"]


def test_a_closed_runtime_says_so(adapter: SklearnAdapter, numbers: pa.Table, late: Any) -> None:
    """Broken by a prediction from memory that was given back, or a second close that fails."""
    runtime = NativeRuntime(adapter, adapter.fit(LogisticRegression(), numbers, late), SIGNATURE)
    runtime.close()
    runtime.close()
    with pytest.raises(Unavailable):
        runtime.predict(numbers)
