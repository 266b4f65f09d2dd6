"""Losses against hand-computed values and scikit-learn's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_absolute_error

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin, plugin_names
from renewal.models.task import Binary, Multiclass, Regression, Task

WORST = -math.log(1e-3)


def objects(*values: Any) -> Any:
    labels = np.empty(len(values), dtype=object)
    labels[:] = values
    return labels


def test_binary_log_loss_by_hand() -> None:
    """Broken by swapped columns, another base, or a clip at another place."""
    scores = np.array([[0.8, 0.2], [0.4, 0.6], [0.9995, 0.0005], [1.0, 0.0]])
    loss = Binary().loss(scores, objects(False, True, True, True), (False, True))
    assert loss == pytest.approx([-math.log(0.8), -math.log(0.6), WORST, WORST], abs=1e-15)
    assert loss.max() == Binary().loss_bound


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_mean_log_loss_is_that_of_scikit_learn(n_classes: int, seed: int) -> None:
    """Broken by a column that is not matched to its class; scores stay above the clip."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(n_classes, 5.0), size=30)
    scores = (scores + 0.01) / (scores + 0.01).sum(axis=1, keepdims=True)
    classes = tuple(f"class{place}" for place in range(n_classes))
    labels = objects(*rng.choice(classes, 30).tolist())
    ours = Multiclass().loss(scores, labels, classes).mean()
    assert ours == pytest.approx(log_loss(labels.tolist(), scores, labels=classes), rel=1e-12)


def test_a_class_that_the_model_does_not_know_costs_the_most() -> None:
    """Broken by an unseen class that raises, or counts as the first column."""
    scores = np.array([[1.0, 0.0], [1.0, 0.0]])
    loss = Multiclass().loss(scores, objects("new", "a"), ("a", "b"))
    assert loss.tolist() == [WORST, 0.0]


def test_a_nan_score_is_a_nan_loss() -> None:
    """Broken by a clip that turns a broken model into a merely bad one."""
    assert np.isnan(Binary().loss(np.array([[math.nan, math.nan]]), objects(1), (0, 1)))[0]
    assert np.isnan(Regression().loss(np.array([[math.nan]]), np.array([1.0]), ()))[0]


def test_absolute_error_is_that_of_scikit_learn() -> None:
    """Broken by a squared or a broadcast difference."""
    rng = np.random.default_rng(3)
    scores, labels = rng.normal(size=(50, 1)), rng.normal(size=50)
    loss = Regression().loss(scores, labels, ())
    assert loss.shape == (50,)
    assert loss.mean() == pytest.approx(mean_absolute_error(labels, scores[:, 0]), rel=1e-12)


@pytest.mark.parametrize(
    ("task", "scores"),
    [
        (Binary(), np.ones((3, 2))),
        (Binary(), np.ones((2, 3))),
        (Multiclass(), np.ones(2)),
        (Regression(), np.ones(2)),
    ],
)
def test_scores_of_another_shape_are_refused(task: Task, scores: Any) -> None:
    """Broken by broadcasting: a loss over the wrong rows looks like a loss."""
    with pytest.raises(Invalid, match="shape"):
        task.loss(scores, task.labels([0, 1], who="test"), (0, 1))


@pytest.mark.parametrize("labels", [[1, 1], [0, 1, 2], []])
def test_binary_wants_two_classes(labels: list[int]) -> None:
    """Broken by a third class that is scored as the second."""
    with pytest.raises(Invalid, match="exactly two"):
        Binary().classes(Binary().labels(labels, who="test"))


def test_multiclass_wants_two_classes_or_more() -> None:
    """Broken by a classifier of one class, whose loss is 0 for ever."""
    with pytest.raises(Invalid, match="at least two"):
        Multiclass().classes(objects("a", "a"))
    assert Multiclass().classes(objects("c", "a", "b")) == ("a", "b", "c")


@pytest.mark.parametrize("classes", [(False, True), (0, 7), ("in time", "late")])
def test_outputs_of_a_classification(classes: tuple[Any, ...]) -> None:
    """Broken by labels that come out as positions, or in another type than they went in."""
    scores = np.array([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]])
    found = Binary().outputs(scores, classes)
    assert found["label"].tolist() == [classes[0], classes[1], classes[0]]
    assert found["label"].dtype.kind in "biU"
    assert found["probability"] is scores


def test_outputs_without_rows() -> None:
    """Broken by an argmax over nothing."""
    assert Binary().outputs(np.empty((0, 2)), ("a", "b"))["label"].shape == (0,)
    assert Regression().outputs(np.empty((0, 1)), ())["value"].shape == (0,)


def test_outputs_of_a_regression() -> None:
    """Broken by a column vector where callers read one number a row."""
    found = Regression().outputs(np.array([[1.5], [2.5]]), ())
    assert found["value"].tolist() == [1.5, 2.5]
    assert Regression().classes(np.array([1.0])) == ()


def test_registered_tasks_say_who_they_are() -> None:
    """Broken by an entry point under another name than the task's own."""
    for name in plugin_names("tasks"):
        task = load_plugin("tasks", name)()
        assert task.name == name
        assert len(set(task.metrics)) == len(task.metrics) > 0
