"""Labels in one form, and every bad label as a typed error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.models.labels import class_labels, dense, sorted_classes, value_labels

FORMS = [
    lambda values: values,
    np.array,
    lambda values: np.array(values, dtype=object),
    pd.Series,
    pa.array,
    lambda values: pa.chunked_array([values[:1], values[1:]]),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [[True, False, True], [3, 1, 2], ["b", "a", "b"]])
def test_every_form_of_a_column_gives_plain_values(form: Any, values: list[Any]) -> None:
    """Broken by a form whose scalars are NumPy's: `classes` would not be JSON."""
    labels = class_labels(form(values), who="test")
    assert labels.dtype == object
    assert labels.tolist() == values
    assert {type(each) for each in labels.tolist()} == {type(values[0])}


def test_whole_floats_are_ints() -> None:
    """Broken by two classes 1 and 1.0: pandas stores an int column with a gap as floats."""
    labels = class_labels(pd.Series([0, 1, None]).dropna(), who="test")
    assert labels.tolist() == [0, 1]
    assert type(labels[0]) is int


@pytest.mark.parametrize("gap", [None, math.nan, pd.NA, pd.NaT])
def test_a_gap_is_counted_and_refused(gap: Any) -> None:
    """Broken by a NaN label that trains as a class of its own."""
    for read in (class_labels, value_labels):
        with pytest.raises(Invalid, match="1 missing") as caught:
            read(np.array([1, gap, 0], dtype=object), who="test")
        assert caught.value.fields["n_missing"] == 1


@pytest.mark.parametrize(
    ("values", "came"),
    [
        ([0.5, 1.0], "0.5"),
        ([1, "1"], "int and string"),
        ([True, 1], "bool and int"),
        ([b"x", b"y"], "bytes"),
        ([[1], [0]], "shape"),
    ],
)
def test_strange_class_labels_are_refused(values: Any, came: str) -> None:
    """Broken by two kinds in one column: True and 1 would be one class and two."""
    wanted = np.array(values) if came == "shape" else np.array(values, dtype=object)
    with pytest.raises(Invalid, match=came):
        class_labels(wanted, who="test")


@pytest.mark.parametrize("values", [["1.5"], [True, False], [1.0, math.inf]])
def test_a_regression_takes_finite_numbers_only(values: Any) -> None:
    """Broken by a class or an infinity that is averaged into a loss."""
    with pytest.raises(Invalid):
        value_labels(np.array(values, dtype=object), who="test")


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1))
def test_dense_and_sorted_agree_with_numpy(values: list[str]) -> None:
    """Broken by an order of classes other than the one scikit-learn makes."""
    labels = class_labels(values, who="test")
    assert dense(labels).dtype.kind == "U"
    assert sorted_classes(labels) == tuple(np.unique(dense(labels)).tolist())
