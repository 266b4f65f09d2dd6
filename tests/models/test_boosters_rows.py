"""Rows as a matrix, labels as places."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from renewal.core.errors import Invalid
from renewal.models.boosters_rows import checked_weights, matrix_of, target_of, texts_of

NAN = np.nan


def test_every_kind_becomes_a_number() -> None:
    rows = pa.table(
        {
            "f": pa.array([1.5, None]),
            "i": pa.array([2, None]),
            "b": pa.array([True, None]),
            "s": pa.array(["b", None]),
            "d": pa.array(["y", "x"]).dictionary_encode(),
        }
    )
    texts = texts_of(rows)
    assert texts == (None, None, None, ("b",), ("x", "y"))
    found = matrix_of(rows, tuple(rows.column_names), texts, who="a test")
    expected = [[1.5, 2.0, 1.0, 0.0, 1.0], [NAN, NAN, NAN, NAN, 0.0]]
    np.testing.assert_array_equal(found, expected)


def test_columns_come_in_the_order_of_the_fit() -> None:
    """Breaks when a request's order of columns decides what the trees read."""
    rows = pa.table({"b": [2.0], "more": [9.0], "a": [1.0]})
    found = matrix_of(rows, ("a", "b"), (None, None), who="a test")
    assert found.tolist() == [[1.0, 2.0]]
    with pytest.raises(Invalid, match="the columns a, c"):
        matrix_of(rows, ("a", "c"), (None, None), who="a test")


def test_a_column_of_nulls_without_a_type_is_missing() -> None:
    rows = pa.table({"s": pa.nulls(2), "n": pa.nulls(2)})
    assert np.isnan(matrix_of(rows, ("s", "n"), (("a",), None), who="a test")).all()


def test_a_column_of_nulls_at_the_fit_has_no_texts() -> None:
    rows = pa.table({"s": pa.array([None, None], pa.string())})
    assert texts_of(rows) == ((),)
    later = pa.table({"s": ["a"]})
    assert np.isnan(matrix_of(later, ("s",), ((),), who="a test")).all()


def test_other_types_are_refused() -> None:
    rows = pa.table({"d": pa.array([[1.0]])})
    with pytest.raises(Invalid, match="'d' of type list"):
        matrix_of(rows, ("d",), (None,), who="a test")


def test_places_of_classes_come_from_the_fit() -> None:
    """Breaks when the labels at hand decide the places: of a, b, c only b and c may come."""
    labels = np.array(["c", "b"], dtype=object)
    places, classes = target_of(labels, ("a", "b", "c"), 2, is_classifier=True, who="a test")
    assert places.tolist() == [2.0, 1.0]
    assert classes == ("a", "b", "c")


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, NAN], [1.0, np.inf]])
def test_weights_that_weigh_nothing_are_refused(wrong: list[float]) -> None:
    with pytest.raises(Invalid, match="finite weight above zero"):
        checked_weights(np.array(wrong), 2, who="a test")
