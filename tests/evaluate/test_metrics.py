"""Breaks when a metric is not scikit-learn's, to the last bit, or pretends to be defined."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from renewal.core.errors import Invalid
from renewal.evaluate.metrics import metric, metric_names, metrics
from renewal.models.multilabel import Multilabel
from renewal.models.task import Binary, Multiclass, Regression

Floats = NDArray[np.float64]


def same(found: float, expected: float) -> bool:
    """Bit for bit, NaN with NaN."""
    return found == expected or (math.isnan(found) and math.isnan(expected))


def objects(values: Any) -> NDArray[Any]:
    """Return labels as tasks return them."""
    labels = np.empty(len(values), dtype=object)
    labels[:] = [each.item() if isinstance(each, np.generic) else each for each in values]
    return labels


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 400), st.sampled_from([1, 2, 8]))
def test_binary_metrics_are_scikit_learns(seed: int, n: int, digits: int) -> None:
    """Coarse scores make ties, which is where curves differ."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, size=n)
    positive = np.round(rng.random(n), digits)
    scores = np.column_stack([1 - positive, positive])
    if len(set(truth.tolist())) < 2:
        truth[0] = 1 - truth[0]
    predicted = scores.argmax(axis=1)
    found = metrics(Binary(), scores, objects(truth), (0, 1))
    expected = {
        "auc": oracle.roc_auc_score(truth, positive),
        "accuracy": oracle.accuracy_score(truth, predicted),
        "precision": oracle.precision_score(truth, predicted, zero_division=np.nan),
        "recall": oracle.recall_score(truth, predicted, zero_division=np.nan),
        "f1": oracle.f1_score(truth, predicted, zero_division=np.nan),
        "log_loss": oracle.log_loss(truth, scores),
        "brier": oracle.brier_score_loss(truth, positive),
    }
    assert tuple(found) == Binary().metrics
    assert {name: found[name] for name in expected if not same(found[name], expected[name])} == {}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 300), st.integers(3, 6))
def test_multiclass_metrics_are_scikit_learns(seed: int, n: int, n_classes: int) -> None:
    rng = np.random.default_rng(seed)
    names = np.array([f"class{at}" for at in range(n_classes)])
    truth = names[np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])]
    scores = rng.dirichlet(np.full(n_classes, 0.5), size=n)
    predicted = names[scores.argmax(axis=1)]
    found = metrics(Multiclass(), scores, objects(truth), tuple(names.tolist()))
    average = {"average": "macro", "zero_division": np.nan}
    expected = {
        "accuracy": oracle.accuracy_score(truth, predicted),
        "macro_f1": oracle.f1_score(truth, predicted, **average),
        "macro_precision": oracle.precision_score(truth, predicted, **average),
        "macro_recall": oracle.recall_score(truth, predicted, **average),
        "ovr_auc": oracle.roc_auc_score(truth, scores, multi_class="ovr", labels=names),
        "log_loss": oracle.log_loss(truth, scores, labels=names),
    }
    assert tuple(found) == Multiclass().metrics
    assert {name: found[name] for name in expected if not same(found[name], expected[name])} == {}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 500), st.floats(1e-3, 1e6))
def test_regression_metrics_are_scikit_learns(seed: int, n: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    truth = scale * rng.normal(size=n)
    value = truth + scale * rng.normal(size=n)
    found = metrics(Regression(), value[:, None], truth, ())
    assert same(found["mae"], oracle.mean_absolute_error(truth, value))
    assert same(found["rmse"], oracle.root_mean_squared_error(truth, value))
    assert same(found["r2"], oracle.r2_score(truth, value))
    assert tuple(found) == Regression().metrics


def test_rows_of_one_class_leave_auc_undefined_and_nothing_else() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = metrics(Binary(), scores, objects([0, 0]), (0, 1))
    assert math.isnan(found["auc"])
    assert math.isnan(found["recall"])
    assert found["accuracy"] == 0.5
    assert found["precision"] == 0.0


def test_without_a_predicted_positive_precision_is_undefined() -> None:
    found = metrics(Binary(), np.array([[0.9, 0.1]] * 3), objects([0, 1, 0]), (0, 1))
    assert math.isnan(found["precision"])
    assert found["recall"] == found["f1"] == 0.0


def test_undefined_regressions() -> None:
    assert math.isnan(
        metrics(Regression(), np.array([[1.0], [2.0]]), np.array([3.0, 3.0]), ())["r2"]
    )
    assert math.isnan(metrics(Regression(), np.array([[1.0]]), np.array([3.0]), ())["r2"])


@pytest.mark.parametrize(("task", "classes"), [(Binary(), (0, 1)), (Regression(), ())])
def test_no_row_defines_nothing(task: Binary | Regression, classes: tuple[int, ...]) -> None:
    found = metrics(task, np.empty((0, 2)), np.empty(0), classes)
    assert set(found) == set(task.metrics)
    assert all(math.isnan(value) for value in found.values())


def test_the_order_of_the_classes_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    scores, truth = rng.dirichlet(np.ones(3), size=60), rng.integers(0, 3, size=60)
    names = ("ant", "bee", "cow")
    labels = objects([names[at] for at in truth])
    order = [2, 0, 1]
    shuffled = tuple(names[at] for at in order)
    assert metrics(Multiclass(), scores[:, order], labels, shuffled) == metrics(
        Multiclass(), scores, labels, names
    )


def test_a_class_that_the_version_does_not_know_is_always_missed() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = metrics(Multiclass(), scores, objects(["a", "b", "new"]), ("a", "b"))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["macro_recall"] == pytest.approx(2 / 3)
    # The float's resolution stands for probability 0: -ln(2.2e-16) = 36.04.
    assert found["log_loss"] == pytest.approx(36.0437 / 3, abs=1e-3)
    assert math.isfinite(found["ovr_auc"])


def test_a_metric_that_nobody_knows_is_named() -> None:
    @dataclass
    class Strange(Binary):
        metrics: tuple[str, ...] = ("auc", "beauty")

    with pytest.raises(Invalid, match="beauty from the task 'binary'"):
        metrics(Strange(), np.array([[0.5, 0.5]]), objects([1]), (0, 1))


def test_every_name_is_a_metric_with_all_that_its_kind_needs() -> None:
    """Broken by a gate that is promised rows, counts or ranks and gets None."""
    for name in metric_names():
        one = metric(name)
        assert one.name == name
        assert one.tasks
        assert (one.per_row is not None) == (one.kind == "row")
        assert (one.ranked is not None) == (one.kind == "rank")
        assert (one.counts is None) == (one.of_counts is None)
        pickle.dumps(one)
    tasks = (Binary(), Multiclass(), Multilabel(), Regression())
    assert all(
        task.name in metric(name).tasks or isinstance(task, Multiclass)
        for task in tasks
        for name in task.metrics
    )


def test_a_name_with_a_slip_is_answered_with_the_right_one() -> None:
    """Broken by an error that leaves the reader to search."""
    with pytest.raises(Invalid, match="Did you mean 'macro_f1'"):
        metric("macro_f")
    with pytest.raises(Invalid, match="'pinball_high'"):
        metric("pinball_high")


def test_a_metric_on_rows_that_it_does_not_suit_is_refused() -> None:
    """Broken by the area of the second of three classes, or classes that are averaged."""
    three = np.full((2, 3), 1 / 3)
    with pytest.raises(Invalid, match="look like multiclass, of 3 classes"):
        metric("auc").value(three, objects(["a", "b"]), ("a", "b", "c"))
    with pytest.raises(Invalid, match="look like regression"):
        metric("accuracy").value(np.ones((2, 1)), np.array([1.0, 2.0]), ())
    with pytest.raises(Invalid, match="look like binary"):
        metric("mae").value(np.full((2, 2), 0.5), objects([0, 1]), (0, 1))


def test_no_row_is_undefined_for_every_metric() -> None:
    """Broken by a mean of nothing, which warns."""
    for name in metric_names():
        assert math.isnan(metric(name).value(np.empty((0, 2)), objects([]), (0, 1)))


def test_two_classes_narrow_the_bounds_of_brier() -> None:
    """Broken by bounds that cost power, or that a row can leave."""
    assert metric("brier").bounds == (0.0, 2.0)
    assert metric("brier", classes=(0, 1)).bounds == (0.0, 1.0)
    assert metric("brier", classes=("a", "b", "c")).bounds == (0.0, 2.0)


def test_multilabel_metrics_by_hand() -> None:
    """Broken by sets that are taken for classes; an unknown label is one never given."""
    labels = Multilabel().labels(["a|b", "", "new"], who="test")
    scores = np.array([[0.9, 0.2], [0.4, 0.5], [0.1, 0.1]])
    found = metrics(Multilabel(), scores, labels, ("a", "b"))
    assert tuple(found) == Multilabel().metrics
    assert found["subset_accuracy"] == pytest.approx(1 / 3)
    assert found["hamming_loss"] == pytest.approx(2 / 9)
    assert found["micro_precision"] == 1.0
    assert found["micro_recall"] == pytest.approx(1 / 3)
    assert found["macro_recall"] == pytest.approx(1 / 3)
    assert metrics(Multilabel(), scores[:, ::-1], labels, ("b", "a")) == found
