"""The adapter beyond its conformance suite: what is special about scikit-learn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.models.contract import Adapter
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Binary


def test_is_registered_and_keeps_the_contract() -> None:
    """Broken by an entry point or a signature that differs from the contract."""
    adapter: Adapter = load_plugin("adapters", "sklearn")()
    assert isinstance(adapter, SklearnAdapter)
    assert adapter.name == "sklearn"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False], (False, True)),
        ([2, 1], (1, 2)),
        (["late", "in time"], ("in time", "late")),
        ([1.0, 0.0], (0, 1)),
    ],
)
def test_labels_of_any_kind_come_back_as_plain_values(
    adapter: SklearnAdapter, labels: list[Any], classes: tuple[Any, ...]
) -> None:
    """Broken by NumPy scalars in a manifest, or classes in another order than the scores."""
    features = pa.table({"a": [0.0, 1.0] * 10})
    known = np.array(Binary().labels(labels * 10, who="test").tolist(), dtype=object)
    fitted = adapter.fit(LogisticRegression(), features, known)
    assert adapter.classes(fitted) == classes
    assert [type(each) for each in adapter.classes(fitted)] == [type(each) for each in classes]
    scores = adapter.predict(fitted, features.slice(0, 1))
    assert scores[0, classes.index(known[0])] > 0.5


def test_models_fitted_elsewhere_predict_as_they_did_there(
    adapter: SklearnAdapter, mixed: pa.Table, late: Any
) -> None:
    """Broken by a registered model that sees its rows otherwise than its maker did."""
    frame = mixed.to_pandas()
    labels = np.array(late.tolist())
    columns = ColumnTransformer([("where", OneHotEncoder(), ["where"])], remainder="passthrough")
    on_frame = make_pipeline(columns, LogisticRegression()).fit(frame, labels)
    assert np.array_equal(adapter.predict(on_frame, mixed), on_frame.predict_proba(frame))

    as_category = frame.assign(where=frame["where"].astype("category"))
    trees = HistGradientBoostingClassifier(max_iter=5).fit(as_category, labels)
    assert np.array_equal(adapter.predict(trees, mixed), trees.predict_proba(as_category))

    numbers = frame[["a", "b"]].to_numpy()
    on_matrix = LogisticRegression().fit(numbers, labels)
    found = adapter.predict(on_matrix, mixed.select(["a", "b"]))
    assert found == pytest.approx(on_matrix.predict_proba(numbers), abs=1e-14)

    by_place = ColumnTransformer([("where", OneHotEncoder(), [2])], remainder="passthrough")
    objects = frame.to_numpy(dtype=object)
    on_objects = make_pipeline(by_place, LogisticRegression()).fit(objects, labels)
    assert np.array_equal(adapter.predict(on_objects, mixed), on_objects.predict_proba(objects))


def test_a_named_model_takes_columns_in_any_order(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by handing a frame on in the order of the request: scikit-learn refuses it."""
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    turned = numbers.select(["b", "a"])
    assert np.array_equal(adapter.predict(fitted, turned), adapter.predict(fitted, numbers))


def test_an_unfitted_estimator_and_foreign_rows_are_invalid(
    adapter: SklearnAdapter, numbers: pa.Table, mixed: pa.Table, late: Any
) -> None:
    """Broken by scikit-learn's own exceptions reaching a caller."""
    with pytest.raises(Invalid):
        adapter.predict(LogisticRegression(), numbers)
    with pytest.raises(Invalid, match="could not convert"):
        adapter.fit(LogisticRegression(), mixed, late)
    gappy = numbers.set_column(0, "a", pa.nulls(200, pa.float64()))
    with pytest.raises(Invalid, match="NaN"):
        adapter.predict(adapter.fit(LogisticRegression(), numbers, late), gappy)


def test_more_than_one_target_is_invalid(adapter: SklearnAdapter, numbers: pa.Table) -> None:
    """Broken by scores of a width that no task knows."""
    fitted = LinearRegression().fit(numbers.to_pandas(), numbers.to_pandas())
    with pytest.raises(Invalid, match="1 scores"):
        adapter.predict(fitted, numbers)


def test_a_classifier_without_probabilities_is_invalid(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by finding out at the first request."""
    with pytest.raises(Invalid, match="CalibratedClassifierCV"):
        adapter.fit(LinearSVC(), numbers, late)
    labels = np.array(late.tolist())
    with pytest.raises(Invalid, match="CalibratedClassifierCV"):
        adapter.predict(LinearSVC().fit(numbers.to_pandas(), labels), numbers)


def test_partial_fit_moves_the_last_step_alone(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a scaler that learns too: what the model has learnt would shift under it."""
    recipe = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss"))
    parent = adapter.fit(recipe, numbers, late, seed=1)
    far = pa.table({"a": [100.0] * 50, "b": [100.0] * 50})
    grown = adapter.partial_fit(parent, far, np.array([False] * 50, dtype=object))
    assert np.array_equal(grown[0].mean_, parent[0].mean_)
    assert not np.array_equal(grown[1].coef_, parent[1].coef_)
    fewer = adapter.predict(grown, far)[:, 1] < adapter.predict(parent, far)[:, 1] + 1e-9
    assert fewer.all()


def test_partial_fit_learns_what_the_rows_say(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by rows and labels that lose each other: the new world must be learnt."""
    parent = adapter.fit(SGDClassifier(loss="log_loss"), numbers, late, seed=1)
    turned = np.array([not label for label in late.tolist()], dtype=object)
    grown = parent
    for _ in range(20):
        grown = adapter.partial_fit(grown, numbers, turned)
    task, classes = Binary(), adapter.classes(parent)
    before = task.loss(adapter.predict(parent, numbers), turned, classes).mean()
    assert task.loss(adapter.predict(grown, numbers), turned, classes).mean() < before / 2


def test_partial_fit_reaches_inside_a_recalibration(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any, curves_on: Callable[..., Any]
) -> None:
    """Broken by an update that a round trip through the store, or the curve, swallows."""
    base = adapter.fit(SGDClassifier(loss="log_loss"), numbers, late, seed=1)
    curves = adapter.load(adapter.dump(curves_on(base, numbers, late)))
    turned = np.array([not label for label in late.tolist()], dtype=object)
    grown = adapter.partial_fit(curves, numbers, turned)
    assert isinstance(grown, CalibratedClassifierCV)
    assert not np.allclose(adapter.predict(grown, numbers), adapter.predict(curves, numbers))


def test_partial_fit_refuses_a_class_that_is_new(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a ValueError from inside, or a class that is dropped in silence."""
    parent = adapter.fit(SGDClassifier(loss="log_loss"), numbers, late)
    words = np.array(["maybe"] * 200, dtype=object)
    with pytest.raises(Invalid, match="maybe") as caught:
        adapter.partial_fit(parent, numbers, words)
    assert caught.value.fields["classes"] == ("maybe",)


def test_retraining_a_recalibrated_model_learns_from_the_rows(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any, curves_on: Callable[..., Any]
) -> None:
    """Broken by cloning the frozen model with its wrapper: it would never change again."""
    base = adapter.fit(LogisticRegression(), numbers, late)
    curves = curves_on(base, numbers, late)
    turned = np.array([not label for label in late.tolist()], dtype=object)
    again = adapter.fit(curves, numbers, turned)
    assert isinstance(again, LogisticRegression)
    assert again.coef_ == pytest.approx(-base.coef_, abs=1e-3)


def test_accepts_predictors_only(adapter: SklearnAdapter) -> None:
    """Broken by a transformer, a class, or a stranger that fails later."""
    assert adapter.accepts(make_pipeline(StandardScaler(), LogisticRegression()))
    assert adapter.accepts(FrozenEstimator(LogisticRegression()))
    for other in (StandardScaler(), LogisticRegression, "model", None, pd.DataFrame()):
        assert not adapter.accepts(other)


def test_what_we_add_to_a_single_row(adapter: SklearnAdapter) -> None:
    """Broken by a slow way into pandas: 20 columns of one row, at most 2.25 times the call itself.

    Measured 1.6 times. The smallest of 60 timings, taken in turns, so that other work on the
    machine slows both alike.
    """
    rng = np.random.default_rng(4)
    features = pa.table({f"c{place}": rng.normal(size=50) for place in range(20)})
    features = features.append_column("i", pa.array(rng.integers(0, 9, 50)))
    labels = np.array((rng.random(50) < 0.5).tolist(), dtype=object)
    fitted = adapter.fit(LogisticRegression(max_iter=1000), features, labels)
    row = features.slice(0, 1)
    frame = row.to_pandas()

    def taken_s(call: Any) -> float:
        started_s = time.perf_counter()
        call()
        return time.perf_counter() - started_s

    calls = (lambda: adapter.predict(fitted, row), lambda: fitted.predict_proba(frame))
    ours_s, theirs_s = (
        min(each) for each in zip(*(map(taken_s, calls) for _ in range(60)), strict=True)
    )
    assert ours_s < 2.25 * theirs_s
