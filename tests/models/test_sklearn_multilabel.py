"""Breaks when an estimator of several labels answers other than it would by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewal.core.errors import Invalid
from renewal.data.frame import signature_of
from renewal.models.labels import Labels
from renewal.models.multilabel import Multilabel, sets_of
from renewal.models.sklearn import SklearnAdapter
from renewal.models.sklearn_multilabel import label_names, target_of, with_label_names

TASK = Multilabel()
NAMES = ("news", "art", "sport")

ESTIMATORS = [
    OneVsRestClassifier(LogisticRegression()),
    make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())),
    MultiOutputClassifier(LogisticRegression()),
    ClassifierChain(LogisticRegression()),
    RandomForestClassifier(5, max_depth=3),
    KNeighborsClassifier(),
    MLPClassifier((4,), solver="lbfgs", alpha=1.0, max_iter=2000),
]


def carried(numbers: pa.Table) -> NDArray[np.bool_]:
    """Labels that follow the columns, with some noise."""
    rng = np.random.default_rng(8)
    columns = np.column_stack([numbers["a"], numbers["b"], rng.normal(size=len(numbers))])
    return np.asarray(columns + 0.4 * rng.normal(size=columns.shape) > 0)


def labels_of(is_on: NDArray[np.bool_]) -> Labels:
    return TASK.labels(sets_of(is_on, NAMES), who="test")


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_fitted_stored_and_ready_it_answers_a_probability_for_each_label(
    adapter: SklearnAdapter, numbers: pa.Table, estimator: Any, *, names: bool
) -> None:
    """Broken by an output that is taken for another label's, or is lost in the bytes."""
    is_on = carried(numbers)
    labels = labels_of(is_on)
    fitted = adapter.fit(estimator, numbers, labels, names=names, seed=3)
    classes = adapter.classes(fitted)
    assert classes == ("art", "news", "sport") == TASK.classes(labels)
    scores = adapter.predict(fitted, numbers)
    assert scores.shape == (200, 3)
    # Each column follows its own label: news goes with a, art with b.
    is_right = (scores > 0.5) == is_on[:, [1, 0, 2]]
    assert is_right[:, :2].mean() > 0.75
    loaded = adapter.load(adapter.dump(fitted))
    assert adapter.classes(loaded) == classes
    assert np.array_equal(adapter.predict(loaded, numbers), scores)
    ready = adapter.ready(loaded, signature_of(numbers))
    assert np.array_equal(adapter.predict(ready, numbers), scores)
    assert adapter.predict(fitted, numbers.slice(0, 0)).shape == (0, 3)


def test_the_label_that_is_served_is_the_one_that_scikit_learn_predicts(
    adapter: SklearnAdapter, numbers: pa.Table
) -> None:
    """Broken by another threshold, or a tie that goes the other way."""
    for estimator in (OneVsRestClassifier(LogisticRegression()), RandomForestClassifier(4)):
        fitted = adapter.fit(estimator, numbers, labels_of(carried(numbers)), seed=1)
        outputs = TASK.outputs(adapter.predict(fitted, numbers), adapter.classes(fitted))
        theirs = sets_of(fitted.predict(numbers.to_pandas()), ("art", "news", "sport"))
        assert outputs["label"].tolist() == theirs.tolist()


def test_a_label_that_every_row_carries_has_probability_1(
    adapter: SklearnAdapter, numbers: pa.Table
) -> None:
    """Broken by the only value of an output that is read as its second."""
    is_on = carried(numbers)
    is_on[:, 1] = True
    fitted = adapter.fit(RandomForestClassifier(3), numbers, labels_of(is_on), seed=0)
    assert np.all(adapter.predict(fitted, numbers)[:, 0] == 1.0)


def test_fitted_elsewhere_it_is_registered_with_the_names_of_its_labels(
    adapter: SklearnAdapter, numbers: pa.Table
) -> None:
    """Broken by columns 0, 1, 2 that are taken for the names of classes."""
    for estimator in ESTIMATORS:
        fitted = estimator.fit(numbers.to_pandas(), carried(numbers).astype(int))
        with pytest.raises(Invalid, match="with_label_names"):
            adapter.classes(fitted)
        named = with_label_names(fitted, NAMES)
        assert adapter.classes(named) == NAMES
        assert adapter.predict(named, numbers).shape == (200, 3)
        assert label_names(fitted) == ()


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b|c"], ["a", ""], []])
def test_names_that_say_nothing_are_refused(names: list[str]) -> None:
    """Broken by two columns of one name, whose losses would be mixed."""
    with pytest.raises(Invalid, match="with_label_names"):
        with_label_names(DummyClassifier(), names)


def test_it_is_refitted_and_nothing_else(adapter: SklearnAdapter, numbers: pa.Table) -> None:
    """Broken by a partial fit that takes sets for classes."""
    labels = labels_of(carried(numbers))
    fitted = adapter.fit(ESTIMATORS[0], numbers, labels)
    assert "several labels" in adapter.capabilities(fitted).why_not["partial_fit"]
    with pytest.raises(Invalid, match="several labels"):
        adapter.partial_fit(fitted, numbers, labels)
    plain = adapter.fit(fitted, numbers, np.array((carried(numbers)[:, 0]).tolist(), dtype=object))
    assert adapter.classes(plain) == (False, True)


def test_rows_of_one_label_are_refused() -> None:
    """Broken by an indicator of one column, which scikit-learn warns about and flattens."""
    with pytest.raises(Invalid, match="only 'a'"):
        target_of(TASK.labels(["a", ""], who="test"), who="test")
    target, names = target_of(np.array(["b", "a"], dtype=object), who="test")
    assert (target.tolist(), names) == (["b", "a"], ())
