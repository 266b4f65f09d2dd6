"""Breaks when a set of labels is read another way than it was written, or its loss drifts."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.models.multilabel import (
    LabelSet,
    Multilabel,
    indicator,
    is_label_sets,
    label_set,
    names_in,
    sets_of,
)
from renewal.models.task import Binary

WORST = -math.log(1e-3)
TASK = Multilabel()


def test_labels_come_out_sorted_trimmed_and_each_once() -> None:
    """Broken by two texts for one set, which would be two sets to whoever counts them."""
    labels = TASK.labels(["b|a", " a | b", "a|b|a", "", "  "], who="test")
    assert labels.tolist() == ["a|b", "a|b", "a|b", "", ""]
    assert {type(each) for each in labels.tolist()} == {LabelSet}
    assert is_label_sets(labels)
    assert not is_label_sets(Binary().labels(["a", "b"], who="test"))


def test_a_set_stays_one_in_an_array_that_was_taken_apart_or_pickled() -> None:
    """Broken by a copy that is plain text: an adapter would fit each set as a class."""
    labels = TASK.labels(["a|b", "b", ""], who="test")
    assert is_label_sets(labels[[2, 0]])
    assert is_label_sets(pickle.loads(pickle.dumps(labels)))  # noqa: S301  # our own bytes
    assert labels[0] == "a|b"
    assert hash(labels[0]) == hash("a|b")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["a||b"], "''"),
        (["a|"], "''"),
        ([1, 2], "int 1"),
        (["a", None], "missing"),
        ([["a"], ["b"]], "shape"),
    ],
)
def test_what_is_no_set_is_refused(values: Any, match: str) -> None:
    """Broken by a label without a name, or numbers that become names."""
    with pytest.raises(Invalid, match=match):
        TASK.labels(values, who="test")


def test_a_name_with_the_separator_is_refused() -> None:
    """Broken by one name that is read as two."""
    with pytest.raises(Invalid, match=r"a\|b"):
        label_set(["a|b", "c"])
    assert label_set("news") == "news"


@pytest.mark.parametrize("texts", [["a", "", "a"], ["", ""], []])
def test_fewer_than_two_labels_are_no_multilabel(texts: list[str]) -> None:
    """Broken by an indicator of one column, which scikit-learn takes for another task."""
    with pytest.raises(Invalid, match="at least two"):
        TASK.classes(TASK.labels(texts, who="test"))


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), max_size=20))
def test_texts_and_indicator_are_two_forms_of_one_thing(rows: list[list[bool]]) -> None:
    """Broken by columns that are sorted on one way and not on the other."""
    names = ("d", "b", "a", "c")
    is_on = np.array(rows, np.bool_).reshape(-1, 4)
    labels = TASK.labels(sets_of(is_on, names), who="test")
    assert np.array_equal(indicator(labels, names), is_on)
    assert set(names_in(labels)) == {name for at, name in enumerate(names) if is_on[:, at].any()}


def test_the_loss_is_the_mean_of_binary_losses() -> None:
    """Broken by a sum, another clip, or a column that is read as another label's."""
    rng = np.random.default_rng(4)
    names = ("a", "b", "c")
    is_on = rng.random((50, 3)) < 0.4
    scores = rng.random((50, 3))
    scores[0] = [0.0, 1.0, 0.5]
    labels = TASK.labels(sets_of(is_on, names), who="test")
    each = [
        Binary().loss(
            np.column_stack([1 - scores[:, at], scores[:, at]]),
            np.array(is_on[:, at].tolist(), dtype=object),
            (False, True),
        )
        for at in range(3)
    ]
    assert TASK.loss(scores, labels, names) == pytest.approx(np.mean(each, axis=0), abs=1e-14)
    shuffled = TASK.loss(scores[:, [2, 0, 1]], labels, ("c", "a", "b"))
    assert shuffled == pytest.approx(np.mean(each, axis=0), abs=1e-14)


def test_no_row_costs_more_than_the_bound_and_a_nan_stays() -> None:
    """Broken by labels whose losses add up, or a clip that hides a broken model."""
    labels = TASK.labels(["a|b", "a|b"], who="test")
    loss = TASK.loss(np.array([[0.0, 0.0], [math.nan, 0.5]]), labels, ("a", "b"))
    assert loss[0] == pytest.approx(WORST)
    assert loss[0] <= (TASK.loss_bound or 0.0)
    assert math.isnan(loss[1])


def test_a_label_that_the_model_does_not_know_costs_as_probability_0() -> None:
    """Broken by an unknown label that is free, or costs where no row carries it."""
    labels = TASK.labels(["a|new", "a"], who="test")
    known, padded = np.array([[0.9, 0.2]] * 2), np.array([[0.9, 0.2, 0.0]] * 2)
    loss = TASK.loss(known, labels, ("a", "b"))
    assert loss == pytest.approx(TASK.loss(padded, labels, ("a", "b", "new")), abs=1e-14)
    assert loss[0] - loss[1] == pytest.approx(WORST / 3)


def test_outputs_are_texts_and_probabilities() -> None:
    """Broken by names in the order of the columns, or a tie that gives a label."""
    scores = np.array([[0.9, 0.6], [0.5, 0.51], [0.5, 0.5]])
    found = TASK.outputs(scores, ("sport", "news"))
    assert found["label"].tolist() == ["news|sport", "news", ""]
    assert found["label"].dtype.kind == "U"
    assert found["probability"] is scores
    assert TASK.outputs(np.empty((0, 2)), ("a", "b"))["label"].shape == (0,)


def test_scores_of_another_shape_are_refused() -> None:
    """Broken by broadcasting over the wrong labels."""
    with pytest.raises(Invalid, match="shape"):
        TASK.loss(np.ones((2, 3)), TASK.labels(["a", "b"], who="test"), ("a", "b"))
