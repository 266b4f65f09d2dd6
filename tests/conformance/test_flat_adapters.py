"""Learners of flat tables refuse bytes and tensors: they would have to guess what these mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.data.frame import as_table, conform, signature_of


def _learner(name: str) -> Any:
    if name == "sklearn":
        return LogisticRegression()
    module = pytest.importorskip(name, reason=f"the extra {name} is not installed")
    if name == "river":
        return pytest.importorskip("river.linear_model").LogisticRegression()
    return module.LGBMClassifier() if name == "lightgbm" else module.XGBClassifier()


@pytest.mark.parametrize("name", ["sklearn", "lightgbm", "xgboost", "river"])
@pytest.mark.parametrize("column", [np.zeros((8, 2, 3)), [b"x"] * 8], ids=["tensor", "bytes"])
def test_bytes_and_tensors_are_refused(name: str, column: Any) -> None:
    """Breaks when a table of images becomes one column of objects, and fails deep inside."""
    table = as_table({"a": np.arange(8.0), "odd": column}, who="test")
    table = conform(table, signature_of(table), who="test")
    labels = np.array([0, 1] * 4, dtype=object)
    with pytest.raises(Invalid) as caught:
        load_plugin("adapters", name)().fit(_learner(name), table, labels)
    assert name == "river" or caught.value.fields["column"] == "odd"


def test_a_flattened_tensor_is_a_table_like_any_other() -> None:
    """What one does instead: the numbers as columns, before they come here."""
    values = np.arange(48.0).reshape(8, 2, 3)
    table = as_table(values.reshape(8, 6), who="test")
    assert [field.kind for field in signature_of(table).fields] == ["float"] * 6
    fitted = load_plugin("adapters", "sklearn")().fit(
        LogisticRegression(), table, np.array([0, 1] * 4, dtype=object)
    )
    assert load_plugin("adapters", "sklearn")().predict(fitted, table).shape == (8, 2)
