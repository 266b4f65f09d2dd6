"""Breaks when a decision costs what another one would."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from renewal.core.errors import Invalid
from renewal.evaluate.cost_metric import cost_metric
from renewal.models.multilabel import Multilabel

COSTS = {"ok": {"ok": 0.0, "fraud": 5.0}, "fraud": {"ok": 100.0, "fraud": -2.0}}
NAMES = ("fraud", "ok")


@given(st.integers(0, 10**6))
def test_the_mean_cost_is_that_of_the_confusion_matrix(seed: int) -> None:
    """Broken by a transposed table, or columns that are read in another order."""
    rng = np.random.default_rng(seed)
    names = ("a", "b", "c")
    table = rng.normal(size=(3, 3))
    truth = rng.choice(names, 50)
    scores = rng.dirichlet(np.ones(3), size=50)
    counts = confusion_matrix(truth, np.array(names)[scores.argmax(axis=1)], labels=names)
    found = cost_metric(table, classes=names)
    labels = truth.astype(object)
    assert found.value(scores, labels, names) == pytest.approx((counts * table).sum() / 50)
    assert found.per_row is not None
    shuffled = found.per_row(scores[:, [2, 0, 1]], labels, ("c", "a", "b"))
    assert np.array_equal(shuffled, found.per_row(scores, labels, names))


def test_what_the_gate_needs_to_know() -> None:
    """Broken by a cost that counts as a gain, or bounds that a row can leave."""
    found = cost_metric(COSTS, classes=NAMES, name="cost_eur")
    assert (found.name, found.kind, found.higher_is_better) == ("cost_eur", "row", False)
    assert found.bounds == (-2.0, 100.0)
    assert math.isnan(found.value(np.empty((0, 2)), np.empty(0, dtype=object), NAMES))


def test_the_first_class_by_name_wins_a_tie_as_it_is_served() -> None:
    """Broken by a tie that costs one thing and is answered as another."""
    labels = np.array(["ok"], dtype=object)
    found = cost_metric(COSTS, classes=NAMES)
    assert found.value(np.array([[0.5, 0.5]]), labels, NAMES) == 5.0
    assert found.value(np.array([[0.5, 0.5]]), labels, NAMES[::-1]) == 5.0


@pytest.mark.parametrize("classes", [(False, True), (0, 1)])
def test_a_configuration_file_has_texts_for_classes(classes: tuple[Any, ...]) -> None:
    """Broken by the class 1 that is not found under "1"."""
    no, yes = map(str, classes)
    found = cost_metric({no: {no: 0, yes: 1}, yes: {no: 7, yes: 0}}, classes=classes)
    labels = np.array([classes[1]], dtype=object)
    assert found.value(np.array([[0.9, 0.1]]), labels, classes) == 7.0


@pytest.mark.parametrize(
    ("costs", "match"),
    [
        ({"ok": {"ok": 0, "fraud": 1}}, "the table without 'fraud'"),
        ({**COSTS, "theft": {}}, "the table with 'theft'"),
        ({**COSTS, "ok": {"ok": 0}}, "true 'ok' without 'fraud'"),
        ({**COSTS, "ok": 3.0}, "3.0 for the costs of true 'ok'"),
        ([[0, 1], [1]], "inhomogeneous"),
        ([[0, 1, 2], [1, 0, 2]], r"shape \(2, 3\)"),
        ([[0, math.inf], [1, 0]], "not finite"),
        ([[0, "much"], [1, 0]], "could not convert"),
    ],
)
def test_a_table_with_holes_is_refused(costs: Any, match: str) -> None:
    """Broken by a pair that costs nothing because nobody said what it costs."""
    with pytest.raises(Invalid, match=match):
        cost_metric(costs, classes=NAMES)


def test_a_class_without_costs_is_named() -> None:
    """Broken by a new class whose mistakes are free."""
    found = cost_metric(COSTS, classes=NAMES)
    scores = np.array([[0.2, 0.8]])
    with pytest.raises(Invalid, match="got 'theft'"):
        found.value(scores, np.array(["theft"], dtype=object), NAMES)
    with pytest.raises(Invalid, match="got 'theft'"):
        found.value(scores, np.array(["ok"], dtype=object), ("ok", "theft"))
    with pytest.raises(Invalid, match="sets of labels"):
        found.value(scores, Multilabel().labels(["ok"], who="test"), NAMES)
    with pytest.raises(Invalid, match="two classes"):
        cost_metric([[0]], classes=("a",))
