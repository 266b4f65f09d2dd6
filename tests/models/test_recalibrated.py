"""Recalibration: better probabilities from the same ranking, on rows of a changed world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from renewal.core.errors import Invalid
from renewal.models.recalibrated import recalibrated
from renewal.models.sklearn import SklearnAdapter
from renewal.models.sklearn_parts import unwrapped
from renewal.models.task import Binary, Multiclass, Regression


def world(seed: int, n_rows: int, shift: float) -> tuple[pa.Table, Any]:
    """Rows whose label is likelier by `shift` on the logit scale."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n_rows)
    late = rng.random(n_rows) < 1 / (1 + np.exp(-(2 * values + shift)))
    table = pa.table({"a": values, "b": rng.normal(size=n_rows)})
    return table, np.array(late.tolist(), dtype=object)


@pytest.mark.parametrize(
    "recipe",
    [LogisticRegression(), HistGradientBoostingClassifier(max_iter=20), RandomForestClassifier(20)],
)
def test_gains_when_the_base_rate_has_moved(adapter: SklearnAdapter, recipe: Any) -> None:
    """Broken by curves that are fitted on the wrong scores, or not used.

    The label's logit moves by -2 between fit and now; 2,000 rows, seeds fixed, so the
    outcome is one and the same at each run. The gain must be .1 nats at least.
    """
    task = Binary()
    fitted = adapter.fit(recipe, *world(1, 1000, 0.0), seed=0)
    made = recalibrated(fitted, *world(2, 1000, -2.0), task)
    rows, labels = world(3, 2000, -2.0)
    classes = adapter.classes(fitted)
    before = task.loss(adapter.predict(fitted, rows), labels, classes).mean()
    after = task.loss(adapter.predict(made, rows), labels, adapter.classes(made)).mean()
    assert adapter.classes(made) == classes
    assert before - after > 0.1


def test_the_model_inside_is_shared_and_unchanged(adapter: SklearnAdapter) -> None:
    """Broken by fitting the base again: calibration rows would become training rows."""
    fitted = adapter.fit(LogisticRegression(), *world(1, 300, 0.0))
    before = adapter.dump(fitted)
    made = recalibrated(fitted, *world(2, 300, -1.0), Binary())
    assert unwrapped(made) is fitted
    assert adapter.dump(fitted) == before


def test_a_second_recalibration_replaces_the_first(adapter: SklearnAdapter) -> None:
    """Broken by curves on curves: each month would add one."""
    fitted = adapter.fit(LogisticRegression(), *world(1, 300, 0.0))
    once = recalibrated(fitted, *world(2, 300, -1.0), Binary())
    rows, labels = world(4, 300, 1.0)
    twice = recalibrated(once, rows, labels, Binary())
    assert unwrapped(twice) is fitted
    straight = recalibrated(fitted, rows, labels, Binary())
    assert np.array_equal(adapter.predict(twice, rows), adapter.predict(straight, rows))


def test_rows_of_a_class_that_is_new_are_left_out(adapter: SklearnAdapter) -> None:
    """Broken by a calibrated model with a class more than its scores."""
    rows, _ = world(5, 300, 0.0)
    words = np.array(["early", "late", "on time"] * 100, dtype=object)
    fitted = adapter.fit(LogisticRegression(), rows, words)
    strange = words.copy()
    strange[:30] = "cancelled"
    made = recalibrated(fitted, rows, strange, Multiclass())
    assert adapter.classes(made) == ("early", "late", "on time")
    assert adapter.predict(made, rows).shape == (300, 3)


def test_too_few_rows_of_a_class_are_refused(adapter: SklearnAdapter) -> None:
    """Broken by a curve through three points, or by scikit-learn's own error."""
    fitted = adapter.fit(LogisticRegression(), *world(1, 300, 0.0))
    rows, labels = world(2, 100, 0.0)
    labels[:] = False
    labels[:1] = True
    with pytest.raises(Invalid, match="1 of True"):
        recalibrated(fitted, rows, labels, Binary())
    with pytest.raises(Invalid, match="0 of False"):
        recalibrated(fitted, rows.slice(0, 0), labels[:0], Binary())


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
def test_other_curves_can_be_asked_for(adapter: SklearnAdapter, method: str) -> None:
    """Broken by a method that is taken and not used."""
    fitted = adapter.fit(LogisticRegression(), *world(1, 300, 0.0))
    made = recalibrated(fitted, *world(2, 300, 0.0), Binary(), method=method)
    assert made.method == method


def test_a_regression_is_shifted(adapter: SklearnAdapter) -> None:
    """Broken by a shift that makes the absolute error larger than it was."""
    rng = np.random.default_rng(9)
    rows = pa.table({"a": rng.normal(size=200)})
    values = 3.0 * rows["a"].to_numpy()
    fitted = adapter.fit(LinearRegression(), rows, values)
    made = recalibrated(fitted, rows, values + 10.0, Regression())
    assert adapter.predict(made, rows)[:, 0] == pytest.approx(values + 10.0)
    assert adapter.classes(made) == ()
    loaded = adapter.load(adapter.dump(made))
    assert np.array_equal(adapter.predict(loaded, rows), adapter.predict(made, rows))
    with pytest.raises(Invalid, match="labelled row"):
        recalibrated(fitted, rows.slice(0, 0), values[:0], Regression())


def test_a_regression_under_another_loss_is_refused(adapter: SklearnAdapter) -> None:
    """Broken by a median shift where another loss decides: it could do harm."""

    @dataclass(frozen=True)
    class Squared(Regression):
        loss_name: str = "squared_error"

    rows = pa.table({"a": [0.0, 1.0]})
    fitted = adapter.fit(LinearRegression(), rows, np.array([0.0, 1.0]))
    with pytest.raises(Invalid, match="squared_error"):
        recalibrated(fitted, rows, np.array([0.0, 1.0]), Squared())
